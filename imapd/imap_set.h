/*
 * imap_set: sequence sets (RFC 3501 section 9, sequence-set), kept as ranges.
 *
 * "1:*,1:*,1:*" repeated a million times costs its own text and no more: sets
 * are never expanded, and resolving one sorts and merges its ranges.
 */
#ifndef PP_IMAP_SET_H
#define PP_IMAP_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "imap_pool.h"
#include "slice.h"

#define IMAP_STAR 0	/* '*' in a range that is not resolved yet */

struct imap_range {
	uint32_t	first, last;
};

struct imap_set {
	struct imap_range	*at;
	size_t			 n;
	bool			 saved;	/* "$": what SEARCH saved (RFC 5182); at and n are then nothing */
};

/*
 * Parse a sequence-set, or "$", at the front of *text, as far as it goes; *text is left
 * behind it.  The set lives in the pool.  False: no set, a number of 0 or
 * above 2^32-1, or the pool is full.
 */
bool imap_set_parse(struct slice *text, struct imap_pool *pool, struct imap_set *out);

/*
 * Give '*' its value (the highest number there is; 0: there is none), order
 * the ends of each range, sort and merge, in place.  Afterwards the ranges
 * are ascending and do not touch each other.  With max 0 and a '*' in it, that
 * range becomes empty and is left out.
 */
void imap_set_resolve(struct imap_set *set, uint32_t max);

/* Does the set hold a number above max, or a '*' while max is 0?  Before resolving. */
bool imap_set_beyond(const struct imap_set *set, uint32_t max);

/* Of a resolved set. */
bool imap_set_has(const struct imap_set *set, uint32_t n);

/*
 * Write numbers as a set: append n, given in any order, to *out, joining what
 * follows on ("1:3,7").  imap_set_end() must be called after the last.
 */
struct imap_set_writer {
	struct buf	*out;
	uint32_t	 first, last;	/* the range being collected; 0: none */
	bool		 comma;		/* something was written */
};
void imap_set_put(struct imap_set_writer *w, uint32_t n);
void imap_set_put_range(struct imap_set_writer *w, uint32_t first, uint32_t last);
void imap_set_end(struct imap_set_writer *w);

#endif
