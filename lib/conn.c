/*
 * Each event leads to one turn(): take what came, give it to the owner, settle
 * what follows (send, start TLS, close, end).  Only settle() and the timer
 * call end(), as the very last thing, because the owner may free us in it;
 * everything else leaves a note (broken, closing) and asks for a turn.
 */
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#define CHUNK		(64 * 1024)	/* octets read at once, on the stack */
#define DIRECT		(32 * 1024)	/* writes from here on skip the buffer when it is empty */
#define DRAIN_ROUNDS	8		/* times that drained() may refill in one turn */
#define CLOSE_MS	10000		/* for the peer to take what is still to be written */
#define LINGER_MS	2000		/* for it to read our last words */
#define LINGER_OCTETS	(1024 * 1024)

enum state { STATE_OPEN, STATE_HANDSHAKE, STATE_CLOSING, STATE_LINGERING, STATE_ENDED };

struct conn {
	int			 rfd, wfd;	/* the same but for a pair of pipes */
	struct ssl_st		*ssl;		/* NULL: plain */
	const struct conn_ops	*ops;
	void			*ctx;
	struct event		 ev_read, ev_write, ev_timer, ev_work;
	struct buf		 in, out;	/* not taken yet; not written yet */
	size_t			 in_max, out_max;
	size_t			 lingered;	/* octets thrown away */
	uint64_t		 idle_from_ms, deadline_ms, armed_ms;	/* monotonic; 0: none */
	unsigned		 idle_ms;
	struct ssl_ctx_st	*tls_next;	/* handshake wanted; borrowed */
	char			*tls_host;
	size_t			 out_plain;	/* octets of out that go before the handshake */
	enum state		 state;
	enum conn_end		 broken_end;
	char			 why[120];	/* of broken */
	bool	tls_verify;
	bool	tls_checked;	/* no input came before the handshake */
	bool	used;		/* something was read or written */
	bool	paused;
	bool	stuck;		/* the owner took nothing of what is in `in` */
	bool	eof;
	bool	bye;		/* it said itself that nothing more comes */
	bool	broken;		/* to be ended by settle() */
	bool	blocked;	/* the last write would have waited */
	bool	read_needs_write;	/* TLS has to write before it can read on */
	bool	had_output;	/* for drained() */
	bool	in_turn;
	bool	reading, writing;	/* events added */
};

static uint64_t
mono_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
broke(struct conn *c, enum conn_end end, const char *why)
{
	if (c->broken)
		return;
	c->broken = true;
	c->broken_end = end;
	(void)snprintf(c->why, sizeof(c->why), "%s", why);
}

static void
broke_tls(struct conn *c, enum conn_end end)
{
	char why[sizeof(c->why)];

	tls_stream_why(c->ssl, why, sizeof(why));
	broke(c, end, why);
}

static void
schedule(struct conn *c)
{
	if (!c->in_turn && c->state != STATE_ENDED)
		event_active(&c->ev_work, EV_TIMEOUT, 0);
}

/* ---- time ---- */

static uint64_t
expiry_ms(const struct conn *c)
{
	uint64_t at = c->deadline_ms;
	uint64_t idle = c->idle_from_ms + c->idle_ms;

	if (c->idle_ms != 0 && !c->paused && (at == 0 || idle < at))
		at = idle;
	return at;
}

/* The timer may fire too early, never too late: later expiries cost nothing. */
static void
arm(struct conn *c)
{
	uint64_t at = expiry_ms(c), now, left;
	struct timeval tv;

	if (at == 0 || c->state == STATE_ENDED || (c->armed_ms != 0 && c->armed_ms <= at))
		return;
	now = mono_ms();
	left = at > now ? at - now : 0;
	tv = (struct timeval){ (time_t)(left / 1000), (suseconds_t)(left % 1000 * 1000) };
	if (event_add(&c->ev_timer, &tv) == 0)
		c->armed_ms = at;
}

void
conn_idle_timeout(struct conn *c, unsigned ms)
{
	c->idle_ms = ms;
	c->idle_from_ms = mono_ms();
	arm(c);
}

void
conn_deadline(struct conn *c, unsigned ms)
{
	if (c->state != STATE_OPEN && c->state != STATE_HANDSHAKE)
		return;
	c->deadline_ms = ms == 0 ? 0 : mono_ms() + ms;
	arm(c);
}

