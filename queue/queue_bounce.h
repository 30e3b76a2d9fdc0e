/*
 * queue_bounce: telling the sender.  One notification for all recipients of a
 * message that have come to the same end, when no attempt is under way any
 * more; it and the word that they need no other are one record of the log, so
 * a crash neither loses nor repeats it.
 *
 * Never about a message with the null sender, never against NOTIFY=NEVER.
 */
#ifndef PP_QUEUE_BOUNCE_H
#define PP_QUEUE_BOUNCE_H

#include <stdbool.h>

#include "queue.h"

/* Write the notification that m needs first, if any; called again when it is durable. */
void queue_bounce(struct queue *q, struct message *m);

/* Its record was refused (no space): try again from queue_bounce_retry(). */
void queue_bounce_refused(struct queue *q, struct slice body);
/* Once a second: those that could not be written. */
void queue_bounce_retry(struct queue *q);

/* Is a notification about delay due (RFC 3461, NOTIFY=DELAY)? */
bool queue_bounce_delay_due(const struct queue *q, const struct message *m);

#endif
