/* relay_job: jobs from queue in, results back. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "ipc.h"
#include "ipc_conn.h"
#include "log.h"
#include "relay.h"
#include "relay_recent.h"

#define RESULTS_OUT	(32 * 1024 * 1024)	/* octets of results that may wait for queue */
#define RESULTS_FRAME	(80 * 1024)		/* then another frame is begun */

struct job {
	struct relay	*relay;
	uint64_t	 id;
	struct qid	 qid;
	char		*memory;	/* owned: copies of sender, addresses and inline content */
	struct slice	 sender, content;
	int		 fd;		/* content when it is in a file, or -1 */
	uint64_t	 size;
	bool		 body_8bit;
	size_t		 left;		/* recipients without a result */
};

uint64_t
job_size(const struct job *j)
{
	return j->size;
}

ssize_t
job_content(const struct job *j, uint64_t offset, char *out, size_t size)
{
	struct slice part;

	if (offset >= j->size)
		return 0;
	if (j->fd != -1) {
		ssize_t n = pread(j->fd, out, size, (off_t)offset);

		return n == 0 ? -1 : n;	/* shorter than it was: not to be sent as if whole */
	}
	part = slice_sub(j->content, (size_t)offset, size);
	memcpy(out, part.ptr, part.len);
	return (ssize_t)part.len;
}

/* ---- results ---- */

static void
job_free(struct job *j)
{
	struct relay *r = j->relay;
	const struct ipc_job_ready more = { .slots = 1 };

	if (j->fd != -1)
		(void)close(j->fd);
	free(j->memory);
	free(j);
	r->jobs--;
	if (r->daemon.draining && r->jobs == 0)
		daemon_end(&r->daemon, 0);
	else if (!r->daemon.draining && r->queue != NULL)
		(void)IPC_CONN_SEND(r->queue, job_ready, &more, -1);
}

static void
send_results(const struct job *j, struct buf *list)
{
	const struct ipc_job_results m = { .job = j->id, .qid = j->qid.n, .results = buf_slice_of(list) };

	/* Without queue they are lost: it repeats the job; the receiver may get it twice (P4). */
	if (j->relay->queue != NULL && list->len > 0)
		(void)IPC_CONN_SEND(j->relay->queue, job_results, &m, -1);
	buf_reset(list);
}

static void
add_result(struct job *j, struct buf *list, const struct ipc_job_result *m)
{
	if (list->len > RESULTS_FRAME)
		send_results(j, list);
	(void)ipc_add_job_result(list, m);
	j->left--;
}

/* The words of a reply as they go to log, mailq and bounce. */
static void
result_text(const struct client_rcpt *r, const char *host, bool good, char *out, size_t size)
{
	if (good || r->reply.code == 0)
		(void)snprintf(out, size, "%s", r->reply.text);
	else
		(void)snprintf(out, size, "host %s said: %s (in reply to %s command)", host, r->reply.text, r->command);
}

static uint32_t
usec_since(uint64_t from, uint64_t to)
{
	if (from == 0 || to < from)
		return 0;
	return to - from > UINT32_MAX ? UINT32_MAX : (uint32_t)(to - from);
}

static void
free_delivery(struct delivery *d)
{
	struct job *j = d->job;

	free(d->mail.rcpt);
	free(d->index);
	free(d);
	if (j->left == 0)
		job_free(j);
}

void
delivery_done(struct delivery *d, const char *host, const char *host_name)
{
	struct buf list;
	uint64_t now = now_mono_usec();
	char relay[300], text[1000], dsn[16];

	buf_init(&list, IPC_FRAME_MAX);
	(void)snprintf(relay, sizeof(relay), "%s", host);
	for (size_t i = 0; i < d->mail.n; i++) {
		const struct client_rcpt *r = &d->mail.rcpt[i];
		unsigned class = r->reply.code / 100;
		struct ipc_job_result m = { .index = d->index[i],
		    .outcome = class == 2 ? OUTCOME_DONE : class == 5 ? OUTCOME_FAILED : OUTCOME_DEFERRED };

		if (r->reply.code == 0)
			(void)snprintf(dsn, sizeof(dsn), "4.4.2");
		else
			smtp_reply_dsn(&r->reply, dsn);
		result_text(r, host, class == 2, text, sizeof(text));
		m.dsn = slice_of(dsn);
		m.relay = slice_of(relay);
		m.text = slice_of(text);
		m.remote = slice_of(r->reply.code == 0 ? "" : host_name);
		m.connect_usec = usec_since(d->connected_usec, d->started_usec);
		m.transfer_usec = usec_since(d->started_usec, now);
		relay_recent_add(d->job->relay->recent, d->job->qid.n, &m);
		add_result(d->job, &list, &m);
	}
	send_results(d->job, &list);
	buf_clear(&list);
	free_delivery(d);
}

