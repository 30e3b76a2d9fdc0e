/*
 * queue_recent: ids of messages that are gone, but whose submitter may not
 * have got its answer and may send them again.  They are then answered OK and
 * not taken in a second time.
 */
#ifndef PP_QUEUE_RECENT_H
#define PP_QUEUE_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#define RECENT_USEC	UINT64_C(900000000)	/* nobody asks again after that */

struct queue;

void recent_add(struct queue *q, uint64_t qid);
bool recent_has(const struct queue *q, uint64_t qid);
void recent_clear(struct queue *q);

#endif
