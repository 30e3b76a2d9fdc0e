/*
 * queue_ledger: where every recipient went.
 *
 *	accepted + injected + generated + expanded =
 *	delivered + relayed + bounced + discarded + queued
 *
 * holds at all times.  Each record of the log changes the ledger by what
 * stands in it alone, so that the sum can be compared with the messages
 * that are really there.
 */
#ifndef PP_QUEUE_LEDGER_H
#define PP_QUEUE_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc.h"
#include "queue_record.h"

/* A message of this origin with n recipients came (or, undone, never came). */
void ledger_message(struct record_ledger *l, enum ipc_origin origin, uint32_t n);
void ledger_undo_message(struct record_ledger *l, enum ipc_origin origin, uint32_t n);

/* One recipient ended, or (targets) became others; DEFERRED changes nothing. */
void ledger_result(struct record_ledger *l, enum record_channel channel, enum ipc_outcome outcome,
    uint32_t targets);

/* Left side less right side: 0, or something was lost or counted twice. */
int64_t ledger_difference(const struct record_ledger *l);

#endif
