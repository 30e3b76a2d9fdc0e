#include "smtp_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "conn.h"
#include "inetd.h"
#include "ipc.h"
#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"
#include "routes_record.h"
#include "smtp_conn.h"
#include "smtp_server.h"

#define EX_CONFIG	78
#define EX_OSERR	71
#define PARENT_OUT_MAX	(64 * 1024)	/* octets of frames for the parent */
#define BEAT_S		5

struct listener {
	struct smtp_server	*server;
	enum smtp_service	 service;
	bool			 tls;
	struct conn_listener	*listener;
};

struct worker {
	struct daemon		*daemon;
	struct smtp_server	 server;
	struct ipc_conn		*parent;
	struct smtp_broker	 broker;
	struct listener		 listener[DAEMON_SOCKETS];
	size_t			 listener_n;
	struct event		 ev_sigterm, ev_beat;
	uint32_t		*beat;
};

/* ---- the parent ---- */

static bool
ask_parent(void *ctx, const char *name)
{
	struct worker *w = ctx;
	const struct ipc_broker_connect m = { .name = slice_of(name) };

	return w->parent != NULL && IPC_CONN_SEND(w->parent, broker_connect, &m, -1);
}

static bool
take_descriptor(struct worker *w, struct slice name, int fd)
{
	if (slice_is(name, "queue-submit")) {
		smtp_link_take(smtp_queue_link(w->server.queue), fd);
	} else if (slice_is(name, "auth-smtp")) {
		smtp_link_take(smtp_auth_link(w->server.auth), fd);
	} else if (slice_is(name, ROUTES_FILE) && fd != -1) {
		if (!routes_take(w->server.routes, fd))
			log_say(LOG_LEVEL_ERROR, "the new map is damaged; recipients cannot be checked");
	} else {
		if (fd != -1)
			(void)close(fd);
		return false;
	}
	return true;
}

static void
stop_listening(struct worker *w)
{
	for (size_t i = 0; i < w->listener_n; i++)
		conn_listener_free(w->listener[i].listener);
	w->listener_n = 0;
	daemon_close_sockets(w->daemon);
}

static void
drain(struct worker *w)
{
	stop_listening(w);
	if (!w->server.draining)
		smtp_server_drain(&w->server);
}

static bool
obey(struct worker *w, const struct ipc_front_do *m)
{
	switch (m->action) {
	case FRONT_RETIRE:
		stop_listening(w);
		smtp_server_retire(&w->server);
		return true;
	case FRONT_DRAIN:
		drain(w);
		return true;
	case FRONT_END:
		(void)event_base_loopbreak(w->server.base);
		return true;
	default:
		return false;
	}
}

static bool
parent_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct worker *w = ctx;
	struct ipc_broker_connected connected;
	struct ipc_front_do order;

	(void)c;
	if (ipc_get_broker_connected(frame, &connected))
		return take_descriptor(w, connected.name, connected.verdict == OK ? passed : -1);
	if (passed != -1)
		(void)close(passed);
	return ipc_get_front_do(frame, &order) && obey(w, &order);
}

/* It is dead: those who started it start another, which has workers of its own. */
static void
parent_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct worker *w = ctx;

	(void)why;
	ipc_conn_free(c);
	w->parent = NULL;
	drain(w);
	smtp_queue_alone(w->server.queue);
}

static const struct ipc_conn_ops parent_ops = { .frame = parent_frame, .closed = parent_closed };

/* ---- events ---- */

static void
accepted(int fd, const char *address, void *ctx)
{
	const struct listener *l = ctx;

	smtp_server_accept(l->server, fd, address, l->service, l->tls);
}

static void
on_sigterm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	drain(arg);
}

static void
on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	__atomic_add_fetch(w->beat, 1, __ATOMIC_RELAXED);
}

static void
on_drained(void *ctx)
{
	(void)event_base_loopexit(((struct worker *)ctx)->server.base, NULL);
}

/* ---- the start ---- */

static void
watch_sigterm(struct worker *w)
{
	int fd = login_sigterm_fd();

	if (event_assign(&w->ev_sigterm, w->server.base, fd, EV_READ, on_sigterm, w) != 0 ||
	    event_add(&w->ev_sigterm, NULL) != 0)
		log_fatal(EX_OSERR, "signals: no memory");
}

static struct ssl_ctx_st *
load_tls(int certificate_fd, int key_fd)
{
	struct ssl_ctx_st *tls;
	char why[200];

	if (certificate_fd == -1 || key_fd == -1)
		return NULL;
	tls = tls_server_new_fds(certificate_fd, key_fd, why, sizeof(why));
	if (tls == NULL)
		log_fatal(EX_CONFIG, "TLS: %s (tls-certificate, tls-key)", why);
	tls_server_alpn(tls, "smtp");
	(void)close(certificate_fd);
	(void)close(key_fd);
	return tls;
}

static void
open_parts(struct worker *w, const struct smtp_worker_start *start, bool broker)
{
	struct smtp_server *s = &w->server;
	struct daemon *d = start->daemon;

	w->daemon = d;
	w->broker = (struct smtp_broker){ .ask = ask_parent, .ctx = w };
	smtp_server_init(s, d->base, &d->conf, load_tls(start->certificate_fd, start->key_fd));
	s->limits = start->limits;
	s->worker = start->number;
	s->routes = routes_open(start->map_dirfd);
	s->queue = smtp_queue_new(d->base, broker ? &w->broker : NULL);
	s->auth = smtp_auth_new(d->base, broker ? &w->broker : NULL);
	s->drained = on_drained;
	s->drained_ctx = w;
	if (s->routes == NULL || s->queue == NULL || s->auth == NULL)
		log_fatal(EX_OSERR, "no memory");
	watch_sigterm(w);
}

