/* auth: the state of the process; see main.c. */
#ifndef PP_AUTH_H
#define PP_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "accounts.h"
#include "auth_accounts.h"
#include "auth_cache.h"
#include "auth_last.h"
#include "auth_pool.h"
#include "auth_throttle.h"
#include "auth_ticket.h"
#include "auth_worker.h"
#include "daemon.h"
#include "routes.h"

struct event;
struct auth_client;
struct auth_request;

/* What a socket is for; a connection may ask nothing else. */
enum auth_role { ROLE_SMTP, ROLE_LOGIN, ROLE_TICKET, ROLE_CONTROL, ROLE_COUNT };

struct auth {
	struct daemon		 daemon;
	struct auth_keeper	 keeper;
	struct auth_pool	*crypt, *pam;	/* pam: NULL unless conf.system_users */

	uid_t			 peer_uid[ROLE_COUNT];	/* who may connect, beside root or our own user */
	int			 map_dirfd, state_dirfd;
	long			 processors;
	struct routes		*routes;
	struct auth_accounts	*accounts;
	unsigned		 generation;	/* of the maps: grows when they change */
	char			 dummy[ACCOUNTS_HASH_MAX + 1];	/* checked for who has no hash */

	struct auth_cache	*cache;
	struct auth_throttle	*throttle;
	struct auth_tickets	*tickets;
	struct auth_last	*last;

	struct event		*listening[ROLE_COUNT];
	struct auth_client	*clients;	/* connections */
	size_t			 client_n;
	struct auth_request	*requests;	/* not answered yet */
	size_t			 request_n;
	struct event		*keeper_event, *flush_timer, *drain_timer, *accept_timer;
	uint64_t		 drain_until_usec, drain_tickets_usec;
	struct buf		 in;		/* one frame; wiped after each */
};

/* ---- auth_serve.c: connections ---- */

/* Begin to listen; false: no memory. */
bool auth_serve_start(struct auth *a);
/* SIGTERM: nothing new; what was begun is answered, tickets are redeemed, then the loop ends. */
void auth_serve_drain(void *auth);
/* An answer for a connection, which may have gone (NULL). */
void auth_client_answer(struct auth_client *c, const struct ipc_auth_result *result);
/* The request of this connection is done. */
void auth_client_done(struct auth_client *c);

/* ---- auth_request.c: one login ---- */

/* Look at the request and answer it now or later, once.  Nothing of m is kept. */
void auth_request_start(struct auth *a, struct auth_client *c, const struct ipc_auth_request *m);
/* The connection has gone: its requests go on, their answers go nowhere. */
void auth_request_orphan(struct auth *a, const struct auth_client *c);

/*
 * The mailbox of a login: OK, and *out is filled (views until the next
 * look-up); PERM: it has none; TEMP: the maps cannot be read.
 */
enum verdict auth_mailbox_find(struct auth *a, const struct addr *login, struct route *out);

#endif
