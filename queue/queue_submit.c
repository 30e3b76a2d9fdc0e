#include "queue_submit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dropfile.h"
#include "ipc_conn.h"
#include "log.h"
#include "queue_file.h"
#include "queue_intake.h"
#include "queue_lease.h"
#include "queue_peer.h"
#include "queue_read.h"
#include "queue_recent.h"

#define CONNECTIONS_MAX		2000
#define CONNECTIONS_A_USER	32	/* of a uid that is none of ours */
#define OUT_MAX			(1024 * 1024)
#define PENDING_A_USER		4	/* messages begun (file, recipients) on one such connection */
#define PENDING_MAX		4096
#define LEASES_A_CONN		16
#define LEASES_KEPT		1024	/* of connections that ended */
#define RCPTS_OCTETS_MAX	(RECORD_BODY_MAX / 2)

/* Of a message whose submit has not come yet. */
struct pending {
	struct pending		*next;
	uint64_t		 qid;
	struct buf		 rcpts;
	struct queue_file	*file;
};

struct lease {
	uint64_t	first;
	uint16_t	count;
	uid_t		uid;
};

struct submit_conn {
	struct peer		 peer;		/* first */
	struct pending		*pending;
	unsigned		 pending_n;
	struct lease		 lease[LEASES_A_CONN];
	unsigned		 lease_next;
};

struct answer {
	uint32_t	serial;
	uint8_t		verdict;
	uint64_t	qid;
	const char	*why;
};

struct submit_state {
	struct peers		 peers;
	uid_t			 smtpd, vmail, self;
	struct lease		 kept[LEASES_KEPT];
	unsigned		 kept_next;
	struct answer		*answer;
	size_t			 answer_n, answer_size;
};

bool
submit_init(struct queue *q)
{
	struct submit_state *s = q->submit = calloc(1, sizeof(*s));

	if (s == NULL)
		return false;
	s->peers = (struct peers){ .max = CONNECTIONS_MAX, .a_user = CONNECTIONS_A_USER };
	s->smtpd = daemon_peer_uid(&q->daemon.conf, "smtpd");
	s->vmail = daemon_peer_uid(&q->daemon.conf, "vmail");
	s->self = q->daemon.uid == (uid_t)-1 ? geteuid() : q->daemon.uid;
	return true;
}

bool
submit_trusted(const struct queue *q, uid_t uid)
{
	const struct submit_state *s = q->submit;

	return uid == 0 || uid == s->self || uid == s->smtpd || uid == s->vmail;
}

/* A person, or a program of one: all but smtpd and deliver. */
static bool
is_local(const struct submit_conn *c)
{
	const char *peer = ipc_conn_peer(c->peer.conn);

	return !c->peer.trusted || (strcmp(peer, "smtpd") != 0 && strcmp(peer, "deliver") != 0);
}

/* ---- messages that are begun ---- */

static struct pending *
find_pending(const struct submit_conn *c, uint64_t qid)
{
	struct pending *p;

	for (p = c->pending; p != NULL && p->qid != qid; p = p->next)
		;
	return p;
}

static struct pending *
get_pending(struct submit_conn *c, uint64_t qid)
{
	struct pending *p = find_pending(c, qid);

	if (p != NULL || c->pending_n >= (c->peer.trusted ? PENDING_MAX : PENDING_A_USER))
		return p;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	*p = (struct pending){ .next = c->pending, .qid = qid };
	buf_init(&p->rcpts, RCPTS_OCTETS_MAX);
	c->pending = p;
	c->pending_n++;
	return p;
}

static void
drop_pending(struct submit_conn *c, uint64_t qid)
{
	struct pending **at = &c->pending, *p;

	while (*at != NULL && (*at)->qid != qid)
		at = &(*at)->next;
	p = *at;
	if (p == NULL)
		return;
	*at = p->next;
	c->pending_n--;
	queue_file_abort(c->peer.queue, p->file);
	buf_clear(&p->rcpts);
	free(p);
}

