/* deliver/deliver_child.c, with the root parent and the processes of users played here: what they say is not believed. */
#include "check.h"

#include <event2/event.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "deliver/deliver_child.h"
#include "ipc.h"

static int64_t later_s;		/* how much later it is than the kernel thinks */

/* In place of libc's. */
int
clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	t->tv_sec += later_s;
	return rc;
}

#define JOBS 8

struct play {
	struct event_base	*base;
	int			 parent;	/* our end, as the root parent */
	struct children		*children;
	struct job		*job[JOBS];
	int			 done, texts;
	enum verdict		 verdict;	/* of the last text */
	bool			 said_hello;
	uint32_t		 spawn_id;	/* of the last deliver_spawn */
	int			 spawns;
};

static bool
keep_results(void *ctx, const struct ipc_job_results *r)
{
	(void)ctx;
	(void)r;
	return true;
}

static void
on_done(void *ctx, struct rcpt *r)
{
	struct play *p = ctx;

	assert_true(r->done);
	p->done++;
}

static void
on_text(void *ctx, struct rcpt *r, enum child_ask ask, enum verdict v, struct slice text, int memfd)
{
	struct play *p = ctx;

	(void)r;
	(void)ask;
	(void)text;
	if (memfd != -1)
		(void)close(memfd);
	p->texts++;
	p->verdict = v;
}

static void
on_orphaned(void *ctx)
{
	(void)ctx;
	fail_msg("orphaned");
}

static struct job *
new_job(uint64_t id)
{
	struct ipc_job_rcpt rcpt = { .addr = SLICE("carla@x.example"), .orig_to = SLICE("carla@x.example") };
	struct ipc_job m = { .job = id, .qid = 10 + id, .sender = SLICE("s@y.example"), .content = SLICE("A: b\r\n\r\n") };
	struct buf list, frame;
	struct job *job;
	bool bad;

	m.size = m.content.len;
	buf_init(&list, 4096);
	buf_init(&frame, IPC_FRAME_MAX);
	assert_true(ipc_add_job_rcpt(&list, &rcpt));
	m.rcpts = buf_slice_of(&list);
	assert_true(ipc_put_job(&frame, &m));
	job = job_new(buf_slice_of(&frame), -1, &bad);
	assert_non_null(job);
	job->send = keep_results;
	buf_clear(&list);
	buf_clear(&frame);
	return job;
}

static void
play_begin(struct play *p)
{
	static const struct children_ops ops = { .text = on_text, .done = on_done, .orphaned = on_orphaned };
	int pair[2];

	*p = (struct play){ .base = event_base_new() };
	assert_true(ipc_pair(pair));
	p->parent = pair[0];
	p->children = children_new(p->base, pair[1], &ops, p);
	assert_non_null(p->children);
	for (uint64_t i = 0; i < JOBS; i++)
		p->job[i] = new_job(i);
}

static void
turn(struct play *p)
{
	for (int i = 0; i < 10; i++)
		(void)event_base_loop(p->base, EVLOOP_NONBLOCK);
}

/* Send a frame as the other side, with the hello before the first. */
static void
say(int fd, bool hello_first, struct slice frame, int pass_fd)
{
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = SLICE("deliver") };
	struct buf b;

	buf_init(&b, 256);
	if (hello_first) {
		assert_true(ipc_put_hello(&b, &hello));
		assert_int_equal(ipc_send(fd, buf_slice_of(&b), -1), IPC_IO_OK);
	}
	assert_int_equal(ipc_send(fd, frame, pass_fd), IPC_IO_OK);
	buf_clear(&b);
}

/* How many processes are asked for now; the others of its frames are passed over. */
static int
count_spawns(struct play *p)
{
	struct ipc_deliver_spawn m;
	struct buf frame;
	int passed;

	turn(p);
	buf_init(&frame, IPC_FRAME_MAX);
	while (ipc_recv(p->parent, &frame, &passed) == IPC_IO_OK) {
		if (!ipc_get_deliver_spawn(buf_slice_of(&frame), &m))
			continue;
		p->spawn_id = m.id;
		p->spawns++;
	}
	buf_clear(&frame);
	return p->spawns;
}

