#include "queue_schedule.h"

#include <ctype.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "queue.h"
#include "queue_apply.h"
#include "queue_job.h"
#include "queue_result.h"

#define TASKS_MAX	20000u	/* of a channel; the rest goes back into the heap for a while */
#define DEST_TASKS_MAX	2000u	/* of one destination */
#define FEED_USEC	2000u	/* of a turn may go into taking messages out of the heap; */
#define FEED_LOOK	32u	/* messages from one look at the clock to the next */
#define CROWDED_S	2u	/* those that find no place come back after; later in a long queue, */
#define CROWDED_PART	50000u	/* a second for so many messages, */
#define CROWDED_IDLE_S	10u	/* and while nobody takes jobs */
#define SPREAD_S	30u	/* over which mail for a destination that was down comes back */
#define TIMER_MAX_S	60u	/* a clock that is set is noticed after */
#define LIMIT_START	5u	/* jobs at once to a destination that is not known yet */
#define FAILS_DOWN	3u	/* so many in a row: it is down */
#define NAME_MAX_OCTETS	320
#define FORGET_S	3600u	/* a failing destination that nobody wants is forgotten after */

static uint32_t
now_s(void)
{
	return (uint32_t)(now_usec() / 1000000);
}

uint32_t
schedule_delay(const struct conf *conf, unsigned attempts)
{
	uint64_t delay = conf->retry_min_s;

	for (unsigned i = 1; i < attempts && delay < conf->retry_max_s; i++)
		delay *= 2;
	return (uint32_t)(delay < conf->retry_max_s ? delay : conf->retry_max_s);
}

uint64_t
schedule_expiry(const struct conf *conf, const struct message *m)
{
	return m->arrival_usec / 1000000 + (m->sender_len == 0 ? conf->bounce_lifetime_s : conf->lifetime_s);
}

/* ---- the heap ---- */

static bool
earlier(const struct message *a, const struct message *b)
{
	return a->due != b->due ? a->due < b->due : a->qid < b->qid;
}

static void
put_at(struct schedule *s, uint32_t i, struct message *m)
{
	s->heap[i] = m;
	m->heap_at = i;
}

static void
sift_up(struct schedule *s, uint32_t i, struct message *m)
{
	while (i > 0 && earlier(m, s->heap[(i - 1) / 2])) {
		put_at(s, i, s->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	put_at(s, i, m);
}

static void
sift_down(struct schedule *s, uint32_t i, struct message *m)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= s->heap_n)
			break;
		if (child + 1 < s->heap_n && earlier(s->heap[child + 1], s->heap[child]))
			child++;
		if (!earlier(s->heap[child], m))
			break;
		put_at(s, i, s->heap[child]);
		i = child;
	}
	put_at(s, i, m);
}

void
schedule_remove(struct schedule *s, struct message *m)
{
	uint32_t i = m->heap_at;
	struct message *last;

	if (i == RCPT_NONE)
		return;
	m->heap_at = RCPT_NONE;
	last = s->heap[--s->heap_n];
	if (last == m)
		return;
	if (i > 0 && earlier(last, s->heap[(i - 1) / 2]))
		sift_up(s, i, last);
	else
		sift_down(s, i, last);
}

static void
heap_add(struct schedule *s, struct message *m, uint32_t due)
{
	uint32_t size = s->heap_size == 0 ? 256 : s->heap_size * 2;
	struct message **heap;

	schedule_remove(s, m);
	m->due = due;
	if (s->heap_n == s->heap_size) {
		heap = realloc(s->heap, size * sizeof(struct message *));
		if (heap == NULL)
			log_fatal(71, "no memory for the schedule");
		s->heap = heap;
		s->heap_size = size;
	}
	sift_up(s, s->heap_n++, m);
}

/* ---- destinations ---- */

