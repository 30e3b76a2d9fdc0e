/* mime_param: parameters of a field (RFC 2045 section 5.1, RFC 2231). */
#include <stdio.h>
#include <string.h>

#include "mime.h"
#include "mime_token.h"

/* Past blanks, line ends and comments (RFC 5322 section 3.2.2); an open comment reaches to the end. */
void
mime_skip_cfws(struct slice *s)
{
	size_t i = 0;
	unsigned depth = 0;

	for (; i < s->len; i++) {
		char c = s->ptr[i];

		if (depth > 0 && c == '\\')
			i++;	/* may be the last octet: the loop ends */
		else if (c == '(')
			depth++;
		else if (depth > 0 && c == ')')
			depth--;
		else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n')
			break;
	}
	*s = slice_sub(*s, i > s->len ? s->len : i, s->len);
}

/* token, RFC 2045 section 5.1. */
struct slice
mime_token(struct slice *s)
{
	size_t n = 0;
	struct slice token;

	while (n < s->len && s->ptr[n] > ' ' && s->ptr[n] < 127 && strchr("()<>@,;:\\\"/[]?=", s->ptr[n]) == NULL)
		n++;
	token = slice_sub(*s, 0, n);
	*s = slice_sub(*s, n, s->len);
	return token;
}

/* A quoted-string with its quotes; to the end if it is not closed. */
static struct slice
quoted(struct slice *s)
{
	size_t n = 1;
	struct slice out;

	while (n < s->len && s->ptr[n] != '"')
		n += s->ptr[n] == '\\' ? 2 : 1;
	out = slice_sub(*s, 0, n + 1);
	*s = slice_sub(*s, n + 1, s->len);
	return out;
}

bool
mime_param_next(struct slice *rest, struct slice *name, struct slice *value)
{
	for (;;) {
		mime_skip_cfws(rest);
		while (rest->len > 0 && rest->ptr[0] == ';') {
			*rest = slice_sub(*rest, 1, rest->len);
			mime_skip_cfws(rest);
		}
		*name = mime_token(rest);
		mime_skip_cfws(rest);
		if (name->len > 0 && rest->len > 0 && rest->ptr[0] == '=')
			break;
		/* No parameter: on to the next one. */
		*rest = slice_sub(*rest, slice_find(*rest, ';'), rest->len);
		if (rest->len == 0)
			return false;
	}
	*rest = slice_sub(*rest, 1, rest->len);
	mime_skip_cfws(rest);
	if (rest->len > 0 && rest->ptr[0] == '"') {
		*value = quoted(rest);
	} else {	/* a token; as many write it, with signs that it should not have */
		size_t n = 0;

		while (n < rest->len && strchr("; \t\r\n", rest->ptr[n]) == NULL)
			n++;
		*value = slice_sub(*rest, 0, n);
		*rest = slice_sub(*rest, n, rest->len);
	}
	return true;
}

bool
mime_unquote(struct slice value, struct buf *out)
{
	bool in_quotes = value.len > 0 && value.ptr[0] == '"';

	for (size_t i = in_quotes ? 1 : 0; i < value.len; i++) {
		char c = value.ptr[i];

		if (in_quotes && c == '"')
			break;
		if (in_quotes && c == '\\' && i + 1 < value.len)
			c = value.ptr[++i];
		if (c != '\r' && c != '\n' && c != '\0')
			(void)buf_char(out, c);
	}
	return !out->full;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static void
percent_decode(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		int high = -1, low = -1;

		if (s.ptr[i] == '%' && i + 2 < s.len) {
			high = hex_value(s.ptr[i + 1]);
			low = hex_value(s.ptr[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			(void)buf_char(out, (char)(high * 16 + low));
			i += 2;
		} else {
			(void)buf_char(out, s.ptr[i]);
		}
	}
}

/* One piece of an RFC 2231 value: the first extended one tells the charset. */
static void
put_piece(struct slice value, bool extended, bool first, struct buf *charset, struct buf *octets)
{
	struct buf plain;
	struct slice text;

	buf_init(&plain, value.len + 1);
	(void)mime_unquote(value, &plain);
	text = buf_slice_of(&plain);
	if (extended && first && slice_find(text, '\'') < text.len) {
		(void)buf_slice(charset, slice_cut(&text, '\''));
		(void)slice_cut(&text, '\'');	/* the language */
	}
	if (extended)
		percent_decode(text, octets);
	else
		(void)buf_slice(octets, text);
	buf_clear(&plain);
}

/* name*, name*N or name*N*: which piece, and is it percent-encoded?  -1: another parameter. */
static int
piece_of(struct slice name, const char *wanted, bool *extended)
{
	uint64_t n = 0;

	*extended = false;
	if (!slice_iprefix(&name, wanted))
		return -1;
	if (name.len == 0)
		return 0;
	if (name.ptr[0] != '*')
		return -1;
	name = slice_sub(name, 1, name.len);
	if (name.len == 0) {
		*extended = true;
		return 0;
	}
	if (name.ptr[name.len - 1] == '*') {
		*extended = true;
		name.len--;
	}
	return slice_number(name, MIME_PARAMS_MAX, &n) ? (int)n : -1;
}

static bool
find_piece(struct slice params, const char *wanted, int number, struct slice *value, bool *extended)
{
	struct slice name;

	for (int i = 0; i < MIME_PARAMS_MAX && mime_param_next(&params, &name, value); i++)
		if (piece_of(name, wanted, extended) == number)
			return true;
	return false;
}

bool
mime_param_utf8(struct slice params, const char *name, struct buf *out)
{
	struct buf charset, octets;
	struct slice value;
	bool extended, any = false, found;
	int n = 0;

	buf_init(&charset, 100);
	buf_init(&octets, params.len + 1);
	while ((found = find_piece(params, name, n, &value, &extended))) {
		put_piece(value, extended, n == 0, &charset, &octets);
		any |= extended;
		n++;
	}
	if (n == 1 && !any) {
		(void)mime_value_utf8(buf_slice_of(&octets), out);
	} else if (n > 0 && (charset.len == 0 || !mime_to_utf8(buf_slice_of(&charset), buf_slice_of(&octets), out))) {
		(void)mime_to_utf8(SLICE("UTF-8"), buf_slice_of(&octets), out);
	}
	buf_clear(&charset);
	buf_clear(&octets);
	return n > 0;
}

bool
mime_language_next(struct slice *rest, struct slice *tag)
{
	for (;;) {
		mime_skip_cfws(rest);
		if (rest->len == 0)
			return false;
		*tag = mime_token(rest);
		if (tag->len > 0)
			return true;
		*rest = slice_sub(*rest, 1, rest->len);
	}
}
