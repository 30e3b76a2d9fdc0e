/*
 * smtp_session: what is remembered between the lines of one SMTP or LMTP
 * conversation (RFC 5321, 2033, 3207, 4954, 6409).  Pure: a line in, a reply
 * and a want out; what it needs to know from outside comes through smtp_ops.
 *
 * A session never waits.  When it wants something it has exactly one question
 * open; no further line may be given before the smtp_session_*() call that
 * answers it:
 *
 *	WANT_TLS	handshake, then smtp_session_secured()
 *	WANT_AUTH	s->auth to auth, then smtp_session_authenticated()
 *	WANT_QUEUE	a queue id, then smtp_session_start_data()
 *	WANT_DATA	content up to CRLF.CRLF, then smtp_session_data_done()
 *	WANT_CLOSE	close when the reply is written
 */
#ifndef PP_SMTP_SESSION_H
#define PP_SMTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "qid.h"
#include "slice.h"
#include "smtp_data.h"
#include "smtp_envelope.h"
#include "verdict.h"

#define SMTP_LINE_MAX	2048	/* octets of a command line without CRLF */
#define SMTP_SASL_MAX	12288	/* of a line of SASL, RFC 4954 section 4 */
#define SMTP_LOGIN_MAX	320
#define SMTP_PASSWORD_MAX 1024

enum smtp_service { SMTP_SERVICE_SMTP, SMTP_SERVICE_SUBMISSION, SMTP_SERVICE_LMTP };

/* The same for all sessions of a listener. */
struct smtp_rules {
	enum smtp_service service;
	const char	*hostname;
	bool		 tls_offered;	/* there is a certificate */
	uint64_t	 message_size;	/* octets */
	unsigned	 recipients;	/* a message */
	unsigned	 hard_errors;
	bool		 refuse_bare;	/* a line that ends in a bare LF ends the session */
};

enum smtp_where { RCPT_LOCAL, RCPT_REMOTE, RCPT_UNKNOWN, RCPT_TEMP };

struct smtp_ops {
	/* Where does this recipient lead?  Makes it canonical if it is ours. */
	enum smtp_where (*check_rcpt)(void *ctx, struct addr *rcpt);
	/* The address behind <postmaster>; false: there is none (yet). */
	bool		(*postmaster)(void *ctx, struct addr *out);
	/* May this login send as this address? */
	enum verdict	(*may_send)(void *ctx, struct slice login, const struct addr *sender);
	/* Is the spool short of space? */
	bool		(*spool_low)(void *ctx);
	/* A reply that refuses: to be logged.  from, to: as far as known. */
	void		(*refused)(void *ctx, const char *stage, struct slice reply, struct slice from, struct slice to);
	void		(*improper)(void *ctx, const char *after, struct slice line);
	void		(*foreign)(void *ctx, struct slice line);	/* HTTP and the like */
};

enum smtp_want { WANT_LINE, WANT_TLS, WANT_AUTH, WANT_QUEUE, WANT_DATA, WANT_CLOSE };

enum smtp_state { ST_START, ST_READY, ST_MAIL, ST_RCPT, ST_STATES };

enum smtp_sasl { SASL_NONE, SASL_PLAIN, SASL_LOGIN_USER, SASL_LOGIN_PASSWORD };

enum smtp_verb {	/* in the order of the summary at disconnect */
	VERB_HELO, VERB_EHLO, VERB_LHLO, VERB_STARTTLS, VERB_AUTH, VERB_MAIL, VERB_RCPT, VERB_DATA,
	VERB_RSET, VERB_NOOP, VERB_VRFY, VERB_HELP, VERB_QUIT, VERB_UNKNOWN, VERBS
};

struct smtp_session {
	const struct smtp_rules	*rules;
	const struct smtp_ops	*ops;
	void			*ctx;

	enum smtp_state		 state;
	enum smtp_sasl		 sasl;		/* what the next line is the answer to */
	bool			 tls;
	bool			 esmtp;		/* EHLO or LHLO, not HELO */
	char			*helo;		/* as given; owned; NULL before */
	char			*login;		/* canonical; owned; NULL: not logged in */
	const char		*auth_method;	/* "PLAIN", "LOGIN" of login or of the try under way */
	struct smtp_envelope	 env;

	/* With WANT_AUTH; wiped when it is answered. */
	struct buf		 secret;	/* user and password behind each other */
	size_t			 user_len;

	unsigned		 errors;	/* since the last accepted message */
	unsigned		 junk;		/* harmless commands since then */
	unsigned		 auth_failures;
	unsigned		 overshoot;	/* recipients refused because there are too many */
	enum smtp_verb		 verb;		/* the last */
	bool			 in_data;	/* between 354 and the end of data */
	bool			 past_data;	/* after it, before the next verb */
	struct { unsigned ok, all; } count[VERBS];
};

void smtp_session_init(struct smtp_session *s, const struct smtp_rules *rules,
    const struct smtp_ops *ops, void *ctx);
void smtp_session_clear(struct smtp_session *s);

/* The greeting, when the connection is there and any implicit TLS is done. */
void smtp_session_greet(struct smtp_session *s, struct buf *out);

/*
 * One line without its CRLF.  more: input stands behind it already (improper
 * pipelining, RFC 2920, where it may not).  bare: it ended in LF alone.
 */
enum smtp_want smtp_session_line(struct smtp_session *s, struct slice line, bool more, bool bare,
    struct buf *out);
/* A line longer than smtp_session_line_max(); it has been thrown away. */
enum smtp_want smtp_session_long_line(struct smtp_session *s, struct buf *out);
size_t smtp_session_line_max(const struct smtp_session *s);

/* Implicit TLS, or the handshake after WANT_TLS: all that was said before is forgotten. */
void smtp_session_secured(struct smtp_session *s);

/* The answer of auth. */
struct slice smtp_session_user(const struct smtp_session *s);
struct slice smtp_session_password(const struct smtp_session *s);
enum smtp_want smtp_session_authenticated(struct smtp_session *s, enum verdict v, struct slice login,
    struct buf *out);

/* The answer of queue to DATA: OK, or TEMP. */
enum smtp_want smtp_session_start_data(struct smtp_session *s, enum verdict v, struct buf *out);

/*
 * The end of the content.  fault: what was wrong with it; if nothing, v is the
 * answer of queue, and low that it is short of space.
 */
enum smtp_want smtp_session_data_done(struct smtp_session *s, enum smtp_fault fault, enum verdict v,
    bool low, struct qid qid, struct buf *out);

/* Last words: "421 4.3.2 host Service shutting down". */
void smtp_session_bye(struct smtp_session *s, const char *code_and_text, struct buf *out);

/* For the log: the command after which something happened; the summary at disconnect;
 * SMTP, ESMTP, LMTP; the "with" of Received: (RFC 3848). */
const char *smtp_session_after(const struct smtp_session *s);
void smtp_session_summary(const struct smtp_session *s, struct buf *out);
const char *smtp_session_proto(const struct smtp_session *s);
const char *smtp_session_with(const struct smtp_session *s);
struct slice smtp_session_helo(const struct smtp_session *s);
struct slice smtp_session_login(const struct smtp_session *s);

#endif
