/* mime_charset.c: charsets to UTF-8. */
#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <strings.h>
#include <unistr.h>

#include "mime_int.h"

/* What mail is written in, by the name glibc knows and the others that are seen. */
static const struct { const char *name, *also; } charsets[] = {
	{ "ISO-8859-2", "latin2" }, { "ISO-8859-3", "latin3" }, { "ISO-8859-4", "latin4" },
	{ "ISO-8859-5", "cyrillic" }, { "ISO-8859-6", "arabic" }, { "ISO-8859-7", "greek" },
	{ "ISO-8859-8", "iso-8859-8-i" }, { "ISO-8859-9", "latin5" }, { "ISO-8859-10", "latin6" },
	{ "ISO-8859-11", "tis-620" }, { "ISO-8859-13", "latin7" }, { "ISO-8859-14", "latin8" },
	{ "ISO-8859-15", "latin-9" }, { "ISO-8859-16", "latin10" },
	{ "CP1250", "windows-1250" }, { "CP1251", "windows-1251" }, { "CP1252", "windows-1252" },
	{ "CP1253", "windows-1253" }, { "CP1254", "windows-1254" }, { "CP1255", "windows-1255" },
	{ "CP1256", "windows-1256" }, { "CP1257", "windows-1257" }, { "CP1258", "windows-1258" },
	{ "CP874", "windows-874" }, { "CP437", "ibm437" }, { "CP850", "ibm850" }, { "CP866", "ibm866" },
	{ "KOI8-R", "koi8r" }, { "KOI8-U", "koi8u" }, { "MACINTOSH", "mac" },
	{ "GB18030", "gb2312" }, { "GBK", "cp936" }, { "BIG5", "big5-hkscs" }, { "HZ", "hz-gb-2312" },
	{ "EUC-JP", "eucjp" }, { "SHIFT_JIS", "shift-jis" }, { "CP932", "windows-31j" },
	{ "ISO-2022-JP", "csiso2022jp" }, { "ISO-2022-KR", "csiso2022kr" },
	{ "EUC-KR", "ks_c_5601-1987" }, { "CP949", "uhc" },
	{ "UTF-7", "unicode-1-1-utf-7" }, { "UTF-16", "unicode" }, { "UTF-16LE", "utf16le" },
	{ "UTF-16BE", "utf16be" }, { "UTF-32", "ucs-4" },
};

enum { KIND_UTF8, KIND_ASCII, KIND_LATIN1, KIND_ICONV };

/* glibc's converters are loaded once for the process, before it confines itself. */
static iconv_t opened[LEN(charsets)];
static bool is_open[LEN(charsets)];

void
mime_charsets_open(void)
{
	for (size_t i = 0; i < LEN(charsets); i++) {
		if (is_open[i])
			continue;
		opened[i] = iconv_open("UTF-8", charsets[i].name);
		is_open[i] = opened[i] != (iconv_t)-1;
	}
}

void
mime_charsets_close(void)
{
	for (size_t i = 0; i < LEN(charsets); i++) {
		if (is_open[i])
			(void)iconv_close(opened[i]);
		is_open[i] = false;
	}
}

static const struct { const char *name; int kind; } built_in[] = {
	{ "utf-8", KIND_UTF8 }, { "utf8", KIND_UTF8 }, { "us-ascii", KIND_ASCII }, { "ascii", KIND_ASCII },
	{ "ansi_x3.4-1968", KIND_ASCII }, { "iso-8859-1", KIND_LATIN1 }, { "latin1", KIND_LATIN1 },
	{ "iso8859-1", KIND_LATIN1 }, { "iso_8859-1", KIND_LATIN1 },
};

bool
mime_converter_init(struct mime_converter *c, struct slice charset)
{
	*c = (struct mime_converter){ .kind = -1 };
	charset = slice_trim(charset);
	for (size_t i = 0; i < LEN(built_in); i++) {
		if (slice_ieq(charset, built_in[i].name))
			c->kind = built_in[i].kind;
	}
	for (size_t i = 0; i < LEN(charsets) && c->kind < 0; i++) {
		if (is_open[i] && (slice_ieq(charset, charsets[i].name) || slice_ieq(charset, charsets[i].also))) {
			c->kind = KIND_ICONV;
			c->cd = opened[i];
			(void)iconv(c->cd, NULL, NULL, NULL, NULL);
		}
	}
	return c->kind >= 0;
}

