/*
 * smtp_link: our connection to another daemon of the suite.  Whenever it is
 * lost our parent, which may call connect(), makes it again (smtp_worker.h).
 */
#ifndef PP_SMTP_LINK_H
#define PP_SMTP_LINK_H

#include <stdbool.h>

#include "ipc_conn.h"
#include "slice.h"

struct event_base;
struct smtp_link;

struct smtp_link_ops {
	void	(*up)(void *ctx);
	void	(*down)(void *ctx);	/* what was sent may have arrived or not */
	/* One frame; passed: a descriptor, now the callee's, or -1.  False: malformed. */
	bool	(*frame)(void *ctx, struct slice frame, int passed);
};

/* Whom to ask for a connection; smtp_link_take() follows.  False: it cannot be asked now. */
struct smtp_broker {
	bool	(*ask)(void *ctx, const char *name);
	void	*ctx;
};

/* name: of the socket, borrowed for good.  broker NULL: the connection is not made again.  NULL: no memory. */
struct smtp_link *smtp_link_new(struct event_base *base, const char *name, const struct smtp_broker *broker,
    const struct smtp_link_ops *ops, void *ctx);
void smtp_link_free(struct smtp_link *l);

/* Ask for the connection, at once or when it is due again. */
void smtp_link_start(struct smtp_link *l);
/* The answer: the connection (now ours), or -1: to be tried again in a while. */
void smtp_link_take(struct smtp_link *l, int fd);

/* For IPC_CONN_SEND(); NULL while there is none. */
struct ipc_conn *smtp_link_conn(struct smtp_link *l);

#endif
