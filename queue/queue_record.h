/*
 * queue_record: the records of the spool's log, and nothing but their octets
 * (pennypost-spool(5) shows them).  No files, no clock, no state.
 *
 * A segment is a header of SEGMENT_HEADER octets and records, each at an
 * offset that divides by 8.  A record is a head of RECORD_HEAD octets, a body
 * (the fields below), and for messages with their content inline the content:
 *
 *	0	u32	RECORD_MAGIC
 *	4	u16	type		enum record_type
 *	6	u16	flags		0
 *	8	u64	lsn		number of the record in the whole log; only grows
 *	16	u32	body length
 *	20	u32	content length
 *	24	u32	checksum of the body
 *	28	u32	checksum of the content
 *	32	u32	checksum of octets 0 to 31
 *	36	u32	0
 *
 * Numbers are little-endian.  Checksums are CRC-32C that start from the salt
 * of the segment, 64 random bits that nobody outside knows: so content that
 * looks like a record is none, wherever a search for the next one lands.
 */
#ifndef PP_QUEUE_RECORD_H
#define PP_QUEUE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

#define SEGMENT_VERSION		1
#define SEGMENT_HEADER		64
#define RECORD_MAGIC		0x0a525150u	/* "PQR\n" */
#define RECORD_HEAD		40
#define RECORD_BODY_MAX		(24u * 1024 * 1024)	/* octets; a message of 50,000 recipients */
#define RECORD_CONTENT_MAX	(1024u * 1024)		/* more than that is a file of its own */
#define RECORD_RCPTS_MAX	50000u			/* of one message, expanded ones included */

/* ---- the segment's header ---- */

struct segment_header {
	uint32_t	version;
	uint64_t	seq;		/* number of the segment; only grows */
	uint64_t	salt;
	uint64_t	first_lsn;	/* of the first record in it */
	uint64_t	made_usec;	/* since 1970 */
	bool		trace;		/* of spool/trace: without content */
};
void segment_header_put(const struct segment_header *h, char out[SEGMENT_HEADER]);
/* False if it is none of ours or damaged.  A version above ours is returned as it is. */
bool segment_header_get(struct slice raw, struct segment_header *h);

/* ---- the record's head ---- */

struct record_head {
	uint16_t	type;
	uint64_t	lsn;
	uint32_t	body_len, content_len;
	uint32_t	body_crc, content_crc;
};
uint32_t record_crc(uint64_t salt, struct slice part);
uint32_t record_crc_start(uint64_t salt);	/* to go on with crc32c(), for what comes in pieces */
/* Octets that a record takes in the segment, padding included. */
uint64_t record_size(const struct record_head *h);
bool record_head_get(struct slice raw, uint64_t salt, struct record_head *h);
void record_head_put(const struct record_head *h, uint64_t salt, char out[RECORD_HEAD]);

/*
 * Append a whole record with its padding: body is what record_put_*() made.
 * False if out is full; nothing of it is then in out.
 */
bool record_frame(struct buf *out, uint64_t salt, uint16_t type, uint64_t lsn, struct slice body,
    struct slice content);

/* ---- the bodies ---- */

#define R8	UINT8_MAX
#define R16	UINT16_MAX
#define R32	UINT32_MAX
#define R64	UINT64_MAX

/* A message was taken in.  Its content follows, or is spool/large/<queue id>. */
#define RECORD_MESSAGE(F)						\
	F(u64,   qid,          R64, "queue id")				\
	F(u8,    origin,       3,   "enum ipc_origin")			\
	F(u8,    flags,        7,   "MESSAGE_* bits")			\
	F(u64,   received_usec, R64, "when the transaction began, since 1970") \
	F(u64,   arrival_usec, R64, "when it was taken in, since 1970")	\
	F(u64,   size,         R64, "octets of content")		\
	F(slice, sender,       320, "reverse-path, empty for <>")	\
	F(slice, envid,        100, "DSN ENVID")			\
	F(u8,    ret,          2,   "DSN RET: 0 not given, 1 FULL, 2 HDRS") \
	F(slice, login,        320, "authenticated user")		\
	F(slice, client_name,  255, "")					\
	F(slice, client_address, 64, "")				\
	F(slice, helo,         255, "")					\
	F(slice, protocol,     16,  "")					\
	F(slice, message_id,   998, "")					\
	F(u32,   uid,          R32, "of a local submitter; 4294967295: none") \
	F(u64,   parent,       R64, "DSN: the message it tells about; 0: none") \
	F(u8,    notice,       3,   "enum record_notice: what kind of DSN") \
	F(slice, about,        (RECORD_RCPTS_MAX * 4), "DSN: list of u32, the parent's recipients it tells about") \
	F(slice, rcpts,        RECORD_BODY_MAX, "list of rcpt; the first has number 0")