void
delivery_fail(struct delivery *d, bool permanent, const char *dsn, const char *text)
{
	struct buf list;

	buf_init(&list, IPC_FRAME_MAX);
	for (size_t i = 0; i < d->mail.n; i++) {
		const struct ipc_job_result m = { .index = d->index[i],
		    .outcome = permanent ? OUTCOME_FAILED : OUTCOME_DEFERRED,
		    .dsn = slice_of(dsn), .relay = slice_of("none"), .text = slice_of(text) };

		add_result(d->job, &list, &m);
	}
	send_results(d->job, &list);
	buf_clear(&list);
	free_delivery(d);
}

/* ---- jobs ---- */

/* A recipient of the job, before it is known where it goes. */
struct rcpt_at {
	struct slice	addr;
	uint32_t	index;
	bool		taken;
};

static struct slice
domain_of(struct slice addr)
{
	return slice_sub(addr, slice_rfind(addr, '@') + 1, addr.len);
}

static bool
same_domain(struct slice a, struct slice b)
{
	char text[DEST_KEY_MAX];

	return slice_text(b, text, sizeof(text)) && slice_ieq(a, text);
}

/* One delivery for all recipients from `from` on that share its destination. */
static struct delivery *
make_delivery(struct job *j, struct rcpt_at *rcpt, size_t n, size_t from, bool all)
{
	struct delivery *d = calloc(1, sizeof(*d));
	struct slice domain = domain_of(rcpt[from].addr);

	if (d == NULL)
		return NULL;
	d->job = j;
	d->mail = (struct client_mail){ .sender = j->sender, .size = j->size, .body_8bit = j->body_8bit };
	d->mail.rcpt = calloc(n - from, sizeof(*d->mail.rcpt));
	d->index = calloc(n - from, sizeof(*d->index));
	if (d->mail.rcpt == NULL || d->index == NULL) {
		free(d->mail.rcpt);
		free(d->index);
		free(d);
		return NULL;
	}
	for (size_t i = from; i < n; i++) {
		if (rcpt[i].taken || (!all && !same_domain(domain_of(rcpt[i].addr), domain)))
			continue;
		rcpt[i].taken = true;
		d->index[d->mail.n] = rcpt[i].index;
		d->mail.rcpt[d->mail.n++].addr = rcpt[i].addr;
	}
	return d;
}

/* Copy what is kept of the frame: it is gone when we return. */
static struct job *
job_new(struct relay *r, const struct ipc_job *m, int fd, const struct rcpt_at *rcpt, size_t n)
{
	struct job *j = calloc(1, sizeof(*j));
	size_t size = m->sender.len + m->content.len, at = 0;

	for (size_t i = 0; i < n; i++)
		size += rcpt[i].addr.len;
	if (j == NULL || (j->memory = malloc(size + 1)) == NULL) {
		free(j);
		return NULL;
	}
	j->relay = r;
	j->id = m->job;
	j->qid.n = m->qid;
	j->fd = fd;
	j->size = m->in_file != 0 ? m->size : m->content.len;
	j->body_8bit = m->body_8bit != 0;
	j->left = n + 1;	/* one for us until all deliveries are begun: some end at once */
	if (m->sender.len > 0)
		memcpy(j->memory, m->sender.ptr, m->sender.len);
	j->sender = slice_make(j->memory, m->sender.len);
	at = m->sender.len;
	if (m->content.len > 0)
		memcpy(j->memory + at, m->content.ptr, m->content.len);
	j->content = slice_make(j->memory + at, m->content.len);
	return j;
}

/* Recipients that have it already: the last result did not reach queue. */
static void
answer_from_memory(struct job *j, struct rcpt_at *rcpt, size_t n)
{
	struct ipc_job_result m;
	struct buf list;

	buf_init(&list, IPC_FRAME_MAX);
	for (size_t i = 0; i < n; i++) {
		if (!relay_recent_find(j->relay->recent, j->qid.n, rcpt[i].index, &m))
			continue;
		rcpt[i].taken = true;
		add_result(j, &list, &m);
	}
	send_results(j, &list);
	buf_clear(&list);
}

