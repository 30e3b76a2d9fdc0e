#include "deliver_worker.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "aliases.h"
#include "log.h"

#define QUEUE_OUT_MAX	(64 * IPC_FRAME_MAX)	/* octets of results that may wait for queue */
#define RETRY_MIN_MS	100
#define RETRY_MAX_MS	3000
#define REST_S		2	/* how often unused Maildirs are looked for */
#define SLOW_MAX	500	/* jobs that may wait for other processes beside the slots */

static void queue_connect(struct worker *w);

static void
wake(struct worker *w)
{
	event_active(w->go, EV_TIMEOUT, 0);
}

/* ---- one recipient ---- */

void
deliver_mailbox(struct worker *w, struct rcpt *r, const struct addr *a)
{
	struct child_request q = { .ask = ASK_JOB, .addr = addr_text(a) };
	char maildir[1100];
	struct route route;
	enum verdict v = routes_find_mailbox(w->routes, a, &route);

	if (v != OK) {
		rcpt_result(r, v == PERM ? OUTCOME_FAILED : OUTCOME_DEFERRED, v == PERM ? "5.1.1" : "4.3.0", "local",
		    v == PERM ? "no such mailbox: %s" : "the map cannot be read to find %s", a->text);
		return;
	}
	if (route.system) {
		q.what = addr_text(&route.key);
		if (!children_ask(w->children, &q, r))
			rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "not enough memory");
		return;
	}
	if (!deliver_loop_check(r, a, w->d->conf.hops, "virtual"))
		return;
	(void)snprintf(maildir, sizeof(maildir), "%.*s/Maildir", (int)route.home.len, route.home.ptr);
	batch_add(w->batch, r, w->mail_dirfd, maildir, route.quota, a);
}

/* "/file", "|command", "~user/file" or "~user|command". */
static void
start_action(struct worker *w, struct rcpt *r)
{
	struct child_request q = { .ask = ASK_JOB, .action = true, .what = r->m.addr, .addr = r->m.addr };
	struct slice user = slice_sub(r->m.addr, 1, r->m.addr.len), domain;
	struct buf what;
	bool ok = true;

	if (slice_is(r->m.addr, "/dev/null")) {
		rcpt_result(r, OUTCOME_DISCARDED, "2.0.0", "none", "thrown away: an alias leads to /dev/null");
		return;
	}
	buf_init(&what, 320);
	if (r->m.addr.ptr[0] == '~') {
		size_t end = 0;

		while (end < user.len && user.ptr[end] != '/' && user.ptr[end] != '|')
			end++;
		ok = routes_default_domain(w->routes, &domain);
		(void)buf_slice(&what, slice_sub(user, 0, end));
		(void)buf_char(&what, '@');
		(void)buf_slice(&what, ok ? domain : SLICE(""));
		q.what = buf_slice_of(&what);
	}
	if (!ok || what.full || !children_ask(w->children, &q, r))
		rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "the map cannot be read, or no memory");
	buf_clear(&what);
}

static void
start_rcpt(struct worker *w, struct rcpt *r)
{
	struct addr a;

	if (r->m.final == 0) {
		if (deliver_hop_check(r, w->d->conf.hops))
			expand_rcpt(w, r);
	} else if (r->m.addr.len > 1 && strchr("/|~", r->m.addr.ptr[0]) != NULL) {
		start_action(w, r);
	} else if (!addr_parse(r->m.addr, &a)) {
		rcpt_result(r, OUTCOME_FAILED, "5.1.3", "none", "not an address");
	} else {
		deliver_mailbox(w, r, &a);
	}
}

/* ---- jobs ---- */

static void
drop_job(struct worker *w, struct job **at)
{
	struct job *job = *at;

	*at = job->next;
	if (w->jobs_end == &job->next)
		w->jobs_end = at;
	if (job->slow)
		w->slow--;
	for (size_t i = 0; i < job->rcpt_n; i++)
		expand_forget(&job->rcpt[i]);
	job_free(job);
}

