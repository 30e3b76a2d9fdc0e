/*
 * login: what imapd and pop3d share: the front that talks to strangers, and the
 * small parent that gives each user a process.
 *
 *	parent	root if started as root; never reads a byte from the network.
 *		Redeems tickets at auth-ticket, forks the users' processes.
 *		login_parent.c, login_users.c
 *	front	pp-login, some alike, each with its broker: accept, TLS, the
 *		protocol before login (struct login_proto), auth-login; then it
 *		copies plain octets between the client's TLS and the user's process.
 *		login_front.c, login_accept.c, login_session.c, login_auth.c, login_relay.c
 *	user	one process a user and service, as that user, confined to that
 *		Maildir: user_process.h.
 *
 *	client ==TLS== front --session_start--> parent --user_session, one end--> user
 *	                 |  <-session_started,--                                    |
 *	                 |    the other end                                         |
 *	                 \______________ plain octets over that socket pair _________/
 *
 * The parent makes the socket pair, because a front may not make sockets.
 * Users' processes are forked and not executed: a login costs no dynamic
 * linking, and idle users share nearly all memory.  What a fork inherits is
 * harmless: the parent holds no key and no password.
 *
 * A daemon is a struct login_proto, a struct user_proto, and a main() that calls
 * daemon_start() and login_main().
 */
#ifndef PP_LOGIN_H
#define PP_LOGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "daemon.h"
#include "ipc.h"
#include "slice.h"
#include "verdict.h"

struct user_proto;

/* What the protocol before login may depend on. */
struct login_facts {
	bool		 tls;		/* the connection is encrypted: logging in is allowed */
	bool		 starttls;	/* it is not, but may become so: offer STARTTLS or STLS */
	const char	*hostname;	/* for the banner; good as long as the process */
};

/* What the front has to do after a step, once step.reply is on its way. */
enum login_want {
	LOGIN_WANT_INPUT,	/* go on with input */
	LOGIN_WANT_STARTTLS,	/* TLS handshake, then start() again: what was said is forgotten */
	LOGIN_WANT_AUTH,	/* ask auth (step.auth), then answer(); no input meanwhile */
	LOGIN_WANT_CLOSE,	/* QUIT, LOGOUT: close once the reply is written */
};

struct login_auth {
	const char	*method;	/* "PLAIN", "LOGIN", "USER": static */
	struct slice	 user, password; /* views, good until the next call with this state */
	struct slice	 greeting;	/* IMAP: the tag that the user's process completes; else empty */
};

/* One step of the conversation: filled in by input() and answer(). */
struct login_step {
	struct buf		*out;	/* append the reply here; empty or holding earlier replies */
	enum login_want		 want;	/* LOGIN_WANT_INPUT at the start of each step */
	bool			 error;	/* counts towards "too many errors": bad command, bad syntax */
	struct login_auth	 auth;	/* with LOGIN_WANT_AUTH; out gets nothing then */
};

/* Why the front ends a conversation by itself. */
enum login_bye {
	LOGIN_BYE_SHUTDOWN,	/* the daemon ends */
	LOGIN_BYE_TIMEOUT,	/* not logged in within conf.login_timeout_s */
	LOGIN_BYE_ERRORS,	/* too many errors, or too many failed logins */
	LOGIN_BYE_BUSY,		/* too many connections; comes instead of the banner */
	LOGIN_BYE_INPUT,	/* input_max octets and still no whole command */
};

/*
 * The protocol before login: pure (no sockets, files, clock, log).  `state` is
 * state_size octets of zeroes per connection, given to start() first.
 *
 * Refusing plaintext logins (facts.tls false) is the protocol's part: each has
 * its words for it ([PRIVACYREQUIRED], -ERR).
 */
struct login_proto {
	const char	*service;	/* "imap": listener, auth service, PAM service */
	const char	*service_tls;	/* "imaps": listener with implicit TLS */
	unsigned	 port_tls;	/* 993: started by inetd on that port, it is that service */
	const char	*program;	/* "imap-login", for the log */
	size_t		 state_size;
	size_t		 input_max;	/* most octets input() may leave untaken (V9: line 8 KB, literal 4 KB) */
	unsigned	 errors_max;	/* then LOGIN_BYE_ERRORS */

	/* Begin, or begin again after STARTTLS; facts stay good as long as state. */
	void	(*start)(void *state, const struct login_facts *facts);
	/* The first line, when there is no TLS to be done or when implicit TLS is done. */
	void	(*banner)(void *state, struct buf *out);
	/*
	 * Input: all octets not taken yet.  Take at most one line (or one literal)
	 * and say what it brings; return how many octets were taken, 0 if more must
	 * come first.  Called again at once while something is taken and want is
	 * LOGIN_WANT_INPUT, so commands may be pipelined.  What is not taken when
	 * the login succeeds goes to the user's process.
	 */
	size_t	(*input)(void *state, struct slice data, struct login_step *step);
	/*
	 * The answer to LOGIN_WANT_AUTH.  Only called for "no" (PERM) and "cannot
	 * tell" (TEMP, also when there is no mailbox, no process, or no answer in
	 * time): after OK the user's process speaks.
	 */
	void	(*answer)(void *state, enum verdict verdict, enum ipc_auth_reason reason, struct login_step *step);
	/* Last words; the connection is closed after them. */
	void	(*bye)(void *state, enum login_bye why, struct buf *out);
	/* Free what start() and input() took; wipe passwords (explicit_bzero).  May be NULL. */
	void	(*clear)(void *state);
};

/*
 * The whole daemon after daemon_start(): fork fronts and brokers, be the
 * parent.  Returns the exit code; in children it does not return.
 */
int login_main(struct daemon *d, const struct login_proto *proto, const struct user_proto *user);

/*
 * For protocols: decode base64 (RFC 4648, padding needed, no blanks) into out;
 * false if it is none or does not fit.
 */
bool login_base64(struct slice text, char *out, size_t size, size_t *len);

/*
 * For protocols: split the message of SASL PLAIN (RFC 4616), authzid NUL authcid
 * NUL password.  False if it is malformed, a part is empty or too long (user 320,
 * password 1024 octets), or authzid is neither empty nor the same as authcid.
 */
bool login_sasl_plain(struct slice message, struct slice *user, struct slice *password);

#endif
