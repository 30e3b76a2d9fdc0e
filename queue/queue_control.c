#include "queue_control.h"

#include <ctype.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "ipc_conn.h"
#include "log.h"
#include "queue_apply.h"
#include "queue_compact.h"
#include "queue_file.h"
#include "queue_ledger.h"
#include "queue_peer.h"
#include "queue_read.h"
#include "queue_result.h"
#include "queue_submit.h"
#include "queue_trace.h"

#define CONNECTIONS_MAX	200
#define CONNECTIONS_A_USER 8	/* of a uid that is none of ours */
#define OUT_MAX		(8 * 1024 * 1024)
#define LIST_WAITING	(256 * 1024)	/* octets under way to one that reads a list */
#define TURN_USEC	2000		/* a list or an action lets others have the loop after */
#define LOOK_EVERY	64		/* messages from one look at the clock to the next */
#define RCPTS_OCTETS	(60 * 1024)	/* of one item; more follow in another */
#define ITEMS_OCTETS	(60 * 1024)	/* a frame with more is sent */

/* Which messages are meant; texts are owned. */
struct filter {
	uint64_t	 qid;
	char		*sender, *rcpt;		/* NULL: any */
};

struct control_conn {
	struct peer		 peer;		/* first */
	struct event		*turn;
	/* A list or an action under way: */
	struct message_ids	 ids;		/* at is NULL: nothing under way */
	struct filter		 filter;
	bool			 doing;		/* an action, not a list */
	enum ipc_action		 action;
	uint64_t		 count;
	bool			 wants_commit;	/* its answer waits for the log */
	bool			 failed;
	bool			 as_it_was;	/* an action found a message that is so already */
	uint32_t		 asked;		/* id of a question that the tracer has, 0: none */
};

struct control_state {
	struct peers		 peers;
	uint32_t		 next_ask;
};

bool
control_init(struct queue *q)
{
	q->control = calloc(1, sizeof(*q->control));
	if (q->control == NULL)
		return false;
	q->control->peers = (struct peers){ .max = CONNECTIONS_MAX, .a_user = CONNECTIONS_A_USER };
	return true;
}

/* ---- filters ---- */

static void
clear_filter(struct filter *f)
{
	free(f->sender);
	free(f->rcpt);
	*f = (struct filter){ 0 };
}

/* Does text hold what is looked for, without regard to case?  "<>" stands for the null sender. */
static bool
matches(struct slice text, const char *want)
{
	size_t len = strlen(want);

	if (strcmp(want, "<>") == 0)
		return text.len == 0;
	for (size_t i = 0; i + len <= text.len; i++)
		if (strncasecmp(text.ptr + i, want, len) == 0)
			return true;
	return false;
}

static bool
wanted(const struct filter *f, const struct message *m)
{
	if (f->sender != NULL && !matches(message_sender(m), f->sender))
		return false;
	if (f->rcpt == NULL)
		return true;
	for (uint32_t i = 0; i < m->rcpt_n; i++)
		if (m->rcpt[i].stage < STAGE_DONE && matches(message_addr(m, i), f->rcpt))
			return true;
	return false;
}

static void
done(struct control_conn *c)
{
	free(c->ids.at);
	c->ids = (struct message_ids){ 0 };
	clear_filter(&c->filter);
}

/* Take a snapshot of the ids that are meant.  False: no memory. */
static bool
begin(struct control_conn *c, uint64_t qid, struct slice sender, struct slice rcpt)
{
	struct queue *q = c->peer.queue;

	done(c);
	c->count = 0;
	c->doing = c->failed = c->wants_commit = false;
	c->filter.qid = qid;
	c->filter.sender = sender.len == 0 ? NULL : slice_dup(sender);
	c->filter.rcpt = rcpt.len == 0 ? NULL : slice_dup(rcpt);
	if ((sender.len > 0 && c->filter.sender == NULL) || (rcpt.len > 0 && c->filter.rcpt == NULL))
		return false;
	if (qid == 0)
		return messages_ids(&q->messages, &c->ids);
	c->ids.at = malloc(sizeof(*c->ids.at));
	if (c->ids.at == NULL)
		return false;
	c->ids.at[0] = qid;
	c->ids.n = 1;
	return true;
}

/* ---- answers ---- */

