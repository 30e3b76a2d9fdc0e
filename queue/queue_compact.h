/*
 * queue_compact: keeps the log small.  The oldest segment goes when nothing in
 * it is wanted; when the whole log is much larger than the mail in it, what
 * still waits in the oldest segment is written again at the end.
 *
 * A little at a time, between other work, so that intake never waits long.
 */
#ifndef PP_QUEUE_COMPACT_H
#define PP_QUEUE_COMPACT_H

#include <stdbool.h>

#include "queue.h"

bool compact_init(struct queue *q);
void compact_clear(struct queue *q);

/* Once a second: is there something to do? */
void compact_tick(struct queue *q);

/* The administrator wants the log as small as it can be. */
void compact_all(struct queue *q);

/* A move was refused. */
void compact_refused(struct queue *q, struct slice body);

#endif
