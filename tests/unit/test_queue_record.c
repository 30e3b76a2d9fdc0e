#include "check.h"

#include <stdio.h>
#include <string.h>

#include "queue/queue_record.h"
#include "queue/queue_scan.h"

#define SALT UINT64_C(0x1122334455667788)

/* Fill every field with something: slices of 3 octets, numbers as large as they may be. */
#define FILL_u8(name, limit)	m.name = (uint8_t)(limit);
#define FILL_u16(name, limit)	m.name = (uint16_t)(limit);
#define FILL_u32(name, limit)	m.name = (uint32_t)(limit);
#define FILL_u64(name, limit)	m.name = (uint64_t)(limit);
#define FILL_slice(name, limit)	m.name = SLICE("a\0b");
#define FILL(type, name, limit, meaning)	FILL_##type(name, limit)
#define SAME_u8(name)		assert_int_equal(m.name, back.name);
#define SAME_u16(name)		assert_int_equal(m.name, back.name);
#define SAME_u32(name)		assert_int_equal(m.name, back.name);
#define SAME_u64(name)		assert_true(m.name == back.name);
#define SAME_slice(name)	assert_true(slice_eq(m.name, back.name));
#define SAME(type, name, limit, meaning)	SAME_##type(name)

#define ROUND_TRIP(name, number, FIELDS)					\
	static void								\
	round_trip_##name(void)							\
	{									\
		struct record_##name m, back;					\
		struct buf b;							\
										\
		FIELDS(FILL)							\
		buf_init(&b, 100000);						\
		assert_true(record_put_##name(&b, &m));				\
		assert_true(record_get_##name(buf_slice_of(&b), &back));	\
		FIELDS(SAME)							\
		for (size_t n = 0; n < b.len; n++)				\
			assert_false(record_get_##name(slice_make(b.ptr, n), &back)); \
		assert_true(buf_char(&b, 'x'));					\
		assert_false(record_get_##name(buf_slice_of(&b), &back));	\
		buf_clear(&b);							\
	}
RECORD_TYPES(ROUND_TRIP)

#define ELEMENT_TRIP(name, FIELDS)						\
	static void								\
	element_trip_##name(void)						\
	{									\
		struct record_##name m, back;					\
		struct buf b;							\
		struct slice list;						\
		bool bad = false;						\
										\
		FIELDS(FILL)							\
		buf_init(&b, 100000);						\
		assert_true(record_add_##name(&b, &m));				\
		assert_true(record_add_##name(&b, &m));				\
		list = buf_slice_of(&b);					\
		assert_true(record_next_##name(&list, &back, &bad));		\
		FIELDS(SAME)							\
		assert_true(record_next_##name(&list, &back, &bad));		\
		assert_false(record_next_##name(&list, &back, &bad));		\
		assert_false(bad);						\
		for (size_t n = 1; n < b.len / 2; n++) {			\
			list = slice_make(b.ptr, n);				\
			bad = false;						\
			assert_false(record_next_##name(&list, &back, &bad));	\
			assert_true(bad);					\
		}								\
		buf_clear(&b);							\
	}
RECORD_ELEMENTS(ELEMENT_TRIP)

static void
bodies_come_back_and_cuts_are_refused(void **unused)
{
	(void)unused;
#define CALL(name, number, FIELDS)	round_trip_##name();
	RECORD_TYPES(CALL)
#define CALL_ELEMENT(name, FIELDS)	element_trip_##name();
	RECORD_ELEMENTS(CALL_ELEMENT)
}

static void
limits_hold(void **unused)
{
	static char long_text[400];
	struct record_message m = { .qid = 1, .sender = { long_text, 321 } }, back;
	struct buf b;

	(void)unused;
	memset(long_text, 'a', sizeof(long_text));
	buf_init(&b, 10000);
	assert_false(record_put_message(&b, &m));	/* one octet too long */
	buf_reset(&b);
	m.sender.len = 320;
	m.origin = 4;
	assert_false(record_put_message(&b, &m));	/* no such origin */
	buf_reset(&b);
	m.origin = 3;
	assert_true(record_put_message(&b, &m));
	b.ptr[8] = 4;	/* the same from outside */
	assert_false(record_get_message(buf_slice_of(&b), &back));
	buf_clear(&b);
}

static void
heads_and_headers(void **unused)
{
	const struct segment_header h = { .version = 1, .seq = 7, .salt = SALT, .first_lsn = 99, .made_usec = 5, .trace = true };
	struct segment_header back;
	struct record_head head;
	char raw[SEGMENT_HEADER];
	struct buf b;

	(void)unused;
	segment_header_put(&h, raw);
	assert_true(segment_header_get(slice_make(raw, sizeof(raw)), &back));
	assert_true(back.version == h.version && back.seq == h.seq && back.salt == h.salt &&
	    back.first_lsn == h.first_lsn && back.made_usec == h.made_usec && back.trace);
	for (size_t i = 0; i < sizeof(raw); i++) {
		raw[i] ^= 1;
		assert_false(segment_header_get(slice_make(raw, sizeof(raw)), &back));
		raw[i] ^= 1;
	}
	buf_init(&b, 1000);
	assert_true(record_frame(&b, SALT, RECORD_TYPE_seal, 42, SLICE("body"), SLICE("content")));
	assert_int_equal(b.len % 8, 0);
	assert_true(record_head_get(buf_slice_of(&b), SALT, &head));
	assert_int_equal(record_size(&head), b.len);
	assert_int_equal(head.lsn, 42);
	assert_false(record_head_get(buf_slice_of(&b), SALT + 1, &head));	/* of another segment */
	for (size_t i = 0; i < RECORD_HEAD - 4; i++) {
		b.ptr[i] ^= 0x20;
		assert_false(record_head_get(buf_slice_of(&b), SALT, &head));
		b.ptr[i] ^= 0x20;
	}
	buf_clear(&b);
}

/* A segment of n records in memory, the k-th with lsn k + 1 and content; where each begins. */
static void
make_segment(struct buf *b, size_t *start, size_t n)
{
	char zero[SEGMENT_HEADER] = "";

	buf_init(b, 100000);
	(void)buf_put(b, zero, sizeof(zero));
	for (size_t k = 0; k < n; k++) {
		char body[40];
		const int len = snprintf(body, sizeof(body), "body of record %zu", k);

		start[k] = b->len;
		assert_true(record_frame(b, SALT, RECORD_TYPE_message, k + 1, slice_make(body, (size_t)len), SLICE("content\r\n")));
	}
	start[n] = b->len;
}

/* What a scan finds: a bit for each record. */
static unsigned
scan_all(struct slice all, unsigned *broken)
{
	struct scan_memory m;
	struct scan s;
	struct scan_item item;
	enum scan_found found;
	unsigned bits = 0;

	*broken = 0;
	scan_memory(&m, all);
	scan_begin(&s, &m.source, SALT, true);
	while ((found = scan_next(&s, &item)) != SCAN_END) {
		if (found == SCAN_RECORD)
			bits |= 1u << (item.head.lsn - 1);
		else
			++*broken;
	}
	return bits;
}

#define N 6

static void
every_cut_keeps_the_records_before_it(void **unused)
{
	size_t start[N + 1];
	unsigned broken;
	struct buf b;

	(void)unused;
	make_segment(&b, start, N);
	for (size_t cut = SEGMENT_HEADER; cut <= b.len; cut++) {
		unsigned want = 0;

		for (size_t k = 0; k < N; k++)
			if (cut >= start[k] + RECORD_HEAD + strlen("body of record 0") + strlen("content\r\n"))
				want |= 1u << k;
		assert_int_equal(scan_all(slice_make(b.ptr, cut), &broken), want);
	}
	buf_clear(&b);
}

static void
every_flip_loses_one_record_and_no_other(void **unused)
{
	size_t start[N + 1], k = 0;
	unsigned broken;
	struct buf b;

	(void)unused;
	make_segment(&b, start, N);
	for (size_t i = SEGMENT_HEADER; i < b.len; i++) {
		unsigned want = (1u << N) - 1, found;

		while (i >= start[k + 1])
			k++;
		b.ptr[i] = (char)(b.ptr[i] ^ 0x41);
		found = scan_all(buf_slice_of(&b), &broken);
		/* Padding and the last word of the head mean nothing. */
		if (found != want)
			want &= ~(1u << k);
		assert_int_equal(found, want);
		if (i < start[k] + RECORD_HEAD - 4) {
			assert_int_equal(found & (1u << k), 0);
			assert_int_equal(broken, 1);
		}
		b.ptr[i] = (char)(b.ptr[i] ^ 0x41);
	}
	buf_clear(&b);
}

static void
holes_and_zeros(void **unused)
{
	size_t start[N + 1];
	unsigned broken;
	struct buf b;
	char zeros[5000] = "";

	(void)unused;
	make_segment(&b, start, N);
	assert_true(buf_put(&b, zeros, sizeof(zeros)));	/* allocated, not written: the end */
	assert_int_equal(scan_all(buf_slice_of(&b), &broken), (1u << N) - 1);
	assert_int_equal(broken, 0);
	memset(b.ptr + start[2], 0, start[4] - start[2]);	/* a write that came only in part */
	assert_int_equal(scan_all(buf_slice_of(&b), &broken), 0x33);
	assert_int_equal(broken, 1);
	assert_int_equal(scan_all(slice_make(zeros, sizeof(zeros)), &broken), 0);
	assert_int_equal(broken, 0);
	buf_clear(&b);
}

/* Content that holds a whole record, even one of this very segment's form, is none without the salt. */
static void
content_is_never_a_record(void **unused)
{
	struct buf fake, b;
	char zero[SEGMENT_HEADER] = "";
	unsigned broken;

	(void)unused;
	buf_init(&fake, 1000);
	buf_init(&b, 10000);
	assert_true(record_frame(&fake, SALT ^ 1, RECORD_TYPE_cancel, 5, SLICE("body"), SLICE("")));
	(void)buf_put(&b, zero, sizeof(zero));
	assert_true(record_frame(&b, SALT, RECORD_TYPE_message, 1, SLICE("12345678"), buf_slice_of(&fake)));
	b.ptr[SEGMENT_HEADER] ^= 1;	/* so that the search goes through its content */
	assert_int_equal(scan_all(buf_slice_of(&b), &broken), 0);
	assert_int_equal(broken, 1);
	buf_clear(&fake);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_come_back_and_cuts_are_refused),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(heads_and_headers),
		cmocka_unit_test(every_cut_keeps_the_records_before_it),
		cmocka_unit_test(every_flip_loses_one_record_and_no_other),
		cmocka_unit_test(holes_and_zeros),
		cmocka_unit_test(content_is_never_a_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
