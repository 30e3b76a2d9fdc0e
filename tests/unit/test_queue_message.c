/* The tables in memory against simple models; what an alias leads to; ids that are remembered. */
#include "queue_fixture.h"

#include "queue/queue_expand.h"
#include "queue/queue_intern.h"

static uint64_t seed = 5;

static uint32_t
chance(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static void
texts_are_kept_once(void **unused)
{
	struct intern t = { 0 };
	uint32_t id[300] = { 0 };
	char text[40];

	(void)unused;
	for (int step = 0; step < 20000; step++) {
		uint32_t k = chance(300);
		const int len = snprintf(text, sizeof(text), "text %u", k % 100);

		if (id[k] == 0) {
			id[k] = intern_get(&t, slice_make(text, (size_t)len));
			assert_int_not_equal(id[k], 0);
		} else if (chance(2) == 0) {
			intern_drop(&t, id[k]);
			id[k] = 0;
		}
		for (uint32_t i = 0; i < 3; i++) {
			uint32_t at = chance(300);
			const int n = snprintf(text, sizeof(text), "text %u", at % 100);

			assert_true(id[at] == 0 || slice_eq(intern_text(&t, id[at]), slice_make(text, (size_t)n)));
			assert_true(id[at] == 0 || id[(at + 100) % 300] == 0 || id[at] == id[(at + 100) % 300]);
		}
	}
	assert_true(t.entry_n <= 130);	/* places are used again */
	assert_int_equal(intern_get(&t, SLICE("")), 0);
	intern_clear(&t);
}

static struct message *
add(struct messages *t, uint64_t qid, const char *addr)
{
	const struct record_rcpt rcpt = { .addr = slice_of(addr) };
	struct record_message r = { .qid = qid, .sender = SLICE("s@x") };
	struct buf list;
	struct message *m;
	bool no_memory;

	buf_init(&list, 1000);
	assert_true(record_add_rcpt(&list, &rcpt));
	r.rcpts = buf_slice_of(&list);
	m = messages_add(t, &r, &no_memory);
	assert_false(no_memory);
	buf_clear(&list);
	return m;
}

static void
messages_are_found(void **unused)
{
	static bool there[5000];
	struct messages t = { 0 };
	struct message_ids ids;
	size_t want = 0;

	(void)unused;
	for (int step = 0; step < 60000; step++) {
		uint64_t k = chance(5000);
		struct message *m = messages_find(&t, (k + 1) * 8);

		assert_true((m != NULL) == there[k]);
		if (m == NULL) {
			assert_non_null(add(&t, (k + 1) * 8, "r@y"));
			assert_null(add(&t, (k + 1) * 8, "r@y"));	/* twice the same */
		} else {
			messages_remove(&t, m);
		}
		there[k] = !there[k];
	}
	for (size_t i = 0; i < 5000; i++)
		want += there[i];
	assert_true(messages_ids(&t, &ids));
	assert_int_equal(ids.n, want);
	assert_int_equal(t.n, want);
	for (uint64_t before = 0, next; ids.n > 0; before = next) {
		next = messages_next_id(&ids);
		assert_true(before < next);
		assert_non_null(messages_find(&t, next));
	}
	free(ids.at);
	messages_clear(&t);
}

static void
bad_messages_are_refused(void **unused)
{
	static const struct { struct slice rcpts; uint64_t qid; } row[] = {
		{ SLICE(""), 1 },					/* nobody */
		{ SLICE("\1\0\0\0a\0\0\0\0\0\0"), 0 },			/* no id */
		{ SLICE("\0\0\0\0\0\0\0\0\0\0"), 1 },			/* empty address */
		{ SLICE("\1\0\0\0a\0\0\0\0\0"), 1 },			/* cut */
		{ SLICE("\1\0\0\0a\3\0\0\0\0\0"), 1 },			/* no such hint */
		{ SLICE("\xff\xff\xff\xff"), 1 },
	};
	struct messages t = { 0 };
	bool no_memory;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		const struct record_message r = { .qid = row[i].qid, .rcpts = row[i].rcpts };

		check_row(i, messages_add(&t, &r, &no_memory) == NULL && !no_memory);
	}
	messages_clear(&t);
}

/* What is kept for each of 200,000 messages that wait: below 200 octets and their addresses. */
static void
messages_are_small(void **unused)
{
	const char *addr = "recipient@destination.example";
	const size_t text = strlen(addr) + strlen("s@x");
	struct messages t = { 0 };
	const struct reason why = { .dsn = SLICE("4.4.1"), .text = SLICE("connect to mx.destination.example[192.0.2.1]:25: timed out") };

	(void)unused;
	for (uint64_t k = 1; k <= 20000; k++)
		message_set_reason(&t, &add(&t, k, addr)->rcpt[0], &why);
	/* Two blocks of the allocator's own 8 octets, the schedule's 8. */
	assert_in_range(messages_memory(&t) / 20000 + 16 + 8, 1, 200 + text);
	messages_clear(&t);
}

