#include "smtp_parent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#include "ipc.h"
#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"
#include "login/login_limits.h"
#include "routes_record.h"
#include "smtp_worker.h"

#define EX_CONFIG	78
#define EX_OSERR	71
#define WORKERS_MAX	LOGIN_WORKERS
#define WORKERS_USUAL	4
#define OUT_MAX		(1024 * 1024)	/* octets of frames that may wait for a worker */
#define SHORT_USEC	1000000		/* a worker that lived for less is not replaced at once ... */
#define AGAIN_USEC	500000		/* ... but so much later */
#define HUNG_USEC	60000000	/* without a beat it is killed */
#define END_S		4		/* at the end: then they are killed */

struct parent;

struct slot {
	struct parent	*parent;
	unsigned	 number;
	pid_t		 pid;		/* -1: none */
	struct ipc_conn	*conn;
	bool		 ready;
	struct event	 ev_again;
	uint64_t	 started_usec;	/* monotonic */
	uint64_t	 beat_usec;	/* when it was seen to turn */
	uint32_t	 beat;
};

struct parent {
	struct daemon		*daemon;
	struct login_limits	*limits;	/* shared with the workers */
	uint32_t		*beats;		/* shared, one a worker */
	struct slot		 slot[WORKERS_MAX];
	unsigned		 slot_n;
	int			 map_dirfd, inotify_fd;
	int			 certificate_fd, key_fd;	/* -1: none */
	struct stat		 map;		/* the one that the workers have */
	struct event		 ev_child, ev_tick, ev_map;
	bool			 ready, draining;
};

/* ---- what workers ask for ---- */

static void
give(struct slot *w, const char *name, int fd)
{
	const struct ipc_broker_connected m = { .name = slice_of(name), .verdict = fd == -1 ? TEMP : OK };

	if (w->conn != NULL)
		(void)IPC_CONN_SEND(w->conn, broker_connected, &m, fd);
	else if (fd != -1)
		(void)close(fd);
}

static bool
connect_for(struct slot *w, struct slice name)
{
	static const char *const allowed[] = { "queue-submit", "auth-smtp" };

	for (size_t i = 0; i < LEN(allowed); i++) {
		if (!slice_is(name, allowed[i]))
			continue;
		give(w, allowed[i], ipc_connect(w->parent->daemon->run_dirfd, allowed[i]));
		return true;
	}
	return false;
}

static void
all_ready(struct parent *p)
{
	for (unsigned i = 0; i < p->slot_n; i++)
		if (!p->slot[i].ready)
			return;
	if (!p->ready)
		daemon_ready(p->daemon);
	p->ready = true;
}

static bool
worker_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct slot *w = ctx;
	struct ipc_broker_connect ask;
	struct ipc_front_ready ready;

	(void)c;
	if (passed != -1) {	/* they pass nothing */
		(void)close(passed);
		return false;
	}
	if (ipc_get_broker_connect(frame, &ask))
		return connect_for(w, ask.name);
	if (!ipc_get_front_ready(frame, &ready))
		return false;
	w->ready = true;
	all_ready(w->parent);
	return true;
}

static void
worker_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct slot *w = ctx;

	(void)why;
	ipc_conn_free(c);
	w->conn = NULL;
	/* It broke the rules, or is dead already; its death is seen by reap(). */
	if (w->pid != -1)
		(void)kill(w->pid, SIGKILL);
}

static const struct ipc_conn_ops worker_ops = { .frame = worker_frame, .closed = worker_closed };

/* ---- maps ---- */

