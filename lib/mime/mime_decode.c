/* mime_decode: transfer encodings (RFC 2045 section 6) and encoded-words (RFC 2047). */
#include <string.h>

#include "mime.h"

static int
base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* What is not of the alphabet is passed over; padding ends a quantum. */
static void
base64(struct slice text, struct buf *out)
{
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < text.len && !out->full; i++) {
		int v = base64_value(text.ptr[i]);

		if (v < 0) {
			if (text.ptr[i] == '=')
				have = bits = 0;
			continue;
		}
		bits = bits << 6 | (unsigned)v;
		have += 6;
		if (have >= 8) {
			have -= 8;
			(void)buf_char(out, (char)(bits >> have & 0xff));
		}
	}
}

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Octets of blanks at s.ptr[i] if only a line end follows them; they are no content. */
static size_t
trailing_blanks(struct slice s, size_t i)
{
	size_t n = i;

	while (n < s.len && (s.ptr[n] == ' ' || s.ptr[n] == '\t'))
		n++;
	return n == s.len || s.ptr[n] == '\n' || (s.ptr[n] == '\r' && n + 1 < s.len && s.ptr[n + 1] == '\n') ? n - i : 0;
}

static void
quoted_printable(struct slice s, struct buf *out)
{
	size_t i = 0;

	while (i < s.len && !out->full) {
		char c = s.ptr[i];
		size_t blanks;

		if (c == '=') {
			blanks = trailing_blanks(s, i + 1);
			if (i + 1 + blanks == s.len)
				return;
			if (blanks > 0 || s.ptr[i + 1] == '\r' || s.ptr[i + 1] == '\n') {	/* soft line break */
				i += 1 + blanks;
				i += s.ptr[i] == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n' ? 2 : 1;
				continue;
			}
			if (i + 2 < s.len && hex(s.ptr[i + 1]) >= 0 && hex(s.ptr[i + 2]) >= 0) {
				(void)buf_char(out, (char)(hex(s.ptr[i + 1]) * 16 + hex(s.ptr[i + 2])));
				i += 3;
				continue;
			}
		} else if (c == ' ' || c == '\t') {
			size_t run = 1;

			blanks = trailing_blanks(s, i);
			if (blanks > 0) {
				i += blanks;
				continue;
			}
			while (i + run < s.len && (s.ptr[i + run] == ' ' || s.ptr[i + run] == '\t'))
				run++;
			(void)buf_put(out, s.ptr + i, run);
			i += run;
			continue;
		}
		(void)buf_char(out, c);
		i++;
	}
}

bool
mime_decode(enum mime_encoding encoding, struct slice text, struct buf *out)
{
	if (encoding == MIME_BASE64)
		base64(text, out);
	else if (encoding == MIME_QUOTED_PRINTABLE)
		quoted_printable(text, out);
	else
		(void)buf_slice(out, text);
	return !out->full;
}

/* ---- encoded-words ---- */

struct encoded_word {
	struct slice	charset, text;
	char		encoding;	/* 'b' or 'q' */
	size_t		len;		/* octets of the whole */
};

/* =?charset*language?encoding?text?= at the front of s. */
static bool
encoded_word(struct slice s, struct encoded_word *w)
{
	struct slice rest = s, encoding;
	size_t end;

	if (!slice_prefix(&rest, "=?"))
		return false;
	w->charset = slice_cut(&rest, '?');
	encoding = slice_cut(&rest, '?');
	if (w->charset.len == 0 || w->charset.len > 100 || encoding.len != 1)
		return false;
	w->charset = slice_sub(w->charset, 0, slice_find(w->charset, '*'));
	w->encoding = (char)(encoding.ptr[0] | 0x20);
	if (w->encoding != 'b' && w->encoding != 'q')
		return false;
	for (end = 0; end + 1 < rest.len; end++) {
		if (rest.ptr[end] == '?' && rest.ptr[end + 1] == '=')
			break;
		if (rest.ptr[end] == ' ' || rest.ptr[end] == '?' || end > 2000)
			return false;
	}
	if (end + 1 >= rest.len)
		return false;
	w->text = slice_sub(rest, 0, end);
	w->len = (size_t)(rest.ptr + end + 2 - s.ptr);
	return true;
}

static void
word_octets(const struct encoded_word *w, struct buf *out)
{
	if (w->encoding == 'b') {
		base64(w->text, out);
		return;
	}
	for (size_t i = 0; i < w->text.len; i++) {
		char c = w->text.ptr[i];

		if (c == '=' && i + 2 < w->text.len && hex(w->text.ptr[i + 1]) >= 0 && hex(w->text.ptr[i + 2]) >= 0) {
			c = (char)(hex(w->text.ptr[i + 1]) * 16 + hex(w->text.ptr[i + 2]));
			i += 2;
		} else if (c == '_') {
			c = ' ';
		}
		(void)buf_char(out, c);
	}
}

/* Encoded-words one after the other, with blanks alone between them; how many octets they are. */
static size_t
word_run(struct slice s, struct buf *out)
{
	struct encoded_word w, next;
	struct buf octets;
	size_t used = 0;
	bool more = encoded_word(s, &w);

	while (more) {
		buf_init(&octets, s.len + 1);
		/* Words of one charset may split a character between them. */
		for (;;) {
			size_t gap;

			word_octets(&w, &octets);
			used += w.len;
			for (gap = used; gap < s.len && (s.ptr[gap] == ' ' || s.ptr[gap] == '\t'); gap++)
				;
			more = encoded_word(slice_sub(s, gap, s.len), &next);
			if (!more)
				break;
			used = gap;
			if (next.charset.len != w.charset.len || memcmp(next.charset.ptr, w.charset.ptr, w.charset.len) != 0)
				break;
			w = next;
		}
		if (!mime_to_utf8(w.charset, buf_slice_of(&octets), out) && !out->full)
			(void)mime_to_utf8(SLICE("UTF-8"), buf_slice_of(&octets), out);
		buf_clear(&octets);
		w = next;
	}
	return used;
}

bool
mime_value_utf8(struct slice value, struct buf *out)
{
	struct buf line;
	struct slice rest;

	buf_init(&line, value.len + 1);
	(void)mime_unfold(value, &line);
	rest = buf_slice_of(&line);
	while (rest.len > 0 && !out->full) {
		size_t n = 0, used;

		/* Up to what may be an encoded-word. */
		while (n < rest.len && !(rest.ptr[n] == '=' && n + 1 < rest.len && rest.ptr[n + 1] == '?'))
			n++;
		if (n > 0) {
			(void)mime_to_utf8(SLICE("UTF-8"), slice_sub(rest, 0, n), out);
			rest = slice_sub(rest, n, rest.len);
			continue;
		}
		used = word_run(rest, out);
		if (used == 0) {
			(void)buf_char(out, rest.ptr[0]);
			used = 1;
		}
		rest = slice_sub(rest, used, rest.len);
	}
	buf_clear(&line);
	return !out->full;
}
