#include "queue_result.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "log_events.h"
#include "queue_expand.h"
#include "verdict.h"

#define RESULTS_MAX	100		/* of one frame: no job has more recipients */
#define RECORD_PART	(1024 * 1024)	/* octets of results in one record */
#define TEXT_MAX	1000

struct slice
result_clean(struct slice s, char *to, size_t size)
{
	size_t n = s.len < size ? s.len : size;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		to[i] = c < ' ' || c == 0x7f ? '?' : s.ptr[i];
	}
	return slice_make(to, n);
}

/* An enhanced code (RFC 3463) of the class that goes with the outcome, or a general one. */
static struct slice
clean_dsn(struct slice dsn, enum ipc_outcome outcome)
{
	static const char *const general[] = { "2.0.0", "4.0.0", "5.0.0", "2.0.0", "2.0.0" };
	unsigned dots = 0;

	for (size_t i = 0; i < dsn.len; i++) {
		if (dsn.ptr[i] == '.')
			dots++;
		else if (!isdigit((unsigned char)dsn.ptr[i]))
			dots = 99;
	}
	if (dots != 2 || dsn.len < 5 || (dsn.ptr[0] != '2' && dsn.ptr[0] != '4' && dsn.ptr[0] != '5'))
		return slice_of(general[outcome]);
	return dsn;
}

/* ---- one frame of results ---- */

/* What is decided about one recipient of a frame. */
struct decided {
	struct ipc_job_result	 in;
	struct record_result	 out;
	const char		*status;	/* as logged */
	char			 text[TEXT_MAX], relay[300], remote[255];
};

struct taking {
	struct queue		*queue;
	struct job		*job;
	struct message		*message;
	struct decided		*at;
	uint32_t		 n, size;
	uint32_t		 next_index;
	struct expand_set	 set;
	bool			 set_made, urgent;
};

static bool
in_job(const struct taking *t, uint32_t index)
{
	for (uint32_t i = t->job->first; i != RCPT_NONE; i = t->message->rcpt[i].link)
		if (i == index)
			return true;
	return false;
}

static bool
targets_valid(struct slice list)
{
	struct ipc_target target;
	bool bad = false;

	while (ipc_next_target(&list, &target, &bad))
		;
	return !bad;
}

/* The list of an alias comes in parts: keep this one (more), or put it behind those before. */
static bool
join_parts(struct taking *t, struct ipc_job_result *r)
{
	struct job_part *p;

	for (p = t->job->part; p != NULL && p->index != r->index; p = p->next)
		;
	if (p == NULL && r->more == 0)
		return true;
	if (p == NULL) {
		p = calloc(1, sizeof(*p));
		if (p == NULL)
			return false;
		*p = (struct job_part){ .next = t->job->part, .index = r->index };
		buf_init(&p->targets, RECORD_BODY_MAX);
		t->job->part = p;
	}
	if (!buf_slice(&p->targets, r->targets))
		return false;
	r->targets = buf_slice_of(&p->targets);
	return true;
}

static uint32_t
count(struct slice list)
{
	struct ipc_job_result r;
	bool bad = false;
	uint32_t n = 0;

	while (ipc_next_job_result(&list, &r, &bad))
		n++;
	return n;
}

static bool
parse(struct taking *t, struct slice list)
{
	struct ipc_job_result r;
	bool bad = false;

	while (ipc_next_job_result(&list, &r, &bad)) {
		if (!in_job(t, r.index) || !targets_valid(r.targets))
			return false;
		for (uint32_t i = 0; i < t->n; i++)
			if (t->at[i].in.index == r.index)
				return false;
		if (r.outcome == OUTCOME_EXPANDED && !join_parts(t, &r))
			return false;
		if (r.outcome == OUTCOME_EXPANDED && r.more == 1)
			continue;
		t->at[t->n++].in = r;
	}
	return !bad;
}

static void
set_text(struct decided *d, const char *text)
{
	int n = snprintf(d->text, sizeof(d->text), "%s", text);

	d->out.text = slice_make(d->text, n < 0 ? 0 : (size_t)n);
}