/* Who takes this recipient, and under which name it queues up. */
static enum record_channel
destination_name(const struct queue *q, const struct message *m, uint32_t index, struct slice *name)
{
	struct slice addr = message_addr(m, index);

	if ((m->rcpt[index].flags & RCPT_REMOTE) == 0) {
		*name = addr;
		return CHANNEL_DELIVER;
	}
	if (q->daemon.conf.smarthost.host != NULL)
		*name = slice_make("", 0);
	else
		*name = slice_sub(addr, slice_rfind(addr, '@') + 1, SIZE_MAX);
	return CHANNEL_RELAY;
}

static uint32_t
slot_of(const struct schedule *s, enum record_channel channel, struct slice name)
{
	return (uint32_t)(queue_hash(name) + channel) & (s->slot_n - 1);
}

static uint32_t
limit_of(const struct queue *q, const struct destination *d)
{
	const struct conf *c = &q->daemon.conf;

	if (d->channel == CHANNEL_RELAY)
		return d->name_len == 0 ? c->relay_slots : c->relay_connections;
	if (d->name_len == 0)
		return c->deliver_slots;
	return c->deliver_slots / 2 < 2 ? 2 : c->deliver_slots / 2;
}

static void
grow_destinations(struct schedule *s)
{
	uint32_t n = s->slot_n == 0 ? 256 : s->slot_n * 2, old = s->slot_n;
	struct destination **slot, **before = s->slot;

	if (s->destination_n < s->slot_n)
		return;
	slot = calloc(n, sizeof(struct destination *));
	if (slot == NULL)
		return;	/* longer chains then */
	s->slot = slot;
	s->slot_n = n;
	for (uint32_t i = 0; i < old; i++) {
		struct destination *next;

		for (struct destination *d = before[i]; d != NULL; d = next) {
			uint32_t at = slot_of(s, d->channel, slice_make(d->name, d->name_len));

			next = d->chain;
			d->chain = slot[at];
			slot[at] = d;
		}
	}
	free(before);
}

static struct destination *
find_destination(struct queue *q, enum record_channel channel, struct slice given)
{
	struct schedule *s = &q->schedule;
	char lower[NAME_MAX_OCTETS];
	struct slice name;
	struct destination *d;
	uint32_t at;

	given = slice_sub(given, 0, sizeof(lower));
	for (size_t i = 0; i < given.len; i++)
		lower[i] = (char)tolower((unsigned char)given.ptr[i]);
	name = slice_make(lower, given.len);
	grow_destinations(s);
	at = slot_of(s, channel, name);
	for (d = s->slot[at]; d != NULL; d = d->chain)
		if (d->channel == channel && slice_eq(slice_make(d->name, d->name_len), name))
			return d;
	d = calloc(1, sizeof(*d) + name.len);
	if (d == NULL)
		return NULL;
	d->channel = (uint8_t)channel;
	d->name_len = (uint16_t)name.len;
	memcpy(d->name, name.ptr, name.len);
	d->last = &d->first;
	d->limit = limit_of(q, d);
	if (channel == CHANNEL_RELAY && name.len > 0 && d->limit > LIMIT_START)
		d->limit = LIMIT_START;
	d->chain = s->slot[at];
	s->slot[at] = d;
	s->destination_n++;
	return d;
}

static void
free_if_idle(struct schedule *s, struct destination *d)
{
	struct destination **p;

	if (d->tasks > 0 || d->active > 0 || d->in_ring || d->down_until > now_s() || d->fails > 0)
		return;
	p = &s->slot[slot_of(s, d->channel, slice_make(d->name, d->name_len))];
	while (*p != d)
		p = &(*p)->chain;
	*p = d->chain;
	s->destination_n--;
	free(d);
}

static void
into_ring(struct schedule *s, struct destination *d)
{
	struct channel *c = &s->channel[d->channel];

	if (d->in_ring || d->tasks == 0 || d->active >= d->limit || (d->down_until > 0 && d->active > 0))
		return;
	d->next = NULL;
	*c->last = d;
	c->last = &d->next;
	d->in_ring = true;
}

static struct destination *
out_of_ring(struct channel *c)
{
	struct destination *d = c->first;

	if (d == NULL)
		return NULL;
	c->first = d->next;
	if (c->first == NULL)
		c->last = &c->first;
	d->in_ring = false;
	return d;
}

