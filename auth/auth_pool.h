/*
 * auth_pool: gives jobs to workers (auth_worker.h): a few at once, a bounded
 * number waiting, each with a time limit.
 */
#ifndef PP_AUTH_POOL_H
#define PP_AUTH_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth_worker.h"
#include "buf.h"
#include "ipc.h"
#include "slice.h"
#include "verdict.h"

struct event_base;
struct auth_pool;

struct auth_job {
	struct auth_job	*next;		/* the pool's */
	uint64_t	 queued_usec;	/* the pool's */
	struct buf	 frame;		/* crypt_check or pam_check; wiped and freed by the pool */
	/*
	 * Called once.  user: PAM_USER afterwards, a view; empty from crypt
	 * workers.  TEMP: the worker died, took too long, or could not tell.
	 */
	void		(*done)(struct auth_job *job, enum verdict verdict, enum ipc_auth_reason reason,
			    struct slice user);
};

struct auth_pool_setup {
	struct event_base		*base;
	const struct auth_keeper	*keeper;
	enum worker_kind		 kind;
	size_t				 workers;	/* at once, at most AUTH_POOL_WORKERS */
	size_t				 waiting;	/* jobs that wait, at most */
	unsigned			 timeout_ms;	/* of one job; then its worker is killed */
	unsigned			 jobs_per_worker; /* then it is replaced; 0: never */
};
#define AUTH_POOL_WORKERS 16

/* NULL: no memory. */
struct auth_pool *auth_pool_new(const struct auth_pool_setup *setup);
/* Waiting and running jobs are answered TEMP. */
void auth_pool_free(struct auth_pool *p);

/* Have this many workers ready before the first job comes. */
void auth_pool_warm(struct auth_pool *p, size_t workers);

/* Takes over the job until done() was called (never within this call).  False: too many wait; the frame is wiped. */
bool auth_pool_run(struct auth_pool *p, struct auth_job *job);

/* The keeper's answer to worker_start; takes over fd (-1: it could not).  False: the id is not of this pool. */
bool auth_pool_started(struct auth_pool *p, uint32_t id, int fd);

#endif
