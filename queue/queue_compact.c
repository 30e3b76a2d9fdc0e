#include "queue_compact.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "queue_read.h"
#include "queue_scan.h"
#include "queue_trace.h"

#define SMALL_OCTETS	(UINT64_C(64) * 1024 * 1024)	/* a log up to this is left as it is */
#define STEP_OCTETS	(256u * 1024)	/* moved in one step */
#define STEP_RECORDS	1000u		/* looked at in one step */
#define REST_USEC	2000u		/* from one step to the next, at least; as long as the step took */
#define BLOCKED_S	60		/* when nothing of a segment could be moved */
#define LINGER_USEC	UINT64_C(10000000)	/* a submitter may ask for an id in it again */

struct compact_state {
	struct event		*step;
	bool			 running, all;
	unsigned		 wait;		/* seconds: what is left cannot be moved */
	uint32_t		 moved;		/* in this walk */
	/* Walking through the oldest segment: */
	const struct segment	*segment;
	struct scan_file	 file;
	struct scan		 scan;
};

bool
compact_init(struct queue *q)
{
	struct compact_state *c = q->compact = calloc(1, sizeof(*c));

	return c != NULL;
}

static void
end_walk(struct compact_state *c)
{
	if (c->segment != NULL)
		scan_file_close(&c->file);
	c->segment = NULL;
}

void
compact_clear(struct queue *q)
{
	struct compact_state *c = q->compact;

	if (c == NULL)
		return;
	end_walk(c);
	if (c->step != NULL)
		event_free(c->step);
	free(c);
	q->compact = NULL;
}

/* ---- moving one message ---- */

static bool
put_state(const struct queue *q, const struct message *m, uint32_t i, struct buf *list)
{
	const struct rcpt *r = &m->rcpt[i];
	struct record_state s = { .index = i, .flags = r->flags, .attempts = r->attempts, .next_utc = r->next_utc,
	    .from = r->from, .addr = message_addr(m, i), .notify = r->notify, .new_sender = r->sender != 0,
	    .reason = intern_text(&q->messages.texts, r->reason) };

	if (r->sender != 0)
		s.sender = message_rcpt_sender(&q->messages, m, i);
	return record_add_state(list, &s);
}

/* Append m, as it is now, to the log. */
static bool
move(struct queue *q, struct message *m)
{
	struct record_head head;
	struct record_moved old, now = { .qid = m->qid, .next_index = m->next_index,
	    .flags = m->flags & (STATE_FLAG_HELD | STATE_FLAG_EXPIRE | STATE_FLAG_DELETE) };
	struct slice content;
	struct buf list, body;
	bool ok;

	if (!queue_log_read(&q->log, m->segment, m->offset, &q->scratch, &head, &now.message, &content))
		return false;
	if (head.type == RECORD_TYPE_moved) {
		if (!record_get_moved(now.message, &old))
			return false;
		now.message = old.message;
	}
	buf_init(&list, RECORD_BODY_MAX);
	buf_init(&body, RECORD_BODY_MAX);
	ok = true;
	for (uint32_t i = 0; i < m->rcpt_n && ok; i++)
		if ((m->rcpt[i].flags & (RCPT_LIVE | RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS)) != 0)
			ok = put_state(q, m, i, &list);
	now.rcpts = buf_slice_of(&list);
	ok = ok && record_put_moved(&body, &now) && queue_log_append(&q->log, LOG_MOVE, RECORD_TYPE_moved,
	    buf_slice_of(&body), content, 0, true);
	buf_clear(&list);
	buf_clear(&body);
	if (ok)
		m->flags |= MESSAGE_MOVING;
	return ok;
}

void
compact_refused(struct queue *q, struct slice body)
{
	struct record_moved r;
	struct message *m = record_get_moved(body, &r) ? messages_find(&q->messages, r.qid) : NULL;

	if (m != NULL)
		m->flags &= (uint8_t)~MESSAGE_MOVING;
	if (q->compact != NULL)
		q->compact->running = false;
}

/* ---- steps ---- */

static bool
begin_walk(struct queue *q)
{
	struct compact_state *c = q->compact;

	if (c->segment == q->log.first)
		return true;
	end_walk(c);
	if (!scan_file_open(&c->file, q->log.first->fd))
		return false;
	c->segment = q->log.first;
	c->moved = 0;
	scan_begin(&c->scan, &c->file.source, c->segment->salt, c->segment->verify);
	return true;
}

