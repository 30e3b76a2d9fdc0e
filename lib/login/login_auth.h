/*
 * login_auth: the front's questions to auth-login.
 *
 * One connection for all clients of a front, any number of questions in
 * flight.  When auth goes away the broker is asked for a new connection and
 * what was not answered is asked again, once: a question that kills auth does
 * not do so for ever.  How long to wait is the asker's matter (login_session.c).
 */
#ifndef PP_LOGIN_AUTH_H
#define PP_LOGIN_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "broker.h"
#include "buf.h"
#include "ipc.h"

struct event;
struct event_base;
struct ipc_conn;

/* A question; lies in the asker's memory. */
struct login_question {
	TAILQ_ENTRY(login_question) entry;
	uint32_t	 id;		/* 0: none is open */
	unsigned	 sent;		/* how many times */
	bool		 on_the_way;	/* sent on the present connection */
	struct buf	 frame;		/* owned; holds the password, wiped when answered */
};
TAILQ_HEAD(login_questions, login_question);

struct login_asker {
	struct event_base	*base;
	const char		*me;		/* program, for the hello */
	struct broker		 broker;	/* fd -1: none (just now) */
	struct event		*broker_read, *retry;
	struct ipc_conn		*conn;		/* NULL: not connected */
	bool			 asked;		/* the broker owes us a connection */
	struct login_questions	 open;
	size_t			 open_n;
	uint32_t		 last_id;
	/* result NULL: cannot be answered now.  q is not open any more. */
	void			(*answer)(struct login_question *q, const struct ipc_auth_result *result);
};

#define LOGIN_AUTH_OPEN_MAX	2000	/* questions; more are refused at once */

/* broker_fd: our end of the broker's pair, taken over.  False: no memory. */
bool login_auth_open(struct login_asker *a, struct event_base *base, const char *me, int broker_fd,
    void (*answer)(struct login_question *q, const struct ipc_auth_result *result));
/* The parent has started a new broker. */
void login_auth_broker(struct login_asker *a, int broker_fd);

/* Ask; request->id is filled in here.  False: not now (no answer() follows). */
bool login_auth_ask(struct login_asker *a, struct login_question *q, struct ipc_auth_request *request);
/* The asker does not want to know any more; fine if it was not open. */
void login_auth_forget(struct login_asker *a, struct login_question *q);

#endif