static void
drop_all_jobs(struct worker *w)
{
	batch_free(w->batch);
	w->batch = batch_new(w->d->conf.hostname, "virtual", w->files);
	if (w->batch == NULL)
		log_fatal(EX_OSERR, "no memory");
	while (w->jobs != NULL) {
		children_forget(w->children, w->jobs);
		drop_job(w, &w->jobs);
	}
	w->fresh = NULL;
	w->credits = 0;
}

static void
queue_lost(struct worker *w)
{
	const struct timeval wait = { .tv_sec = w->retry_ms / 1000, .tv_usec = (w->retry_ms % 1000) * 1000 };

	ipc_conn_free(w->queue);
	w->queue = NULL;
	drop_all_jobs(w);
	if (w->d->draining)
		daemon_end(w->d, 0);
	else
		(void)event_add(w->reconnect, &wait);
	w->retry_ms = w->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : w->retry_ms * 2;
}

/* Send what is known; jobs that are done go, those that wait for others do not hold a slot. */
static bool
settle_jobs(struct worker *w)
{
	for (struct job **at = &w->jobs; *at != NULL && *at != w->fresh; ) {
		struct job *job = *at;

		if (!job_send_results(job) || job->lost)
			return false;
		if (job->open == 0) {
			if (!job->slow)
				w->credits++;
			drop_job(w, at);
			continue;
		}
		if (!job->slow && w->slow < SLOW_MAX) {
			job->slow = true;
			w->slow++;
			w->credits++;
		}
		at = &job->next;
	}
	return true;
}

static void
give_credits(struct worker *w)
{
	const struct ipc_job_ready ready = { .slots = (uint16_t)w->credits };

	if (w->credits == 0 || w->d->draining || w->queue == NULL)
		return;
	w->credits = 0;
	(void)IPC_CONN_SEND(w->queue, job_ready, &ready, -1);
}

/* The group: all jobs that came since the last time. */
static void
on_go(evutil_socket_t fd, short what, void *ctx)
{
	const struct timeval rest_after = { .tv_sec = REST_S };
	struct worker *w = ctx;

	(void)fd;
	(void)what;
	routes_refresh(w->routes, now_usec());
	while (w->fresh != NULL) {
		struct job *job = w->fresh;

		w->fresh = job->next;
		for (size_t i = 0; i < job->rcpt_n; i++)
			start_rcpt(w, &job->rcpt[i]);
	}
	batch_commit(w->batch);
	if (!event_pending(w->rest, EV_TIMEOUT, NULL))
		(void)event_add(w->rest, &rest_after);
	if (w->queue != NULL && !settle_jobs(w)) {
		log_say(LOG_LEVEL_WARNING, "results could not be sent; queue will ask again");
		queue_lost(w);
		return;
	}
	give_credits(w);
	if (w->d->draining && w->jobs == NULL)
		daemon_end(w->d, 0);
}

/* Maildirs that nobody needs are closed. */
static void
on_rest(evutil_socket_t fd, short what, void *ctx)
{
	const struct timeval again = { .tv_sec = REST_S };
	struct worker *w = ctx;

	(void)fd;
	(void)what;
	if (batch_rest(w->batch))
		(void)event_add(w->rest, &again);
}

/* ---- queue ---- */

static bool
send_results(void *ctx, const struct ipc_job_results *r)
{
	struct worker *w = ctx;

	return w->queue != NULL && IPC_CONN_SEND(w->queue, job_results, r, -1);
}

static bool
queue_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct worker *w = ctx;
	struct job *job;
	uint16_t code = 0;
	bool bad;

	(void)c;
	(void)ipc_code(frame, &code);
	if (code != IPC_job) {
		if (passed != -1)
			(void)close(passed);
		return false;
	}
	job = job_new(frame, passed, &bad);
	if (job == NULL && !bad)
		log_say(LOG_LEVEL_ERROR, "not enough memory for a job");
	if (job == NULL)
		return false;	/* the connection is closed, and queue asks again */
	job->send = send_results;
	job->send_ctx = w;
	*w->jobs_end = job;
	w->jobs_end = &job->next;
	if (w->fresh == NULL)
		w->fresh = job;
	w->retry_ms = RETRY_MIN_MS;
	wake(w);
	return true;
}

