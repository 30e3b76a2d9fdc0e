#include "smtp_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "daemon.h"
#include "log.h"
#include "smtp_envelope.h"

#define LEASE		64	/* ids at once */
#define LEASE_AGE_S	5	/* an id tells the time: older ones are not given out */
#define ID_MS		15000	/* longest waits */
#define FILE_MS		15000
#define RESULT_MS	60000
#define LOW_MS		5000	/* how long "no space" is remembered */
#define TICK_MS		1000
#define FRAMES_MAX	((size_t)256 * 1024 * 1024)	/* more recipients than this never come */

struct smtp_queue {
	struct smtp_link	*link;
	TAILQ_HEAD(, smtp_submit) submits;	/* all that are not idle */
	uint64_t		 next_id, ids;	/* leased and not given out */
	bool			 leasing;	/* asked, not answered */
	uint64_t		 low_until_ms;
	struct event		 ev_tick;
	bool			 ticking;
	bool			 alone;		/* nobody connects us again */
};

static uint64_t
mono_ms(void)
{
	return now_mono_usec() / 1000;
}

/* ---- ids ---- */

static void
lease(struct smtp_queue *q)
{
	const struct ipc_submit_lease m = { .count = LEASE };
	struct ipc_conn *conn = smtp_link_conn(q->link);

	if (!q->leasing && conn != NULL)
		q->leasing = IPC_CONN_SEND(conn, submit_lease, &m, -1);
}

static bool
fresh_id(struct smtp_queue *q, struct qid *out)
{
	const struct qid next = { q->next_id };

	if (q->ids > 0 && qid_time(next) + LEASE_AGE_S < (int64_t)(now_usec() / 1000000))
		q->ids = 0;
	if (q->ids == 0)
		return false;
	*out = next;
	q->next_id++;
	q->ids--;
	return true;
}

void
smtp_queue_prepare(struct smtp_queue *q)
{
	const struct qid next = { q->next_id };

	if (q->ids == 0 || qid_time(next) + LEASE_AGE_S < (int64_t)(now_usec() / 1000000))
		lease(q);
}

bool
smtp_queue_low(const struct smtp_queue *q)
{
	return q->low_until_ms != 0 && mono_ms() < q->low_until_ms;
}

/* ---- one message ---- */

void
smtp_submit_init(struct smtp_submit *s, struct smtp_queue *q, const struct smtp_submit_ops *ops, void *ctx)
{
	*s = (struct smtp_submit){ .queue = q, .ops = ops, .ctx = ctx, .file_fd = -1 };
	buf_init(&s->frames, FRAMES_MAX);
}

static void
enter(struct smtp_submit *s, enum smtp_submit_state state, unsigned ms)
{
	struct smtp_queue *q = s->queue;

	if (s->state == SUBMIT_IDLE)
		TAILQ_INSERT_TAIL(&q->submits, s, link);
	s->state = state;
	s->deadline_ms = ms == 0 ? 0 : mono_ms() + ms;
	if (ms != 0 && !q->ticking)
		q->ticking = event_add(&q->ev_tick, &(struct timeval){ TICK_MS / 1000, 0 }) == 0;
}

/* Back to idle; the descriptor is closed. */
static void
leave(struct smtp_submit *s)
{
	if (s->state == SUBMIT_IDLE)
		return;
	TAILQ_REMOVE(&s->queue->submits, s, link);
	if (s->file_fd != -1)
		(void)close(s->file_fd);
	s->file_fd = -1;
	s->state = SUBMIT_IDLE;
	s->known = s->offered = s->file_lost = false;
	buf_clear(&s->frames);
}

bool
smtp_submit_begin(struct smtp_submit *s)
{
	struct smtp_queue *q = s->queue;

	/* Without queue nobody is asked for content that would only be refused. */
	if (smtp_link_conn(q->link) != NULL && fresh_id(q, &s->qid)) {
		enter(s, SUBMIT_OPEN, 0);
		return true;
	}
	enter(s, SUBMIT_WANTS_ID, ID_MS);
	lease(q);
	return false;
}

void
smtp_submit_open_file(struct smtp_submit *s)
{
	const struct ipc_submit_file_open m = { .qid = s->qid.n };
	struct ipc_conn *conn = smtp_link_conn(s->queue->link);

	enter(s, SUBMIT_WANTS_FILE, FILE_MS);
	s->known = true;
	/* Without a connection it is asked for when there is one. */
	if (conn != NULL)
		(void)IPC_CONN_SEND(conn, submit_file_open, &m, -1);
}

bool
smtp_submit_write(struct smtp_submit *s, struct slice data)
{
	if (s->file_lost) {
		errno = EPIPE;
		return false;
	}
	while (data.len > 0) {
		ssize_t n = write(s->file_fd, data.ptr, data.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return false;
		}
		data = slice_sub(data, (size_t)n, data.len);
	}
	return true;
}

/* Frames stand in s->frames one after the other, each behind its length. */
static size_t
frame_begin(struct smtp_submit *s)
{
	const uint32_t none = 0;

	(void)buf_put(&s->frames, &none, sizeof(none));
	return s->frames.len;
}