static void
send_end(struct control_conn *c, enum verdict verdict, uint64_t count, const char *text)
{
	const struct ipc_queue_end e = { .verdict = (uint8_t)verdict, .count = count, .text = slice_of(text) };

	(void)IPC_CONN_SEND(c->peer.conn, queue_end, &e, -1);
}

static enum ipc_state
state_of(const struct message *m)
{
	bool tried = false;

	if ((m->flags & MESSAGE_HELD) != 0)
		return STATE_HELD;
	for (uint32_t i = 0; i < m->rcpt_n; i++) {
		if (m->rcpt[i].stage == STAGE_ACTIVE || m->rcpt[i].stage == STAGE_DECIDED)
			return STATE_ACTIVE;
		tried = tried || (m->rcpt[i].stage == STAGE_WAITING && m->rcpt[i].attempts > 0);
	}
	return tried ? STATE_DEFERRED : STATE_WAITING;
}

static bool
put_rcpt(const struct queue *q, const struct message *m, uint32_t i, struct buf *list)
{
	const struct rcpt *r = &m->rcpt[i];
	const struct reason why = message_reason(&q->messages, r);
	const struct ipc_queue_rcpt one = { .addr = message_addr(m, i), .orig_to = message_orig_to(m, i),
	    .reason = why.text, .next_utc = r->next_utc, .attempts = r->attempts };

	return ipc_add_queue_rcpt(list, &one);
}

static void
send_items(struct control_conn *c, struct buf *items)
{
	const struct ipc_queue_items frame = { .items = buf_slice_of(items) };

	if (items->len > 0)
		(void)IPC_CONN_SEND(c->peer.conn, queue_items, &frame, -1);
	buf_reset(items);
}

static void
add_item(struct control_conn *c, struct buf *items, struct ipc_queue_item *item, const struct buf *rcpts)
{
	item->rcpts = buf_slice_of(rcpts);
	(void)ipc_add_queue_item(items, item);
	if (items->len >= ITEMS_OCTETS)
		send_items(c, items);
}

/* One message, in as many items as its recipients need. */
static void
list_message(struct control_conn *c, const struct message *m, struct buf *items, struct buf *rcpts)
{
	struct ipc_queue_item item = { .qid = m->qid, .state = (uint8_t)state_of(m),
	    .forced_expire = (m->flags & MESSAGE_EXPIRE) != 0, .arrival_usec = m->arrival_usec,
	    .size = m->size, .sender = message_sender(m) };

	buf_reset(rcpts);
	for (uint32_t i = 0; i < m->rcpt_n; i++) {
		if (m->rcpt[i].stage >= STAGE_DONE)
			continue;
		(void)put_rcpt(c->peer.queue, m, i, rcpts);
		if (rcpts->len < RCPTS_OCTETS)
			continue;
		add_item(c, items, &item, rcpts);
		buf_reset(rcpts);
	}
	if (rcpts->len > 0)
		add_item(c, items, &item, rcpts);
	c->count++;
}

/* ---- actions ---- */

static bool
act(struct control_conn *c, const struct message *m)
{
	bool held = (m->flags & MESSAGE_HELD) != 0;

	if ((c->action == ACTION_HOLD && held) || (c->action == ACTION_RELEASE && !held)) {
		c->as_it_was = true;
		return true;
	}
	c->count++;
	return result_action(c->peer.queue, m, c->action, (uint32_t)c->peer.uid, "");
}

/* ---- a little at a time ---- */

static void
go_on(struct control_conn *c)
{
	const struct timeval now = { .tv_usec = 1 };

	(void)event_add(c->turn, &now);
}

