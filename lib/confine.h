/*
 * confine: give up every privilege that a process does not need.
 *
 * One table (confine_policy.c) lists each kind of process of the suite: the
 * system calls it may use and what else it keeps.  confine_apply() is called
 * once, before the first byte from outside is read: it drops to the uid,
 * all capabilities, sets no_new_privs, Landlock and seccomp, in this order.
 * A refused system call raises SIGSYS; the handler logs its name and the
 * process dies (exit by signal), the master restarts it.
 */
#ifndef PP_CONFINE_H
#define PP_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum confine_kind {
	CONFINE_SMTPD,		/* network before login: no open, socket, connect, exec, fork */
	CONFINE_SMTPD_PARENT,	/* starts those; opens maps and connects Unix sockets for them */
	CONFINE_LOGIN,		/* front of imapd, pop3d: as SMTPD */
	CONFINE_BROKER,		/* connects Unix sockets for a front */
	CONFINE_QUEUE,		/* the spool, alone */
	CONFINE_DELIVER,	/* mailboxes and maps */
	CONFINE_DELIVER_PARENT,	/* root parent: fork, setuid, exec of alias commands (any program: see below) */
	CONFINE_RELAY,		/* outgoing TCP and DNS; no files but those open, no exec */
	CONFINE_AUTH,		/* its maps and its database */
	CONFINE_AUTH_PARENT,	/* root parent: forks PAM and crypt workers (any program) */
	CONFINE_AUTH_SPAWN,	/* the same where there is no PAM, so no root: forks crypt workers */
	CONFINE_AUTH_CRYPT,	/* hash check: two descriptors, nothing else */
	CONFINE_AUTH_PAM,	/* PAM modules: they exec and open what they like */
	CONFINE_LOGIN_PARENT,	/* root parent of imapd, pop3d: fork, setuid */
	CONFINE_IMAP_USER,	/* one user's Maildir */
	CONFINE_POP3_USER,
	CONFINE_LOGGER,		/* copies lines to the log file */
	CONFINE_MASTER,		/* starts all the others (any program), as root where the suite is */
	CONFINE_KINDS
};

/*
 * The any-program kinds (DELIVER_PARENT, AUTH_PARENT, AUTH_PAM, MASTER): a filter
 * stays for good, in all children and what they exec.  So these refuse only
 * what an ordinary program never needs (ptrace, bpf, mount, unshare, io_uring
 * ...), with EPERM; they may make connections.  They too reach no file but
 * those below `path`: give "/" with ACCESS_ALL where programs of users are run.
 * MASTER has no Landlock: it is to reach every folder of the suite.
 *
 * no_new_privs holds for all of them: a set-uid program gains nothing.
 */

/* RUN: read and run programs.  WRITE: read, create, rename, remove below too.  ALL: both. */
enum confine_access { ACCESS_READ, ACCESS_RUN, ACCESS_WRITE, ACCESS_ALL };

/* A folder or file that stays reachable; fd (O_PATH or any) was opened beforehand. */
struct confine_path {
	int			 fd;
	enum confine_access	 access;
};

#define CONFINE_PATHS 8
#define CONFINE_PORTS 8

struct confine {
	enum confine_kind	kind;
	uid_t			uid;	/* (uid_t)-1: stay who we are (not root) */
	gid_t			gid;
	struct confine_path	path[CONFINE_PATHS];
	size_t			path_n;
	/* RELAY: TCP ports it may connect to (kernels since 6.7); none given: any.  Others: no TCP connections at all. */
	uint16_t		port[CONFINE_PORTS];
	size_t			port_n;
};

/* Add a path; false if there is no room. */
bool confine_path(struct confine *c, int fd, enum confine_access access);
bool confine_port(struct confine *c, uint16_t port);

/*
 * Apply it all.  For a kind that keeps root (the *_PARENT kinds when uid is
 * (uid_t)-1 and we are root) capabilities are reduced to those its work needs.
 * Other kinds are refused when they would stay root.  Returns false and says in
 * `why` what could not be done; the caller must then end (log_fatal).  A kernel
 * that merely has no Landlock is no failure: "landlock=0" says so; then, when
 * started as root, a user's process has its one folder as its root (chroot=1),
 * so it must have closed all other folders.
 * Logs one line: "sandbox: kind=smtpd uid=64200 chroot=0 seccomp=24 landlock=7"
 * (for users' processes, which come and go, only with debugging on).
 *
 * Started as root: the process is not dumpable.  Else it belongs to the caller
 * anyway, and `pennypost privs` could not look at it.
 */
bool confine_apply(const struct confine *c, char *why, size_t why_size);

/* "smtpd", "imap-user" ... ; parse returns false if there is none such. */
const char *confine_kind_name(enum confine_kind kind);
bool confine_kind_parse(const char *name, enum confine_kind *out);
/* Number of system calls that the policy allows; of the any-program kinds, how many it refuses. */
size_t confine_syscalls(enum confine_kind kind);
bool confine_any_program(enum confine_kind kind);

/*
 * What confine_apply() did, for `pennypost privs`.  The kernel shows uid,
 * capabilities, no_new_privs and seccomp of a process in /proc/PID/status but
 * not its Landlock rules, so the process keeps them in a sealed memfd that
 * nobody can alter any more, not even itself; this reads that of another
 * process through /proc/PID/fd.  Lines of text:
 *
 *	kind smtpd
 *	landlock 7
 *	chroot 0
 *	network none | any | port N...
 *	read PATH			(several)
 *	run PATH			read, and run programs
 *	write PATH			read, create, rename, remove
 *	all PATH			write, and run programs
 *	syscalls read write ...		names, in the order of the policy
 *	refused ptrace bpf ...		instead of it for any-program kinds
 *
 * Returns false if the process has none, is gone, or may not be looked at.
 */
struct buf;
bool confine_record_read(pid_t pid, struct buf *out);

/*
 * For tests, after confine_apply(): try what a broken-into process would try:
 * "open:PATH" and "read:PATH" (read an octet), "write:PATH" (create),
 * "list:PATH", "stat:PATH", "connect:HOST:PORT" (numeric; refused by the peer counts as
 * allowed), "listen", "unix:PATH", "exec:PATH", "setuid:UID", "socket",
 * "unix-socket", "raw-socket", "fork", "ptrace", "unshare", "mmap-exec", "kill:PID", "chroot",
 * "mount", "keyctl", "bpf", "io-uring", "userfaultfd", "perf", "module",
 * "vm-read:PID".  Prints "ATTEMPT: allowed" or "ATTEMPT: refused: errno text" to
 * standard output and returns 0 or 1; 2: no such attempt.  Or SIGSYS ends us.
 */
int confine_probe(const char *attempt);

#endif
