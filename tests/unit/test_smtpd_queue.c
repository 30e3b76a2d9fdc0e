/* smtpd/smtp_queue.c against a queue played by the test: what is sent, what breaks when. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "daemon.h"
#include "log.h"
#include "smtpd/smtp_envelope.h"
#include "smtpd/smtp_queue.h"

static struct {
	struct event_base	*base;
	struct smtp_queue	*q;
	struct smtp_broker	 broker;
	struct buf		 frame;		/* the last one that queue got */
	unsigned		 asked;		/* for a connection */
	struct smtp_submit	 s;
	unsigned		 ids, files, results, doubts;
	enum verdict		 verdict;
	bool			 low;
} t;

static bool
ask(void *ctx, const char *name)
{
	(void)ctx;
	assert_string_equal(name, "queue-submit");
	t.asked++;
	return true;
}

static void
on_id(void *ctx, enum verdict v)
{
	(void)ctx;
	t.ids++;
	t.verdict = v;
}

static void
on_file(void *ctx, enum verdict v)
{
	(void)ctx;
	t.files++;
	t.verdict = v;
}

static void
on_result(void *ctx, enum verdict v, bool low)
{
	(void)ctx;
	t.results++;
	t.verdict = v;
	t.low = low;
}

static void
on_doubt(void *ctx)
{
	(void)ctx;
	t.doubts++;
}

static const struct smtp_submit_ops ops = { on_id, on_file, on_result, on_doubt };

static void
turn(void)
{
	for (int i = 0; i < 10; i++)
		(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
}

static void
answer(int fd, const struct buf *out, int pass)
{
	assert_int_equal(ipc_send(fd, buf_slice_of(out), pass), IPC_IO_OK);
	turn();
}

#define ANSWER(fd, name, m, pass) do {						\
	struct buf out_;							\
	buf_init(&out_, IPC_FRAME_MAX);						\
	assert_true(ipc_put_##name(&out_, (m)));				\
	answer((fd), &out_, (pass));						\
	buf_clear(&out_);							\
} while (0)

/* A new connection: the end that queue has, after the hellos. */
static int
connect_queue(void)
{
	const struct ipc_hello hello = { IPC_VERSION, SLICE("queue") };
	int fds[2], passed;

	assert_true(ipc_pair(fds));
	smtp_link_take(smtp_queue_link(t.q), fds[0]);
	ANSWER(fds[1], hello, &hello, -1);
	assert_int_equal(ipc_recv(fds[1], &t.frame, &passed), IPC_IO_OK);
	return fds[1];
}

/* The next frame that queue gets; 0: none. */
static uint16_t
next_frame(int fd)
{
	uint16_t code = 0;
	int passed;

	turn();
	if (ipc_recv(fd, &t.frame, &passed) == IPC_IO_OK)
		assert_true(ipc_code(buf_slice_of(&t.frame), &code));
	return code;
}

static uint64_t
id_now(void)
{
	return now_usec() * QID_PER_USEC;
}

static void
lease(int fd, uint64_t first, uint16_t n)
{
	const struct ipc_submit_ids ids = { first, n };

	assert_int_equal(next_frame(fd), IPC_submit_lease);
	ANSWER(fd, submit_ids, &ids, -1);
}

static void
send_message(const char *content)
{
	struct ipc_submit m = { .sender = SLICE("a@a.example"), .protocol = SLICE("ESMTP"), .content = slice_of(content) };
	struct smtp_envelope e;
	struct addr a;

	smtp_envelope_init(&e, 10);
	assert_true(addr_parse(SLICE("bob@b.example"), &a));
	assert_true(smtp_envelope_add(&e, &a, HINT_LOCAL));
	assert_true(smtp_submit_send(&t.s, &m, buf_slice_of(&e.rcpts)));
	smtp_envelope_clear(&e);
}

static void
check_submit(int fd, uint64_t id, const char *content)
{
	struct ipc_submit m;

	assert_int_equal(next_frame(fd), IPC_submit);
	assert_true(ipc_get_submit(buf_slice_of(&t.frame), &m));
	assert_true(m.qid == id);
	assert_true(slice_is(m.content, content));
	assert_true(m.rcpts.len > 0);
}

static void
result(int fd, uint64_t id, enum verdict v, const char *text)
{
	const struct ipc_submit_result m = { id, (uint8_t)v, slice_of(text) };

	ANSWER(fd, submit_result, &m, -1);
}

static int
set_up(void **unused)
{
	(void)unused;
	log_setup(&(struct log_setup){ .tag = "test", .program = "smtpd", .fd = -1 });
	memset(&t, 0, sizeof(t));
	t.base = event_base_new();
	t.broker.ask = ask;
	t.q = smtp_queue_new(t.base, &t.broker);
	buf_init(&t.frame, IPC_FRAME_MAX);
	smtp_submit_init(&t.s, t.q, &ops, NULL);
	return 0;
}

static int
tear_down(void **unused)
{
	(void)unused;
	smtp_submit_abort(&t.s);
	smtp_queue_free(t.q);
	event_base_free(t.base);
	buf_clear(&t.frame);
	return 0;
}

static void
in_the_frame(void **unused)
{
	uint64_t first = id_now();
	int fd = connect_queue();

	(void)unused;
	assert_false(smtp_submit_begin(&t.s));
	lease(fd, first, 2);
	assert_int_equal(t.ids, 1);
	assert_int_equal(t.verdict, OK);
	send_message("one");
	check_submit(fd, first, "one");
	assert_int_equal(t.results, 0);
	result(fd, first, OK, "");
	assert_int_equal(t.results, 1);
	/* The second id was leased along. */
	assert_true(smtp_submit_begin(&t.s));
	assert_true(t.s.qid.n == first + 1);
	send_message("two");
	check_submit(fd, first + 1, "two");
	result(fd, first + 1, TEMP, "no space left on device");
	assert_int_equal(t.results, 2);
	assert_int_equal(t.verdict, TEMP);
	assert_true(t.low);
	assert_true(smtp_queue_low(t.q));
	(void)close(fd);
}

/* An id tells the time of arrival: one that was leased long ago is not used. */
static void
old_ids_are_dropped(void **unused)
{
	int fd = connect_queue();

	(void)unused;
	smtp_queue_prepare(t.q);
	lease(fd, id_now() - 60ull * 1000000 * QID_PER_USEC, 64);
	assert_false(smtp_submit_begin(&t.s));
	lease(fd, id_now(), 64);
	assert_int_equal(t.ids, 1);
	(void)close(fd);
}

/* P4: the same id again, and no more than one result. */
static void
sent_again_when_queue_was_restarted(void **unused)
{
	uint64_t first = id_now();
	int fd = connect_queue();

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, first, 1);
	send_message("kept");
	check_submit(fd, first, "kept");
	(void)close(fd);
	turn();
	assert_int_equal(t.results, 0);
	fd = connect_queue();
	check_submit(fd, first, "kept");
	result(fd, first, OK, "");
	result(fd, first, OK, "");
	assert_int_equal(t.results, 1);
	assert_int_equal(t.verdict, OK);
	(void)close(fd);
}

