#include "imap_conn.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "conn.h"
#include "daemon.h"
#include "imap_deflate.h"
#include "imap_session.h"
#include "log.h"
#include "log_events.h"

#define IN_MAX		(64 * 1024)	/* octets conn keeps while a command runs */
#define OUT_MAX		(512 * 1024)	/* octets it keeps while the client does not read */
#define OUT_AT_ONCE	(128 * 1024)	/* octets given to it before it has to drain */
#define POLL_S		3		/* looks at folders in IDLE where inotify is not to be had */
#define PARK_S		1		/* looks whether all sessions may be parked */
#define CLEAN_S		60		/* after the start: store_clean() */

/* The user's process. */
struct imap_user {
	struct user_process	*process;
	const struct conf	*conf;
	struct store		*store;
	struct event		*watch;		/* store_watch_fd(), or a timer in its place */
	struct event		*clean;
	struct event		*park;		/* looks whether all sessions only wait; NULL: they are not parked */
	uint64_t		 touched_usec;	/* monotonic: something came or was told */
	struct imap_conn	*first;		/* all connections */
};

struct imap_conn {
	struct imap_conn	*next, **at;
	struct imap_user	*user;
	struct conn		*conn;
	struct imap_session	*session;
	struct imap_deflate	*deflate;	/* NULL: not compressed */
	struct event		*again;		/* goes on with a long command */
	struct event		*timeout;	/* autologout */
	bool			 waiting;	/* for drained() */
	bool			 closing;
	uint64_t		 in, out;	/* octets, for the log */
	const char		*why;		/* it ended; static */
	uint32_t		 number;	/* of the session, for the parent */
	uint64_t		 touched_usec;	/* monotonic: the client did something */
	bool			 tls, parking;	/* it encrypts; the parent was asked to watch */
	char			 name[33];	/* of the session, for the log */
	char			 client[65];	/* its address */
};

static void
conn_unlink(struct imap_conn *c)
{
	*c->at = c->next;
	if (c->next != NULL)
		c->next->at = c->at;
	event_free(c->again);
	event_free(c->timeout);
	imap_session_free(c->session);
	imap_deflate_free(c->deflate);
	conn_free(c->conn);
	free(c);
}

static void
conn_drop(struct imap_conn *c)
{
	struct user_process *process = c->user->process;

	log_session_end("imap", slice_of(user_process_user(process)), slice_of(c->name),
	    c->why == NULL ? "Connection closed" : c->why, c->in, c->out);
	conn_unlink(c);
	user_process_ended(process);
}

/* The client did something, or took something: it lives. */
static void
touch(struct imap_conn *c)
{
	const struct timeval tv = { .tv_sec = (time_t)c->user->conf->imap_timeout_s };

	c->touched_usec = c->user->touched_usec = now_mono_usec();
	c->parking = false;
	(void)evtimer_add(c->timeout, &tv);
}

/* Give conn octets of the session's output, as they are or compressed. */
static void
write_out(struct imap_conn *c, struct slice out)
{
	size_t n = out.len;
	struct buf packed;

	buf_init(&packed, OUT_MAX);
	if (c->deflate != NULL) {
		(void)imap_deflate_put(c->deflate, out, &packed);
		out = buf_slice_of(&packed);
	}
	(void)conn_write(c->conn, out);
	c->out += out.len;
	imap_session_taken(c->session, n);
	buf_clear(&packed);
}

/* Give conn what it may have; true: all has been given. */
static bool
flush(struct imap_conn *c)
{
	struct slice out = imap_session_output(c->session);
	size_t pending = conn_pending(c->conn);

	if (out.len > 0 && pending < OUT_AT_ONCE) {
		write_out(c, slice_sub(out, 0, OUT_AT_ONCE - pending));
	}
	return imap_session_output(c->session).len == 0;
}

static void
close_when_flushed(struct imap_conn *c, const char *why)
{
	if (c->why == NULL)
		c->why = why;
	c->closing = true;
	if (flush(c))
		conn_close(c->conn);
}

/* RFC 4978: the answer to COMPRESS goes out as it is, and nothing after it. */
static void
start_deflate(struct imap_conn *c)
{
	write_out(c, imap_session_output(c->session));
	c->deflate = imap_deflate_new();
	if (c->deflate == NULL)
		close_when_flushed(c, "No memory");
}

/*
 * Go on as far as it goes, with data if there is any: until all of it is taken
 * (true), or output has to go first, or others must have their turn, or what
 * follows in data is compressed.
 */
