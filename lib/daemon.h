/*
 * daemon: what every daemon does the same way: options, configuration, sockets
 * from the master, systemd or inetd, confinement, signals, readiness, the loop.
 *
 * The master starts daemons just as systemd does: LISTEN_FDS, LISTEN_FDNAMES,
 * NOTIFY_SOCKET.  Started by neither (by hand), a daemon binds what the
 * configuration says itself.
 *
 * Options of all daemons: -C FILE, -d (debug, foreground, stderr), -n (check
 * the configuration: exit 0 or 78), -V; fronts also -i (inetd: the connection
 * is fd 0) and -S NAME (which service it is: smtps and the like mean implicit TLS),
 * and --probe ATTEMPT (tests: confine, then confine_probe()).
 *
 * Reload (SIGHUP): the master starts a new process on the same sockets and
 * sends the old one SIGUSR2 when the new one is ready.  Without a master
 * (systemd), daemon_start() has forked: a small parent keeps the pid that
 * systemd knows, and does the same.  A bad configuration leaves the old process
 * in place.  queue and auth, whose databases have one owner, are ended first, then started.
 */
#ifndef PP_DAEMON_H
#define PP_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf.h"
#include "confine.h"
#include "log.h"

struct event_base;

#define DAEMON_SOCKETS 32
#define DAEMON_RETIRE_S 1800	/* sessions of before a reload may go on for so long */

struct daemon_socket {
	int	fd;
	char	name[32];	/* "smtp", "imaps", "queue-submit" ... */
	bool	connection;	/* a connection, not a listener: inetd or Accept=yes */
};

struct daemon {
	const char	*name;		/* "smtpd" */
	const char	*account;	/* "smtpd", "login" ...: with user_prefix the account it runs as */
	char		*conf_path;
	bool		 debug, check_only, inetd, by_master;
	bool		 own_log;	/* fd 2 was the connection; it is now what log-to names */
	enum log_sink	 log_sink;	/* what fd 2 is */
	const char	*inetd_service;	/* -S, default by the port of the socket */
	const char	*probe;		/* --probe */

	struct conf	 conf;
	struct daemon_socket socket[DAEMON_SOCKETS];
	size_t		 socket_n;

	int		 run_dirfd;	/* O_PATH of run_dir */
	uid_t		 uid;		/* of the account; (uid_t)-1 when not started as root */
	gid_t		 gid;

	struct event_base *base;
	int		 notify_fd;	/* connected NOTIFY_SOCKET, or -1 */
	uint64_t	 watchdog_usec;
	/*
	 * SIGUSR2: a new process has the sockets (a reload).  Nothing new is
	 * taken, sessions go on as if nothing had happened; DAEMON_RETIRE_S later
	 * it is as SIGTERM, as it is at once where this is NULL.
	 */
	void		(*retire)(void *ctx);
	bool		 retired;
	bool		 draining;	/* SIGTERM came: finish what is begun, take nothing new */
	void		(*drain)(void *ctx);	/* called once on SIGTERM */
	void		*drain_ctx;	/* of both */
	void		*internal;	/* of daemon.c */
};

/*
 * Options, configuration, log, descriptors.  Exits itself for -n, -V and on
 * mistakes (78 for the configuration).  account: see struct daemon.
 * sockets: NULL-terminated names of listeners this daemon wants: those of
 * services come from the configuration, others ("queue-submit") are Unix
 * sockets in run_dir with the modes of daemon_socket_mode().
 */
void daemon_start(struct daemon *d, const char *name, const char *account,
    const char *const *sockets, int argc, char **argv);

/* The socket of that name, or -1; with n: the nth of that name (a service may have several addresses). */
int daemon_socket(const struct daemon *d, const char *name, size_t n);

/* uid and gid of an account of the suite ("queue", "vmail" ...): the system's <prefix><name>, else
 * a fixed number from uid_base; (uid_t)-1 both when we are not root. */
void daemon_account(const struct conf *conf, const char *account, uid_t *uid, gid_t *gid);
/*
 * The uid that a peer of this account has: the account's where it exists, a
 * number from uid_base when we are root, else our own (everything under one
 * user).  Call it before confinement.  A peer with our own uid, or root, is of
 * the suite as well.
 */
uid_t daemon_peer_uid(const struct conf *conf, const char *account);
/* All account names in the order that gives their numbers, NULL at the end. */
extern const char *const daemon_accounts[];

/* Open a folder with O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC below the configuration's folders; exits on failure. */
int daemon_open_dir(const struct daemon *d, const char *path);

/* Confine this process (with --probe: then probe and exit).  Exits if it cannot. */
void daemon_confine(struct daemon *d, struct confine *c);

/* READY=1 / STATUS=... to whoever started us. */
void daemon_ready(struct daemon *d);
void daemon_status(struct daemon *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Lines of the log go out at the end of each turn of the loop (log_batch()).  daemon_run() does it. */
void daemon_log_batch(struct daemon *d);

/* Run the loop of d->base until daemon_end(); returns the exit code. */
int daemon_run(struct daemon *d);
void daemon_end(struct daemon *d, int code);

/*
 * In a child that was forked and goes its own way: a new event base, no notify
 * socket, the log under its own name.  The sockets stay (workers share them);
 * who must not have them calls daemon_close_sockets().
 */
void daemon_child(struct daemon *d, const char *name);
void daemon_close_sockets(struct daemon *d);

/* Microseconds since 1970, and of a clock that never jumps. */
uint64_t now_usec(void);
uint64_t now_mono_usec(void);

#endif