/* ---- tasks ---- */

static void
add_task(struct schedule *s, struct destination *d, struct task *t)
{
	t->next = NULL;
	*d->last = t;
	d->last = &t->next;
	d->tasks++;
	s->channel[d->channel].tasks++;
	into_ring(s, d);
}

static struct task *
take_task(struct schedule *s, struct destination *d)
{
	struct task *t = d->first;

	d->first = t->next;
	if (d->first == NULL)
		d->last = &d->first;
	d->tasks--;
	s->channel[d->channel].tasks--;
	return t;
}

/* Its recipients wait again, until `until`. */
static void
dissolve_task(struct queue *q, struct task *t, uint32_t until)
{
	struct message *m = t->message;

	for (uint32_t i = t->first, next; i != RCPT_NONE; i = next) {
		next = m->rcpt[i].link;
		m->rcpt[i].stage = STAGE_WAITING;
		m->rcpt[i].link = RCPT_NONE;
		if (m->rcpt[i].next_utc < until)
			m->rcpt[i].next_utc = until;
	}
	m->busy--;
	free(t);
	queue_settle(q, m);
}

/* Put recipient i into the task for d that was begun for this message, or begin one. */
static bool
into_task(struct task **open, struct message *m, uint32_t i)
{
	struct task *t = *open;

	if (t == NULL) {
		t = *open = calloc(1, sizeof(*t));
		if (t == NULL)
			return false;
		*t = (struct task){ .message = m, .first = RCPT_NONE, .last = RCPT_NONE };
		m->busy++;
	}
	if (t->last == RCPT_NONE)
		t->first = i;
	else
		m->rcpt[t->last].link = i;
	t->last = i;
	t->n++;
	m->rcpt[i].link = RCPT_NONE;
	m->rcpt[i].stage = STAGE_READY;
	return true;
}

/* ---- from the heap into tasks ---- */

static bool
is_due(const struct message *m, uint32_t i, uint32_t now)
{
	return m->rcpt[i].stage == STAGE_WAITING && m->rcpt[i].next_utc <= now;
}

static bool
crowded(const struct queue *q, enum record_channel channel, const struct destination *d)
{
	return d == NULL || q->schedule.channel[channel].tasks >= TASKS_MAX ||
	    (d->name_len > 0 && d->tasks >= DEST_TASKS_MAX);	/* a smarthost, or lists: as many as the channel takes */
}

/* How long those that found no place stay away: each look at them costs a little. */
static uint32_t
crowded_s(const struct queue *q, enum record_channel channel)
{
	return CROWDED_S + q->schedule.heap_n / CROWDED_PART + (job_possible(q, channel) ? 0 : CROWDED_IDLE_S);
}

/* All local ones of a message together: one job can take them. */
static void
local_task(struct queue *q, struct message *m, uint32_t now)
{
	struct task *t = NULL;
	struct slice name = slice_make("", 0);
	struct destination *d;

	for (uint32_t i = 0; i < m->rcpt_n; i++)
		if (is_due(m, i, now) && (m->rcpt[i].flags & RCPT_REMOTE) == 0 && !into_task(&t, m, i))
			break;
	if (t == NULL)
		return;
	if (t->n == 1)
		(void)destination_name(q, m, t->first, &name);
	d = find_destination(q, CHANNEL_DELIVER, name);
	if (crowded(q, CHANNEL_DELIVER, d))
		dissolve_task(q, t, now + crowded_s(q, CHANNEL_DELIVER));
	else
		add_task(&q->schedule, d, t);
}

