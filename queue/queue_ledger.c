#include "queue_ledger.h"

static uint64_t *
source(struct record_ledger *l, enum ipc_origin origin)
{
	switch (origin) {
	case ORIGIN_SMTP:
	case ORIGIN_LMTP:
		return &l->accepted;
	case ORIGIN_LOCAL:
		return &l->injected;
	case ORIGIN_GENERATED:
		break;
	}
	return &l->generated;
}

void
ledger_message(struct record_ledger *l, enum ipc_origin origin, uint32_t n)
{
	*source(l, origin) += n;
	l->queued += n;
}

void
ledger_undo_message(struct record_ledger *l, enum ipc_origin origin, uint32_t n)
{
	*source(l, origin) -= n;
	l->queued -= n;
}

void
ledger_result(struct record_ledger *l, enum record_channel channel, enum ipc_outcome outcome,
    uint32_t targets)
{
	switch (outcome) {
	case OUTCOME_DEFERRED:
		return;
	case OUTCOME_EXPANDED:	/* at least one: an alias that leads nowhere is discarded */
		l->expanded += targets - 1;
		l->queued += targets - 1;
		return;
	case OUTCOME_DONE:
		if (channel == CHANNEL_RELAY)
			l->relayed++;
		else
			l->delivered++;
		break;
	case OUTCOME_FAILED:
		l->bounced++;
		break;
	case OUTCOME_DISCARDED:
		l->discarded++;
		break;
	}
	l->queued--;
}

int64_t
ledger_difference(const struct record_ledger *l)
{
	return (int64_t)(l->accepted + l->injected + l->generated + l->expanded -
	    l->delivered - l->relayed - l->bounced - l->discarded - l->queued);
}
