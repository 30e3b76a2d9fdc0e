/* check.h: what the unit tests share: cmocka, and a row number on failure. */
#ifndef PP_TESTS_CHECK_H
#define PP_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* In a table: fails with the row. */
#define check_row(row, cond)	do {						\
	if (!(cond))								\
		fail_msg("row %zu: %s", (size_t)(row), #cond);			\
} while (0)

#endif