/* ---- whose id is it ---- */

static bool
in_lease(const struct lease *l, uint64_t qid)
{
	return qid >= l->first && qid - l->first < l->count;
}

/* Daemons share theirs; a user has those given to that uid, so that nobody takes the id of another's mail. */
static bool
may_use(const struct submit_conn *c, uint64_t qid)
{
	const struct submit_state *s = c->peer.queue->submit;

	if (qid == 0 || qid >= c->peer.queue->lease_next)
		return false;
	if (c->peer.trusted)
		return true;
	for (unsigned i = 0; i < LEASES_A_CONN; i++)
		if (in_lease(&c->lease[i], qid))
			return true;
	for (unsigned i = 0; i < LEASES_KEPT; i++)
		if (s->kept[i].uid == c->peer.uid && in_lease(&s->kept[i], qid))
			return true;
	return false;
}

/* A message of this user is known by its record, also when the lease is forgotten. */
static bool
is_repeat(const struct submit_conn *c, uint64_t qid)
{
	struct queue *q = c->peer.queue;
	const struct message *m = messages_find(&q->messages, qid);
	struct record_message r;
	struct slice content;

	if (!intake_known(q, qid))
		return false;
	if (may_use(c, qid))
		return true;
	return m != NULL && queue_read(q, m, &r, &content) && r.origin == ORIGIN_LOCAL && r.uid == c->peer.uid;
}

/* ---- answers ---- */

static bool
send_result(struct submit_conn *c, uint64_t qid, enum verdict verdict, const char *why)
{
	const struct ipc_submit_result r = { .qid = qid, .verdict = (uint8_t)verdict, .text = slice_of(why) };

	return IPC_CONN_SEND(c->peer.conn, submit_result, &r, -1);
}

void
submit_done(struct queue *q, uint64_t cookie, uint64_t qid, enum verdict verdict, const char *why)
{
	struct submit_state *s = q->submit;
	size_t size = s->answer_size == 0 ? 64 : s->answer_size * 2;
	struct answer *answer;

	if (s->answer_n == s->answer_size) {
		answer = realloc(s->answer, size * sizeof(*answer));
		if (answer == NULL)
			return;		/* the submitter will ask again, or say 4xx */
		s->answer = answer;
		s->answer_size = size;
	}
	s->answer[s->answer_n++] = (struct answer){ .serial = (uint32_t)cookie, .verdict = (uint8_t)verdict,
	    .qid = qid, .why = why };
}

static void
answer_one(struct queue *q, const struct answer *a)
{
	struct peer *p = q->submit->peers.first;
	struct message *m;

	while (p != NULL && p->serial != a->serial)
		p = p->next;
	if (p != NULL && send_result((struct submit_conn *)(void *)p, a->qid, a->verdict, a->why))
		return;
	/* It does not know: it may come again with the same id. */
	if (a->verdict != OK)
		return;
	m = messages_find(&q->messages, a->qid);
	if (m != NULL)
		m->flags |= MESSAGE_UNANSWERED;
	else
		recent_add(q, a->qid);
}

void
submit_answer(struct queue *q)
{
	struct submit_state *s = q->submit;

	for (size_t i = 0; i < s->answer_n; i++)
		answer_one(q, &s->answer[i]);
	s->answer_n = 0;
}

/* ---- frames ---- */

static bool
take_lease(struct submit_conn *c, struct slice frame)
{
	struct ipc_submit_lease m;
	struct ipc_submit_ids ids;

	if (!ipc_get_submit_lease(frame, &m) || m.count == 0)
		return false;
	if (!c->peer.trusted && m.count > 16)
		m.count = 16;
	ids = (struct ipc_submit_ids){ .first = queue_lease(c->peer.queue, m.count), .count = m.count };
	c->lease[c->lease_next++ % LEASES_A_CONN] = (struct lease){ .first = ids.first, .count = ids.count,
	    .uid = c->peer.uid };
	(void)IPC_CONN_SEND(c->peer.conn, submit_ids, &ids, -1);
	return true;
}

