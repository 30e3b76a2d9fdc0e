/* mime_charset: text of any charset as UTF-8.  Converters are opened before confinement. */
#include <errno.h>
#include <iconv.h>
#include <string.h>
#include <unistr.h>

#include "mime.h"

/* Charsets that mail is written in; the first name is glibc's. */
static const char *const charset_names[] = {
	"ISO-8859-1", "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5", "ISO-8859-6", "ISO-8859-7",
	"ISO-8859-8", "ISO-8859-9", "ISO-8859-10", "ISO-8859-13", "ISO-8859-14", "ISO-8859-15", "ISO-8859-16",
	"WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1252", "WINDOWS-1253", "WINDOWS-1254", "WINDOWS-1255",
	"WINDOWS-1256", "WINDOWS-1257", "WINDOWS-1258", "CP437", "CP850", "CP852", "CP866", "MACINTOSH",
	"KOI8-R", "KOI8-U", "TIS-620", "GB2312", "GBK", "GB18030", "BIG5", "BIG5-HKSCS", "EUC-JP", "SHIFT_JIS",
	"ISO-2022-JP", "ISO-2022-KR", "ISO-2022-CN", "EUC-KR", "UHC", "EUC-TW", "UTF-7", "UTF-16", "UTF-16LE",
	"UTF-16BE", "UTF-32",
};

/* Other names that are written for them. */
static const struct { const char *name, *is; } aliases[] = {
	{ "CP1250", "WINDOWS-1250" }, { "CP1251", "WINDOWS-1251" }, { "CP1252", "WINDOWS-1252" },
	{ "LATIN1", "ISO-8859-1" }, { "ISO8859-1", "ISO-8859-1" }, { "ISO_8859-1", "ISO-8859-1" },
	{ "ISO8859-15", "ISO-8859-15" }, { "ISO-8859-8-I", "ISO-8859-8" }, { "KS_C_5601-1987", "UHC" },
	{ "CP949", "UHC" }, { "GB_2312-80", "GB2312" }, { "X-GBK", "GBK" }, { "SJIS", "SHIFT_JIS" },
	{ "X-SJIS", "SHIFT_JIS" }, { "WINDOWS-31J", "SHIFT_JIS" }, { "MAC", "MACINTOSH" }, { "WINDOWS-874", "TIS-620" },
};

/* Shared by all who convert in this process; opened once. */
static iconv_t opened[LEN(charset_names)];
static bool is_open[LEN(charset_names)];

void
mime_charsets_open(void)
{
	for (size_t i = 0; i < LEN(charset_names); i++) {
		if (is_open[i])
			continue;
		opened[i] = iconv_open("UTF-8", charset_names[i]);
		is_open[i] = opened[i] != (iconv_t)-1;
	}
}

void
mime_charsets_close(void)
{
	for (size_t i = 0; i < LEN(charset_names); i++) {
		if (is_open[i])
			(void)iconv_close(opened[i]);
		is_open[i] = false;
	}
}

static bool
is_utf8(struct slice charset)
{
	return slice_ieq(charset, "UTF-8") || slice_ieq(charset, "UTF8") || slice_ieq(charset, "US-ASCII") ||
	    slice_ieq(charset, "ASCII") || slice_ieq(charset, "ANSI_X3.4-1968");
}

static size_t
find_charset(struct slice charset)
{
	for (size_t i = 0; i < LEN(aliases); i++)
		if (slice_ieq(charset, aliases[i].name))
			charset = slice_of(aliases[i].is);
	for (size_t i = 0; i < LEN(charset_names); i++)
		if (slice_ieq(charset, charset_names[i]))
			return i;
	return LEN(charset_names);
}

bool
mime_charset_known(struct slice charset)
{
	size_t i;

	charset = slice_trim(charset);
	if (is_utf8(charset))
		return true;
	i = find_charset(charset);
	return i == 0 || (i < LEN(charset_names) && is_open[i]);
}

#define REPLACEMENT "\xef\xbf\xbd"	/* U+FFFD */

/* Copy what is valid; U+FFFD for each octet that is not. */
static void
utf8_to_utf8(struct slice text, struct buf *out)
{
	while (text.len > 0 && !out->full) {
		const uint8_t *bad = u8_check((const uint8_t *)text.ptr, text.len);
		size_t good = bad == NULL ? text.len : (size_t)((const char *)bad - text.ptr);

		(void)buf_slice(out, slice_sub(text, 0, good));
		if (bad != NULL)
			(void)buf_text(out, REPLACEMENT);
		text = slice_sub(text, good + 1, text.len);
	}
}

static void
latin1_to_utf8(struct slice text, struct buf *out)
{
	for (size_t i = 0; i < text.len && !out->full; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c < 0x80) {
			(void)buf_char(out, (char)c);
		} else {
			const char two[2] = { (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)) };

			(void)buf_put(out, two, 2);
		}
	}
}

static void
iconv_to_utf8(iconv_t cd, struct slice text, struct buf *out)
{
	char chunk[4096], *in = (char *)(uintptr_t)text.ptr;
	size_t left = text.len;

	(void)iconv(cd, NULL, NULL, NULL, NULL);
	while (left > 0 && !out->full) {
		char *to = chunk;
		size_t room = sizeof(chunk), rc;

		rc = iconv(cd, &in, &left, &to, &room);
		(void)buf_put(out, chunk, sizeof(chunk) - room);
		if (rc != (size_t)-1 || errno == E2BIG)
			continue;
		(void)buf_text(out, REPLACEMENT);	/* EILSEQ; EINVAL at the end */
		in++;
		left--;
	}
}

bool
mime_to_utf8(struct slice charset, struct slice text, struct buf *out)
{
	size_t i;

	charset = slice_trim(charset);
	if (is_utf8(charset)) {
		utf8_to_utf8(text, out);
		return !out->full;
	}
	i = find_charset(charset);
	if (i == LEN(charset_names) || (i != 0 && !is_open[i]))
		return false;
	if (i == 0)
		latin1_to_utf8(text, out);
	else
		iconv_to_utf8(opened[i], text, out);
	return !out->full;
}
