/*
 * pop3_conn: one POP3 session of the user's process: its connection, session
 * and maildrop.  The only part that knows sockets after login.
 */
#ifndef PP_POP3_CONN_H
#define PP_POP3_CONN_H

#include <stdbool.h>

#include "login/user_process.h"
#include "pop3d/pop3_maildrop.h"

struct pop3_user;

/* Open the maildrop and answer the login.  False: no memory; the caller closes s->fd. */
bool pop3_conn_new(struct pop3_user *user, const struct user_session *s);

/* What the process of a user holds. */
struct pop3_user {
	struct user_process	*process;
	int			 maildir_fd;	/* borrowed */
	struct store_options	 store;
	struct pop3_conn	*first;		/* open sessions */
};

/* End all: without a word and without removing anything (RFC 1939 section 6). */
void pop3_conn_end_all(struct pop3_user *user);

extern const struct user_proto pop3_user_proto;

#endif
