/*
 * queue: owns the spool, alone.  Takes messages in and makes them durable,
 * hands them to deliver and relay, keeps what could not be delivered, tells
 * the sender when it gives up.  One process, one thread, one loop; and the
 * tracer, a child that keeps the history.
 *
 * Read next: queue.h (the way of a message), queue_record.h (the log).
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "queue.h"
#include "queue_apply.h"
#include "queue_bounce.h"
#include "queue_compact.h"
#include "queue_control.h"
#include "queue_drop.h"
#include "queue_file.h"
#include "queue_job.h"
#include "queue_lease.h"
#include "queue_recent.h"
#include "queue_replay.h"
#include "queue_submit.h"
#include "queue_trace.h"

#define EX_OSERR	71
#define LOCK_WAIT_MS	30000	/* the queue before us may still be finishing */
#define DRAIN_MS	3000	/* for jobs that are under way */
#define MINUTE		60

/* ---- what the log tells ---- */

static void
on_applied(void *ctx, const struct log_applied *a)
{
	struct queue *q = ctx;
	struct record_message r;

	if (!queue_apply(q, a)) {
		log_say(LOG_LEVEL_ERROR, "a %s record of our own makes no sense", record_name(a->type));
		return;
	}
	if (a->type != RECORD_TYPE_message || a->cookie == 0 || !record_get_message(a->body, &r))
		return;
	if ((a->cookie & SUBMIT_COOKIE) != 0)
		submit_done(q, a->cookie, r.qid, OK, "");
	else
		drop_done(q, r.qid, a->segment);
}

static void
on_refused(void *ctx, uint16_t type, struct slice body, uint64_t cookie, const char *why)
{
	struct queue *q = ctx;
	struct record_message r;

	if (type == RECORD_TYPE_moved) {
		compact_refused(q, body);
		return;
	}
	if (type != RECORD_TYPE_message || !record_get_message(body, &r))
		return;
	if (cookie == 0) {
		queue_bounce_refused(q, body);
		return;
	}
	if ((r.flags & MESSAGE_IN_FILE) != 0)
		queue_file_remove(q, (struct qid){ r.qid });
	if ((cookie & SUBMIT_COOKIE) != 0)
		submit_done(q, cookie, r.qid, TEMP, why);
	else
		drop_refused(q, r.qid);
}

static void
on_committed(void *ctx)
{
	struct queue *q = ctx;

	(void)log_flush();	/* what is answered has been told */
	submit_answer(q);
	drop_flush(q);
	control_committed(q);
	schedule_run(q);
}

static void
on_opening(void *ctx)
{
	struct queue *q = ctx;
	struct record_ledger ledger = q->ledger;
	struct buf body;

	queue_lease_record(q);
	ledger.first_seq = q->log.first->seq;
	buf_init(&body, 128);
	if (record_put_ledger(&body, &ledger))
		queue_log_opening(&q->log, RECORD_TYPE_ledger, buf_slice_of(&body));
	buf_clear(&body);
}

/* ---- connections ---- */

static void
on_submit(int fd, const char *address, void *ctx)
{
	(void)address;
	ipc_roomy(fd);
	submit_accept(ctx, fd);
}

static void
on_deliver(int fd, const char *address, void *ctx)
{
	(void)address;
	ipc_roomy(fd);
	job_accept(ctx, CHANNEL_DELIVER, fd);
}

static void
on_relay(int fd, const char *address, void *ctx)
{
	(void)address;
	ipc_roomy(fd);
	job_accept(ctx, CHANNEL_RELAY, fd);
}

static void
on_control(int fd, const char *address, void *ctx)
{
	(void)address;
	ipc_roomy(fd);
	control_accept(ctx, fd);
}

static const struct {
	const char	*name;
	void		(*accepted)(int fd, const char *address, void *ctx);
} listeners[] = {
	{ "queue-submit", on_submit },
	{ "queue-deliver", on_deliver },
	{ "queue-relay", on_relay },
	{ "queue-control", on_control },
};

static void
listen_all(struct queue *q)
{
	for (size_t i = 0; i < LEN(listeners); i++) {
		int fd = daemon_socket(&q->daemon, listeners[i].name, 0);

		q->listener[i] = fd == -1 ? NULL : conn_listen(q->daemon.base, fd, listeners[i].accepted, q);
		if (q->listener[i] == NULL)
			log_fatal(EX_OSERR, "cannot listen on %s", listeners[i].name);
	}
}

static void
listen_no_more(struct queue *q)
{
	for (size_t i = 0; i < LEN(listeners); i++) {
		conn_listener_free(q->listener[i]);
		q->listener[i] = NULL;
	}
}

/* ---- folders ---- */

/* Make a folder of ours where it is missing. */
static int
open_folder(const struct queue *q, int at, const char *name, bool wanted)
{
	int fd;

	if (wanted && mkdirat(at, name, 0700) == 0 && q->daemon.uid != (uid_t)-1 &&
	    fchownat(at, name, q->daemon.uid, q->daemon.gid, AT_SYMLINK_NOFOLLOW) != 0)
		log_fatal(EX_OSERR, "cannot give folder %s to its account: %s", name, strerror(errno));
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 && wanted)
		log_fatal(EX_OSERR, "cannot open folder %s: %s", name, strerror(errno));
	return fd;
}

