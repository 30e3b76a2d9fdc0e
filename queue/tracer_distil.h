/*
 * tracer_distil: follows the log and keeps its records, without content, in
 * segments of spool/trace (pennypost-spool(5)).
 *
 * Each batch of records ends with a position record: how far in the log it
 * goes.  A batch that a crash cut off has none, and is cut away and made again,
 * so that each record is kept once.  Old segments go when what is in them is
 * older than is to be kept.
 */
#ifndef PP_TRACER_DISTIL_H
#define PP_TRACER_DISTIL_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "queue_scan.h"

struct distil {
	int		 log_dirfd, trace_dirfd;
	uint64_t	 keep_usec;
	/* The log: read up to seq/offset, durable up to target_*. */
	uint64_t	 seq, offset;
	uint64_t	 target_seq, target_offset;
	int		 log_fd;
	struct scan_file log_file;
	struct scan	 scan;
	/* The history. */
	int		 out_fd;
	uint64_t	 out_seq, out_salt, out_size, out_lsn, out_made_usec;
	uint64_t	 kept_seq, kept_offset;		/* of the log: durable in the history */
	uint64_t	 synced_size;	/* of the segment written to */
	bool		 dirty;
	struct buf	 out, body;
};

/* Find where it was left.  False: the folder cannot be used. */
bool distil_open(struct distil *d, int log_dirfd, int trace_dirfd, uint64_t keep_usec);
void distil_close(struct distil *d);

/* The log is durable up to here. */
void distil_target(struct distil *d, uint64_t seq, uint64_t offset);

/* Take over some more; *more if there is more.  False: it cannot be written now. */
bool distil_step(struct distil *d, bool *more);
/* Make what was written durable. */
bool distil_sync(struct distil *d);

/*
 * The segments of the history: calls each with seq, salt, oldest first, until
 * it returns false.
 */
bool distil_each(int trace_dirfd, bool (*each)(void *ctx, uint64_t seq, uint64_t salt), void *ctx);

/* Remove the oldest segment if it is too old: its number, or 0. */
uint64_t distil_expire(struct distil *d);

#endif
