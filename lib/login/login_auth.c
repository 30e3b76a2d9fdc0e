/* login_auth: see the header. */
#include "login/login_auth.h"

#include <event2/event.h>
#include <string.h>
#include <unistd.h>

#include "ipc_conn.h"
#include "log.h"

#define SOCKET		"auth-login"
#define OUT_MAX		(1024 * 1024)	/* octets of frames that may wait for auth */
#define REQUEST_MAX	4096		/* octets of one */
#define SENT_MAX	2		/* times that a question is put */
#define RETRY_MS	300		/* until the broker is asked again */

static void connect_soon(struct login_asker *a, unsigned ms);

static void
wipe(struct buf *frame)
{
	if (frame->ptr != NULL)
		explicit_bzero(frame->ptr, frame->size);
	buf_clear(frame);
}

/* Take it off the list; the password goes. */
static void
question_close(struct login_asker *a, struct login_question *q)
{
	TAILQ_REMOVE(&a->open, q, entry);
	a->open_n--;
	q->id = 0;
	wipe(&q->frame);
}

static void
question_fail(struct login_asker *a, struct login_question *q)
{
	question_close(a, q);
	a->answer(q, NULL);
}

/* ---- the connection ---- */

static bool
auth_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct login_asker *a = ctx;
	struct ipc_auth_result result;
	struct login_question *q;

	(void)c;
	if (passed != -1) {
		(void)close(passed);
		return false;
	}
	if (!ipc_get_auth_result(frame, &result))
		return false;
	TAILQ_FOREACH(q, &a->open, entry)
		if (q->id == result.id)
			break;
	if (q == NULL || !q->on_the_way)	/* its asker has gone meanwhile */
		return true;
	question_close(a, q);
	a->answer(q, &result);
	return true;
}

/* Those that were put often enough get no answer; the others are put again. */
static void
auth_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct login_asker *a = ctx;
	struct login_question *q, *next;

	log_say(LOG_LEVEL_WARNING, "connection to auth lost: %s", why);
	ipc_conn_free(c);
	a->conn = NULL;
	for (q = TAILQ_FIRST(&a->open); q != NULL; q = next) {
		next = TAILQ_NEXT(q, entry);
		q->on_the_way = false;
		if (q->sent >= SENT_MAX)
			question_fail(a, q);
	}
	connect_soon(a, TAILQ_EMPTY(&a->open) ? RETRY_MS : 0);
}

static const struct ipc_conn_ops auth_ops = { .frame = auth_frame, .closed = auth_closed };

static void
question_send(struct login_asker *a, struct login_question *q)
{
	q->on_the_way = true;
	q->sent++;
	(void)ipc_conn_send(a->conn, buf_slice_of(&q->frame), -1);	/* else auth_closed() follows */
}

static void
connected(struct login_asker *a, int fd)
{
	struct login_question *q;

	a->conn = ipc_conn_new(a->base, fd, a->me, OUT_MAX, &auth_ops, a);
	if (a->conn == NULL) {
		connect_soon(a, RETRY_MS);
		return;
	}
	TAILQ_FOREACH(q, &a->open, entry)
		question_send(a, q);
}

/* ---- the broker ---- */

static void
broker_lost(struct login_asker *a)
{
	if (a->broker_read != NULL)
		event_free(a->broker_read);
	if (a->broker.fd != -1)
		(void)close(a->broker.fd);
	a->broker_read = NULL;
	a->broker.fd = -1;
	a->asked = false;
}

static void
broker_readable(int fd, short what, void *arg)
{
	struct login_asker *a = arg;
	char name[64];
	bool gone = false;
	int connection;

	(void)fd;
	(void)what;
	while (broker_answer(&a->broker, name, sizeof(name), &connection, &gone)) {
		a->asked = false;
		if (connection == -1)
			connect_soon(a, RETRY_MS);
		else if (a->conn == NULL)
			connected(a, connection);
		else
			(void)close(connection);
	}
	if (gone)	/* the parent starts another one */
		broker_lost(a);
}

static void
retry_now(int fd, short what, void *arg)
{
	struct login_asker *a = arg;

	(void)fd;
	(void)what;
	if (a->conn != NULL || a->asked || a->broker.fd == -1)
		return;
	if (broker_ask(&a->broker, SOCKET))
		a->asked = true;
	else
		broker_lost(a);
}

static void
connect_soon(struct login_asker *a, unsigned ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	(void)event_add(a->retry, &tv);
}

void
login_auth_broker(struct login_asker *a, int broker_fd)
{
	broker_lost(a);
	a->broker.fd = broker_fd;
	a->broker_read = event_new(a->base, broker_fd, EV_READ | EV_PERSIST, broker_readable, a);
	if (a->broker_read == NULL || event_add(a->broker_read, NULL) != 0)
		broker_lost(a);
	else if (a->conn == NULL)
		connect_soon(a, 0);
}

/* ---- for the sessions ---- */

bool
login_auth_open(struct login_asker *a, struct event_base *base, const char *me, int broker_fd,
    void (*answer)(struct login_question *q, const struct ipc_auth_result *result))
{
	*a = (struct login_asker){ .base = base, .me = me, .broker = { .fd = -1, .pid = -1 }, .answer = answer };
	TAILQ_INIT(&a->open);
	a->retry = event_new(base, -1, 0, retry_now, a);
	if (a->retry == NULL)
		return false;
	login_auth_broker(a, broker_fd);
	return true;
}

bool
login_auth_ask(struct login_asker *a, struct login_question *q, struct ipc_auth_request *request)
{
	if (a->open_n >= LOGIN_AUTH_OPEN_MAX)
		return false;
	if (++a->last_id == 0)
		a->last_id = 1;
	request->id = a->last_id;
	*q = (struct login_question){ .id = a->last_id };
	buf_init(&q->frame, REQUEST_MAX);
	/* All room at once: growing would leave copies of the password behind. */
	if (buf_room(&q->frame, REQUEST_MAX) == NULL || !ipc_put_auth_request(&q->frame, request)) {
		wipe(&q->frame);
		q->id = 0;
		return false;
	}
	TAILQ_INSERT_TAIL(&a->open, q, entry);
	a->open_n++;
	if (a->conn != NULL)
		question_send(a, q);
	else if (!a->asked && !event_pending(a->retry, EV_TIMEOUT, NULL))
		connect_soon(a, 0);
	return true;
}

void
login_auth_forget(struct login_asker *a, struct login_question *q)
{
	if (q->id != 0)
		question_close(a, q);
}