#define RECORD_RCPT(F)		/* element of message.rcpts */		\
	F(slice, addr,         320, "recipient")			\
	F(u8,    hint,         2,   "enum ipc_hint")			\
	F(u8,    notify,       15,  "NOTIFY_* bits")			\
	F(slice, orcpt,        500, "DSN ORCPT")

/* What came of an attempt, or of a decision about recipients of one message. */
#define RECORD_RESULTS(F)						\
	F(u64,   qid,          R64, "queue id")				\
	F(u64,   usec,         R64, "when, since 1970")			\
	F(u8,    channel,      2,   "enum record_channel: who did it")	\
	F(slice, results,      RECORD_BODY_MAX, "list of result")
#define RECORD_RESULT(F)	/* element of results.results */	\
	F(u32,   index,        R32, "number of the recipient")		\
	F(u8,    outcome,      4,   "enum ipc_outcome: done, deferred, failed, expanded, discarded") \
	F(u16,   attempts,     R16, "so far, this one included")	\
	F(u32,   next_utc,     R32, "deferred: seconds since 1970 of the next attempt") \
	F(slice, dsn,          16,  "enhanced code, RFC 3463")		\
	F(slice, relay,        300, "virtual, local, none, or host[address]:port") \
	F(slice, text,         1000, "what happened")			\
	F(slice, remote,       255, "host that said it")		\
	F(slice, targets,      RECORD_BODY_MAX, "expanded: list of target")
#define RECORD_TARGET(F)	/* element of result.targets: a new recipient */ \
	F(u32,   index,        R32, "its number")			\
	F(slice, addr,         320, "mailbox, address elsewhere, or action")	\
	F(u8,    remote,       1,   "to be relayed")			\
	F(u8,    new_sender,   1,   "sender replaces the envelope sender")	\
	F(slice, sender,       320, "")

/* The administrator did something. */
#define RECORD_ACTION(F)						\
	F(u64,   qid,          R64, "queue id")				\
	F(u64,   usec,         R64, "when, since 1970")			\
	F(u8,    action,       5,   "enum ipc_action")			\
	F(u32,   uid,          R32, "who; 4294967295: queue itself")	\
	F(slice, text,         300, "why, if it was queue itself")

/* A write failed: these messages were answered TEMP, whatever of them is in the segment before. */
#define RECORD_CANCEL(F)						\
	F(slice, qids,         RECORD_BODY_MAX, "list of u64")

/* A message that still waits, taken out of an old segment: replaces all records of it before this one. */
#define RECORD_MOVED(F)							\
	F(u64,   qid,          R64, "queue id")				\
	F(u8,    flags,        15,  "STATE_FLAG_* bits")		\
	F(u32,   next_index,   RECORD_RCPTS_MAX, "number of the next new recipient") \
	F(slice, rcpts,        RECORD_BODY_MAX, "list of state: recipients with something left to do") \
	F(slice, message,      RECORD_BODY_MAX, "body of its message record; content follows as there")
#define RECORD_STATE(F)		/* element of moved.rcpts */		\
	F(u32,   index,        R32, "number of the recipient")		\
	F(u8,    flags,        255, "RCPT_* bits")			\
	F(u16,   attempts,     R16, "so far")				\
	F(u32,   next_utc,     R32, "seconds since 1970 of the next attempt") \
	F(u32,   from,         R32, "the recipient of message that it comes from by aliases; itself if none") \
	F(slice, addr,         320, "recipient")			\
	F(u8,    notify,       15,  "NOTIFY_* bits")			\
	F(u8,    new_sender,   1,   "sender replaces the envelope sender")	\
	F(slice, sender,       320, "")					\
	F(slice, reason,       1400, "dsn, remote and text of the last attempt, each ended by LF")

/* Ids below this may have been given out. */
#define RECORD_LEASE(F)							\
	F(u64,   mark,         R64, "queue id")

/* The ledger as it stands before the next record; counts recipients. */
#define RECORD_LEDGER(F)						\
	F(u64,   accepted,     R64, "taken by SMTP and LMTP")		\
	F(u64,   injected,     R64, "by sendmail and the drop folder")	\
	F(u64,   generated,    R64, "DSNs of our own")			\
	F(u64,   expanded,     R64, "added by aliases, less the alias")	\
	F(u64,   delivered,    R64, "into mailboxes, files, commands")	\
	F(u64,   relayed,      R64, "to other hosts")			\
	F(u64,   bounced,      R64, "given up")				\
	F(u64,   discarded,    R64, "by a rule or the administrator, or a DSN that could not be delivered") \
	F(u64,   queued,       R64, "still here")			\
	F(u64,   first_seq,    R64, "segments before this one were done with")