static bool
take_rcpts(struct submit_conn *c, struct slice frame)
{
	struct ipc_submit_rcpts m;
	struct pending *p;

	if (!ipc_get_submit_rcpts(frame, &m))
		return false;
	p = get_pending(c, m.qid);
	/* Over the limit, or no memory: the flag makes its submit fail. */
	if (p != NULL)
		(void)buf_slice(&p->rcpts, m.rcpts);
	return p != NULL;
}

static bool
take_file_open(struct submit_conn *c, struct slice frame)
{
	struct queue *q = c->peer.queue;
	struct ipc_submit_file_open m;
	struct ipc_submit_file answer;
	struct pending *p;
	int pass = -1;

	if (!ipc_get_submit_file_open(frame, &m))
		return false;
	p = may_use(c, m.qid) && queue_log_refuses(&q->log) == NULL ? get_pending(c, m.qid) : NULL;
	if (p != NULL && p->file != NULL) {	/* asked again: begin anew */
		queue_file_abort(q, p->file);
		p->file = NULL;
	}
	if (p != NULL && !intake_known(q, m.qid))
		p->file = queue_file_begin(q, (struct qid){ m.qid }, is_local(c), c->peer.uid, &pass);
	answer = (struct ipc_submit_file){ .qid = m.qid, .verdict = pass == -1 ? TEMP : OK };
	(void)IPC_CONN_SEND(c->peer.conn, submit_file, &answer, pass);
	return true;
}

static bool
content_clean(struct slice content)
{
	struct dropfile_lines lines = { .last = '\n' };

	return dropfile_lines_feed(&lines, content) && dropfile_lines_end(&lines);
}

/*
 * Bring content to where it will be read from: into `with` (behind our Received: line, or out of a
 * small file), or into a file.  *content is what goes into the log.
 */
static enum verdict
place_content(struct submit_conn *c, const struct ipc_submit *m, struct pending *p, struct buf *with,
    struct record_message *r, struct slice *content, const char **why)
{
	struct queue *q = c->peer.queue;
	struct queue_file *file = p == NULL ? NULL : p->file;
	enum verdict v;

	if (m->in_file == 1) {
		*why = "there is no such file";
		if (file == NULL)
			return TEMP;
		p->file = NULL;
		v = queue_file_finish(q, file, with, &r->size, why);
		*content = buf_slice_of(with);
		if (v == OK && r->size > FILE_IN_LOG)
			r->flags |= MESSAGE_IN_FILE;
		return v;
	}
	*content = m->content;
	if (is_local(c)) {
		*why = "content is not made of lines that end in CRLF";
		if (!content_clean(m->content))
			return PERM;
		intake_received(q, m->qid, c->peer.uid, with);
		(void)buf_slice(with, m->content);
		*why = "no memory";
		if (with->full)
			return TEMP;
		*content = buf_slice_of(with);
	}
	r->size = content->len;
	return OK;
}

static enum verdict
submit(struct submit_conn *c, const struct ipc_submit *m, const char **why)
{
	struct queue *q = c->peer.queue;
	struct pending *p = find_pending(c, m->qid);
	const bool local = is_local(c);
	struct record_message r = { .qid = m->qid, .origin = local ? ORIGIN_LOCAL : m->origin,
	    .flags = m->body_8bit == 1 ? MESSAGE_8BIT : 0, .received_usec = m->received_usec,
	    .arrival_usec = now_usec(), .sender = m->sender, .envid = m->envid, .ret = m->ret,
	    .login = local ? SLICE("") : m->login, .client_name = local ? SLICE("") : m->client_name,
	    .client_address = local ? SLICE("") : m->client_address, .helo = local ? SLICE("") : m->helo,
	    .protocol = local ? SLICE("LOCAL") : m->protocol, .message_id = m->message_id,
	    .uid = local ? c->peer.uid : UID_NONE };
	struct slice content, rcpts = m->rcpts;
	struct buf with;
	enum verdict v;

	if (p != NULL && p->rcpts.len > 0) {	/* parts that went ahead, then this one */
		(void)buf_slice(&p->rcpts, m->rcpts);
		rcpts = buf_slice_of(&p->rcpts);
	}
	*why = "too many recipients";
	if (p != NULL && p->rcpts.full)
		return PERM;
	*why = queue_log_refuses(&q->log);
	if (*why != NULL)
		return TEMP;
	buf_init(&with, FILE_IN_LOG + 1024);
	v = place_content(c, m, p, &with, &r, &content, why);
	if (v == OK && r.size > q->daemon.conf.message_size + 4096) {
		*why = "message too large";
		v = PERM;
	}
	if (v == OK)
		v = intake_append(q, &r, rcpts, content, local, SUBMIT_COOKIE | c->peer.serial, why);
	if (v != OK && (r.flags & MESSAGE_IN_FILE) != 0)
		queue_file_remove(q, (struct qid){ m->qid });
	buf_clear(&with);
	return v;
}

