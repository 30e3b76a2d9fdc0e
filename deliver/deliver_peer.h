/*
 * deliver_peer: frames with the worker for processes that may wait: one user's
 * slowness is his own.
 */
#ifndef PP_DELIVER_PEER_H
#define PP_DELIVER_PEER_H

#include <stdbool.h>

#include "deliver_job.h"

struct peer {
	int		 fd;
	bool		 greeted;
	struct buf	 frame;
};

/* Says hello. */
bool peer_open(struct peer *p, int fd);

/*
 * Wait for the next frame (at most timeout_ms; -1 for ever; 0: what is there).
 * False: none came, or the worker is gone (*gone).  *passed: a descriptor, or -1.
 */
bool peer_next(struct peer *p, int timeout_ms, int *passed, bool *gone);

/* Send a frame; waits until the worker takes it.  pass_fd stays the caller's. */
bool peer_send(struct peer *p, struct slice frame, int pass_fd);

/* struct job.send: ctx is the peer. */
bool peer_send_results(void *ctx, const struct ipc_job_results *r);

/* The answer to deliver_file. */
bool peer_send_text(struct peer *p, uint32_t id, enum verdict verdict, const char *text, int memfd);

#endif
