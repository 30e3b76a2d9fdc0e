/*
 * login_workers: the processes that a protocol daemon's parent forks to speak
 * with strangers, and its care for them: the start, READY when all are, another
 * one for one that died, orders, the end.  smtpd's workers and the fronts of
 * imapd and pop3d; what is special to each comes through ops.
 */
#ifndef PP_LOGIN_WORKERS_H
#define PP_LOGIN_WORKERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <event2/event_struct.h>

#include "daemon.h"
#include "ipc.h"
#include "login/login_limits.h"

struct ipc_conn;
struct login_workers;

/* One place for a worker; the owner may have it inside a struct of its own. */
struct login_slot {
	struct login_workers	*workers;
	unsigned		 number;
	pid_t			 pid;		/* -1: none */
	struct ipc_conn		*conn;		/* NULL: none */
	bool			 ready;		/* it has been so once */
	unsigned		 young;		/* how many in a row died soon after their start */
	uint64_t		 started_usec;	/* monotonic */
	uint64_t		 again_usec;	/* to be started then; 0: not waited for */
};

struct login_workers_ops {
	const char	*what;		/* in the log: "front", "worker" */
	bool		(*prepare)(struct login_slot *);	/* before the fork; false: not now */
	void		(*child)(struct login_slot *, int parent_fd);	/* in the child; never returns */
	bool		(*frame)(struct login_slot *, struct slice frame);	/* but front_ready; false: malformed */
	void		(*tick)(void *ctx, uint64_t now_usec);	/* once a second */
	/* These may be NULL.  The last three are of other children. */
	void		(*forked)(struct login_slot *);		/* in the parent; pid -1: it failed */
	void		(*died)(struct login_slot *);
	void		(*other_died)(void *ctx, pid_t pid, int status);
	bool		(*others_left)(void *ctx);
	void		(*kill_others)(void *ctx);
};

struct login_workers {
	struct daemon		*daemon;
	const struct login_workers_ops *ops;
	void			*ctx;
	struct login_limits	*limits;	/* shared with the workers */
	struct login_slot	*slot[LOGIN_WORKERS];
	unsigned		 n;
	struct event		 ev_child, ev_tick;
	bool			 ready;		/* all workers have been */
	bool			 draining;	/* who dies is not replaced; the daemon ends with the last */
};

/* daemon, ops, ctx and limits are set.  Before confinement; log_fatal() without memory. */
void login_workers_init(struct login_workers *all);
void login_workers_add(struct login_workers *all, struct login_slot *slot);
/* The first start of all; log_fatal() if one cannot be forked. */
void login_workers_start(struct login_workers *all);

/* Orders; fd (or -1) is passed on and closed. */
void login_workers_order(struct login_slot *slot, enum ipc_front_action action, int fd);
void login_workers_order_all(struct login_workers *all, enum ipc_front_action action);

/* Nothing new: listeners are closed, the order is given, and the daemon ends with the last child. */
void login_workers_wind_down(struct login_workers *all, enum ipc_front_action action);

/* Ends the daemon if it drains and no child is left. */
void login_workers_end_if_done(struct login_workers *all);

/* The loop has ended: wait for all children, who were told to end; at last kill them. */
void login_workers_end(struct login_workers *all);

/* "exit 1", "signal 31 (Bad system call)" */
const char *login_death(int status, char *out, size_t size);

#endif
