/* mime_param.c: parameters, RFC 2045 section 5.1 and RFC 2231. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mime_int.h"

/* A quoted-string off the front, quotes included; to the end if it is not closed. */
static struct slice
take_quoted(struct slice *s)
{
	struct slice out;
	size_t i = 1;

	while (i < s->len && s->ptr[i] != '"')
		i += s->ptr[i] == '\\' ? 2 : 1;
	if (i > s->len)
		i = s->len;
	out = slice_sub(*s, 0, i + 1);
	*s = slice_sub(*s, i + 1, s->len);
	return out;
}

/* On a line of its own stands "token=": the ';' before it was forgotten. */
static bool
next_param(struct slice gap, struct slice s)
{
	if (slice_find(gap, '\n') == gap.len || mime_take_token(&s).len == 0)
		return false;
	mime_skip_cfws(&s, NULL);
	return s.len > 0 && s.ptr[0] == '=';
}

/* Tokens may hold what only quoted-strings should: then up to the next ';'. */
static struct slice
take_sloppy(struct slice *s)
{
	struct slice whole = *s, value, gap;
	size_t n = 0;

	while (n < s->len && strchr("; \t\r\n(", s->ptr[n]) == NULL)
		n++;
	value = slice_sub(*s, 0, n);
	*s = slice_sub(*s, n, s->len);
	gap = *s;
	mime_skip_cfws(s, NULL);
	gap.len -= s->len;
	if (s->len == 0 || s->ptr[0] == ';' || next_param(gap, *s))
		return value;
	n = slice_find(whole, ';');
	*s = slice_sub(whole, n, whole.len);
	return slice_trim(slice_sub(whole, 0, n));
}

bool
mime_param_next(struct slice *rest, struct slice *name, struct slice *value)
{
	while (rest->len > 0) {
		mime_skip_cfws(rest, NULL);
		if (rest->len > 0 && rest->ptr[0] == ';') {
			*rest = slice_sub(*rest, 1, rest->len);
			continue;
		}
		*name = mime_take_token(rest);
		mime_skip_cfws(rest, NULL);
		if (name->len == 0 || rest->len == 0 || rest->ptr[0] != '=') {
			(void)slice_cut(rest, ';');	/* no parameter: go to the next */
			continue;
		}
		*rest = slice_sub(*rest, 1, rest->len);
		mime_skip_cfws(rest, NULL);
		*value = rest->len > 0 && rest->ptr[0] == '"' ? take_quoted(rest) : take_sloppy(rest);
		return true;
	}
	return false;
}

bool
mime_unquote(struct slice value, struct buf *out)
{
	bool quoted = value.len > 0 && value.ptr[0] == '"';

	for (size_t i = quoted; i < value.len; i++) {
		char c = value.ptr[i];

		if (quoted && c == '"')
			break;
		if (quoted && c == '\\' && i + 1 < value.len)
			c = value.ptr[++i];
		if (c != '\0' && c != '\r' && c != '\n')
			(void)buf_char(out, c);
	}
	return !out->full;
}

bool
mime_language_next(struct slice *rest, struct slice *tag)
{
	while (rest->len > 0) {
		mime_skip_cfws(rest, NULL);
		*tag = mime_take_token(rest);
		if (tag->len > 0)
			return true;
		*rest = slice_sub(*rest, 1, rest->len);
	}
	return false;
}

/* ---- RFC 2231 ---- */

struct piece {
	struct slice	value;
	bool		encoded;	/* %41, and in the first the charset */
};

/* "name", "name*", "name*3", "name*3*": which piece of it; false if it is another parameter. */
static bool
piece_of(struct slice param, const char *name, size_t *index, bool *encoded, bool *numbered)
{
	struct slice number;
	uint64_t n;

	if (!slice_iprefix(&param, name))
		return false;
	*encoded = param.len > 0 && param.ptr[param.len - 1] == '*';
	*index = 0;
	*numbered = false;
	if (param.len == 0 || slice_is(param, "*"))
		return true;
	if (!slice_prefix(&param, "*"))
		return false;
	number = slice_sub(param, 0, param.len - *encoded);
	if (!slice_number(number, MIME_PARAMS_MAX - 1, &n))
		return false;
	*index = (size_t)n;
	*numbered = true;
	return true;
}

static void
put_percent(struct slice s, struct buf *out)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '%' && i + 2 < s.len && mime_hex(s.ptr[i + 1]) >= 0 && mime_hex(s.ptr[i + 2]) >= 0) {
			(void)buf_char(out, (char)(mime_hex(s.ptr[i + 1]) << 4 | mime_hex(s.ptr[i + 2])));
			i += 2;
		} else {
			(void)buf_char(out, s.ptr[i]);
		}
	}
}

/* charset'language'text; text goes with the next piece, so charset is a view of what was written. */
static void
take_charset(struct slice written, struct slice *charset, struct slice *text)
{
	struct slice rest = *text;

	(void)slice_prefix(&written, "\"");
	(void)slice_cut(&rest, '\'');
	if (slice_find(rest, '\'') == rest.len)
		return;		/* without them it is all text */
	(void)slice_cut(&rest, '\'');
	*charset = slice_cut(&written, '\'');
	*text = rest;
}

/* The pieces in their order, decoded; the charset is in front of the first. */
static bool
join(const struct piece *piece, struct buf *out)
{
	struct buf octets, plain;
	struct slice charset = { 0 };
	bool ok;

	buf_init(&octets, MIME_HEADER_MAX);
	buf_init(&plain, MIME_HEADER_MAX);
	for (size_t i = 0; i < MIME_PARAMS_MAX && piece[i].value.ptr != NULL; i++) {
		struct slice text;

		buf_reset(&plain);
		(void)mime_unquote(piece[i].value, &plain);
		text = buf_slice_of(&plain);
		if (piece[i].encoded && i == 0)
			take_charset(piece[0].value, &charset, &text);
		if (piece[i].encoded)
			put_percent(text, &octets);
		else
			(void)buf_slice(&octets, text);
	}
	ok = (charset.len > 0 && mime_to_utf8(charset, buf_slice_of(&octets), out)) ||
	    mime_to_utf8(SLICE("UTF-8"), buf_slice_of(&octets), out);
	buf_clear(&octets);
	buf_clear(&plain);
	return ok;
}

static bool
put_plain(struct slice value, struct buf *out)
{
	struct buf text;
	bool ok;

	buf_init(&text, MIME_HEADER_MAX);
	ok = mime_unquote(value, &text) && mime_value_utf8(buf_slice_of(&text), out);
	buf_clear(&text);
	return ok;
}

bool
mime_param_utf8(struct slice params, const char *name, struct buf *out)
{
	struct piece piece[MIME_PARAMS_MAX] = { 0 };
	struct slice param, value, plain = { 0 };
	size_t index;
	bool encoded, numbered, extended = false;

	for (size_t n = 0; n < MIME_PARAMS_MAX && mime_param_next(&params, &param, &value); n++) {
		if (!piece_of(param, name, &index, &encoded, &numbered))
			continue;
		if (!encoded && !numbered) {
			if (plain.ptr == NULL)
				plain = value;
		} else if (piece[index].value.ptr == NULL) {
			piece[index] = (struct piece){ value, encoded };
			extended = true;
		}
	}
	if (extended && piece[0].value.ptr != NULL)
		return join(piece, out);
	return plain.ptr != NULL && put_plain(plain, out);
}
