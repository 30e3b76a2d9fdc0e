/* mime: parameters, transfer encodings, charsets, encoded-words, search. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "mime/mime.h"

typedef bool converter(struct slice in, struct buf *out);

static void
run_table(const char *const (*row)[2], size_t n, converter *convert)
{
	for (size_t i = 0; i < n; i++) {
		struct buf b;

		buf_init(&b, 10000);
		if (!convert(slice_of(row[i][0]), &b) || !slice_is(buf_slice_of(&b), row[i][1]))
			fail_msg("row %zu: %s", i, buf_cstr(&b));
		buf_clear(&b);
	}
}

/* ---- parameters: name=value, |-separated ---- */

static bool
print_params(struct slice in, struct buf *out)
{
	struct slice name, value;

	while (mime_param_next(&in, &name, &value)) {
		(void)buf_slice(out, name);
		(void)buf_char(out, '=');
		(void)mime_unquote(value, out);
		(void)buf_char(out, '|');
	}
	return true;
}

static void
params(void **unused)
{
	static const char *const row[][2] = {
		{ "; a=b", "a=b|" }, { ";a=\"b;c\" ; d = e", "a=b;c|d=e|" },
		{ "; charset=us-ascii (Plain text)", "charset=us-ascii|" },
		{ "; name=my file.pdf; x=y", "name=my file.pdf|x=y|" },
		{ "; name=\"a\\\"b\\\\c\"", "name=a\"b\\c|" },
		{ "; boundary=gc0pJq0M:08jU534c0p", "boundary=gc0pJq0M:08jU534c0p|" },
		{ "; a=b\r\n\tc=\"d\"", "a=b|c=d|" },	/* the ';' was forgotten */
		{ ";;; = ;; n=\"v\";", "n=v|" }, { "; a", "" }, { ";a=", "a=|" }, { "", "" },
		{ "; a=\"unclosed", "a=unclosed|" }, { "; a=\"x\\", "a=x\\|" },
		{ "; name*0*=utf-8''a; name*1=b", "name*0*=utf-8''a|name*1=b|" },
	};

	(void)unused;
	run_table(row, LEN(row), print_params);
}

static bool
name_param(struct slice in, struct buf *out)
{
	return mime_param_utf8(in, "name", out) || buf_text(out, "(none)");
}

static void
params_of_rfc2231(void **unused)
{
	static const char *const row[][2] = {
		{ "; name=x", "x" }, { "; NAME=x; name=y", "x" }, { "; named=x", "(none)" },
		{ "; name*=us-ascii'en-us'This%20is%20%2A", "This is *" },
		{ "; name*=iso-8859-1''Fr%F6sche", "Fr\xc3\xb6sche" },
		{ "; name*0*=us-ascii'en'even%20; name*2=\"isn't\"; name*1*=%2A%20", "even * isn't" },
		{ "; name*0=ftp://; name*1=\"x.test/%20\"", "ftp://x.test/%20" },
		{ "; name=plain; name*=utf-8''b%C3%A9", "b\xc3\xa9" },
		{ "; name=\"=?utf-8?q?b=C3=A9?=.png\"", "b\xc3\xa9.png" },
		{ "; name*1=b", "(none)" }, { "; name*99999=x", "(none)" }, { "; name*=%zz%4", "%zz%4" },
		{ "; name*=nonsense''a%41", "aA" },
	};

	(void)unused;
	run_table(row, LEN(row), name_param);
}

static void
languages(void **unused)
{
	struct slice rest = SLICE(" mi (Maori), en-us ,,de"), tag;

	(void)unused;
	assert_true(mime_language_next(&rest, &tag) && slice_is(tag, "mi"));
	assert_true(mime_language_next(&rest, &tag) && slice_is(tag, "en-us"));
	assert_true(mime_language_next(&rest, &tag) && slice_is(tag, "de"));
	assert_false(mime_language_next(&rest, &tag));
}

/* ---- transfer encodings ---- */

static bool
base64(struct slice in, struct buf *out)
{
	return mime_decode(MIME_BASE64, in, out);
}

static bool
qp(struct slice in, struct buf *out)
{
	return mime_decode(MIME_QUOTED_PRINTABLE, in, out);
}