/* ---- aliases ---- */

static void
put_target(struct buf *list, const char *addr, bool remote)
{
	const struct ipc_target t = { .addr = slice_of(addr), .remote = remote };

	assert_true(ipc_add_target(list, &t));
}

static void
nobody_twice(void **unused)
{
	struct messages t = { 0 };
	struct message *m = add(&t, 8, "Direct@here.test");
	const struct message_new_rcpt more[] = {
		{ SLICE("alias@here.test"), { .stage = STAGE_WAITING } },
		{ SLICE("done@here.test"), { .stage = STAGE_DONE, .flags = RCPT_FINAL } },
		{ SLICE("Far@Far.test"), { .stage = STAGE_WAITING, .flags = RCPT_REMOTE } },
		{ SLICE("self@here.test"), { .stage = STAGE_EXPANDED } },
		{ SLICE("|cmd A"), { .stage = STAGE_WAITING, .flags = RCPT_FINAL } },
	};
	static const struct { const char *addr; bool remote, kept; } row[] = {
		{ "direct@here.test", false, false },	/* delivered by this very frame */
		{ "alias@here.test", false, true },	/* not known yet where that leads */
		{ "DONE@here.test", false, false },
		{ "Far@FAR.test", true, false },
		{ "far@far.test", true, true },		/* local parts elsewhere keep their case */
		{ "far@far.test", false, true },	/* and a mailbox here is another thing */
		{ "self@here.test", false, true },	/* an alias that names itself */
		{ "|cmd A", false, false },
		{ "|cmd a", false, true },
		{ "~user/Mail", false, true },
		{ "~user/Mail", false, false },		/* twice in one list */
	};
	const uint32_t done[] = { 0 };
	struct expand_set s;
	uint32_t next = 6;

	(void)unused;
	assert_true(message_add_rcpts(m, more, LEN(more)));
	assert_true(expand_begin(&s, m, done, 1));
	for (size_t i = 0; i < LEN(row); i++) {
		struct buf in, out;
		uint32_t n, before = next;

		buf_init(&in, 1000);
		buf_init(&out, 1000);
		put_target(&in, row[i].addr, row[i].remote);
		assert_int_equal(expand_targets(&s, buf_slice_of(&in), &next, &out, &n), OK);
		check_row(i, (n == 1) == row[i].kept && next == before + n && (out.len > 0) == row[i].kept);
		buf_clear(&in);
		buf_clear(&out);
	}
	expand_end(&s);
	messages_clear(&t);
}

static void
lists_have_an_end(void **unused)
{
	struct messages t = { 0 };
	struct message *m = add(&t, 8, "list@here.test");
	struct expand_set s;
	struct buf in, out;
	uint32_t next = RECORD_RCPTS_MAX - 1, n;

	(void)unused;
	buf_init(&in, 1000);
	buf_init(&out, 1000);
	put_target(&in, "a@here.test", false);
	put_target(&in, "b@here.test", false);
	assert_true(expand_begin(&s, m, NULL, 0));
	assert_int_equal(expand_targets(&s, buf_slice_of(&in), &next, &out, &n), PERM);
	assert_int_equal(expand_targets(&s, SLICE("garbage"), &next, &out, &n), PERM);
	expand_end(&s);
	buf_clear(&in);
	buf_clear(&out);
	messages_clear(&t);
}

/* ---- ids that are gone ---- */

static void
the_latest_are_remembered(void **unused)
{
	struct queue *q = calloc(1, sizeof(*q));

	(void)unused;
	assert_non_null(q);
	assert_false(recent_has(q, 1));
	for (uint64_t qid = 1; qid <= 100000; qid++) {
		recent_add(q, qid * 17);
		recent_add(q, qid * 17);	/* twice is once */
		assert_true(recent_has(q, qid * 17));
	}
	for (uint64_t qid = 1; qid <= 100000; qid++) {
		bool want = qid > 100000 - 32768;

		assert_true(recent_has(q, qid * 17) == want);
		assert_false(recent_has(q, qid * 17 + 1));
	}
	recent_clear(q);
	free(q);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_kept_once),
		cmocka_unit_test(messages_are_found),
		cmocka_unit_test(bad_messages_are_refused),
		cmocka_unit_test(messages_are_small),
		cmocka_unit_test(nobody_twice),
		cmocka_unit_test(lists_have_an_end),
		cmocka_unit_test(the_latest_are_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
