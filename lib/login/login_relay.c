/*
 * login_relay: after login, octets go between the client's connection and the
 * user's process as they are.  One side is read only while the other takes
 * what was read before, so an idle connection holds no buffer and a slow one
 * at most one of LOGIN_RELAY_BUF.
 */
#include <errno.h>
#include <event2/event.h>
#include <unistd.h>

#include "login/login_front.h"

/* The user's process has ended the session: last octets, then close. */
static void
user_gone(struct login_session *s)
{
	login_relay_clear(s);
	conn_close(s->conn);
}

static void
on_readable(int fd, short what, void *arg)
{
	struct login_session *s = arg;
	struct login_front *f = s->front;
	ssize_t n = read(fd, f->relay_buf, sizeof(f->relay_buf));

	(void)what;
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		user_gone(s);
		return;
	}
	if (!conn_write(s->conn, slice_make(f->relay_buf, (size_t)n)))
		return;		/* the connection has ended; on_ended() comes */
	if (conn_pending(s->conn) != 0)
		(void)event_del(&s->relay.read);	/* until it is drained */
}

static void
on_writable(int fd, short what, void *arg)
{
	struct login_session *s = arg;

	(void)fd;
	(void)what;
	conn_resume(s->conn);
}

bool
login_relay_begin(struct login_session *s, int fd)
{
	struct login_relay *r = &s->relay;

	if (event_assign(&r->read, s->front->base, fd, EV_READ | EV_PERSIST, on_readable, s) != 0 ||
	    event_assign(&r->write, s->front->base, fd, EV_WRITE, on_writable, s) != 0 ||
	    event_add(&r->read, NULL) != 0) {
		(void)close(fd);
		return false;
	}
	r->fd = fd;
	return true;
}

size_t
login_relay_input(struct login_session *s, struct slice data)
{
	ssize_t n;

	if (s->relay.fd == -1)
		return data.len;
	n = write(s->relay.fd, data.ptr, data.len);
	if (n == -1 && errno != EAGAIN && errno != EINTR) {
		/* What it has said before it went is still to be read: on_readable() ends it. */
		return data.len;
	}
	if (n < (ssize_t)data.len) {
		conn_pause(s->conn);
		(void)event_add(&s->relay.write, NULL);
	}
	return n == -1 ? 0 : (size_t)n;
}

void
login_relay_drained(struct login_session *s)
{
	if (s->relay.fd != -1)
		(void)event_add(&s->relay.read, NULL);
}

void
login_relay_clear(struct login_session *s)
{
	if (s->relay.fd == -1)
		return;
	(void)event_del(&s->relay.read);
	(void)event_del(&s->relay.write);
	(void)close(s->relay.fd);
	s->relay.fd = -1;
}
