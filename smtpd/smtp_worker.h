/*
 * smtp_worker: a process that talks to strangers.  It is forked, confines
 * itself (no files, no new sockets, no fork, no exec), and serves sessions.
 *
 * What it cannot do itself its parent does, over one pair of sockets
 * (ipc_messages.h): broker_connect "queue-submit" and "auth-smtp" are answered
 * with a connection; "routes.cdb" comes unasked whenever the map is new.
 */
#ifndef PP_SMTP_WORKER_H
#define PP_SMTP_WORKER_H

#include <stdint.h>

#include "daemon.h"
#include "login/login_limits.h"

struct smtp_worker_start {
	struct daemon		*daemon;
	struct login_limits	*limits;	/* shared */
	unsigned		 number;
	uint32_t		*beat;		/* shared: counted up while it turns */
	int			 parent_fd;	/* our end */
	int			 map_dirfd;
	int			 certificate_fd, key_fd;	/* -1: no TLS */
};

/* In the forked child.  Ends the process. */
_Noreturn void smtp_worker_run(const struct smtp_worker_start *start);

/*
 * The whole process is one connection: inetd, systemd with Accept=yes, UCSPI,
 * and --probe.  Returns the exit code.
 */
int smtp_single_run(struct daemon *d);

#endif
