/* mime_date: Date:, RFC 5322 section 3.3 and its obsolete forms in 4.3. */
#include <string.h>

#include "mime.h"
#include "mime_token.h"

/* Days since 1970-01-01 of a date in the Gregorian calendar. */
static int64_t
days_of(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool
digits(struct slice *s, size_t most, unsigned *out, size_t *count)
{
	size_t n = 0;

	*out = 0;
	mime_skip_cfws(s);
	while (n < s->len && n < most && s->ptr[n] >= '0' && s->ptr[n] <= '9')
		*out = *out * 10 + (unsigned)(s->ptr[n++] - '0');
	*s = slice_sub(*s, n, s->len);
	*count = n;
	return n > 0;
}

static bool
sign(struct slice *s, char c)
{
	mime_skip_cfws(s);
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = slice_sub(*s, 1, s->len);
	return true;
}

static struct slice
letters(struct slice *s)
{
	size_t n = 0;
	struct slice word;

	mime_skip_cfws(s);
	while (n < s->len && ((s->ptr[n] | 0x20) >= 'a' && (s->ptr[n] | 0x20) <= 'z'))
		n++;
	word = slice_sub(*s, 0, n);
	*s = slice_sub(*s, n, s->len);
	return word;
}

static bool
month_of(struct slice word, unsigned *month)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
	char low[4] = "";

	if (word.len < 3)
		return false;
	for (size_t i = 0; i < 3; i++)
		low[i] = (char)(word.ptr[i] | 0x20);
	for (unsigned m = 0; m < 12; m++) {
		if (memcmp(names + 3 * m, low, 3) == 0) {
			*month = m + 1;
			return true;
		}
	}
	return false;
}

/* +hhmm, or an obsolete name; unknown ones are -0000 (RFC 5322 section 4.3). */
static int
zone_of(struct slice *s)
{
	static const struct { const char *name; int min; } named[] = {
		{ "EDT", -240 }, { "EST", -300 }, { "CDT", -300 }, { "CST", -360 },
		{ "MDT", -360 }, { "MST", -420 }, { "PDT", -420 }, { "PST", -480 },
	};
	bool plus = sign(s, '+'), minus = !plus && sign(s, '-');
	struct slice word;
	unsigned n;
	size_t count;

	if (plus || minus) {
		if (!digits(s, 4, &n, &count) || count != 4 || n % 100 >= 60)
			return 0;
		n = n / 100 * 60 + n % 100;
		return minus ? -(int)n : (int)n;
	}
	word = letters(s);
	for (size_t i = 0; i < LEN(named); i++)
		if (slice_ieq(word, named[i].name))
			return named[i].min;
	return 0;
}

bool
mime_date(struct slice value, struct mime_date *out)
{
	unsigned day, month, year, hour, minute, second = 0;
	size_t count;

	value = slice_sub(value, 0, 1000);
	if (letters(&value).len > 0)
		(void)sign(&value, ',');
	if (!digits(&value, 2, &day, &count))
		return false;
	(void)sign(&value, '-');	/* 22-Nov-2026 is met */
	if (!month_of(letters(&value), &month))
		return false;
	(void)sign(&value, '-');
	if (!digits(&value, 4, &year, &count))
		return false;
	if (count <= 2)
		year += year < 50 ? 2000 : 1900;
	else if (count == 3)
		year += 1900;
	if (!digits(&value, 2, &hour, &count) || !sign(&value, ':') || !digits(&value, 2, &minute, &count))
		return false;
	if (sign(&value, ':') && !digits(&value, 2, &second, &count))
		return false;
	if (day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60)
		return false;
	out->zone_min = zone_of(&value);
	out->utc = days_of(year, month, day) * 86400 + (int64_t)hour * 3600 + (int64_t)minute * 60 + second -
	    (int64_t)out->zone_min * 60;
	return true;
}
