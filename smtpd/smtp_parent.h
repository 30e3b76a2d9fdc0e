/*
 * smtp_parent: starts the workers again when they die, hands them connections
 * to queue and auth and new maps.  Runs as pp-smtpd, may open the maps and
 * Unix sockets, and never reads a byte from a stranger.
 */
#ifndef PP_SMTP_PARENT_H
#define PP_SMTP_PARENT_H

#include "daemon.h"

/* The whole daemon after daemon_start(); returns the exit code. */
int smtp_parent_run(struct daemon *d);

#endif
