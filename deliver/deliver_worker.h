/*
 * deliver_worker: the process that takes jobs from queue, as pp-vmail.
 *
 *	deliver_worker	jobs in, results out, groups
 *	deliver_expand	what an address becomes
 *	deliver_maildir	mailboxes of virtual users
 *	deliver_child	what has to be done under another uid
 */
#ifndef PP_DELIVER_WORKER_H
#define PP_DELIVER_WORKER_H

#include "addr.h"
#include "daemon.h"
#include "deliver_child.h"
#include "deliver_job.h"
#include "deliver_maildir.h"
#include "ipc_conn.h"
#include "routes.h"

struct event;

struct worker {
	struct daemon	*d;
	int		 map_dirfd, mail_dirfd;
	struct routes	*routes;
	struct batch	*batch;		/* recipients of the group being made */
	struct children	*children;
	struct ipc_conn	*queue;		/* NULL: not connected */
	struct job	*jobs, **jobs_end;	/* all in hand, oldest first */
	struct job	*fresh;		/* the first of them that was not begun */
	unsigned	 credits;	/* slots to give back with the next job_ready */
	unsigned	 slow;		/* jobs that wait for another process */
	struct event	*go;		/* there is something to do */
	struct event	*reconnect;
	struct event	*rest;		/* unused Maildirs are closed */
	size_t		 files;		/* descriptors that we may have */
	unsigned	 retry_ms;
};

/* In the forked child; confines itself, writes an octet to ready_fd when it is, and runs. */
_Noreturn void deliver_worker_main(struct daemon *d, int map_dirfd, int mail_dirfd, int parent_fd, int ready_fd);

/* Confine as the worker (also for --probe). */
void deliver_worker_confine(struct daemon *d, int map_dirfd, int mail_dirfd);

/* deliver_expand.c: find out what a recipient becomes; again when an answer came. */
void expand_rcpt(struct worker *w, struct rcpt *r);
/* A file was read (or not): text is a memfd or -1, taken over. */
void expand_answer(struct worker *w, struct rcpt *r, enum child_ask ask, enum verdict verdict, struct slice text, int memfd);
void expand_forget(struct rcpt *r);

/* Deliver to a mailbox of ours now. */
void deliver_mailbox(struct worker *w, struct rcpt *r, const struct addr *a);

#endif
