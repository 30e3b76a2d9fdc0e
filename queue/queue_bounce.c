#include "queue_bounce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "log.h"
#include "queue_apply.h"
#include "queue_dsn.h"
#include "queue_file.h"
#include "queue_lease.h"
#include "queue_read.h"

#define RCPTS_A_DSN	1000			/* more are told by further ones */
#define HEADER_OCTETS	(64 * 1024)		/* of a large message that are returned */
#define DSN_TEXT_MAX	(4u * 1024 * 1024)	/* octets about recipients, at most */

/* One notification being made. */
struct making {
	struct queue		*queue;
	struct message		*message;
	enum record_notice	 notice;
	struct slice		 sender;	/* whom it goes to */
	struct qid		 qid;		/* its own */
	struct dsn_rcpt		*rcpt;
	uint32_t		*index;		/* the recipients' numbers */
	uint32_t		 n;
};

/* ---- whom to tell about what ---- */

bool
queue_bounce_delay_due(const struct queue *q, const struct message *m)
{
	if (m->sender_len == 0 ||
	    now_usec() < m->arrival_usec + (uint64_t)q->daemon.conf.retry_max_s * 1000000)
		return false;
	for (uint32_t i = 0; i < m->rcpt_n; i++) {
		const struct rcpt *r = &m->rcpt[i];

		if (r->stage == STAGE_WAITING && (r->notify & NOTIFY_DELAY) != 0 && r->attempts > 0 &&
		    (r->flags & RCPT_TOLD_DELAY) == 0)
			return true;
	}
	return false;
}

static bool
belongs(const struct making *k, uint32_t i)
{
	const struct rcpt *r = &k->message->rcpt[i];

	switch (k->notice) {
	case NOTICE_FAILURE:
		return (r->flags & RCPT_TELL_FAILURE) != 0;
	case NOTICE_SUCCESS:
		return (r->flags & RCPT_TELL_SUCCESS) != 0;
	case NOTICE_DELAY:
		return r->stage == STAGE_WAITING && (r->notify & NOTIFY_DELAY) != 0 && r->attempts > 0 &&
		    (r->flags & RCPT_TOLD_DELAY) == 0;
	case NOTICE_NONE:
		break;
	}
	return false;
}

/* The first kind that is due, and to the sender of the first recipient it is due for. */
static bool
choose_notice(struct making *k)
{
	static const enum record_notice order[] = { NOTICE_FAILURE, NOTICE_SUCCESS, NOTICE_DELAY };

	for (size_t o = 0; o < LEN(order); o++) {
		k->notice = order[o];
		if (k->notice == NOTICE_DELAY && !queue_bounce_delay_due(k->queue, k->message))
			return false;
		for (uint32_t i = 0; i < k->message->rcpt_n; i++)
			if (belongs(k, i)) {
				k->sender = message_rcpt_sender(&k->queue->messages, k->message, i);
				return true;
			}
	}
	return false;
}

static const char *
action_of(const struct making *k, const struct rcpt *r)
{
	if (k->notice == NOTICE_FAILURE)
		return "failed";
	if (k->notice == NOTICE_DELAY)
		return "delayed";
	if (r->stage == STAGE_EXPANDED)
		return "expanded";
	return (r->flags & RCPT_RELAYED) != 0 ? "relayed" : "delivered";
}

static bool
collect(struct making *k)
{
	const struct message *m = k->message;

	k->rcpt = calloc(RCPTS_A_DSN, sizeof(*k->rcpt));
	k->index = calloc(RCPTS_A_DSN, sizeof(*k->index));
	if (k->rcpt == NULL || k->index == NULL)
		return false;
	for (uint32_t i = 0; i < m->rcpt_n && k->n < RCPTS_A_DSN; i++) {
		const struct rcpt *r = &m->rcpt[i];
		struct reason why;

		if (!belongs(k, i) ||
		    !slice_eq(message_rcpt_sender(&k->queue->messages, m, i), k->sender))
			continue;
		why = message_reason(&k->queue->messages, r);
		k->index[k->n] = i;
		k->rcpt[k->n++] = (struct dsn_rcpt){ .addr = message_addr(m, i),
		    .orig_to = message_orig_to(m, i), .status = why.dsn.len > 0 ? why.dsn : SLICE("5.0.0"),
		    .remote = why.remote, .text = why.text, .action = action_of(k, r) };
	}
	return k->n > 0;
}

static void
fill_orcpts(struct making *k, const struct record_message *r)
{
	struct slice list = r->rcpts;
	struct record_rcpt one;
	bool bad = false;

	for (uint32_t at = 0; record_next_rcpt(&list, &one, &bad); at++) {
		if (one.orcpt.len == 0)
			continue;
		for (uint32_t i = 0; i < k->n; i++)
			if (k->message->rcpt[k->index[i]].from == at)
				k->rcpt[i].orcpt = one.orcpt;
	}
}

/* ---- what is returned ---- */