/* ---- the end ---- */

static void
end(struct conn *c, enum conn_end why, const char *text)
{
	(void)event_del(&c->ev_read);
	(void)event_del(&c->ev_write);
	(void)event_del(&c->ev_timer);
	(void)event_del(&c->ev_work);
	tls_stream_free(c->ssl);
	c->ssl = NULL;
	(void)close(c->rfd);
	if (c->wfd != c->rfd)
		(void)close(c->wfd);
	buf_clear(&c->in);
	buf_clear(&c->out);
	free(c->tls_host);
	c->tls_host = NULL;
	c->state = STATE_ENDED;
	c->in_turn = false;
	if (c->ops != NULL && c->ops->ended != NULL)
		c->ops->ended(c, c->ctx, why, text);
}

void
conn_free(struct conn *c)
{
	if (c == NULL)
		return;
	c->ops = NULL;		/* nobody wants to hear of it */
	if (c->state != STATE_ENDED)
		end(c, CONN_EOF, "");
	free(c);
}

/* All is written.  A close while input waits would reset the connection, and
 * the peer might lose our last reply: then read for a little while. */
static void
finish_close(struct conn *c)
{
	char octets[256];

	if (c->ssl != NULL)
		tls_stream_bye(c->ssl);
	if (c->eof || c->bye || (c->in.len == 0 && read(c->rfd, octets, sizeof(octets)) <= 0)) {
		end(c, CONN_EOF, "closed");
		return;
	}
	(void)shutdown(c->wfd, SHUT_WR);
	buf_clear(&c->in);
	c->state = STATE_LINGERING;
	c->idle_ms = 0;
	c->deadline_ms = mono_ms() + LINGER_MS;
	c->armed_ms = 0;
	arm(c);
	if (!c->reading)
		c->reading = event_add(&c->ev_read, NULL) == 0;
	c->in_turn = false;
}

static void
linger(struct conn *c)
{
	char octets[CHUNK];
	ssize_t n = read(c->rfd, octets, sizeof(octets));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0 && (c->lingered += (size_t)n) < LINGER_OCTETS)
		return;
	end(c, CONN_EOF, "closed");
}

void
conn_close(struct conn *c)
{
	if (c->state >= STATE_CLOSING)
		return;
	if (c->state == STATE_HANDSHAKE)
		buf_reset(&c->out);	/* it would have been the first of TLS */
	if (c->tls_next != NULL)
		c->out.len = c->out_plain;	/* the rest was for TLS */
	c->state = STATE_CLOSING;
	c->paused = false;
	c->tls_next = NULL;
	if (c->deadline_ms == 0 || c->deadline_ms > mono_ms() + CLOSE_MS)
		c->deadline_ms = mono_ms() + CLOSE_MS;
	arm(c);
	schedule(c);
}

void
conn_bye(struct conn *c)
{
	c->bye = true;
	conn_close(c);
}

/* ---- output ---- */

/* Write what the descriptor takes now; the number of octets taken. */
static size_t
write_some(struct conn *c, const char *ptr, size_t len)
{
	size_t done = 0, put = 0;
	ssize_t n;

	c->used = true;
	while (done < len && !c->blocked && !c->broken) {
		if (c->ssl == NULL) {
			n = write(c->wfd, ptr + done, len - done);
			if (n >= 0)
				done += (size_t)n;
			else if (errno == EAGAIN)
				c->blocked = true;
			else if (errno != EINTR)
				broke(c, CONN_ERROR, strerror(errno));
			continue;
		}
		switch (tls_stream_write(c->ssl, ptr + done, len - done, &put)) {
		case TLS_IO_OK:
			done += put;
			break;
		case TLS_IO_WRITE:
			c->blocked = true;
			break;
		default:	/* READ is for renegotiation, which is off */
			broke_tls(c, CONN_ERROR);
			break;
		}
	}
	return done;
}

