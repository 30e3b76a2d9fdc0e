/* Retry times, turns of destinations and messages, limits, and destinations that are down. */
#include "queue_fixture.h"

#include "ipc.h"
#include "queue/queue_schedule.h"

/* A relay at the other end of a socket pair. */
struct agent {
	struct queue	*q;
	int		 fd;
	uint64_t	 job, qid;	/* the last one taken */
	char		 rcpt[100][80];	/* of it */
	uint32_t	 index[100];
	size_t		 n;
	bool		 repeat;
};

static void
turn(struct queue *q)
{
	for (int i = 0; i < 5; i++)
		(void)event_base_loop(q->daemon.base, EVLOOP_NONBLOCK);
	if (queue_log_pending(&q->log))
		(void)queue_log_commit(&q->log);
	(void)event_base_loop(q->daemon.base, EVLOOP_NONBLOCK);
}

static void
say(struct agent *a, struct buf *frame, bool good)
{
	assert_true(good);
	assert_int_equal(ipc_send(a->fd, buf_slice_of(frame), -1), IPC_IO_OK);
	buf_clear(frame);
}

static void
ready(struct agent *a, uint16_t slots)
{
	const struct ipc_job_ready m = { .slots = slots };
	struct buf b;

	buf_init(&b, 100);
	say(a, &b, ipc_put_job_ready(&b, &m));
	turn(a->q);
}

static void
agent_open(struct agent *a, struct queue *q, enum record_channel channel)
{
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = SLICE("relay") };
	struct buf b;
	int fds[2];

	*a = (struct agent){ .q = q };
	assert_true(ipc_pair(fds));
	a->fd = fds[1];
	job_accept(q, channel, fds[0]);
	buf_init(&b, 100);
	say(a, &b, ipc_put_hello(&b, &hello));
	turn(q);
}

/* Take the next job; false if there is none. */
static bool
take(struct agent *a)
{
	struct ipc_job job;
	struct ipc_job_rcpt one;
	struct buf frame;
	bool bad = false, got;
	int passed;

	buf_init(&frame, IPC_FRAME_MAX);
	do
		got = ipc_recv(a->fd, &frame, &passed) == IPC_IO_OK;
	while (got && !ipc_get_job(buf_slice_of(&frame), &job));	/* the hello */
	if (got) {
		a->job = job.job;
		a->qid = job.qid;
		a->repeat = job.repeat == 1;
		for (a->n = 0; ipc_next_job_rcpt(&job.rcpts, &one, &bad); a->n++) {
			assert_true(a->n < 100);
			assert_true(slice_text(one.addr, a->rcpt[a->n], sizeof(a->rcpt[0])));
			a->index[a->n] = one.index;
		}
	}
	buf_clear(&frame);
	return got;
}

/* Answer for all recipients of the last job. */
static void
answer(struct agent *a, enum ipc_outcome outcome, const char *dsn)
{
	struct ipc_job_results m = { .job = a->job, .qid = a->qid };
	struct buf list, frame;

	buf_init(&list, IPC_FRAME_MAX);
	buf_init(&frame, IPC_FRAME_MAX);
	for (size_t i = 0; i < a->n; i++) {
		const struct ipc_job_result one = { .index = a->index[i], .outcome = (uint8_t)outcome, .dsn = slice_of(dsn),
		    .relay = SLICE("mx"), .text = SLICE("words") };

		assert_true(ipc_add_job_result(&list, &one));
	}
	m.results = buf_slice_of(&list);
	say(a, &frame, ipc_put_job_results(&frame, &m));
	buf_clear(&list);
	turn(a->q);
}

static const char *
domain(const struct agent *a)
{
	return strchr(a->rcpt[0], '@') + 1;
}

static void
times_between_attempts(void **unused)
{
	static const struct { unsigned attempts; uint32_t wait; } row[] = {
		{ 1, 300 }, { 2, 600 }, { 3, 1200 }, { 6, 9600 }, { 7, 14400 }, { 8, 14400 }, { 60000, 14400 },
	};
	const struct conf conf = { .retry_min_s = 300, .retry_max_s = 14400, .lifetime_s = 432000, .bounce_lifetime_s = 86400 };
	struct message m = { .arrival_usec = 1000000, .sender_len = 1 };

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, schedule_delay(&conf, row[i].attempts) == row[i].wait);
	assert_int_equal(schedule_expiry(&conf, &m), 432001);
	m.sender_len = 0;
	assert_int_equal(schedule_expiry(&conf, &m), 86401);
}

