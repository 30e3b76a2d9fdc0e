/* auth: the cache never says yes to what was not said yes to (RELIABILITY.md, V12). */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "auth/auth_cache.h"
#include "auth/auth_mac.h"

#define SECOND	UINT64_C(1000000)
#define ROUNDS	10000

static const char *const services[] = { "imap", "smtp" };
static const char *const methods[] = { "PLAIN", "LOGIN" };
/* Two domains, the same local parts; lengths that would run into each other without a mark between. */
static const char *const users[] = { "al@b.test", "al@bb.test", "all@b.test", "all@bb.test" };
static const char *const passwords[] = { "", "x", "xx", "al@b.test", "PLAIN" };

#define TUPLES (LEN(services) * LEN(methods) * LEN(users) * LEN(passwords))

static struct auth_tuple
tuple(size_t n)
{
	const size_t p = LEN(passwords), u = LEN(users), m = LEN(methods);

	return (struct auth_tuple){
		.password = slice_of(passwords[n % p]), .user = slice_of(users[n / p % u]),
		.method = slice_of(methods[n / p / u % m]), .service = slice_of(services[n / p / u / m]),
	};
}

/* Random orders of put, has, time and clear, beside a model that remembers everything. */
static void
no_cross_accept(void **unused)
{
	struct auth_cache *c = auth_cache_new(4096, 60);
	uint64_t until[TUPLES] = { 0 }, now = SECOND;
	size_t hits = 0;

	(void)unused;
	assert_non_null(c);
	srandom(7);
	for (size_t i = 0; i < ROUNDS * 10; i++) {
		const size_t n = (size_t)random() % TUPLES;
		const struct auth_tuple t = tuple(n);
		const long what = random() % 1000;

		now += (uint64_t)(random() % 1000) * 1000;
		if (what == 0) {
			auth_cache_clear(c);
			memset(until, 0, sizeof(until));
		} else if (what < 50) {
			auth_cache_put(c, &t, now);
			until[n] = now + 60 * SECOND;
		} else {
			const bool has = auth_cache_has(c, &t, now);

			check_row(n, has == (until[n] > now));
			hits += has ? 1 : 0;
		}
	}
	assert_true(hits > ROUNDS / 2);
	auth_cache_free(c);
}

/* Full, it forgets, and still never says yes to a stranger. */
static void
bounded(void **unused)
{
	struct auth_cache *c = auth_cache_new(8, 60);
	size_t kept = 0;

	(void)unused;
	for (size_t n = 0; n < TUPLES; n += 2) {
		const struct auth_tuple t = tuple(n);

		auth_cache_put(c, &t, SECOND + n);
	}
	for (size_t n = 0; n < TUPLES; n++) {
		const struct auth_tuple t = tuple(n);
		const bool has = auth_cache_has(c, &t, SECOND + n);

		check_row(n, !has || n % 2 == 0);
		kept += has ? 1 : 0;
	}
	assert_in_range(kept, 4, 8);
	auth_cache_free(c);
}

static void
no_cache(void **unused)
{
	struct auth_cache *c = auth_cache_new(8, 0);
	const struct auth_tuple t = tuple(1);

	(void)unused;
	auth_cache_put(c, &t, SECOND);
	assert_false(auth_cache_has(c, &t, SECOND));
	auth_cache_free(c);
}

static void
mac_keeps_parts_apart(void **unused)
{
	static const struct slice one[] = { SLICE("ab"), SLICE("c") }, two[] = { SLICE("a"), SLICE("bc") };
	unsigned char a[AUTH_MAC_OCTETS], b[AUTH_MAC_OCTETS];
	struct auth_mac_key key, other;
	char large[3000] = { 0 };
	const struct slice whole = slice_make(large, sizeof(large));

	(void)unused;
	assert_true(auth_mac_key_new(&key) && auth_mac_key_new(&other));
	assert_true(auth_mac(&key, one, 2, a) && auth_mac(&key, two, 2, b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(auth_mac(&other, one, 2, b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(auth_mac(&key, one, 2, b));
	assert_memory_equal(a, b, sizeof(a));
	assert_false(auth_mac(&key, &whole, 1, a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_cross_accept),
		cmocka_unit_test(bounded),
		cmocka_unit_test(no_cache),
		cmocka_unit_test(mac_keeps_parts_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
