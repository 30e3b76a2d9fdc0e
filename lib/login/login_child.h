/*
 * login_child: forking fronts and users' processes out of a parent that has an
 * event loop with signals (libevent keeps those in globals that a child shares).
 */
#ifndef PP_LOGIN_CHILD_H
#define PP_LOGIN_CHILD_H

#include <stddef.h>
#include <sys/types.h>

#include "daemon.h"

/* fork() with all signals held back; the child has to call login_child(). */
pid_t login_fork(void);

/*
 * In the child: close all descriptors above 2 but those in keep (-1 is passed
 * over), a new event base, signals as they are by default but for SIGPIPE,
 * SIGHUP, SIGINT and SIGUSR1 (ignored: these concern the parent), the log under
 * its own name.  The sockets of d are closed unless kept.
 */
void login_child(struct daemon *d, const char *program, const int *keep, size_t n);

/* SIGTERM as a readable descriptor, for after confinement; exits if there is none. */
int login_sigterm_fd(void);

#endif