/* The content, or of a large one the beginning; into buf when it is a file. */
static struct slice
returned(struct making *k, const struct record_message *r, struct slice inline_content, struct buf *buf,
    bool *whole)
{
	const struct message *m = k->message;
	uint64_t limit = k->queue->daemon.conf.bounce_size;
	size_t want = m->size > HEADER_OCTETS && m->size > limit ? HEADER_OCTETS : (size_t)m->size, have = 0;
	char *to;
	int fd;

	*whole = m->size <= limit && r->ret != 2 && k->notice == NOTICE_FAILURE;
	if ((m->flags & MESSAGE_LARGE) == 0)
		return inline_content;
	fd = queue_file_open(k->queue, (struct qid){ m->qid }, m->size);
	to = fd == -1 ? NULL : buf_room(buf, want);
	while (to != NULL && have < want) {
		ssize_t n = pread(fd, to + have, want - have, (off_t)have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	if (fd != -1)
		(void)close(fd);
	if (have < m->size)
		*whole = false;
	return slice_make(to, have);
}

static bool
print(struct making *k, struct buf *out)
{
	struct queue *q = k->queue;
	struct record_message r = { 0 };
	char about[QID_TEXT], own[QID_TEXT];
	struct slice content = SLICE("");
	struct dsn d = { .notice = k->notice, .hostname = q->daemon.conf.hostname, .sender = k->sender,
	    .queue_id = qid_print((struct qid){ k->message->qid }, about), .own_id = qid_print(k->qid, own),
	    .now_usec = now_usec(), .arrival_usec = k->message->arrival_usec,
	    .retry_until_utc = schedule_expiry(&q->daemon.conf, k->message), .rcpt = k->rcpt, .rcpt_n = k->n };
	struct buf file;
	bool ok;

	buf_init(&file, 32u * 1024 * 1024);
	if (getrandom(&d.boundary, sizeof(d.boundary), 0) != (ssize_t)sizeof(d.boundary))
		d.boundary = d.now_usec;
	if (queue_read(q, k->message, &r, &content)) {	/* if it is damaged, the sender is told without it */
		fill_orcpts(k, &r);
		d.envid = r.envid;
		d.content = returned(k, &r, content, &file, &d.whole);
	}
	ok = dsn_print(&d, out);
	buf_clear(&file);
	return ok;
}

/* ---- into the log ---- */

static bool
append(struct making *k, struct slice content)
{
	struct queue *q = k->queue;
	char own[QID_TEXT], id[400];
	struct buf rcpts, about, body;
	const struct record_rcpt to = { .addr = k->sender, .notify = 0 };
	struct record_message r = { .qid = k->qid.n, .origin = ORIGIN_GENERATED, .received_usec = now_usec(),
	    .size = content.len, .protocol = SLICE("DSN"), .uid = UID_NONE, .parent = k->message->qid,
	    .notice = (uint8_t)k->notice };
	int n = snprintf(id, sizeof(id), "<%s@%s>", qid_print(k->qid, own), q->daemon.conf.hostname);
	bool ok;

	buf_init(&rcpts, 1024);
	buf_init(&about, RCPTS_A_DSN * 4);
	buf_init(&body, RECORD_BODY_MAX);
	r.arrival_usec = r.received_usec;
	r.message_id = slice_make(id, n < 0 ? 0 : (size_t)n < sizeof(id) ? (size_t)n : sizeof(id) - 1);
	for (uint32_t i = 0; i < k->n; i++)
		(void)record_add_u32(&about, k->index[i]);
	ok = record_add_rcpt(&rcpts, &to) && !about.full;
	r.rcpts = buf_slice_of(&rcpts);
	r.about = buf_slice_of(&about);
	if (content.len > FILE_IN_LOG) {
		r.flags = MESSAGE_IN_FILE;
		ok = ok && queue_log_refuses(&q->log) == NULL && queue_file_store(q, k->qid, content) == OK;
		content = slice_make("", 0);
	}
	ok = ok && record_put_message(&body, &r) && queue_log_append(&q->log, LOG_INTAKE, RECORD_TYPE_message,
	    buf_slice_of(&body), content, 0, true);
	if (!ok && r.flags == MESSAGE_IN_FILE)
		queue_file_remove(q, k->qid);
	buf_clear(&rcpts);
	buf_clear(&about);
	buf_clear(&body);
	return ok;
}

void
queue_bounce(struct queue *q, struct message *m)
{
	struct making k = { .queue = q, .message = m };
	struct buf text;
	bool ok;

	if ((m->flags & MESSAGE_TELLING) != 0 || !choose_notice(&k))
		return;
	buf_init(&text, DSN_TEXT_MAX + q->daemon.conf.bounce_size);
	k.qid = queue_lease_one(q);
	ok = collect(&k) && print(&k, &text) && append(&k, buf_slice_of(&text));
	buf_clear(&text);
	free(k.rcpt);
	free(k.index);
	if (ok)
		m->flags |= MESSAGE_TELLING;
	else
		q->bounces_waiting = true;
}

/* ---- when there was no room ---- */

void
queue_bounce_refused(struct queue *q, struct slice body)
{
	struct record_message r;
	struct message *m;

	if (!record_get_message(body, &r))
		return;
	if ((r.flags & MESSAGE_IN_FILE) != 0)
		queue_file_remove(q, (struct qid){ r.qid });
	m = messages_find(&q->messages, r.parent);
	if (m != NULL)
		m->flags &= (uint8_t)~MESSAGE_TELLING;
	q->bounces_waiting = true;
}

void
queue_bounce_retry(struct queue *q)
{
	struct message_ids ids;

	if (!q->bounces_waiting || queue_log_refuses(&q->log) != NULL)
		return;
	if (!messages_ids(&q->messages, &ids))
		return;
	q->bounces_waiting = false;
	while (ids.n > 0) {
		struct message *m = messages_find(&q->messages, messages_next_id(&ids));

		if (m != NULL && m->tell > 0 && m->busy == 0)
			queue_bounce(q, m);
	}
	free(ids.at);
}
