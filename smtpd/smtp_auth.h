/*
 * smtp_auth: may this user log in?  Questions to auth (socket auth-smtp).
 * Any number may be open at once; one client's never disturbs another's.
 */
#ifndef PP_SMTP_AUTH_H
#define PP_SMTP_AUTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "ipc.h"
#include "smtp_link.h"
#include "verdict.h"

struct event_base;
struct smtp_auth;

struct smtp_auth *smtp_auth_new(struct event_base *base, const struct smtp_broker *broker);
void smtp_auth_free(struct smtp_auth *a);
struct smtp_link *smtp_auth_link(struct smtp_auth *a);

/* One question; lives in its session. */
struct smtp_auth_ask {
	struct smtp_auth	*auth;
	/* OK: login is the canonical name.  Called from the loop, never out of smtp_auth_ask(). */
	void			(*answer)(void *ctx, enum verdict v, enum ipc_auth_reason reason, struct slice login);
	void			*ctx;
	TAILQ_ENTRY(smtp_auth_ask) link;
	bool			 open;
	uint32_t		 id;
	uint64_t		 deadline_ms;
};

/* method "PLAIN", "LOGIN"; service is "smtp", TLS is on.  False: auth is not there. */
bool smtp_auth_ask(struct smtp_auth_ask *ask, const char *method, struct slice user,
    struct slice password, struct slice client_address);

/* The session ends: no answer any more. */
void smtp_auth_forget(struct smtp_auth_ask *ask);

#endif