bool
mime_charset_known(struct slice charset)
{
	struct mime_converter c;

	return mime_converter_init(&c, charset);
}

static bool
put_unknown(struct buf *out)
{
	return buf_put(out, "\xef\xbf\xbd", 3);		/* U+FFFD */
}

/* ---- the charsets known without help; both return the octets used ---- */

/* Whole characters as they are. */
static size_t
put_utf8(struct slice s, bool last, struct buf *out)
{
	const uint8_t *p = (const uint8_t *)s.ptr;
	size_t at = 0, from = 0;

	while (at < s.len) {
		ucs4_t c;
		int n;

		if (p[at] < 0x80) {
			at++;
			continue;
		}
		n = u8_mbtoucr(&c, p + at, s.len - at);
		if (n == -2 && !last)
			break;		/* the rest of it comes with the next piece */
		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		(void)buf_put(out, s.ptr + from, at - from);
		(void)put_unknown(out);
		from = ++at;
	}
	(void)buf_slice(out, slice_sub(s, from, at - from));
	return at;
}

static size_t
put_single(struct slice s, bool latin1, struct buf *out)
{
	for (size_t i = 0; i < s.len && !out->full; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c < 0x80)
			(void)buf_char(out, (char)c);
		else if (!latin1)
			(void)put_unknown(out);
		else
			(void)buf_put(out, (char[]){ (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)) }, 2);
	}
	return s.len;
}

/* ---- iconv ---- */

static size_t
put_iconv(iconv_t cd, struct slice s, bool last, struct buf *out)
{
	union { const char *in; char *for_iconv; } p = { .in = s.ptr };	/* which does not write there */
	size_t left = s.len;

	while (left > 0 && !out->full) {
		size_t size = left * 2 + 16 < 65536 ? left * 2 + 16 : 65536, room = size;
		char *to = buf_room(out, size);

		if (to == NULL)
			break;
		if (iconv(cd, &p.for_iconv, &left, &to, &room) != (size_t)-1 || errno == E2BIG) {
			buf_add(out, size - room);
			continue;
		}
		buf_add(out, size - room);
		if (errno == EINVAL && !last)
			break;
		(void)put_unknown(out);		/* an octet that means nothing here */
		p.in++;
		left--;
	}
	return s.len - left;
}

static size_t
put_piece(struct mime_converter *c, struct slice s, bool last, struct buf *out)
{
	switch (c->kind) {
	case KIND_UTF8:
		return put_utf8(s, last, out);
	case KIND_ASCII:
	case KIND_LATIN1:
		return put_single(s, c->kind == KIND_LATIN1, out);
	default:
		return put_iconv(c->cd, s, last, out);
	}
}

bool
mime_converter_put(struct mime_converter *c, struct slice text, bool last, struct buf *out)
{
	size_t used;

	/* First what was left over, with as much of text as makes it whole. */
	while (c->carry_n > 0 && (text.len > 0 || last)) {
		size_t had = c->carry_n, more = sizeof(c->carry) - had;

		more = more < text.len ? more : text.len;
		if (more > 0)
			memcpy(c->carry + had, text.ptr, more);
		used = put_piece(c, slice_make(c->carry, had + more), last && more == text.len, out);
		if (used < had) {	/* still not whole: there was too little of it */
			c->carry_n = had + more;
			return !out->full;
		}
		c->carry_n = 0;
		text = slice_sub(text, used - had, text.len);
	}
	used = put_piece(c, text, last, out);
	c->carry_n = text.len - used;
	if (c->carry_n > sizeof(c->carry))
		c->carry_n = 0;		/* no charset has such characters: memory was short */
	if (c->carry_n > 0)
		memcpy(c->carry, text.ptr + used, c->carry_n);
	return !out->full;
}

bool
mime_to_utf8(struct slice charset, struct slice text, struct buf *out)
{
	struct mime_converter c;

	return mime_converter_init(&c, charset) && mime_converter_put(&c, text, true, out);
}
