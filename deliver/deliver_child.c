#include "deliver_child.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "deliver_command.h"
#include "ipc.h"
#include "ipc_conn.h"
#include "log.h"

#define IDLE_USEC	(10 * 1000000)	/* a mailbox process is kept so long */
#define FILE_USEC	(30 * 1000000)	/* for an answer about a file */
#define MAILBOX_USEC	(120 * 1000000)	/* for a delivery into a Maildir */
#define ACTION_USEC	((COMMAND_LIMIT_S + 60) * UINT64_C(1000000))

struct request {
	struct request	*next;
	uint32_t	 id;
	enum child_ask	 ask;
	bool		 action;
	char		 what[321], path[321], addr[321], detail[ADDR_LOCAL_MAX + 1];
	struct rcpt	*rcpt;		/* NULL: forgotten */
	uint64_t	 sent_usec;
};

struct child {
	struct child	*next;
	struct children	*all;
	uint32_t	 id;		/* of its deliver_spawn */
	bool		 action;
	char		 what[321];
	struct ipc_conn	*conn;		/* NULL: not forked yet */
	struct request	*first;		/* not answered */
	uint64_t	 used_usec;
};

struct children {
	struct event_base	*base;
	const struct children_ops *ops;
	void			*ctx;
	struct ipc_conn		*parent;
	struct child		*first;
	struct request		*waiting, **waiting_end;	/* actions in line */
	uint32_t		 next_id;
	struct event		*tick;
};

static void start_waiting(struct children *c);

/* ---- answers ---- */

static void
fail_request(struct children *c, struct request *q, const char *why)
{
	struct rcpt *r = q->rcpt;

	if (r != NULL && q->ask == ASK_JOB) {
		rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "%s", why);
		c->ops->done(c->ctx, r);
	} else if (r != NULL) {
		c->ops->text(c->ctx, r, q->ask, TEMP, slice_of(why), -1);
	}
	free(q);
}

static void
remove_child(struct child *child)
{
	struct child **at = &child->all->first;

	while (*at != NULL && *at != child)
		at = &(*at)->next;
	if (*at != NULL)
		*at = child->next;
	ipc_conn_free(child->conn);
	free(child);
}

/* All its requests fail; it is no more. */
static void
end_child(struct child *child, const char *why)
{
	struct children *c = child->all;
	struct request *q = child->first, *next;

	child->first = NULL;
	remove_child(child);
	for (; q != NULL; q = next) {
		next = q->next;
		fail_request(c, q, why);
	}
	start_waiting(c);
}

static struct request *
take_request(struct child *child, uint64_t id)
{
	for (struct request **at = &child->first; *at != NULL; at = &(*at)->next) {
		if ((*at)->id == id) {
			struct request *q = *at;

			*at = q->next;
			child->used_usec = now_mono_usec();
			return q;
		}
	}
	return NULL;
}

static bool
take_text(struct child *child, struct slice frame, int passed)
{
	struct children *c = child->all;
	struct ipc_deliver_text m;
	struct request *q = NULL;

	if (ipc_get_deliver_text(frame, &m))
		q = take_request(child, m.id);
	if (q == NULL || q->ask == ASK_JOB || (q->ask == ASK_FILE && m.verdict == OK && passed == -1)) {
		if (passed != -1)
			(void)close(passed);
		if (q != NULL)
			fail_request(c, q, "the process for it answered something else");
		return false;
	}
	if (q->rcpt != NULL)
		c->ops->text(c->ctx, q->rcpt, q->ask, (enum verdict)m.verdict, m.text, passed);
	else if (passed != -1)
		(void)close(passed);
	free(q);
	return true;
}

/* What a process of a user says is passed on in a form of our own: done, deferred or failed, nothing else. */
static void
pass_result(struct rcpt *r, const struct ipc_job_result *result)
{
	char dsn[17] = "4.3.0", relay[32] = "local";
	enum ipc_outcome outcome = (enum ipc_outcome)result->outcome;

	if (outcome != OUTCOME_DONE && outcome != OUTCOME_FAILED)
		outcome = OUTCOME_DEFERRED;
	(void)slice_text(result->dsn, dsn, sizeof(dsn));
	rcpt_result(r, outcome, dsn, relay, "%.*s", (int)result->text.len, result->text.ptr);
}