/* Copied: what it says may point into d->text itself. */
static void
prefix_text(struct decided *d, const char *prefix)
{
	char text[TEXT_MAX];
	int n = snprintf(text, sizeof(text), "%s: %.*s", prefix, (int)d->out.text.len, d->out.text.ptr);

	n = n < 0 ? 0 : n;
	memcpy(d->text, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	d->out.text = slice_make(d->text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
}

/* A failure of mail with the null sender has nobody to be told (RFC 5321 section 6.1). */
static void
failed(struct taking *t, struct decided *d)
{
	d->status = "bounced";
	if (message_rcpt_sender(&t->queue->messages, t->message, d->out.index).len > 0)
		return;
	d->out.outcome = OUTCOME_DISCARDED;
	prefix_text(d, "undeliverable, and nobody to be told");
}

static void
deferred(struct taking *t, struct decided *d)
{
	const struct conf *conf = &t->queue->daemon.conf;
	const struct message *m = t->message;
	uint64_t now = now_usec() / 1000000, expiry = schedule_expiry(conf, m), next;
	uint16_t attempts = m->rcpt[d->out.index].attempts;

	d->status = "deferred";
	d->out.attempts = attempts < UINT16_MAX ? attempts + 1 : attempts;
	if ((m->flags & MESSAGE_DELETE) != 0) {
		d->out.outcome = OUTCOME_DISCARDED;
		set_text(d, "deleted by the administrator");
		return;
	}
	if (now >= expiry || (m->flags & MESSAGE_EXPIRE) != 0) {
		d->out.outcome = OUTCOME_FAILED;
		d->out.dsn = slice_of("4.4.7");
		prefix_text(d, "delivery time expired");
		failed(t, d);
		d->status = "expired";
		return;
	}
	next = now + schedule_delay(conf, d->out.attempts);
	if (next > expiry)
		next = expiry > now ? expiry : now + 1;
	d->out.next_utc = (uint32_t)next;
}

static bool
make_set(struct taking *t)
{
	uint32_t done[RESULTS_MAX], n = 0;

	if (t->set_made)
		return true;
	/* A record about more recipients is on its way: their names must be known first. */
	if (t->message->next_index > t->message->rcpt_n)
		(void)queue_log_commit(&t->queue->log);
	if (t->message->next_index > t->message->rcpt_n)
		return false;
	t->next_index = t->message->next_index;
	for (uint32_t i = 0; i < t->n; i++)
		if (t->at[i].in.outcome == OUTCOME_DONE)
			done[n++] = t->at[i].in.index;
	t->set_made = expand_begin(&t->set, t->message, done, n);
	return t->set_made;
}

static void
expanded(struct taking *t, struct decided *d, struct buf *targets)
{
	uint32_t n = 0, before;
	enum verdict v = make_set(t) ? OK : TEMP;

	before = t->next_index;
	d->status = "sent";
	if (v == OK)
		v = expand_targets(&t->set, d->in.targets, &t->next_index, targets, &n);
	if (v == OK && n > 0) {
		d->out.targets = buf_slice_of(targets);
		return;
	}
	if (v == OK) {
		d->out.outcome = OUTCOME_DISCARDED;
		set_text(d, "leads only to recipients that the message has already");
		return;
	}
	t->next_index = before;
	d->out.outcome = v == TEMP ? OUTCOME_DEFERRED : OUTCOME_FAILED;
	d->out.dsn = slice_of(v == TEMP ? "4.3.0" : "5.4.6");
	set_text(d, v == TEMP ? "no memory to expand an alias" : "an alias leads to too many recipients");
	if (v == TEMP)
		deferred(t, d);
	else
		failed(t, d);
}

static void
decide(struct taking *t, struct decided *d, struct buf *targets)
{
	d->out = (struct record_result){ .index = d->in.index, .outcome = d->in.outcome,
	    .attempts = t->message->rcpt[d->in.index].attempts,
	    .dsn = clean_dsn(d->in.dsn, d->in.outcome),
	    .relay = result_clean(d->in.relay, d->relay, sizeof(d->relay)),
	    .text = result_clean(d->in.text, d->text, sizeof(d->text)),
	    .remote = result_clean(d->in.remote, d->remote, sizeof(d->remote)) };
	switch ((enum ipc_outcome)d->in.outcome) {
	case OUTCOME_DONE:
	case OUTCOME_DISCARDED:
		d->status = "sent";
		break;
	case OUTCOME_DEFERRED:
		deferred(t, d);
		break;
	case OUTCOME_FAILED:
		failed(t, d);
		break;
	case OUTCOME_EXPANDED:
		expanded(t, d, targets);
		break;
	}
}

/* ---- telling the log ---- */

static const char *
program_of(const struct taking *t, const struct decided *d)
{
	if (t->job->destination->channel == CHANNEL_RELAY)
		return "smtp";
	if (slice_is(d->out.relay, "local"))
		return "local";
	return slice_is(d->out.relay, "pipe") ? "pipe" : "virtual";
}

static void
log_one(const struct taking *t, const struct decided *d)
{
	const struct message *m = t->message;
	uint64_t now = now_usec(), arrival = m->arrival_usec, started = t->job->started_usec;
	const struct log_delivery line = { .program = program_of(t, d), .qid = { m->qid },
	    .to = message_addr(m, d->out.index), .orig_to = message_orig_to(m, d->out.index),
	    .relay = d->out.relay.len > 0 ? d->out.relay : slice_of("none"),
	    .delay = (double)(now > arrival ? now - arrival + t->job->before_usec : 0) / 1e6,
	    .delays = { (double)t->job->before_usec / 1e6,
	        (double)(started > arrival ? started - arrival : 0) / 1e6,
	        (double)d->in.connect_usec / 1e6, (double)d->in.transfer_usec / 1e6 },
	    .dsn = d->out.dsn, .status = d->status, .text = d->out.text };

	if (d->out.outcome != OUTCOME_EXPANDED)	/* its targets have their own lines */
		log_delivered(&line);
}

/* Nothing at all was reached, for a reason of the network or of routing (X.4.X). */
static bool
unreachable(const struct taking *t)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->at[i].in.outcome != OUTCOME_DEFERRED || t->at[i].in.dsn.len < 3 ||
		    memcmp(t->at[i].in.dsn.ptr, "4.4", 3) != 0)
			return false;
	return t->n > 0;
}

