/* login_parent: see the header. */
#include "login/login_parent.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"
#include "login/login_front.h"

#define EX_CONFIG	78
#define WORKERS_MAX	4
#define DRAIN_USEC	(1800 * 1000000ull)	/* sessions may go on for so long after SIGTERM */

static const char *const broker_names[] = { "auth-login", NULL };

/* ---- fronts and brokers ---- */

static struct login_worker *
worker_of(struct login_slot *slot)
{
	struct login_parent *p = slot->workers->ctx;

	return &p->worker[slot->number];
}

static bool
worker_frame(struct login_slot *slot, struct slice frame)
{
	uint16_t code = 0;

	(void)ipc_code(frame, &code);
	return code == IPC_session_start && login_users_start(worker_of(slot), frame);
}

/* A broker for the front of w; its end for the front, or -1. */
static int
broker_new(struct login_worker *w)
{
	const struct daemon *d = w->parent->daemon;
	struct broker b;

	if (!broker_start(&b, d->run_dirfd, broker_names, d->uid, d->gid)) {
		log_say(LOG_LEVEL_ERROR, "cannot start a broker: %s", strerror(errno));
		return -1;
	}
	w->broker_pid = b.pid;
	return b.fd;
}

static bool
before_start(struct login_slot *slot)
{
	struct login_worker *w = worker_of(slot);

	w->broker_fd = broker_new(w);
	return w->broker_fd != -1;
}

static void
run_front(struct login_slot *slot, int parent_fd)
{
	const struct login_worker *w = worker_of(slot);
	const struct login_parent *p = w->parent;
	const struct login_front_start start = {
		.daemon = p->daemon, .proto = p->proto, .limits = p->workers.limits, .worker = slot->number,
		.parent_fd = parent_fd, .broker_fd = w->broker_fd,
		.connection = p->connection.rfd == -1 ? NULL : &p->connection, .implicit_tls = p->implicit_tls,
		.certificate_fd = p->certificate_fd, .key_fd = p->key_fd,
	};

	login_front_run(&start);
}

/* The front has its end of the broker now; if there is none the broker sees that, and ends. */
static void
after_fork(struct login_slot *slot)
{
	struct login_worker *w = worker_of(slot);

	(void)close(w->broker_fd);
	w->broker_fd = -1;
	if (slot->pid == -1)
		w->broker_pid = -1;
}

static void
worker_died(struct login_slot *slot)
{
	worker_of(slot)->broker_pid = -1;	/* it ends with its front */
	login_users_forget(worker_of(slot));
}

/* ---- other children ---- */

static void
broker_died(struct login_worker *w, int status)
{
	char how[64];

	w->broker_pid = -1;
	if (w->slot.pid == -1 || w->parent->draining)
		return;
	log_say(LOG_LEVEL_ERROR, "broker died: %s", login_death(status, how, sizeof(how)));
	login_workers_order(&w->slot, FRONT_BROKER, broker_new(w));
}

static void
other_died(void *ctx, pid_t pid, int status)
{
	struct login_parent *p = ctx;

	for (unsigned i = 0; i < p->workers.n; i++) {
		if (p->worker[i].broker_pid == pid) {
			broker_died(&p->worker[i], status);
			return;
		}
	}
	(void)login_users_died(p, pid, status);
}

static bool
users_left(void *ctx)
{
	const struct login_parent *p = ctx;

	return p->users.n != 0 || p->users.parking.n != 0;
}

static void
kill_users(void *ctx)
{
	login_users_kill(ctx);
}

/* ---- time, and the end ---- */

static void
on_tick(void *ctx, uint64_t now)
{
	struct login_parent *p = ctx;

	login_users_tick(p, now);
	for (unsigned i = 0; i < p->workers.n && !p->draining; i++) {
		struct login_worker *w = &p->worker[i];

		if (w->slot.pid != -1 && w->broker_pid == -1)
			login_workers_order(&w->slot, FRONT_BROKER, broker_new(w));
	}
	if (p->draining && now >= p->drain_until_usec)
		daemon_end(p->daemon, 0);
	login_workers_end_if_done(&p->workers);	/* the last parked session may have ended */
}

static const struct login_workers_ops workers_ops = {
	.what = "front", .prepare = before_start, .child = run_front, .forked = after_fork, .frame = worker_frame,
	.died = worker_died, .tick = on_tick, .other_died = other_died, .others_left = users_left,
	.kill_others = kill_users,
};

static void
begin_draining(struct login_parent *p, uint64_t until_usec)
{
	p->draining = p->workers.draining = true;
	p->drain_until_usec = until_usec;
}

/* Nothing new; sessions go on for a while. */
static void
wind_down(struct login_parent *p, enum ipc_front_action action)
{
	begin_draining(p, now_mono_usec() + DRAIN_USEC);
	login_workers_wind_down(&p->workers, action);
}

/* SIGTERM: those who are not logged in go. */
static void
drain(void *ctx)
{
	wind_down(ctx, FRONT_DRAIN);
}

/* SIGUSR2: they stay. */
static void
retire(void *ctx)
{
	wind_down(ctx, FRONT_RETIRE);
}

