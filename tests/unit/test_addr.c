/* addr: what is an address, and when are two the same. */
#include "check.h"

#include <string.h>

#include "addr.h"

static void
valid_or_not(void **unused)
{
	static const struct { const char *text; bool ok; } row[] = {
		{ "bob@b.example", true },		{ "bob", false },
		{ "@b.example", false },		{ "bob@", false },
		{ "bob@b..example", false },		{ "bob@-b.example", false },
		{ "bob@b.example.", false },		{ ".bob@b.example", false },
		{ "bob.@b.example", false },		{ "b..b@b.example", false },
		{ "a+b=c/d@b.example", true },		{ "\"a b\"@b.example", true },
		{ "\"a\\\"b\"@b.example", true },	{ "\"a\"b@b.example", false },
		{ "\"\"@b.example", false },		{ "\"a\\", false },
		{ "\"a@b.example", false },		{ "bob@[127.0.0.1]", true },
		{ "bob@[IPv6:2001:db8::1]", true },	{ "bob@[]", false },
		{ "bob@[1.2.3.4", false },		{ "bob b@b.example", false },
		{ "bob@b.example ", false },		{ "bob@b example", false },
		{ "b\tb@b.example", false },		{ "b\x80@b.example", false },
		{ "a@b@c.example", false },		{ ";sleep 66;@b.example", false },
		{ "$(id)@b.example", false },		{ "`id`@b.example", true },
		{ "|x@b.example", true },		{ "/etc/x@b.example", true },
		{ "<bob@b.example>", false },		{ "", false },
	};
	struct addr a;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, addr_parse(slice_of(row[i].text), &a) == row[i].ok);
	assert_false(addr_parse(slice_make("a\0b@c.example", 13), &a));
	assert_false(addr_parse(slice_make("a\r\nb@c.example", 14), &a));
}

/* Cut at every octet: never read past the end, never take a part for the whole. */
static void
lengths(void **unused)
{
	char text[400];
	struct addr a;

	(void)unused;
	memset(text, 'a', sizeof(text));
	memcpy(text + 64, "@b.example", 10);
	assert_true(addr_parse(slice_make(text, 74), &a));
	assert_int_equal(a.local_len, 64);
	memset(text, 'a', sizeof(text));
	memcpy(text + 65, "@b.example", 10);
	assert_false(addr_parse(slice_make(text, 75), &a));
	for (size_t i = 0; i <= 63; i++)
		assert_false(addr_parse(slice_make(text, i), &a));
	memset(text, 'a', sizeof(text));
	text[1] = '@';
	for (size_t i = 60; i < 260; i += 60)
		text[i] = '.';
	assert_true(addr_parse(slice_make(text, 254), &a));
	assert_false(addr_parse(slice_make(text, 255), &a));
}

static void
canonical(void **unused)
{
	static const struct { const char *text, *out; } row[] = {
		{ "Bob@B.Example", "bob@b.example" },
		{ "\"Bob\"@b.example", "bob@b.example" },
		{ "\"b\\ob\"@b.example", "bob@b.example" },
		{ "\"a b\"@b.example", "\"a b\"@b.example" },
		{ "\"a.\"@b.example", "\"a.\"@b.example" },
	};
	struct addr a, c;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, addr_parse(slice_of(row[i].text), &a));
		addr_canonical(&a, &c);
		check_row(i, strcmp(c.text, row[i].out) == 0);
		check_row(i, c.len == strlen(row[i].out) && c.text[c.local_len] == '@');
		check_row(i, addr_same(&a, &c));
	}
}

static void
details(void **unused)
{
	static const struct { const char *text, *base, *detail; } row[] = {
		{ "bob+x@b.example", "bob@b.example", "x" },
		{ "bob+x+y@b.example", "bob@b.example", "x+y" },
		{ "bob+@b.example", "bob@b.example", "" },
		{ "+x@b.example", NULL, NULL },
		{ "bob@b.example", NULL, NULL },
		{ "\"a+b\"@b.example", NULL, NULL },
	};
	struct addr a, base;
	struct slice detail;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, addr_parse(slice_of(row[i].text), &a));
		check_row(i, addr_detail(&a, &base, &detail) == (row[i].base != NULL));
		if (row[i].base == NULL)
			continue;
		check_row(i, strcmp(base.text, row[i].base) == 0 && slice_is(detail, row[i].detail));
		check_row(i, slice_is(addr_domain(&base), "b.example"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(valid_or_not), cmocka_unit_test(lengths),
		cmocka_unit_test(canonical), cmocka_unit_test(details),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
