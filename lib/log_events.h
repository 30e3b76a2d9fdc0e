/*
 * Every event of mail that the suite logs, one function each, so that the words
 * that fail2ban and pflogsumm look for stand in one place (CONVENTIONS.md, section 5).
 *
 * Text from peers is given as it came; escaping is done here.  Passwords,
 * SASL responses and content never get here.
 */
#ifndef PP_LOG_EVENTS_H
#define PP_LOG_EVENTS_H

#include <stdint.h>

#include "qid.h"
#include "slice.h"

/* A client as it is logged: name[address]; name "unknown" unless reverse and forward DNS agree. */
struct log_client {
	struct slice	name;
	struct slice	address;
};

/* smtpd */
void log_connect(struct log_client c);
void log_client_accepted(struct qid q, struct log_client c, struct slice sasl_method, struct slice sasl_username);
/* stage: "RCPT", "MAIL", "DATA", "END-OF-MESSAGE" ...; reply without CRLF: "554 5.7.1 <r@x>: Relay access denied". */
void log_reject(struct qid q, const char *stage, struct log_client c, struct slice reply,
    struct slice from, struct slice to, struct slice proto, struct slice helo);
void log_sasl_failed(struct log_client c, struct slice method, const char *why, struct slice username);
void log_lost_connection(const char *after, struct log_client c);
void log_timeout(const char *after, struct log_client c);
void log_too_many_errors(const char *after, struct log_client c);
void log_improper_pipelining(const char *after, struct log_client c, struct slice what);
void log_tls_established(struct log_client c, const char *protocol, const char *cipher, int bits);
/* summary: "ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4" */
void log_disconnect(struct log_client c, struct slice summary);

/* queue */
void log_message_id(struct qid q, struct slice message_id);
void log_pickup(struct qid q, uint32_t uid, struct slice from);
void log_queue_active(struct qid q, struct slice from, uint64_t size, size_t nrcpt);
void log_removed(struct qid q);
/* kind: "non-delivery", "delay", "delivery status". */
void log_bounce(struct qid q, const char *kind, struct qid notification);

/* deliver (program "local" or "virtual"), relay (program "smtp"), queue (program "error") */
struct log_delivery {
	const char	*program;	/* "virtual", "local", "smtp", "lmtp", "pipe", "error" */
	struct qid	 qid;
	struct slice	 to;
	struct slice	 orig_to;	/* left out when empty or the same as to */
	struct slice	 relay;		/* "virtual", "local", "none" or host[addr]:port */
	unsigned	 conn_use;	/* left out when below 2 */
	double		 delay;		/* seconds since arrival */
	double		 delays[4];	/* before-queue / in-queue / connect / transfer */
	struct slice	 dsn;		/* "2.0.0" */
	const char	*status;	/* sent, deferred, bounced, expired */
	struct slice	 text;		/* in parentheses */
};
void log_delivered(const struct log_delivery *d);

/* imapd and pop3d; program is "imap-login" or "pop3-login" */
struct log_login {
	const char	*program;
	struct slice	 user;
	struct slice	 method;	/* "PLAIN", "LOGIN"; empty before any try */
	struct slice	 rip, lip;	/* client and own address */
	int64_t		 mpid;		/* pid of the user's process, 0: none */
	bool		 tls;
	struct slice	 session;	/* random, printable */
};
void log_login(const struct log_login *l);
/* why: "Connection closed (auth failed, 1 attempts in 2 secs)" */
void log_login_disconnected(const struct log_login *l, const char *why);
/* program "imap" or "pop3": the user's process is done with a session */
void log_session_end(const char *program, struct slice user, struct slice session, const char *why,
    uint64_t bytes_in, uint64_t bytes_out);

#endif