static bool
same_map(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Hand a new map to all workers. */
static void
look_at_map(struct parent *p)
{
	struct stat st;
	int fd;

	if (fstatat(p->map_dirfd, ROUTES_FILE, &st, 0) != 0 || same_map(&st, &p->map))
		return;
	p->map = st;
	for (unsigned i = 0; i < p->slot_n; i++) {
		if (p->slot[i].conn == NULL)
			continue;
		/* Each opens its own: an offset would be shared. */
		fd = openat(p->map_dirfd, ROUTES_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd == -1)
			log_say(LOG_LEVEL_ERROR, "%s: %s", ROUTES_FILE, strerror(errno));
		else
			give(&p->slot[i], ROUTES_FILE, fd);
	}
}

static void
on_map(evutil_socket_t fd, short what, void *arg)
{
	char events[4096];

	(void)what;
	while (read(fd, events, sizeof(events)) > 0)
		;
	look_at_map(arg);
}

/* ---- workers ---- */

static bool
worker_start(struct slot *w)
{
	struct parent *p = w->parent;
	struct smtp_worker_start start = {
		.daemon = p->daemon, .limits = p->limits, .number = w->number, .beat = &p->beats[w->number],
		.map_dirfd = p->map_dirfd, .certificate_fd = p->certificate_fd, .key_fd = p->key_fd,
	};
	int fds[2];

	w->started_usec = w->beat_usec = now_mono_usec();
	w->ready = false;
	if (!ipc_pair(fds))
		return false;
	/* It opens the map that is there now. */
	(void)fstatat(p->map_dirfd, ROUTES_FILE, &p->map, 0);
	w->pid = login_fork();
	if (w->pid == 0) {
		start.parent_fd = fds[1];
		smtp_worker_run(&start);
	}
	(void)close(fds[1]);
	if (w->pid == -1) {
		(void)close(fds[0]);
		return false;
	}
	w->conn = ipc_conn_new(p->daemon->base, fds[0], "smtpd", OUT_MAX, &worker_ops, w);
	return true;		/* without memory for conn the worker sees its end, and ends */
}

static void
end_if_done(struct parent *p)
{
	for (unsigned i = 0; i < p->slot_n; i++)
		if (p->slot[i].pid != -1)
			return;
	if (p->draining)
		daemon_end(p->daemon, 0);
}

static void
worker_died(struct slot *w, int status)
{
	struct parent *p = w->parent;

	w->pid = -1;
	ipc_conn_free(w->conn);
	w->conn = NULL;
	login_limits_reset(p->limits, w->number);
	if (p->draining)
		return;
	if (WIFSIGNALED(status))
		log_say(LOG_LEVEL_ERROR, "worker %u died: signal %d", w->number, WTERMSIG(status));
	else
		log_say(LOG_LEVEL_ERROR, "worker %u died: exit %d", w->number, WEXITSTATUS(status));
	if (!p->ready)		/* a start that fails is told to who started us */
		daemon_end(p->daemon, WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EX_OSERR);
	else if (now_mono_usec() - w->started_usec < SHORT_USEC || !worker_start(w))
		(void)event_add(&w->ev_again, &(struct timeval){ 0, AGAIN_USEC });
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct slot *w = arg;

	(void)fd;
	(void)what;
	if (!w->parent->draining && w->pid == -1 && !worker_start(w))
		(void)event_add(&w->ev_again, &(struct timeval){ 0, AGAIN_USEC });
}

static void
on_child(evutil_socket_t number, short what, void *arg)
{
	struct parent *p = arg;
	int status;
	pid_t pid;

	(void)number;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < p->slot_n; i++)
			if (p->slot[i].pid == pid)
				worker_died(&p->slot[i], status);
	end_if_done(p);
}

/* One that turns in circles, or was stopped, is as good as dead. */
static void
look_after(struct slot *w, uint64_t now)
{
	uint32_t beat = __atomic_load_n(&w->parent->beats[w->number], __ATOMIC_RELAXED);

	if (beat != w->beat) {
		w->beat = beat;
		w->beat_usec = now;
	} else if (now - w->beat_usec > HUNG_USEC) {
		log_say(LOG_LEVEL_ERROR, "worker %u hangs: killed", w->number);
		w->beat_usec = now;
		(void)kill(w->pid, SIGKILL);
	}
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;
	uint64_t now = now_mono_usec();

	(void)fd;
	(void)what;
	look_at_map(p);
	for (unsigned i = 0; i < p->slot_n; i++)
		if (p->slot[i].pid != -1)
			look_after(&p->slot[i], now);
}

/* ---- the end ---- */

static void
order_all(struct parent *p, enum ipc_front_action action)
{
	const struct ipc_front_do m = { .action = (uint8_t)action };

	for (unsigned i = 0; i < p->slot_n; i++)
		if (p->slot[i].conn != NULL)
			(void)IPC_CONN_SEND(p->slot[i].conn, front_do, &m, -1);
}

/* Nothing new: who does not listen any more leaves no connection waiting either. */
static void
wind_down(struct parent *p, enum ipc_front_action action)
{
	p->draining = true;
	daemon_close_sockets(p->daemon);
	order_all(p, action);
	end_if_done(p);
}

/* SIGTERM: what was begun is finished. */
static void
drain(void *ctx)
{
	wind_down(ctx, FRONT_DRAIN);
}

/* SIGUSR2: sessions go on. */
static void
retire(void *ctx)
{
	wind_down(ctx, FRONT_RETIRE);
}

