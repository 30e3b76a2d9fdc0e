/*
 * tracer_index: where in spool/trace each message is spoken of, by queue id,
 * Message-ID and address.  One Berkeley DB environment in state_dir/queue with
 * transactions; one database a segment of the history, so that old ones go
 * with their segment.  It can be made again from the history at any time, and
 * is, when anything about it is wrong.
 *
 *	t<seq>.db, duplicates sorted:
 *	'q' queue id (8, big-endian)		-> offset of a record (8, big-endian)
 *	'm' Message-ID without <>, cut to 200	-> queue id
 *	'a' address in lower case		-> queue id
 *	position.db: "position"			-> segment and offset indexed so far
 */
#ifndef PP_TRACER_INDEX_H
#define PP_TRACER_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "queue_scan.h"

struct index_db;	/* DB_ENV and its databases */

/*
 * Open the environment in the working folder; recover it.  If that fails, or
 * fresh: remove all files in dirfd (the same folder) and begin anew.  NULL:
 * even that failed.
 */
struct index_db *index_open(int dirfd, bool fresh);
void index_close(struct index_db *x);

/*
 * Index some more of the history, which is durable up to `size` octets of its
 * youngest segment; *more if there is more.  False: the database is damaged.
 */
bool index_step(struct index_db *x, int trace_dirfd, uint64_t size, bool *more);

/* The history has no such segment any more. */
bool index_forget(struct index_db *x, uint64_t seq);

/* What kind of key; the values of one key in one segment, in order, at most max.  False: damaged. */
bool index_find(struct index_db *x, uint64_t seq, char kind, struct slice key, uint64_t *out, size_t max,
    size_t *n);

/* A checkpoint, so that recovery and the logs stay short.  Now and then. */
bool index_checkpoint(struct index_db *x);

/* Keys from what people type. */
struct slice index_message_id(struct slice text);	/* without <>, cut */
struct slice index_address(struct slice text, char *to, size_t size);	/* lower case */

#endif
