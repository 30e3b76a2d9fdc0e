/* slice, buf, qid: the vocabulary. */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "qid.h"
#include "slice.h"

static void
numbers(void **unused)
{
	static const struct { const char *text; uint64_t max; bool ok; uint64_t n; } row[] = {
		{ "0", 0, true, 0 },			{ "1", 0, false, 0 },
		{ "", 10, false, 0 },			{ "12", 12, true, 12 },
		{ "13", 12, false, 0 },			{ "012", 12, true, 12 },
		{ "-1", 10, false, 0 },			{ " 1", 10, false, 0 },
		{ "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, false, 0 },
		{ "99999999999999999999", UINT64_MAX, false, 0 },
		{ "9", 8, false, 0 },			{ "255", 255, true, 255 },
		{ "256", 255, false, 0 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		uint64_t n = 0;

		check_row(i, slice_number(slice_of(row[i].text), row[i].max, &n) == row[i].ok);
		check_row(i, n == row[i].n);
	}
}

static void
cutting(void **unused)
{
	struct slice s = slice_of("a:b::c"), trimmed = slice_trim(slice_of(" \t x y \r\n"));
	char small[3];

	(void)unused;
	assert_true(slice_is(slice_cut(&s, ':'), "a"));
	assert_true(slice_is(slice_cut(&s, ':'), "b"));
	assert_true(slice_is(slice_cut(&s, ':'), ""));
	assert_true(slice_is(slice_cut(&s, ':'), "c"));
	assert_int_equal(s.len, 0);
	assert_true(slice_is(slice_cut(&s, ':'), ""));
	assert_true(slice_is(trimmed, "x y"));
	assert_false(slice_text(slice_of("abc"), small, sizeof(small)));
	assert_string_equal(small, "");
	assert_false(slice_text(slice_make("a\0b", 3), small, sizeof(small)));
	assert_int_equal(slice_sub(slice_of("abc"), 5, 1).len, 0);
	assert_int_equal(slice_sub(slice_of("abc"), 1, SIZE_MAX).len, 2);
	assert_int_equal(slice_rfind(slice_of("a@b@c"), '@'), 3);
}

static void
buf_keeps_its_cap(void **unused)
{
	struct buf b;

	(void)unused;
	buf_init(&b, 10);
	assert_true(buf_text(&b, "12345"));
	assert_true(buf_fmt(&b, "%d", 678));
	assert_true(buf_put(&b, "90", 2));
	assert_string_equal(buf_cstr(&b), "1234567890");
	assert_false(buf_char(&b, 'x'));
	assert_true(b.full);
	assert_false(buf_put(&b, "", 0));
	assert_int_equal(b.len, 10);
	buf_reset(&b);
	assert_true(buf_text(&b, "abc"));
	buf_skip(&b, 1);
	assert_true(slice_is(buf_slice_of(&b), "bc"));
	buf_skip(&b, 100);
	assert_int_equal(b.len, 0);
	buf_clear(&b);
	assert_null(buf_room(&b, 11));
	buf_clear(&b);
}

static void
qid_round_trip(void **unused)
{
	static const uint64_t row[] = { 1, 61, 62, 3843, 12345678901234567u, UINT64_MAX - 1, UINT64_MAX };
	char text[QID_TEXT], before[QID_TEXT] = "";
	struct qid q;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		(void)qid_print((struct qid){ row[i] }, text);
		check_row(i, strlen(text) == QID_DIGITS);
		check_row(i, qid_parse(slice_of(text), &q) && q.n == row[i]);
		check_row(i, strcmp(before, text) < 0);	/* text sorts like the number */
		(void)strcpy(before, text);
	}
	assert_false(qid_parse(slice_of("00000000000"), &q));
	assert_false(qid_parse(slice_of("zzzzzzzzzzz"), &q));
	assert_false(qid_parse(slice_of("0000000000"), &q));
	assert_false(qid_parse(slice_of("0000000000-"), &q));
	assert_int_equal(qid_time((struct qid){ 1700000000ull * 1000000 * QID_PER_USEC + 7 }), 1700000000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers), cmocka_unit_test(cutting),
		cmocka_unit_test(buf_keeps_its_cap), cmocka_unit_test(qid_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
