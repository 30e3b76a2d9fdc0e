/* Limits on connections, shared by the fronts of a daemon. */
#include "check.h"

#include "login/login_limits.h"
#include "slice.h"

static void
per_client(void **unused)
{
	struct login_limits *l = login_limits_new(2, 100, 2);
	size_t slot, other;

	(void)unused;
	assert_non_null(l);
	assert_int_equal(login_limits_take(l, 0, "192.0.2.1", &slot), LOGIN_LIMIT_NONE);
	assert_int_equal(login_limits_take(l, 1, "192.0.2.1", &slot), LOGIN_LIMIT_NONE);
	/* Both workers count. */
	assert_int_equal(login_limits_take(l, 1, "192.0.2.1", &other), LOGIN_LIMIT_CLIENT);
	assert_int_equal(login_limits_take(l, 0, "192.0.2.2", &other), LOGIN_LIMIT_NONE);
	login_limits_give(l, 1, slot);
	assert_int_equal(login_limits_take(l, 0, "192.0.2.1", &slot), LOGIN_LIMIT_NONE);
	assert_int_equal(login_limits_total(l), 3);
	login_limits_free(l);
}

/* IPv6: who has a /64 has one client's share. */
static void
prefixes(void **unused)
{
	static const struct { const char *one, *two; enum login_limit limit; } row[] = {
		{ "2001:db8::1", "2001:db8::ffff:1", LOGIN_LIMIT_CLIENT },
		{ "2001:db8::1", "2001:db8:0:1::1", LOGIN_LIMIT_NONE },
		{ "192.0.2.1", "192.0.2.1", LOGIN_LIMIT_CLIENT },
		{ "192.0.2.1", "192.0.3.1", LOGIN_LIMIT_NONE },
		{ "unix", "unix", LOGIN_LIMIT_NONE },
		{ "", "", LOGIN_LIMIT_NONE },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct login_limits *l = login_limits_new(1, 100, 1);
		size_t slot;

		check_row(i, login_limits_take(l, 0, row[i].one, &slot) == LOGIN_LIMIT_NONE);
		check_row(i, login_limits_take(l, 0, row[i].two, &slot) == row[i].limit);
		login_limits_free(l);
	}
}

/* A front that dies takes its connections along. */
static void
total_and_reset(void **unused)
{
	struct login_limits *l = login_limits_new(2, 3, 100);
	size_t slot;

	(void)unused;
	for (int i = 0; i < 3; i++)
		assert_int_equal(login_limits_take(l, i == 0 ? 0 : 1, "192.0.2.1", &slot), LOGIN_LIMIT_NONE);
	assert_int_equal(login_limits_take(l, 0, "192.0.2.9", &slot), LOGIN_LIMIT_TOTAL);
	login_limits_reset(l, 1);
	assert_int_equal(login_limits_total(l), 1);
	assert_int_equal(login_limits_take(l, 0, "192.0.2.9", &slot), LOGIN_LIMIT_NONE);
	/* Giving back what a reset took already does not go below nothing. */
	login_limits_give(l, 1, slot);
	assert_int_equal(login_limits_total(l), 2);
	login_limits_free(l);
}

/* Who has less than its share gets in, whatever the others hold. */
static void
shares(void **unused)
{
	struct login_limits *l = login_limits_new(2, 10, 1000);
	size_t slot;

	(void)unused;
	for (int i = 0; i < 10; i++)
		assert_int_equal(login_limits_take(l, 0, "192.0.2.1", &slot), LOGIN_LIMIT_NONE);
	assert_int_equal(login_limits_take(l, 0, "192.0.2.1", &slot), LOGIN_LIMIT_TOTAL);
	for (int i = 0; i < 5; i++)
		assert_int_equal(login_limits_take(l, 1, "192.0.2.1", &slot), LOGIN_LIMIT_NONE);
	assert_int_equal(login_limits_take(l, 1, "192.0.2.1", &slot), LOGIN_LIMIT_TOTAL);
	login_limits_free(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(per_client),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(total_and_reset),
		cmocka_unit_test(shares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
