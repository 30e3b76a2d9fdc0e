/* queue_cmd: what sendmail shares with `pennypost queue`. */
#ifndef PP_QUEUE_CMD_H
#define PP_QUEUE_CMD_H

#include "cli.h"
#include "ipc.h"

/* Ask queue to hold, release, retry, delete; says what goes wrong.  count (may be NULL): messages changed. */
int queue_do(struct cli *c, const struct ipc_queue_do *request, uint64_t *count);

#endif
