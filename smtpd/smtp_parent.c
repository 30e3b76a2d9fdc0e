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
#include <unistd.h>

#include <event2/event.h>
#include <event2/event_struct.h>
#include <openssl/ssl.h>

#include "ipc.h"
#include "ipc_conn.h"
#include "log.h"
#include "login/login_limits.h"
#include "login/login_workers.h"
#include "routes_record.h"
#include "smtp_worker.h"

#define EX_CONFIG	78
#define EX_OSERR	71
#define WORKERS_MAX	LOGIN_WORKERS
#define WORKERS_USUAL	4
#define HUNG_USEC	60000000	/* without a beat it is killed */

struct parent;

struct worker {
	struct login_slot	 slot;
	struct parent		*parent;
	uint64_t		 beat_usec;	/* when it was seen to turn */
	uint32_t		 beat;
};

struct parent {
	struct login_workers	 workers;
	struct worker		 worker[WORKERS_MAX];
	uint32_t		*beats;		/* shared, one a worker */
	int			 map_dirfd, inotify_fd;
	int			 certificate_fd, key_fd;	/* -1: none */
	struct stat		 map;		/* the one that the workers have */
	struct event		 ev_map;
};

static struct worker *
worker_of(struct login_slot *slot)
{
	struct parent *p = slot->workers->ctx;

	return &p->worker[slot->number];
}

/* ---- what workers ask for ---- */

static void
give(struct login_slot *slot, const char *name, int fd)
{
	const struct ipc_broker_connected m = { .name = slice_of(name), .verdict = fd == -1 ? TEMP : OK };

	if (slot->conn != NULL)
		(void)IPC_CONN_SEND(slot->conn, broker_connected, &m, fd);
	else if (fd != -1)
		(void)close(fd);
}

static bool
worker_frame(struct login_slot *slot, struct slice frame)
{
	static const char *const allowed[] = { "queue-submit", "auth-smtp" };
	struct ipc_broker_connect ask;

	if (!ipc_get_broker_connect(frame, &ask))
		return false;
	for (size_t i = 0; i < LEN(allowed); i++) {
		if (!slice_is(ask.name, allowed[i]))
			continue;
		give(slot, allowed[i], ipc_connect(slot->workers->daemon->run_dirfd, allowed[i]));
		return true;
	}
	return false;
}

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
	for (unsigned i = 0; i < p->workers.n; i++) {
		if (p->worker[i].slot.conn == NULL)
			continue;
		/* Each opens its own: an offset would be shared. */
		fd = openat(p->map_dirfd, ROUTES_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd == -1)
			log_say(LOG_LEVEL_ERROR, "%s: %s", ROUTES_FILE, strerror(errno));
		else
			give(&p->worker[i].slot, ROUTES_FILE, fd);
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
before_start(struct login_slot *slot)
{
	struct worker *w = worker_of(slot);

	w->beat_usec = now_mono_usec();
	/* It opens the map that is there now. */
	(void)fstatat(w->parent->map_dirfd, ROUTES_FILE, &w->parent->map, 0);
	return true;
}

static void
run_worker(struct login_slot *slot, int parent_fd)
{
	struct parent *p = worker_of(slot)->parent;
	const struct smtp_worker_start start = {
		.daemon = slot->workers->daemon, .limits = slot->workers->limits, .number = slot->number,
		.beat = &p->beats[slot->number], .parent_fd = parent_fd,
		.map_dirfd = p->map_dirfd, .certificate_fd = p->certificate_fd, .key_fd = p->key_fd,
	};

	smtp_worker_run(&start);
}

/* One that turns in circles, or was stopped, is as good as dead. */
static void
look_after(struct worker *w, uint64_t now)
{
	uint32_t beat = __atomic_load_n(&w->parent->beats[w->slot.number], __ATOMIC_RELAXED);

	if (beat != w->beat) {
		w->beat = beat;
		w->beat_usec = now;
	} else if (now - w->beat_usec > HUNG_USEC) {
		log_say(LOG_LEVEL_ERROR, "worker %u hangs: killed", w->slot.number);
		w->beat_usec = now;
		(void)kill(w->slot.pid, SIGKILL);
	}
}

static void
on_tick(void *ctx, uint64_t now)
{
	struct parent *p = ctx;

	look_at_map(p);
	for (unsigned i = 0; i < p->workers.n; i++)
		if (p->worker[i].slot.pid != -1)
			look_after(&p->worker[i], now);
}

static const struct login_workers_ops workers_ops = {
	.what = "worker", .prepare = before_start, .child = run_worker, .frame = worker_frame, .tick = on_tick,
};

/* SIGTERM: what was begun is finished. */
static void
drain(void *ctx)
{
	login_workers_wind_down(&((struct parent *)ctx)->workers, FRONT_DRAIN);
}

/* SIGUSR2: sessions go on. */
static void
retire(void *ctx)
{
	login_workers_wind_down(&((struct parent *)ctx)->workers, FRONT_RETIRE);
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
	if (event_assign(&p->ev_map, p->workers.daemon->base, p->inotify_fd, EV_READ | EV_PERSIST, on_map, p) == 0)
		(void)event_add(&p->ev_map, NULL);
}

/* Everything that is opened or asked for while that is still allowed. */
static void
prepare(struct parent *p)
{
	struct daemon *d = p->workers.daemon;
	unsigned workers = worker_count(&d->conf);
	void *beats = mmap(NULL, WORKERS_MAX * sizeof(*p->beats), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	p->map_dirfd = daemon_open_dir(d, d->conf.map_dir);
	p->certificate_fd = open_file(d->conf.tls_certificate);
	p->key_fd = open_file(d->conf.tls_key);
	if (p->certificate_fd == -1 || p->key_fd == -1)
		log_say(LOG_LEVEL_WARNING, "no tls-certificate and tls-key: no STARTTLS, nobody can log in");
	if (beats == MAP_FAILED)
		log_fatal(EX_OSERR, "no memory");
	p->beats = beats;
	p->workers.limits = login_limits_new(workers, d->conf.smtp_sessions, d->conf.smtp_sessions_per_client);
	login_workers_init(&p->workers);
	for (unsigned i = 0; i < workers; i++) {
		p->worker[i].parent = p;
		login_workers_add(&p->workers, &p->worker[i].slot);
	}
	watch_map(p);
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
	p->workers = (struct login_workers){ .daemon = d, .ops = &workers_ops, .ctx = p };
	prepare(p);
	(void)confine_path(&c, p->map_dirfd, ACCESS_READ);
	daemon_confine(d, &c);
	login_workers_start(&p->workers);
	d->drain = drain;
	d->retire = retire;
	d->drain_ctx = p;
	code = daemon_run(d);
	p->workers.draining = true;
	login_workers_order_all(&p->workers, FRONT_END);
	login_workers_end(&p->workers);
	free(p);
	return code;
}
