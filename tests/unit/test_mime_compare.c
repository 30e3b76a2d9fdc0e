/* mime: base subjects (RFC 5256 section 2.1), and the order of texts (RFC 5051). */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "mime/mime.h"

static void
base_subjects(void **unused)
{
	static const struct { const char *in, *out; bool reply; } row[] = {
		{ "", "", false }, { "hello", "hello", false }, { "  hello \t world ", "hello world", false },
		{ "a\r\n\tb", "a b", false },
		{ "Re: hello", "hello", true }, { "RE:hello", "hello", true }, { "re : hello", "hello", true },
		{ "Fw: hello", "hello", true }, { "Fwd: hello", "hello", true }, { "FWD  : hello", "hello", true },
		{ "Re: Re: Fwd: hello", "hello", true }, { "Re[2]: hello", "hello", true }, { "Re [2] : hello", "hello", true },
		{ "Re:", "", true }, { "Re", "Re", false }, { "Reply: hello", "Reply: hello", false }, { "Fwdx: y", "Fwdx: y", false },
		{ "hello (fwd)", "hello", true }, { "hello (FWD) (fwd) ", "hello", true }, { "(fwd)", "", true },
		{ "hello(fwd)", "hello", true }, { "hello fwd", "hello fwd", false },
		{ "[list] hello", "hello", false }, { "[list] Re: hello", "hello", true }, { "Re: [list] hello", "hello", true },
		{ "[a][b] [c] Re: x", "x", true }, { "[a] Re: [b] Fwd: [c] x", "x", true },
		{ "[list]", "[list]", false }, { "[a] [b]", "[b]", false }, { "Re: [list]", "[list]", true }, { "[]", "[]", false },
		{ "[a]b]", "b]", false }, { "[a[b] c", "[a[b] c", false }, { "[open", "[open", false }, { "x [list]", "x [list]", false },
		{ "[fwd: hello]", "hello", true }, { "[Fwd: Re: hello]", "hello", true }, { "[fwd: [fwd: x (fwd)]]", "x", true },
		{ "Re: [fwd: hello] (fwd)", "hello", true }, { "[fwd:]", "", true }, { "[fwd: x", "[fwd: x", false },
		{ "[fwd: a] b", "b", false },
		{ "=?utf-8?Q?Re:_h=C3=A9?=", "h\xc3\xa9", true }, { "Re: =?iso-8859-1?Q?J=F6rg?=", "J\xc3\xb6rg", true },
		{ "=?us-ascii?Q?Re?=: x", "x", true },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct buf b;
		bool reply;

		buf_init(&b, 1000);
		check_row(i, mime_base_subject(slice_of(row[i].in), &b, &reply));
		check_row(i, strcmp(buf_cstr(&b), row[i].out) == 0);
		check_row(i, reply == row[i].reply);
		buf_clear(&b);
	}
}

/* Any length of it takes no long time. */
static void
long_subjects(void **unused)
{
	static const char *const what[] = { "[a]", "Re:", "(fwd)", "[fwd:", "[", "]", "=?utf-8?Q?x?= ", "\xc3\xa9" };

	(void)unused;
	for (size_t i = 0; i < LEN(what); i++) {
		size_t n = 1000000 / strlen(what[i]);
		char *text = calloc(n, strlen(what[i]) + 1);
		struct buf b;
		bool reply;

		assert_non_null(text);
		for (size_t k = 0; k < n; k++)
			memcpy(text + k * strlen(what[i]), what[i], strlen(what[i]));
		buf_init(&b, 1000000);
		check_row(i, mime_base_subject(slice_make(text, n * strlen(what[i])), &b, &reply));
		buf_clear(&b);
		free(text);
	}
}

static int
compare(const char *a, const char *b)
{
	struct buf x, y;
	int order;

	buf_init(&x, 1000);
	buf_init(&y, 1000);
	assert_true(mime_collation_key(slice_of(a), &x) && mime_collation_key(slice_of(b), &y));
	order = strcmp(buf_cstr(&x), buf_cstr(&y));
	buf_clear(&x);
	buf_clear(&y);
	return order;
}

static void
casemap(void **unused)
{
	static const struct { const char *a, *b; int order; } row[] = {
		{ "abc", "ABC", 0 }, { "a", "B", -1 }, { "B", "a", 1 }, { "", "a", -1 }, { "ab", "abc", -1 },
		{ "a_", "ab", 1 },			/* '_' is behind the capitals */
		{ "\xc3\xa9", "\xc3\x89", 0 },		/* e and E with acute */
		{ "\xc3\xa9", "e\xcc\x81", 0 },		/* the same, composed or not */
		{ "\xce\xb1", "\xce\x91", 0 },		/* alpha */
		{ "\xd0\xb6", "\xd0\x96", 0 },		/* zhe */
		{ "\xc7\x86", "\xc7\x84", 0 },		/* dz with caron: title case in all */
		{ "\xef\xac\x81", "FI", 1 },	/* a ligature decomposes, its letters keep their case */
		{ "\xef\xbc\xa1", "a", 0 },		/* fullwidth A */
		{ "z", "\xc3\xa9", 1 },			/* decomposed: E comes first */
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		int order = compare(row[i].a, row[i].b);

		check_row(i, (order > 0) - (order < 0) == row[i].order);
	}
}

/* Searching compares in the same way. */
static void
found_in(void **unused)
{
	static const struct { const char *key, *text; bool found; } row[] = {
		{ "GR\xc3\x9cN", "so gr\xc3\xbcn", true }, { "e\xcc\x81", "caf\xc3\xa9", true }, { "CAF\xc3\x89", "cafe\xcc\x81", true },
		{ "\xc3\xa9", "cafe", false }, { "\xef\xbc\xa1", "xay", true }, { "x", "", false }, { "", "", true },
		{ "\xef\xac\x81", "find", true },	/* the ligature fi */
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct mime_key key;

		check_row(i, mime_key_init(&key, slice_of(row[i].key)));
		check_row(i, mime_match(&key, slice_of(row[i].text)) == row[i].found);
		mime_key_clear(&key);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base_subjects),
		cmocka_unit_test(long_subjects),
		cmocka_unit_test(casemap),
		cmocka_unit_test(found_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