/* The segment is whole and synced up to here; nothing follows. */
#define RECORD_SEAL(F)							\
	F(u64,   records,      R64, "in this segment, without this one")

/* In spool/trace only: records of the log up to this place stand before this one. */
#define RECORD_POSITION(F)						\
	F(u64,   seq,          R64, "segment of spool/log")		\
	F(u64,   offset,       R64, "octets in it")

#define RECORD_TYPES(T)							\
	/* name     type fields */					\
	T(message,  1,   RECORD_MESSAGE)				\
	T(results,  2,   RECORD_RESULTS)				\
	T(action,   3,   RECORD_ACTION)					\
	T(cancel,   4,   RECORD_CANCEL)					\
	T(moved,    5,   RECORD_MOVED)					\
	T(lease,    6,   RECORD_LEASE)					\
	T(ledger,   7,   RECORD_LEDGER)					\
	T(seal,     8,   RECORD_SEAL)					\
	T(position, 9,   RECORD_POSITION)
#define RECORD_ELEMENTS(E)						\
	E(rcpt,     RECORD_RCPT)					\
	E(result,   RECORD_RESULT)					\
	E(target,   RECORD_TARGET)					\
	E(state,    RECORD_STATE)

#define MESSAGE_8BIT		1	/* BODY=8BITMIME */
#define MESSAGE_IN_FILE		2	/* content is spool/large/<queue id> */
#define STATE_FLAG_HELD		1
#define STATE_FLAG_EXPIRE	2	/* to be given up at the next chance */
#define STATE_FLAG_DELETE	4	/* to be discarded at the next chance */
#define RCPT_FINAL		1	/* alias target: not to be expanded again */
#define RCPT_REMOTE		2	/* to be relayed */
#define RCPT_REPEAT		4	/* may have been done before: a crash came between */
#define RCPT_LIVE		8	/* not done yet */
#define RCPT_TELL_FAILURE	16	/* failed; a DSN is due */
#define RCPT_TELL_SUCCESS	32	/* done; a DSN was asked for and is due */
#define RCPT_TOLD_DELAY		64	/* the DSN about its delay was sent */
#define RCPT_RELAYED		128	/* done by relay: the success DSN says "relayed" */

enum record_notice { NOTICE_NONE, NOTICE_FAILURE, NOTICE_DELAY, NOTICE_SUCCESS };
enum record_channel { CHANNEL_DELIVER, CHANNEL_RELAY, CHANNEL_QUEUE };
#define UID_NONE UINT32_MAX

#define RECORD_FIELD_TYPE_u8	uint8_t
#define RECORD_FIELD_TYPE_u16	uint16_t
#define RECORD_FIELD_TYPE_u32	uint32_t
#define RECORD_FIELD_TYPE_u64	uint64_t
#define RECORD_FIELD_TYPE_slice	struct slice
#define RECORD_STRUCT_FIELD(type, name, limit, meaning)	RECORD_FIELD_TYPE_##type name;

/* struct record_NAME; put appends a body to out, get takes one apart (views into it). */
#define RECORD_DECLARE(name, number, FIELDS)				\
	struct record_##name { FIELDS(RECORD_STRUCT_FIELD) };		\
	bool record_put_##name(struct buf *out, const struct record_##name *m);	\
	bool record_get_##name(struct slice body, struct record_##name *m);
RECORD_TYPES(RECORD_DECLARE)
#define RECORD_ENUM(name, number, FIELDS)	RECORD_TYPE_##name = number,
enum record_type { RECORD_TYPES(RECORD_ENUM) };

/* Elements of lists: add appends one, next takes one off the front; *bad on a malformed one. */
#define RECORD_ELEMENT_DECLARE(name, FIELDS)				\
	struct record_##name { FIELDS(RECORD_STRUCT_FIELD) };		\
	bool record_add_##name(struct buf *list, const struct record_##name *m);	\
	bool record_next_##name(struct slice *list, struct record_##name *m, bool *bad);
RECORD_ELEMENTS(RECORD_ELEMENT_DECLARE)

/* Lists of plain numbers. */
bool record_add_u32(struct buf *list, uint32_t n);
bool record_next_u32(struct slice *list, uint32_t *n);
bool record_add_u64(struct buf *list, uint64_t n);
bool record_next_u64(struct slice *list, uint64_t *n);

/* "message", "results" ...; "unknown". */
const char *record_name(uint16_t type);

#endif
