/*
 * uidlist: pennypost-uidlist, the index of one folder (pennypost-store(5)).
 * Private to lib/store.
 *
 * A header, then records that are only ever appended, each with a checksum and
 * with the UIDNEXT that holds after it, so that the last record tells enough to
 * append the next.  What the file promises:
 *
 *  - A UID is given to one base name, once.  UIDNEXT never falls: not by a
 *    crash (a torn tail is cut off and UIDNEXT raised above what it may have
 *    held), not by compaction.
 *  - An ADD is written only after the directory entry of the file is durable.
 *    So a name that is in the index was delivered, though the file be gone.
 *
 * Writers hold the lock (flock on the file) from uidlist_lock() to
 * uidlist_unlock(); readers need none.  The file is replaced by rename when it
 * is compacted: uidlist_lock() and uidlist_changed() notice.
 */
#ifndef PP_STORE_UIDLIST_H
#define PP_STORE_UIDLIST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "qid.h"
#include "slice.h"
#include "store.h"

#define UIDLIST_FILE		"pennypost-uidlist"
#define UIDLIST_HEADER		32		/* octets */
#define UIDLIST_RECORD_MIN	24
#define UIDLIST_RECORD_MAX	32768
#define UIDLIST_PAST_KEEP_S	(14 * 86400)	/* queue ids are remembered so long after the message is gone */

enum uidlist_type {
	UIDLIST_ADD = 1,	/* a message */
	UIDLIST_GONE = 2,	/* the message of that UID was removed, or somebody saw it missing */
	UIDLIST_PAST = 3,	/* queue ids of messages that were here; made by compaction */
	UIDLIST_RECENT = 4,	/* messages from this UID on are \Recent to whoever opens next */
	UIDLIST_SIZE = 5,	/* the size as CRLF of a message whose name does not tell */
	UIDLIST_NEXT = 6,	/* only raises UIDNEXT and the highest modseq */
	UIDLIST_FLAGS = 7,	/* the message's file has these letters now */
	UIDLIST_VANISHED = 8,	/* UIDs that are gone; made by compaction */
	UIDLIST_UIDL = 10,	/* the POP3 UIDL that another server gave the message (in past) */
	UIDLIST_SYNC = 9,	/* cur/ and new/, with these stamps, hold what the records before say, nothing else */
};

/* What changes when a directory does: its ctime, which no tool can set back, and its inode. */
struct uidlist_stamp {
	int64_t		sec;
	uint32_t	nsec;
	uint64_t	ino;	/* 0: none */
};

/* Of the letters in `upper`: where the file is, and whether its name is another than base:2,LETTERS. */
#define UIDLIST_LETTERS	((1u << 26) - 1)
#define UIDLIST_IN_NEW	(1u << 31)
#define UIDLIST_ODD	(1u << 30)

/* UIDs from, from + 1 ... (n of them) were seen to be gone with that modseq.  n = 0: what
 * went with modseq or a lower one is not remembered any more. */
struct uidlist_vanished {
	uint32_t	from, n;
	uint64_t	modseq;
};

struct uidlist_past {
	uint64_t	qid;
	uint32_t	rcpt;
	uint32_t	day;	/* when it was gone, days since 1970 */
};

struct uidlist_record {
	enum uidlist_type type;
	bool		 synced;	/* ADD: we wrote the content and fsynced it */
	uint32_t	 uid;
	uint32_t	 uidnext;	/* after this record */
	int64_t		 when;		/* ADD: INTERNALDATE; GONE: when; seconds since 1970 */
	uint64_t	 size;		/* ADD: octets of the file, 0: not known */
	uint64_t	 crlf_size;	/* ADD, SIZE: as CRLF, 0: not known */
	struct slice	 name;		/* ADD: base name; a view into the reader's buffer */
	struct slice	 past;		/* PAST: packed, uidlist_past_next(); VANISHED: uidlist_vanished_next() */
	uint64_t	 modseq;	/* ADD, FLAGS, GONE: of this change; others: the highest so far.
					 * 1: written before there were any */
	uint32_t	 upper, lower;	/* ADD, FLAGS: letters of the file's name, UIDLIST_IN_NEW ... */
	int64_t		 saved;		/* ADD: when it came into this folder, 0: not known */
	uint64_t	 object;	/* ADD: of the message that this is a copy of, 0: of none */
	bool		 tagged;	/* has the five fields above */
	struct uidlist_stamp stamp[2];	/* SYNC: of cur, new */
};

struct uidlist {
	int		 dir;		/* of the folder; borrowed */
	int		 fd;		/* -1: not open */
	dev_t		 dev;
	ino_t		 ino;
	uint32_t	 seed;		/* of this file's checksums */
	uint32_t	 uidvalidity;
	uint32_t	 uidnext;	/* as far as read */
	uint32_t	 recent;	/* first UID that is \Recent to the next who opens */
	uint32_t	 id;		/* with UIDVALIDITY: of the folder (OBJECTID); 0: made before there were any */
	uint64_t	 modseq;	/* the highest given, as far as known */
	uint64_t	 seen_modseq;	/* ... in records that were read or appended here */
	uint64_t	 end;		/* octets read and understood */
	uint64_t	 synced;	/* known to be durable up to here */
	bool		 locked;
	bool		 damaged;	/* uidlist_read() met something that is no record */
	uint32_t	 records, dead;	/* read so far; of them those compaction would drop */
};

