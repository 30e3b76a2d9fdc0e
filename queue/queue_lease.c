#include "queue_lease.h"

#define AHEAD	(UINT64_C(10000000) * QID_PER_USEC)	/* 10 seconds' worth of ids */

static bool
put(uint64_t mark, struct buf *body)
{
	const struct record_lease r = { .mark = mark };

	return record_put_lease(body, &r);
}

/* Append a new mark; it counts when it is durable. */
static void
move_mark(struct queue *q, uint64_t to)
{
	struct buf body;

	if (q->lease_asked >= to)
		return;
	buf_init(&body, 64);
	if (put(to, &body) && queue_log_append(&q->log, LOG_STATE, RECORD_TYPE_lease, buf_slice_of(&body),
	    slice_make("", 0), 0, true))
		q->lease_asked = to;
	buf_clear(&body);
}

void
queue_lease_open(struct queue *q)
{
	uint64_t now = now_usec() * QID_PER_USEC;

	q->lease_next = q->lease_mark > now ? q->lease_mark : now;
	q->lease_asked = q->lease_mark;
	move_mark(q, q->lease_next + AHEAD);
}

uint64_t
queue_lease(struct queue *q, uint16_t count)
{
	uint64_t now = now_usec() * QID_PER_USEC, first = q->lease_next > now ? q->lease_next : now;

	if (first + count > q->lease_mark && !q->log.broken) {
		move_mark(q, first + count + AHEAD);
		(void)queue_log_commit(&q->log);
	}
	q->lease_next = first + count;
	q->lease_recent = true;
	return first;
}

struct qid
queue_lease_one(struct queue *q)
{
	uint64_t now = now_usec() * QID_PER_USEC, first = q->lease_next > now ? q->lease_next : now;

	/* Its own record will carry it past the mark: no need to wait. */
	q->lease_next = first + 1;
	return (struct qid){ first };
}

void
queue_lease_tick(struct queue *q)
{
	uint64_t now = now_usec() * QID_PER_USEC, first = q->lease_next > now ? q->lease_next : now;

	if (first + AHEAD / 2 > q->lease_mark && q->lease_recent)
		move_mark(q, first + AHEAD);
	q->lease_recent = false;
}

void
queue_lease_record(struct queue *q)
{
	struct buf body;

	buf_init(&body, 64);
	if (put(q->lease_mark, &body))
		queue_log_opening(&q->log, RECORD_TYPE_lease, buf_slice_of(&body));
	buf_clear(&body);
}
