/*
 * pop3_session: POP3 after login, the TRANSACTION and UPDATE states (RFC 1939
 * sections 5 and 6, TOP and UIDL of section 7; CAPA of RFC 2449).
 *
 * Pure: a line in, a reply out; the maildrop is reached through struct
 * pop3_ops.  Long replies (a message, the list of a large maildrop) come in
 * pieces: POP3_WANT_MORE asks for pop3_session_more() when there is room.
 */
#ifndef PP_POP3_SESSION_H
#define PP_POP3_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "pop3d/pop3_text.h"
#include "slice.h"

#define POP3_PIECE	(32 * 1024)	/* octets that one pop3_session_more() appends, about */
#define POP3_ERRORS_MAX	30		/* bad commands, then the session is ended */
#define POP3_UIDL_MAX	70		/* octets, RFC 1939 section 7 */

/* What became of an operation of the maildrop. */
enum pop3_result {
	POP3_DONE,
	POP3_GONE,	/* the message was removed by another session */
	POP3_FAILED,	/* not now: disk, lock, memory */
};

/* The maildrop.  Messages are numbered 1..count for the whole session. */
struct pop3_ops {
	void		 (*uidl)(void *ctx, uint32_t n, char out[POP3_UIDL_MAX + 2]);
	/* Its octets as sent, CRLF lines; good until text_close().  One at a time. */
	enum pop3_result (*text_open)(void *ctx, uint32_t n, struct slice *text);
	void		 (*text_close)(void *ctx);
	/* Remove these (ascending) for good; POP3_DONE only when that is durable. */
	enum pop3_result (*remove)(void *ctx, const uint32_t *number, size_t n);
};

struct pop3_message {
	uint64_t	 size;		/* octets with CRLF */
	bool		 deleted;	/* DELE was given */
};

enum pop3_want {
	POP3_WANT_LINE,		/* the next command */
	POP3_WANT_MORE,		/* pop3_session_more(); no line before it says otherwise */
	POP3_WANT_CLOSE,	/* send what is there, then close */
};

enum pop3_sending { SENDING_NOTHING, SENDING_LIST, SENDING_UIDL, SENDING_TEXT };

struct pop3_session {
	const struct pop3_ops	*ops;
	void			*ctx;
	struct pop3_message	*message;	/* owned; number n is [n - 1] */
	uint32_t		 count;
	bool			 tls;		/* for CAPA */

	enum pop3_sending	 sending;
	uint32_t		 next;		/* SENDING_LIST, SENDING_UIDL: number to go on with */
	struct pop3_text	 text;		/* SENDING_TEXT; ops->text_close() is due */

	unsigned		 errors;
	bool			 quit;		/* QUIT was given */
	/* For the log. */
	uint32_t		 retr_n, top_n, removed_n;
	uint64_t		 retr_octets, top_octets;
};

/* Takes over `message`, malloc'd, count entries (NULL when 0). */
void pop3_session_init(struct pop3_session *s, const struct pop3_ops *ops, void *ctx,
    struct pop3_message *message, uint32_t count, bool tls);
/* Frees; nothing is removed (RFC 1939 section 6: only QUIT enters UPDATE). */
void pop3_session_clear(struct pop3_session *s);

/* The +OK that completes the login. */
void pop3_session_greeting(const struct pop3_session *s, struct buf *out);

/* One command line without CRLF.  Only when a line is wanted. */
enum pop3_want pop3_session_line(struct pop3_session *s, struct slice line, struct buf *out);

/* The next piece of a long reply. */
enum pop3_want pop3_session_more(struct pop3_session *s, struct buf *out);

/* The line is longer than POP3_LINE_MAX. */
enum pop3_want pop3_session_too_long(struct pop3_session *s, struct buf *out);

#endif
