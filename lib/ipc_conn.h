/*
 * ipc_conn: one connection to another daemon on libevent: frames in by a
 * callback, frames out kept in order until the socket takes them.
 */
#ifndef PP_IPC_CONN_H
#define PP_IPC_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "slice.h"

struct event_base;
struct ipc_conn;

struct ipc_conn_ops {
	/* One frame (not the hello, which is checked here).  passed: a descriptor that came
	 * along, now the callee's, or -1.  False: it was malformed; the connection is closed
	 * and logged by name. */
	bool	(*frame)(struct ipc_conn *c, void *ctx, struct slice frame, int passed);
	/* The other side is gone, broke the protocol or does not read; called once.  ipc_conn_free may be called in it. */
	void	(*closed)(struct ipc_conn *c, void *ctx, const char *why);
	/* All that waited was sent; may be NULL.  ipc_conn_free may be called in it. */
	void	(*drained)(struct ipc_conn *c, void *ctx);
};

/*
 * Takes over fd (also on failure).  out_max: octets of frames that may wait to
 * be sent.  me: our name for the hello, which is sent at once.  NULL: no memory.
 */
struct ipc_conn *ipc_conn_new(struct event_base *base, int fd, const char *me, size_t out_max,
    const struct ipc_conn_ops *ops, void *ctx);
void ipc_conn_free(struct ipc_conn *c);	/* NULL is fine; may be called from its own callbacks */

/* Send a frame, with a descriptor to pass along (taken over) or -1.  False if it cannot be kept:
 * the connection is then closed (closed() follows from the loop). */
bool ipc_conn_send(struct ipc_conn *c, struct slice frame, int pass_fd);

/* Octets waiting; stop and go on reading (flow control). */
size_t ipc_conn_waiting(const struct ipc_conn *c);
void ipc_conn_pause(struct ipc_conn *c, bool paused);

/* What the other side calls itself in its hello; "" before that.  Not to be believed further than its uid. */
const char *ipc_conn_peer(const struct ipc_conn *c);

/* A second descriptor of the socket (close-on-exec), for another process to answer on; -1 with errno. */
int ipc_conn_dup(const struct ipc_conn *c);

/* End it from our side: closed() follows from the loop.  why must stay readable. */
void ipc_conn_end(struct ipc_conn *c, const char *why);

/* Put and send a message: IPC_CONN_SEND(c, job_ready, &m, -1). */
#define IPC_CONN_SEND(c, name, m, pass_fd) __extension__({		\
	struct buf ipc_out_;						\
	bool ipc_ok_;							\
	buf_init(&ipc_out_, IPC_FRAME_MAX);				\
	ipc_ok_ = ipc_put_##name(&ipc_out_, (m)) &&			\
	    ipc_conn_send((c), buf_slice_of(&ipc_out_), (pass_fd));	\
	buf_clear(&ipc_out_);						\
	ipc_ok_;							\
})

#endif
