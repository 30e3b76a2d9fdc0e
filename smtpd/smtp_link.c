#include "smtp_link.h"

#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "log.h"

#define RETRY_FIRST_MS	50
#define SAY_FROM_MS	400	/* a daemon that is just being started is no news */
#define RETRY_MAX_MS	1000
#define OUT_MAX		(64u * 1024 * 1024)	/* octets of frames that the other side has not taken yet */

struct smtp_link {
	struct event_base		*base;
	const char			*name;
	const struct smtp_broker	*broker;
	const struct smtp_link_ops	*ops;
	void				*ctx;
	struct ipc_conn			*conn;
	struct event			 ev_retry;
	unsigned			 retry_ms;
	bool				 answered;	/* a frame came over this connection */
	bool				 said;		/* that it is away */
};

static void
retry_later(struct smtp_link *l)
{
	struct timeval tv = { l->retry_ms / 1000, (suseconds_t)(l->retry_ms % 1000 * 1000) };

	if (l->broker != NULL)
		(void)event_add(&l->ev_retry, &tv);
	l->retry_ms = l->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : l->retry_ms * 2;
}

void
smtp_link_start(struct smtp_link *l)
{
	if (l->conn == NULL && l->broker != NULL && !l->broker->ask(l->broker->ctx, l->name))
		retry_later(l);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	smtp_link_start(arg);
}

static bool
on_frame(struct ipc_conn *conn, void *ctx, struct slice frame, int passed)
{
	struct smtp_link *l = ctx;

	(void)conn;
	l->answered = true;
	l->retry_ms = RETRY_FIRST_MS;
	return l->ops->frame(l->ctx, frame, passed);
}

static void
on_closed(struct ipc_conn *conn, void *ctx, const char *why)
{
	struct smtp_link *l = ctx;

	ipc_conn_free(conn);
	l->conn = NULL;
	if (l->answered || !l->said)
		log_say(LOG_LEVEL_WARNING, "%s: connection lost: %s", l->name, why);
	l->said = true;
	l->ops->down(l->ctx);
	retry_later(l);
}

static const struct ipc_conn_ops conn_ops = { .frame = on_frame, .closed = on_closed };

void
smtp_link_take(struct smtp_link *l, int fd)
{
	if (l->conn != NULL) {
		if (fd != -1)
			(void)close(fd);
		return;
	}
	l->answered = false;
	if (fd != -1)
		l->conn = ipc_conn_new(l->base, fd, "smtpd", OUT_MAX, &conn_ops, l);
	if (l->conn == NULL) {
		if (!l->said && l->retry_ms >= SAY_FROM_MS) {
			log_say(LOG_LEVEL_WARNING, "%s: no connection yet", l->name);
			l->said = true;
		}
		retry_later(l);
		return;
	}
	if (l->said)
		log_say(LOG_LEVEL_INFO, "%s: connected again", l->name);
	l->said = false;
	l->ops->up(l->ctx);
}

struct ipc_conn *
smtp_link_conn(struct smtp_link *l)
{
	return l->conn;
}

struct smtp_link *
smtp_link_new(struct event_base *base, const char *name, const struct smtp_broker *broker,
    const struct smtp_link_ops *ops, void *ctx)
{
	struct smtp_link *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	*l = (struct smtp_link){ .base = base, .name = name, .broker = broker, .ops = ops, .ctx = ctx,
	    .retry_ms = RETRY_FIRST_MS };
	(void)event_assign(&l->ev_retry, base, -1, 0, on_retry, l);
	return l;
}

void
smtp_link_free(struct smtp_link *l)
{
	if (l == NULL)
		return;
	(void)event_del(&l->ev_retry);
	ipc_conn_free(l->conn);
	free(l);
}
