/* The text of notifications, and who gets one. */
#include "queue_fixture.h"

#include "queue/queue_dsn.h"
#include "queue/queue_read.h"

static struct dsn
example(const struct dsn_rcpt *rcpt, size_t n)
{
	return (struct dsn){ .notice = NOTICE_FAILURE, .hostname = "mail.example.test", .sender = SLICE("s@client.test"),
	    .queue_id = "00000000001", .own_id = "00000000002", .now_usec = UINT64_C(1795366047000000),
	    .arrival_usec = UINT64_C(1795366000000000), .retry_until_utc = 1795400000, .boundary = 0xabc, .rcpt = rcpt,
	    .rcpt_n = n, .content = SLICE("Subject: s\r\n\r\nbody\r\n"), .whole = true };
}

/* Lines of CRLF, none too long, nothing but printable ASCII and tabs. */
static void
check_strict(struct slice all)
{
	assert_true(all.len > 2 && memcmp(all.ptr + all.len - 2, "\r\n", 2) == 0);
	for (size_t i = 0, column = 0; i < all.len; i++, column++) {
		unsigned char c = (unsigned char)all.ptr[i];

		assert_true(c == '\r' || c == '\n' || c == '\t' || (c >= ' ' && c <= '~'));
		assert_true((c == '\r') == (i + 1 < all.len && all.ptr[i + 1] == '\n'));
		assert_true(column <= 999);
		if (c == '\n')
			column = 0;
	}
}

static void
hostile_text_stays_in_its_place(void **unused)
{
	static char long_word[900];
	static const char nasty[] = "550 no\r\nX-Forged: yes\n\n--=_0000000000000abc.00000000002--\033[2J\0 \x80\xff end";
	static const struct slice text[] = { { nasty, sizeof(nasty) - 1 }, { long_word, sizeof(long_word) }, SLICE(""), SLICE("  "),
		SLICE("a  b   c "), SLICE("\r\n"), SLICE("word word word word word word word word word word word word word word word word word") };

	(void)unused;
	memset(long_word, 'w', sizeof(long_word));
	for (size_t i = 0; i < LEN(text); i++) {
		const struct dsn_rcpt r = { .addr = text[i], .orig_to = text[i], .orcpt = text[i], .status = SLICE("5.1.1"),
		    .remote = slice_sub(text[i], 0, 255), .text = text[i], .action = "failed" };
		struct dsn d = example(&r, 1);
		struct buf out;

		buf_init(&out, 100000);
		d.envid = text[i];
		d.sender = slice_sub(text[i], 0, 320);
		assert_true(dsn_print(&d, &out));
		check_strict(buf_slice_of(&out));
		assert_null(memmem(out.ptr, out.len, "\nX-Forged", 9));
		buf_clear(&out);
	}
}

static void
what_is_returned(void **unused)
{
	static char long_line[1200];
	static const struct { struct slice content; bool whole, all; } row[] = {
		{ SLICE("Subject: a\r\n\r\nbody\r\n"), true, true },
		{ SLICE("Subject: a\r\n\r\nbody\r\n"), false, false },
		{ SLICE("Subject: a\r\n\r\nb\xc3\xa9\r\n"), true, false },
		{ SLICE("Subject: \xc3\xa9\r\n\r\nbody\r\n"), true, false },
		{ SLICE("Subject: a\r\n\r\nbare\nnewline\r\n"), true, false },
		{ SLICE("Subject: a\r\n\r\nnul\0\r\n"), true, false },
		{ { long_line, sizeof(long_line) }, true, false },
		{ SLICE("no end"), true, true },
		{ SLICE(""), true, true },
	};

	(void)unused;
	memset(long_line, 'x', sizeof(long_line));
	for (size_t i = 0; i < LEN(row); i++) {
		const struct dsn_rcpt r = { .addr = SLICE("r@far.test"), .orig_to = SLICE("r@far.test"), .status = SLICE("5.1.1"),
		    .text = SLICE("no"), .action = "failed" };
		struct dsn d = example(&r, 1);
		struct buf out;

		buf_init(&out, 100000);
		d.content = row[i].content;
		d.whole = row[i].whole;
		assert_true(dsn_print(&d, &out));
		check_row(i, (memmem(out.ptr, out.len, "message/rfc822", 14) != NULL) == row[i].all);
		check_row(i, (memmem(out.ptr, out.len, "text/rfc822-headers", 19) != NULL) == !row[i].all);
		check_row(i, row[i].all || memmem(out.ptr, out.len, "body", 4) == NULL);
		check_strict(buf_slice_of(&out));
		buf_clear(&out);
	}
}

