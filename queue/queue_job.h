/*
 * queue_job: the connections of deliver and relay.  They say how many jobs they
 * can take (credit), get jobs, and give results; one job is one message and
 * some of its recipients with the same destination.
 *
 * What a connection had when it ended is tried again, with the word that it
 * may have been done before.
 */
#ifndef PP_QUEUE_JOB_H
#define PP_QUEUE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"

/* Targets of an alias that came so far (job_result.more). */
struct job_part {
	struct job_part		*next;
	uint32_t		 index;
	struct buf		 targets;	/* list of ipc target */
};

/* A job that somebody has. */
struct job {
	struct job		*next;		/* of the same connection */
	struct job_conn		*conn;
	struct destination	*destination;
	uint64_t		 id;
	uint64_t		 qid;
	uint32_t		 first, left;	/* recipients without a result, chained by rcpt.link */
	uint64_t		 started_usec;
	uint64_t		 before_usec;	/* that the message took to come in */
	struct job_part		*part;
};

bool job_init(struct queue *q);
void job_clear(struct queue *q);
/* A connection was accepted; takes over fd. */
void job_accept(struct queue *q, enum record_channel channel, int fd);

/* Is there somebody with credit? */
bool job_possible(const struct queue *q, enum record_channel channel);

/*
 * Hand out recipients from the front of the task; they leave it.  False: the
 * message cannot be read (it is then held) or there is no memory.
 */
bool job_start(struct queue *q, struct destination *d, struct task *t);

/* Jobs that have no (full) result yet. */
uint32_t job_count(const struct queue *q);
/* End those that nobody should need so long for; called now and then. */
void job_check(struct queue *q);

#endif
