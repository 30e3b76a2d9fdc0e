/*
 * queue_message: the messages in memory, and what each recipient waits for.
 *
 * Compact, for queues of hundreds of thousands: what is needed to decide, to
 * list and to find the record; the rest (content, client, DSN options) is read
 * from the log when it is needed.
 */
#ifndef PP_QUEUE_MESSAGE_H
#define PP_QUEUE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue_intern.h"
#include "queue_record.h"
#include "slice.h"

struct segment;

enum stage {
	STAGE_WAITING,	/* for next_utc */
	STAGE_READY,	/* in a task of its destination */
	STAGE_ACTIVE,	/* in a job that deliver or relay has */
	STAGE_DECIDED,	/* a record about it is on its way into the log */
	/* Nothing to be tried any more; a DSN may be due (RCPT_TELL_*): */
	STAGE_DONE,
	STAGE_EXPANDED	/* others took its place */
};

#define RCPT_NONE	UINT32_MAX

struct rcpt {
	uint32_t	addr;		/* where in the message's text */
	uint16_t	addr_len;
	uint16_t	attempts;
	uint32_t	next_utc;	/* seconds since 1970 */
	uint32_t	from;		/* recipient of the record that it comes from by aliases, or itself */
	uint32_t	reason;		/* id: message_reason_*() */
	uint32_t	sender;		/* id of '=' and the sender that replaces the envelope's; 0: none */
	uint32_t	link;		/* next of the same task or job, RCPT_NONE at the end */
	uint8_t		flags;		/* RCPT_* (queue_record.h) */
	uint8_t		notify;		/* NOTIFY_* */
	uint8_t		stage;		/* enum stage */
	uint8_t		losses;		/* connections that ended while it was active, in a row */
};

#define MESSAGE_HELD		STATE_FLAG_HELD
#define MESSAGE_EXPIRE		STATE_FLAG_EXPIRE
#define MESSAGE_DELETE		STATE_FLAG_DELETE
#define MESSAGE_LARGE		16	/* content is a file of its own */
#define MESSAGE_8BIT_BODY	32
#define MESSAGE_UNANSWERED	64	/* its submitter may ask again */
#define MESSAGE_TELLING		128	/* a DSN about it is on its way into the log */
#define MESSAGE_MOVING		8	/* its record is being moved */

struct message {
	uint64_t	 qid;
	uint64_t	 arrival_usec;
	uint64_t	 size;		/* octets of content */
	struct segment	*segment;	/* that holds its record */
	struct rcpt	*rcpt;		/* owned: rcpt_n of them, then text_len octets of text */
	uint32_t	 offset;	/* of the record in the segment */
	uint32_t	 body_len;	/* of the record */
	uint32_t	 rcpt_n;
	uint32_t	 next_index;	/* of the next new recipient: above rcpt_n while a record is on its way */
	uint32_t	 live;		/* recipients before STAGE_DONE */
	uint32_t	 tell;		/* recipients with a DSN due */
	uint32_t	 text_len;
	uint32_t	 heap_at;	/* place in the schedule's heap, RCPT_NONE: not in it */
	uint32_t	 due;		/* seconds since 1970: the first next_utc of those waiting */
	uint32_t	 busy;		/* tasks and jobs that point to it */
	uint16_t	 sender_len;	/* the text begins with the sender */
	uint8_t		 flags;		/* MESSAGE_* above */
	uint8_t		 origin;	/* enum ipc_origin */
};

struct message_chunk;

struct messages {
	struct message	**slot;		/* hash table by qid */
	uint32_t	 slot_n;	/* power of two */
	uint32_t	 n;
	struct message	*free;		/* chained through .segment */
	struct message_chunk *chunk;
	struct intern	 texts;		/* reasons and senders */
	uint64_t	 held;		/* messages with MESSAGE_HELD */
};

struct message *messages_find(const struct messages *t, uint64_t qid);

/*
 * Make one from its record, all recipients waiting and live.  NULL: there is
 * one of this id, the record is malformed, or no memory (*no_memory).
 */
struct message *messages_add(struct messages *t, const struct record_message *r, bool *no_memory);
void messages_remove(struct messages *t, struct message *m);
void messages_clear(struct messages *t);

/* The ids there are now, to be taken out in order while n > 0; the caller frees at.  False: no memory. */
struct message_ids {
	uint64_t	*at;
	size_t		 n;
};
bool messages_ids(const struct messages *t, struct message_ids *ids);
uint64_t messages_next_id(struct message_ids *ids);

/* Add recipients: numbers rcpt_n and on; each with its address.  False: no memory, nothing done. */
struct message_new_rcpt {
	struct slice	addr;
	struct rcpt	rcpt;	/* addr and addr_len are filled in */
};
bool message_add_rcpts(struct message *m, const struct message_new_rcpt *add, uint32_t n);

struct slice message_sender(const struct message *m);		/* of the envelope */
struct slice message_addr(const struct message *m, uint32_t index);
struct slice message_orig_to(const struct message *m, uint32_t index);
/* The sender in force for this recipient. */
struct slice message_rcpt_sender(const struct messages *t, const struct message *m, uint32_t index);
void message_set_sender(struct messages *t, struct rcpt *r, struct slice sender);

/* Why a recipient waits or was given up: kept as "dsn\nremote\ntext\n". */
struct reason {
	struct slice	dsn, remote, text;
};
void message_set_reason(struct messages *t, struct rcpt *r, const struct reason *why);
struct reason message_reason(const struct messages *t, const struct rcpt *r);

/* Take a recipient out of the living (STAGE_DONE or STAGE_EXPANDED); keeps m->live right. */
void message_rcpt_done(struct message *m, uint32_t index, enum stage stage);
/* Set and clear RCPT_TELL_*; keeps m->tell right. */
void message_tell(struct message *m, uint32_t index, uint8_t tell);
/* Nothing to be tried and nobody to be told: it can go. */
bool message_finished(const struct message *m);

/* Octets that all of it takes, for the figures. */
size_t messages_memory(const struct messages *t);

#endif
