#include "mime/imap_write.h"

#include <string.h>
#include <time.h>
#include <unistr.h>

#define QUOTED_MAX 1000	/* longer ones are sent as literals */

static bool
is_quotable(struct slice s)
{
	if (s.len > QUOTED_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || (unsigned char)s.ptr[i] > 0x7e)
			return false;
	return true;
}

static bool
is_quotable_utf8(struct slice s)
{
	if (s.len > QUOTED_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			return false;
	return u8_check((const uint8_t *)s.ptr, s.len) == NULL;
}

static void
put_quoted(struct buf *out, struct slice s)
{
	(void)buf_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			(void)buf_char(out, '\\');
		(void)buf_char(out, s.ptr[i]);
	}
	(void)buf_char(out, '"');
}

static void
put_literal(struct buf *out, struct slice s)
{
	(void)buf_fmt(out, "{%zu}\r\n", s.len);
	(void)buf_slice(out, s);
}

void
imap_put_string(struct buf *out, struct slice s)
{
	if (is_quotable(s))
		put_quoted(out, s);
	else
		put_literal(out, s);
}

void
imap_put_utf8(struct buf *out, struct slice s)
{
	if (is_quotable_utf8(s))
		put_quoted(out, s);
	else
		put_literal(out, s);
}

void
imap_put_nstring(struct buf *out, struct slice s)
{
	if (s.ptr == NULL)
		(void)buf_text(out, "NIL");
	else
		imap_put_string(out, s);
}

void
imap_put_nstring8(struct buf *out, struct slice s)
{
	if (s.ptr != NULL && slice_find(s, '\0') != s.len) {
		(void)buf_char(out, '~');
		put_literal(out, s);
	} else
		imap_put_nstring(out, s);
}

static bool
is_atom(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] <= 0x20 || (unsigned char)s.ptr[i] > 0x7e ||
		    memchr("(){%*\"\\]", s.ptr[i], 8) != NULL)
			return false;
	return s.len > 0 && s.len <= QUOTED_MAX;
}

void
imap_put_astring(struct buf *out, struct slice s)
{
	if (is_atom(s))
		(void)buf_slice(out, s);
	else
		imap_put_string(out, s);
}

void
imap_put_number(struct buf *out, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	(void)buf_put(out, digits + at, sizeof(digits) - at);
}

void
imap_put_date_time(struct buf *out, int64_t utc)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)utc;
	struct tm tm;

	/* A year of other than four digits cannot be said. */
	if (gmtime_r(&t, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 8099) {
		t = 0;
		(void)gmtime_r(&t, &tm);
	}
	(void)buf_fmt(out, "\"%02d-%s-%04d %02d:%02d:%02d +0000\"", tm.tm_mday, months[tm.tm_mon],
	    tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}
