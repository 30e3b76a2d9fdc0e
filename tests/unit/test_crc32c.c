/* tests/unit/test_crc32c.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crc32c.h"

/* RFC 3720 appendix B.4, and the usual check value. */
static void
known_values(void **unused)
{
	unsigned char zeros[32] = { 0 }, ones[32];

	(void)unused;
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
	assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43u);
	assert_int_equal(crc32c(0, "", 0), 0);
}

static void
in_parts(void **unused)
{
	const char text[] = "The quick brown fox jumps over the lazy dog";
	uint32_t whole = crc32c(0, text, sizeof(text));

	(void)unused;
	for (size_t i = 0; i <= sizeof(text); i++)
		assert_int_equal(crc32c(crc32c(0, text, i), text + i, sizeof(text) - i), whole);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
