/*
 * login_front: starting a front, accepting connections, the parent's orders, the end.
 * Read next: login_session.c.
 */
#include "login/login_front.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"

#define EX_OSERR	71
#define EX_CONFIG	78
#define PARENT_OUT_MAX	(1024 * 1024)	/* octets of frames that may wait for the parent */
#define END_S		3		/* for last words, when everybody has to go */
#define OWN_FDS		64		/* descriptors that are no client's */

/* ---- the end ---- */

static void
end_if_done(struct login_front *f)
{
	if ((f->retired || f->draining || f->ending || f->single) && f->sessions_n == 0)
		(void)event_base_loopexit(f->base, NULL);
}

void
login_front_session_gone(struct login_front *f)
{
	f->sessions_n--;
	end_if_done(f);
}

static void
stop_listening(struct login_front *f)
{
	for (size_t i = 0; i < f->listener_n; i++)
		conn_listener_free(f->listener[i].listener);
	f->listener_n = 0;
	daemon_close_sockets(f->daemon);
}

/* A new process has the sockets: nothing new, and nobody notices. */
static void
retire(struct login_front *f)
{
	f->retired = true;
	stop_listening(f);
	end_if_done(f);
}

/* Nothing new; who is not in the middle of a login goes now. */
static void
drain(struct login_front *f)
{
	struct login_session *s;

	if (f->draining)
		return;
	f->draining = true;
	stop_listening(f);
	TAILQ_FOREACH(s, &f->talking, entry)
		if (s->state == SESSION_TLS || s->state == SESSION_TALK || s->state == SESSION_DELAY)
			login_session_bye(s, LOGIN_BYE_SHUTDOWN);
	end_if_done(f);
}

static void
time_is_up(int fd, short what, void *arg)
{
	struct login_front *f = arg;

	(void)fd;
	(void)what;
	(void)event_base_loopbreak(f->base);
}

/* Everybody goes; users' processes say bye to those who are logged in. */
static void
end_all(struct login_front *f)
{
	const struct timeval tv = { .tv_sec = END_S };
	struct login_session *s;

	if (f->ending)
		return;
	drain(f);
	f->ending = true;
	TAILQ_FOREACH(s, &f->talking, entry)
		login_session_bye(s, LOGIN_BYE_SHUTDOWN);
	(void)event_add(f->end_timer, &tv);
	end_if_done(f);
}

/* SIGTERM comes from outside (a whole control group is ended) or because the parent is dead. */
static void
on_sigterm(int fd, short what, void *arg)
{
	struct login_front *f = arg;

	(void)fd;
	(void)what;
	(void)event_del(f->sigterm);
	end_all(f);
}

/* ---- the parent ---- */

static struct login_session *
find_start(struct login_front *f, uint32_t id)
{
	struct login_session *s;

	TAILQ_FOREACH(s, &f->talking, entry)
		if (s->talk->start_id == id)
			return s;
	return NULL;
}

static bool
take_started(struct login_front *f, struct slice frame, int passed)
{
	struct ipc_session_started m;
	struct login_session *s;

	if (!ipc_get_session_started(frame, &m) || m.id == 0 || (m.verdict == OK) != (passed != -1))
		return false;
	s = find_start(f, m.id);
	if (s != NULL)
		login_session_started(s, m.verdict, m.pid, passed);
	else if (passed != -1)		/* the client has gone, or has waited too long */
		(void)close(passed);
	return true;
}

static bool
take_order(struct login_front *f, struct slice frame, int passed)
{
	struct ipc_front_do m;

	if (!ipc_get_front_do(frame, &m) || (m.action == FRONT_BROKER) != (passed != -1))
		return false;
	if (m.action == FRONT_BROKER)
		login_auth_broker(&f->auth, passed);
	else if (m.action == FRONT_RETIRE)
		retire(f);
	else if (m.action == FRONT_DRAIN)
		drain(f);
	else
		end_all(f);
	return true;
}

static bool
parent_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct login_front *f = ctx;
	uint16_t code = 0;
	bool fine = false;

	(void)c;
	(void)ipc_code(frame, &code);
	if (code == IPC_session_started)
		fine = take_started(f, frame, passed);
	else if (code == IPC_front_do)
		fine = take_order(f, frame, passed);
	if (!fine && passed != -1)
		(void)close(passed);
	return fine;
}

static void
parent_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct login_front *f = ctx;

	log_say(LOG_LEVEL_ERROR, "the parent has gone (%s), so this front ends", why);
	ipc_conn_free(c);
	f->parent = NULL;
	end_all(f);
}

static const struct ipc_conn_ops parent_ops = { .frame = parent_frame, .closed = parent_closed };

