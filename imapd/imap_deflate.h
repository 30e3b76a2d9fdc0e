/*
 * imap_deflate: a connection's octets in DEFLATE, both ways (RFC 4978).  Pure.
 *
 * What comes in is undone a piece at a time, and no further than what was made of
 * it is taken: a few octets that become gigabytes cost one piece of memory.
 */
#ifndef PP_IMAP_DEFLATE_H
#define PP_IMAP_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "slice.h"

struct imap_deflate;

/* Some 140 KB.  NULL: no memory. */
struct imap_deflate *imap_deflate_new(void);
void imap_deflate_free(struct imap_deflate *d);		/* NULL is fine */

/* What has been undone and not been taken, and taking of it. */
struct slice imap_deflate_plain(const struct imap_deflate *d);
void imap_deflate_taken(struct imap_deflate *d, size_t n);

/*
 * Undo the next piece, off the front of *data; call it when all plain octets have
 * been taken, until it makes none.  False: this is no DEFLATE, or its end.
 */
bool imap_deflate_more(struct imap_deflate *d, struct slice *data);

/* Append text compressed, so that all of it can be read at once.  False: out is full. */
bool imap_deflate_put(struct imap_deflate *d, struct slice text, struct buf *out);

#endif
