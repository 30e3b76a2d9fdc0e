#include "queue_trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc_conn.h"
#include "log.h"
#include "queue_control.h"
#include "tracer.h"

#define OUT_MAX		(1024 * 1024)
#define BACKOFF_MAX_S	300
#define QUICK_S		60	/* a tracer that dies sooner, twice: its database is made anew */

struct trace_state {
	struct queue		*queue;
	struct ipc_conn		*conn;		/* NULL: no tracer now */
	pid_t			 pid;
	uint64_t		 have_seq, have_offset;	/* of the log: in the history */
	uint64_t		 told_seq, told_offset;
	uint64_t		 started_s;
	unsigned		 quick_deaths, wait_s;
};

static bool
on_frame(struct ipc_conn *conn, void *ctx, struct slice frame, int passed)
{
	struct trace_state *t = ctx;
	struct ipc_tracer_have m;
	struct ipc_tracer_told told;

	(void)conn;
	if (passed != -1)
		(void)close(passed);
	if (ipc_get_tracer_told(frame, &told)) {
		control_traced(t->queue, told.id, true);
		return true;
	}
	if (!ipc_get_tracer_have(frame, &m))
		return false;
	t->have_seq = m.seq;
	t->have_offset = m.offset;
	return true;
}

static void
on_closed(struct ipc_conn *conn, void *ctx, const char *why)
{
	struct trace_state *t = ctx;
	uint64_t lived = now_mono_usec() / 1000000 - t->started_s;
	int status = 0;

	(void)why;
	ipc_conn_free(conn);
	t->conn = NULL;
	control_traced(t->queue, 0, false);
	if (waitpid(t->pid, &status, WNOHANG) == t->pid)
		t->pid = -1;	/* else it is reaped later */
	t->quick_deaths = lived < QUICK_S ? t->quick_deaths + 1 : 0;
	t->wait_s = t->quick_deaths > 8 ? BACKOFF_MAX_S : 1u << t->quick_deaths;
	log_say(LOG_LEVEL_WARNING, "the tracer ended (%s %d): it is started again in %u seconds",
	    WIFSIGNALED(status) ? "signal" : "exit", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
	    t->wait_s);
}

static bool
start(struct trace_state *t)
{
	static const struct ipc_conn_ops ops = { .frame = on_frame, .closed = on_closed };
	struct queue *q = t->queue;
	int fds[2];

	if (t->pid > 0 && waitpid(t->pid, NULL, WNOHANG) == t->pid)
		t->pid = -1;
	if (!ipc_pair(fds))
		return false;
	t->pid = fork();
	if (t->pid == 0) {
		const struct tracer_setup setup = { .fd = fds[1], .log_dirfd = q->log_dirfd,
		    .trace_dirfd = q->trace_dirfd, .index_dirfd = q->index_dirfd,
		    .keep_s = q->daemon.conf.trace_keep_s, .lifetime_s = q->daemon.conf.lifetime_s,
		    .fresh_index = t->quick_deaths >= 2 };

		tracer_run(&setup);
	}
	(void)close(fds[1]);
	if (t->pid == -1) {
		(void)close(fds[0]);
		return false;
	}
	t->started_s = now_mono_usec() / 1000000;
	t->told_seq = t->told_offset = 0;
	t->conn = ipc_conn_new(q->daemon.base, fds[0], "queue", OUT_MAX, &ops, t);
	return t->conn != NULL;
}

bool
trace_init(struct queue *q)
{
	struct trace_state *t = q->trace = calloc(1, sizeof(*t));

	if (t == NULL)
		return false;
	*t = (struct trace_state){ .queue = q, .pid = -1 };
	if (start(t))
		return true;
	log_say(LOG_LEVEL_ERROR, "cannot start the tracer: %s", strerror(errno));
	return false;
}

static void
tell(struct trace_state *t)
{
	const struct segment *s = t->queue->log.last;
	struct ipc_tracer_upto m;

	if (t->conn == NULL || s == NULL || (s->seq == t->told_seq && s->size == t->told_offset))
		return;
	m = (struct ipc_tracer_upto){ .seq = s->seq, .offset = s->size };
	if (ipc_conn_waiting(t->conn) == 0 && IPC_CONN_SEND(t->conn, tracer_upto, &m, -1)) {
		t->told_seq = m.seq;
		t->told_offset = m.offset;
	}
}

void
trace_tick(struct queue *q)
{
	struct trace_state *t = q->trace;

	if (t == NULL)
		return;
	if (t->conn != NULL) {
		tell(t);
		return;
	}
	if (t->wait_s > 0 && --t->wait_s > 0)
		return;
	if (!start(t))
		t->wait_s = BACKOFF_MAX_S;
}

bool
trace_has(const struct queue *q, uint64_t seq, uint32_t size)
{
	const struct trace_state *t = q->trace;

	return t == NULL || t->have_seq > seq || (t->have_seq == seq && t->have_offset >= size);
}

bool
trace_ask(struct queue *q, struct slice key, uint32_t id, int fd)
{
	struct trace_state *t = q->trace;
	const struct ipc_tracer_ask m = { .id = id, .key = key };

	if (t == NULL || t->conn == NULL) {
		(void)close(fd);
		return false;
	}
	tell(t);
	return IPC_CONN_SEND(t->conn, tracer_ask, &m, fd);
}

void
trace_clear(struct queue *q)
{
	struct trace_state *t = q->trace;

	if (t == NULL)
		return;
	ipc_conn_free(t->conn);
	/* It ends when its connection does; nobody waits for it, or it would be a zombie of ours. */
	if (t->pid > 0)
		(void)waitpid(t->pid, NULL, 0);
	free(t);
	q->trace = NULL;
}