static void
start_deliveries(struct relay *r, struct job *j, struct rcpt_at *rcpt, size_t n, size_t at, bool repeat)
{
	struct delivery *made = NULL, *next;
	bool all = r->daemon.conf.smarthost.host != NULL, short_of_memory = false;

	for (size_t i = 0; i < n; i++) {	/* addresses move into the job's memory */
		memcpy(j->memory + at, rcpt[i].addr.ptr, rcpt[i].addr.len);
		rcpt[i].addr = slice_make(j->memory + at, rcpt[i].addr.len);
		at += rcpt[i].addr.len;
	}
	if (repeat)
		answer_from_memory(j, rcpt, n);
	for (size_t i = 0; i < n; i++) {
		struct delivery *d;

		if (rcpt[i].taken)
			continue;
		d = make_delivery(j, rcpt, n, i, all);
		if (d == NULL) {
			short_of_memory = true;
			j->left--;	/* it has no result: queue tries it again when the job ends */
			continue;
		}
		d->next = made;
		made = d;
	}
	if (short_of_memory)
		log_say(LOG_LEVEL_ERROR, "out of memory: some recipients are left to a later attempt");
	for (; made != NULL; made = next) {
		next = made->next;
		dest_add(r, domain_of(made->mail.rcpt[0].addr), made);
	}
}

static bool
read_rcpts(struct slice list, struct rcpt_at **rcpt, size_t *n)
{
	struct ipc_job_rcpt m;
	bool bad = false;

	*n = 0;
	*rcpt = NULL;
	while (ipc_next_job_rcpt(&list, &m, &bad)) {
		struct addr checked;
		struct rcpt_at *grown = reallocarray(*rcpt, *n + 1, sizeof(**rcpt));

		if (grown == NULL || !addr_parse(m.addr, &checked)) {
			free(grown == NULL ? *rcpt : grown);
			return false;
		}
		*rcpt = grown;
		grown[(*n)++] = (struct rcpt_at){ .addr = m.addr, .index = m.index };
	}
	if (bad || *n == 0)
		free(*rcpt);
	return !bad && *n > 0;
}

static bool
on_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct relay *r = ctx;
	struct ipc_job m;
	struct addr sender;
	struct rcpt_at *rcpt;
	struct job *j;
	size_t n;

	(void)c;
	if (!ipc_get_job(frame, &m) || (m.in_file != 0) != (passed != -1) ||
	    (m.sender.len > 0 && !addr_parse(m.sender, &sender)) || !read_rcpts(m.rcpts, &rcpt, &n)) {
		if (passed != -1)
			(void)close(passed);
		return false;
	}
	j = job_new(r, &m, passed, rcpt, n);
	if (j == NULL) {	/* queue sees the connection end, and tries all again */
		log_say(LOG_LEVEL_ERROR, "out of memory for a job");
		if (passed != -1)
			(void)close(passed);
		free(rcpt);
		return false;
	}
	r->jobs++;
	start_deliveries(r, j, rcpt, n, m.sender.len + m.content.len, m.repeat != 0);
	free(rcpt);
	if (--j->left == 0)
		job_free(j);
	return true;
}

static void
on_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct relay *r = ctx;
	const struct timeval soon = { .tv_usec = 200000 };

	log_say(LOG_LEVEL_INFO, "connection to queue: %s", why);
	ipc_conn_free(c);
	r->queue = NULL;
	if (r->daemon.draining && r->jobs == 0)
		daemon_end(&r->daemon, 0);
	else
		(void)event_add(r->reconnect, &soon);
}

static void
on_reconnect(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	relay_queue_connect(arg);
}

void
relay_queue_connect(struct relay *r)
{
	static const struct ipc_conn_ops ops = { .frame = on_frame, .closed = on_closed };
	const struct timeval later = { .tv_sec = 1 };
	struct ipc_job_ready ready;
	int fd = ipc_connect(r->daemon.run_dirfd, "queue-relay");
	unsigned slots = r->daemon.conf.relay_slots;

	if (r->reconnect == NULL)
		r->reconnect = event_new(r->daemon.base, -1, 0, on_reconnect, r);
	if (fd != -1)
		r->queue = ipc_conn_new(r->daemon.base, fd, "relay", RESULTS_OUT, &ops, r);
	if (r->queue == NULL) {
		(void)event_add(r->reconnect, &later);
		return;
	}
	/* Jobs of the old connection are still at work; their slots are given when they end. */
	ready.slots = (uint16_t)(slots > r->jobs ? slots - r->jobs : 0);
	if (ready.slots > 0)
		(void)IPC_CONN_SEND(r->queue, job_ready, &ready, -1);
}

void
relay_begin_drain(void *arg)
{
	struct relay *r = arg;

	if (r->jobs == 0)
		daemon_end(&r->daemon, 0);
}
