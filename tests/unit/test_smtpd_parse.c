/* smtpd/smtp_parse.c: paths, parameters, xtext. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "smtpd/smtp_parse.h"

#define S(literal) { literal, sizeof(literal) - 1 }

static void
paths(void **unused)
{
	static const struct {
		struct slice	 in;
		const char	*path, *rest;	/* path NULL: refused */
	} row[] = {
		{ S("<a@b.example>"), "a@b.example", "" },
		{ S(" \t<a@b.example>"), "a@b.example", "" },
		{ S("<>"), "", "" },
		{ S("<> SIZE=1"), "", "SIZE=1" },
		{ S("<a@b.example>   BODY=7BIT SIZE=2"), "a@b.example", "BODY=7BIT SIZE=2" },
		{ S("<\"a>b\"@c.example> X=1"), "\"a>b\"@c.example", "X=1" },
		{ S("<\"a\\\">b\"@c.example>"), "\"a\\\">b\"@c.example", "" },
		{ S("<@x.example,@y.example:a@b.example>"), "a@b.example", "" },
		{ S("<@x.example:>"), NULL, NULL },
		{ S("<@x.example>"), NULL, NULL },
		{ S(""), NULL, NULL },
		{ S("<"), NULL, NULL },
		{ S("a@b.example"), NULL, NULL },
		{ S("<a@b.example"), NULL, NULL },
		{ S("<a@b.example>SIZE=1"), NULL, NULL },
		{ S("<a@b.example>>"), NULL, NULL },
		{ S("<\"a@b.example>"), NULL, NULL },
		{ S("<\"a\\"), NULL, NULL },
		{ S("<a\0b@c.example>"), NULL, NULL },
		{ S("<a\rb@c.example>"), NULL, NULL },
		{ S("<a\nb@c.example>"), NULL, NULL },
		{ S("<a\x7f@c.example>"), NULL, NULL },
		{ S("<\"\\\n\"@c.example>"), NULL, NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct slice args = row[i].in, path;
		bool ok = smtp_parse_path(&args, &path);

		if (ok != (row[i].path != NULL))
			fail_msg("row %zu: %s", i, ok ? "taken" : "refused");
		if (!ok)
			continue;
		assert_true(slice_is(path, row[i].path));
		assert_true(slice_is(args, row[i].rest));
	}
}

static void
path_of_256_octets_is_the_longest(void **unused)
{
	char text[SMTP_PATH_MAX + 1];
	struct slice args, path;

	(void)unused;
	memset(text, 'a', sizeof(text));
	text[0] = '<';
	text[SMTP_PATH_MAX - 1] = '>';
	args = slice_make(text, SMTP_PATH_MAX);
	assert_true(smtp_parse_path(&args, &path));
	text[SMTP_PATH_MAX - 1] = 'a';
	text[SMTP_PATH_MAX] = '>';
	args = slice_make(text, SMTP_PATH_MAX + 1);
	assert_false(smtp_parse_path(&args, &path));
}

/* Every line cut at every octet, at the end of a page behind which there is nothing (V4). */
static void
nothing_is_read_behind_the_end(void **unused)
{
	static const struct slice lines[] = {
		S("<@a.example,@b:\"x\\\"y\"@c.example> SIZE=12 BODY=8BITMIME AUTH=<a+2Bb>"),
		S(" <\"\\\\\"@[IPv6:::1]>\tRET=HDRS"), S("<a@b>\\"), S("x+41+4+=+"),
	};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct buf out;

	(void)unused;
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
	buf_init(&out, 1000);
	for (size_t i = 0; i < LEN(lines); i++) {
		for (size_t len = 0; len <= lines[i].len; len++) {
			char *at = map + page - len;
			struct slice args, path;
			struct smtp_param p;
			bool bad;

			memcpy(at, lines[i].ptr, len);
			args = slice_make(at, len);
			(void)smtp_parse_path(&args, &path);
			while (smtp_parse_param(&args, &p, &bad))
				assert_true(p.keyword.len > 0);
			(void)smtp_parse_xtext(slice_make(at, len), &out);
			(void)smtp_has_control(slice_make(at, len));
			buf_reset(&out);
		}
	}
	buf_clear(&out);
	(void)munmap(map, page * 2);
}

static void
parameters(void **unused)
{
	static const struct {
		struct slice	 in;
		unsigned	 good;
		bool		 bad;
	} row[] = {
		{ S(""), 0, false },
		{ S("   "), 0, false },
		{ S("SIZE=1"), 1, false },
		{ S("SIZE=1  BODY=7BIT SMTPUTF8 "), 3, false },
		{ S("X-9=<a>"), 1, false },
		{ S("SIZE="), 0, true },
		{ S("=1"), 0, true },
		{ S("-X=1"), 0, true },
		{ S("A=1=2"), 0, true },
		{ S("A=\x80"), 0, true },
		{ S("A=\x01"), 0, true },
		{ S("S\xc3\xb6=1"), 0, true },
		{ S("A=1 B=\0"), 1, true },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct slice args = row[i].in;
		struct smtp_param p;
		unsigned good = 0;
		bool bad = false;

		while (smtp_parse_param(&args, &p, &bad))
			good++;
		if (good != row[i].good || bad != row[i].bad)
			fail_msg("row %zu: %u good, bad %d", i, good, bad);
	}
}

static void
xtext(void **unused)
{
	static const struct {
		struct slice	 in;
		const char	*out;	/* NULL: refused */
	} row[] = {
		{ S("abc"), "abc" },
		{ S("a+2Bb"), "a+b" },
		{ S("a+20b"), "a b" },
		{ S(""), "" },
		{ S("a+0Ab"), NULL },	/* V3: CVE-2020-28021 */
		{ S("a+0Db"), NULL },
		{ S("+00"), NULL },
		{ S("+7F"), NULL },
		{ S("+C2+85"), NULL },
		{ S("+2b"), NULL },	/* upper case only */
		{ S("+2"), NULL },
		{ S("+"), NULL },
		{ S("+G0"), NULL },
		{ S("a=b"), NULL },
		{ S("a b"), NULL },
		{ S("\x80"), NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct buf out;
		bool ok;

		buf_init(&out, 100);
		ok = smtp_parse_xtext(row[i].in, &out);
		if (ok != (row[i].out != NULL))
			fail_msg("row %zu: %s", i, ok ? "taken" : "refused");
		if (ok)
			assert_string_equal(buf_cstr(&out), row[i].out);
		buf_clear(&out);
	}
}

static void
names_after_ehlo(void **unused)
{
	static const struct { struct slice in; bool good; } row[] = {
		{ S("mx.example.net"), true }, { S("[192.0.2.1]"), true }, { S("[IPv6:::1]"), true },
		{ S("localhost"), true }, { S("a_b"), true }, { S("; sleep 66;"), false },
		{ S(""), false }, { S("a b"), false }, { S("a\0b"), false }, { S("a\tb"), false }, { S("\xff"), false },
	};
	char text[SMTP_HELO_MAX + 1];

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		assert_int_equal(smtp_parse_helo(row[i].in), row[i].good);
	memset(text, 'a', sizeof(text));
	assert_true(smtp_parse_helo(slice_make(text, SMTP_HELO_MAX)));
	assert_false(smtp_parse_helo(slice_make(text, SMTP_HELO_MAX + 1)));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(path_of_256_octets_is_the_longest),
		cmocka_unit_test(nothing_is_read_behind_the_end),
		cmocka_unit_test(parameters),
		cmocka_unit_test(xtext),
		cmocka_unit_test(names_after_ehlo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
