/*
 * queue_read: the parts of a message that are not kept in memory, from its
 * record in the log.
 */
#ifndef PP_QUEUE_READ_H
#define PP_QUEUE_READ_H

#include <stdbool.h>

#include "queue.h"

/*
 * The record and the inline content of m: views good until the next call or
 * commit.  False: it cannot be read or is damaged; nothing is done about it.
 */
bool queue_read(struct queue *q, const struct message *m, struct record_message *r, struct slice *content);

/* The same, and if it is damaged the message is put on hold and the log says so. */
bool queue_read_or_hold(struct queue *q, const struct message *m, struct record_message *r,
    struct slice *content);

/* Content as a descriptor at its beginning, a piece of memory; -1: there is none, or no memory. */
int queue_content_fd(struct slice content);

#endif
