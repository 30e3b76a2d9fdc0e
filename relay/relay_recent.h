/*
 * relay_recent: what was delivered of late.  When the connection to queue breaks
 * (it was killed), results on the way are lost and the jobs come again; what is
 * found here is answered from memory and not sent twice.
 */
#ifndef PP_RELAY_RECENT_H
#define PP_RELAY_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc.h"

struct relay_recent;

/* NULL: no memory; the others then do nothing. */
struct relay_recent *relay_recent_new(void);

/* Remember a result with OUTCOME_DONE; the oldest goes. */
void relay_recent_add(struct relay_recent *r, uint64_t qid, const struct ipc_job_result *m);

/* The result of this recipient; views good until the next add. */
bool relay_recent_find(const struct relay_recent *r, uint64_t qid, uint32_t index, struct ipc_job_result *m);

#endif