static bool
frame_end(struct smtp_submit *s, size_t from)
{
	uint32_t len = (uint32_t)(s->frames.len - from);

	if (s->frames.full || len > IPC_FRAME_MAX)
		return false;
	memcpy(s->frames.ptr + from - sizeof(len), &len, sizeof(len));
	return true;
}

static bool
keep_rcpts(struct smtp_submit *s, struct slice part)
{
	const struct ipc_submit_rcpts m = { .qid = s->qid.n, .rcpts = part };
	size_t from = frame_begin(s);

	return ipc_put_submit_rcpts(&s->frames, &m) && frame_end(s, from);
}

/* Send all the frames of a message; if the connection breaks meanwhile they are sent again. */
static void
send_frames(struct smtp_submit *s)
{
	struct slice rest = buf_slice_of(&s->frames);
	struct ipc_conn *conn = smtp_link_conn(s->queue->link);
	uint32_t len;

	s->offered |= conn != NULL;
	(void)log_flush();	/* who sent the message stands in the log before what queue says of it */
	while (conn != NULL && rest.len > sizeof(len)) {
		memcpy(&len, rest.ptr, sizeof(len));
		rest = slice_sub(rest, sizeof(len), rest.len);
		if (!ipc_conn_send(conn, slice_sub(rest, 0, len), -1))
			return;
		rest = slice_sub(rest, len, rest.len);
	}
}

bool
smtp_submit_send(struct smtp_submit *s, struct ipc_submit *m, struct slice rcpts)
{
	struct slice part = smtp_envelope_part(&rcpts), next;
	bool ok = true;
	size_t from;

	/* All parts but the last go ahead in frames of their own. */
	while (ok && (next = smtp_envelope_part(&rcpts)).len > 0) {
		ok = keep_rcpts(s, part);
		part = next;
	}
	m->qid = s->qid.n;
	m->in_file = s->file_fd != -1;
	m->rcpts = part;
	from = frame_begin(s);
	(void)buf_room(&s->frames, m->content.len + part.len + 2000);	/* in one step */
	ok = ok && ipc_put_submit(&s->frames, m) && frame_end(s, from);
	if (!ok || s->file_lost)
		return false;
	/* What the file could not take shows at the latest here. */
	if (s->file_fd != -1) {
		int fd = s->file_fd;

		s->file_fd = -1;
		if (close(fd) != 0 && errno != EINTR)
			return false;
	}
	s->known = true;
	enter(s, SUBMIT_WANTS_RESULT, RESULT_MS);
	send_frames(s);
	return true;
}

void
smtp_submit_abort(struct smtp_submit *s)
{
	const struct ipc_submit_abort m = { .qid = s->qid.n };
	struct ipc_conn *conn;

	if (s->state == SUBMIT_IDLE)
		return;
	conn = smtp_link_conn(s->queue->link);
	/* Known while the result is awaited: it may be durable already, and stays. */
	if (s->known && s->state != SUBMIT_WANTS_RESULT && conn != NULL)
		(void)IPC_CONN_SEND(conn, submit_abort, &m, -1);
	leave(s);
}

/* ---- answers ---- */

static struct smtp_submit *
find(struct smtp_queue *q, uint64_t qid, enum smtp_submit_state state)
{
	struct smtp_submit *s;

	TAILQ_FOREACH(s, &q->submits, link)
		if (s->qid.n == qid && s->state == state)
			return s;
	return NULL;
}

/* Tell the session that what it waits for will not come. */
static void
give_up(struct smtp_submit *s, bool low)
{
	enum smtp_submit_state state = s->state;
	const bool offered = s->offered;

	if (state == SUBMIT_WANTS_FILE) {
		enter(s, SUBMIT_OPEN, 0);	/* the session goes on reading, and aborts */
		s->ops->file(s->ctx, TEMP);
		return;
	}
	leave(s);
	if (state == SUBMIT_WANTS_ID)
		s->ops->id(s->ctx, TEMP);
	else if (state == SUBMIT_WANTS_RESULT && offered)
		s->ops->doubt(s->ctx);
	else if (state == SUBMIT_WANTS_RESULT)
		s->ops->result(s->ctx, TEMP, low);
}

/* All that wait; those that a callback begins do not count. */
static void
give_up_all(struct smtp_queue *q)
{
	struct smtp_submit *s, *next;

	for (s = TAILQ_FIRST(&q->submits); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->state != SUBMIT_OPEN)
			give_up(s, false);
	}
}

void
smtp_queue_alone(struct smtp_queue *q)
{
	q->alone = true;
	if (smtp_link_conn(q->link) == NULL)
		give_up_all(q);
}

static bool
on_ids(struct smtp_queue *q, struct slice frame)
{
	struct smtp_submit *s, *next;
	struct ipc_submit_ids m;

	if (!ipc_get_submit_ids(frame, &m) || m.first == 0)
		return false;
	q->leasing = false;
	q->next_id = m.first;
	q->ids = m.count;
	for (s = TAILQ_FIRST(&q->submits); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->state != SUBMIT_WANTS_ID)
			continue;
		if (!fresh_id(q, &s->qid)) {
			lease(q);
			break;
		}
		enter(s, SUBMIT_OPEN, 0);
		s->ops->id(s->ctx, OK);
	}
	return true;
}

