#include "queue_apply.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "log_events.h"
#include "queue_bounce.h"
#include "queue_file.h"
#include "queue_ledger.h"
#include "queue_recent.h"

#define EX_OSERR 71

/* A record that is durable but cannot be held in memory: a new process replays it, with memory again. */
static _Noreturn void
no_memory(void)
{
	log_fatal(EX_OSERR, "no memory for a message of the queue");
}

static uint64_t
record_octets(const struct message *m)
{
	return RECORD_HEAD + m->body_len + ((m->flags & MESSAGE_LARGE) != 0 ? 0 : m->size);
}

static void
unplace(struct queue *q, struct message *m)
{
	if (m->segment == NULL)
		return;
	m->segment->live--;
	q->wanted -= record_octets(m);
	m->segment = NULL;
}

static void
place(struct queue *q, struct message *m, const struct log_applied *a)
{
	unplace(q, m);
	m->segment = a->segment;
	m->segment->live++;
	m->offset = a->offset;
	m->body_len = (uint32_t)a->body.len;
	q->wanted += record_octets(m);
}

void
queue_forget(struct queue *q, struct message *m)
{
	schedule_remove(&q->schedule, m);
	unplace(q, m);
	messages_remove(&q->messages, m);
}

/* Something about m has changed.  At replay finished ones go at once, the rest is settled at its end. */
static void
changed(struct queue *q, struct message *m)
{
	if (!q->replaying)
		queue_settle(q, m);
	else if (message_finished(m)) {
		if ((m->flags & MESSAGE_UNANSWERED) != 0)
			recent_add(q, m->qid);
		queue_forget(q, m);
	}
}

/* ---- messages ---- */

/* A DSN is durable: what it tells about needs no other. */
static void
parent_told(struct queue *q, const struct record_message *r)
{
	struct message *parent = r->parent == 0 ? NULL : messages_find(&q->messages, r->parent);
	struct slice about = r->about;
	uint32_t index;

	if (parent == NULL)
		return;
	while (record_next_u32(&about, &index)) {
		if (index >= parent->rcpt_n)
			continue;
		if (r->notice == NOTICE_DELAY)
			parent->rcpt[index].flags |= RCPT_TOLD_DELAY;
		else
			message_tell(parent, index, 0);
	}
	parent->flags &= (uint8_t)~MESSAGE_TELLING;
	changed(q, parent);
}

static void
log_taken(const struct message *m, const struct record_message *r)
{
	static const char *const kind[] = { "", "non-delivery", "delay", "delivery status" };
	const struct qid qid = { r->qid };

	if (r->origin == ORIGIN_LOCAL)
		log_pickup(qid, r->uid, r->sender);
	log_message_id(qid, r->message_id);
	if (r->notice != NOTICE_NONE)
		log_bounce((struct qid){ r->parent }, kind[r->notice], qid);
	log_queue_active(qid, r->sender, r->size, m->rcpt_n);
}

static bool
apply_message(struct queue *q, const struct log_applied *a)
{
	struct record_message r;
	struct message *m;
	bool short_of_memory;

	if (!record_get_message(a->body, &r))
		return false;
	m = messages_add(&q->messages, &r, &short_of_memory);
	if (m == NULL && short_of_memory)
		no_memory();
	if (m == NULL)
		return messages_find(&q->messages, r.qid) != NULL;	/* twice the same is no damage */
	place(q, m, a);
	ledger_message(&q->ledger, r.origin, m->rcpt_n);
	if (r.qid >= q->lease_mark)
		q->lease_mark = r.qid + 1;
	if (!q->replaying)
		log_taken(m, &r);
	else if (r.origin == ORIGIN_LOCAL || now_usec() - r.arrival_usec < RECENT_USEC)
		m->flags |= MESSAGE_UNANSWERED;
	parent_told(q, &r);
	if (!q->replaying)
		queue_settle(q, m);
	return true;
}

static bool
apply_cancel(struct queue *q, const struct log_applied *a)
{
	struct record_cancel r;
	uint64_t qid;

	if (!record_get_cancel(a->body, &r))
		return false;
	while (record_next_u64(&r.qids, &qid)) {
		struct message *m = messages_find(&q->messages, qid);

		if (m == NULL)
			continue;
		ledger_undo_message(&q->ledger, m->origin, m->rcpt_n);
		queue_forget(q, m);
	}
	return true;
}

/* ---- moved ---- */

static bool
state_valid(struct slice list, uint32_t next_index)
{
	struct record_state s;
	bool bad = false;

	while (record_next_state(&list, &s, &bad))
		if (s.index >= next_index || s.from >= next_index || s.addr.len == 0)
			return false;
	return !bad;
}

