/*
 * queue_control: the administrator looks and steers (socket queue-control):
 * list, hold, release, retry, delete, expire, compact, export, trace, figures.
 *
 * Anybody on the machine may list; the rest is for root and for our own uid.
 * A list is sent as fast as it is read, a little at a time; it shows the queue
 * as it was when asked, less what is gone meanwhile.
 */
#ifndef PP_QUEUE_CONTROL_H
#define PP_QUEUE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"

bool control_init(struct queue *q);
void control_clear(struct queue *q);
/* A connection was accepted; takes over fd. */
void control_accept(struct queue *q, int fd);

/* After each batch: answer what was done by it. */
void control_committed(struct queue *q);

/* The tracer has answered the question of this id; or (told false) it died, and all that asked it are told so. */
void control_traced(struct queue *q, uint32_t id, bool told);

/* Compare the ledger with the messages; once a minute, and for the figures. */
void control_check_ledger(struct queue *q);

#endif
