/*
 * imap_envelope: ENVELOPE, BODY and BODYSTRUCTURE of a message (RFC 3501
 * section 7.4.2), made of what lib/mime finds in it.
 *
 * Pure: a message in, text out.  Any message gives a well-formed answer.
 */
#ifndef PP_IMAP_ENVELOPE_H
#define PP_IMAP_ENVELOPE_H

#include <stdbool.h>

#include "buf.h"
#include "mime.h"
#include "slice.h"

/*
 * Append the parenthesized list.  When it does not fit in out, out->full is
 * set and what was appended is of no use: imap_put_no_envelope() and
 * imap_put_opaque_body() are what a client is then told.
 */
void imap_put_envelope(struct buf *out, struct slice header);
void imap_put_no_envelope(struct buf *out);

/* extended: BODYSTRUCTURE; else BODY. */
void imap_put_structure(struct buf *out, const struct mime *m, bool extended);
void imap_put_opaque_body(struct buf *out, struct mime_size size);

#endif
