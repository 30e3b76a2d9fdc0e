/* client: a command's conversation with a daemon over a socket of run_dir; it waits for answers. */
#ifndef PP_CLIENT_H
#define PP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "conf.h"
#include "ipc.h"

#define CLIENT_WAIT_MS 60000	/* for one answer */

struct client {
	int		fd;	/* -1: not open */
	struct buf	in;
};

/*
 * Connect to RUN_DIR/name and say hello.  False with errno: ENOENT or
 * ECONNREFUSED mean that nobody listens, EPROTO that it speaks another version.
 */
bool client_open(struct client *c, const struct conf *conf, const char *name);
void client_close(struct client *c);

/* Send and clear one frame; good is what ipc_put_*() returned.  False with errno. */
bool client_send(struct client *c, struct buf *out, bool good, int pass_fd);

/*
 * The next frame, good until the next call; code gets its code.  passed may be
 * NULL, a descriptor that comes is then closed.  False with errno (ETIMEDOUT, ECONNRESET, EPROTO).
 */
bool client_recv(struct client *c, int timeout_ms, struct slice *frame, uint16_t *code, int *passed);

#endif
