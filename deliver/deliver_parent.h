/*
 * deliver_parent: the process that stays root.  It forks processes under the
 * uids of users for the worker, and does nothing else: it reads no mail, no
 * file of a user and nothing from the network.  Whom it forks for, it looks up
 * in the maps and passwd itself.
 */
#ifndef PP_DELIVER_PARENT_H
#define PP_DELIVER_PARENT_H

#include <sys/types.h>

#include "daemon.h"

/* Runs until the worker has ended or SIGTERM came; returns the exit code.  fd: socket to the worker. */
int deliver_parent_main(struct daemon *d, int map_dirfd, int fd, pid_t worker);

#endif
