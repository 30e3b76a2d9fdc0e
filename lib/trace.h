/*
 * trace: the events that decide the fate of a message, as `pennypost trace`
 * shows them (IPC_TRACE_EVENT.kind).  queue keeps them for trace-keep after
 * the message is gone, without content.
 */
#ifndef PP_TRACE_H
#define PP_TRACE_H

enum trace_kind {
	TRACE_ACCEPTED,		/* from a client by SMTP or LMTP: host, sender, rcpt; text: protocol, login, Message-ID */
	TRACE_INJECTED,		/* by sendmail or the drop folder: text names the uid */
	TRACE_GENERATED,	/* by queue itself; other: the message it tells about */
	TRACE_EXPANDED,		/* rcpt came by an alias from orig_to */
	TRACE_DELIVERED,	/* into a mailbox, file or command */
	TRACE_RELAYED,		/* host took it */
	TRACE_DEFERRED,		/* an attempt failed for now */
	TRACE_BOUNCED,		/* given up */
	TRACE_DISCARDED,	/* by a rule, by the administrator, or with nobody to be told */
	TRACE_NOTIFIED,		/* the sender was told: other is the notification */
	TRACE_HELD,
	TRACE_RELEASED,
	TRACE_RETRIED,
	TRACE_EXPIRED,		/* the administrator gave it up */
	TRACE_DELETED,
	TRACE_CANCELLED,	/* its submitter was told 4xx: the log could not be written */
	TRACE_KINDS
};

/* "accepted", "delivered" ...; "unknown". */
const char *trace_kind_name(unsigned kind);

#endif
