/*
 * queue_drop: takes in what sendmail left in spool/drop while queue was away
 * (lib/dropfile.h has the file and the procedure).  Looked at when a file
 * appears and once a minute.
 */
#ifndef PP_QUEUE_DROP_H
#define PP_QUEUE_DROP_H

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"

#define DROP_COOKIE	(UINT64_C(1) << 62)

/* Before confinement: watch the folder.  Without the folder nothing is done, ever. */
bool drop_init(struct queue *q);
void drop_clear(struct queue *q);

/* Take in what is there, a bounded number at a time; called by a tick, too. */
void drop_look(struct queue *q);
void drop_tick(struct queue *q);

/* The log is done with the record of this cookie; drop_flush() after the batch. */
void drop_done(struct queue *q, uint64_t qid, struct segment *segment);
void drop_flush(struct queue *q);
void drop_refused(struct queue *q, uint64_t qid);

#endif