static bool
step(struct imap_conn *c, struct slice *data)
{
	const struct timeval now = { 0 };
	bool flushed;

	if (c->closing)
		return false;
	for (;;) {
		enum imap_want want = imap_session_step(c->session, data);

		if (want == IMAP_WANT_CLOSE) {
			close_when_flushed(c, "Logged out");
			return false;
		}
		if (want == IMAP_WANT_DEFLATE) {
			start_deflate(c);
			return !c->closing;
		}
		flushed = flush(c);
		if (want == IMAP_WANT_INPUT && flushed)
			return true;
		if (want == IMAP_WANT_AGAIN && flushed) {
			conn_pause(c->conn);
			(void)evtimer_add(c->again, &now);
			return false;
		}
		if (want != IMAP_WANT_DRAIN || !flushed || conn_pending(c->conn) >= OUT_AT_ONCE) {
			conn_pause(c->conn);
			c->waiting = true;
			return false;
		}
	}
}

/* Undo a piece, let the session take it, and so on; true: all of data is done with. */
static bool
step_deflated(struct imap_conn *c, struct slice *data)
{
	for (;;) {
		struct slice plain = imap_deflate_plain(c->deflate);
		size_t n = plain.len;
		bool more = step(c, &plain);

		imap_deflate_taken(c->deflate, n - plain.len);
		if (!more)
			return false;
		if (!imap_deflate_more(c->deflate, data)) {
			imap_session_bye(c->session, "Invalid compressed data");
			close_when_flushed(c, "Invalid compressed data");
			return false;
		}
		if (imap_deflate_plain(c->deflate).len == 0)
			return true;
	}
}

static void
go_on(struct imap_conn *c, struct slice *data)
{
	bool done = false;

	if (c->deflate == NULL)
		done = step(c, data);
	if (c->deflate != NULL)
		done = step_deflated(c, data);
	if (done)
		conn_resume(c->conn);
}

static size_t
on_input(struct conn *conn, void *ctx, struct slice data)
{
	struct imap_conn *c = ctx;
	struct slice rest = data;

	(void)conn;
	touch(c);
	go_on(c, &rest);
	c->in += data.len - rest.len;
	return data.len - rest.len;
}

static void
on_again(evutil_socket_t fd, short what, void *ctx)
{
	struct slice none = { 0 };

	(void)fd;
	(void)what;
	go_on(ctx, &none);
}

/* To a client in IDLE. */
static void
tell_changes(struct imap_conn *c)
{
	if (c->closing || !imap_session_changed(c->session))
		return;
	c->user->touched_usec = now_mono_usec();
	if (c->session->closing)
		close_when_flushed(c, "Mailbox was deleted");
	else
		(void)flush(c);
}

static void
on_drained(struct conn *conn, void *ctx)
{
	struct imap_conn *c = ctx;
	struct slice none = { 0 };

	(void)conn;
	if (c->closing) {
		close_when_flushed(c, NULL);
		return;
	}
	if (!c->waiting) {
		if (flush(c) && c->session->missed)
			tell_changes(c);
		return;
	}
	c->waiting = false;
	touch(c);
	go_on(c, &none);
}

static void
on_ended(struct conn *conn, void *ctx, enum conn_end why, const char *text)
{
	struct imap_conn *c = ctx;

	(void)conn;
	(void)text;
	if (c->why == NULL)
		c->why = why == CONN_EOF ? "Connection closed" : "Connection lost";
	conn_drop(c);
}

static void
on_timeout(evutil_socket_t fd, short what, void *ctx)
{
	struct imap_conn *c = ctx;

	(void)fd;
	(void)what;
	if (c->closing || conn_pending(c->conn) > 0) {
		c->why = c->why == NULL ? "Client does not read" : c->why;
		conn_drop(c);
		return;
	}
	imap_session_bye(c->session, "Autologout: idle for too long");
	close_when_flushed(c, "Idle for too long");
	touch(c);
}

static const struct conn_ops conn_ops = {
	.input = on_input,
	.drained = on_drained,
	.ended = on_ended,
};

/* ---- parking ---- */

static bool
conn_parkable(const struct imap_conn *c)
{
	return !c->closing && !c->waiting && c->deflate == NULL && conn_pending(c->conn) == 0 && !conn_has_input(c->conn) &&
	    imap_session_parkable(c->session);
}

