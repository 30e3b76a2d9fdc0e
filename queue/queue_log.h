/*
 * queue_log: the log of the spool, where everything becomes durable.
 *
 * What is appended during one turn of the loop is written with one call,
 * synced with one call, and only then applied and answered (group commit).
 * If writing or syncing fails, that segment is never trusted again: it is
 * closed, new messages of the batch are refused and cancelled by a record in
 * the next segment, what must be kept (results) is written there again.
 *
 * Segments are dropped from the oldest on, never from the middle: a record
 * that ends a message is never dropped before the record that began it.
 */
#ifndef PP_QUEUE_LOG_H
#define PP_QUEUE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "queue_record.h"
#include "queue_segment.h"
#include "slice.h"

struct event;
struct event_base;
struct queue_log;

enum log_class {
	LOG_INTAKE,	/* a new message: refused when space is short, cancelled when the write fails */
	LOG_MOVE,	/* may be given up when the write fails: nothing is lost */
	LOG_STATE	/* results, actions: kept until they are written */
};

/* A record that is durable now. */
struct log_applied {
	uint16_t	 type;
	struct slice	 body, content;	/* good until the next commit */
	struct segment	*segment;
	uint32_t	 offset;	/* of the record in it */
	uint64_t	 cookie;	/* as given */
};

struct queue_log_ops {
	void	(*applied)(void *ctx, const struct log_applied *a);
	/* A LOG_INTAKE or LOG_MOVE record was given up; why is for the log. */
	void	(*refused)(void *ctx, uint16_t type, struct slice body, uint64_t cookie, const char *why);
	/* All of a batch was applied (or refused): answer, hand out jobs. */
	void	(*committed)(void *ctx);
	/* A segment begins: append its first records with queue_log_opening(). */
	void	(*opening)(void *ctx);
};

struct log_item;

struct queue_log {
	int			 dirfd;		/* spool/log; borrowed */
	const struct queue_log_ops *ops;
	void			*ctx;
	uint64_t		 min_free;	/* octets to be left free on the file system */
	uint32_t		 segment_size;	/* of a new segment; grows while they fill quickly */

	struct segment		*first, *last;	/* oldest ... youngest; last is written to if its limit is not 0 */
	uint32_t		 segment_n;
	uint64_t		 octets;	/* size of all */
	uint64_t		 next_seq, next_lsn;

	struct buf		 batch;		/* records to be written, with room for their heads */
	struct log_item		*item;
	uint32_t		 item_n, item_size;
	struct buf		 recent;	/* the batch written last: its content is still wanted */
	struct segment		*recent_segment;
	uint32_t		 recent_offset;
	struct buf		 opening;	/* first records of a segment being begun */
	uint64_t		 records;	/* in the youngest segment */
	struct buf		 cancel;	/* qids to be cancelled in the next segment */

	uint64_t		 drop_after_seq;	/* none is dropped before one above this was begun */

	struct event		*turn_end, *soon;	/* commit at the end of this turn; after a while */
	bool			 turn_end_active, soon_active, committing;
	bool			 broken;	/* nothing can be written now */
	uint64_t		 retry_mono_usec;
	bool			 low;		/* less than min_free is free */
	uint64_t		 space_mono_usec;	/* when that was looked at */
	uint64_t		 synced_records;	/* figures */
	uint64_t		 syncs, octets_written;
	void			*zeros;		/* ZERO_AHEAD octets, never written to */
};

/* Sets defaults; base may be NULL (tests: queue_log_commit() is called by hand). */
bool queue_log_init(struct queue_log *l, int dirfd, const struct queue_log_ops *ops, void *ctx,
    struct event_base *base);
/* Sync and seal what is open; free. */
void queue_log_close(struct queue_log *l);

/* Replay found this segment: add it behind the others. */
void queue_log_add(struct queue_log *l, struct segment *s);

/*
 * Append a record to the batch.  urgent: to be committed at the end of this
 * turn; else within LOG_SOON_MS, or with the next urgent one.  False: refused
 * (no space, no memory, the log is broken), nothing will be called back.
 */
#define LOG_SOON_MS 20
bool queue_log_append(struct queue_log *l, enum log_class class, uint16_t type, struct slice body,
    struct slice content, uint64_t cookie, bool urgent);
/* Would a new message be refused now?  The reason, or NULL. */
const char *queue_log_refuses(struct queue_log *l);

/* For ops->opening and ops->refused. */
void queue_log_opening(struct queue_log *l, uint16_t type, struct slice body);
void queue_log_cancel(struct queue_log *l, uint64_t qid);

/* Write, sync, apply.  False if that failed (it will be tried again). */
bool queue_log_commit(struct queue_log *l);
/* Is there something to commit? */
bool queue_log_pending(const struct queue_log *l);

/*
 * Read a record back: body_len and content_len as they were written.  Views
 * into the last batch, or into *into.  False: it cannot be read, or its
 * checksums are wrong.
 */
bool queue_log_read(struct queue_log *l, const struct segment *s, uint32_t offset, struct buf *into,
    struct record_head *head, struct slice *body, struct slice *content);

/* Remove the oldest segment if nothing in it is wanted any more; true if it was. */
bool queue_log_drop_first(struct queue_log *l);

/* Look whether there is room again; called by a timer. */
void queue_log_check_space(struct queue_log *l);

#endif
