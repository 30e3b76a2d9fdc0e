/*
 * queue_trace: queue's side of the tracer, a child process that keeps the
 * history (tracer.h).  Queue tells it up to where the log is durable, and
 * drops no segment before the tracer has taken out what it keeps.
 *
 * The tracer may die, or its database be damaged: it is started again, and
 * mail goes on without it.
 */
#ifndef PP_QUEUE_TRACE_H
#define PP_QUEUE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"

/* After confinement: start the tracer. */
bool trace_init(struct queue *q);
void trace_clear(struct queue *q);
/* Once a second. */
void trace_tick(struct queue *q);

/* Is all of segment seq, which has `size` octets, in the history? */
bool trace_has(const struct queue *q, uint64_t seq, uint32_t size);

/*
 * Let the tracer answer this question on fd, which is taken over.
 * control_traced() follows with the id: told, or not if the tracer died.
 * False: there is no tracer now.
 */
bool trace_ask(struct queue *q, struct slice key, uint32_t id, int fd);

#endif