static void
destinations_take_turns(void **unused)
{
	const char *const busy[] = { "x@busy.test" }, *const calm[] = { "y@calm.test" };
	struct queue *q;
	struct agent a;
	unsigned calm_at = 0;

	(void)unused;
	fixture_make();
	q = fixture_open();
	for (int i = 0; i < 50; i++)
		(void)fixture_submit(q, "s@c.test", busy, 1, true, 0, "x\r\n");
	(void)fixture_submit(q, "s@c.test", calm, 1, true, 0, "x\r\n");
	turn(q);
	agent_open(&a, q, CHANNEL_RELAY);
	ready(&a, 100);
	for (unsigned n = 1; take(&a); n++)
		if (strcmp(domain(&a), "calm.test") == 0)
			calm_at = n;
	assert_in_range(calm_at, 1, 6);		/* it need not wait for the fifty */
	assert_int_equal(job_count(q), 5 + 1);	/* a destination that is not known yet gets five at once */
	(void)close(a.fd);
	fixture_close(q, true);
	fixture_remove();
}

static void
messages_take_turns(void **unused)
{
	static char text[1000][20];
	static const char *many[1000];
	const char *const one[] = { "z@far.test" };
	struct queue *q;
	struct agent a;
	uint64_t large, small;
	int n = 0;

	(void)unused;
	for (size_t i = 0; i < LEN(many); i++) {
		(void)snprintf(text[i], sizeof(text[i]), "u%zu@far.test", i);
		many[i] = text[i];
	}
	fixture_make();
	q = fixture_open();
	large = fixture_submit(q, "s@c.test", many, LEN(many), true, 0, "x\r\n");
	small = fixture_submit(q, "s@c.test", one, 1, true, 0, "x\r\n");
	turn(q);
	agent_open(&a, q, CHANNEL_RELAY);
	ready(&a, 1);
	while (take(&a)) {
		n++;
		assert_true(n != 1 || (a.qid == large && a.n <= 100));
		assert_true(n != 2 || a.qid == small);	/* after one job of the large one, not after ten */
		answer(&a, OUTCOME_DONE, "2.0.0");
		ready(&a, 1);
	}
	assert_in_range(n, 11, 25);
	assert_int_equal(q->ledger.relayed, 1001);
	assert_int_equal(q->messages.n, 0);
	(void)close(a.fd);
	fixture_close(q, true);
	fixture_remove();
}

static void
a_dead_destination_takes_no_slots(void **unused)
{
	const char *const dead[] = { "x@dead.test" }, *const alive[] = { "y@alive.test" };
	struct queue *q;
	struct agent a;
	unsigned tried = 0;

	(void)unused;
	fixture_make();
	q = fixture_open();
	for (int i = 0; i < 40; i++)
		(void)fixture_submit(q, "s@c.test", dead, 1, true, 0, "x\r\n");
	turn(q);
	agent_open(&a, q, CHANNEL_RELAY);
	ready(&a, 2);
	while (take(&a)) {
		tried++;
		answer(&a, OUTCOME_DEFERRED, "4.4.1");
		ready(&a, 1);
	}
	assert_in_range(tried, 3, 8);	/* then it is left alone */
	assert_int_equal(q->messages.n, 40);
	(void)fixture_submit(q, "s@c.test", alive, 1, true, 0, "x\r\n");
	turn(q);
	assert_true(take(&a));
	assert_string_equal(domain(&a), "alive.test");
	answer(&a, OUTCOME_DONE, "2.0.0");
	/* Mail for it that comes now waits with the rest. */
	(void)fixture_submit(q, "s@c.test", dead, 1, true, 0, "x\r\n");
	ready(&a, 5);
	assert_false(take(&a));
	schedule_all_up(q);
	for (uint32_t i = 0; i < q->messages.slot_n; i++)
		if (q->messages.slot[i] != NULL) {
			q->messages.slot[i]->rcpt[0].next_utc = 0;
			schedule_message(q, q->messages.slot[i]);
		}
	schedule_run(q);
	turn(q);
	assert_true(take(&a));
	(void)close(a.fd);
	fixture_close(q, true);
	fixture_remove();
}

