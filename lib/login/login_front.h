/*
 * login_front: a front of imapd or pop3d: the process that talks to strangers.
 * Everything it holds hangs on struct login_front.
 *
 *	login_front.c	starting, accepting, the parent's orders, ending
 *	login_accept.c	a new connection, if there is a place for it
 *	login_session.c	a connection until it is logged in
 *	login_relay.c	a connection afterwards
 *	login_auth.c	questions to auth
 */
#ifndef PP_LOGIN_FRONT_H
#define PP_LOGIN_FRONT_H

#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "conn.h"
#include "inetd.h"
#include "login/login.h"
#include "login/login_auth.h"
#include "login/login_limits.h"

#define LOGIN_RELAY_BUF	(64 * 1024)	/* octets read from a user's process at once */
#define LOGIN_LISTENERS	16

enum session_state {
	SESSION_TLS,		/* handshake */
	SESSION_TALK,		/* the protocol before login */
	SESSION_AUTH,		/* auth was asked */
	SESSION_DELAY,		/* a login that is refused without auth is not answered at once */
	SESSION_START,		/* the parent was asked for the user's process */
	SESSION_RELAY,		/* logged in */
	SESSION_CLOSING,	/* last words are on their way */
};

/* What a connection needs until it is logged in; freed then. */
struct login_talk {
	struct login_session	*session;
	const struct login_facts *facts;
	struct event		 timer;		/* what it means depends on the state */
	uint64_t		 started_usec, until_usec;	/* monotonic; the login has to be done by then */
	struct login_question	 question;
	uint32_t		 start_id;	/* of session_start; 0: none is open */
	unsigned		 errors;	/* bad commands */
	unsigned		 failures;	/* refused logins */
	const char		*method;	/* of the last try; NULL before any */
	char			*user;		/* of the last try, owned */
	struct buf		 greeting;	/* for the user's process */
	const char		*closing;	/* SESSION_CLOSING: why, for the log */
	bool			 spoken;	/* the client has sent a line */
	_Alignas(max_align_t) char state[];	/* the protocol's */
};

/* What it needs afterwards. */
struct login_relay {
	int			 fd;		/* leads to the user's process; -1: it has ended */
	struct event		 read, write;
};

struct login_session {
	TAILQ_ENTRY(login_session) entry;	/* in talking (oldest first) or relaying */
	struct login_front	*front;
	struct conn		*conn;
	enum session_state	 state;
	struct login_talk	*talk;		/* NULL once logged in */
	struct login_relay	 relay;
	size_t			 limit_slot;
	char			 rip[46], lip[46];	/* client's and own address */
	char			 id[13];	/* random, for the log */
};
TAILQ_HEAD(login_sessions, login_session);

struct login_listener {
	struct login_front	*front;
	struct conn_listener	*listener;
	bool			 implicit_tls;
};

struct login_front {
	struct daemon		*daemon;
	const struct login_proto *proto;
	struct event_base	*base;
	struct ssl_ctx_st	*tls;		/* NULL: no certificate, so nobody can log in */
	struct login_limits	*limits;
	unsigned		 worker;	/* our part of the limits */
	unsigned		 sessions_max;	/* as many as descriptors allow */
	unsigned		 sessions_n;
	struct login_facts	 in_clear, in_tls;
	struct login_asker	 auth;
	struct ipc_conn		*parent;
	uint32_t		 last_start_id;
	struct login_listener	 listener[LOGIN_LISTENERS];
	size_t			 listener_n;
	struct login_sessions	 talking, relaying;
	struct event		*sigterm, *end_timer;
	bool			 single;	/* inetd: one connection, then the end */
	bool			 retired;	/* nothing new; whoever is here goes on */
	bool			 draining;	/* nothing new; what is logged in goes on */
	bool			 ending;	/* everybody goes now */
	char			 relay_buf[LOGIN_RELAY_BUF];	/* passing octets; empty between events */
};

/* How a front is started by the parent (login_parent.c), in the forked child. */
struct login_front_start {
	struct daemon		*daemon;
	const struct login_proto *proto;
	struct login_limits	*limits;
	unsigned		 worker;
	int			 parent_fd;	/* pair with the parent */
	int			 broker_fd;	/* pair with the broker */
	const struct inetd_connection *connection;	/* the only one; NULL: listen */
	bool			 implicit_tls;	/* of that connection */
	int			 certificate_fd, key_fd;	/* -1: no TLS */
};
_Noreturn void login_front_run(const struct login_front_start *start);

/* A session has ended: it is off its list.  The front may have reached its own end. */
void login_front_session_gone(struct login_front *f);

/* ---- login_accept.c ---- */

/* Takes over fd (non-blocking). */
void login_session_new(struct login_front *f, int fd, bool implicit_tls);
/* The same for the one connection of inetd and the like. */
void login_session_single(struct login_front *f, const struct inetd_connection *c, bool implicit_tls);

/* ---- login_session.c ---- */

/* The conversation begins; false: no memory (rfd and wfd, often the same, are closed, s is the caller's). */
bool login_session_begin(struct login_session *s, int rfd, int wfd, bool implicit_tls);
void login_session_timer(int fd, short what, void *s);
void login_talk_free(struct login_session *s);	/* s->talk and what hangs on it */
/* The connection has ended, or must: frees everything; why is for the log. */
void login_session_free(struct login_session *s, const char *why);
/* Say bye and close, unless it is logged in or about to be. */
void login_session_bye(struct login_session *s, enum login_bye why);
void login_session_answer(struct login_question *q, const struct ipc_auth_result *result);
/* The parent's answer; fd is taken over (-1 unless it is OK). */
void login_session_started(struct login_session *s, enum verdict verdict, uint32_t pid, int fd);

/* ---- login_relay.c ---- */

/* Begin to copy; fd is taken over.  False: no memory. */
bool login_relay_begin(struct login_session *s, int fd);
size_t login_relay_input(struct login_session *s, struct slice data);
void login_relay_drained(struct login_session *s);
void login_relay_clear(struct login_session *s);

#endif
