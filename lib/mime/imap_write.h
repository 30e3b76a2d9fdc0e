/*
 * imap_write: values into the octets of a response (RFC 3501 section 9).
 *
 * Whatever a string holds, what is written is well-formed: quoted when it is
 * short printable ASCII, else a literal.  All append to a buf.
 */
#ifndef PP_IMAP_WRITE_H
#define PP_IMAP_WRITE_H

#include <stdint.h>

#include "buf.h"
#include "slice.h"

/* string: quoted or literal.  nstring: the same, or NIL when ptr is NULL. */
void imap_put_string(struct buf *out, struct slice s);
void imap_put_nstring(struct buf *out, struct slice s);
/* The same for UTF-8 that the client has said it can read (ENABLE): quoted where it can be. */
void imap_put_utf8(struct buf *out, struct slice s);
/* nstring, or literal8 where there is a NUL in it. */
void imap_put_nstring8(struct buf *out, struct slice s);
/* astring: an atom where it can be one. */
void imap_put_astring(struct buf *out, struct slice s);

/* Much quicker than buf_fmt(). */
void imap_put_number(struct buf *out, uint64_t n);

/* "17-Jul-1996 02:44:25 +0000", in quotes. */
void imap_put_date_time(struct buf *out, int64_t utc);

#endif
