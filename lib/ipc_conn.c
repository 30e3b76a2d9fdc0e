#include "ipc_conn.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"

#define FRAMES_A_TURN 64	/* then others get theirs */

struct waiting {
	struct waiting	*next;
	int		 pass_fd;
	size_t		 len;
	char		 frame[];
};

struct ipc_conn {
	int			 fd;
	struct event		*readable, *writable;
	const struct ipc_conn_ops *ops;
	void			*ctx;
	struct buf		 in;
	struct waiting		*first, **last;
	size_t			 waiting, out_max;
	bool			 greeted;	/* the peer's hello came */
	char			 peer[33];
	bool			 paused, broken, freed, busy;
	const char		*why;
};

static void
destroy(struct ipc_conn *c)
{
	struct waiting *next;

	for (struct waiting *w = c->first; w != NULL; w = next) {
		next = w->next;
		if (w->pass_fd != -1)
			(void)close(w->pass_fd);
		free(w);
	}
	if (c->readable != NULL)
		event_free(c->readable);
	if (c->writable != NULL)
		event_free(c->writable);
	buf_clear(&c->in);
	(void)close(c->fd);
	free(c);
}

void
ipc_conn_free(struct ipc_conn *c)
{
	if (c == NULL)
		return;
	c->freed = true;
	if (!c->busy)
		destroy(c);
}

/* Say it from the loop, so that a sender is never surprised in the middle of its work. */
static void
break_off(struct ipc_conn *c, const char *why)
{
	if (c->broken)
		return;
	c->broken = true;
	c->why = why;
	event_active(c->readable, EV_TIMEOUT, 0);
}

static bool
greet(struct ipc_conn *c, struct slice frame)
{
	struct ipc_hello hello;

	if (!ipc_get_hello(frame, &hello) || hello.version != IPC_VERSION) {
		break_off(c, "it speaks another version of the protocol: restart the daemon");
		return false;
	}
	c->greeted = true;
	(void)slice_text(hello.program, c->peer, sizeof(c->peer));
	return true;
}

static void
take_frame(struct ipc_conn *c, int passed)
{
	struct slice frame = buf_slice_of(&c->in);
	uint16_t code = 0;

	if (!c->greeted) {
		if (passed != -1)
			(void)close(passed);
		(void)greet(c, frame);
		return;
	}
	(void)ipc_code(frame, &code);
	if (!c->ops->frame(c, c->ctx, frame, passed) && !c->freed) {
		log_say(LOG_LEVEL_WARNING, "malformed or unexpected frame '%s' (0x%04x, %zu octets)",
		    ipc_name(code), code, frame.len);
		break_off(c, "malformed frame");
	}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_conn *c = arg;

	(void)what;
	c->busy = true;
	for (int i = 0; i < FRAMES_A_TURN && !c->broken && !c->freed && !c->paused; i++) {
		int passed;
		enum ipc_io io = ipc_recv(fd, &c->in, &passed);

		if (io == IPC_IO_AGAIN)
			break;
		if (io == IPC_IO_OK)
			take_frame(c, passed);
		else
			break_off(c, io == IPC_IO_CLOSED ? "closed by the other side" : "cannot be read");
	}
	/* An idle connection keeps no buffer of the largest frame. */
	buf_clear(&c->in);
	if (c->broken && !c->freed) {
		(void)event_del(c->readable);
		if (c->ops != NULL) {
			const struct ipc_conn_ops *ops = c->ops;

			c->ops = NULL;
			ops->closed(c, c->ctx, c->why);
		}
	}
	c->busy = false;
	if (c->freed)
		destroy(c);
}

static void
drop_first(struct ipc_conn *c)
{
	struct waiting *w = c->first;

	c->first = w->next;
	if (c->first == NULL)
		c->last = &c->first;
	c->waiting -= w->len;
	if (w->pass_fd != -1)
		(void)close(w->pass_fd);
	free(w);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct ipc_conn *c = arg;

	(void)what;
	while (c->first != NULL && !c->broken) {
		struct waiting *w = c->first;
		enum ipc_io io = ipc_send(fd, slice_make(w->frame, w->len), w->pass_fd);

		if (io == IPC_IO_AGAIN)
			return;
		if (io != IPC_IO_OK) {
			break_off(c, "cannot be written");
			return;
		}
		drop_first(c);
	}
	(void)event_del(c->writable);
	if (c->first == NULL && !c->broken && c->ops != NULL && c->ops->drained != NULL)
		c->ops->drained(c, c->ctx);
}

const char *
ipc_conn_peer(const struct ipc_conn *c)
{
	return c->peer;
}

int
ipc_conn_dup(const struct ipc_conn *c)
{
	return fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
}

void
ipc_conn_end(struct ipc_conn *c, const char *why)
{
	break_off(c, why);
}

bool
ipc_conn_send(struct ipc_conn *c, struct slice frame, int pass_fd)
{
	struct waiting *w;

	if (c->broken) {
		if (pass_fd != -1)
			(void)close(pass_fd);
		return false;
	}
	if (c->first == NULL) {
		enum ipc_io io = ipc_send(c->fd, frame, pass_fd);

		if (io != IPC_IO_AGAIN && pass_fd != -1)
			(void)close(pass_fd);
		if (io == IPC_IO_OK)
			return true;
		if (io != IPC_IO_AGAIN) {
			break_off(c, "cannot be written");
			return false;
		}
	}
	w = frame.len > c->out_max - c->waiting ? NULL : malloc(sizeof(*w) + frame.len);
	if (w == NULL) {
		if (pass_fd != -1)
			(void)close(pass_fd);
		break_off(c, "does not read what it is sent");
		return false;
	}
	*w = (struct waiting){ .pass_fd = pass_fd, .len = frame.len };
	memcpy(w->frame, frame.ptr, frame.len);
	*c->last = w;
	c->last = &w->next;
	c->waiting += frame.len;
	(void)event_add(c->writable, NULL);
	return true;
}

size_t
ipc_conn_waiting(const struct ipc_conn *c)
{
	return c->waiting;
}

void
ipc_conn_pause(struct ipc_conn *c, bool paused)
{
	c->paused = paused;
	if (c->broken)
		return;
	if (paused)
		(void)event_del(c->readable);
	else
		(void)event_add(c->readable, NULL);
}

struct ipc_conn *
ipc_conn_new(struct event_base *base, int fd, const char *me, size_t out_max,
    const struct ipc_conn_ops *ops, void *ctx)
{
	struct ipc_conn *c = calloc(1, sizeof(*c));
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = slice_of(me) };
	struct buf out;

	if (c == NULL) {
		(void)close(fd);
		return NULL;
	}
	*c = (struct ipc_conn){ .fd = fd, .ops = ops, .ctx = ctx, .out_max = out_max };
	c->last = &c->first;
	buf_init(&c->in, IPC_FRAME_MAX);
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
	if (c->readable == NULL || c->writable == NULL || event_add(c->readable, NULL) != 0) {
		destroy(c);
		return NULL;
	}
	buf_init(&out, 100);
	if (ipc_put_hello(&out, &hello))
		(void)ipc_conn_send(c, buf_slice_of(&out), -1);
	buf_clear(&out);
	return c;
}