static void
finish(struct control_conn *c)
{
	if (c->doing && !c->failed && queue_log_pending(&c->peer.queue->log)) {
		c->wants_commit = true;
		return;
	}
	if (c->failed)
		send_end(c, TEMP, c->count, "the queue cannot write its log");
	else if (c->count == 0 && c->filter.qid != 0 && c->as_it_was)
		send_end(c, PERM, 0, c->action == ACTION_HOLD ? "the message is on hold already" : "the message is not on hold");
	else if (c->count == 0 && c->filter.qid != 0)
		send_end(c, PERM, 0, "no such message");
	else
		send_end(c, OK, c->count, "");
	done(c);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct control_conn *c = arg;
	const uint64_t end = now_mono_usec() + TURN_USEC;
	struct buf items, rcpts;

	(void)fd;
	(void)what;
	if (c->ids.at == NULL)
		return;
	buf_init(&items, IPC_FRAME_MAX);
	buf_init(&rcpts, IPC_FRAME_MAX);
	while (c->ids.n > 0 && ipc_conn_waiting(c->peer.conn) <= LIST_WAITING &&
	    (c->ids.n % LOOK_EVERY != 0 || now_mono_usec() < end)) {
		const struct message *m = messages_find(&c->peer.queue->messages, messages_next_id(&c->ids));

		if (m == NULL || !wanted(&c->filter, m))
			continue;
		if (c->doing)
			c->failed = !act(c, m) || c->failed;
		else
			list_message(c, m, &items, &rcpts);
	}
	send_items(c, &items);
	buf_clear(&items);
	buf_clear(&rcpts);
	if (ipc_conn_waiting(c->peer.conn) > LIST_WAITING)
		return;		/* goes on when it is drained */
	if (c->ids.n > 0)
		go_on(c);
	else
		finish(c);
}

static void
on_drained(struct ipc_conn *conn, void *ctx)
{
	struct control_conn *c = ctx;

	(void)conn;
	if (c->ids.at != NULL && !c->wants_commit)
		go_on(c);
}

void
control_committed(struct queue *q)
{
	for (struct peer *p = q->control->peers.first; p != NULL; p = p->next) {
		struct control_conn *c = (struct control_conn *)(void *)p;

		if (!c->wants_commit)
			continue;
		c->wants_commit = false;
		if (q->log.broken)
			c->failed = true;
		finish(c);
	}
}

/* ---- frames ---- */

static bool
take_list(struct control_conn *c, struct slice frame)
{
	struct ipc_queue_list m;

	if (!ipc_get_queue_list(frame, &m))
		return false;
	if (c->ids.at != NULL)
		return false;	/* one thing at a time */
	if (!begin(c, m.qid, m.sender, m.rcpt)) {
		send_end(c, TEMP, 0, "no memory");
		done(c);
		return true;
	}
	go_on(c);
	return true;
}

static bool
may(struct control_conn *c)
{
	struct queue *q = c->peer.queue;

	if (c->peer.uid == 0 || c->peer.uid == (q->daemon.uid == (uid_t)-1 ? geteuid() : q->daemon.uid))
		return true;
	send_end(c, PERM, 0, "only root may do this");
	return false;
}

static bool
take_do(struct control_conn *c, struct slice frame)
{
	struct ipc_queue_do m;

	if (!ipc_get_queue_do(frame, &m) || c->ids.at != NULL)
		return false;
	if (!may(c))
		return true;
	if (m.action == ACTION_COMPACT) {
		compact_all(c->peer.queue);
		send_end(c, OK, 0, "");
		return true;
	}
	if (!begin(c, m.qid, m.sender, m.rcpt)) {
		send_end(c, TEMP, 0, "no memory");
		done(c);
		return true;
	}
	if (m.action == ACTION_RETRY || m.action == ACTION_RELEASE)
		schedule_all_up(c->peer.queue);
	c->doing = true;
	c->as_it_was = false;
	c->action = m.action;
	go_on(c);
	return true;
}

/* The message as a descriptor: its file, or a piece of memory. */
static int
content_fd(struct queue *q, const struct message *m, uint64_t *size)
{
	struct record_message r;
	struct slice content;

	*size = m->size;
	if ((m->flags & MESSAGE_LARGE) != 0)
		return queue_file_open(q, (struct qid){ m->qid }, m->size);
	return queue_read(q, m, &r, &content) ? queue_content_fd(content) : -1;
}

static bool
take_export(struct control_conn *c, struct slice frame)
{
	struct ipc_queue_export m;
	struct ipc_queue_content answer;
	const struct message *message;
	int fd;

	if (!ipc_get_queue_export(frame, &m))
		return false;
	if (!may(c))
		return true;
	message = messages_find(&c->peer.queue->messages, m.qid);
	if (message == NULL) {
		send_end(c, PERM, 0, "no such message");
		return true;
	}
	answer.qid = m.qid;
	fd = content_fd(c->peer.queue, message, &answer.size);
	if (fd == -1)
		send_end(c, TEMP, 0, "the message cannot be read");
	else
		(void)IPC_CONN_SEND(c->peer.conn, queue_content, &answer, fd);
	return true;
}