/* One recipient elsewhere: into the task that d has for this message, if it is the last of its queue. */
static void
remote_task(struct queue *q, struct message *m, uint32_t i, uint32_t now)
{
	struct slice name;
	struct destination *d;
	struct task *t, *last;

	(void)destination_name(q, m, i, &name);
	d = find_destination(q, CHANNEL_RELAY, name);
	if (crowded(q, CHANNEL_RELAY, d)) {
		m->rcpt[i].next_utc = now + crowded_s(q, CHANNEL_RELAY);
		return;
	}
	if (d->down_until > now) {
		m->rcpt[i].next_utc = d->down_until + (uint32_t)(m->qid % SPREAD_S);
		if (m->rcpt[i].attempts > 0 && schedule_expiry(&q->daemon.conf, m) <= now)
			result_give_up(q, m, i);
		return;
	}
	last = d->first == NULL ? NULL : (struct task *)(void *)((char *)d->last - offsetof(struct task, next));
	if (last != NULL && last->message == m) {
		(void)into_task(&last, m, i);
		return;
	}
	t = NULL;
	if (into_task(&t, m, i))
		add_task(&q->schedule, d, t);
	else
		m->rcpt[i].next_utc = now + CROWDED_S;
}

/* The recipients of m that are due go to their destinations; m is not in the heap. */
static void
feed(struct queue *q, struct message *m, uint32_t now)
{
	if ((m->flags & (MESSAGE_EXPIRE | MESSAGE_DELETE)) != 0) {
		result_give_up(q, m, RCPT_NONE);
		return;
	}
	local_task(q, m, now);
	for (uint32_t i = 0; i < m->rcpt_n; i++)
		if (is_due(m, i, now) && (m->rcpt[i].flags & RCPT_REMOTE) != 0)
			remote_task(q, m, i, now);
	schedule_message(q, m);
}

void
schedule_message(struct queue *q, struct message *m)
{
	uint32_t due = UINT32_MAX;

	if ((m->flags & MESSAGE_HELD) == 0) {
		for (uint32_t i = 0; i < m->rcpt_n; i++)
			if (m->rcpt[i].stage == STAGE_WAITING && m->rcpt[i].next_utc < due)
				due = m->rcpt[i].next_utc;
		if ((m->flags & (MESSAGE_EXPIRE | MESSAGE_DELETE)) != 0 && due != UINT32_MAX)
			due = 0;
	}
	if (due == UINT32_MAX)
		schedule_remove(&q->schedule, m);
	else if (m->heap_at == RCPT_NONE || m->due != due)
		heap_add(&q->schedule, m, due);
}

/* ---- from tasks to jobs ---- */

static void
start_job(struct queue *q, struct channel *c, struct destination *d)
{
	struct task *t = take_task(&q->schedule, d);
	struct message *m = t->message;

	if ((m->flags & (MESSAGE_HELD | MESSAGE_EXPIRE | MESSAGE_DELETE)) != 0) {
		dissolve_task(q, t, 0);
		into_ring(&q->schedule, d);
		return;
	}
	if (!job_start(q, d, t)) {	/* it cannot be read, or no memory: the message was held or waits */
		dissolve_task(q, t, now_s() + SPREAD_S);
		into_ring(&q->schedule, d);
		free_if_idle(&q->schedule, d);
		return;
	}
	d->active++;
	c->active++;
	if (t->n > 0) {
		add_task(&q->schedule, d, t);
	} else {
		m->busy--;
		free(t);
		into_ring(&q->schedule, d);
	}
}

static void
hand_out(struct queue *q, enum record_channel channel)
{
	struct channel *c = &q->schedule.channel[channel];

	while (c->first != NULL && !q->log.broken && !q->daemon.draining && job_possible(q, channel)) {
		struct destination *d = out_of_ring(c);

		if (d->tasks > 0)
			start_job(q, c, d);
		else	/* it went down meanwhile */
			free_if_idle(&q->schedule, d);
	}
}

static void
set_timer(struct queue *q, bool more)
{
	const struct schedule *s = &q->schedule;
	uint32_t now = now_s(), wait = TIMER_MAX_S;
	struct timeval tv = { .tv_usec = 1000 };

	if (s->heap_n > 0)
		wait = s->heap[0]->due <= now ? 1 : s->heap[0]->due - now;
	if (!more)
		tv = (struct timeval){ .tv_sec = wait < TIMER_MAX_S ? wait : TIMER_MAX_S };
	if (s->timer != NULL)
		(void)event_add(s->timer, &tv);
}

