/*
 * smtp_reply: replies of a server we send to, RFC 5321 section 4.2, read as
 * hostile: bounded, and cleaned before they are kept (V2: they end in logs,
 * the spool and bounces).
 */
#ifndef PP_SMTP_REPLY_H
#define PP_SMTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "slice.h"

#define REPLY_LINE_MAX	2048	/* octets of one line with CRLF; 512 by the RFC */
#define REPLY_LINES_MAX	200
#define REPLY_TEXT_MAX	700	/* octets of text kept */

struct smtp_reply {
	unsigned	code;			/* 200..599 */
	unsigned	lines;			/* so far; set to 0 before the next reply */
	char		text[REPLY_TEXT_MAX + 1]; /* "250 2.0.0 Ok": printable ASCII, lines joined by a blank */
	size_t		len;
};

enum reply_step { REPLY_MORE, REPLY_DONE, REPLY_BROKEN };

/* No reply yet. */
void smtp_reply_init(struct smtp_reply *r);

/*
 * Take one line (no CRLF).  keyword gets the text behind the code, for EHLO.
 * BROKEN: no reply at all, codes that differ between lines, too many lines.
 */
enum reply_step smtp_reply_line(struct smtp_reply *r, struct slice line, struct slice *keyword);

/* The enhanced code of the reply (RFC 3463), or one made of the code: "2.0.0", "4.0.0", "5.0.0". */
void smtp_reply_dsn(const struct smtp_reply *r, char out[16]);

#endif