static void
restore(struct queue *q, struct message *m, const struct record_state *s)
{
	struct rcpt *r = &m->rcpt[s->index];
	struct slice left = s->reason;
	struct reason why;

	why.dsn = slice_cut(&left, '\n');
	why.remote = slice_cut(&left, '\n');
	why.text = slice_cut(&left, '\n');
	if ((s->flags & RCPT_LIVE) != 0 && r->stage >= STAGE_DONE) {
		r->stage = STAGE_WAITING;
		m->live++;
	}
	message_tell(m, s->index, 0);	/* a list that names it twice */
	r->flags = (uint8_t)(s->flags & ~(RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS));
	message_tell(m, s->index, s->flags & (RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS));
	r->attempts = s->attempts;
	r->next_utc = s->next_utc;
	r->notify = s->notify;
	r->from = s->from;
	if (s->reason.len > 0)
		message_set_reason(&q->messages, r, &why);
	if (s->new_sender == 1)
		message_set_sender(&q->messages, r, s->sender);
}

/* Recipients that came by aliases are not in the message's record. */
static void
restore_added(struct message *m, const struct record_moved *r)
{
	uint32_t n = r->next_index > m->rcpt_n ? r->next_index - m->rcpt_n : 0, first = m->rcpt_n;
	struct message_new_rcpt *add = n == 0 ? NULL : calloc(n, sizeof(*add));
	struct slice list = r->rcpts;
	struct record_state s;
	bool bad = false;

	if (n == 0)
		return;
	if (add == NULL)
		no_memory();
	for (uint32_t i = 0; i < n; i++)
		add[i].rcpt = (struct rcpt){ .stage = STAGE_DONE, .from = 0, .link = RCPT_NONE };
	while (record_next_state(&list, &s, &bad))
		if (s.index >= first)
			add[s.index - first].addr = s.addr;
	if (!message_add_rcpts(m, add, n))
		no_memory();
	free(add);
}

/* Replay: the message as it was when it was moved. */
static bool
restore_moved(struct queue *q, const struct log_applied *a, const struct record_moved *r)
{
	struct record_message original;
	struct message *m = messages_find(&q->messages, r->qid);
	struct slice list = r->rcpts;
	struct record_state s;
	bool short_of_memory, bad = false;

	if (!record_get_message(r->message, &original) || original.qid != r->qid ||
	    !state_valid(r->rcpts, r->next_index))
		return false;
	if (m != NULL)
		queue_forget(q, m);
	m = messages_add(&q->messages, &original, &short_of_memory);
	if (m == NULL) {
		if (short_of_memory)
			no_memory();
		return false;
	}
	for (uint32_t i = 0; i < m->rcpt_n; i++)
		message_rcpt_done(m, i, STAGE_DONE);
	restore_added(m, r);
	while (record_next_state(&list, &s, &bad))
		restore(q, m, &s);
	m->flags |= r->flags & (MESSAGE_HELD | MESSAGE_EXPIRE | MESSAGE_DELETE);
	if ((m->flags & MESSAGE_HELD) != 0)
		q->messages.held++;
	place(q, m, a);
	if (r->qid >= q->lease_mark)
		q->lease_mark = r->qid + 1;
	return true;
}

static bool
apply_moved(struct queue *q, const struct log_applied *a)
{
	struct record_moved r;
	struct message *m;

	if (!record_get_moved(a->body, &r))
		return false;
	if (q->replaying)
		return restore_moved(q, a, &r);
	m = messages_find(&q->messages, r.qid);
	if (m != NULL) {
		m->flags &= (uint8_t)~MESSAGE_MOVING;
		place(q, m, a);
	}
	return true;
}

/* ---- results ---- */

static bool
wants_success(const struct message *m, const struct rcpt *r)
{
	return m->sender_len > 0 && (r->notify & NOTIFY_SUCCESS) != 0;
}

static bool
wants_failure(const struct queue *q, const struct message *m, uint32_t index)
{
	uint8_t notify = m->rcpt[index].notify;

	return message_rcpt_sender(&q->messages, m, index).len > 0 &&
	    (notify == 0 || (notify & NOTIFY_FAILURE) != 0);
}

/* What an alias target inherits: RFC 3461 section 5.2.7. */
static uint8_t
inherited_notify(const struct rcpt *from, const struct record_target *t, bool alone)
{
	uint8_t notify = from->notify;

	if (t->new_sender == 1)
		return 0;	/* a list: its owner is told, as usual */
	if (!alone && (notify & NOTIFY_SUCCESS) != 0)
		notify &= (uint8_t)~NOTIFY_SUCCESS;
	return notify == 0 && from->notify != 0 ? NOTIFY_NEVER : notify;
}