/* Deliveries to mailboxes are found again by their name: their record may wait for the next sync. */
static bool
can_wait(const struct taking *t, const struct decided *d)
{
	struct slice addr = message_addr(t->message, d->out.index);

	return t->job->destination->channel == CHANNEL_DELIVER && d->out.outcome == OUTCOME_DONE &&
	    !expand_is_action(addr);
}

static void
out_of_job(struct taking *t, uint32_t index)
{
	struct job *j = t->job;
	struct rcpt *rcpt = t->message->rcpt;
	uint32_t *p = &j->first;

	while (*p != index)
		p = &rcpt[*p].link;
	*p = rcpt[index].link;
	rcpt[index].link = RCPT_NONE;
	rcpt[index].stage = STAGE_DECIDED;
	j->left--;
}

static bool
append(struct queue *q, const struct message *m, enum record_channel channel, struct slice results, bool urgent)
{
	const struct record_results r = { .qid = m->qid, .usec = now_usec(), .channel = (uint8_t)channel,
	    .results = results };
	struct buf body;
	bool ok;

	buf_init(&body, RECORD_BODY_MAX);
	ok = record_put_results(&body, &r) && queue_log_append(&q->log, LOG_STATE, RECORD_TYPE_results,
	    buf_slice_of(&body), slice_make("", 0), 0, urgent);
	buf_clear(&body);
	return ok;
}

static bool
record_all(struct taking *t)
{
	struct buf list, targets;
	bool ok = true;

	buf_init(&list, RECORD_BODY_MAX);
	buf_init(&targets, RECORD_BODY_MAX);
	t->next_index = t->message->next_index;
	for (uint32_t i = 0; i < t->n && ok; i++) {
		buf_reset(&targets);
		decide(t, &t->at[i], &targets);
		ok = record_add_result(&list, &t->at[i].out);
		t->urgent = t->urgent || !can_wait(t, &t->at[i]);
	}
	ok = ok && append(t->queue, t->message, t->job->destination->channel, buf_slice_of(&list), t->urgent);
	buf_clear(&list);
	buf_clear(&targets);
	return ok;
}