/* Give it to the parent; false: it has something to do after all. */
static bool
conn_park(struct imap_conn *c)
{
	struct user_process *process = c->user->process;
	uint64_t idle_s = (now_mono_usec() - c->touched_usec) / 1000000, timeout_s = c->user->conf->imap_timeout_s;
	struct user_parked p = {
		.number = c->number, .client_address = slice_of(c->client), .session = slice_of(c->name), .tls = c->tls,
		.wake_s = idle_s < timeout_s ? (unsigned)(timeout_s - idle_s) : 1,
		.octets_in = c->in, .octets_out = c->out,
	};
	struct buf state;
	bool done = false;

	buf_init(&state, USER_PARKED_MAX);
	if (conn_parkable(c) && imap_session_park(c->session, &state) && (p.fd = conn_dup(c->conn)) != -1) {
		p.state = buf_slice_of(&state);
		conn_unlink(c);
		/* Where that fails the parent has gone, and so does this process. */
		done = user_process_park(process, &p);
	} else
		(void)flush(c);		/* what the last look has found */
	buf_clear(&state);
	return done;
}

static void
user_watched(void *ctx, uint32_t number, bool fine)
{
	const struct imap_user *u = ctx;
	struct imap_conn *c = u->first;

	while (c != NULL && (c->number != number || !c->parking))
		c = c->next;
	if (c == NULL)
		return;
	c->parking = false;
	if (fine)
		(void)conn_park(c);
}

/* All of them or none: a process that has to stay saves nothing by parking some. */
static void
on_park(evutil_socket_t fd, short what, void *ctx)
{
	struct imap_user *u = ctx;
	uint64_t idle_usec = (uint64_t)u->conf->user_process_idle_s * 1000000;

	(void)fd;
	(void)what;
	if (u->first == NULL || now_mono_usec() - u->touched_usec < idle_usec)
		return;
	for (const struct imap_conn *c = u->first; c != NULL; c = c->next)
		if (!conn_parkable(c) || c->parking)
			return;
	for (struct imap_conn *c = u->first, *next; c != NULL; c = next) {
		next = c->next;
		if (c->session->folder == NULL)
			(void)conn_park(c);
		else
			c->parking = user_process_watch(u->process, c->number, store_folder_dir(c->session->folder));
	}
}

/* ---- the process ---- */

static struct imap_conn *
conn_of(const struct imap_user *u, const struct store_folder *f)
{
	struct imap_conn *c = u->first;

	while (c != NULL && c->session->folder != f)
		c = c->next;
	return c;
}

static void
folder_changed(struct store_folder *f, void *ctx)
{
	struct imap_conn *c = conn_of(ctx, f);

	if (c != NULL)
		tell_changes(c);
}

static void
on_watch(evutil_socket_t fd, short what, void *ctx)
{
	struct imap_user *u = ctx;

	(void)fd;
	(void)what;
	store_watch_read(u->store, folder_changed, u);
}

/* Without inotify: look at every folder in IDLE. */
static void
on_poll(evutil_socket_t fd, short what, void *ctx)
{
	struct imap_user *u = ctx;

	(void)fd;
	(void)what;
	for (struct imap_conn *c = u->first; c != NULL; c = c->next)
		if (c->session->folder != NULL)
			tell_changes(c);
}

static void
on_clean(evutil_socket_t fd, short what, void *ctx)
{
	struct imap_user *u = ctx;

	(void)fd;
	(void)what;
	store_clean(u->store);
}

static void
user_close(void *ctx)
{
	struct imap_user *u = ctx;

	if (u->watch != NULL)
		event_free(u->watch);
	if (u->clean != NULL)
		event_free(u->clean);
	if (u->park != NULL)
		event_free(u->park);
	store_close(u->store);
	free(u);
}

static void
say(void *ctx, const char *text)
{
	const struct imap_user *u = ctx;

	log_say(LOG_LEVEL_WARNING, "%s: %s", user_process_user(u->process), text);
}

static bool
watch_start(struct imap_user *u)
{
	struct event_base *base = user_process_base(u->process);
	const struct timeval poll = { .tv_sec = POLL_S }, clean = { .tv_sec = CLEAN_S }, park = { .tv_sec = PARK_S };
	int fd = store_watch_fd(u->store);

	u->watch = fd >= 0 ? event_new(base, fd, EV_READ | EV_PERSIST, on_watch, u) :
	    event_new(base, -1, EV_PERSIST, on_poll, u);
	u->clean = evtimer_new(base, on_clean, u);
	u->park = event_new(base, -1, EV_PERSIST, on_park, u);
	return u->watch != NULL && u->clean != NULL && u->park != NULL && event_add(u->park, &park) == 0 && event_add(u->watch, fd >= 0 ? NULL : &poll) == 0 &&
	    evtimer_add(u->clean, &clean) == 0;
}

