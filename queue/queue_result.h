/*
 * queue_result: what came of an attempt: checked, cleaned, logged, turned into
 * a record of the log.  It takes effect when that is durable (queue_apply).
 */
#ifndef PP_QUEUE_RESULT_H
#define PP_QUEUE_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc.h"
#include "queue.h"
#include "queue_job.h"

/*
 * Results for recipients of this job.  False: the frame is malformed; nothing
 * was done.  The recipients leave the job.
 */
bool result_take(struct queue *q, struct job *job, struct slice results);

/* Give up this recipient, or (RCPT_NONE) all that wait: too old, or the administrator's wish. */
void result_give_up(struct queue *q, struct message *m, uint32_t index);

/* Record something that the administrator (or queue itself: UID_NONE) does to a message. */
bool result_action(struct queue *q, const struct message *m, enum ipc_action action, uint32_t uid,
    const char *text);

/* Control octets become '?': for whatever is kept and told on. */
struct slice result_clean(struct slice s, char *to, size_t size);

#endif