static void
waits_for_queue_but_not_for_ever(void **unused)
{
	(void)unused;
	assert_false(smtp_submit_begin(&t.s));
	t.s.deadline_ms = 1;	/* as if 15 s had passed */
	(void)event_base_loopexit(t.base, &(struct timeval){ 1, 200000 });
	(void)event_base_dispatch(t.base);
	assert_int_equal(t.ids, 1);
	assert_int_equal(t.verdict, TEMP);
	assert_int_equal(t.s.state, SUBMIT_IDLE);
}

static void
an_answer_that_does_not_come(void **unused)
{
	uint64_t first = id_now();
	int fd = connect_queue();

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, first, 1);
	send_message("x");
	t.s.deadline_ms = 1;
	(void)event_base_loopexit(t.base, &(struct timeval){ 1, 200000 });
	(void)event_base_dispatch(t.base);
	/* Queue has it, or will have: a 4xx would be a promise that is not kept. */
	assert_int_equal(t.results, 0);
	assert_int_equal(t.doubts, 1);
	result(fd, first, OK, "");	/* too late: nobody is told */
	assert_int_equal(t.results + t.doubts, 1);
	(void)close(fd);
}

static void
never_offered_is_refused(void **unused)
{
	int fd = connect_queue();

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, id_now(), 1);
	(void)close(fd);
	turn();
	send_message("x");
	t.s.deadline_ms = 1;
	(void)event_base_loopexit(t.base, &(struct timeval){ 1, 200000 });
	(void)event_base_dispatch(t.base);
	assert_int_equal(t.results, 1);
	assert_int_equal(t.verdict, TEMP);
	assert_int_equal(t.doubts, 0);
}

/* The parent, who connects us, was killed, and then queue. */
static void
nobody_connects_us_again(void **unused)
{
	int fd = connect_queue();

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, id_now(), 1);
	send_message("x");
	smtp_queue_alone(t.q);
	assert_int_equal(t.doubts, 0);	/* the connection is good */
	(void)close(fd);
	turn();
	assert_int_equal(t.doubts, 1);
	assert_int_equal(t.results, 0);
	assert_int_equal(t.s.state, SUBMIT_IDLE);
}

static void
alone_without_a_connection(void **unused)
{
	int fd = connect_queue();

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, id_now(), 1);
	send_message("x");
	(void)close(fd);
	turn();
	assert_int_equal(t.doubts, 0);
	smtp_queue_alone(t.q);
	assert_int_equal(t.doubts, 1);
}

/* ---- files ---- */

