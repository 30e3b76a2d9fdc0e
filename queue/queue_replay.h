/*
 * queue_replay: at start, the state of the queue out of the log.
 *
 * Every intact record counts, also behind a broken part; the broken part is
 * copied to spool/log/SEQ-OFFSET.bad and the log says so.  A segment that is
 * sealed was synced as a whole, so content in it is read only if something
 * about its records is odd.
 */
#ifndef PP_QUEUE_REPLAY_H
#define PP_QUEUE_REPLAY_H

#include <stdbool.h>

#include "queue.h"

/*
 * Read all segments; then q->messages, q->ledger and q->log are as before the
 * stop.  Ends the process if the log was written by a newer version, or if
 * there is no memory.  Call queue_replay_settle() when the log can be written.
 */
void queue_replay(struct queue *q);

/* Give every message its place in the schedule, write what was left to be written. */
void queue_replay_settle(struct queue *q);

/*
 * The records of one segment in their order, broken parts named first: the
 * part of it that is pure but for the source, for tests and the fuzzer.
 * Returns false if there is no memory.
 */
struct scan_source;
struct replay_ops {
	void	(*broken)(void *ctx, uint64_t from, uint64_t to);
	void	(*record)(void *ctx, uint16_t type, uint64_t lsn, struct slice body, uint32_t offset);
};
bool replay_segment(const struct scan_source *source, uint64_t salt, bool sealed,
    const struct replay_ops *ops, void *ctx);

#endif
