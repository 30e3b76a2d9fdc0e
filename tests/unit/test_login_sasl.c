/* base64 and SASL PLAIN of the login fronts. */
#include "check.h"

#include <string.h>

#include "login/login.h"

static void
base64(void **unused)
{
	static const struct { const char *text; const char *octets; int len; } row[] = {
		{ "", "", 0 },			{ "QQ==", "A", 1 },		{ "QUI=", "AB", 2 },
		{ "QUJD", "ABC", 3 },		{ "QUJDRA==", "ABCD", 4 },	{ "AAEC/w==", "\0\1\2\377", 4 },
		{ "+/+/", "\373\377\277", 3 },
		{ "Q", "", -1 },		{ "QQ", "", -1 },		{ "QQ=", "", -1 },
		{ "QQ===", "", -1 },		{ "====", "", -1 },		{ "Q===", "", -1 },
		{ "QR==", "", -1 },		{ "QUJ=", "", -1 },		{ "QQ==QQ==", "", -1 },
		{ "QU D", "", -1 },		{ "QUJD\n", "", -1 },		{ "QU-D", "", -1 },
		{ "=QQ=", "", -1 },		{ "Q=Q=", "", -1 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		char octets[8];
		size_t len = 99;
		bool fine = login_base64(slice_of(row[i].text), octets, sizeof(octets), &len);

		check_row(i, fine == (row[i].len >= 0));
		if (fine)
			check_row(i, len == (size_t)row[i].len && memcmp(octets, row[i].octets, len) == 0);
	}
}

/* A NUL in the text is no digit; what does not fit is refused; nothing is read behind the end. */
static void
base64_bounds(void **unused)
{
	static const char with_nul[] = { 'Q', 'U', '\0', 'D' };
	char octets[3], *edge;
	size_t len;

	(void)unused;
	assert_false(login_base64(slice_make(with_nul, 4), octets, sizeof(octets), &len));
	assert_true(login_base64(SLICE("QUJD"), octets, 3, &len));
	assert_false(login_base64(SLICE("QUJD"), octets, 2, &len));
	assert_true(login_base64(SLICE("QUI="), octets, 2, &len));
	edge = test_malloc(4);
	memcpy(edge, "QUJD", 4);
	assert_true(login_base64(slice_make(edge, 4), octets, 3, &len));
	test_free(edge);
}

static void
plain(void **unused)
{
#define M(lit) { lit, sizeof(lit) - 1 }
	static const struct { struct slice message; const char *user, *password; } row[] = {
		{ M("\0u\0p"), "u", "p" },		{ M("u\0u\0p"), "u", "p" },
		{ M("\0u@d.example\0p q"), "u@d.example", "p q" },
		{ M("other\0u\0p"), NULL, NULL },	{ M("\0\0p"), NULL, NULL },
		{ M("\0u\0"), NULL, NULL },		{ M("\0u"), NULL, NULL },
		{ M("u"), NULL, NULL },			{ M(""), NULL, NULL },
		{ M("\0\0"), NULL, NULL },		{ M("\0u\0p\0"), NULL, NULL },
		{ M("\0u\0p\0q"), NULL, NULL },		{ M("\0"), NULL, NULL },
	};
#undef M

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct slice user, password;
		bool fine = login_sasl_plain(row[i].message, &user, &password);

		check_row(i, fine == (row[i].user != NULL));
		if (fine)
			check_row(i, slice_is(user, row[i].user) && slice_is(password, row[i].password));
	}
}

static void
plain_limits(void **unused)
{
	char message[1 + 321 + 1 + 1025];
	struct slice user, password;

	(void)unused;
	memset(message, 'x', sizeof(message));
	message[0] = message[321] = '\0';
	assert_true(login_sasl_plain(slice_make(message, 322 + 1024), &user, &password));
	assert_int_equal(user.len, 320);
	assert_int_equal(password.len, 1024);
	assert_false(login_sasl_plain(slice_make(message, 322 + 1025), &user, &password));
	message[321] = 'x';
	message[322] = '\0';
	assert_false(login_sasl_plain(slice_make(message, 323 + 10), &user, &password));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64),
		cmocka_unit_test(base64_bounds),
		cmocka_unit_test(plain),
		cmocka_unit_test(plain_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