/* The last process that was asked for is there: our end of its socket. */
static int
spawned(struct play *p)
{
	struct ipc_deliver_spawned m = { .verdict = OK };
	struct buf b;
	int pair[2];

	m.id = p->spawn_id;
	assert_true(ipc_pair(pair));
	buf_init(&b, 256);
	assert_true(ipc_put_deliver_spawned(&b, &m));
	say(p->parent, !p->said_hello, buf_slice_of(&b), pair[1]);
	p->said_hello = true;
	(void)close(pair[1]);
	buf_clear(&b);
	turn(p);
	return pair[0];
}

static void
ask(struct play *p, size_t job, const char *what, bool action, enum child_ask how)
{
	const struct child_request q = { .ask = how, .action = action, .what = slice_of(what), .addr = slice_of(what) };

	assert_true(children_ask(p->children, &q, &p->job[job]->rcpt[0]));
}

/* The number under which the process was asked for the last job or file. */
static uint64_t
asked_as(int fd)
{
	struct ipc_deliver_file file;
	struct ipc_job job;
	uint64_t id = 0;
	struct buf frame;
	int passed;

	buf_init(&frame, IPC_FRAME_MAX);
	while (ipc_recv(fd, &frame, &passed) == IPC_IO_OK) {
		if (ipc_get_job(buf_slice_of(&frame), &job))
			id = job.job;
		else if (ipc_get_deliver_file(buf_slice_of(&frame), &file))
			id = file.id;
	}
	buf_clear(&frame);
	assert_true(id > 0);
	return id;
}

static void
answer(int fd, uint64_t id, const struct ipc_job_result *result)
{
	struct buf list, b;
	struct ipc_job_results m = { .job = id, .qid = 1 };

	buf_init(&list, 4096);
	buf_init(&b, IPC_FRAME_MAX);
	assert_true(ipc_add_job_result(&list, result));
	m.results = buf_slice_of(&list);
	assert_true(ipc_put_job_results(&b, &m));
	say(fd, true, buf_slice_of(&b), -1);
	buf_clear(&list);
	buf_clear(&b);
}

static void
play_end(struct play *p)
{
	for (size_t i = 0; i < JOBS; i++) {
		children_forget(p->children, p->job[i]);
		job_free(p->job[i]);
	}
	(void)close(p->parent);
}

/* What it says is done, deferred or failed: it cannot expand, discard, or ask for more. */
static void
results_are_ours(void **unused)
{
	static const struct { enum ipc_outcome said, outcome; const char *dsn; } row[] = {
		{ OUTCOME_DONE,		OUTCOME_DONE,		"2.0.0" },
		{ OUTCOME_FAILED,	OUTCOME_FAILED,		"5.1.1" },
		{ OUTCOME_DEFERRED,	OUTCOME_DEFERRED,	"4.2.0" },
		{ OUTCOME_EXPANDED,	OUTCOME_DEFERRED,	"2.0.0" },
		{ OUTCOME_DISCARDED,	OUTCOME_DEFERRED,	"2.0.0" },
	};
	struct play p;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct ipc_job_result said = { .index = 7, .outcome = (uint8_t)row[i].said, .dsn = slice_of(row[i].dsn),
		    .relay = SLICE("evil"), .text = SLICE("x"), .more = row[i].said == OUTCOME_EXPANDED };
		struct ipc_job_result got;
		struct slice list;
		bool bad;
		int fd;

		play_begin(&p);
		ask(&p, 0, "carla@x.example", false, ASK_JOB);
		check_row(i, count_spawns(&p) == 1);
		fd = spawned(&p);
		answer(fd, asked_as(fd), &said);
		turn(&p);
		check_row(i, p.done == 1);
		list = buf_slice_of(&p.job[0]->results);
		check_row(i, ipc_next_job_result(&list, &got, &bad) && list.len == 0);
		check_row(i, got.outcome == row[i].outcome && got.index == 0 && got.more == 0 && got.targets.len == 0);
		check_row(i, slice_is(got.dsn, row[i].dsn) && slice_is(got.relay, "local"));
		(void)close(fd);
		play_end(&p);
	}
}

