#include "queue_peer.h"

#include <stdlib.h>
#include <unistd.h>

#include "queue_submit.h"

static bool
has_room(const struct queue *q, const struct peers *all, uid_t uid)
{
	unsigned n = 0;

	if (all->n >= all->max)
		return false;
	if (submit_trusted(q, uid))
		return true;
	for (const struct peer *p = all->first; p != NULL; p = p->next)
		n += p->uid == uid;
	return n < all->a_user && all->n < all->max / 2;
}

struct peer *
peer_accept(struct queue *q, struct peers *all, int fd, size_t size, size_t out_max, const struct ipc_conn_ops *ops)
{
	struct peer *p;
	uid_t uid;

	if (!ipc_peer_uid(fd, &uid) || !has_room(q, all, uid) || (p = calloc(1, size)) == NULL) {
		(void)close(fd);
		return NULL;
	}
	*p = (struct peer){ .next = all->first, .queue = q, .uid = uid, .trusted = submit_trusted(q, uid),
	    .serial = ++all->last_serial };
	p->conn = ipc_conn_new(q->daemon.base, fd, "queue", out_max, ops, p);
	if (p->conn == NULL) {
		free(p);
		return NULL;
	}
	all->first = p;
	all->n++;
	return p;
}

void
peer_free(struct peers *all, struct peer *p)
{
	struct peer **at = &all->first;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	all->n--;
	ipc_conn_free(p->conn);
	free(p);
}