/* ---- the start ---- */

static void
accepted(int fd, const char *address, void *ctx)
{
	const struct login_listener *l = ctx;

	(void)address;
	login_session_new(l->front, fd, l->implicit_tls);
}

static void
listen_all(struct login_front *f)
{
	const struct daemon *d = f->daemon;

	for (size_t i = 0; i < d->socket_n && f->listener_n < LOGIN_LISTENERS; i++) {
		struct login_listener *l = &f->listener[f->listener_n];

		if (d->socket[i].connection)
			continue;
		l->front = f;
		l->implicit_tls = strcmp(d->socket[i].name, f->proto->service_tls) == 0;
		l->listener = conn_listen(f->base, d->socket[i].fd, accepted, l);
		if (l->listener == NULL)
			log_fatal(EX_OSERR, "cannot listen: no memory");
		f->listener_n++;
	}
}

static void
load_tls(struct login_front *f, const struct login_front_start *start)
{
	char why[200];

	if (start->certificate_fd == -1)
		return;
	f->tls = tls_server_new_fds(start->certificate_fd, start->key_fd, why, sizeof(why));
	if (f->tls == NULL)
		log_fatal(EX_CONFIG, "TLS: %s (tls-certificate, tls-key)", why);
	tls_server_alpn(f->tls, f->proto->service);
	(void)close(start->certificate_fd);
	(void)close(start->key_fd);
}

/* A connection takes two descriptors once it is logged in (P14). */
static unsigned
sessions_by_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 2000000)
		return 1000000;
	return limit.rlim_cur <= 2 * OWN_FDS ? OWN_FDS / 2 : (unsigned)(limit.rlim_cur - OWN_FDS) / 2;
}

static struct login_front *
front_new(const struct login_front_start *start)
{
	struct login_front *f = calloc(1, sizeof(*f));
	struct daemon *d = start->daemon;

	if (f == NULL)
		log_fatal(EX_OSERR, "no memory");
	f->daemon = d;
	f->proto = start->proto;
	f->base = d->base;
	f->limits = start->limits;
	f->worker = start->worker;
	f->sessions_max = sessions_by_descriptors();
	TAILQ_INIT(&f->talking);
	TAILQ_INIT(&f->relaying);
	load_tls(f, start);
	f->in_clear = (struct login_facts){ .starttls = f->tls != NULL, .hostname = d->conf.hostname };
	f->in_tls = (struct login_facts){ .tls = true, .hostname = d->conf.hostname };
	return f;
}

/* What has to be made before sockets and signal handlers are out of reach. */
static void
front_connect(struct login_front *f, const struct login_front_start *start)
{
	f->sigterm = event_new(f->base, login_sigterm_fd(), EV_READ, on_sigterm, f);
	f->end_timer = event_new(f->base, -1, 0, time_is_up, f);
	f->parent = ipc_conn_new(f->base, start->parent_fd, f->proto->program, PARENT_OUT_MAX, &parent_ops, f);
	if (f->sigterm == NULL || event_add(f->sigterm, NULL) != 0 || f->end_timer == NULL || f->parent == NULL ||
	    !login_auth_open(&f->auth, f->base, f->proto->program, start->broker_fd, login_session_answer))
		log_fatal(EX_OSERR, "no memory");
}

/* Of all that the parent has open: listeners, our pairs, certificate and key. */
static void
keep_own(const struct login_front_start *start)
{
	struct daemon *d = start->daemon;
	int keep[DAEMON_SOCKETS + 6] = { start->parent_fd, start->broker_fd, start->certificate_fd, start->key_fd, -1, -1 };

	if (start->connection != NULL) {
		keep[4] = start->connection->rfd;
		keep[5] = start->connection->wfd;
	}
	for (size_t i = 0; i < d->socket_n; i++)
		keep[6 + i] = d->socket[i].fd;
	login_child(d, start->proto->program, keep, 6 + d->socket_n);
}

void
login_front_run(const struct login_front_start *start)
{
	struct daemon *d = start->daemon;
	struct confine c = { .kind = CONFINE_LOGIN, .uid = d->uid, .gid = d->gid };
	struct ipc_front_ready ready = { 0 };
	struct login_front *f;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	keep_own(start);
	f = front_new(start);
	front_connect(f, start);
	if (start->connection == NULL)
		listen_all(f);
	else
		f->single = true;
	daemon_confine(d, &c);
	(void)IPC_CONN_SEND(f->parent, front_ready, &ready, -1);
	if (start->connection != NULL)
		login_session_single(f, start->connection, start->implicit_tls);
	end_if_done(f);
	(void)event_base_dispatch(f->base);
	_exit(0);
}