/* A damaged one cannot be moved: it is held where it is, and the log grows until it is dealt with. */
static void
stuck(struct queue *q, const struct message *m)
{
	struct record_message r;
	struct slice content;

	(void)queue_read_or_hold(q, m, &r, &content);
}

/* Move some of what waits in the oldest segment; false when the walk is at its end, or cannot go on. */
static bool
walk(struct queue *q)
{
	struct compact_state *c = q->compact;
	struct scan_item item;
	size_t moved = 0;
	uint64_t qid;

	for (unsigned n = 0; n < STEP_RECORDS && moved < STEP_OCTETS; n++) {
		enum scan_found found = scan_next(&c->scan, &item);
		struct message *m;
		struct slice first8;

		if (found == SCAN_END || found == SCAN_NO_MEMORY)
			return false;
		if (found != SCAN_RECORD ||
		    (item.head.type != RECORD_TYPE_message && item.head.type != RECORD_TYPE_moved))
			continue;
		first8 = item.body;	/* both begin with the id */
		if (!record_next_u64(&first8, &qid))
			continue;
		m = messages_find(&q->messages, qid);
		if (m == NULL || m->segment != c->segment || m->offset != item.offset ||
		    (m->flags & MESSAGE_MOVING) != 0)
			continue;
		if (!move(q, m)) {
			stuck(q, m);
			continue;
		}
		moved += record_size(&item.head);
		c->moved++;
	}
	return true;
}

static bool
too_large(const struct queue *q)
{
	const struct compact_state *c = q->compact;
	if (q->log.first == NULL || q->log.first->next == NULL)
		return false;
	if (c->all)
		return true;
	return q->log.octets > SMALL_OCTETS + 2 * q->wanted;
}

static bool
may_drop(const struct queue *q)
{
	const struct segment *s = q->log.first;

	if (s == NULL || s->next == NULL || s->live > 0 || s->pins > 0)
		return false;
	if (q->log.low) {	/* mail comes before its history */
		if (!trace_has(q, s->seq, s->size))
			log_say(LOG_LEVEL_WARNING, "no space: segment %llu of the log goes before its trace was kept",
			    (unsigned long long)s->seq);
		return true;
	}
	return now_usec() - s->newest_usec > LINGER_USEC && trace_has(q, s->seq, s->size);
}

/* At least half of the time is for others, however slow the disk is.  libevent counts from before the step. */
static void
rest(struct compact_state *c, uint64_t step_usec)
{
	const uint64_t usec = step_usec + (step_usec < REST_USEC ? REST_USEC : step_usec);
	const struct timeval next = { .tv_sec = (time_t)(usec / 1000000), .tv_usec = (suseconds_t)(usec % 1000000) };

	(void)event_add(c->step, &next);
}

static void
on_step(evutil_socket_t fd, short what, void *arg)
{
	struct queue *q = arg;
	struct compact_state *c = q->compact;
	uint64_t began = now_mono_usec();

	(void)fd;
	(void)what;
	if (!c->running || q->daemon.draining)
		return;
	/* A record about one of them may be on its way: it must not end up before the move. */
	if (queue_log_pending(&q->log))
		(void)queue_log_commit(&q->log);
	if (queue_log_pending(&q->log) || queue_log_refuses(&q->log) != NULL || (begin_walk(q) && walk(q))) {
		rest(c, now_mono_usec() - began);
		return;
	}
	/* What is left of it is on its way into the log, or damaged. */
	c->running = false;
	c->wait = c->moved == 0 ? BLOCKED_S : 1;
	end_walk(c);
}

void
compact_tick(struct queue *q)
{
	struct compact_state *c = q->compact;
	const struct timeval now = { .tv_usec = 1 };

	if (c->step == NULL) {
		c->step = event_new(q->daemon.base, -1, 0, on_step, q);
		if (c->step == NULL)
			return;
	}
	for (int n = 0; n < (q->log.low ? 4 : 1) && may_drop(q); n++) {
		end_walk(c);
		if (!queue_log_drop_first(&q->log))
			break;
	}
	if (q->log.first != NULL && q->log.first->next == NULL)
		c->all = false;
	if (c->wait > 0)
		c->wait--;
	if (c->running || c->wait > 0 || !too_large(q) || q->log.first->live == 0)
		return;
	c->running = true;
	(void)event_add(c->step, &now);
}

void
compact_all(struct queue *q)
{
	q->compact->all = true;
	q->compact->wait = 0;
	compact_tick(q);
}
