/*
 * login_parent: the small process above fronts and users' processes.  It is
 * root if the suite is, never reads an octet from the network, and never sees
 * a password or the TLS key.
 *
 *	login_parent.c	starting; fronts and brokers; children that die; the end
 *	login_users.c	sessions that are to start: ticket, process, answer
 *	login_parked.c	sessions that only wait, without a process
 *	user_process.c	the user's process itself
 */
#ifndef PP_LOGIN_PARENT_H
#define PP_LOGIN_PARENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "inetd.h"
#include "login/login.h"
#include "login/login_limits.h"
#include "login/login_workers.h"
#include "login/user_process.h"

struct event;
struct ipc_conn;
struct login_parent;

/* A front and its broker. */
struct login_worker {
	struct login_slot	 slot;
	struct login_parent	*parent;
	pid_t			 broker_pid;	/* -1: none */
	int			 broker_fd;	/* for the front that is just started; -1: none */
};

/* Who a user is and where the Maildir lies: ticket_mailbox as auth gave it; shared. */
struct login_mailbox {
	unsigned		 refs;
	size_t			 len;
	char			 frame[];
};

/* A user's process. */
struct login_user {
	LIST_ENTRY(login_user)	 entry;		/* of all that are alive */
	struct login_parent	*parent;
	char			 name[321];	/* canonical login */
	struct login_mailbox	*mailbox;	/* one reference */
	uid_t			 uid;		/* it runs as; (uid_t)-1: as we do */
	gid_t			 gid;
	bool			 parked;	/* it has parked sessions: idle for long enough, then */
	pid_t			 pid;
	struct ipc_conn		*conn;		/* NULL: told to end, or dead */
	uint32_t		 sent;		/* user_session frames */
	uint32_t		 received, count;	/* as it reported */
	uint64_t		 changed_usec;	/* monotonic: of the last frame either way */
};

/* A session on its way: the ticket is redeemed, then the user's process has to confirm. */
struct login_start {
	TAILQ_ENTRY(login_start) entry;
	struct login_worker	*worker;
	struct buf		 frame;		/* session_start as it came */
	uint32_t		 front_id;	/* its id */
	uint32_t		 ticket_id;	/* of ticket_redeem */
	bool			 asked;		/* ticket_redeem is sent */
	struct login_user	*user;		/* whose process has to confirm; NULL: ticket first */
	uint32_t		 number;	/* it is that process's session of this number */
	int			 front_fd;	/* the front's end of the socket pair, or -1 */
	uint64_t		 until_usec;	/* monotonic */
};

struct login_parked;
struct login_parking {
	TAILQ_HEAD(login_parked_list, login_parked) all;
	unsigned		 n;		/* of all that are parked */
	int			 inotify_fd;	/* -1: nothing is parked */
	struct event		*changes;
	void			*by_wd;		/* tsearch(3) tree of watches */
};

struct login_users {
	void			*by_name;	/* tsearch(3) tree of those that take sessions */
	LIST_HEAD(, login_user)	 all;
	unsigned		 n, max;
	TAILQ_HEAD(, login_start) starts;
	unsigned		 starts_n;
	struct ipc_conn		*ticket;	/* to auth-ticket; NULL: not connected */
	uint32_t		 last_ticket_id;
	uid_t			 vmail_uid;	/* of virtual users; (uid_t)-1: we are not root */
	gid_t			 vmail_gid;
	int			 mail_dirfd;
	struct login_parking	 parking;
};

struct login_parent {
	struct daemon		*daemon;
	const struct login_proto *proto;
	const struct user_proto	*user_proto;
	struct login_workers	 workers;
	struct login_worker	 worker[LOGIN_WORKERS];
	struct login_users	 users;
	int			 certificate_fd, key_fd;	/* open, never read; -1: no TLS */
	struct inetd_connection	 connection;	/* the only one; rfd -1: there is none, fronts listen */
	bool			 implicit_tls;	/* of that connection */
	bool			 draining, ending;
	uint64_t		 drain_until_usec;	/* monotonic */
};

/* ---- login_users.c ---- */

void login_users_init(struct login_users *u, const struct daemon *d, int mail_dirfd);
/* A session_start frame; false if it is malformed. */
bool login_users_start(struct login_worker *w, struct slice frame);
/* The front has died: nobody waits for these any more. */
void login_users_forget(struct login_worker *w);
/* A child has died; true if it was a user's process. */
bool login_users_died(struct login_parent *p, pid_t pid, int status);
/* Once a second: timeouts, idle and hung processes. */
void login_users_tick(struct login_parent *p, uint64_t now_usec);
/* All users' processes have to say bye and end. */
void login_users_end(struct login_parent *p);
void login_users_kill(struct login_parent *p);

/* For login_parked.c: a session was sent to it; the process of that user, running or forked now (NULL: not now). */
void login_user_sent(struct login_user *u);
struct login_user *login_mailbox_process(struct login_parent *p, const struct login_mailbox *mailbox);
struct login_mailbox *login_mailbox_ref(struct login_mailbox *m);
void login_mailbox_free(struct login_mailbox *m);	/* gives one reference back; NULL is fine */
struct slice login_mailbox_user(const struct login_mailbox *m);

/* ---- login_parked.c ---- */

void login_parked_init(struct login_parent *p);
/* Frames user_watch and user_park; the descriptor is taken over when they are not malformed (false). */
bool login_parked_watch(struct login_user *u, struct slice frame, int folder);
bool login_parked_keep(struct login_user *u, struct slice frame, int fd);
/* That process takes and parks nothing any more. */
void login_parked_forget(struct login_user *u);
void login_parked_tick(struct login_parent *p, uint64_t now_usec);
/* All parked sessions are told and closed. */
void login_parked_end(struct login_parent *p);

#endif
