/*
 * master: the process that starts the daemons, watches them and ends them.
 *
 * It runs as root when the suite does, so it is small and does little: it
 * binds, forks, passes descriptors, sends signals and reads three things, the
 * configuration, notices of its own children and frames from root on its
 * control socket.  It never reads a byte from the network or of a user's.
 * Before it starts the first daemon it gives up the capabilities and system
 * calls that neither it nor any of them has a use for (CONFINE_MASTER).
 *
 * start_cmd.c		what is done before: folders, maps, the lock, into the background
 * master.c		the loop, and the end
 * master_reload.c	a changed configuration
 * master_daemon.c	one daemon: start, ready, died, back-off, end
 * master_sockets.c	all listening sockets
 * master_log.c		the logger process
 * master_control.c	the control socket
 * run_files.c		pid file, list of processes
 */
#ifndef PP_MASTER_H
#define PP_MASTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "conf.h"
#include "ipc.h"
#include "run_files.h"
#include "verdict.h"

#define MASTER_SOCKETS	64
#define MASTER_DAEMONS	8
#define MASTER_OLD	64	/* processes of before a reload that still have sessions */
#define MASTER_CLIENTS	8

#define READY_MSEC	30000	/* a daemon must be ready so long after its start */
#define BACKOFF_MAX_MSEC 30000
#define STEADY_MSEC	60000	/* ran so long: its next death is a first one again */
#define TERM_MSEC	5000	/* after SIGTERM: a second one */
#define KILL_MSEC	7000	/* then SIGKILL */
#define WATCHDOG_MSEC	60000

struct master;

struct master_socket {
	int	 fd;
	char	 name[32];
	char	*where;		/* owned: "127.0.0.1:25", a path; for comparing at a reload */
	bool	 keep;		/* the configuration being taken over wants it */
	bool	 fresh;		/* bound for the reload that is going on */
};

struct master_process {
	pid_t		pid;		/* 0: none */
	uint64_t	start;		/* as in proc.h */
};

struct master_daemon {
	const struct master_kind *kind;
	bool		 wanted;	/* has something to do with this configuration */
	enum ipc_daemon_state state;
	struct master_process now;
	struct master_process next;	/* reload: the new process, until it takes over */
	bool		 next_ready;
	bool		 begun;		/* in the reload that is going on */
	uint64_t	 since_usec;	/* start of `now`, since 1970 */
	uint64_t	 since_msec;	/* the same, monotonic */
	uint64_t	 due_msec;	/* monotonic: READY, back-off or SIGKILL; 0: nothing */
	uint64_t	 seen_msec;	/* last WATCHDOG=1 */
	bool		 watched;	/* it sends WATCHDOG=1 */
	bool		 term_again;
	unsigned	 deaths;	/* in a row */
	uint32_t	 restarts;
	char		 text[200];	/* its last end, or STATUS= */
};

/* What a daemon is: name, sockets. */
struct master_kind {
	const char	*name;
	const char	*sockets[6];	/* NULL-terminated */
	bool		 services;	/* not started when none of its sockets is configured */
	bool		 optional;	/* may be left uninstalled */
	bool		 exclusive;	/* reload: the old one has to end first */
};
extern const struct master_kind master_kinds[];

struct master_old {
	char			name[32];
	struct master_process	process;
};

enum master_phase { PHASE_START, PHASE_RUN, PHASE_RELOAD, PHASE_STOP, PHASE_END };

struct master_client {
	int		fd;		/* -1: free */
	struct buf	frame;
	bool		waits;		/* for the end of a reload */
};

struct master {
	char			*conf_file;	/* owned */
	struct conf		 conf;
	bool			 foreground;
	enum master_phase	 phase;
	size_t			 turn;		/* which daemon is being started, reloaded or ended */
	int			 exit_code;

	int			 run_dirfd, lock_fd, signal_fd, notify_fd;
	char			 notify_name[64];	/* for NOTIFY_SOCKET */
	int			 answer_fd;	/* to the waiting `start`, -1 */
	int			 stderr_fd;	/* where we were started */
	int			 up_fd;		/* NOTIFY_SOCKET of systemd, -1 */
	uint64_t		 up_watchdog_msec, up_due_msec;

	int			 log_pipe[2];	/* [1] is stderr of every daemon */
	struct master_process	 logger;
	uint64_t		 logger_due_msec;

	pid_t			 maps_pid;	/* compiling before a reload */
	struct conf		 fresh;		/* the configuration to take over */
	bool			 has_fresh;
	bool			 reload_failed;
	bool			 committed;	/* the new processes took over */
	char			 reload_text[400];	/* what went wrong, of a start too */

	struct master_socket	 socket[MASTER_SOCKETS];
	size_t			 socket_n;
	struct master_daemon	 daemon[MASTER_DAEMONS];
	size_t			 daemon_n;
	struct master_old	 old[MASTER_OLD];
	size_t			 old_n;

	int			 control_fd;
	struct master_client	 client[MASTER_CLIENTS];
};

uint64_t master_msec(void);		/* monotonic */

/* master.c: called by cmd_start(); returns the exit code when the suite has ended. */
int master_run(struct master *m);
void master_begin_stop(struct master *m, int exit_code);
void master_write_list(struct master *m);
void master_write_conf(const struct master *m);	/* the copy of what is in force */
void master_log_setup(const struct master *m);	/* the log borrows from m->conf */
/* Something ended or became ready: go on with what the phase is about. */
void master_go_on(struct master *m);

/* master_reload.c */
bool master_begin_reload(struct master *m, const char **why);
void master_reload_maps_done(struct master *m, int status);
void master_reload_go_on(struct master *m);

/* master_daemon.c */
void daemon_set_up(struct master *m);			/* which ones are wanted */
bool daemon_spawn(struct master *m, struct master_daemon *d);	/* fills d->now, or d->next when it runs already */
void daemon_notice(struct master *m, pid_t pid, const char *text);
/* A child was reaped; false: none of ours (adopted). */
bool daemon_reaped(struct master *m, pid_t pid, int status);
void daemon_term(struct master_daemon *d);		/* SIGTERM and a deadline for more */
void daemon_take_over(struct master *m, struct master_daemon *d);	/* d->next becomes d->now */
void daemon_tick(struct master *m, struct master_daemon *d, uint64_t now_msec);
uint64_t daemon_due(const struct master_daemon *d);	/* next deadline; 0 none */
void daemon_end_text(int status, char *out, size_t size);	/* "exit code 1", "signal 31 (policy violation ...)" */
void master_process_of(pid_t pid, struct master_process *out);

/* master_sockets.c: bind what conf wants and is not bound; false: `why` names the address and what to do. */
bool sockets_open(struct master *m, const struct conf *conf, char *why, size_t why_size);
/* After a reload: close what is no longer wanted, or, failed, what was bound for it. */
void sockets_settle(struct master *m, bool failed);
void sockets_close(struct master *m);

/* master_log.c */
bool logger_start(struct master *m, char *why, size_t why_size);
void logger_started_up(const struct master *m);	/* no more copies to where we were started */

/* master_control.c */
bool control_open(struct master *m);
void control_accept(struct master *m);
void control_read(struct master *m, struct master_client *c);
void control_reload_done(struct master *m, bool ok, const char *text);
void control_close(struct master *m);

#endif
