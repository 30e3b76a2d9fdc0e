#include "header_addrs.h"

#include <string.h>

#define NESTING_MAX 50	/* of comments */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Skip a "(comment)", nested ones included; at its '('.  False: it does not end. */
static bool
skip_comment(struct slice *s)
{
	int depth = 0;

	while (s->len > 0) {
		char c = s->ptr[0];
		size_t step = c == '\\' && s->len > 1 ? 2 : 1;

		*s = slice_sub(*s, step, s->len);
		if (c == '(' && ++depth > NESTING_MAX)
			return false;
		if (c == ')' && --depth == 0)
			return true;
	}
	return false;
}

/* Copy a "quoted string" with its quotes; at its first quote. */
static bool
take_quoted(struct slice *s, struct buf *out)
{
	(void)buf_char(out, '"');
	*s = slice_sub(*s, 1, s->len);
	while (s->len > 0) {
		char c = s->ptr[0];

		if (c == '\\' && s->len > 1) {
			(void)buf_put(out, s->ptr, 2);
			*s = slice_sub(*s, 2, s->len);
			continue;
		}
		*s = slice_sub(*s, 1, s->len);
		if (c != '\r' && c != '\n')
			(void)buf_char(out, c);
		if (c == '"')
			return true;
	}
	return false;
}

/* Behind the next comma at this level, or the end. */
static void
skip_bad(struct slice *s)
{
	while (s->len > 0 && s->ptr[0] != ',' && s->ptr[0] != ';')
		*s = slice_sub(*s, 1, s->len);
	*s = slice_sub(*s, 1, s->len);
}

/* "<@a,@b:user@c>": at the '<'; leaves *s behind the '>'. */
static bool
take_angle(struct slice *s, struct buf *out)
{
	buf_reset(out);
	*s = slice_sub(*s, 1, s->len);
	while (s->len > 0) {
		char c = s->ptr[0];

		if (c == '"') {
			if (!take_quoted(s, out))
				return false;
			continue;
		}
		if (c == '(') {
			if (!skip_comment(s))
				return false;
			continue;
		}
		*s = slice_sub(*s, 1, s->len);
		if (c == '>')
			return true;
		if (c == ':' && out->len > 0 && out->ptr[0] == '@')
			buf_reset(out);	/* the source route ends here */
		else if (c == '<' || c == ';')
			return false;
		else if (!is_blank(c))
			(void)buf_char(out, c);
	}
	return false;
}

/*
 * One element: up to a comma, a semicolon (a group's end) or the end.  out:
 * the angle address, or all words glued together if there is none (`gap`: two
 * words stood apart, which no addr-spec has).
 */
static bool
take_element(struct slice *s, struct buf *out, bool *gap)
{
	bool blank = false, angle = false;
	char before = '\0';

	*gap = false;
	while (s->len > 0 && s->ptr[0] != ',' && s->ptr[0] != ';') {
		char c = s->ptr[0];

		if (c == '(') {
			if (!skip_comment(s))
				return false;
			blank = true;
			continue;
		}
		if (c == '<') {
			if (angle || !take_angle(s, out))
				return false;
			angle = true;
			continue;
		}
		if (is_blank(c)) {
			blank = true;
			*s = slice_sub(*s, 1, s->len);
			continue;
		}
		if (c == ':' && !angle) {	/* what was read is the name of a group */
			*s = slice_sub(*s, 1, s->len);
			buf_reset(out);
			*gap = blank = false;
			before = '\0';
			continue;
		}
		if (angle)		/* nothing but comments may follow */
			return false;
		/* "a @ b . c" is one address, "a b" is not. */
		if (blank && out->len > 0 && c != '.' && c != '@' && before != '.' && before != '@')
			*gap = true;
		blank = false;
		if (c == '"') {
			if (!take_quoted(s, out))
				return false;
			before = '"';
			continue;
		}
		if (c == '[') {	/* an address literal may hold ':' */
			size_t end = slice_find(*s, ']');

			if (end == s->len)
				return false;
			(void)buf_put(out, s->ptr, end + 1);
			*s = slice_sub(*s, end + 1, s->len);
			before = ']';
			continue;
		}
		(void)buf_char(out, c);
		before = c;
		*s = slice_sub(*s, 1, s->len);
	}
	if (angle)
		*gap = false;
	*s = slice_sub(*s, 1, s->len);
	return true;
}

bool
header_addr_next(struct slice *field, struct buf *out, bool *bad)
{
	bool gap;

	while (field->len > 0) {
		buf_reset(out);
		if (!take_element(field, out, &gap) || out->full) {
			*bad = true;
			skip_bad(field);
			continue;
		}
		if (gap) {
			*bad = true;
			continue;
		}
		if (out->len > 0)
			return true;
	}
	buf_reset(out);
	return false;
}