void
schedule_run(struct queue *q)
{
	struct schedule *s = &q->schedule;
	uint64_t end = now_mono_usec() + FEED_USEC;
	uint32_t now = now_s(), fed = 0;

	if (s->running || q->daemon.draining)
		return;
	s->running = true;
	while (s->heap_n > 0 && s->heap[0]->due <= now && (++fed % FEED_LOOK != 0 || now_mono_usec() < end)) {
		struct message *m = s->heap[0];

		schedule_remove(s, m);
		feed(q, m, now);
	}
	hand_out(q, CHANNEL_DELIVER);
	hand_out(q, CHANNEL_RELAY);
	s->running = false;
	set_timer(q, s->heap_n > 0 && s->heap[0]->due <= now);
}

/* ---- what came of it ---- */

void
schedule_job_done(struct queue *q, struct destination *d)
{
	d->active--;
	q->schedule.channel[d->channel].active--;
	into_ring(&q->schedule, d);
	free_if_idle(&q->schedule, d);
}

static void
go_down(struct queue *q, struct destination *d)
{
	struct schedule *s = &q->schedule;

	d->down_until = now_s() + q->daemon.conf.retry_min_s;
	d->limit = 1;
	log_say(LOG_LEVEL_INFO, "destination %.*s cannot be reached: left alone for %u seconds", (int)d->name_len,
	    d->name, q->daemon.conf.retry_min_s);
	while (d->tasks > 0) {
		struct task *t = take_task(s, d);

		dissolve_task(q, t, d->down_until + (uint32_t)(t->message->qid % SPREAD_S));
	}
}

void
schedule_reached(struct queue *q, struct destination *d, bool reached)
{
	if (d->channel != CHANNEL_RELAY)
		return;
	if (reached) {
		d->fails = 0;
		d->down_until = 0;
		if (d->limit < limit_of(q, d))
			d->limit++;
		return;
	}
	if (d->limit > 1)
		d->limit--;
	if (d->fails < UINT16_MAX && ++d->fails >= FAILS_DOWN && d->down_until <= now_s())
		go_down(q, d);
}

void
schedule_all_up(struct queue *q)
{
	for (uint32_t i = 0; i < q->schedule.slot_n; i++)
		for (struct destination *d = q->schedule.slot[i]; d != NULL; d = d->chain) {
			d->down_until = 0;
			d->fails = 0;
		}
}

void
schedule_sweep(struct queue *q)
{
	uint32_t now = now_s();

	for (uint32_t i = 0; i < q->schedule.slot_n; i++) {
		struct destination *next;

		for (struct destination *d = q->schedule.slot[i]; d != NULL; d = next) {
			next = d->chain;
			if (d->fails == 0 || d->tasks > 0 || d->active > 0 || d->down_until + FORGET_S > now)
				continue;
			d->fails = 0;
			free_if_idle(&q->schedule, d);
		}
	}
}

/* ---- begin and end ---- */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	schedule_run(arg);
}

bool
schedule_init(struct queue *q)
{
	struct schedule *s = &q->schedule;

	*s = (struct schedule){ 0 };
	for (int i = 0; i < CHANNELS; i++)
		s->channel[i].last = &s->channel[i].first;
	grow_destinations(s);
	if (q->daemon.base != NULL)
		s->timer = event_new(q->daemon.base, -1, 0, on_timer, q);
	return s->slot != NULL && (s->timer != NULL || q->daemon.base == NULL);
}

void
schedule_clear(struct queue *q)
{
	struct schedule *s = &q->schedule;

	for (uint32_t i = 0; i < s->slot_n; i++) {
		struct destination *next;

		for (struct destination *d = s->slot[i]; d != NULL; d = next) {
			next = d->chain;
			while (d->tasks > 0)
				free(take_task(s, d));
			free(d);
		}
	}
	if (s->timer != NULL)
		event_free(s->timer);
	free(s->slot);
	free(s->heap);
	*s = (struct schedule){ 0 };
}