static bool
take_submit(struct submit_conn *c, struct slice frame)
{
	struct ipc_submit m;
	const char *why = "";
	enum verdict v;

	if (!ipc_get_submit(frame, &m))
		return false;
	if (is_repeat(c, m.qid)) {
		drop_pending(c, m.qid);
		(void)send_result(c, m.qid, OK, "");
		return true;
	}
	if (!may_use(c, m.qid)) {
		drop_pending(c, m.qid);
		(void)send_result(c, m.qid, TEMP, "this queue id was not given to you");
		return true;
	}
	v = submit(c, &m, &why);
	drop_pending(c, m.qid);
	if (v != OK)
		(void)send_result(c, m.qid, v, why);
	return true;
}

static bool
take_abort(struct submit_conn *c, struct slice frame)
{
	struct ipc_submit_abort m;

	if (!ipc_get_submit_abort(frame, &m))
		return false;
	drop_pending(c, m.qid);
	return true;
}

static bool
on_frame(struct ipc_conn *conn, void *ctx, struct slice frame, int passed)
{
	struct submit_conn *c = ctx;
	uint16_t code = 0;

	(void)conn;
	if (passed != -1)
		(void)close(passed);
	(void)ipc_code(frame, &code);
	switch (code) {
	case IPC_submit_lease:
		return take_lease(c, frame);
	case IPC_submit_rcpts:
		return take_rcpts(c, frame);
	case IPC_submit_file_open:
		return take_file_open(c, frame);
	case IPC_submit:
		return take_submit(c, frame);
	case IPC_submit_abort:
		return take_abort(c, frame);
	default:
		return false;
	}
}

/* ---- connections ---- */

static void
free_conn(struct submit_conn *c)
{
	struct submit_state *s = c->peer.queue->submit;

	while (c->pending != NULL)
		drop_pending(c, c->pending->qid);
	peer_free(&s->peers, &c->peer);
}

static void
on_closed(struct ipc_conn *conn, void *ctx, const char *why)
{
	struct submit_conn *c = ctx;
	struct submit_state *s = c->peer.queue->submit;

	(void)conn;
	(void)why;
	for (unsigned i = 0; i < LEASES_A_CONN && !c->peer.trusted; i++)
		if (c->lease[i].count > 0)
			s->kept[s->kept_next++ % LEASES_KEPT] = c->lease[i];
	free_conn(c);
}

void
submit_accept(struct queue *q, int fd)
{
	static const struct ipc_conn_ops ops = { .frame = on_frame, .closed = on_closed };

	(void)peer_accept(q, &q->submit->peers, fd, sizeof(struct submit_conn), OUT_MAX, &ops);
}

void
submit_clear(struct queue *q)
{
	struct submit_state *s = q->submit;

	while (s != NULL && s->peers.first != NULL)
		free_conn((struct submit_conn *)(void *)s->peers.first);
	if (s != NULL)
		free(s->answer);
	free(s);
	q->submit = NULL;
}
