/*
 * deliver_child: the worker's side of the processes that run under other uids
 * (deliver_user.h).  The root parent forks them on request.
 *
 * A mailbox process is kept for some seconds after its last mail.  Action
 * processes do one thing; of one user or one target at most
 * CHILD_ACTIONS are at work at once, others wait in line.
 */
#ifndef PP_DELIVER_CHILD_H
#define PP_DELIVER_CHILD_H

#include <stdbool.h>

#include "deliver_job.h"
#include "slice.h"
#include "verdict.h"

#define CHILD_ACTIONS	4

struct event_base;
struct children;

enum child_ask {
	ASK_CHECK,	/* mailbox process: is there a .forward?  OK or PERM */
	ASK_FILE,	/* action process: the text of a .forward or :include: */
	ASK_JOB,	/* either: deliver to this recipient */
};

struct children_ops {
	/* ASK_CHECK and ASK_FILE.  memfd: the text, now the callee's, or -1. */
	void	(*text)(void *ctx, struct rcpt *r, enum child_ask ask, enum verdict v, struct slice text, int memfd);
	/* ASK_JOB: the recipient has its result. */
	void	(*done)(void *ctx, struct rcpt *r);
	/* The root parent is gone. */
	void	(*orphaned)(void *ctx);
};

/* parent_fd is taken over.  NULL: no memory. */
struct children *children_new(struct event_base *base, int parent_fd, const struct children_ops *ops, void *ctx);

struct child_request {
	enum child_ask	 ask;
	bool		 action;	/* an action process */
	struct slice	 what;		/* as in deliver_spawn */
	struct slice	 path;		/* ASK_FILE: of the :include:, empty for .forward */
	struct slice	 detail;	/* ASK_CHECK, ASK_FILE */
	struct slice	 addr;		/* ASK_JOB: the recipient's address or action */
};

/*
 * Ask; the answer comes by ops (from within this call only if there is no
 * memory, so do nothing with r after it).  False: it cannot be asked.
 */
bool children_ask(struct children *c, const struct child_request *q, struct rcpt *r);

/* No answers for recipients of this job any more. */
void children_forget(struct children *c, const struct job *job);

#endif