static void
listen_all(struct worker *w)
{
	struct daemon *d = w->daemon;

	for (size_t i = 0; i < d->socket_n; i++) {
		struct listener *l = &w->listener[w->listener_n];

		l->server = &w->server;
		if (!smtp_server_service(d->socket[i].name, &l->service, &l->tls))
			continue;
		if (l->tls && w->server.tls == NULL) {
			log_say(LOG_LEVEL_ERROR, "%s needs tls-certificate and tls-key: not served", d->socket[i].name);
			continue;
		}
		l->listener = conn_listen(d->base, d->socket[i].fd, accepted, l);
		if (l->listener == NULL)
			log_fatal(EX_OSERR, "cannot listen: no memory");
		w->listener_n++;
	}
}

static void
keep_own(const struct smtp_worker_start *start)
{
	struct daemon *d = start->daemon;
	int keep[DAEMON_SOCKETS + 4] = { start->parent_fd, start->map_dirfd, start->certificate_fd, start->key_fd };

	for (size_t i = 0; i < d->socket_n; i++)
		keep[4 + i] = d->socket[i].fd;
	login_child(d, "smtpd", keep, 4 + d->socket_n);
}

_Noreturn void
smtp_worker_run(const struct smtp_worker_start *start)
{
	struct daemon *d = start->daemon;
	struct worker *w = calloc(1, sizeof(*w));
	struct confine c = { .kind = CONFINE_SMTPD, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	const struct ipc_front_ready ready = { 0 };

	if (w == NULL)
		log_fatal(EX_OSERR, "no memory");
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	keep_own(start);
	open_parts(w, start, true);
	w->parent = ipc_conn_new(d->base, start->parent_fd, "smtpd", PARENT_OUT_MAX, &parent_ops, w);
	w->beat = start->beat;
	if (w->parent == NULL ||
	    event_assign(&w->ev_beat, d->base, -1, EV_PERSIST, on_beat, w) != 0 ||
	    event_add(&w->ev_beat, &(struct timeval){ BEAT_S, 0 }) != 0)
		log_fatal(EX_OSERR, "no memory");
	listen_all(w);
	(void)close(start->map_dirfd);
	daemon_confine(d, &c);

	smtp_link_start(smtp_queue_link(w->server.queue));
	smtp_link_start(smtp_auth_link(w->server.auth));
	(void)IPC_CONN_SEND(w->parent, front_ready, &ready, -1);
	daemon_log_batch(d);
	(void)event_base_dispatch(d->base);
	log_batch(NULL, NULL);
	_exit(0);
}

/* ---- one connection ---- */

/* Which service is it?  -S says so, else the port that was connected to. */
static void
find_service(const struct daemon *d, uint16_t port, enum smtp_service *service, bool *tls)
{
	static const struct { uint16_t port; const char *name; } well_known[] = {
		{ 587, "submission" }, { 465, "submissions" }, { 24, "lmtp" },
	};
	const char *name = "smtp";

	for (size_t i = 0; i < LEN(well_known); i++)
		if (well_known[i].port == port)
			name = well_known[i].name;
	for (size_t i = 0; i < d->conf.listen_n; i++)
		if (d->conf.listen[i].port == port && port != 0)
			name = conf_service_name(d->conf.listen[i].service);
	if (d->inetd_service != NULL)
		name = d->inetd_service;
	if (!smtp_server_service(name, service, tls))
		log_fatal(EX_CONFIG, "-S is 'smtp', 'submission', 'submissions' or 'lmtp' here");
}

static int
open_file(const char *path)
{
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);

	if (path != NULL && fd == -1)
		log_fatal(EX_CONFIG, "cannot open %s: %s", path, strerror(errno));
	return fd;
}

int
smtp_single_run(struct daemon *d)
{
	struct confine c = { .kind = CONFINE_SMTPD, .uid = d->uid, .gid = d->gid };
	struct smtp_worker_start start = { .daemon = d };
	struct worker w = { 0 };
	enum smtp_service service = { 0 };
	struct inetd_connection one;
	bool tls = false;

	inetd_take(d, &one);
	if (one.rfd != -1)
		find_service(d, one.port, &service, &tls);
	start.certificate_fd = open_file(d->conf.tls_certificate);
	start.key_fd = open_file(d->conf.tls_key);
	start.map_dirfd = daemon_open_dir(d, d->conf.map_dir);
	open_parts(&w, &start, false);
	(void)close(start.map_dirfd);
	smtp_link_take(smtp_queue_link(w.server.queue), ipc_connect(d->run_dirfd, "queue-submit"));
	smtp_link_take(smtp_auth_link(w.server.auth), ipc_connect(d->run_dirfd, "auth-smtp"));
	if (tls && w.server.tls == NULL)
		log_fatal(EX_CONFIG, "implicit TLS needs tls-certificate and tls-key");
	daemon_confine(d, &c);

	w.server.single = true;
	smtp_conn_new(&w.server, one.rfd, one.wfd, service, tls, one.name[0] == '\0' ? NULL : one.name, one.remote);
	(void)event_base_dispatch(d->base);	/* over when the session is */
	return 0;
}
