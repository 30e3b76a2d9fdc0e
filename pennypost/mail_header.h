/*
 * mail_header: what sendmail looks at and changes in the header of a message
 * that it is given.  Pure.  Lines end in CRLF (mail_lines.h).
 */
#ifndef PP_MAIL_HEADER_H
#define PP_MAIL_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "slice.h"

/*
 * Octets of text that are header: whole fields with their continuation lines,
 * up to an empty line or one that is no field.  *ended: such a line was seen
 * (else the header may go on when more comes); *blank: it was an empty one.
 * from: what an earlier call with less text returned, 0 at first.
 * A "From " line of mbox files at the very beginning is part of the header.
 */
size_t mail_header_end(struct slice text, size_t from, bool *ended, bool *blank);

struct mail_header {
	bool		resent;		/* there are Resent- fields: they count, not the others */
	bool		from, date, message_id;	/* there is one (of the Resent- kind, if resent) */
	struct slice	id;		/* body of Message-ID:, trimmed; a view into the text */
};

/*
 * Look through a header.  kept gets it again without "From " lines and, if
 * drop_bcc, without Bcc: and Resent-Bcc:.  False when kept is full.
 */
bool mail_header_scan(struct slice header, bool drop_bcc, struct mail_header *out, struct buf *kept);

/*
 * The recipients in To:, Cc: and Bcc: (resent: in their Resent- kind).  take
 * is called for each; false from it ends the search.  *bad: an address could not be read.
 */
bool mail_header_rcpts(struct slice header, bool resent, bool (*take)(void *ctx, struct slice addr), void *ctx, bool *bad);

/* "From: ..." value: name (UTF-8, may be empty) and address; encoded (RFC 2047) or quoted as needed. */
void mail_header_from(struct buf *out, struct slice name, struct slice addr);

#endif