/* A host that answers "not now" is no dead destination. */
static void
a_full_mailbox_is_no_dead_destination(void **unused)
{
	const char *const to[] = { "x@full.test" };
	struct queue *q;
	struct agent a;
	unsigned tried = 0;

	(void)unused;
	fixture_make();
	q = fixture_open();
	for (int i = 0; i < 20; i++)
		(void)fixture_submit(q, "s@c.test", to, 1, true, 0, "x\r\n");
	turn(q);
	agent_open(&a, q, CHANNEL_RELAY);
	ready(&a, 1);
	while (take(&a)) {
		tried++;
		answer(&a, OUTCOME_DEFERRED, "4.2.2");
		ready(&a, 1);
	}
	assert_int_equal(tried, 20);
	for (uint32_t i = 0; i < q->messages.slot_n; i++)
		if (q->messages.slot[i] != NULL) {
			uint32_t wait = q->messages.slot[i]->rcpt[0].next_utc - (uint32_t)(now_usec() / 1000000);

			assert_in_range(wait, 290, 301);
		}
	(void)close(a.fd);
	fixture_close(q, true);
	fixture_remove();
}

static void
one_mailbox_cannot_take_all_slots(void **unused)
{
	const char *const slow[] = { "slow@here.test" }, *const other[] = { "other@here.test" };
	struct queue *q;
	struct agent a;
	bool other_came = false;

	(void)unused;
	fixture_make();
	q = fixture_open();
	q->daemon.conf.deliver_slots = 8;
	for (int i = 0; i < 50; i++)
		(void)fixture_submit(q, "s@c.test", slow, 1, false, 0, "x\r\n");
	turn(q);
	agent_open(&a, q, CHANNEL_DELIVER);
	ready(&a, 100);
	assert_int_equal(job_count(q), 4);
	(void)fixture_submit(q, "s@c.test", other, 1, false, 0, "x\r\n");
	turn(q);
	while (take(&a))
		other_came = other_came || strcmp(a.rcpt[0], "other@here.test") == 0;
	assert_true(other_came);
	(void)close(a.fd);
	fixture_close(q, true);
	fixture_remove();
}

static void
a_lost_connection_repeats(void **unused)
{
	const char *const to[] = { "a@far.test", "b@far.test" };
	struct queue *q;
	struct agent a;

	(void)unused;
	fixture_make();
	q = fixture_open();
	(void)fixture_submit(q, "s@c.test", to, 2, true, 0, "x\r\n");
	turn(q);
	agent_open(&a, q, CHANNEL_RELAY);
	ready(&a, 1);
	assert_true(take(&a));
	assert_false(a.repeat);
	a.n = 1;	/* one of two is answered */
	answer(&a, OUTCOME_DONE, "2.0.0");
	(void)close(a.fd);
	turn(q);
	agent_open(&a, q, CHANNEL_RELAY);
	ready(&a, 1);
	assert_true(take(&a));
	assert_true(a.repeat);
	assert_int_equal(a.n, 1);
	assert_string_equal(a.rcpt[0], "b@far.test");
	/* Lost again and again: not at once any more. */
	(void)close(a.fd);
	turn(q);
	agent_open(&a, q, CHANNEL_RELAY);
	ready(&a, 1);
	assert_false(take(&a));
	(void)close(a.fd);
	fixture_close(q, true);
	fixture_remove();
}

/* Results that do not fit the job end the connection, and change nothing. */
static void
wrong_results_are_refused(void **unused)
{
	const char *const to[] = { "a@far.test" };
	struct queue *q;
	struct agent a;

	(void)unused;
	for (int wrong = 0; wrong < 4; wrong++) {
		fixture_make();
		q = fixture_open();
		(void)fixture_submit(q, "s@c.test", to, 1, true, 0, "x\r\n");
		turn(q);
		agent_open(&a, q, CHANNEL_RELAY);
		ready(&a, 1);
		assert_true(take(&a));
		a.job += wrong == 0;
		a.qid += wrong == 1;
		a.index[0] += wrong == 2;
		if (wrong == 3) {	/* the same twice */
			a.index[1] = a.index[0];
			a.n = 2;
		}
		answer(&a, OUTCOME_DONE, "2.0.0");
		turn(q);
		assert_int_equal(q->ledger.relayed, 0);
		assert_int_equal(q->messages.n, 1);
		assert_int_equal(job_count(q), 0);
		(void)close(a.fd);
		fixture_close(q, true);
		fixture_remove();
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_between_attempts),
		cmocka_unit_test(destinations_take_turns),
		cmocka_unit_test(messages_take_turns),
		cmocka_unit_test(a_dead_destination_takes_no_slots),
		cmocka_unit_test(a_full_mailbox_is_no_dead_destination),
		cmocka_unit_test(one_mailbox_cannot_take_all_slots),
		cmocka_unit_test(a_lost_connection_repeats),
		cmocka_unit_test(wrong_results_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
