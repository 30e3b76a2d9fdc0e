/*
 * mail_lines: what programs pipe into sendmail, made into lines of mail.  Pure.
 *
 * A line ends in LF, or in CRLF; on output always in CRLF.  Any other CR, and
 * NUL, become a space (no next hop may see a line end where we saw none: SMTP
 * smuggling).  With crlf_only a line ends in CRLF alone and a stray LF becomes
 * a space too.  The last line gets its end if it lacks one.
 */
#ifndef PP_MAIL_LINES_H
#define PP_MAIL_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

struct mail_lines {
	bool	dot_ends;	/* a line holding only "." ends the input */
	bool	stuffed;	/* a dot at the start of a line is there twice (SMTP) */
	bool	crlf_only;

	bool	ended;		/* out: that line came; what follows it was not looked at */
	bool	eight_bit;	/* out: an octet above 127 was seen */

	bool	cr, mid_line;	/* a CR waits for its LF; the line has begun */
	bool	dot;		/* the line begins with a dot that is held back */
};

/* Append what piece becomes; returns the octets of it that were used (all, unless ended). */
size_t mail_lines_feed(struct mail_lines *m, struct slice piece, struct buf *out);

/* The input is at its end. */
void mail_lines_end(struct mail_lines *m, struct buf *out);

#endif
