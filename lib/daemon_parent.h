/*
 * daemon_parent: the small process that systemd knows when a daemon is not
 * under the master.  It holds the sockets, forks the daemon proper, starts a
 * new one on SIGHUP and retires the old one (SIGUSR2) when the new one is ready.
 */
#ifndef PP_DAEMON_PARENT_H
#define PP_DAEMON_PARENT_H

#include "daemon.h"

/*
 * Fork the daemon; returns in the child (each time), with d->notify_fd a
 * socket to the parent.  The parent itself never returns.
 *
 * reload: read and check the configuration again into *d and bind what is
 * new; false leaves the old process as it is.  exclusive: the old process
 * must have ended before a new one starts (queue: it owns the spool).
 */
void daemon_parent(struct daemon *d, bool (*reload)(struct daemon *d), bool exclusive);

#endif
