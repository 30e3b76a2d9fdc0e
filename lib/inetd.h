/*
 * inetd: the one connection of a process that was started for it: by inetd
 * (nowait), by systemd (Accept=yes), or by a UCSPI server (tcpserver, s6), which
 * may give a pair of pipes and says in the environment who is at the other end.
 */
#ifndef PP_INETD_H
#define PP_INETD_H

#include <stdint.h>

#include "daemon.h"

struct inetd_connection {
	int		rfd, wfd;	/* non-blocking, above 2; the same for a socket; -1: there is none */
	char		remote[46];	/* the client's address as logged; "unix" if nobody says */
	char		local[46];	/* our own */
	char		name[256];	/* TCPREMOTEHOST; "" if nobody says */
	uint16_t	port;		/* that was connected to; 0 if nobody says */
};

/*
 * Take the socket named "connection" of daemon_start() off the standard
 * descriptors, so that its end is seen, and close all other sockets.  Without
 * one, out->rfd is -1.  Exits if it cannot.
 */
void inetd_take(struct daemon *d, struct inetd_connection *out);

#endif
