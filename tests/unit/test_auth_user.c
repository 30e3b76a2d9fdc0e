/* auth: names are checked before anything sees them. */
#include "check.h"

#include <string.h>

#include "accounts.h"
#include "auth/auth_user.h"

static void
logins(void **unused)
{
	static const struct { const char *given, *canonical; } row[] = {
		{ "alice@a.test", "alice@a.test" },	{ "ALICE@A.Test", "alice@a.test" },
		{ "alice", "alice@host.test" },		{ "a.b+c@a.test", "a.b+c@a.test" },
		{ "o'neil@a.test", "o'neil@a.test" },	{ "", NULL },
		{ "@", NULL },				{ "@a.test", NULL },
		{ "alice@", NULL },			{ "a b@a.test", NULL },
		{ "alice@a.test\n", NULL },		{ "alice@a.test\t", NULL },
		{ "\"al ice\"@a.test", NULL },		{ "al/ice@a.test", NULL },
		{ "../../etc/passwd", NULL },		{ "*@a.test", NULL },
		{ "a`id`@a.test", NULL },		{ "$(id)@a.test", NULL },
		{ "a;b@a.test", NULL },			{ "a|b@a.test", NULL },
		{ "a\\b@a.test", NULL },		{ "a@b@c.test", NULL },
		{ "al\xc3\xa9@a.test", NULL },		{ "alice%00@a.test", "alice%00@a.test" },
		{ "alice@a..test", NULL },		{ "alice@-a.test", NULL },
		{ "alice@[127.0.0.1]", NULL },		{ "<alice@a.test>", NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct addr a;
		const bool ok = auth_user_parse(slice_of(row[i].given), SLICE("host.test"), &a);

		check_row(i, ok == (row[i].canonical != NULL));
		if (ok)
			check_row(i, slice_is(addr_text(&a), row[i].canonical));
	}
}

/* NUL is no end, and there is an end to length. */
static void
odd_ones(void **unused)
{
	char text[400];
	struct addr a;

	(void)unused;
	assert_false(auth_user_parse(slice_make("alice\0@a.test", 13), SLICE("h.test"), &a));
	assert_false(auth_user_parse(slice_make("alice@a.test\0", 13), SLICE("h.test"), &a));
	memset(text, 'a', sizeof(text));
	for (size_t len = 0; len < sizeof(text); len++)
		assert_int_equal(auth_user_parse(slice_make(text, len), SLICE("h.test"), &a), len > 0 && len <= ADDR_LOCAL_MAX);
	assert_false(auth_user_parse(SLICE("alice"), slice_make(text, sizeof(text)), &a));
	assert_false(auth_user_parse(SLICE("alice"), SLICE(""), &a));
}

static void
accounts_of_the_machine(void **unused)
{
	static const struct { const char *name; bool good; } row[] = {
		{ "alice", true }, { "_apt", true }, { "www-data", true }, { "a.b", true }, { "a1", true },
		{ "", false }, { "-rf", false }, { ".", false }, { "1a", false }, { "Alice", false },
		{ "a b", false }, { "a+b", false }, { "a@b", false }, { "a/b", false }, { "a$", false },
		{ "a2345678901234567890123456789012", true }, { "a23456789012345678901234567890123", false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, auth_user_is_account(slice_of(row[i].name)) == row[i].good);
}

/* What stands in accounts.cdb comes back; what could not have been written is refused. */
static void
records(void **unused)
{
	static const struct account_record row[] = {
		{ false, SLICE("$y$j9T$salt$hash") }, { true, SLICE("$6$x$y") }, { false, SLICE("") },
	};
	struct account_record back;
	struct buf out;
	char large[ACCOUNTS_HASH_MAX + 2] = { 0 };

	(void)unused;
	buf_init(&out, 4096);
	for (size_t i = 0; i < LEN(row); i++) {
		buf_reset(&out);
		check_row(i, account_record_put(&out, &row[i]));
		check_row(i, account_record_get(buf_slice_of(&out), &back));
		check_row(i, back.disabled == row[i].disabled && slice_eq(back.hash, row[i].hash));
	}
	assert_false(account_record_get(SLICE(""), &back));
	assert_false(account_record_get(SLICE("\2$y$"), &back));
	assert_false(account_record_get(slice_make("\0$y\0", 4), &back));
	memset(large + 1, 'x', sizeof(large) - 1);
	assert_false(account_record_get(slice_make(large, sizeof(large)), &back));
	assert_true(account_record_get(slice_make(large, sizeof(large) - 1), &back));
	assert_false(account_record_put(&out, &(struct account_record){ false, slice_make(large + 1, sizeof(large) - 1) }));
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logins),
		cmocka_unit_test(odd_ones),
		cmocka_unit_test(accounts_of_the_machine),
		cmocka_unit_test(records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