static void
transfer_encodings(void **unused)
{
	static const char *const b64[][2] = {
		{ "SGVsbG8=", "Hello" }, { "SGVs\r\nbG8=\r\n", "Hello" }, { "SGVsbG8", "Hello" },
		{ "SGk=SGk=", "HiHi" }, { "S!G-k=", "Hi" }, { "", "" }, { "=", "" }, { "A", "" }, { "====", "" },
	};
	static const char *const quoted[][2] = {
		{ "a=3Db", "a=b" }, { "soft=\r\nly", "softly" }, { "soft=\nly", "softly" }, { "soft= \t\r\nly", "softly" },
		{ "blank  \r\nnext", "blank\r\nnext" }, { "bad =XY =4", "bad =XY =4" }, { "a=", "a" },
		{ "=e4=E4", "\xe4\xe4" }, { "a_b", "a_b" }, { "", "" }, { "x\n\n=\n", "x\n\n" },
	};

	(void)unused;
	run_table(b64, LEN(b64), base64);
	run_table(quoted, LEN(quoted), qp);
}

/* ---- charsets ---- */

static void
charsets(void **unused)
{
	static const struct { const char *charset, *in, *out; bool known; } row[] = {
		{ "utf-8", "b\xc3\xa9", "b\xc3\xa9", true }, { "UTF8", "x", "x", true },
		{ "utf-8", "a\xff" "b\xc3", "a\xef\xbf\xbd" "b\xef\xbf\xbd", true },
		{ "us-ascii", "a\xe4", "a\xef\xbf\xbd", true },
		{ "ISO-8859-1", "Fr\xf6sche", "Fr\xc3\xb6sche", true },
		{ "windows-1252", "\x80", "\xe2\x82\xac", true },
		{ "koi8-r", "\xf0", "\xd0\x9f", true },
		{ "iso-2022-jp", "\x1b$B$3\x1b(B", "\xe3\x81\x93", true },
		{ "shift_jis", "\x82\xb1\x82", "\xe3\x81\x93\xef\xbf\xbd", true },
		{ "gb2312", "\xc4\xe3", "\xe4\xbd\xa0", true },
		{ "klingon", "x", "", false }, { "", "x", "", false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct buf b;

		buf_init(&b, 1000);
		check_row(i, mime_charset_known(slice_of(row[i].charset)) == row[i].known);
		check_row(i, mime_to_utf8(slice_of(row[i].charset), slice_of(row[i].in), &b) == row[i].known);
		check_row(i, slice_is(buf_slice_of(&b), row[i].out));
		buf_clear(&b);
	}
}

static void
encoded_words(void **unused)
{
	static const char *const row[][2] = {
		{ "plain", "plain" }, { "=?ISO-8859-1?Q?a?=", "a" }, { "=?ISO-8859-1?Q?a?= b", "a b" },
		{ "=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab" }, { "=?ISO-8859-1?Q?a?=\r\n =?ISO-8859-2?Q?_b?=", "a b" },
		{ "=?utf-8?b?w6k=?=", "\xc3\xa9" }, { "=?utf-8*en?q?=C3=A9?= x", "\xc3\xa9 x" },
		/* a character cut in two */
		{ "=?utf-8?q?=C3?= =?utf-8?q?=A9?=", "\xc3\xa9" },
		{ "=?utf-8?B?4pqh?= =?utf-8?q?x?=!", "\xe2\x9a\xa1x!" },
		{ "=?klingon?q?x?= y", "=?klingon?q?x?= y" }, { "=?utf-8?x?y?=", "=?utf-8?x?y?=" },
		{ "=?utf-8?q?open", "=?utf-8?q?open" }, { "=?", "=?" }, { "=?=?=?", "=?=?=?" },
		{ "8bit \xc3\xa9", "8bit \xc3\xa9" }, { "latin \xe9", "latin \xc3\xa9" },
		{ "[x]=?utf-8?q?y?=", "[x]y" }, { "=?iso-8859-1?q?with blanks?=", "with blanks" },
	};

	(void)unused;
	run_table(row, LEN(row), mime_value_utf8);
}

/* ---- search ---- */

static void
keys_fold(void **unused)
{
	static const struct { const char *key, *text; bool in; } row[] = {
		{ "hello", "Say HELLO there", true }, { "\xc3\x84rger", "gro\xc3\x9f" "er \xc3\xa4RGER", true },
		{ "x", "abc", false }, { "", "abc", true }, { "", "", true }, { "abc", "ab", false },
		{ "\xd0\x9f\xd0\xa0", "\xd0\xbf\xd1\x80\xd0\xb8", true },
	};
	struct mime_key bad;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct mime_key key;

		assert_true(mime_key_init(&key, slice_of(row[i].key)));
		check_row(i, mime_match(&key, slice_of(row[i].text)) == row[i].in);
		mime_key_clear(&key);
	}
	assert_false(mime_key_init(&bad, SLICE("\xff")));
}

