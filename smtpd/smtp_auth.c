#include "smtp_auth.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "daemon.h"

#define ANSWER_MS	60000	/* PAM modules may be slow */
#define TICK_S		1

struct smtp_auth {
	struct smtp_link	*link;
	TAILQ_HEAD(, smtp_auth_ask) asks;	/* open ones, oldest first */
	uint32_t		 last_id;
	struct event		 ev_tick;
};

static uint64_t
mono_ms(void)
{
	return now_mono_usec() / 1000;
}

static void
tick_later(struct smtp_auth *a)
{
	if (!TAILQ_EMPTY(&a->asks) && !event_pending(&a->ev_tick, EV_TIMEOUT, NULL))
		(void)event_add(&a->ev_tick, &(struct timeval){ TICK_S, 0 });
}

bool
smtp_auth_ask(struct smtp_auth_ask *ask, const char *method, struct slice user,
    struct slice password, struct slice client_address)
{
	struct smtp_auth *a = ask->auth;
	struct ipc_conn *conn = smtp_link_conn(a->link);
	const struct ipc_auth_request m = {
		.id = ++a->last_id, .service = SLICE("smtp"), .method = slice_of(method), .user = user,
		.password = password, .client_address = client_address, .tls = 1,
	};
	struct buf frame;
	bool ok;

	if (conn == NULL)
		return false;
	buf_init(&frame, IPC_FRAME_MAX);
	ok = ipc_put_auth_request(&frame, &m) && ipc_conn_send(conn, buf_slice_of(&frame), -1);
	if (frame.ptr != NULL)
		explicit_bzero(frame.ptr, frame.size);
	buf_clear(&frame);
	if (!ok)
		return false;
	ask->id = m.id;
	ask->open = true;
	ask->deadline_ms = mono_ms() + ANSWER_MS;
	TAILQ_INSERT_TAIL(&a->asks, ask, link);
	tick_later(a);
	return true;
}

void
smtp_auth_forget(struct smtp_auth_ask *ask)
{
	if (!ask->open)
		return;
	TAILQ_REMOVE(&ask->auth->asks, ask, link);
	ask->open = false;
}

static void
answer(struct smtp_auth_ask *ask, enum verdict v, enum ipc_auth_reason reason, struct slice login)
{
	smtp_auth_forget(ask);
	ask->answer(ask->ctx, v, reason, login);
}

static bool
on_frame(void *ctx, struct slice frame, int passed)
{
	struct smtp_auth *a = ctx;
	struct smtp_auth_ask *ask;
	struct ipc_auth_result m;

	if (passed != -1)
		(void)close(passed);
	if (!ipc_get_auth_result(frame, &m))
		return false;
	TAILQ_FOREACH(ask, &a->asks, link) {
		if (ask->id != m.id)
			continue;
		answer(ask, (enum verdict)m.verdict, (enum ipc_auth_reason)m.reason, m.user);
		break;
	}
	return true;	/* no such question: the client has gone meanwhile */
}

static void
on_up(void *ctx)
{
	(void)ctx;
}

static void
on_down(void *ctx)
{
	struct smtp_auth *a = ctx;
	struct smtp_auth_ask *ask;

	while ((ask = TAILQ_FIRST(&a->asks)) != NULL)
		answer(ask, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_auth *a = arg;
	struct smtp_auth_ask *ask;
	uint64_t now = mono_ms();

	(void)fd;
	(void)what;
	while ((ask = TAILQ_FIRST(&a->asks)) != NULL && ask->deadline_ms <= now)
		answer(ask, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
	tick_later(a);
}

static const struct smtp_link_ops link_ops = { .up = on_up, .down = on_down, .frame = on_frame };

struct smtp_auth *
smtp_auth_new(struct event_base *base, const struct smtp_broker *broker)
{
	struct smtp_auth *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	TAILQ_INIT(&a->asks);
	(void)event_assign(&a->ev_tick, base, -1, 0, on_tick, a);
	a->link = smtp_link_new(base, "auth-smtp", broker, &link_ops, a);
	if (a->link != NULL)
		return a;
	free(a);
	return NULL;
}

void
smtp_auth_free(struct smtp_auth *a)
{
	if (a == NULL)
		return;
	(void)event_del(&a->ev_tick);
	smtp_link_free(a->link);
	free(a);
}

struct smtp_link *
smtp_auth_link(struct smtp_auth *a)
{
	return a->link;
}
