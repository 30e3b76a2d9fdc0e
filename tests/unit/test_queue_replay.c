/*
 * What a restart makes of the log is what was known before: random days in the
 * life of a queue, ended at random, against a print of all that is in memory.
 */
#include "queue_fixture.h"

#include "qid.h"
#include "queue/queue_ledger.h"
#include "queue/queue_result.h"

static uint64_t seed = 1;

static uint32_t
chance(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

static void
print_rcpt(const struct queue *q, const struct message *m, uint32_t i, struct buf *out)
{
	const struct rcpt *r = &m->rcpt[i];
	const struct reason why = message_reason(&q->messages, r);
	const uint8_t kept = RCPT_FINAL | RCPT_REMOTE | RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS | RCPT_TOLD_DELAY;

	/* A message that was moved has forgotten those that need nothing any more. */
	if (r->stage >= STAGE_DONE && (r->flags & (RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS)) == 0)
		return;
	(void)buf_fmt(out, " %u %.*s(%.*s) from=%.*s live=%d flags=%u notify=%u attempts=%u next=%u [%.*s|%.*s|%.*s]", i,
	    (int)m->rcpt[i].addr_len, message_addr(m, i).ptr, (int)message_orig_to(m, i).len, message_orig_to(m, i).ptr,
	    (int)message_rcpt_sender(&q->messages, m, i).len, message_rcpt_sender(&q->messages, m, i).ptr,
	    r->stage < STAGE_DONE, r->flags & kept, r->notify, r->attempts, r->next_utc,
	    (int)why.dsn.len, why.dsn.ptr, (int)why.remote.len, why.remote.ptr, (int)why.text.len, why.text.ptr);
}

/* All that matters, as text. */
static void
print(const struct queue *q, struct buf *out)
{
	struct message_ids ids;

	buf_init(out, 64 * 1024 * 1024);
	assert_true(messages_ids(&q->messages, &ids));
	while (ids.n > 0) {
		const struct message *m = messages_find(&q->messages, messages_next_id(&ids));

		(void)buf_fmt(out, "%llu arrival=%llu size=%llu flags=%u live=%u tell=%u:", (unsigned long long)m->qid,
		    (unsigned long long)m->arrival_usec, (unsigned long long)m->size,
		    m->flags & (MESSAGE_HELD | MESSAGE_EXPIRE | MESSAGE_DELETE | MESSAGE_LARGE), m->live, m->tell);
		for (uint32_t i = 0; i < m->rcpt_n; i++)
			print_rcpt(q, m, i, out);
		(void)buf_char(out, '\n');
	}
	(void)buf_fmt(out, "ledger %llu %llu %llu %llu %llu %llu %llu\n", (unsigned long long)q->ledger.accepted,
	    (unsigned long long)q->ledger.generated, (unsigned long long)q->ledger.expanded,
	    (unsigned long long)q->ledger.delivered + q->ledger.relayed, (unsigned long long)q->ledger.bounced,
	    (unsigned long long)q->ledger.discarded, (unsigned long long)q->ledger.queued);
	free(ids.at);
}

static void
ledger_is_right(const struct queue *q)
{
	uint64_t live = 0;

	for (uint32_t i = 0; i < q->messages.slot_n; i++)
		if (q->messages.slot[i] != NULL)
			live += q->messages.slot[i]->live;
	assert_true(q->ledger.queued == live);
	assert_int_equal(ledger_difference(&q->ledger), 0);
}

/* ---- things that happen ---- */

static struct message *
some_message(struct queue *q)
{
	struct message_ids ids;
	uint64_t qid = 0;

	assert_true(messages_ids(&q->messages, &ids));
	for (uint32_t k = q->messages.n == 0 ? 0 : chance(q->messages.n) + 1; k > 0; k--)
		qid = messages_next_id(&ids);
	free(ids.at);
	return qid == 0 ? NULL : messages_find(&q->messages, qid);
}

static void
submit(struct queue *q)
{
	static const char *const everybody[] = { "a@one.test", "b@two.test", "c@three.test", "info@here.test",
		"list@here.test", "d@four.test" };
	static const char *const senders[] = { "", "s@client.test", "t@client.test" };
	static const uint8_t notify[] = { 0, 0, 0, NOTIFY_NEVER, NOTIFY_SUCCESS, NOTIFY_FAILURE, NOTIFY_SUCCESS | NOTIFY_FAILURE };
	uint32_t first = chance(4);

	(void)fixture_submit(q, senders[chance(3)], everybody + first, 1 + chance(3), chance(2) == 0, notify[chance(7)],
	    chance(2) == 0 ? "Subject: x\r\n\r\nbody\r\n" : "");
}

/* As from deliver or relay, for one recipient that is not decided yet. */
static void
result(struct queue *q)
{
	struct message *m = some_message(q);
	uint32_t i = m == NULL ? 0 : chance(m->rcpt_n);
	struct record_result one = { .index = i, .outcome = (uint8_t)chance(5), .dsn = SLICE("4.2.0"), .relay = SLICE("r"),
	    .text = SLICE("a reason"), .remote = SLICE("host"), .attempts = (uint16_t)chance(9),
	    .next_utc = UINT32_MAX - chance(1000) };
	struct record_results r;
	struct buf targets, list, body;

	if (m == NULL || m->rcpt[i].stage != STAGE_WAITING)
		return;
	buf_init(&targets, 10000);
	buf_init(&list, 10000);
	buf_init(&body, 10000);
	if (one.outcome == OUTCOME_EXPANDED) {
		uint32_t n = 1 + chance(3);

		for (uint32_t k = 0; k < n; k++) {
			struct record_target t = { .index = m->next_index++, .addr = SLICE("target@here.test"),
			    .remote = (uint8_t)chance(2), .new_sender = chance(4) == 0, .sender = SLICE("owner@here.test") };

			assert_true(record_add_target(&targets, &t));
		}
		one.targets = buf_slice_of(&targets);
	}
	assert_true(record_add_result(&list, &one));
	r = (struct record_results){ .qid = m->qid, .usec = now_usec(), .channel = (uint8_t)chance(2), .results = buf_slice_of(&list) };
	assert_true(record_put_results(&body, &r));
	assert_true(queue_log_append(&q->log, LOG_STATE, RECORD_TYPE_results, buf_slice_of(&body), SLICE(""), 0, true));
	m->rcpt[i].stage = STAGE_DECIDED;
	buf_clear(&targets);
	buf_clear(&list);
	buf_clear(&body);
}

static void
action(struct queue *q)
{
	static const enum ipc_action all[] = { ACTION_HOLD, ACTION_RELEASE, ACTION_HOLD, ACTION_RELEASE, ACTION_RETRY,
		ACTION_DELETE, ACTION_EXPIRE };
	const struct message *m = some_message(q);

	if (m != NULL)
		assert_true(result_action(q, m, all[chance(LEN(all))], 0, ""));
}

/* Close this segment and move what is in the older ones; drop them, or leave them for the restart to see. */
static void
compact(struct queue *q, bool drop)
{
	(void)queue_log_commit(&q->log);
	q->log.segment_size = 16 * 1024 * 1024;
	q->log.last->limit = 0;		/* the next batch begins another */
	submit(q);
	(void)queue_log_commit(&q->log);
	compact_all(q);
	for (int i = 0; i < 50; i++) {
		(void)event_base_loop(q->daemon.base, EVLOOP_NONBLOCK);
		(void)queue_log_commit(&q->log);
		for (struct segment *s = q->log.first; drop && s != NULL; s = s->next)
			s->newest_usec = 1;	/* old enough */
		compact_tick(q);
		(void)usleep(100);
	}
}

static void
something(struct queue *q)
{
	uint32_t what = chance(100);

	if (what < 30)
		submit(q);
	else if (what < 75)
		result(q);
	else if (what < 80)
		action(q);
	else
		(void)queue_log_commit(&q->log);
}

/* ---- the tests ---- */

static void
a_restart_knows_what_was_known(void **unused)
{
	(void)unused;
	for (seed = 1; seed < 13; seed++) {
		uint64_t run = seed;
		struct queue *q;

		fixture_make();
		q = fixture_open();
		for (int day = 0; day < 5; day++) {
			struct buf before, after;
			uint64_t lsn;

			for (int i = 0; i < 300; i++)
				something(q);
			if (chance(2) == 0)
				compact(q, chance(2) == 0);
			/* Settling writes more (DSNs, what is given up): until nothing is left. */
			for (int i = 0; i < 20 && (i < 4 || queue_log_pending(&q->log)); i++)
				assert_true(queue_log_commit(&q->log));
			ledger_is_right(q);
			print(q, &before);
			lsn = q->log.next_lsn;
			fixture_close(q, chance(2) == 0);
			q = fixture_open();
			assert_true(q->log.next_lsn >= lsn);
			print(q, &after);
			if (strcmp(buf_cstr(&before), buf_cstr(&after)) != 0)
				fail_msg("run %u day %d:\n%s\n---\n%s", (unsigned)run, day, before.ptr, after.ptr);
			ledger_is_right(q);
			assert_int_equal(q->damaged, 0);
			buf_clear(&before);
			buf_clear(&after);
		}
		fixture_close(q, true);
		fixture_remove();
		seed = run;
	}
}

/* Moving changes nothing, and empties the old segments. */
static void
compaction_changes_nothing(void **unused)
{
	struct queue *q;
	struct buf before, after;
	uint64_t old;

	(void)unused;
	seed = 77;
	fixture_make();
	q = fixture_open();
	for (int i = 0; i < 400; i++)
		something(q);
	for (int i = 0; i < 20 && (i < 4 || queue_log_pending(&q->log)); i++)
		assert_true(queue_log_commit(&q->log));
	print(q, &before);
	old = q->log.first->seq;
	compact(q, true);
	assert_true(q->log.first->seq > old);
	print(q, &after);
	/* One more was taken in, at the end: all before it is the same. */
	assert_true(before.len > 100);
	assert_memory_equal(before.ptr, after.ptr, (size_t)((const char *)memrchr(before.ptr, 'l', before.len - 1) - before.ptr) / 2);
	fixture_close(q, false);
	buf_clear(&before);
	q = fixture_open();
	print(q, &before);
	assert_string_equal(buf_cstr(&before), buf_cstr(&after));
	buf_clear(&before);
	buf_clear(&after);
	fixture_close(q, true);
	fixture_remove();
}

/* A damaged record costs what is in it, and the books stay right. */
static void
damage_costs_one_record(void **unused)
{
	const char *const to[] = { "r@far.test" };
	char name[SEGMENT_NAME], path[128];
	uint64_t ids[10];
	struct queue *q;
	FILE *file;
	const struct message *m;
	uint32_t offset;
	int octet;

	(void)unused;
	fixture_make();
	q = fixture_open();
	for (size_t i = 0; i < LEN(ids); i++)
		ids[i] = fixture_submit(q, "s@client.test", to, 1, true, 0, "Subject: x\r\n\r\n");
	assert_true(queue_log_commit(&q->log));
	m = messages_find(&q->messages, ids[4]);
	offset = m->offset;
	segment_name(m->segment->seq, m->segment->salt, name);
	(void)snprintf(path, sizeof(path), "%s/log/%s", fixture_dir, name);
	fixture_close(q, true);
	file = fopen(path, "r+");
	assert_non_null(file);
	assert_int_equal(fseek(file, offset + RECORD_HEAD + 20, SEEK_SET), 0);
	octet = fgetc(file);
	assert_int_not_equal(octet, EOF);
	assert_int_equal(fseek(file, offset + RECORD_HEAD + 20, SEEK_SET), 0);
	assert_int_not_equal(fputc(octet ^ 0xff, file), EOF);
	assert_int_equal(fclose(file), 0);
	for (int again = 0; again < 2; again++) {
		q = fixture_open();
		assert_int_equal(q->messages.n, 9);
		assert_null(messages_find(&q->messages, ids[4]));
		assert_int_equal(q->set_aside, 1);
		ledger_is_right(q);
		fixture_close(q, true);
	}
	fixture_remove();
}

/* Ids only grow, also when the process that gave them out is gone at once. */
static void
ids_only_grow(void **unused)
{
	uint64_t last = 0;

	(void)unused;
	fixture_make();
	for (int i = 0; i < 5; i++) {
		struct queue *q = fixture_open();

		for (int k = 0; k < 3; k++) {
			uint64_t first = queue_lease(q, 1024);

			assert_true(first > last);
			last = first + 1023;
		}
		assert_true(last < q->lease_mark);
		if (i == 2)	/* as if the clock were set back an hour before the next start */
			q->lease_next += UINT64_C(3600000000) * QID_PER_USEC;
		if (i == 2)
			last = queue_lease(q, 1);
		fixture_close(q, false);
	}
	fixture_remove();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_restart_knows_what_was_known),
		cmocka_unit_test(compaction_changes_nothing),
		cmocka_unit_test(damage_costs_one_record),
		cmocka_unit_test(ids_only_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