static const char mail[] =
    "Subject: =?utf-8?q?Caf=C3=A9?= am Eck\r\nX-Empty:\r\n"
    "Content-Type: multipart/mixed; boundary=b\r\n\r\nPreamble\r\n--b\r\n"
    "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    "Gr=F6=\r\n=DFer als\r\n--b\r\n"
    "Content-Type: text/html\r\nContent-Transfer-Encoding: base64\r\nX-Inner: needle\r\n\r\n"
    "PGI+SGF5c3Rh\r\nY2s8L2I+\r\n--b\r\n"
    "Content-Type: image/png\r\n\r\nhidden\r\n--b--\r\nEpilogue\r\n";

static bool
in_body(const char *text)
{
	struct mime_key key;
	struct mime m;
	bool found;

	assert_true(mime_key_init(&key, slice_of(text)));
	assert_true(mime_parse(SLICE(mail), &m));
	found = mime_match_body(&key, &m);
	mime_key_clear(&key);
	mime_clear(&m);
	return found;
}

static bool
in_header(const char *name, const char *text)
{
	struct slice header, body;
	struct mime_key key;
	bool found;

	assert_true(mime_key_init(&key, slice_of(text)));
	mime_split(SLICE(mail), &header, &body);
	found = name == NULL ? mime_match_header(&key, header) : mime_match_field(&key, header, slice_of(name));
	mime_key_clear(&key);
	return found;
}

static void
messages_searched(void **unused)
{
	(void)unused;
	assert_true(in_body("GR\xc3\x96\xc3\x9f" "ER"));
	assert_true(in_body("haystack"));
	assert_true(in_body("needle"));		/* a header of an inner part */
	assert_false(in_body("hidden"));	/* no text */
	assert_false(in_body("caf\xc3\xa9"));
	assert_true(in_header("subject", "CAF\xc3\x89 am"));
	assert_true(in_header(NULL, "subject: caf\xc3\xa9"));
	assert_false(in_header("to", ""));
	assert_true(in_header("x-empty", ""));
	assert_false(in_header("x-empty", "x"));
}

/* A match that begins in one piece of the body and ends in the next, and a character cut by it. */
static void
pieces_join(void **unused)
{
	struct buf text;
	struct mime_key key;
	struct mime m;

	(void)unused;
	assert_true(mime_key_init(&key, SLICE("sch\xc3\xb6nes ende")));
	for (size_t shift = 0; shift < 20; shift++) {
		buf_init(&text, 1 << 20);
		(void)buf_text(&text, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
		while (text.len < 128 * 1024 + 30 + shift)
			(void)buf_char(&text, 'x');
		(void)buf_text(&text, "Sch\xc3\xb6nes Ende");
		assert_true(mime_parse(buf_slice_of(&text), &m));
		check_row(shift, mime_match_body(&key, &m));
		mime_clear(&m);
		buf_clear(&text);
	}
	mime_key_clear(&key);
}

static int
open_charsets(void **unused)
{
	(void)unused;
	mime_charsets_open();
	return 0;
}

static int
close_charsets(void **unused)
{
	(void)unused;
	mime_charsets_close();
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(params),
		cmocka_unit_test(params_of_rfc2231),
		cmocka_unit_test(languages),
		cmocka_unit_test(transfer_encodings),
		cmocka_unit_test(charsets),
		cmocka_unit_test(encoded_words),
		cmocka_unit_test(keys_fold),
		cmocka_unit_test(messages_searched),
		cmocka_unit_test(pieces_join),
	};

	return cmocka_run_group_tests(tests, open_charsets, close_charsets);
}
