/*
 * queue_segment: the files of spool/log, one a segment: their names, how they
 * are made, closed and removed.
 *
 *	SEQ-SALT.seg	16 hexadecimal digits each; SEQ only grows
 *	SEQ-OFFSET.bad	a broken part of segment SEQ, set aside (16 and 8 digits)
 */
#ifndef PP_QUEUE_SEGMENT_H
#define PP_QUEUE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

#define SEGMENT_NAME	48	/* octets, with the NUL */

struct segment {
	struct segment	*next;		/* the next younger one */
	uint64_t	 seq, salt;
	uint64_t	 newest_usec;	/* of the last record written to it; 0: from before the start */
	int		 fd;
	uint32_t	 size;		/* octets in use: written and synced */
	uint32_t	 limit;		/* octets allocated; 0: closed */
	uint32_t	 zeroed;	/* up to here the file was written, with zeros at least */
	uint32_t	 live;		/* messages whose record is in it */
	uint32_t	 pins;		/* other reasons to keep it (drop files not yet removed) */
	bool		 verify;	/* not known to be whole: whoever scans it checks content too */
};

void segment_name(uint64_t seq, uint64_t salt, char out[SEGMENT_NAME]);
bool segment_parse_name(const char *name, uint64_t *seq, uint64_t *salt);
void segment_bad_name(uint64_t seq, uint64_t offset, char out[SEGMENT_NAME]);
bool segment_is_bad_name(const char *name);

/*
 * Make a new file of `limit` octets, allocated so that writes within do not
 * run out of space, with a random salt.  The header is not yet in it, and the
 * folder not yet synced.  NULL with errno; nothing is left behind.
 */
struct segment *segment_create(int dirfd, uint64_t seq, uint32_t limit);

/* Nothing will be appended any more: cut it to what is in use.  False with errno: the rest stays, unused. */
bool segment_close(struct segment *s);

/* Remove the file, then free it; the folder is not synced.  False with errno: still there. */
bool segment_remove(int dirfd, struct segment *s);
void segment_free(struct segment *s);	/* closes the descriptor */

/*
 * Copy octets from..to of the segment's file into a .bad file, unless that is
 * there already (*made false).  False with errno.
 */
bool segment_set_aside(int dirfd, const struct segment *s, uint64_t from, uint64_t to, bool *made);

#endif
