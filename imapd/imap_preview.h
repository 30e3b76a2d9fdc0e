/*
 * imap_preview: the first words of a message (RFC 8970).  Pure: a parsed message
 * in, UTF-8 out.
 */
#ifndef PP_IMAP_PREVIEW_H
#define PP_IMAP_PREVIEW_H

#include "buf.h"
#include "mime/mime.h"

#define IMAP_PREVIEW_CHARACTERS	200	/* section 3.1: at most 256 */

/*
 * Append the begin of the first text part, plain rather than HTML (of which the
 * tags go), blanks squeezed.  Nothing for a message without text.
 */
void imap_preview(const struct mime *m, struct buf *out);

#endif
