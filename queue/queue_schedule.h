/*
 * queue_schedule: which message is handed out when, and in which order.
 *
 * A message waits in a heap until the first of its recipients is due.  Those
 * due become a task of their destination: for relay the domain (or the one
 * smarthost), for deliver the mailbox, or "" for several at once.  Destinations
 * with tasks take turns, one job each; within one, messages take turns too.  A
 * destination that cannot be reached is left alone for a while, and its mail
 * goes back into the heap: it takes no slot from others.
 */
#ifndef PP_QUEUE_SCHEDULE_H
#define PP_QUEUE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "queue_message.h"

#define CHANNELS	2	/* CHANNEL_DELIVER, CHANNEL_RELAY */

struct conf;
struct event;
struct queue;

/* Recipients of one message for one destination, chained by rcpt.link. */
struct task {
	struct task		*next;
	struct message		*message;
	uint32_t		 first, last, n;
};

struct destination {
	struct destination	*chain;		/* of the hash table */
	struct destination	*next;		/* in its channel's ring */
	struct task		*first, **last;
	uint32_t		 tasks, active, limit;	/* active: jobs */
	uint32_t		 down_until;	/* seconds since 1970; 0: not down */
	uint16_t		 fails;		/* unreachable so many times in a row */
	bool			 in_ring;
	uint8_t			 channel;
	uint16_t		 name_len;
	char			 name[];
};

struct channel {
	struct destination	*first, **last;	/* ring: those with tasks, below their limit, not down */
	uint32_t		 tasks, active;
};

struct schedule {
	struct message		**heap;		/* by due, then qid */
	uint32_t		 heap_n, heap_size;
	struct destination	**slot;		/* hash table by channel and name */
	uint32_t		 slot_n, destination_n;
	struct channel		 channel[CHANNELS];
	struct event		*timer;
	bool			 running;
};

bool schedule_init(struct queue *q);
void schedule_clear(struct queue *q);

/* Something about it has changed: find its place in the heap, or out of it. */
void schedule_message(struct queue *q, struct message *m);
/* Out of the heap. */
void schedule_remove(struct schedule *s, struct message *m);

/* Turn what is due into tasks, and tasks into jobs as long as somebody takes them. */
void schedule_run(struct queue *q);

/* A job of d is over. */
void schedule_job_done(struct queue *q, struct destination *d);
/* What d said: could it be reached at all? */
void schedule_reached(struct queue *q, struct destination *d, bool reached);

/* Now and then: forget destinations that failed and that nothing goes to any more. */
void schedule_sweep(struct queue *q);

/* Forget that destinations are down (the administrator wants a retry now). */
void schedule_all_up(struct queue *q);

/* Seconds until the next attempt after so many. */
uint32_t schedule_delay(const struct conf *conf, unsigned attempts);
/* Seconds since 1970 at which this message is given up. */
uint64_t schedule_expiry(const struct conf *conf, const struct message *m);

#endif