static void
flush(struct conn *c)
{
	size_t len = c->tls_next != NULL ? c->out_plain : c->out.len, n;

	if (len == 0 || c->blocked || c->state == STATE_HANDSHAKE)
		return;
	n = write_some(c, c->out.ptr, len);
	buf_skip(&c->out, n);
	if (c->tls_next != NULL)
		c->out_plain -= n;
	if (c->out.len == 0)
		buf_clear(&c->out);
}

bool
conn_write(struct conn *c, struct slice data)
{
	size_t n;

	if (c->state >= STATE_CLOSING || c->broken)
		return false;
	if (data.len == 0)
		return true;
	c->had_output = true;
	if (data.len >= DIRECT && c->out.len == 0 && c->state == STATE_OPEN &&
	    c->tls_next == NULL && !c->blocked) {
		n = write_some(c, data.ptr, data.len);
		data = slice_sub(data, n, data.len - n);
	}
	if (!buf_slice(&c->out, data))
		broke(c, CONN_ERROR, "output is not read");
	schedule(c);
	return !c->broken;
}

size_t
conn_pending(const struct conn *c)
{
	return c->out.len;
}

/* ---- input ---- */

/* May the owner be given input now? */
static bool
may_give(const struct conn *c)
{
	return c->state == STATE_OPEN && !c->paused && c->tls_next == NULL && !c->broken &&
	    c->out.len <= c->out_max / 2;
}

static bool
may_read(const struct conn *c)
{
	return may_give(c) && !c->eof && !c->read_needs_write;
}

static size_t
read_plain(struct conn *c, char *ptr, size_t size)
{
	ssize_t n = read(c->rfd, ptr, size);

	if (n > 0)
		return (size_t)n;
	if (n == 0)
		c->eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		broke(c, CONN_ERROR, strerror(errno));
	return 0;
}

static size_t
read_tls(struct conn *c, char *ptr, size_t size)
{
	size_t have = 0, n = 0;

	while (have < size) {
		switch (tls_stream_read(c->ssl, ptr + have, size - have, &n)) {
		case TLS_IO_OK:
			have += n;
			if (tls_stream_pending(c->ssl))
				continue;
			return have;
		case TLS_IO_READ:
			return have;
		case TLS_IO_WRITE:
			c->read_needs_write = true;
			return have;
		case TLS_IO_EOF:
			c->eof = true;
			return have;
		case TLS_IO_ERROR:
			broke_tls(c, CONN_ERROR);
			return have;
		}
	}
	return have;
}

/* Give the owner what it takes of data (a view of c->in or of the chunk just
 * read); keep the rest in c->in. */
static void
give(struct conn *c, struct slice data)
{
	size_t at = 0, n;
	bool kept = data.ptr == c->in.ptr;

	c->stuck = false;
	while (at < data.len && may_give(c)) {
		n = c->ops->input(c, c->ctx, slice_make(data.ptr + at, data.len - at));
		at += n < data.len - at ? n : data.len - at;
		if (n == 0) {
			c->stuck = true;
			break;
		}
		if (c->out.len > c->out_max / 2)
			flush(c);
	}
	if (kept)
		buf_skip(&c->in, at);
	else if (!buf_put(&c->in, data.ptr + at, data.len - at))
		broke(c, CONN_ERROR, "no memory for input");
	if (c->in.len == 0)
		buf_clear(&c->in);
	/* Told to stop (close, STARTTLS, pause) it may leave as much as it likes. */
	if (c->stuck && c->in.len > c->in_max && may_give(c))
		broke(c, CONN_ERROR, "input is too long");
}

static void
read_and_give(struct conn *c)
{
	char chunk[CHUNK];
	size_t n;

	n = c->ssl == NULL ? read_plain(c, chunk, sizeof(chunk)) : read_tls(c, chunk, sizeof(chunk));
	if (n == 0)
		return;
	c->used = true;
	c->idle_from_ms = mono_ms();
	if (c->in.len == 0) {
		give(c, slice_make(chunk, n));
		return;
	}
	if (buf_put(&c->in, chunk, n))
		give(c, buf_slice_of(&c->in));
	else
		broke(c, CONN_ERROR, "no memory for input");
}

void
conn_pause(struct conn *c)
{
	c->paused = true;
}

void
conn_resume(struct conn *c)
{
	if (!c->paused)
		return;
	c->paused = false;
	c->stuck = false;
	c->idle_from_ms = mono_ms();
	arm(c);
	schedule(c);
}

