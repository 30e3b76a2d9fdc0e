/* Dates: RFC 3501 section 9, date and date-time. */
#include "imap_parse.h"

int64_t
imap_days(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool
is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool
day_exists(int year, int month, int day)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return day >= 1 && day <= days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

static bool
take_digits(struct slice *s, size_t n, int *out)
{
	uint64_t value;

	if (s->len < n || !slice_number(slice_sub(*s, 0, n), 9999, &value))
		return false;
	*out = (int)value;
	*s = slice_sub(*s, n, s->len);
	return true;
}

/* "Feb-1994" and its leading day, which stands in *day already. */
static bool
parse_month_year(struct slice *s, int day, int64_t *days)
{
	static const char names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	int year;

	for (int m = 0; m < 12; m++) {
		if (!slice_iprefix(s, names[m]))
			continue;
		if (!slice_prefix(s, "-") || !take_digits(s, 4, &year) || !day_exists(year, m + 1, day))
			return false;
		*days = imap_days(year, m + 1, day);
		return true;
	}
	return false;
}

/* "1-Feb-1994", "01-Feb-1994". */
static bool
parse_day(struct slice *s, int64_t *days)
{
	int day;

	if (s->len > 1 && s->ptr[1] == '-') {
		if (!take_digits(s, 1, &day))
			return false;
	} else if (!take_digits(s, 2, &day))
		return false;
	return slice_prefix(s, "-") && parse_month_year(s, day, days);
}

bool
imap_parse_date(struct imap_in *in, int32_t *out)
{
	struct slice text;
	int64_t days;

	if (!imap_parse_astring(in, &text) || !parse_day(&text, &days) || text.len != 0)
		return imap_in_error(in, "Invalid date");
	*out = (int32_t)days;
	return true;
}

/* "10:20:30 +0100": seconds, in UTC, to be added to the day. */
static bool
parse_time_zone(struct slice *s, int64_t *seconds)
{
	int hour, minute, second, zone_hour, zone_minute;
	bool west;

	if (!take_digits(s, 2, &hour) || !slice_prefix(s, ":") || !take_digits(s, 2, &minute) ||
	    !slice_prefix(s, ":") || !take_digits(s, 2, &second) || !slice_prefix(s, " "))
		return false;
	west = slice_prefix(s, "-");
	if (!west && !slice_prefix(s, "+"))
		return false;
	if (!take_digits(s, 2, &zone_hour) || !take_digits(s, 2, &zone_minute))
		return false;
	if (hour > 23 || minute > 59 || second > 60 || zone_hour > 23 || zone_minute > 59)
		return false;
	*seconds = hour * 3600 + minute * 60 + second;
	*seconds += (west ? 1 : -1) * (zone_hour * 3600 + zone_minute * 60);
	return true;
}

bool
imap_parse_date_time(struct imap_in *in, int64_t *out)
{
	struct slice text;
	int64_t days, seconds;

	if (!imap_parse_string(in, &text))
		return false;
	(void)slice_prefix(&text, " ");		/* date-day-fixed: " 1-Feb-1994" */
	if (!parse_day(&text, &days) || !slice_prefix(&text, " ") ||
	    !parse_time_zone(&text, &seconds) || text.len != 0)
		return imap_in_error(in, "Invalid date-time");
	*out = days * 86400 + seconds;
	return true;
}