static void
headers_end_where_they_end(void **unused)
{
	static const struct { const char *content, *header; } row[] = {
		{ "A: b\r\nC: d\r\n\r\nbody\r\n", "A: b\r\nC: d\r\n" },
		{ "A: b\n\nbody\n", "A: b\n" },
		{ "\r\nbody", "" },
		{ "A: b", "A: b" },
		{ "A: b\r\n", "A: b\r\n" },
		{ "", "" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, slice_is(dsn_header_of(slice_of(row[i].content)), row[i].header));
}

static void
dates(void **unused)
{
	struct buf out;

	(void)unused;
	buf_init(&out, 100);
	dsn_date(UINT64_C(1795366047000000), &out);
	assert_string_equal(buf_cstr(&out), "Sun, 22 Nov 2026 16:47:27 +0000");
	buf_clear(&out);
}

static void
actions_are_not_shown(void **unused)
{
	const struct dsn_rcpt r = { .addr = SLICE("|/opt/secret --token=1"), .orig_to = SLICE("robot@here.test"),
	    .status = SLICE("5.3.0"), .text = SLICE("it failed"), .action = "failed" };
	struct dsn d = example(&r, 1);
	struct buf out;

	(void)unused;
	buf_init(&out, 100000);
	assert_true(dsn_print(&d, &out));
	assert_null(memmem(out.ptr, out.len, "secret", 6));
	assert_non_null(memmem(out.ptr, out.len, "Final-Recipient: rfc822; robot@here.test", 40));
	buf_clear(&out);
}

/* ---- who is told ---- */

/* A queue that hands nothing out: the results are written by the test. */
static struct queue *
quiet_queue(void)
{
	struct queue *q;

	fixture_make();
	q = fixture_open();
	q->daemon.draining = true;
	return q;
}

static void
decide(struct queue *q, uint64_t qid, uint32_t index, enum ipc_outcome outcome, const struct record_target *target, size_t n)
{
	struct record_result one = { .index = index, .outcome = (uint8_t)outcome, .dsn = SLICE("5.1.1"), .text = SLICE("why"),
	    .next_utc = UINT32_MAX, .attempts = 1 };
	struct record_results r = { .qid = qid, .usec = now_usec() };
	struct buf targets, list, body;

	buf_init(&targets, 10000);
	buf_init(&list, 10000);
	buf_init(&body, 10000);
	for (size_t i = 0; i < n; i++)
		assert_true(record_add_target(&targets, &target[i]));
	one.targets = buf_slice_of(&targets);
	assert_true(record_add_result(&list, &one));
	r.results = buf_slice_of(&list);
	assert_true(record_put_results(&body, &r));
	assert_true(queue_log_append(&q->log, LOG_STATE, RECORD_TYPE_results, buf_slice_of(&body), SLICE(""), 0, true));
	buf_clear(&targets);
	buf_clear(&list);
	buf_clear(&body);
	while (queue_log_pending(&q->log))
		assert_true(queue_log_commit(&q->log));
}

/* The notification there is: whom it goes to and what it holds; NULL if none.  There is never more than one. */
static const struct message *
notification(struct queue *q)
{
	const struct message *found = NULL;

	for (uint32_t i = 0; i < q->messages.slot_n; i++)
		if (q->messages.slot[i] != NULL && q->messages.slot[i]->origin == ORIGIN_GENERATED) {
			assert_null(found);
			found = q->messages.slot[i];
		}
	return found;
}

static void
who_is_told(void **unused)
{
	static const struct { const char *sender; uint8_t notify; enum ipc_outcome outcome; bool told; } row[] = {
		{ "s@client.test", 0, OUTCOME_FAILED, true },
		{ "s@client.test", NOTIFY_FAILURE, OUTCOME_FAILED, true },
		{ "s@client.test", NOTIFY_SUCCESS, OUTCOME_FAILED, false },
		{ "s@client.test", NOTIFY_DELAY, OUTCOME_FAILED, false },
		{ "s@client.test", NOTIFY_NEVER, OUTCOME_FAILED, false },
		{ "", 0, OUTCOME_FAILED, false },
		{ "", NOTIFY_FAILURE | NOTIFY_SUCCESS, OUTCOME_FAILED, false },
		{ "s@client.test", 0, OUTCOME_DONE, false },
		{ "s@client.test", NOTIFY_SUCCESS, OUTCOME_DONE, true },
		{ "", NOTIFY_SUCCESS, OUTCOME_DONE, false },
		{ "s@client.test", NOTIFY_SUCCESS | NOTIFY_FAILURE, OUTCOME_DISCARDED, false },
		{ "s@client.test", 0, OUTCOME_DEFERRED, false },
		{ "s@client.test", NOTIFY_DELAY, OUTCOME_DEFERRED, false },	/* not yet */
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		const char *const to[] = { "r@far.test" };
		const struct message *n;
		struct queue *q;
		uint64_t qid;

		q = quiet_queue();
		qid = fixture_submit(q, row[i].sender, to, 1, true, row[i].notify, "Subject: x\r\n\r\n");
		assert_true(queue_log_commit(&q->log));
		decide(q, qid, 0, row[i].outcome, NULL, 0);
		n = notification(q);
		check_row(i, (n != NULL) == row[i].told);
		check_row(i, n == NULL || slice_is(message_addr(n, 0), "s@client.test"));
		check_row(i, n == NULL || n->sender_len == 0);
		check_row(i, (messages_find(&q->messages, qid) != NULL) == (row[i].outcome == OUTCOME_DEFERRED));
		fixture_close(q, true);
		fixture_remove();
	}
}

static void
one_for_all_when_nothing_is_under_way(void **unused)
{
	const char *const to[] = { "a@far.test", "b@far.test", "c@far.test" };
	struct record_message r;
	struct slice content;
	const struct message *n;
	struct queue *q;
	uint64_t qid;

	(void)unused;
	q = quiet_queue();
	qid = fixture_submit(q, "s@client.test", to, 3, true, 0, "Subject: x\r\n\r\n");
	assert_true(queue_log_commit(&q->log));
	messages_find(&q->messages, qid)->busy++;	/* a job is under way */
	decide(q, qid, 0, OUTCOME_FAILED, NULL, 0);
	decide(q, qid, 2, OUTCOME_FAILED, NULL, 0);
	assert_null(notification(q));
	messages_find(&q->messages, qid)->busy--;
	decide(q, qid, 1, OUTCOME_DEFERRED, NULL, 0);
	n = notification(q);
	assert_non_null(n);
	assert_true(queue_read(q, n, &r, &content));
	assert_non_null(memmem(content.ptr, content.len, "<a@far.test>", 12));
	assert_non_null(memmem(content.ptr, content.len, "<c@far.test>", 12));
	assert_null(memmem(content.ptr, content.len, "<b@far.test>", 12));
	assert_true(r.parent == qid);
	assert_int_equal(messages_find(&q->messages, qid)->tell, 0);
	fixture_close(q, true);
	fixture_remove();
}

/* A list: its owner is told, not the sender; and a member's failure names the list to nobody else. */
static void
the_owner_of_a_list_is_told(void **unused)
{
	const char *const to[] = { "list@here.test" };
	const struct record_target target[] = {
		{ .index = 1, .addr = SLICE("m@far.test"), .remote = 1, .new_sender = 1, .sender = SLICE("owner-list@here.test") },
		{ .index = 2, .addr = SLICE("n@far.test"), .remote = 1, .new_sender = 1, .sender = SLICE("owner-list@here.test") },
	};
	const struct message *n;
	struct queue *q;
	uint64_t qid;

	(void)unused;
	q = quiet_queue();
	qid = fixture_submit(q, "s@client.test", to, 1, false, NOTIFY_NEVER, "Subject: x\r\n\r\n");
	assert_true(queue_log_commit(&q->log));
	messages_find(&q->messages, qid)->next_index = 3;
	decide(q, qid, 0, OUTCOME_EXPANDED, target, 2);
	assert_null(notification(q));
	decide(q, qid, 1, OUTCOME_FAILED, NULL, 0);
	assert_null(notification(q));	/* the other is about to be tried */
	decide(q, qid, 2, OUTCOME_DEFERRED, NULL, 0);
	n = notification(q);
	assert_non_null(n);
	assert_true(slice_is(message_addr(n, 0), "owner-list@here.test"));
	fixture_close(q, true);
	fixture_remove();
}

/* Without room for it the notification waits; it is not forgotten. */
static void
it_waits_for_room(void **unused)
{
	const char *const to[] = { "r@far.test" };
	struct queue *q;
	uint64_t qid;

	(void)unused;
	q = quiet_queue();
	qid = fixture_submit(q, "s@client.test", to, 1, true, 0, "Subject: x\r\n\r\n");
	assert_true(queue_log_commit(&q->log));
	q->log.min_free = UINT64_MAX;
	queue_log_check_space(&q->log);
	decide(q, qid, 0, OUTCOME_FAILED, NULL, 0);
	assert_null(notification(q));
	assert_int_equal(messages_find(&q->messages, qid)->tell, 1);
	q->log.min_free = 0;
	queue_log_check_space(&q->log);
	queue_bounce_retry(q);
	assert_true(queue_log_commit(&q->log));
	assert_non_null(notification(q));
	assert_null(messages_find(&q->messages, qid));
	fixture_close(q, true);
	fixture_remove();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_text_stays_in_its_place),
		cmocka_unit_test(what_is_returned),
		cmocka_unit_test(headers_end_where_they_end),
		cmocka_unit_test(dates),
		cmocka_unit_test(actions_are_not_shown),
		cmocka_unit_test(who_is_told),
		cmocka_unit_test(one_for_all_when_nothing_is_under_way),
		cmocka_unit_test(the_owner_of_a_list_is_told),
		cmocka_unit_test(it_waits_for_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