bool
conn_has_input(const struct conn *c)
{
	return c->in.len > 0;
}

int
conn_dup(const struct conn *c)
{
	if (c->state != STATE_OPEN || c->ssl != NULL || c->tls_next != NULL || c->broken || c->eof ||
	    c->in.len > 0 || c->out.len > 0 || c->rfd != c->wfd)
		return -1;
	return fcntl(c->rfd, F_DUPFD_CLOEXEC, 3);
}

/* ---- TLS ---- */

static bool
handshake_begin(struct conn *c)
{
	c->ssl = tls_stream_new(c->tls_next, c->rfd, c->wfd, c->tls_host, c->tls_verify);
	c->tls_next = NULL;
	if (c->ssl == NULL) {
		broke(c, CONN_TLS_FAILED, "TLS cannot be started");
		return false;
	}
	c->state = STATE_HANDSHAKE;
	c->blocked = false;
	c->idle_from_ms = mono_ms();
	return true;
}

static void
handshake_step(struct conn *c)
{
	switch (tls_stream_handshake(c->ssl)) {
	case TLS_IO_OK:
		c->state = STATE_OPEN;
		c->used = true;
		c->idle_from_ms = mono_ms();
		if (c->ops->tls_done != NULL)
			c->ops->tls_done(c, c->ctx);
		break;
	case TLS_IO_READ:
		break;
	case TLS_IO_WRITE:
		c->blocked = true;
		break;
	case TLS_IO_EOF:
		broke(c, CONN_TLS_FAILED, "TLS: connection closed");
		break;
	case TLS_IO_ERROR:
		broke_tls(c, CONN_TLS_FAILED);
		break;
	}
}

/* Before our "go ahead" is sent nothing may have come after the command,
 * neither in our buffer nor in the socket's. */
static void
check_no_input(struct conn *c)
{
	char octet;

	c->tls_checked = true;
	if (c->in.len > 0 || read(c->rfd, &octet, 1) > 0)
		broke(c, CONN_TLS_FAILED, "input came before the TLS handshake");
}

bool
conn_starttls(struct conn *c, struct ssl_ctx_st *tls, const char *host, bool verify)
{
	if (c->state != STATE_OPEN || c->ssl != NULL || c->tls_next != NULL)
		return false;
	if (!c->in_turn && c->in.len > 0)
		return false;
	if (host != NULL && (c->tls_host = strdup(host)) == NULL)
		return false;
	c->tls_next = tls;
	c->tls_verify = verify;
	c->out_plain = c->out.len;
	c->tls_checked = false;
	/* On a fresh connection (implicit TLS) what waits to be read is the handshake. */
	if (!c->used && c->out.len == 0) {
		if (!handshake_begin(c))
			return false;
		if (host == NULL)
			return true;	/* the client speaks first */
	}
	schedule(c);
	return true;
}

bool
conn_is_tls(const struct conn *c)
{
	return c->ssl != NULL && c->state != STATE_HANDSHAKE;
}

const char *
conn_tls_protocol(const struct conn *c)
{
	return conn_is_tls(c) ? tls_stream_protocol(c->ssl) : NULL;
}

const char *
conn_tls_cipher(const struct conn *c, int *bits)
{
	*bits = 0;
	return conn_is_tls(c) ? tls_stream_cipher(c->ssl, bits) : NULL;
}

/* ---- turns ---- */

static void
flush_and_refill(struct conn *c)
{
	for (int i = 0; i < DRAIN_ROUNDS; i++) {
		flush(c);
		if (c->broken || !c->had_output || c->out.len > 0)
			return;
		c->had_output = false;
		if (c->ops->drained == NULL || c->state != STATE_OPEN)
			return;
		c->ops->drained(c, c->ctx);
	}
}

/* Which events have to wake us.  The read event is taken away by on_readable()
 * alone, if it fires while it is not wanted: a pause costs no system call. */
