/*
 * queue_apply: a record that is durable becomes state in memory.  The same
 * code runs at replay (queue->replaying) and in daily work, so that a restart
 * knows exactly what was known before.
 */
#ifndef PP_QUEUE_APPLY_H
#define PP_QUEUE_APPLY_H

#include "queue.h"

/* Returns false if the body is malformed although its checksum is right; nothing has changed then. */
bool queue_apply(struct queue *q, const struct log_applied *a);

/*
 * See what a message needs now: a place in the schedule, a DSN, or to be
 * removed (m is then gone).  Called when something about it has changed; not
 * at replay, which calls it for all of them at its end.
 */
void queue_settle(struct queue *q, struct message *m);

/* Take away a message without a trace (it was cancelled, or is replaced); frees m. */
void queue_forget(struct queue *q, struct message *m);

#endif
