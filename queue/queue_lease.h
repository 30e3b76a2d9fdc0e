/*
 * queue_lease: ids for messages to come.  They are made from the clock and
 * only grow, also over restarts and when the clock is set back: a mark in the
 * log, ahead of what is given out, says where the next start must begin.
 */
#ifndef PP_QUEUE_LEASE_H
#define PP_QUEUE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "qid.h"
#include "queue.h"

/* The first of `count` ids (1 at least).  If the log cannot be written they are given out all the same:
 * the clock alone then says that they are not given out again. */
uint64_t queue_lease(struct queue *q, uint16_t count);
/* One for ourselves. */
struct qid queue_lease_one(struct queue *q);
/* Begin, with what replay found. */
void queue_lease_open(struct queue *q);

/* Keep the mark ahead; called once a second. */
void queue_lease_tick(struct queue *q);
/* The record that says where the mark is, for a new segment. */
void queue_lease_record(struct queue *q);

#endif