static bool
take_results(struct child *child, struct slice frame)
{
	struct children *c = child->all;
	struct ipc_job_results m;
	struct ipc_job_result result;
	struct slice list;
	struct request *q;
	bool bad = false;

	if (!ipc_get_job_results(frame, &m))
		return false;
	list = m.results;
	if (!ipc_next_job_result(&list, &result, &bad))
		return false;
	q = take_request(child, m.job);
	if (q == NULL)
		return false;
	if (q->ask != ASK_JOB) {
		fail_request(c, q, "the process for it answered something else");
		return false;
	}
	if (q->rcpt != NULL) {
		pass_result(q->rcpt, &result);
		c->ops->done(c->ctx, q->rcpt);
	}
	free(q);
	return true;
}

static bool
child_frame(struct ipc_conn *conn, void *ctx, struct slice frame, int passed)
{
	uint16_t code = 0;

	(void)conn;
	(void)ipc_code(frame, &code);
	if (code == IPC_deliver_text)
		return take_text(ctx, frame, passed);
	if (passed != -1)
		(void)close(passed);
	return code == IPC_job_results && take_results(ctx, frame);
}

static void
child_closed(struct ipc_conn *conn, void *ctx, const char *why)
{
	struct child *child = ctx;

	(void)conn;
	(void)why;
	end_child(child, child->action ? "the process for it ended" :
	    "the mailbox cannot be opened; the log says why");
}

/* ---- asking ---- */

static bool
send_job(struct child *child, const struct request *q)
{
	const struct rcpt *r = q->rcpt;
	struct ipc_job_rcpt rcpt = r->m;
	struct ipc_job job = r->job->m;
	struct buf list;
	int fd = -1;
	bool ok;

	buf_init(&list, 4096);
	rcpt.addr = slice_of(q->addr);
	ok = ipc_add_job_rcpt(&list, &rcpt);
	job.job = q->id;
	job.rcpts = buf_slice_of(&list);
	if (ok && job.in_file) {
		fd = fcntl(r->job->fd, F_DUPFD_CLOEXEC, 3);
		ok = fd != -1;
	}
	ok = ok && IPC_CONN_SEND(child->conn, job, &job, fd);
	buf_clear(&list);
	return ok;
}

/* False: it could not be sent, the process is to be given up. */
static bool
send_request(struct child *child, struct request *q)
{
	const struct ipc_deliver_file file = {
		.id = q->id, .path = slice_of(q->path), .detail = slice_of(q->detail),
	};

	q->sent_usec = child->used_usec = now_mono_usec();
	if (q->rcpt == NULL)
		return true;
	if (q->ask == ASK_JOB)
		return send_job(child, q);
	return IPC_CONN_SEND(child->conn, deliver_file, &file, -1);
}

static bool
child_new(struct children *c, struct request *q)
{
	struct child *child = calloc(1, sizeof(*child));
	struct ipc_deliver_spawn m = { .action = q->action };

	if (child == NULL)
		return false;
	child->all = c;
	child->id = m.id = ++c->next_id;
	child->action = q->action;
	child->used_usec = q->sent_usec = now_mono_usec();
	memcpy(child->what, q->what, sizeof(child->what));
	m.what = slice_of(child->what);
	child->first = q;
	child->next = c->first;
	c->first = child;
	(void)IPC_CONN_SEND(c->parent, deliver_spawn, &m, -1);
	return true;
}

static size_t
actions_of(const struct children *c, const char *what)
{
	size_t n = 0;

	for (const struct child *child = c->first; child != NULL; child = child->next)
		n += child->action && strcmp(child->what, what) == 0;
	return n;
}

/* A place is free: start those in line that may. */
static void
start_waiting(struct children *c)
{
	for (struct request **at = &c->waiting; *at != NULL; ) {
		struct request *q = *at;

		if (q->rcpt != NULL && actions_of(c, q->what) >= CHILD_ACTIONS) {
			at = &q->next;
			continue;
		}
		*at = q->next;
		if (*at == NULL)
			c->waiting_end = at;
		q->next = NULL;
		if (q->rcpt == NULL) {
			free(q);
		} else if (!child_new(c, q)) {
			fail_request(c, q, "not enough memory");
			return;		/* the line may have changed */
		}
	}
}

static void
ask_mailbox(struct children *c, struct request *q)
{
	struct child *child = c->first;
	struct request **at;

	while (child != NULL && (child->action || strcmp(child->what, q->what) != 0))
		child = child->next;
	if (child == NULL) {
		if (!child_new(c, q))
			fail_request(c, q, "not enough memory");
		return;
	}
	for (at = &child->first; *at != NULL; at = &(*at)->next)
		continue;
	*at = q;
	q->sent_usec = now_mono_usec();
	if (child->conn != NULL)
		(void)send_request(child, q);	/* a broken one says so from the loop */
}

