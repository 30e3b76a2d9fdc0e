/*
 * smtp_client: the client's side of an SMTP dialogue, RFC 5321, pure: replies
 * in, commands and a "what next" out.  No sockets, no clock.
 *
 * One client serves many messages, one after the other: when it wants
 * CLIENT_IDLE a mail may be begun.
 */
#ifndef PP_SMTP_CLIENT_H
#define PP_SMTP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"
#include "smtp_reply.h"

enum client_tls { CLIENT_TLS_NEVER, CLIENT_TLS_MAY, CLIENT_TLS_MUST };

struct client_setup {
	const char	*hostname;	/* for EHLO */
	enum client_tls	 tls;		/* by STARTTLS */
	const char	*user;		/* NULL: no AUTH */
	const char	*password;
};

struct client_rcpt {
	struct slice		addr;	/* borrowed */
	bool			done;	/* result is final for this attempt */
	struct smtp_reply	reply;	/* the reply that decided; code 0: connection trouble */
	const char		*command;	/* what it answered: "RCPT TO" ... */
};

struct client_mail {
	struct slice		 sender;
	uint64_t		 size;
	bool			 body_8bit;
	struct client_rcpt	*rcpt;	/* owned by the caller */
	size_t			 n;
};

enum client_want {
	CLIENT_MORE,		/* another reply */
	CLIENT_STARTTLS,	/* do the handshake, then smtp_client_tls_done() */
	CLIENT_BODY,		/* send the content, then go on with replies */
	CLIENT_IDLE,		/* ready for smtp_client_mail() */
	CLIENT_MAIL_DONE,	/* all recipients have results; ready for the next mail */
	CLIENT_FAILED,		/* the session cannot be used: reply says why (greeting, EHLO, STARTTLS, AUTH) */
};

enum client_state {
	CS_GREETING, CS_EHLO, CS_HELO, CS_STARTTLS, CS_TLS, CS_EHLO_TLS, CS_AUTH, CS_AUTH_LOGIN_USER,
	CS_AUTH_LOGIN_PASSWORD, CS_IDLE, CS_MAIL, CS_RCPT, CS_DATA, CS_END, CS_RSET, CS_FAILED,
};

struct smtp_client {
	const struct client_setup *setup;
	enum client_state	 state;
	bool			 pipelining, eightbit, size, starttls, auth_plain, auth_login;
	bool			 tls;
	bool			 no_tls;	/* STARTTLS was tried here and failed: go on without */
	uint64_t		 size_max;	/* 0: none given */
	struct smtp_reply	 reply;		/* being read, then the last one */
	const char		*command;	/* what the last reply answers */
	struct client_mail	*mail;
	size_t			 next;		/* recipient whose reply comes next */
	size_t			 sent;		/* recipients whose RCPT was sent */
	bool			 mail_ok, data_sent;
	unsigned		 mails;		/* begun on this connection */
};

void smtp_client_init(struct smtp_client *c, const struct client_setup *setup, bool tls);

/* One line from the server, without CRLF; commands are appended to out. */
enum client_want smtp_client_line(struct smtp_client *c, struct slice line, struct buf *out);

/* The handshake that CLIENT_STARTTLS asked for is done. */
void smtp_client_tls_done(struct smtp_client *c, struct buf *out);

/* Begin a mail; only when the last want was IDLE or MAIL_DONE.  May be MAIL_DONE at once (too large). */
enum client_want smtp_client_mail(struct smtp_client *c, struct client_mail *mail, struct buf *out);

#endif
