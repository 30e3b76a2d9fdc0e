/*
 * user_process: the process of one logged-in user; holds all of that user's
 * connections of one service.
 *
 * It is forked by the parent of imapd or pop3d (login_users.c), takes the
 * user's uid, opens the user's Maildir (made at the first login of a virtual
 * user), and confines itself to it: no other file, no socket, no exec.  It gets
 * connections as plain stream sockets from the parent, one user_session frame
 * each, and reports how many it has.  It ends when the parent closes the frame
 * socket and the last session is over: only the parent decides, so a new
 * connection and an idle end never miss each other.
 */
#ifndef PP_USER_PROCESS_H
#define PP_USER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "confine.h"
#include "slice.h"

struct conf;
struct daemon;
struct event_base;
struct user_process;

/* A new connection; the slices are good during the call only. */
struct user_session {
	int		 fd;		/* non-blocking stream socket; the protocol takes it over */
	struct slice	 greeting;	/* IMAP: the tag to complete with OK; POP3: empty */
	struct slice	 client_address;
	struct slice	 session;	/* for the log */
	bool		 tls;
	uint32_t	 number;	/* among the sessions of this process; for user_process_watch() */
	struct slice	 parked;	/* what user_process_park() was given; empty: a new login */
	bool		 expired;	/* parked for wake_s and nothing happened */
	uint64_t	 octets_in, octets_out;	/* before it was parked */
};

/* A session that has nothing to do, to be kept by the parent: see user_process_park(). */
struct user_parked {
	uint32_t	 number;	/* of the session */
	int		 fd;		/* its socket, duplicated; taken over */
	struct slice	 client_address, session;	/* as they came */
	bool		 tls;
	unsigned	 wake_s;
	uint64_t	 octets_in, octets_out;	/* for the log */
	struct slice	 state;		/* at most USER_PARKED_MAX octets */
};
#define USER_PARKED_MAX	2000

/* What a protocol does in the user's process. */
struct user_proto {
	const char		*program;	/* "imap", "pop3": for the log */
	enum confine_kind	 kind;		/* CONFINE_IMAP_USER, CONFINE_POP3_USER */
	/*
	 * Once, after confinement: maildir_fd is the user's Maildir (owned by u,
	 * good for the life of the process; the only place where files can be
	 * opened).  Returns the context for the others; NULL ends the process
	 * (say in the log why) and the client is told to try again.
	 */
	void	*(*open)(struct user_process *u, int maildir_fd);
	/*
	 * A connection.  Answer the login on it (IMAP: tagged OK, POP3: +OK) or
	 * refuse it in protocol words and close it.  True: it counts as a session
	 * until user_process_ended() is called; that may be done before returning.
	 * False: not taken; fd is closed by the caller.
	 */
	bool	(*session)(void *ctx, const struct user_session *s);
	/*
	 * The answer to user_process_watch(): the parent watches the folder, so look
	 * whether something has changed until now and then user_process_park() the
	 * session, or not.  NULL: no sessions of this protocol are parked.
	 */
	void	(*watched)(void *ctx, uint32_t number, bool fine);
	/* What a parked session is told when the daemon ends: "* BYE ..." CRLF. */
	const char	*parked_bye;
	/* The daemon ends: BYE to all sessions, close them, user_process_ended() for each. */
	void	(*end)(void *ctx);
	/* The last session is over and the process ends now; may be NULL. */
	void	(*close)(void *ctx);
};

/* One session is over (its descriptor is closed or about to be). */
void user_process_ended(struct user_process *u);

/*
 * Parking: a session that only waits is given to the parent, which keeps its
 * socket and a few octets of state, so that this process may end.  When input
 * comes, or the watched folder changes, or wake_s is over, the session comes
 * back to session(), in this process or in another one of the same user.
 *	user_process_watch(u, number, folder)	ask; proto->watched() follows
 *	user_process_park(u, &parked)		it counts as ended
 * Without a folder to be watched (none is selected) the first step is left out.
 * False: not now; nothing has happened.
 */
bool user_process_watch(struct user_process *u, uint32_t number, int folder);
bool user_process_park(struct user_process *u, const struct user_parked *parked);

struct event_base *user_process_base(const struct user_process *u);
const struct conf *user_process_conf(const struct user_process *u);
const char *user_process_user(const struct user_process *u);	/* canonical login */
uint64_t user_process_quota(const struct user_process *u);	/* octets, 0: none */
unsigned user_process_sessions(const struct user_process *u);	/* open now */

/*
 * Who the process is for: given by the parent before it forks.  `home` is
 * relative to mail_dirfd, or absolute (system).
 */
struct user_mailbox {
	char		 user[321];
	char		 home[1025];
	bool		 system;
	uid_t		 uid;		/* (uid_t)-1: stay who we are (not root) */
	gid_t		 gid;
	uint64_t	 quota;
};

/* Open the user's Maildir and confine this process to it, as user_process_run() does first; its descriptor. */
int user_process_confine(struct daemon *d, const struct user_proto *proto,
    const struct user_mailbox *mailbox, int mail_dirfd);
/* The process itself, in the forked child: control_fd is the frame socket to the parent.  Does not return. */
_Noreturn void user_process_run(struct daemon *d, const struct user_proto *proto,
    const struct user_mailbox *mailbox, int mail_dirfd, int control_fd);

#endif
