/* mime_date.c: dates of RFC 5322 section 3.3, with the obsolete forms of 4.3. */
#include <string.h>
#include <strings.h>

#include "mime_int.h"

static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";

/* Days since 1970 of a date in the Gregorian calendar. */
static int64_t
days(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static struct slice
take_word(struct slice *s)
{
	size_t n = 0;
	struct slice word;

	mime_skip_cfws(s, NULL);
	while (n < s->len && ((s->ptr[n] >= '0' && s->ptr[n] <= '9') || ((s->ptr[n] | 32) >= 'a' && (s->ptr[n] | 32) <= 'z')))
		n++;
	word = slice_sub(*s, 0, n);
	*s = slice_sub(*s, n, s->len);
	return word;
}

static bool
take_number(struct slice *s, uint64_t max, uint64_t *out)
{
	return slice_number(take_word(s), max, out);
}

static bool
take_char(struct slice *s, char c)
{
	mime_skip_cfws(s, NULL);
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = slice_sub(*s, 1, s->len);
	return true;
}

static bool
take_month(struct slice *s, uint64_t *month)
{
	struct slice word = take_word(s);

	for (uint64_t m = 0; m < 12; m++) {
		if (word.len >= 3 && strncasecmp(word.ptr, months + 3 * m, 3) == 0) {
			*month = m + 1;
			return true;
		}
	}
	return false;
}

static bool
take_year(struct slice *s, uint64_t *year)
{
	struct slice word = take_word(s);

	if (!slice_number(word, 9999, year))
		return false;
	if (word.len == 2)
		*year += *year < 50 ? 2000 : 1900;
	else if (word.len == 3)
		*year += 1900;
	return *year >= 1900;
}

/* "+0100", a name of section 4.3, or nothing (then it is UTC). */
static int
take_zone(struct slice *s)
{
	static const struct { const char *name; int hours; } zones[] = {
		{ "EDT", -4 }, { "EST", -5 }, { "CDT", -5 }, { "CST", -6 },
		{ "MDT", -6 }, { "MST", -7 }, { "PDT", -7 }, { "PST", -8 },
	};
	bool minus = take_char(s, '-'), plus = !minus && take_char(s, '+');
	struct slice word = take_word(s);
	uint64_t n;

	if ((minus || plus) && word.len == 4 && slice_number(word, 9959, &n) && n % 100 < 60) {
		int minutes = (int)(n / 100 * 60 + n % 100);

		return minus ? -minutes : minutes;
	}
	for (size_t i = 0; i < LEN(zones); i++) {
		if (slice_ieq(word, zones[i].name))
			return zones[i].hours * 60;
	}
	return 0;
}

bool
mime_date(struct slice value, struct mime_date *out)
{
	uint64_t day, month, year, hour, minute, second = 0;
	struct slice rest = value;

	if (!slice_number(take_word(&rest), 99, &day)) {	/* a day of the week */
		(void)take_char(&rest, ',');
		if (!take_number(&rest, 31, &day))
			return false;
	}
	(void)take_char(&rest, '-');
	if (day < 1 || day > 31 || !take_month(&rest, &month))
		return false;
	(void)take_char(&rest, '-');
	if (!take_year(&rest, &year) || !take_number(&rest, 23, &hour) || !take_char(&rest, ':') ||
	    !take_number(&rest, 59, &minute))
		return false;
	if (take_char(&rest, ':') && !take_number(&rest, 60, &second))
		return false;
	out->zone_min = take_zone(&rest);
	out->utc = days((int64_t)year, (int64_t)month, (int64_t)day) * 86400 +
	    (int64_t)(hour * 3600 + minute * 60 + second) - (int64_t)out->zone_min * 60;
	return true;
}