static void
open_folders(struct queue *q)
{
	int state_dirfd = daemon_open_dir(&q->daemon, q->daemon.conf.state_dir);

	q->spool_dirfd = daemon_open_dir(&q->daemon, q->daemon.conf.spool_dir);
	q->log_dirfd = open_folder(q, q->spool_dirfd, "log", true);
	q->large_dirfd = open_folder(q, q->spool_dirfd, "large", true);
	q->trace_dirfd = open_folder(q, q->spool_dirfd, "trace", true);
	q->drop_dirfd = open_folder(q, q->spool_dirfd, "drop", false);
	q->index_dirfd = open_folder(q, state_dirfd, "queue", true);
	(void)close(state_dirfd);
	/* Berkeley DB knows its files by path: this folder is "." for good. */
	if (fchdir(q->index_dirfd) != 0)
		log_fatal(EX_OSERR, "cannot change to %s/queue: %s", q->daemon.conf.state_dir, strerror(errno));
}

/* One queue at a time: the lock goes with the process that has it. */
static void
lock_spool(const struct queue *q)
{
	int fd = openat(q->spool_dirfd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd == -1)
		log_fatal(EX_OSERR, "cannot open %s/lock: %s", q->daemon.conf.spool_dir, strerror(errno));
	for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += 10) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			log_fatal(EX_OSERR, "cannot lock %s: %s", q->daemon.conf.spool_dir, strerror(errno));
		if (waited >= LOCK_WAIT_MS)
			log_fatal(EX_OSERR, "another queue has %s", q->daemon.conf.spool_dir);
		(void)usleep(10000);
	}
}

static void
confine(struct queue *q)
{
	struct confine c = { .kind = CONFINE_QUEUE, .uid = q->daemon.uid, .gid = q->daemon.gid };

	(void)confine_path(&c, q->spool_dirfd, ACCESS_WRITE);
	(void)confine_path(&c, q->index_dirfd, ACCESS_WRITE);
	daemon_confine(&q->daemon, &c);
}

static void
more_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* ---- once a second ---- */

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;

	(void)fd;
	(void)what;
	queue_lease_tick(q);
	queue_bounce_retry(q);
	drop_tick(q);
	trace_tick(q);
	compact_tick(q);
	if (q->log.low)
		queue_log_check_space(&q->log);
	if (++q->seconds % MINUTE != 0)
		return;
	job_check(q);
	schedule_sweep(q);
	control_check_ledger(q);
	daemon_status(&q->daemon, "%u messages, %u jobs", q->messages.n, job_count(q));
}

/* ---- the end ---- */

static void
on_drain_end(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;

	(void)fd;
	(void)what;
	if (job_count(q) == 0 || now_mono_usec() >= q->drain_until_usec)
		daemon_end(&q->daemon, 0);
}

/* Nothing new is handed out; what is under way gets a little time to end. */
static void
drain(void *ctx)
{
	struct queue *q = ctx;
	const struct timeval often = { .tv_usec = 10000 };

	q->drain_until_usec = now_mono_usec() + DRAIN_MS * 1000;
	listen_no_more(q);
	q->drain_check = event_new(q->daemon.base, -1, EV_PERSIST, on_drain_end, q);
	if (q->drain_check == NULL || event_add(q->drain_check, &often) != 0)
		daemon_end(&q->daemon, 0);
}

static void
clear(struct queue *q)
{
	queue_log_close(&q->log);	/* first: it may still answer */
	listen_no_more(q);
	event_free(q->tick);
	if (q->drain_check != NULL)
		event_free(q->drain_check);
	submit_clear(q);
	control_clear(q);
	job_clear(q);
	drop_clear(q);
	compact_clear(q);
	trace_clear(q);
	schedule_clear(q);
	messages_clear(&q->messages);
	recent_clear(q);
	buf_clear(&q->scratch);
}

/* ---- the beginning ---- */

static void
begin(struct queue *q)
{
	static const struct queue_log_ops ops = { .applied = on_applied, .refused = on_refused,
	    .committed = on_committed, .opening = on_opening };
	const struct timeval second = { .tv_sec = 1 };

	if (!queue_log_init(&q->log, q->log_dirfd, &ops, q, q->daemon.base) ||
	    !schedule_init(q) || !job_init(q) || !control_init(q) || !compact_init(q))
		log_fatal(EX_OSERR, "no memory");
	q->log.min_free = q->daemon.conf.spool_min_free;
	buf_init(&q->scratch, RECORD_HEAD + RECORD_BODY_MAX + RECORD_CONTENT_MAX);
	(void)trace_init(q);	/* before the queue is in memory: it would be copied */
	queue_replay(q);
	queue_lease_open(q);
	queue_file_clean(q);
	queue_replay_settle(q);
	(void)queue_log_commit(&q->log);
	q->tick = event_new(q->daemon.base, -1, EV_PERSIST, on_tick, q);
	if (q->tick == NULL || event_add(q->tick, &second) != 0)
		log_fatal(EX_OSERR, "no memory");
}

int
main(int argc, char **argv)
{
	static const char *const sockets[] = { "queue-submit", "queue-deliver", "queue-relay", "queue-control", NULL };
	static struct queue q;
	int code;

	daemon_start(&q.daemon, "queue", "queue", sockets, argc, argv);
	more_descriptors();
	open_folders(&q);
	if (q.daemon.probe == NULL)	/* a probe looks at the sandbox alone */
		lock_spool(&q);
	/* Three priorities: the log's timer, all others, the commit at the end of a turn. */
	if (event_base_priority_init(q.daemon.base, 3) != 0 || !submit_init(&q) || !drop_init(&q))
		log_fatal(EX_OSERR, "no memory");
	confine(&q);
	begin(&q);
	listen_all(&q);
	q.daemon.drain = drain;
	q.daemon.drain_ctx = &q;
	daemon_ready(&q.daemon);
	drop_look(&q);
	code = daemon_run(&q.daemon);
	clear(&q);
	return code;
}
