/*
 * broker: a tiny process beside a front that may not call socket() or connect().
 *
 * Forked before the front confines itself; it connects to the Unix sockets of
 * the suite named at the start, and to no other, and passes the descriptor
 * back.  So a front can find queue and auth again after they were restarted.
 */
#ifndef PP_BROKER_H
#define PP_BROKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "confine.h"

struct broker {
	int	fd;	/* our end, non-blocking; readable when an answer is there */
	pid_t	pid;
};

/*
 * Fork it.  run_dirfd: folder of the sockets; names: NULL-terminated list of
 * those allowed, good as long as the broker lives; uid/gid to run as
 * ((uid_t)-1: unchanged).  It ends when our end is closed, and only then, so a
 * front that drains still has it.  Start it before the TLS key is read: it is a
 * copy of this process.
 */
bool broker_start(struct broker *b, int run_dirfd, const char *const *names, uid_t uid, gid_t gid);

/* Ask for a connection; the answer comes as readability of b->fd.  False: the broker is gone. */
bool broker_ask(struct broker *b, const char *name);

/*
 * Take one answer.  False if there is none (or the broker is gone: *gone).
 * name gets the name asked for; *fd the connection, or -1 if it was refused.
 */
bool broker_answer(struct broker *b, char *name, size_t size, int *fd, bool *gone);

#endif