/* The loop has ended (a second SIGTERM, or all is done): who is left says bye and goes, or is killed. */
static void
end_all(struct login_parent *p)
{
	p->draining = p->ending = true;
	login_parked_end(p);
	login_workers_order_all(&p->workers, FRONT_END);
	login_users_end(p);
	login_workers_end(&p->workers);
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

/* inetd, or a connection from systemd: which service is it?  -S says so, else its port. */
static bool
is_implicit_tls(const struct login_parent *p)
{
	const struct daemon *d = p->daemon;
	uint16_t port = p->connection.port;

	if (d->inetd_service != NULL) {
		if (strcmp(d->inetd_service, p->proto->service) != 0 &&
		    strcmp(d->inetd_service, p->proto->service_tls) != 0)
			log_fatal(EX_CONFIG, "-S is '%s' or '%s' here", p->proto->service, p->proto->service_tls);
		return strcmp(d->inetd_service, p->proto->service_tls) == 0;
	}
	for (size_t i = 0; i < d->conf.listen_n; i++)
		if (d->conf.listen[i].port == port && port != 0)
			return strcmp(conf_service_name(d->conf.listen[i].service), p->proto->service_tls) == 0;
	return port == p->proto->port_tls;
}

static unsigned
worker_count(const struct login_parent *p)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (p->connection.rfd != -1 || n < 1)
		return 1;
	return n > WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

/* Everything that is opened or asked for while that is still allowed. */
static void
prepare(struct login_parent *p)
{
	struct daemon *d = p->daemon;
	unsigned workers;

	inetd_take(d, &p->connection);
	p->implicit_tls = p->connection.rfd != -1 && is_implicit_tls(p);
	p->certificate_fd = open_file(d->conf.tls_certificate);
	p->key_fd = open_file(d->conf.tls_key);
	if (p->certificate_fd == -1 || p->key_fd == -1)
		log_say(LOG_LEVEL_WARNING, "no tls-certificate and tls-key: nobody can log in");
	login_users_init(&p->users, d, daemon_open_dir(d, d->conf.mail_root));
	login_parked_init(p);
	workers = worker_count(p);
	p->workers = (struct login_workers){ .daemon = d, .ops = &workers_ops, .ctx = p,
	    .limits = login_limits_new(workers, d->conf.login_sessions, d->conf.login_sessions_per_client) };
	login_workers_init(&p->workers);
	for (unsigned i = 0; i < workers; i++) {
		p->worker[i] = (struct login_worker){ .parent = p, .broker_pid = -1, .broker_fd = -1 };
		login_workers_add(&p->workers, &p->worker[i].slot);
	}
}

/* Users' processes inherit these limits of where they may write, and narrow them to one Maildir. */
static void
confine(struct login_parent *p)
{
	struct confine c = { .kind = CONFINE_LOGIN_PARENT, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	int root = -1;

	(void)confine_path(&c, p->users.mail_dirfd, ACCESS_WRITE);
	if (p->daemon->conf.system_users) {
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);	/* homes may be anywhere */
		(void)confine_path(&c, root, ACCESS_WRITE);
	}
	daemon_confine(p->daemon, &c);
	if (root != -1)
		(void)close(root);
}

/*
 * --probe: confine as one of our processes, try one thing, exit.  "ATTEMPT" and
 * "front:ATTEMPT": the front; "parent:ATTEMPT"; "user:HOME:ATTEMPT", HOME below
 * mail-root ("example.org/alice").
 */
static void
probe(struct login_parent *p)
{
	struct daemon *d = p->daemon;
	struct confine c = { .kind = CONFINE_LOGIN, .uid = d->uid, .gid = d->gid };
	struct user_mailbox mailbox = { .user = "probe", .uid = p->users.vmail_uid, .gid = p->users.vmail_gid };
	struct slice attempt = slice_of(d->probe);

	if (slice_prefix(&attempt, "parent:")) {
		d->probe = attempt.ptr;
		confine(p);
	} else if (slice_prefix(&attempt, "user:")) {
		if (!slice_text(slice_cut(&attempt, ':'), mailbox.home, sizeof(mailbox.home)))
			log_fatal(EX_CONFIG, "--probe user:HOME:ATTEMPT");
		d->probe = attempt.ptr;
		(void)user_process_confine(d, p->user_proto, &mailbox, p->users.mail_dirfd);
	}
	(void)slice_prefix(&attempt, "front:");
	d->probe = attempt.ptr;
	(void)close(p->users.mail_dirfd);
	daemon_confine(d, &c);
}

static void
warm_up(void)
{
	/* Once here instead of in each front; reads openssl.cnf, which is out of reach later. */
	(void)OPENSSL_init_ssl(OPENSSL_INIT_LOAD_CONFIG, NULL);
}

int
login_main(struct daemon *d, const struct login_proto *proto, const struct user_proto *user)
{
	static struct login_parent p;
	int code;

	p.daemon = d;
	p.proto = proto;
	p.user_proto = user;
	prepare(&p);
	if (d->probe != NULL)
		probe(&p);
	warm_up();
	confine(&p);
	login_workers_start(&p.workers);
	if (p.connection.rfd != -1) {
		(void)close(p.connection.rfd);
		if (p.connection.wfd != p.connection.rfd)
			(void)close(p.connection.wfd);
		begin_draining(&p, UINT64_MAX);	/* done when the connection is */
	}
	d->drain = drain;
	d->retire = retire;
	d->drain_ctx = &p;
	code = daemon_run(d);
	end_all(&p);
	return code;
}
