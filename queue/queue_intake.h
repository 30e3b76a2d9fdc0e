/*
 * queue_intake: what a new message must be, whoever brings it: the checks of
 * its envelope, the Received: line of a local one, its record.
 */
#ifndef PP_QUEUE_INTAKE_H
#define PP_QUEUE_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "queue.h"
#include "verdict.h"

/* Is it here, or was it until a short while ago? */
bool intake_known(const struct queue *q, uint64_t qid);

/* "Received: by HOST (Pennypost, from userid N) id ...; date": what a local message begins with. */
void intake_received(const struct queue *q, uint64_t qid, uint32_t uid, struct buf *out);

/*
 * Check r (its texts; its rcpts field is not used) and the recipients, a list
 * of ipc rcpt, then append to the log with this cookie.  local: hints are not
 * believed and there are no more recipients than the configuration says.
 * OK: the log will tell (queue_log_ops).  Else *why says it; nothing was kept.
 */
enum verdict intake_append(struct queue *q, struct record_message *r, struct slice ipc_rcpts,
    struct slice content, bool local, uint64_t cookie, const char **why);

#endif
