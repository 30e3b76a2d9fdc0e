#include "queue_job.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc_conn.h"
#include "log.h"
#include "queue_apply.h"
#include "queue_file.h"
#include "queue_read.h"
#include "queue_result.h"

#define RCPTS_A_JOB	100
#define LIST_MAX	(60 * 1024)	/* octets of recipients in one frame */
#define OUT_MAX		(64 * 1024 * 1024)
#define CREDIT_MAX	4096
#define LOST_S		10u		/* after the second loss; doubled each time */
#define STUCK_USEC	UINT64_C(10800000000)	/* 3 hours: nobody needs so long for one job */

struct job_conn {
	struct job_conn		*next;
	struct queue		*queue;
	struct ipc_conn		*conn;
	enum record_channel	 channel;
	uint32_t		 credit;
	struct job		*first, **last;
	bool			 ended;
};

struct job_table {
	struct job_conn		*conn;
	uint64_t		 next_id;
	uint32_t		 n;
};

bool
job_init(struct queue *q)
{
	q->jobs = calloc(1, sizeof(*q->jobs));
	return q->jobs != NULL;
}

uint32_t
job_count(const struct queue *q)
{
	return q->jobs->n;
}

/* ---- jobs of a connection ---- */

static void
add_job(struct job_conn *c, struct job *j)
{
	j->next = NULL;
	*c->last = j;
	c->last = &j->next;
	c->queue->jobs->n++;
}

static void
remove_job(struct job_conn *c, struct job *j)
{
	struct job **p = &c->first;

	while (*p != j)
		p = &(*p)->next;
	*p = j->next;
	if (c->last == &j->next)
		c->last = p;
	c->queue->jobs->n--;
}

static void
free_job(struct job *j)
{
	struct job_part *next;

	for (struct job_part *p = j->part; p != NULL; p = next) {
		next = p->next;
		buf_clear(&p->targets);
		free(p);
	}
	free(j);
}

/* All recipients have their result, or never will: the destination's place is free again. */
static void
end_job(struct job_conn *c, struct job *j)
{
	struct queue *q = c->queue;
	struct message *m = messages_find(&q->messages, j->qid);

	remove_job(c, j);
	schedule_job_done(q, j->destination);
	free_job(j);
	if (m != NULL) {
		m->busy--;
		queue_settle(q, m);
	}
}

/* The other side is gone: what it had may be done or not. */
static void
lose_job(struct job_conn *c, struct job *j)
{
	struct queue *q = c->queue;
	struct message *m = messages_find(&q->messages, j->qid);
	uint32_t now = (uint32_t)(now_usec() / 1000000);

	for (uint32_t i = m == NULL ? RCPT_NONE : j->first, next; i != RCPT_NONE; i = next) {
		struct rcpt *r = &m->rcpt[i];
		uint32_t wait = r->losses == 0 ? 0 : LOST_S << (r->losses < 9 ? r->losses - 1 : 8);

		next = r->link;
		r->link = RCPT_NONE;
		r->stage = STAGE_WAITING;
		r->flags |= RCPT_REPEAT;
		r->next_utc = now + wait;
		if (r->losses < UINT8_MAX)
			r->losses++;
	}
	j->first = RCPT_NONE;
	j->left = 0;
	end_job(c, j);
}

/* ---- frames ---- */

static bool
take_ready(struct job_conn *c, struct slice frame)
{
	struct ipc_job_ready ready;

	if (!ipc_get_job_ready(frame, &ready))
		return false;
	c->credit += ready.slots;
	if (c->credit > CREDIT_MAX)
		c->credit = CREDIT_MAX;
	schedule_run(c->queue);
	return true;
}

static bool
take_results(struct job_conn *c, struct slice frame)
{
	struct ipc_job_results r;
	struct job *j;

	if (!ipc_get_job_results(frame, &r))
		return false;
	for (j = c->first; j != NULL && j->id != r.job; j = j->next)
		;
	if (j == NULL || j->qid != r.qid || !result_take(c->queue, j, r.results))
		return false;
	if (j->left == 0)
		end_job(c, j);
	return true;
}

static bool
on_frame(struct ipc_conn *conn, void *ctx, struct slice frame, int passed)
{
	struct job_conn *c = ctx;
	uint16_t code;

	(void)conn;
	if (passed != -1)
		(void)close(passed);
	if (!ipc_code(frame, &code))
		return false;
	if (code == IPC_job_ready)
		return take_ready(c, frame);
	return code == IPC_job_results && take_results(c, frame);
}

