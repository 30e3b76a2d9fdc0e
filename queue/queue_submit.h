/*
 * queue_submit: messages come in, from smtpd, deliver, sendmail (socket
 * queue-submit).
 *
 * Anybody on the machine may connect.  Who is not smtpd or deliver is a local
 * user: origin and hints are decided here, content is checked, the Received:
 * line that names the uid is ours, and there are bounds for each user.
 */
#ifndef PP_QUEUE_SUBMIT_H
#define PP_QUEUE_SUBMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"
#include "verdict.h"

/* Before confinement: who is who. */
bool submit_init(struct queue *q);
void submit_clear(struct queue *q);
/* A connection was accepted; takes over fd. */
void submit_accept(struct queue *q, int fd);

/* Is this uid root's, ours, or that of a daemon that submits? */
bool submit_trusted(const struct queue *q, uid_t uid);

/*
 * The log is done with the record of this cookie: remember the verdict.
 * submit_answer() sends what was remembered, after the batch.
 */
#define SUBMIT_COOKIE	(UINT64_C(1) << 63)
void submit_done(struct queue *q, uint64_t cookie, uint64_t qid, enum verdict verdict, const char *why);
void submit_answer(struct queue *q);

#endif