static bool
on_file(struct smtp_queue *q, struct slice frame, int passed)
{
	struct ipc_submit_file m;
	struct smtp_submit *s;

	if (!ipc_get_submit_file(frame, &m) || (m.verdict == OK) != (passed != -1)) {
		if (passed != -1)
			(void)close(passed);
		return false;
	}
	s = find(q, m.qid, SUBMIT_WANTS_FILE);
	if (s == NULL) {	/* the session gave it up meanwhile */
		if (passed != -1)
			(void)close(passed);
		return true;
	}
	if (passed == -1) {
		q->low_until_ms = mono_ms() + LOW_MS;
		give_up(s, true);
		return true;
	}
	s->file_fd = passed;
	enter(s, SUBMIT_OPEN, 0);
	s->ops->file(s->ctx, OK);
	return true;
}

static bool
says_space(struct slice text)
{
	return text.len > 0 && memmem(text.ptr, text.len, "space", 5) != NULL;
}

static bool
on_result(struct smtp_queue *q, struct slice frame)
{
	struct ipc_submit_result m;
	struct smtp_submit *s;
	bool low;

	if (!ipc_get_submit_result(frame, &m))
		return false;
	low = m.verdict == TEMP && says_space(m.text);
	if (low)
		q->low_until_ms = mono_ms() + LOW_MS;
	s = find(q, m.qid, SUBMIT_WANTS_RESULT);
	if (s == NULL)
		return true;
	if (m.verdict != OK)
		log_say(LOG_LEVEL_WARNING, "queue refused a message: %.*s", (int)m.text.len, m.text.ptr);
	leave(s);
	s->ops->result(s->ctx, (enum verdict)m.verdict, low);
	return true;
}

static bool
on_frame(void *ctx, struct slice frame, int passed)
{
	struct smtp_queue *q = ctx;
	uint16_t code = 0;

	(void)ipc_code(frame, &code);
	if (code == IPC_submit_file)
		return on_file(q, frame, passed);
	if (passed != -1)
		(void)close(passed);
	switch (code) {
	case IPC_submit_ids:
		return on_ids(q, frame);
	case IPC_submit_result:
		return on_result(q, frame);
	default:
		return false;
	}
}

/* ---- the connection ---- */

static void
on_up(void *ctx)
{
	struct smtp_queue *q = ctx;
	struct smtp_submit *s;
	bool wanted = false;

	TAILQ_FOREACH(s, &q->submits, link) {
		const struct ipc_submit_file_open m = { .qid = s->qid.n };

		if (s->state == SUBMIT_WANTS_RESULT)
			send_frames(s);
		else if (s->state == SUBMIT_WANTS_FILE)
			(void)IPC_CONN_SEND(smtp_link_conn(q->link), submit_file_open, &m, -1);
		else if (s->state == SUBMIT_WANTS_ID)
			wanted = true;
	}
	if (wanted)
		lease(q);
}

static void
on_down(void *ctx)
{
	struct smtp_queue *q = ctx;
	struct smtp_submit *s;

	q->leasing = false;
	q->ids = 0;
	/* A file that was being written is thrown away by a queue that starts again. */
	TAILQ_FOREACH(s, &q->submits, link)
		if (s->file_fd != -1)
			s->file_lost = true;
	if (q->alone)
		give_up_all(q);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_queue *q = arg;
	struct smtp_submit *s, *next;
	uint64_t now = mono_ms();

	(void)fd;
	(void)what;
	q->ticking = false;
	for (s = TAILQ_FIRST(&q->submits); s != NULL; s = next) {
		next = TAILQ_NEXT(s, link);
		if (s->deadline_ms != 0 && s->deadline_ms <= now)
			give_up(s, false);
	}
	TAILQ_FOREACH(s, &q->submits, link)
		if (s->deadline_ms != 0 && !q->ticking)
			q->ticking = event_add(&q->ev_tick, &(struct timeval){ TICK_MS / 1000, 0 }) == 0;
}

static const struct smtp_link_ops link_ops = { .up = on_up, .down = on_down, .frame = on_frame };

struct smtp_queue *
smtp_queue_new(struct event_base *base, const struct smtp_broker *broker)
{
	struct smtp_queue *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	TAILQ_INIT(&q->submits);
	(void)event_assign(&q->ev_tick, base, -1, 0, on_tick, q);
	q->link = smtp_link_new(base, "queue-submit", broker, &link_ops, q);
	if (q->link != NULL)
		return q;
	free(q);
	return NULL;
}

void
smtp_queue_free(struct smtp_queue *q)
{
	if (q == NULL)
		return;
	(void)event_del(&q->ev_tick);
	smtp_link_free(q->link);
	free(q);
}

struct smtp_link *
smtp_queue_link(struct smtp_queue *q)
{
	return q->link;
}
