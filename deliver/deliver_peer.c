#include "deliver_peer.h"

#include <poll.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"

#define SEND_WAIT_MS	60000

bool
peer_open(struct peer *p, int fd)
{
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = SLICE("deliver") };
	struct buf b;
	bool ok;

	*p = (struct peer){ .fd = fd };
	buf_init(&p->frame, IPC_FRAME_MAX);
	buf_init(&b, 256);
	ok = ipc_put_hello(&b, &hello) && peer_send(p, buf_slice_of(&b), -1);
	buf_clear(&b);
	return ok;
}

/* The worker's hello comes first.  True: this frame is for the caller. */
static bool
take(struct peer *p, bool *gone)
{
	struct ipc_hello hello;

	if (p->greeted)
		return true;
	p->greeted = true;
	if (!ipc_get_hello(buf_slice_of(&p->frame), &hello) || hello.version != IPC_VERSION)
		*gone = true;
	return false;
}

bool
peer_next(struct peer *p, int timeout_ms, int *passed, bool *gone)
{
	*gone = false;
	for (;;) {
		struct pollfd in = { .fd = p->fd, .events = POLLIN };

		switch (ipc_recv(p->fd, &p->frame, passed)) {
		case IPC_IO_OK:
			if (take(p, gone))
				return true;
			if (*passed != -1)
				(void)close(*passed);
			if (*gone)
				return false;
			break;
		case IPC_IO_AGAIN:
			if (timeout_ms == 0 || poll(&in, 1, timeout_ms) == 0)
				return false;
			break;
		case IPC_IO_CLOSED:
		case IPC_IO_ERROR:
			*gone = true;
			return false;
		}
	}
}

bool
peer_send(struct peer *p, struct slice frame, int pass_fd)
{
	for (;;) {
		switch (ipc_send(p->fd, frame, pass_fd)) {
		case IPC_IO_OK:
			return true;
		case IPC_IO_AGAIN:
			if (!ipc_wait(p->fd, true, SEND_WAIT_MS))
				return false;
			break;
		case IPC_IO_CLOSED:
		case IPC_IO_ERROR:
			return false;
		}
	}
}

bool
peer_send_results(void *ctx, const struct ipc_job_results *r)
{
	struct buf b;
	bool ok;

	buf_init(&b, IPC_FRAME_MAX);
	ok = ipc_put_job_results(&b, r) && peer_send(ctx, buf_slice_of(&b), -1);
	buf_clear(&b);
	return ok;
}

bool
peer_send_text(struct peer *p, uint32_t id, enum verdict verdict, const char *text, int memfd)
{
	const struct ipc_deliver_text m = {
		.id = id, .verdict = (uint8_t)verdict, .text = slice_sub(slice_of(text), 0, 300),
	};
	struct buf b;
	bool ok;

	buf_init(&b, 1024);
	ok = ipc_put_deliver_text(&b, &m) && peer_send(p, buf_slice_of(&b), memfd);
	buf_clear(&b);
	return ok;
}