static const char *
channel_name(enum record_channel channel)
{
	return channel == CHANNEL_RELAY ? "relay" : "deliver";
}

static void
on_closed(struct ipc_conn *conn, void *ctx, const char *why)
{
	struct job_conn *c = ctx, **p;
	struct queue *q = c->queue;

	if (c->first != NULL)
		log_say(LOG_LEVEL_WARNING, "connection of %s ended (%s) with jobs in hand: they are tried again",
		    channel_name(c->channel), why);
	c->credit = 0;
	while (c->first != NULL)
		lose_job(c, c->first);
	for (p = &q->jobs->conn; *p != c; p = &(*p)->next)
		;
	*p = c->next;
	ipc_conn_free(conn);
	free(c);
	schedule_run(q);
}

void
job_accept(struct queue *q, enum record_channel channel, int fd)
{
	static const struct ipc_conn_ops ops = { .frame = on_frame, .closed = on_closed };
	struct job_conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		(void)close(fd);
		return;
	}
	*c = (struct job_conn){ .next = q->jobs->conn, .queue = q, .channel = channel };
	c->last = &c->first;
	c->conn = ipc_conn_new(q->daemon.base, fd, "queue", OUT_MAX, &ops, c);
	if (c->conn == NULL)
		free(c);
	else
		q->jobs->conn = c;
}

/* ---- handing out ---- */

static struct job_conn *
best_conn(const struct queue *q, enum record_channel channel)
{
	struct job_conn *best = NULL;

	for (struct job_conn *c = q->jobs->conn; c != NULL; c = c->next)
		if (c->channel == channel && c->credit > 0 && (best == NULL || c->credit > best->credit))
			best = c;
	return best;
}

bool
job_possible(const struct queue *q, enum record_channel channel)
{
	const struct conf *conf = &q->daemon.conf;
	uint32_t slots = channel == CHANNEL_RELAY ? conf->relay_slots : conf->deliver_slots;

	return q->schedule.channel[channel].active < slots && best_conn(q, channel) != NULL;
}

/* The ORCPT of those recipients of the record that are wanted; n of them, by number in the record. */
static void
find_orcpts(const struct record_message *r, const uint32_t *wanted, struct slice *orcpt, uint32_t n)
{
	struct slice list = r->rcpts;
	struct record_rcpt one;
	bool bad = false;

	for (uint32_t i = 0; i < n; i++)
		orcpt[i] = slice_make("", 0);
	for (uint32_t at = 0; record_next_rcpt(&list, &one, &bad); at++) {
		if (one.orcpt.len == 0)
			continue;
		for (uint32_t i = 0; i < n; i++)
			if (wanted[i] == at)
				orcpt[i] = one.orcpt;
	}
}

/* Recipients from the front of the task, all with the same sender: how many, and which of the record. */
static uint32_t
choose(const struct message *m, const struct task *t, uint32_t *wanted)
{
	uint32_t n = 0, sender = m->rcpt[t->first].sender;
	size_t octets = 0;

	for (uint32_t i = t->first; i != RCPT_NONE && n < RCPTS_A_JOB; i = m->rcpt[i].link) {
		octets += m->rcpt[i].addr_len + 320u + 500u + 32u;
		if (m->rcpt[i].sender != sender || octets > LIST_MAX)
			break;
		wanted[n++] = m->rcpt[i].from;
	}
	return n;
}

static bool
put_rcpts(const struct message *m, const struct task *t, const struct slice *orcpt, uint32_t n,
    struct buf *list, uint8_t *repeat)
{
	uint32_t i = t->first;
	bool ok = true;

	*repeat = 0;
	for (uint32_t k = 0; k < n; k++, i = m->rcpt[i].link) {
		const struct rcpt *r = &m->rcpt[i];
		const struct ipc_job_rcpt one = { .index = i, .addr = message_addr(m, i),
		    .orig_to = message_orig_to(m, i), .final = (r->flags & RCPT_FINAL) != 0,
		    .notify = r->notify, .orcpt = orcpt[k] };

		ok = ok && ipc_add_job_rcpt(list, &one);
		if ((r->flags & RCPT_REPEAT) != 0)
			*repeat = 1;
	}
	return ok;
}

/* Move n recipients from the task to the job. */
static void
move_rcpts(struct message *m, struct task *t, struct job *j, uint32_t n)
{
	uint32_t i = t->first;

	j->first = t->first;
	j->left = n;
	for (uint32_t k = 0; k < n; k++) {
		m->rcpt[i].stage = STAGE_ACTIVE;
		t->first = m->rcpt[i].link;
		if (k + 1 == n)
			m->rcpt[i].link = RCPT_NONE;
		i = t->first;
	}
	t->n -= n;
	if (t->n == 0)
		t->last = RCPT_NONE;
}

