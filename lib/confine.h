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
#include <sys/types.h>

enum confine_kind {
	CONFINE_SMTPD,		/* network before login: no open, socket, connect, exec, fork */
	CONFINE_LOGIN,		/* front of imapd, pop3d: the same */
	CONFINE_BROKER,		/* connects Unix sockets for a front */
	CONFINE_QUEUE,		/* the spool, alone */
	CONFINE_DELIVER,	/* mailboxes and maps */
	CONFINE_DELIVER_PARENT,	/* root parent: fork, setuid, exec of alias commands */
	CONFINE_RELAY,		/* outgoing TCP and DNS; no files but those open, no exec */
	CONFINE_AUTH,		/* its maps and its database */
	CONFINE_AUTH_PARENT,	/* root parent: forks PAM and crypt workers */
	CONFINE_AUTH_CRYPT,	/* hash check: two descriptors, nothing else */
	CONFINE_AUTH_PAM,	/* PAM modules: they exec and open; no_new_privs unless unix_chkpwd is needed, no network listen */
	CONFINE_LOGIN_PARENT,	/* root parent of imapd, pop3d: fork, setuid */
	CONFINE_IMAP_USER,	/* one user's Maildir */
	CONFINE_POP3_USER,
	CONFINE_LOGGER,		/* copies lines to the log file */
	CONFINE_KINDS
};

enum confine_access { ACCESS_READ, ACCESS_WRITE };	/* WRITE: read, create, rename, remove below too */

/* A folder or file that stays reachable; fd (O_PATH or any) was opened beforehand. */
struct confine_path {
	int			 fd;
	enum confine_access	 access;
};

#define CONFINE_PATHS 8

struct confine {
	enum confine_kind	kind;
	uid_t			uid;	/* (uid_t)-1: stay who we are (not root) */
	gid_t			gid;
	struct confine_path	path[CONFINE_PATHS];
	size_t			path_n;
};

/* Add a path; false if there is no room. */
bool confine_path(struct confine *c, int fd, enum confine_access access);

/*
 * Apply it all.  For a kind that keeps root (the *_PARENT kinds when uid is
 * (uid_t)-1 and we are root) only the bounding set is reduced.  Returns false
 * and says in `why` what could not be done; the caller must then end
 * (log_fatal), unless the kernel merely has no Landlock, which is logged.
 * Logs one line: "sandbox: kind=smtpd uid=64200 seccomp=24 landlock=7".
 */
bool confine_apply(const struct confine *c, char *why, size_t why_size);

/* "smtpd", "imap-user" ... ; parse returns false if there is none such. */
const char *confine_kind_name(enum confine_kind kind);
bool confine_kind_parse(const char *name, enum confine_kind *out);
/* Number of system calls that the policy allows. */
size_t confine_syscalls(enum confine_kind kind);

/*
 * For tests, after confine_apply(): try what a broken-into process would try
 * ("open:/etc/shadow", "connect:127.0.0.1:25", "exec:/bin/sh", "setuid:0",
 * "socket", "fork", "ptrace", "unshare", "mmap-exec", "kill", "read:PATH",
 * "write:PATH").  Prints "allowed" or "refused: errno"; or SIGSYS ends us.
 */
int confine_probe(const char *attempt);

#endif
