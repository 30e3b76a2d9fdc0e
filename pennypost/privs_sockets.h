/* privs_sockets: which socket is behind "socket:[INODE]" of a process, from /proc/net. */
#ifndef PP_PRIVS_SOCKETS_H
#define PP_PRIVS_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

struct socket_info {
	uint64_t	inode;
	char		text[200];	/* "tcp 127.0.0.1:25 listening", "tcp 10.0.0.1:25 - 192.0.2.9:4711", "unix /run/x listening" */
};

/*
 * One line of /proc/net/tcp or tcp6 (and udp, udp6: name says which), or of
 * /proc/net/unix.  Pure.  False: a heading, or not understood.
 */
bool socket_parse_inet(struct slice line, const char *name, struct socket_info *out);
bool socket_parse_unix(struct slice line, struct socket_info *out);

/* All sockets of this machine (this network namespace); malloc'd, sorted by inode. */
struct socket_info *sockets_read(size_t *n);
const struct socket_info *sockets_find(const struct socket_info *all, size_t n, uint64_t inode);

#endif
