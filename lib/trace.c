#include "trace.h"

static const char *const names[TRACE_KINDS] = {
	[TRACE_ACCEPTED] = "accepted",
	[TRACE_INJECTED] = "injected",
	[TRACE_GENERATED] = "generated",
	[TRACE_EXPANDED] = "expanded",
	[TRACE_DELIVERED] = "delivered",
	[TRACE_RELAYED] = "relayed",
	[TRACE_DEFERRED] = "deferred",
	[TRACE_BOUNCED] = "bounced",
	[TRACE_DISCARDED] = "discarded",
	[TRACE_NOTIFIED] = "notified",
	[TRACE_HELD] = "held",
	[TRACE_RELEASED] = "released",
	[TRACE_RETRIED] = "retried",
	[TRACE_EXPIRED] = "expired",
	[TRACE_DELETED] = "deleted",
	[TRACE_CANCELLED] = "cancelled",
};

const char *
trace_kind_name(unsigned kind)
{
	return kind < TRACE_KINDS ? names[kind] : "unknown";
}
