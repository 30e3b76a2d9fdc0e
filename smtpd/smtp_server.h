/*
 * smtp_server: one process that serves sessions: what they share, and the
 * limits over all of them.  A worker (smtp_worker.c) or the only process (inetd).
 */
#ifndef PP_SMTP_SERVER_H
#define PP_SMTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#include "conf.h"
#include "login/login_limits.h"
#include "routes.h"
#include "smtp_auth.h"
#include "smtp_queue.h"
#include "smtp_session.h"

struct event_base;
struct smtp_conn;
struct ssl_ctx_st;

#define SMTP_SERVICES 3

struct smtp_server {
	struct event_base	*base;
	const struct conf	*conf;
	struct ssl_ctx_st	*tls;		/* NULL: none is offered */
	struct routes		*routes;
	struct smtp_queue	*queue;
	struct smtp_auth	*auth;
	struct login_limits	*limits;	/* over all workers; NULL: inetd counts */
	unsigned		 worker;	/* our number */
	unsigned		 sessions, sessions_max;	/* of this process, by its descriptors */
	struct smtp_rules	 rules[SMTP_SERVICES];	/* by enum smtp_service */
	TAILQ_HEAD(, smtp_conn)	 conns;
	bool			 retired;	/* nothing new comes */
	bool			 draining;
	bool			 single;	/* for one session only */
	void			(*drained)(void *ctx);	/* one of these, and the last session has ended */
	void			*drained_ctx;
};

/* Fills in rules and limits; the pointers to the other parts are the caller's to set. */
void smtp_server_init(struct smtp_server *s, struct event_base *base, const struct conf *conf,
    struct ssl_ctx_st *tls);

/* A listener's service and whether TLS begins at once; false: unknown name. */
bool smtp_server_service(const char *name, enum smtp_service *service, bool *tls);

/* A new connection of that service from that address; fd is taken over. */
void smtp_server_accept(struct smtp_server *s, int fd, const char *address, enum smtp_service service, bool tls);

/* Nearly all sessions are in use: be short with everybody. */
bool smtp_server_overloaded(const struct smtp_server *s);

/* Nothing new comes, sessions go on.  When the last one has ended, drained(). */
void smtp_server_retire(struct smtp_server *s);
/* Send idle sessions away; the others when their message is through.  Then drained(). */
void smtp_server_drain(struct smtp_server *s);

/* From smtp_conn: this session is over. */
void smtp_server_ended(struct smtp_server *s);

#endif