static void
queue_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct worker *w = ctx;

	(void)c;
	if (!w->d->draining)
		log_say(LOG_LEVEL_WARNING, "the connection to queue is gone: %s", why);
	queue_lost(w);
}

static void
on_reconnect(evutil_socket_t fd, short what, void *ctx)
{
	(void)fd;
	(void)what;
	queue_connect(ctx);
}

static void
queue_connect(struct worker *w)
{
	static const struct ipc_conn_ops ops = { .frame = queue_frame, .closed = queue_closed };
	int fd;

	if (w->d->draining)
		return;
	fd = ipc_connect(w->d->run_dirfd, "queue-deliver");
	if (fd != -1)
		w->queue = ipc_conn_new(w->d->base, fd, "deliver", QUEUE_OUT_MAX, &ops, w);
	if (w->queue == NULL) {
		queue_lost(w);
		return;
	}
	w->credits = w->d->conf.deliver_slots;
	give_credits(w);
}

/* ---- answers of other processes ---- */

static void
on_text(void *ctx, struct rcpt *r, enum child_ask ask, enum verdict v, struct slice text, int memfd)
{
	struct worker *w = ctx;

	expand_answer(w, r, ask, v, text, memfd);
	wake(w);
}

static void
on_done(void *ctx, struct rcpt *r)
{
	(void)r;
	wake(ctx);
}

static void
on_orphaned(void *ctx)
{
	struct worker *w = ctx;

	daemon_end(w->d, w->d->draining ? 0 : EX_SOFTWARE);
}

/* ---- start and end ---- */

/* SIGTERM: what was taken is finished; what queue still sends is asked for again later. */
static void
drain(void *ctx)
{
	struct worker *w = ctx;

	wake(w);
}

void
deliver_worker_confine(struct daemon *d, int map_dirfd, int mail_dirfd)
{
	struct confine c = { .kind = CONFINE_DELIVER, .uid = d->uid, .gid = d->gid };

	(void)confine_path(&c, mail_dirfd, ACCESS_WRITE);
	(void)confine_path(&c, map_dirfd, ACCESS_READ);
	daemon_confine(d, &c);
}

/* A group has a file open for each message, and Maildirs stay open.  Returns how many there may be. */
static size_t
raise_descriptors(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0)
		return 0;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	return getrlimit(RLIMIT_NOFILE, &files) == 0 ? (size_t)files.rlim_cur : 0;
}

_Noreturn void
deliver_worker_main(struct daemon *d, int map_dirfd, int mail_dirfd, int parent_fd, int ready_fd)
{
	static const struct children_ops ops = { .text = on_text, .done = on_done, .orphaned = on_orphaned };
	struct worker w = { .d = d, .map_dirfd = map_dirfd, .mail_dirfd = mail_dirfd, .retry_ms = RETRY_MIN_MS };
	int code;

	w.files = raise_descriptors();
	w.jobs_end = &w.jobs;
	w.routes = routes_open(map_dirfd);
	deliver_worker_confine(d, map_dirfd, mail_dirfd);
	w.batch = batch_new(d->conf.hostname, "virtual", w.files);
	w.children = children_new(d->base, parent_fd, &ops, &w);
	w.go = event_new(d->base, -1, 0, on_go, &w);
	w.rest = event_new(d->base, -1, 0, on_rest, &w);
	w.reconnect = event_new(d->base, -1, 0, on_reconnect, &w);
	if (w.routes == NULL || w.batch == NULL || w.children == NULL || w.go == NULL || w.reconnect == NULL ||
	    w.rest == NULL)
		log_fatal(EX_OSERR, "no memory");
	if (!routes_ready(w.routes))
		log_say(LOG_LEVEL_WARNING, "there is no usable map in %s; mail waits until newaliases was run", d->conf.map_dir);
	d->drain = drain;
	d->drain_ctx = &w;
	(void)!write(ready_fd, "r", 1);
	(void)close(ready_fd);
	queue_connect(&w);
	code = daemon_run(d);
	exit(code);
}