/*
 * Open it: STORE_NONEXISTENT if there is none, STORE_EXISTS if it is there but
 * its header is not readable (replace it with uidlist_create(..., true)).
 */
enum store_error uidlist_open(struct uidlist *u, int dir);
void uidlist_close(struct uidlist *u);

/* Make an empty one, durable; if another process was quicker that is no error.  Open it then. */
enum store_error uidlist_create(int dir, uint32_t uidvalidity, bool replace);

/* Has the file grown since the last read, or been replaced (then: close, open, read all again)? */
enum uidlist_state { UIDLIST_SAME, UIDLIST_GROWN, UIDLIST_REPLACED };
enum uidlist_state uidlist_changed(const struct uidlist *u);

/*
 * Read on from u->end and call fn for each record; stops at the end or at what
 * is no record (u->damaged: an append that is going on, or real damage: take the
 * lock, read again, and if it is still there uidlist_repair()).
 */
enum store_error uidlist_read(struct uidlist *u, void (*fn)(void *ctx, const struct uidlist_record *r), void *ctx);

/* What is in the file now does not matter: go on reading behind it. */
void uidlist_skip(struct uidlist *u);

/*
 * Take the lock.  *replaced: the file is another one now; u is as after
 * uidlist_open(), so all has to be read again.  Waits STORE_LOCK_WAIT_MS at most.
 */
enum store_error uidlist_lock(struct uidlist *u, bool *replaced);
void uidlist_unlock(struct uidlist *u);

/* With the lock: set u->uidnext and u->modseq, u->recent is not touched, from the last record
 * alone if it tells.  False: there is damage, read it all. */
bool uidlist_tail(struct uidlist *u);

/* With the lock, after uidlist_read() said damaged: cut off a torn tail, or drop what is
 * damaged in the middle (the file is replaced; *replaced then as for uidlist_lock()). */
enum store_error uidlist_repair(struct uidlist *u, bool *replaced);

/*
 * Compose records for uidlist_append(); put_add gives the UID (u->uidnext++).
 * With the lock.  append writes all of b at the end with one write; when the
 * disk is full, whole records that got in stay, nothing else.
 */
uint32_t uidlist_put_add(struct uidlist *u, struct buf *b, struct slice base, int64_t date,
    uint64_t size, uint64_t crlf_size, bool synced);
void uidlist_put_gone(struct uidlist *u, struct buf *b, uint32_t uid, int64_t when);
/* An ADD as r has it, but for its UID, which is given here. */
uint32_t uidlist_put_new(struct uidlist *u, struct buf *b, const struct uidlist_record *r);
/* modseq 0: the one of this change; else it stays what it was: only the place of the file changed. */
void uidlist_put_flags(struct uidlist *u, struct buf *b, uint32_t uid, uint32_t upper, uint32_t lower, uint64_t modseq);
void uidlist_put_sync(struct uidlist *u, struct buf *b, const struct uidlist_stamp stamp[2]);
/*
 * With the lock, after uidlist_tail() or having read all: the modseq of the changes whose
 * records are composed next; the put functions use u->modseq.  It is the time in
 * microseconds or, if that is not higher than the last, one more than that: so none is
 * given twice even when a power cut takes the last records back, which need no sync.
 */
uint64_t uidlist_next_modseq(struct uidlist *u);
void uidlist_put_recent(struct uidlist *u, struct buf *b, uint32_t uid);
void uidlist_put_size(struct uidlist *u, struct buf *b, uint32_t uid, uint64_t crlf_size);
enum store_error uidlist_append(struct uidlist *u, const struct buf *b);

/* Have the disk hold n more octets ready, so that appending them cannot fail for want of space. */
enum store_error uidlist_reserve(struct uidlist *u, size_t n);

/* Make all that was read or appended durable. */
enum store_error uidlist_sync(struct uidlist *u);

/* Somebody else made it durable (syncfs). */
void uidlist_synced(struct uidlist *u);

/* Rewrite without what is dead, when that is worth it; takes the lock itself and holds it
 * through one sync.  *replaced as for uidlist_lock(). */
enum store_error uidlist_compact(struct uidlist *u, bool *replaced);

/* Is or was a message of that queue id and recipient in the folder?  Reads all of it; an answer
 * of "no" counts only if u->damaged is not set. */
enum store_error uidlist_knows(struct uidlist *u, struct qid qid, uint32_t rcpt, bool *known);

/* Take the next element off a PAST or VANISHED record's list; false at its end. */
bool uidlist_past_next(struct slice *past, struct uidlist_past *out);
bool uidlist_vanished_next(struct slice *packed, struct uidlist_vanished *out);

/*
 * UIDs gone with a higher modseq than `since`, ascending, joined; free() *out.  *floor: what
 * went with a modseq up to this is not remembered.  Reads all of the file.
 */
enum store_error uidlist_vanished(const struct uidlist *u, uint64_t since, struct uidlist_vanished **out, size_t *n,
    uint64_t *floor);

/*
 * Pure: one record at the front of bytes.  Its length, or 0 if there is none.
 * For the reader, and for the fuzzer.
 */
size_t uidlist_parse(uint32_t seed, struct slice bytes, struct uidlist_record *out);

#endif
