/* mime_word.c: encoded-words in header fields (RFC 2047). */
#include <string.h>
#include <unistr.h>

#include "mime_int.h"

struct word {
	struct slice	charset;	/* without the language of RFC 2231 section 5 */
	bool		base64;
	struct slice	text;
	size_t		len;		/* octets from "=?" to "?=" */
};

/* An encoded-word at the front of s. */
static bool
parse_word(struct slice s, struct word *out)
{
	struct slice rest = s, charset, encoding;

	if (!slice_prefix(&rest, "=?"))
		return false;
	rest = slice_sub(rest, 0, 4096);	/* 75 octets are allowed; no search without end */
	charset = slice_cut(&rest, '?');
	encoding = slice_cut(&rest, '?');
	if (charset.len == 0 || encoding.len != 1 || strchr("bBqQ", encoding.ptr[0]) == NULL || encoding.ptr[0] == '\0')
		return false;
	out->text = slice_sub(rest, 0, slice_find(rest, '?'));
	rest = slice_sub(rest, out->text.len, rest.len);
	if (!slice_prefix(&rest, "?="))
		return false;
	out->charset = slice_cut(&charset, '*');
	out->base64 = (encoding.ptr[0] | 32) == 'b';
	out->len = (size_t)(rest.ptr - s.ptr);
	return true;		/* blanks should not be in it, but are sent */
}

static void
decode_word(const struct word *w, struct buf *octets)
{
	struct mime_base64 state = { 0 };

	if (w->base64)
		(void)mime_base64_put(&state, w->text, octets);
	else
		(void)mime_qp_put(w->text, true, octets);
}

/* Text outside of encoded-words: UTF-8 (RFC 6532), or else most likely Latin. */
static void
put_plain(struct slice s, struct buf *out)
{
	bool utf8 = u8_check((const uint8_t *)s.ptr, s.len) == NULL;

	(void)mime_to_utf8(utf8 ? SLICE("UTF-8") : SLICE("ISO-8859-1"), s, out);
}

static bool
same_charset(struct slice a, struct slice b)
{
	char text[64];

	return slice_text(b, text, sizeof(text)) && slice_ieq(a, text);
}

/* A run of encoded-words with blanks between them, at the front of *s: those of one charset
 * are converted together, for a character may be cut in two. */
static void
put_run(struct slice *s, struct buf *out)
{
	struct slice written = { s->ptr, 0 };
	struct word first, w;
	struct buf octets;

	buf_init(&octets, MIME_HEADER_MAX);
	(void)parse_word(*s, &first);
	for (w = first; ; ) {
		struct slice rest = slice_sub(*s, w.len, s->len);

		decode_word(&w, &octets);
		written.len = (size_t)(rest.ptr - written.ptr);
		*s = rest;
		while (rest.len > 0 && (rest.ptr[0] == ' ' || rest.ptr[0] == '\t'))
			rest = slice_sub(rest, 1, rest.len);
		if (!parse_word(rest, &w))
			break;
		*s = rest;	/* blanks between encoded-words are not shown */
		if (!same_charset(w.charset, first.charset))
			break;
	}
	if (!mime_to_utf8(first.charset, buf_slice_of(&octets), out))
		put_plain(written, out);
	buf_clear(&octets);
}

static void
put_value(struct slice s, struct buf *out)
{
	struct word w;

	while (s.len > 0) {
		const char *p = memmem(s.ptr, s.len, "=?", 2);
		size_t at = p == NULL ? s.len : (size_t)(p - s.ptr);

		put_plain(slice_sub(s, 0, at), out);
		s = slice_sub(s, at, s.len);
		if (s.len == 0)
			break;
		if (parse_word(s, &w)) {
			put_run(&s, out);
		} else {
			(void)buf_text(out, "=?");
			s = slice_sub(s, 2, s.len);
		}
	}
}

bool
mime_value_utf8(struct slice value, struct buf *out)
{
	struct buf text;

	buf_init(&text, value.len + 1);
	if (mime_unfold(value, &text))
		put_value(buf_slice_of(&text), out);
	else
		out->full = true;
	buf_clear(&text);
	return !out->full;
}