static void
update_events(struct conn *c)
{
	bool want_write = c->blocked || c->read_needs_write;

	if (!c->reading && (c->state == STATE_HANDSHAKE || may_read(c)))
		c->reading = event_add(&c->ev_read, NULL) == 0;
	if (want_write != c->writing) {
		(void)(want_write ? event_add(&c->ev_write, NULL) : event_del(&c->ev_write));
		c->writing = want_write;
	}
	if (may_give(c) && c->in.len > 0 && !c->stuck)
		event_active(&c->ev_work, EV_TIMEOUT, 0);
	else if (c->ssl != NULL && may_read(c) && tls_stream_pending(c->ssl))
		/* After the others had their turn. */
		(void)event_add(&c->ev_work, &(struct timeval){ 0, 0 });
	else if (c->had_output && c->out.len == 0 && c->state == STATE_OPEN)
		(void)event_add(&c->ev_work, &(struct timeval){ 0, 0 });
}

/* The end of every turn; c may be gone when it returns. */
static void
settle(struct conn *c)
{
	if (c->tls_next != NULL && !c->tls_checked && !c->broken)
		check_no_input(c);
	if (!c->broken)
		flush_and_refill(c);
	if (!c->broken && c->tls_next != NULL && c->out_plain == 0 && handshake_begin(c) &&
	    c->tls_host != NULL)
		handshake_step(c);	/* the client speaks first */
	if (c->broken) {
		end(c, c->broken_end, c->why);
	} else if (c->state == STATE_CLOSING && c->out.len == 0) {
		finish_close(c);
	} else if (c->eof && may_give(c) && c->out.len == 0 && (c->in.len == 0 || c->stuck)) {
		end(c, CONN_EOF, "closed by the peer");
	} else {
		update_events(c);
		c->in_turn = false;
	}
}

static void
turn(struct conn *c, bool readable)
{
	c->in_turn = true;
	if (c->state == STATE_HANDSHAKE && !c->blocked)
		handshake_step(c);
	if (c->in.len > 0 && !c->stuck && may_give(c))
		give(c, buf_slice_of(&c->in));
	if (readable && may_read(c))
		read_and_give(c);
	settle(c);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == STATE_LINGERING) {
		linger(c);
	} else if (c->state == STATE_HANDSHAKE || may_read(c)) {
		turn(c, c->state == STATE_OPEN);
	} else {
		(void)event_del(&c->ev_read);
		c->reading = false;
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	bool readable = c->read_needs_write;

	(void)fd;
	(void)what;
	c->blocked = false;
	c->read_needs_write = false;
	turn(c, readable);
}

static void
on_work(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state != STATE_LINGERING)
		turn(c, c->ssl != NULL && c->state == STATE_OPEN && tls_stream_pending(c->ssl));
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	uint64_t at = expiry_ms(c);

	(void)fd;
	(void)what;
	c->armed_ms = 0;
	if (at == 0 || at > mono_ms())
		arm(c);
	else if (c->state == STATE_LINGERING)
		end(c, CONN_EOF, "closed");
	else
		end(c, CONN_TIMEOUT, "timeout");
}

struct conn *
conn_new_pair(struct event_base *base, int rfd, int wfd, size_t in_max, size_t out_max,
    const struct conn_ops *ops, void *ctx)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		goto fail;
	c->rfd = rfd;
	c->wfd = wfd;
	c->in_max = in_max;
	c->out_max = out_max;
	c->ops = ops;
	c->ctx = ctx;
	buf_init(&c->in, in_max + CHUNK);
	buf_init(&c->out, out_max);
	if (event_assign(&c->ev_read, base, rfd, EV_READ | EV_PERSIST, on_readable, c) != 0 ||
	    event_assign(&c->ev_write, base, wfd, EV_WRITE | EV_PERSIST, on_writable, c) != 0 ||
	    event_assign(&c->ev_timer, base, -1, 0, on_timer, c) != 0 ||
	    event_assign(&c->ev_work, base, -1, 0, on_work, c) != 0 ||
	    event_add(&c->ev_read, NULL) != 0)
		goto fail;
	c->reading = true;
	return c;
fail:
	free(c);
	(void)close(rfd);
	if (wfd != rfd)
		(void)close(wfd);
	return NULL;
}

struct conn *
conn_new(struct event_base *base, int fd, size_t in_max, size_t out_max,
    const struct conn_ops *ops, void *ctx)
{
	return conn_new_pair(base, fd, fd, in_max, out_max, ops, ctx);
}