static bool
workers_left(const struct parent *p)
{
	for (unsigned i = 0; i < p->slot_n; i++)
		if (p->slot[i].pid != -1)
			return true;
	return false;
}

static void
time_is_up(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < p->slot_n; i++)
		if (p->slot[i].pid != -1)
			(void)kill(p->slot[i].pid, SIGKILL);
}

/* The loop has ended (a second SIGTERM, or all is done): who is left goes, or is killed. */
static void
end_all(struct parent *p)
{
	struct event timer;

	p->draining = true;
	order_all(p, FRONT_END);
	if (event_assign(&timer, p->daemon->base, -1, 0, time_is_up, p) != 0 ||
	    event_add(&timer, &(struct timeval){ END_S, 0 }) != 0)
		time_is_up(-1, 0, p);
	while (workers_left(p) && event_base_loop(p->daemon->base, EVLOOP_ONCE) == 0)
		;
}

/* ---- the start ---- */

static int
open_file(const char *path)
{
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);

	if (path != NULL && fd == -1)
		log_fatal(EX_CONFIG, "cannot open %s: %s", path, strerror(errno));
	return fd;
}

static unsigned
worker_count(const struct conf *conf)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (conf->smtp_workers != 0)
		return conf->smtp_workers > WORKERS_MAX ? WORKERS_MAX : conf->smtp_workers;
	if (n < 1)
		return 1;
	return n > WORKERS_USUAL ? WORKERS_USUAL : (unsigned)n;
}

static void
watch_map(struct parent *p)
{
	char path[64];

	p->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", p->map_dirfd);
	/* Without it the tick sees a new map a moment later. */
	if (p->inotify_fd == -1 || inotify_add_watch(p->inotify_fd, path, IN_MOVED_TO | IN_CLOSE_WRITE) == -1)
		return;
	if (event_assign(&p->ev_map, p->daemon->base, p->inotify_fd, EV_READ | EV_PERSIST, on_map, p) == 0)
		(void)event_add(&p->ev_map, NULL);
}

/* Everything that is opened or asked for while that is still allowed. */
static void
prepare(struct parent *p)
{
	struct daemon *d = p->daemon;
	void *beats = mmap(NULL, WORKERS_MAX * sizeof(*p->beats), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	p->map_dirfd = daemon_open_dir(d, d->conf.map_dir);
	p->certificate_fd = open_file(d->conf.tls_certificate);
	p->key_fd = open_file(d->conf.tls_key);
	if (p->certificate_fd == -1 || p->key_fd == -1)
		log_say(LOG_LEVEL_WARNING, "no tls-certificate and tls-key: no STARTTLS, nobody can log in");
	p->slot_n = worker_count(&d->conf);
	p->limits = login_limits_new(p->slot_n, d->conf.smtp_sessions, d->conf.smtp_sessions_per_client);
	p->beats = beats;
	if (p->limits == NULL || beats == MAP_FAILED ||
	    event_assign(&p->ev_child, d->base, SIGCHLD, EV_SIGNAL | EV_PERSIST, on_child, p) != 0 ||
	    event_add(&p->ev_child, NULL) != 0 ||
	    event_assign(&p->ev_tick, d->base, -1, EV_PERSIST, on_tick, p) != 0 ||
	    event_add(&p->ev_tick, &(struct timeval){ 1, 0 }) != 0)
		log_fatal(EX_OSERR, "no memory");
	watch_map(p);
	for (unsigned i = 0; i < p->slot_n; i++) {
		p->slot[i] = (struct slot){ .parent = p, .number = i, .pid = -1 };
		(void)event_assign(&p->slot[i].ev_again, d->base, -1, 0, on_again, &p->slot[i]);
	}
	/* Once here instead of in each worker; reads openssl.cnf, which is out of reach later. */
	(void)OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
}

int
smtp_parent_run(struct daemon *d)
{
	struct confine c = { .kind = CONFINE_SMTPD_PARENT, .uid = d->uid, .gid = d->gid };
	struct parent *p = calloc(1, sizeof(*p));
	int code;

	if (p == NULL)
		log_fatal(EX_OSERR, "no memory");
	p->daemon = d;
	prepare(p);
	(void)confine_path(&c, p->map_dirfd, ACCESS_READ);
	daemon_confine(d, &c);
	for (unsigned i = 0; i < p->slot_n; i++)
		if (!worker_start(&p->slot[i]))
			log_fatal(EX_OSERR, "cannot fork: %s", strerror(errno));
	d->drain = drain;
	d->retire = retire;
	d->drain_ctx = p;
	code = daemon_run(d);
	end_all(p);
	free(p);
	return code;
}
