#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define HELLO_WAIT_MS 5000	/* whoever is there at all says hello at once */

bool
client_send(struct client *c, struct buf *out, bool good, int pass_fd)
{
	enum ipc_io io = IPC_IO_ERROR;

	if (!good)
		errno = EMSGSIZE;
	while (good) {
		io = ipc_send(c->fd, buf_slice_of(out), pass_fd);
		if (io != IPC_IO_AGAIN)
			break;
		if (!ipc_wait(c->fd, true, CLIENT_WAIT_MS)) {
			errno = ETIMEDOUT;
			break;
		}
	}
	if (io == IPC_IO_CLOSED)
		errno = ECONNRESET;
	buf_clear(out);
	return io == IPC_IO_OK;
}

bool
client_recv(struct client *c, int timeout_ms, struct slice *frame, uint16_t *code, int *passed)
{
	enum ipc_io io;
	int fd = -1;

	for (;;) {
		io = ipc_recv(c->fd, &c->in, &fd);
		if (io != IPC_IO_AGAIN)
			break;
		if (!ipc_wait(c->fd, false, timeout_ms)) {
			errno = ETIMEDOUT;
			return false;
		}
	}
	if (passed != NULL)
		*passed = fd;
	else if (fd >= 0)
		(void)close(fd);
	if (io == IPC_IO_CLOSED)
		errno = ECONNRESET;
	if (io != IPC_IO_OK)
		return false;
	*frame = buf_slice_of(&c->in);
	if (ipc_code(*frame, code))
		return true;
	errno = EPROTO;
	return false;
}

static bool
say_hello(struct client *c)
{
	const struct ipc_hello own = { .version = IPC_VERSION, .program = SLICE("pennypost") };
	struct ipc_hello hello;
	struct slice frame;
	struct buf out;
	uint16_t code;

	buf_init(&out, IPC_FRAME_MAX);
	if (!client_send(c, &out, ipc_put_hello(&out, &own), -1) ||
	    !client_recv(c, HELLO_WAIT_MS, &frame, &code, NULL))
		return false;
	if (code == IPC_hello && ipc_get_hello(frame, &hello) && hello.version == IPC_VERSION)
		return true;
	errno = EPROTO;
	return false;
}

bool
client_open(struct client *c, const struct conf *conf, const char *name)
{
	int dirfd = open(conf->run_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), saved;

	*c = (struct client){ .fd = -1 };
	buf_init(&c->in, IPC_FRAME_MAX);
	if (dirfd < 0)
		return false;
	c->fd = ipc_connect(dirfd, name);
	saved = errno;
	(void)close(dirfd);
	errno = saved;
	if (c->fd >= 0 && say_hello(c))
		return true;
	saved = errno;
	client_close(c);
	errno = saved;
	return false;
}

void
client_close(struct client *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	buf_clear(&c->in);
}
