/* auth: crypt(5) hashes of every scheme, with and without {SCHEME}. */
#include "check.h"

#include <crypt.h>
#include <stdio.h>
#include <string.h>

#include "auth/auth_hash.h"

/* "geheim" by each method; what crypt(5) gives for fixed salts. */
static void
schemes(void **unused)
{
	static const struct { const char *prefix, *scheme; unsigned long count; } row[] = {
		{ "$y$", "", 1 }, { "$y$", "{CRYPT}", 1 }, { "$y$", "{yescrypt}", 1 },
		{ "$6$", "{SHA512-CRYPT}", 1000 }, { "$6$", "{CRYPT}", 1000 }, { "$5$", "{SHA256-CRYPT}", 1000 },
		{ "$2b$", "{BLF-CRYPT}", 4 }, { "$2b$", "", 4 }, { "$7$", "", 6 }, { "$1$", "{MD5-CRYPT}", 0 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct crypt_data data = { 0 };
		char salt[CRYPT_GENSALT_OUTPUT_SIZE], text[500], setting[ACCOUNTS_HASH_MAX + 1];
		const char *hash;

		check_row(i, crypt_gensalt_rn(row[i].prefix, row[i].count, "0123456789abcdef", 16, salt, sizeof(salt)) != NULL);
		hash = crypt_r("geheim", salt, &data);
		check_row(i, hash != NULL && hash[0] != '*');
		(void)snprintf(text, sizeof(text), "%s%s", row[i].scheme, hash);
		check_row(i, auth_hash_setting(slice_of(text), setting));
		check_row(i, auth_hash_check(setting, SLICE("geheim")) == OK);
		check_row(i, auth_hash_check(setting, SLICE("Geheim")) == PERM);
		check_row(i, auth_hash_check(setting, SLICE("geheim ")) == PERM);
		check_row(i, auth_hash_check(setting, SLICE("geheim\0")) == PERM);
		check_row(i, auth_hash_check(setting, SLICE("")) == PERM);
	}
}

static void
no_password_fits(void **unused)
{
	static const struct { const char *hash; bool setting; } row[] = {
		{ "", false }, { "!", false }, { "*", false }, { "!$y$j9T$x$y", false }, { "{PLAIN}geheim", false },
		{ "{SSHA}x", false }, { "{CRYPT}", false }, { "{CRYPT}!", false }, { "{CRYPT", false }, { "{", false },
		{ "geheim", true }, { "$y$", true }, { "$99$x$y", true }, { "x", true },
	};
	char setting[ACCOUNTS_HASH_MAX + 1], large[ACCOUNTS_HASH_MAX + 2];

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, auth_hash_setting(slice_of(row[i].hash), setting) == row[i].setting);
		if (!row[i].setting)
			continue;
		check_row(i, auth_hash_check(setting, SLICE("geheim")) == PERM);
		check_row(i, auth_hash_check(setting, SLICE("")) == PERM);
		check_row(i, auth_hash_check(setting, slice_of(row[i].hash)) == PERM);
	}
	memset(large, 'a', sizeof(large));
	assert_false(auth_hash_setting(slice_make(large, sizeof(large)), setting));
	assert_false(auth_hash_setting(slice_make("$y$\0", 4), setting));
}

static void
dummy_fits_nothing(void **unused)
{
	char one[ACCOUNTS_HASH_MAX + 1], two[ACCOUNTS_HASH_MAX + 1], long_one[AUTH_PASSWORD_MAX + 1] = { 0 };

	(void)unused;
	assert_true(auth_hash_dummy(one) && auth_hash_dummy(two));
	assert_string_not_equal(one, two);
	assert_memory_equal(one, "$y$j9T$", 7);	/* the cost of `pennypost user add` */
	assert_int_equal(auth_hash_check(one, SLICE("geheim")), PERM);
	assert_int_equal(auth_hash_check(one, slice_make(long_one, sizeof(long_one))), PERM);
	memset(long_one, 'x', sizeof(long_one));
	assert_int_equal(auth_hash_check(one, slice_make(long_one, AUTH_PASSWORD_MAX)), PERM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schemes),
		cmocka_unit_test(no_password_fits),
		cmocka_unit_test(dummy_fits_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
