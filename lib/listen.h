/*
 * listen: the listening sockets of the suite, bound by the master or by a
 * daemon that was started by hand.
 */
#ifndef PP_LISTEN_H
#define PP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "conf.h"

/* An inner socket in run_dir: who listens, who may connect (DESIGN.md section 3). */
struct listen_inner {
	const char	*name;		/* "queue-submit" */
	const char	*owner;		/* account of the listener; "root" */
	const char	*group;		/* account whose group may connect; "root" */
	mode_t		 mode;
};
/* The table, ended by a NULL name. */
extern const struct listen_inner listen_inner[];
const struct listen_inner *listen_inner_find(const char *name);

/*
 * Bind and listen: an address of a service (IPv4, IPv6 only, or a Unix socket
 * for LMTP, mode 0660), or an inner socket below run_dirfd with its owner and
 * mode.  Non-blocking, close-on-exec.  -1 with errno; EADDRINUSE is the usual one.
 */
int listen_service(const struct conf *conf, const struct conf_listen *l);
int listen_inner_socket(const struct conf *conf, int run_dirfd, const struct listen_inner *i);

#endif