bool
children_ask(struct children *c, const struct child_request *what, struct rcpt *r)
{
	struct request *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return false;
	q->id = ++c->next_id;
	q->ask = what->ask;
	q->action = what->action;
	q->rcpt = r;
	if (!slice_text(what->what, q->what, sizeof(q->what)) || !slice_text(what->path, q->path, sizeof(q->path)) ||
	    !slice_text(what->addr, q->addr, sizeof(q->addr)) ||
	    !slice_text(what->detail, q->detail, sizeof(q->detail))) {
		free(q);
		return false;
	}
	if (!q->action) {
		ask_mailbox(c, q);
		return true;
	}
	*c->waiting_end = q;
	c->waiting_end = &q->next;
	start_waiting(c);
	return true;
}

void
children_forget(struct children *c, const struct job *job)
{
	for (struct request *q = c->waiting; q != NULL; q = q->next)
		if (q->rcpt != NULL && q->rcpt->job == job)
			q->rcpt = NULL;
	for (struct child *child = c->first; child != NULL; child = child->next)
		for (struct request *q = child->first; q != NULL; q = q->next)
			if (q->rcpt != NULL && q->rcpt->job == job)
				q->rcpt = NULL;
}

/* ---- the parent ---- */

static void
child_starts(struct child *child, int fd)
{
	static const struct ipc_conn_ops ops = { .frame = child_frame, .closed = child_closed };
	struct children *c = child->all;

	child->conn = ipc_conn_new(c->base, fd, "deliver", 64 * IPC_FRAME_MAX, &ops, child);
	if (child->conn == NULL) {
		end_child(child, "not enough memory");
		return;
	}
	for (struct request *q = child->first; q != NULL; q = q->next)
		if (!send_request(child, q))
			return;		/* closed() comes */
}

static bool
parent_frame(struct ipc_conn *conn, void *ctx, struct slice frame, int passed)
{
	struct children *c = ctx;
	struct ipc_deliver_spawned m;
	struct child *child = c->first;
	char why[201] = "";

	(void)conn;
	if (!ipc_get_deliver_spawned(frame, &m) || (m.verdict == OK) != (passed != -1)) {
		if (passed != -1)
			(void)close(passed);
		return false;
	}
	while (child != NULL && (child->id != m.id || child->conn != NULL))
		child = child->next;
	if (child == NULL) {
		if (passed != -1)
			(void)close(passed);	/* given up meanwhile */
	} else if (m.verdict == OK) {
		child_starts(child, passed);
	} else {
		(void)slice_text(m.text, why, sizeof(why));
		end_child(child, why);
	}
	return true;
}

static void
parent_closed(struct ipc_conn *conn, void *ctx, const char *why)
{
	struct children *c = ctx;

	(void)conn;
	(void)why;
	c->ops->orphaned(c->ctx);
}

/* ---- time ---- */

static uint64_t
patience(const struct child *child)
{
	if (child->first->ask != ASK_JOB)
		return FILE_USEC;
	return child->action ? ACTION_USEC : MAILBOX_USEC;
}

static void
on_tick(evutil_socket_t fd, short what, void *ctx)
{
	struct children *c = ctx;
	uint64_t now = now_mono_usec();

	(void)fd;
	(void)what;
	for (struct child *child = c->first, *next; child != NULL; child = next) {
		next = child->next;
		if (child->first == NULL && now - child->used_usec > IDLE_USEC) {
			remove_child(child);	/* closing its socket ends it */
		} else if (child->first != NULL && now - child->first->sent_usec > patience(child)) {
			log_say(LOG_LEVEL_WARNING, "the process for %s does not answer", child->what);
			end_child(child, "the process for it does not answer");
			return;		/* the list has changed: the rest in a second */
		}
	}
}

struct children *
children_new(struct event_base *base, int parent_fd, const struct children_ops *ops, void *ctx)
{
	static const struct ipc_conn_ops parent_ops = { .frame = parent_frame, .closed = parent_closed };
	const struct timeval second = { .tv_sec = 1 };
	struct children *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->base = base;
	c->ops = ops;
	c->ctx = ctx;
	c->waiting_end = &c->waiting;
	c->parent = ipc_conn_new(base, parent_fd, "deliver", 64 * 1024, &parent_ops, c);
	c->tick = event_new(base, -1, EV_PERSIST, on_tick, c);
	if (c->parent == NULL || c->tick == NULL || event_add(c->tick, &second) != 0)
		return NULL;
	return c;
}
