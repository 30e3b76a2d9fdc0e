/*
 * smtp_queue: messages on their way to queue (queue-submit, ipc_messages.h).
 *
 * Ids are leased in blocks.  Content up to IPC_INLINE_MAX travels in the
 * frame; more goes into a file that queue opened for this one message, and of
 * which we hold a write-only descriptor.  When the connection breaks before
 * the answer came, the frames are sent again under the same id on the next:
 * queue stores it once.  Whatever takes too long ends in TEMP, except a message
 * that queue may have by then: nobody knows, so nothing is said.
 */
#ifndef PP_SMTP_QUEUE_H
#define PP_SMTP_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"
#include "ipc.h"
#include "qid.h"
#include "smtp_link.h"
#include "verdict.h"

struct event_base;
struct smtp_queue;

struct smtp_queue *smtp_queue_new(struct event_base *base, const struct smtp_broker *broker);
void smtp_queue_free(struct smtp_queue *q);
struct smtp_link *smtp_queue_link(struct smtp_queue *q);

/* A message is likely to come: see that there is an id. */
void smtp_queue_prepare(struct smtp_queue *q);
/* Did queue say a moment ago that it is short of space? */
bool smtp_queue_low(const struct smtp_queue *q);

/* No connection will come any more: what waits for an answer that cannot come is told so. */
void smtp_queue_alone(struct smtp_queue *q);

struct smtp_submit;
/* Called from the loop, never out of a smtp_submit_ call; further calls may be made in them. */
struct smtp_submit_ops {
	void	(*id)(void *ctx, enum verdict v);	/* OK: submit->qid is set */
	void	(*file)(void *ctx, enum verdict v);	/* OK: submit->file_fd is open */
	void	(*result)(void *ctx, enum verdict v, bool low);
	/* Instead of result: it was sent, and no answer will come.  A 4xx would promise that it is not stored. */
	void	(*doubt)(void *ctx);
};

enum smtp_submit_state { SUBMIT_IDLE, SUBMIT_WANTS_ID, SUBMIT_OPEN, SUBMIT_WANTS_FILE, SUBMIT_WANTS_RESULT };

/* One message; lives in its session. */
struct smtp_submit {
	struct smtp_queue		*queue;
	const struct smtp_submit_ops	*ops;
	void				*ctx;
	TAILQ_ENTRY(smtp_submit)	 link;
	enum smtp_submit_state		 state;
	struct qid			 qid;
	int				 file_fd;	/* non-owner may write; -1: none */
	bool				 known;		/* queue keeps something under this id */
	bool				 offered;	/* frames were given to a connection */
	bool				 file_lost;	/* queue was restarted under it */
	uint64_t			 deadline_ms;
	struct buf			 frames;	/* u32 length and frame each; kept until the answer */
};

void smtp_submit_init(struct smtp_submit *s, struct smtp_queue *q, const struct smtp_submit_ops *ops, void *ctx);

/* Get an id.  True: there is one already; else ops->id() follows. */
bool smtp_submit_begin(struct smtp_submit *s);

/* Get a file; ops->file() follows. */
void smtp_submit_open_file(struct smtp_submit *s);
/* Write to it, all of it.  False with errno; the message is lost then (abort). */
bool smtp_submit_write(struct smtp_submit *s, struct slice data);

/*
 * Hand the message over: m as in the frame, but qid, in_file and rcpts are
 * filled in here; rcpts: the packed list, of any length.  ops->result() follows.
 * False: it does not fit or there is no memory; abort it.
 */
bool smtp_submit_send(struct smtp_submit *s, struct ipc_submit *m, struct slice rcpts);

/* Forget it, in whatever state; nothing more is called.  What was sent whole may still be accepted. */
void smtp_submit_abort(struct smtp_submit *s);

#endif
