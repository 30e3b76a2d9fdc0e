/* auth: who fails often waits longer and longer; others do not. */
#include "check.h"

#include <stdio.h>

#include "auth/auth_throttle.h"

#define SECOND	UINT64_C(1000000)

static void
spacing_grows(void **unused)
{
	struct auth_throttle *t = auth_throttle_new(64);
	const struct slice a = SLICE("192.0.2.1"), b = SLICE("192.0.2.2"), u = SLICE("u@x.test");
	const uint64_t now = 1000 * SECOND;

	(void)unused;
	for (int i = 0; i < THROTTLE_FREE; i++) {
		assert_int_equal(auth_throttle_wait(t, a, u, now), 0);
		auth_throttle_failed(t, a, u, now);
	}
	/* The first takes the place that is free, the next ones queue up behind it. */
	assert_int_equal(auth_throttle_wait(t, a, u, now), 0);
	assert_int_equal(auth_throttle_wait(t, a, u, now), SECOND);
	assert_int_equal(auth_throttle_wait(t, a, u, now), 2 * SECOND);
	assert_int_equal(auth_throttle_wait(t, b, u, now), 0);
	auth_throttle_failed(t, a, u, now);
	assert_int_equal(auth_throttle_wait(t, a, u, now), 3 * SECOND);
	assert_int_equal(auth_throttle_wait(t, a, u, now), 5 * SECOND);
	for (int i = 0; i < 100; i++)
		auth_throttle_failed(t, a, u, now);
	assert_int_equal(auth_throttle_wait(t, a, u, now), 7 * SECOND);
	assert_int_equal(auth_throttle_wait(t, a, u, now), 23 * SECOND);
	assert_true(auth_throttle_wait(t, a, u, now) == UINT64_MAX);
	auth_throttle_free(t);
}

static void
failures_are_forgiven(void **unused)
{
	struct auth_throttle *t = auth_throttle_new(64);
	const struct slice a = SLICE("192.0.2.1"), u = SLICE("");
	uint64_t now = 1000 * SECOND;

	(void)unused;
	for (int i = 0; i < 1000; i++)
		auth_throttle_failed(t, a, u, now);
	(void)auth_throttle_wait(t, a, u, now);
	assert_true(auth_throttle_wait(t, a, u, now) > 0);
	now += 1000 * SECOND;	/* a quarter of an hour, however many they were */
	assert_int_equal(auth_throttle_wait(t, a, u, now), 0);
	assert_int_equal(auth_throttle_wait(t, a, u, now), 0);
	/* A telephone with an old password, once a minute, is never held up. */
	for (int i = 0; i < 1000; i++, now += 60 * SECOND) {
		assert_int_equal(auth_throttle_wait(t, a, u, now), 0);
		auth_throttle_failed(t, a, u, now);
	}
	auth_throttle_free(t);
}

static void
counted_by(void **unused)
{
	static const struct { const char *failed, *by, *then, *login; bool held; } row[] = {
		{ "2001:db8:1:2::1", "u", "2001:db8:1:2:ffff::9", "v", true },	/* one /64 */
		{ "2001:db8:1:2::1", "u", "2001:db8:1:3::1", "u", false },
		{ "::ffff:192.0.2.1", "u", "192.0.2.1", "v", true },
		{ "192.0.2.1", "u", "192.0.2.2", "u", false },
		{ "127.0.0.1", "u", "127.0.0.1", "v", false },			/* web mail */
		{ "127.0.0.1", "u", "::1", "u", true },
		{ "unix", "u", "", "u", true },
		{ "no address at all that could be one, and longer than any", "u", "unix", "u", true },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct auth_throttle *t = auth_throttle_new(64);

		for (int k = 0; k < 10; k++)
			auth_throttle_failed(t, slice_of(row[i].failed), slice_of(row[i].by), SECOND);
		(void)auth_throttle_wait(t, slice_of(row[i].then), slice_of(row[i].login), SECOND);
		check_row(i, (auth_throttle_wait(t, slice_of(row[i].then), slice_of(row[i].login), SECOND) > 0) == row[i].held);
		auth_throttle_free(t);
	}
}

/* A hundred thousand addresses push out those that failed once, not the one that does it all the time. */
static void
bounded(void **unused)
{
	struct auth_throttle *t = auth_throttle_new(64);
	const struct slice a = SLICE("198.51.100.1"), u = SLICE("");

	(void)unused;
	for (int k = 0; k < 10; k++)
		auth_throttle_failed(t, a, u, SECOND);
	for (unsigned i = 0; i < 100000; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
		auth_throttle_failed(t, slice_of(text), u, SECOND);
	}
	(void)auth_throttle_wait(t, a, u, SECOND);
	assert_true(auth_throttle_wait(t, a, u, SECOND) > 0);
	auth_throttle_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spacing_grows),
		cmocka_unit_test(failures_are_forgiven),
		cmocka_unit_test(counted_by),
		cmocka_unit_test(bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