static bool
take_trace(struct control_conn *c, struct slice frame)
{
	struct ipc_queue_trace m;
	int fd;

	if (!ipc_get_queue_trace(frame, &m) || c->asked != 0)
		return false;
	if (!may(c))
		return true;
	if (++c->peer.queue->control->next_ask == 0)
		c->peer.queue->control->next_ask = 1;
	fd = ipc_conn_dup(c->peer.conn);
	if (fd != -1 && trace_ask(c->peer.queue, m.key, c->peer.queue->control->next_ask, fd))
		c->asked = c->peer.queue->control->next_ask;
	else
		send_end(c, TEMP, 0, "the tracer is not there: try again later");
	return true;
}

void
control_traced(struct queue *q, uint32_t id, bool told)
{
	for (struct peer *p = q->control->peers.first; p != NULL; p = p->next) {
		struct control_conn *c = (struct control_conn *)(void *)p;

		if (c->asked == 0 || (told && c->asked != id))
			continue;
		if (!told)
			send_end(c, TEMP, 0, "the tracer ended: try again later");
		c->asked = 0;
	}
}

/* ---- figures ---- */

static uint64_t
count_live(const struct queue *q)
{
	uint64_t live = 0;

	for (uint32_t i = 0; i < q->messages.slot_n; i++)
		if (q->messages.slot[i] != NULL)
			live += q->messages.slot[i]->live;
	return live;
}

void
control_check_ledger(struct queue *q)
{
	int64_t difference = ledger_difference(&q->ledger) + (int64_t)(q->ledger.queued - count_live(q));

	if (difference != q->difference)
		log_say(difference == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
		    "the ledger is off by %lld recipients", (long long)difference);
	q->difference = difference;
}

static bool
take_status(struct control_conn *c, struct slice frame)
{
	struct queue *q = c->peer.queue;
	const struct record_ledger *l = &q->ledger;
	struct ipc_queue_status m;
	struct ipc_queue_figures f;

	if (!ipc_get_queue_status(frame, &m))
		return false;
	control_check_ledger(q);
	f = (struct ipc_queue_figures){ .accepted = l->accepted, .injected = l->injected,
	    .generated = l->generated, .expanded = l->expanded, .delivered = l->delivered,
	    .relayed = l->relayed, .bounced = l->bounced, .discarded = l->discarded,
	    .queued = count_live(q), .messages = q->messages.n, .held = q->messages.held,
	    .log_octets = q->log.octets + queue_file_octets(q), .segments = q->log.segment_n,
	    .set_aside = q->set_aside };
	(void)IPC_CONN_SEND(c->peer.conn, queue_figures, &f, -1);
	return true;
}

static bool
on_frame(struct ipc_conn *conn, void *ctx, struct slice frame, int passed)
{
	struct control_conn *c = ctx;
	uint16_t code = 0;

	(void)conn;
	if (passed != -1)
		(void)close(passed);
	(void)ipc_code(frame, &code);
	switch (code) {
	case IPC_queue_list:
		return take_list(c, frame);
	case IPC_queue_do:
		return take_do(c, frame);
	case IPC_queue_export:
		return take_export(c, frame);
	case IPC_queue_trace:
		return take_trace(c, frame);
	case IPC_queue_status:
		return take_status(c, frame);
	default:
		return false;
	}
}

/* ---- connections ---- */

static void
free_conn(struct control_conn *c)
{
	done(c);
	if (c->turn != NULL)
		event_free(c->turn);
	peer_free(&c->peer.queue->control->peers, &c->peer);
}

static void
on_closed(struct ipc_conn *conn, void *ctx, const char *why)
{
	(void)conn;
	(void)why;
	free_conn(ctx);
}

void
control_accept(struct queue *q, int fd)
{
	static const struct ipc_conn_ops ops = { .frame = on_frame, .closed = on_closed, .drained = on_drained };
	struct control_conn *c;

	c = (struct control_conn *)(void *)peer_accept(q, &q->control->peers, fd, sizeof(*c), OUT_MAX, &ops);
	if (c == NULL)
		return;
	c->turn = event_new(q->daemon.base, -1, 0, on_turn, c);
	if (c->turn == NULL)
		free_conn(c);
}

void
control_clear(struct queue *q)
{
	if (q->control == NULL)
		return;
	while (q->control->peers.first != NULL)
		free_conn((struct control_conn *)(void *)q->control->peers.first);
	free(q->control);
	q->control = NULL;
}