/* An answer of the wrong kind, or to what was not asked: the request fails for now, and that process is given up. */
static void
wrong_answers(void **unused)
{
	const struct ipc_job_result done = { .outcome = OUTCOME_DONE, .dsn = SLICE("2.0.0") };
	struct ipc_deliver_text text = { .verdict = OK };
	struct play p;
	struct buf b;
	int fd;

	(void)unused;
	play_begin(&p);
	buf_init(&b, 1024);
	ask(&p, 0, "carla@x.example", true, ASK_FILE);
	assert_int_equal(count_spawns(&p), 1);
	fd = spawned(&p);
	answer(fd, asked_as(fd), &done);
	turn(&p);
	assert_true(p.texts == 1 && p.verdict == TEMP);
	(void)close(fd);
	ask(&p, 0, "carla@x.example", true, ASK_FILE);	/* OK, and no text came along */
	assert_int_equal(count_spawns(&p), 2);
	fd = spawned(&p);
	text.id = (uint32_t)asked_as(fd);
	assert_true(ipc_put_deliver_text(&b, &text));
	say(fd, true, buf_slice_of(&b), -1);
	turn(&p);
	assert_true(p.texts == 2 && p.verdict == TEMP);
	(void)close(fd);
	ask(&p, 1, "carla@x.example", false, ASK_JOB);
	assert_int_equal(count_spawns(&p), 3);
	fd = spawned(&p);
	answer(fd, asked_as(fd) + 100, &done);
	turn(&p);
	assert_true(p.done == 1 && p.job[1]->open == 0);
	(void)close(fd);
	buf_clear(&b);
	play_end(&p);
}

/* Four actions of one user at once; the fifth waits in line, another user does not wait for it. */
static void
actions_in_line(void **unused)
{
	const struct ipc_job_result done = { .outcome = OUTCOME_DONE, .dsn = SLICE("2.0.0") };
	struct play p;
	int fd;

	(void)unused;
	play_begin(&p);
	for (size_t i = 0; i < CHILD_ACTIONS + 1; i++)
		ask(&p, i, "carla@x.example", true, ASK_JOB);
	assert_int_equal(count_spawns(&p), CHILD_ACTIONS);
	ask(&p, CHILD_ACTIONS + 1, "dirk@x.example", true, ASK_JOB);
	assert_int_equal(count_spawns(&p), CHILD_ACTIONS + 1);
	p.spawn_id = 2;		/* carla's first: numbers are given to the request and to its process */
	fd = spawned(&p);
	answer(fd, asked_as(fd), &done);
	turn(&p);
	(void)close(fd);
	assert_int_equal(count_spawns(&p), CHILD_ACTIONS + 2);
	assert_int_equal(p.done, 1);
	play_end(&p);
}

/* A mailbox process serves all of a user's mail, and ends when there was none for a while. */
static void
idle_ones_end(void **unused)
{
	const struct ipc_job_result done = { .outcome = OUTCOME_DONE, .dsn = SLICE("2.0.0") };
	struct play p;
	struct buf frame;
	int fd, passed;

	(void)unused;
	play_begin(&p);
	ask(&p, 0, "carla@x.example", false, ASK_JOB);
	ask(&p, 1, "carla@x.example", false, ASK_JOB);
	assert_int_equal(count_spawns(&p), 1);
	fd = spawned(&p);
	answer(fd, asked_as(fd), &done);
	turn(&p);
	buf_init(&frame, IPC_FRAME_MAX);
	later_s += 11;		/* one is not answered yet: it stays */
	turn(&p);
	assert_int_equal(ipc_recv(fd, &frame, &passed), IPC_IO_AGAIN);
	children_forget(p.children, p.job[0]);
	later_s += 200;		/* now it is given up */
	turn(&p);
	assert_int_equal(ipc_recv(fd, &frame, &passed), IPC_IO_CLOSED);
	(void)close(fd);
	assert_int_equal(p.done, 1);
	ask(&p, 2, "carla@x.example", false, ASK_JOB);
	assert_int_equal(count_spawns(&p), 2);
	fd = spawned(&p);
	answer(fd, asked_as(fd), &done);
	turn(&p);
	assert_int_equal(p.done, 2);
	later_s += 11;
	turn(&p);
	assert_int_equal(ipc_recv(fd, &frame, &passed), IPC_IO_CLOSED);
	(void)close(fd);
	buf_clear(&frame);
	later_s = 0;
	play_end(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_are_ours), cmocka_unit_test(wrong_answers), cmocka_unit_test(actions_in_line),
		cmocka_unit_test(idle_ones_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