static uint32_t
count_targets(struct slice list, bool *bad)
{
	struct record_target t;
	uint32_t n = 0;

	while (record_next_target(&list, &t, bad))
		n++;
	return n;
}

static void
new_rcpt(struct queue *q, struct message_new_rcpt *one, const struct rcpt *from,
    const struct record_target *t, bool alone)
{
	*one = (struct message_new_rcpt){ .addr = t->addr, .rcpt = { .stage = STAGE_WAITING,
	    .flags = RCPT_LIVE | (t->remote == 1 ? RCPT_REMOTE : RCPT_FINAL), .from = from->from,
	    .notify = inherited_notify(from, t, alone), .link = RCPT_NONE } };
	if (t->new_sender == 1)
		message_set_sender(&q->messages, &one->rcpt, t->sender);
	else
		one->rcpt.sender = intern_again(&q->messages.texts, from->sender);
}

/*
 * New recipients for the one that an alias became.  Their numbers follow each
 * other; those that exist already are a repeat, a gap is a record that was lost.
 */
static void
add_targets(struct queue *q, struct message *m, const struct record_result *r, uint32_t n)
{
	struct slice list = r->targets;
	struct record_target t;
	struct message_new_rcpt *add;
	uint32_t have = 0, gap = 0;
	bool bad = false;

	if (!record_next_target(&list, &t, &bad) || t.index >= RECORD_RCPTS_MAX - n)
		return;
	gap = t.index > m->rcpt_n ? t.index - m->rcpt_n : 0;
	add = calloc((size_t)gap + n, sizeof(*add));
	if (add == NULL)
		no_memory();
	while (have < gap)
		add[have++].rcpt = (struct rcpt){ .stage = STAGE_DONE, .link = RCPT_NONE };
	for (list = r->targets; record_next_target(&list, &t, &bad);)
		if (t.index == m->rcpt_n + have && t.addr.len > 0)
			new_rcpt(q, &add[have++], &m->rcpt[r->index], &t, n == 1);
	if (have > 0 && !message_add_rcpts(m, add, have))
		no_memory();
	free(add);
}

static void
apply_result(struct queue *q, struct message *m, enum record_channel channel, const struct record_result *res)
{
	struct rcpt *r = &m->rcpt[res->index];
	const struct reason why = { .dsn = res->dsn, .remote = res->remote, .text = res->text };
	bool bad = false;
	uint32_t targets;

	if (r->stage >= STAGE_DONE)
		return;
	switch ((enum ipc_outcome)res->outcome) {
	case OUTCOME_DEFERRED:
		r->stage = STAGE_WAITING;
		r->attempts = res->attempts;
		r->next_utc = res->next_utc;
		if (!q->replaying)
			r->flags &= (uint8_t)~RCPT_REPEAT;
		r->losses = 0;
		message_set_reason(&q->messages, r, &why);
		return;
	case OUTCOME_DONE:
		message_rcpt_done(m, res->index, STAGE_DONE);
		if (wants_success(m, r)) {
			if (channel == CHANNEL_RELAY)
				r->flags |= RCPT_RELAYED;
			message_set_reason(&q->messages, r, &why);
			message_tell(m, res->index, RCPT_TELL_SUCCESS);
		}
		return;
	case OUTCOME_FAILED:
		message_rcpt_done(m, res->index, STAGE_DONE);
		message_set_reason(&q->messages, r, &why);
		if (wants_failure(q, m, res->index))
			message_tell(m, res->index, RCPT_TELL_FAILURE);
		return;
	case OUTCOME_EXPANDED:
		message_rcpt_done(m, res->index, STAGE_EXPANDED);
		targets = count_targets(res->targets, &bad);
		if (targets > 1 && wants_success(m, r)) {
			message_set_reason(&q->messages, r, &why);
			message_tell(m, res->index, RCPT_TELL_SUCCESS);
		}
		add_targets(q, m, res, targets);
		return;
	case OUTCOME_DISCARDED:
		message_rcpt_done(m, res->index, STAGE_DONE);
		return;
	}
}