static int
open_file(int fd, uint64_t id, int file)
{
	const struct ipc_submit_file m = { id, OK };

	smtp_submit_open_file(&t.s);
	assert_int_equal(next_frame(fd), IPC_submit_file_open);
	ANSWER(fd, submit_file, &m, file);
	(void)close(file);
	assert_int_equal(t.files, 1);
	assert_int_equal(t.verdict, OK);
	return t.s.file_fd;
}

static void
in_a_file(void **unused)
{
	uint64_t first = id_now();
	int fd = connect_queue(), pipes[2];
	struct ipc_submit m;
	char got[10] = "";

	(void)unused;
	assert_int_equal(pipe(pipes), 0);
	(void)smtp_submit_begin(&t.s);
	lease(fd, first, 1);
	(void)open_file(fd, first, pipes[1]);
	assert_true(smtp_submit_write(&t.s, SLICE("content")));
	assert_int_equal(read(pipes[0], got, sizeof(got)), 7);
	assert_string_equal(got, "content");
	send_message("");
	assert_int_equal(read(pipes[0], got, sizeof(got)), 0);	/* closed before queue is told */
	assert_int_equal(next_frame(fd), IPC_submit);
	assert_true(ipc_get_submit(buf_slice_of(&t.frame), &m));
	assert_int_equal(m.in_file, 1);
	result(fd, first, OK, "");
	assert_int_equal(t.verdict, OK);
	assert_int_equal(t.results, 1);
	(void)close(fd);
	(void)close(pipes[0]);
}

static void
disk_full(void **unused)
{
	uint64_t first = id_now();
	int fd = connect_queue();

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, first, 1);
	(void)open_file(fd, first, open("/dev/full", O_WRONLY | O_CLOEXEC));
	assert_false(smtp_submit_write(&t.s, SLICE("content")));
	assert_int_equal(errno, ENOSPC);
	smtp_submit_abort(&t.s);
	assert_int_equal(next_frame(fd), IPC_submit_abort);
	assert_int_equal(t.results, 0);
	(void)close(fd);
}

static void
no_file_is_given(void **unused)
{
	uint64_t first = id_now();
	int fd = connect_queue();
	const struct ipc_submit_file m = { first, TEMP };

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, first, 1);
	smtp_submit_open_file(&t.s);
	assert_int_equal(next_frame(fd), IPC_submit_file_open);
	ANSWER(fd, submit_file, &m, -1);
	assert_int_equal(t.files, 1);
	assert_int_equal(t.verdict, TEMP);
	assert_true(smtp_queue_low(t.q));
	(void)close(fd);
}

/* A queue that starts again has thrown half-written files away. */
static void
file_of_a_queue_that_died(void **unused)
{
	uint64_t first = id_now();
	int fd = connect_queue();
	struct ipc_submit m = { .protocol = SLICE("ESMTP") };

	(void)unused;
	(void)smtp_submit_begin(&t.s);
	lease(fd, first, 1);
	(void)open_file(fd, first, open("/dev/null", O_WRONLY | O_CLOEXEC));
	assert_true(smtp_submit_write(&t.s, SLICE("content")));
	(void)close(fd);
	turn();
	fd = connect_queue();
	assert_false(smtp_submit_write(&t.s, SLICE("more")));
	assert_int_equal(errno, EPIPE);
	assert_false(smtp_submit_send(&t.s, &m, SLICE("")));
	(void)close(fd);
}

/* P21, V5: nonsense from the other side ends the connection, not us; it is made again. */
static void
nonsense_from_queue(void **unused)
{
	static const struct slice nonsense[] = {
		{ "", 0 }, { "\x02\x01", 2 }, { "\x07\x01xxxx", 6 }, { "\xff\xff", 2 }, { "\x05\x01\0\0\0\0\0\0\0\0\0", 11 },
	};

	(void)unused;
	for (size_t i = 1; i < LEN(nonsense); i++) {
		int fd = connect_queue();
		unsigned asked = t.asked;

		assert_int_equal(ipc_send(fd, nonsense[i], -1), IPC_IO_OK);
		turn();
		check_row(i, smtp_link_conn(smtp_queue_link(t.q)) == NULL);
		for (int k = 0; k < 50 && t.asked == asked; k++) {
			(void)event_base_loopexit(t.base, &(struct timeval){ 0, 100000 });
			(void)event_base_dispatch(t.base);
		}
		check_row(i, t.asked > asked);
		(void)close(fd);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(in_the_frame),
		TEST(old_ids_are_dropped),
		TEST(sent_again_when_queue_was_restarted),
		TEST(waits_for_queue_but_not_for_ever),
		TEST(an_answer_that_does_not_come),
		TEST(never_offered_is_refused),
		TEST(nobody_connects_us_again),
		TEST(alone_without_a_connection),
		TEST(in_a_file),
		TEST(disk_full),
		TEST(no_file_is_given),
		TEST(file_of_a_queue_that_died),
		TEST(nonsense_from_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