static void *
user_open(struct user_process *process, int maildir_fd)
{
	struct imap_user *u = calloc(1, sizeof(*u));
	enum store_error error = STORE_MEMORY;

	if (u == NULL)
		return NULL;
	u->process = process;
	u->conf = user_process_conf(process);
	u->store = store_open(maildir_fd, &(struct store_options){
		.hostname = u->conf->hostname,
		.quota = user_process_quota(process),
		.create = true,
		.say = say,
		.say_ctx = u,
	}, &error);
	if (u->store != NULL && watch_start(u))
		return u;
	log_say(LOG_LEVEL_ERROR, "%s: cannot open the mailbox: %s", user_process_user(process),
	    store_error_text(u->store == NULL ? error : STORE_MEMORY));
	user_close(u);
	return NULL;
}

static struct imap_session *
session_of(struct imap_user *u, const struct user_session *us, const char **bye)
{
	const struct imap_setup setup = {
		.store = u->store,
		.user = user_process_user(u->process),
		.message_size = u->conf->message_size,
	};

	*bye = NULL;
	return us->parked.len > 0 ? imap_session_unpark(&setup, us->parked, bye) : imap_session_new(&setup, us->greeting);
}

/* All that can fail, before the descriptor is taken over. */
static struct imap_conn *
conn_prepare(struct imap_user *u, const struct user_session *us, const char **bye)
{
	struct event_base *base = user_process_base(u->process);
	struct imap_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->user = u;
	c->session = session_of(u, us, bye);
	c->again = evtimer_new(base, on_again, c);
	c->timeout = evtimer_new(base, on_timeout, c);
	if (c->session != NULL && c->again != NULL && c->timeout != NULL)
		return c;
	if (c->again != NULL)
		event_free(c->again);
	if (c->timeout != NULL)
		event_free(c->timeout);
	imap_session_free(c->session);
	free(c);
	return NULL;
}

/* A parked session that cannot go on: the client has to come again. */
static void
say_bye(const struct user_session *us, const char *bye)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "* BYE [UNAVAILABLE] %s\r\n", bye);
	if (write(us->fd, text, strlen(text)) == -1)
		log_say(LOG_LEVEL_DEBUG, "last words are not taken");
}

static bool
user_session(void *ctx, const struct user_session *us)
{
	struct imap_user *u = ctx;
	const char *bye = NULL;
	struct imap_conn *c = conn_prepare(u, us, &bye);

	if (c == NULL) {
		if (bye != NULL)
			say_bye(us, bye);
		return false;
	}
	(void)slice_text(slice_sub(us->session, 0, sizeof(c->name) - 1), c->name, sizeof(c->name));
	(void)slice_text(slice_sub(us->client_address, 0, sizeof(c->client) - 1), c->client, sizeof(c->client));
	c->number = us->number;
	c->tls = us->tls;
	c->in = us->octets_in;
	c->out = us->octets_out;
	c->next = u->first;
	if (c->next != NULL)
		c->next->at = &c->next;
	c->at = &u->first;
	u->first = c;
	c->conn = conn_new(user_process_base(u->process), us->fd, IN_MAX, OUT_MAX, &conn_ops, c);
	if (c->conn == NULL) {
		c->why = "No memory";
		conn_drop(c);
		return true;
	}
	touch(c);
	if (us->expired)
		on_timeout(-1, 0, c);
	else
		(void)flush(c);
	return true;
}

static void
user_end(void *ctx)
{
	struct imap_user *u = ctx;

	for (struct imap_conn *c = u->first, *next; c != NULL; c = next) {
		next = c->next;
		if (c->closing)
			continue;
		imap_session_bye(c->session, "[UNAVAILABLE] Server is shutting down");
		close_when_flushed(c, "Server is shutting down");
	}
}

const struct user_proto imap_user_proto = {
	.program = "imap",
	.kind = CONFINE_IMAP_USER,
	.open = user_open,
	.session = user_session,
	.watched = user_watched,
	.parked_bye = "* BYE [UNAVAILABLE] Server is shutting down\r\n",
	.end = user_end,
	.close = user_close,
};