static bool
apply_results(struct queue *q, const struct log_applied *a)
{
	struct record_results r;
	struct record_result one;
	struct message *m;
	struct slice list;
	bool bad = false;

	if (!record_get_results(a->body, &r))
		return false;
	for (list = r.results; record_next_result(&list, &one, &bad);)
		(void)count_targets(one.targets, &bad);
	if (bad)
		return false;
	m = messages_find(&q->messages, r.qid);
	for (list = r.results; record_next_result(&list, &one, &bad);) {
		uint32_t targets = count_targets(one.targets, &bad);

		if (one.outcome == OUTCOME_EXPANDED && targets == 0)
			one.outcome = OUTCOME_DISCARDED;
		ledger_result(&q->ledger, r.channel, one.outcome, targets);
		if (m != NULL && one.index < m->rcpt_n)
			apply_result(q, m, r.channel, &one);
	}
	if (m != NULL)
		changed(q, m);
	return true;
}

/* ---- actions ---- */

static void
set_held(struct queue *q, struct message *m, bool held)
{
	if (held == ((m->flags & MESSAGE_HELD) != 0))
		return;
	m->flags ^= MESSAGE_HELD;
	if (held)
		q->messages.held++;
	else
		q->messages.held--;
}

static bool
apply_action(struct queue *q, const struct log_applied *a)
{
	struct record_action r;
	struct message *m;

	if (!record_get_action(a->body, &r))
		return false;
	m = messages_find(&q->messages, r.qid);
	if (m == NULL)
		return true;
	switch ((enum ipc_action)r.action) {
	case ACTION_HOLD:
		set_held(q, m, true);
		break;
	case ACTION_EXPIRE:
		m->flags |= MESSAGE_EXPIRE;
		set_held(q, m, false);
		break;
	case ACTION_DELETE:
		m->flags |= MESSAGE_DELETE;
		set_held(q, m, false);
		break;
	case ACTION_RELEASE:
	case ACTION_RETRY:
		if (r.action == ACTION_RELEASE)
			set_held(q, m, false);
		for (uint32_t i = 0; i < m->rcpt_n; i++)
			m->rcpt[i].next_utc = 0;
		break;
	case ACTION_COMPACT:
		break;
	}
	changed(q, m);
	return true;
}

/* ---- the rest ---- */

static bool
apply_lease(struct queue *q, const struct log_applied *a)
{
	struct record_lease r;

	if (!record_get_lease(a->body, &r))
		return false;
	if (r.mark > q->lease_mark)
		q->lease_mark = r.mark;
	return true;
}

static bool
apply_ledger(struct queue *q, const struct log_applied *a)
{
	struct record_ledger r;

	if (!record_get_ledger(a->body, &r))
		return false;
	if (q->replaying)
		q->ledger = r;
	return true;
}

bool
queue_apply(struct queue *q, const struct log_applied *a)
{
	switch (a->type) {
	case RECORD_TYPE_message:
		return apply_message(q, a);
	case RECORD_TYPE_results:
		return apply_results(q, a);
	case RECORD_TYPE_action:
		return apply_action(q, a);
	case RECORD_TYPE_cancel:
		return apply_cancel(q, a);
	case RECORD_TYPE_moved:
		return apply_moved(q, a);
	case RECORD_TYPE_lease:
		return apply_lease(q, a);
	case RECORD_TYPE_ledger:
		return apply_ledger(q, a);
	case RECORD_TYPE_seal:
		return true;
	default:
		return false;
	}
}

/* ---- settling ---- */

static void
finish(struct queue *q, struct message *m)
{
	const struct qid qid = { m->qid };

	log_removed(qid);
	if ((m->flags & MESSAGE_LARGE) != 0)
		queue_file_remove(q, qid);
	if ((m->flags & MESSAGE_UNANSWERED) != 0)
		recent_add(q, m->qid);
	queue_forget(q, m);
}

/*
 * Is something about it on its way into the log, or tried in this moment?  Then
 * one DSN can tell of all that failed at about the same time: this is asked
 * again when that record is there, or that attempt is over.
 */
static bool
more_soon(const struct message *m)
{
	uint32_t now = (uint32_t)(now_usec() / 1000000);

	if (m->busy > 0)
		return true;
	for (uint32_t i = 0; i < m->rcpt_n; i++) {
		const struct rcpt *r = &m->rcpt[i];

		if (r->stage == STAGE_DECIDED ||
		    (r->stage == STAGE_WAITING && r->next_utc <= now && (m->flags & MESSAGE_HELD) == 0))
			return true;
	}
	return false;
}

void
queue_settle(struct queue *q, struct message *m)
{
	if (message_finished(m)) {
		finish(q, m);
		return;
	}
	if ((m->tell > 0 || queue_bounce_delay_due(q, m)) && !more_soon(m))
		queue_bounce(q, m);
	schedule_message(q, m);
}