static int
open_content(struct queue *q, const struct message *m)
{
	const struct qid qid = { m->qid };
	char text[QID_TEXT];
	int fd = queue_file_open(q, qid, m->size);

	if (fd != -1)
		return fd;
	log_say(LOG_LEVEL_ERROR, "%s: its content in spool/large is missing or damaged; it is held",
	    qid_print(qid, text));
	if ((m->flags & MESSAGE_HELD) == 0)
		(void)result_action(q, m, ACTION_HOLD, UID_NONE, "content in spool/large is missing or damaged");
	return -1;
}

static bool
build(struct queue *q, const struct message *m, const struct task *t, uint32_t n, const uint32_t *wanted,
    struct job *j, struct buf *frame, int *fd)
{
	struct record_message r;
	struct slice content, orcpt[RCPTS_A_JOB];
	struct buf list;
	struct ipc_job job = { .job = j->id, .qid = m->qid };
	bool ok;

	if (!queue_read_or_hold(q, m, &r, &content))
		return false;
	buf_init(&list, IPC_RCPTS_MAX);
	find_orcpts(&r, wanted, orcpt, n);
	ok = put_rcpts(m, t, orcpt, n, &list, &job.repeat);
	job.in_file = (m->flags & MESSAGE_LARGE) != 0 || content.len > IPC_INLINE_MAX;
	job.body_8bit = (m->flags & MESSAGE_8BIT_BODY) != 0;
	job.arrival_usec = m->arrival_usec;
	job.size = m->size;
	job.sender = message_rcpt_sender(&q->messages, m, t->first);
	job.envid = r.envid;
	job.ret = r.ret;
	job.client_address = r.client_address;
	job.rcpts = buf_slice_of(&list);
	job.content = job.in_file == 1 ? slice_make("", 0) : content;
	if (job.in_file == 1)
		*fd = (m->flags & MESSAGE_LARGE) != 0 ? open_content(q, m) : queue_content_fd(content);
	if (job.in_file == 1 && *fd == -1) {
		buf_clear(&list);
		return false;
	}
	j->before_usec = r.arrival_usec > r.received_usec ? r.arrival_usec - r.received_usec : 0;
	ok = ok && ipc_put_job(frame, &job);
	buf_clear(&list);
	return ok;
}

bool
job_start(struct queue *q, struct destination *d, struct task *t)
{
	struct message *m = t->message;
	struct job_conn *c = best_conn(q, d->channel);
	struct job *j = c == NULL ? NULL : calloc(1, sizeof(*j));
	uint32_t wanted[RCPTS_A_JOB], n = choose(m, t, wanted);
	struct buf frame;
	int fd = -1;

	if (j == NULL)
		return false;
	buf_init(&frame, IPC_FRAME_MAX);
	*j = (struct job){ .conn = c, .destination = d, .id = ++q->jobs->next_id, .qid = m->qid,
	    .started_usec = now_usec() };
	if (!build(q, m, t, n, wanted, j, &frame, &fd)) {
		if (fd != -1)
			(void)close(fd);
		buf_clear(&frame);
		free(j);
		return false;
	}
	move_rcpts(m, t, j, n);
	m->busy++;
	c->credit--;
	add_job(c, j);
	if (!ipc_conn_send(c->conn, buf_slice_of(&frame), fd))
		c->credit = 0;	/* on_closed() follows */
	buf_clear(&frame);
	return true;
}

/* ---- now and then, and the end ---- */

void
job_check(struct queue *q)
{
	uint64_t now = now_usec();

	for (struct job_conn *c = q->jobs->conn; c != NULL; c = c->next) {
		if (c->ended || c->first == NULL || now - c->first->started_usec < STUCK_USEC ||
		    c->first->started_usec > now)
			continue;
		log_say(LOG_LEVEL_ERROR, "%s has had a job for hours: its connection is ended",
		    channel_name(c->channel));
		c->ended = true;
		ipc_conn_end(c->conn, "a job took too long");
	}
}

void
job_clear(struct queue *q)
{
	struct job_conn *next;

	if (q->jobs == NULL)
		return;
	for (struct job_conn *c = q->jobs->conn; c != NULL; c = next) {
		struct job *after;

		next = c->next;
		for (struct job *j = c->first; j != NULL; j = after) {
			after = j->next;
			free_job(j);
		}
		ipc_conn_free(c->conn);
		free(c);
	}
	free(q->jobs);
	q->jobs = NULL;
}