bool
result_take(struct queue *q, struct job *job, struct slice results)
{
	struct taking t = { .queue = q, .job = job, .message = messages_find(&q->messages, job->qid) };
	bool ok;

	t.size = count(results);
	t.at = t.message == NULL || t.size > RESULTS_MAX ? NULL : calloc(t.size + 1, sizeof(*t.at));
	if (t.at == NULL)
		return false;
	ok = parse(&t, results) && record_all(&t);
	if (ok) {
		t.message->next_index = t.next_index;
		schedule_reached(q, job->destination, !unreachable(&t));
		for (uint32_t i = 0; i < t.n; i++) {
			log_one(&t, &t.at[i]);
			out_of_job(&t, t.at[i].in.index);
		}
	}
	if (t.set_made)
		expand_end(&t.set);
	free(t.at);
	return ok;
}

/* ---- giving up ---- */

static void
log_given_up(const struct message *m, uint32_t i, const struct record_result *r)
{
	const struct log_delivery line = { .program = "error", .qid = { m->qid }, .to = message_addr(m, i),
	    .orig_to = message_orig_to(m, i), .relay = slice_of("none"),
	    .delay = ((double)now_usec() - (double)m->arrival_usec) / 1e6, .dsn = r->dsn, .status = "expired",
	    .text = r->text };

	log_delivered(&line);
}

static bool
give_up_one(struct queue *q, struct message *m, uint32_t i, struct buf *list)
{
	struct rcpt *r = &m->rcpt[i];
	const struct reason why = message_reason(&q->messages, r);
	const bool deleted = (m->flags & MESSAGE_DELETE) != 0;
	struct record_result out = { .index = i, .attempts = r->attempts, .dsn = SLICE("4.4.7"),
	    .relay = SLICE("none"), .remote = why.remote, .outcome = OUTCOME_FAILED };
	char text[TEXT_MAX];
	int n;

	if (deleted)
		n = snprintf(text, sizeof(text), "deleted by the administrator");
	else
		n = snprintf(text, sizeof(text), "delivery time expired%s%.*s", why.text.len > 0 ? ": " : "",
		    (int)why.text.len, why.text.ptr);
	out.text = slice_make(text, n < 0 ? 0 : (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	if (deleted || message_rcpt_sender(&q->messages, m, i).len == 0)
		out.outcome = OUTCOME_DISCARDED;
	if (!record_add_result(list, &out))
		return false;
	r->stage = STAGE_DECIDED;
	if (!deleted)
		log_given_up(m, i, &out);
	return true;
}

/* No memory for the record: the recipients in it wait again. */
static void
undo_give_up(struct message *m, struct slice list)
{
	uint32_t later = (uint32_t)(now_usec() / 1000000) + 60;
	struct record_result r;
	bool bad = false;

	while (record_next_result(&list, &r, &bad)) {
		m->rcpt[r.index].stage = STAGE_WAITING;
		m->rcpt[r.index].next_utc = later;
	}
}

static void
give_up_list(struct queue *q, struct message *m, struct buf *list)
{
	if (list->len > 0 && !append(q, m, CHANNEL_QUEUE, buf_slice_of(list), true))
		undo_give_up(m, buf_slice_of(list));
	buf_reset(list);
}

void
result_give_up(struct queue *q, struct message *m, uint32_t index)
{
	struct buf list;

	buf_init(&list, RECORD_BODY_MAX);
	for (uint32_t i = 0; i < m->rcpt_n; i++) {
		if (m->rcpt[i].stage != STAGE_WAITING || (index != RCPT_NONE && i != index))
			continue;
		if (!give_up_one(q, m, i, &list))
			break;
		if (list.len > RECORD_PART)
			give_up_list(q, m, &list);
	}
	give_up_list(q, m, &list);
	buf_clear(&list);
}

bool
result_action(struct queue *q, const struct message *m, enum ipc_action action, uint32_t uid, const char *text)
{
	const struct record_action r = { .qid = m->qid, .usec = now_usec(), .action = (uint8_t)action, .uid = uid,
	    .text = slice_of(text) };
	struct buf body;
	bool ok;

	buf_init(&body, 512);
	ok = record_put_action(&body, &r) && queue_log_append(&q->log, LOG_STATE, RECORD_TYPE_action,
	    buf_slice_of(&body), slice_make("", 0), 0, true);
	buf_clear(&body);
	return ok;
}
