/*
 * queue_peer: connections that anybody on this machine may make: counted, so
 * that no user takes the places of the others.  A struct that begins with a
 * struct peer is one connection of queue-submit or queue-control.
 */
#ifndef PP_QUEUE_PEER_H
#define PP_QUEUE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc_conn.h"
#include "queue.h"

struct peer {
	struct peer	*next;
	struct queue	*queue;
	struct ipc_conn	*conn;
	uint32_t	 serial;	/* never used again by another one of the same list */
	uid_t		 uid;
	bool		 trusted;	/* by its uid */
};

struct peers {
	struct peer	*first;
	unsigned	 n;
	unsigned	 max;		/* at once; users have half of it */
	unsigned	 a_user;	/* of one uid that is none of ours */
	uint32_t	 last_serial;
};

/*
 * Take the connection fd: zeroed memory of `size` octets that begins with a
 * struct peer, in the list.  NULL: it was refused, and closed.
 */
struct peer *peer_accept(struct queue *q, struct peers *all, int fd, size_t size, size_t out_max,
    const struct ipc_conn_ops *ops);
/* Out of the list, its connection ended, its memory freed. */
void peer_free(struct peers *all, struct peer *p);

#endif
