/*
 * imap_name: mailbox names as the client says and hears them: modified UTF-7,
 * or UTF-8 after ENABLE IMAP4rev2 or UTF8=ACCEPT (RFC 9051 section 5.1, RFC 6855
 * section 3).  Inside, and in the store, they are modified UTF-7.
 */
#ifndef PP_IMAP_NAME_H
#define PP_IMAP_NAME_H

#include <stdbool.h>

#include "buf.h"
#include "imap_pool.h"
#include "slice.h"

/* UTF-8 in Normalization Form C (RFC 5198); false: it is not UTF-8, or no room. */
bool imap_name_normal(struct imap_pool *pool, struct slice utf8, struct slice *out);

/*
 * A name in UTF-8 as modified UTF-7, in the pool.  What is no UTF-8 becomes the
 * empty name, which no mailbox has.  False: no room.
 */
bool imap_name_in(struct imap_pool *pool, struct slice utf8, struct slice *out);

/* A name of the store as the client wants it; a string. */
void imap_put_name(struct buf *out, struct slice name, bool utf8);

#endif
