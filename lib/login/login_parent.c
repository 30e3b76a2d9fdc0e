/* login_parent: see the header. */
#include "login/login_parent.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker.h"
#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"
#include "login/login_front.h"

#define EX_OSERR	71
#define EX_CONFIG	78
#define WORKERS_MAX	4
#define OUT_MAX		(1024 * 1024)	/* octets of frames that may wait for a front */
#define AGAIN_USEC	2000000		/* a front that died twice within this waits so long */
#define DRAIN_USEC	(1800 * 1000000ull)	/* sessions may go on for so long after SIGTERM */
#define END_S		4		/* then children are killed */

static const char *const broker_names[] = { "auth-login", NULL };

/* ---- fronts and brokers ---- */

static void
all_ready(struct login_parent *p)
{
	for (unsigned i = 0; i < p->worker_n; i++)
		if (!p->worker[i].ready)
			return;
	if (!p->ready)
		daemon_ready(p->daemon);
	p->ready = true;
}

static bool
worker_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct login_worker *w = ctx;
	struct ipc_front_ready ready;
	uint16_t code = 0;

	(void)c;
	(void)ipc_code(frame, &code);
	if (passed != -1) {	/* a front passes nothing */
		(void)close(passed);
		return false;
	}
	if (code == IPC_session_start)
		return login_users_start(w, frame);
	if (code != IPC_front_ready || !ipc_get_front_ready(frame, &ready))
		return false;
	w->ready = true;
	all_ready(w->parent);
	return true;
}

static void
worker_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct login_worker *w = ctx;

	(void)why;
	ipc_conn_free(c);
	w->conn = NULL;
	/* It broke the rules, or is dead already; its death is handled by reap(). */
	if (w->pid != -1)
		(void)kill(w->pid, SIGKILL);
}

static const struct ipc_conn_ops worker_ops = { .frame = worker_frame, .closed = worker_closed };

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

static void
run_front(struct login_worker *w, int parent_fd, int broker_fd)
{
	struct login_parent *p = w->parent;
	const struct login_front_start start = {
		.daemon = p->daemon, .proto = p->proto, .limits = p->limits, .worker = w->number,
		.parent_fd = parent_fd, .broker_fd = broker_fd,
		.connection = p->connection.rfd == -1 ? NULL : &p->connection, .implicit_tls = p->implicit_tls,
		.certificate_fd = p->certificate_fd, .key_fd = p->key_fd,
	};

	login_front_run(&start);
}

/* Fork a front with its broker; false: not now. */
static bool
worker_start(struct login_worker *w)
{
	struct login_parent *p = w->parent;
	int fds[2], broker_fd;

	w->started_usec = now_mono_usec();
	w->again_usec = 0;
	broker_fd = broker_new(w);
	if (broker_fd == -1)
		return false;
	if (!ipc_pair(fds)) {
		(void)close(broker_fd);		/* the broker sees that, and ends */
		w->broker_pid = -1;
		return false;
	}
	w->pid = login_fork();
	if (w->pid == 0)
		run_front(w, fds[1], broker_fd);
	(void)close(fds[1]);
	(void)close(broker_fd);
	if (w->pid == -1) {
		(void)close(fds[0]);
		w->broker_pid = -1;
		return false;
	}
	w->conn = ipc_conn_new(p->daemon->base, fds[0], p->daemon->name, OUT_MAX, &worker_ops, w);
	return true;		/* without memory for conn the front sees its end, and ends */
}

static void
worker_order(struct login_worker *w, enum ipc_front_action action, int fd)
{
	const struct ipc_front_do m = { .action = (uint8_t)action };

	if (w->conn != NULL)
		(void)IPC_CONN_SEND(w->conn, front_do, &m, fd);
	else if (fd != -1)
		(void)close(fd);
}

/* ---- children that die ---- */

static void
end_if_done(struct login_parent *p)
{
	for (unsigned i = 0; i < p->worker_n; i++)
		if (p->worker[i].pid != -1)
			return;
	if (p->draining && p->users.n == 0 && p->users.parking.n == 0)
		daemon_end(p->daemon, 0);
}

static void
worker_died(struct login_worker *w, int status)
{
	struct login_parent *p = w->parent;
	uint64_t now = now_mono_usec();
	char how[64];

	w->pid = -1;
	w->broker_pid = -1;	/* it ends with its front */
	if (w->conn != NULL)
		ipc_conn_free(w->conn);
	w->conn = NULL;
	login_users_forget(w);
	login_limits_reset(p->limits, w->number);
	if (p->draining)
		return;
	log_say(LOG_LEVEL_ERROR, "front died: %s", login_death(status, how, sizeof(how)));
	if (!p->ready)		/* a start that fails is told to who started us */
		daemon_end(p->daemon, WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EX_OSERR);
	w->young = now - w->started_usec < AGAIN_USEC ? w->young + 1 : 0;
	if (p->ready && (w->young > 1 || !worker_start(w)))
		w->again_usec = now + AGAIN_USEC;
}

static void
broker_died(struct login_worker *w, int status)
{
	char how[64];

	w->broker_pid = -1;
	if (w->pid == -1 || w->parent->draining)
		return;
	log_say(LOG_LEVEL_ERROR, "broker died: %s", login_death(status, how, sizeof(how)));
	worker_order(w, FRONT_BROKER, broker_new(w));
}

static struct login_worker *
worker_of(struct login_parent *p, pid_t pid, bool *broker)
{
	for (unsigned i = 0; i < p->worker_n; i++) {
		*broker = p->worker[i].broker_pid == pid;
		if (*broker || p->worker[i].pid == pid)
			return &p->worker[i];
	}
	return NULL;
}

static void
reap(struct login_parent *p)
{
	struct login_worker *w;
	bool broker = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		w = worker_of(p, pid, &broker);
		if (w == NULL)
			(void)login_users_died(p, pid, status);
		else if (broker)
			broker_died(w, status);
		else
			worker_died(w, status);
	}
	end_if_done(p);
}

static void
on_sigchld(int number, short what, void *arg)
{
	(void)number;
	(void)what;
	reap(arg);
}

/* ---- time, and the end ---- */

static void
order_all(struct login_parent *p, enum ipc_front_action action)
{
	for (unsigned i = 0; i < p->worker_n; i++)
		worker_order(&p->worker[i], action, -1);
}

static void
on_tick(int fd, short what, void *arg)
{
	struct login_parent *p = arg;
	uint64_t now = now_mono_usec();

	(void)fd;
	(void)what;
	login_users_tick(p, now);
	for (unsigned i = 0; i < p->worker_n && !p->draining; i++) {
		struct login_worker *w = &p->worker[i];

		if (w->again_usec != 0 && w->again_usec <= now && !worker_start(w))
			w->again_usec = now + AGAIN_USEC;
		else if (w->pid != -1 && w->broker_pid == -1)
			worker_order(w, FRONT_BROKER, broker_new(w));
	}
	if (p->draining && now >= p->drain_until_usec)
		daemon_end(p->daemon, 0);
	end_if_done(p);		/* the last parked session may have ended */
}

/* Nothing new; sessions go on for a while. */
static void
wind_down(struct login_parent *p, enum ipc_front_action action)
{
	p->draining = true;
	p->drain_until_usec = now_mono_usec() + DRAIN_USEC;
	daemon_close_sockets(p->daemon);
	order_all(p, action);
	end_if_done(p);
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

static bool
children_left(const struct login_parent *p)
{
	for (unsigned i = 0; i < p->worker_n; i++)
		if (p->worker[i].pid != -1)
			return true;
	return p->users.n != 0;
}

static void
time_is_up(int fd, short what, void *arg)
{
	struct login_parent *p = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < p->worker_n; i++)
		if (p->worker[i].pid != -1)
			(void)kill(p->worker[i].pid, SIGKILL);
	login_users_kill(p);
}

/* The loop has ended (a second SIGTERM, or all is done): who is left says bye and goes, or is killed. */
static void
end_all(struct login_parent *p)
{
	const struct timeval tv = { .tv_sec = END_S };
	struct event *timer;

	p->draining = p->ending = true;
	login_parked_end(p);
	if (!children_left(p))
		return;
	order_all(p, FRONT_END);
	login_users_end(p);
	timer = event_new(p->daemon->base, -1, 0, time_is_up, p);
	if (timer == NULL || event_add(timer, &tv) != 0)
		time_is_up(-1, 0, p);
	while (children_left(p) && event_base_loop(p->daemon->base, EVLOOP_ONCE) == 0)
		;
	if (timer != NULL)
		event_free(timer);
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

	inetd_take(d, &p->connection);
	p->implicit_tls = p->connection.rfd != -1 && is_implicit_tls(p);
	p->certificate_fd = open_file(d->conf.tls_certificate);
	p->key_fd = open_file(d->conf.tls_key);
	if (p->certificate_fd == -1 || p->key_fd == -1)
		log_say(LOG_LEVEL_WARNING, "no tls-certificate and tls-key: nobody can log in");
	login_users_init(&p->users, d, daemon_open_dir(d, d->conf.mail_root));
	login_parked_init(p);
	p->worker_n = worker_count(p);
	p->limits = login_limits_new(p->worker_n, d->conf.login_sessions, d->conf.login_sessions_per_client);
	p->sigchld = evsignal_new(d->base, SIGCHLD, on_sigchld, p);
	p->tick = event_new(d->base, -1, EV_PERSIST, on_tick, p);
	if (p->limits == NULL || p->sigchld == NULL || event_add(p->sigchld, NULL) != 0 || p->tick == NULL ||
	    event_add(p->tick, &(struct timeval){ .tv_sec = 1 }) != 0)
		log_fatal(EX_OSERR, "no memory");
	for (unsigned i = 0; i < LOGIN_WORKERS; i++)
		p->worker[i] = (struct login_worker){ .parent = p, .number = i, .pid = -1, .broker_pid = -1 };
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
	for (unsigned i = 0; i < p.worker_n; i++)
		if (!worker_start(&p.worker[i]))
			log_fatal(EX_OSERR, "cannot fork: %s", strerror(errno));
	if (p.connection.rfd != -1) {
		(void)close(p.connection.rfd);
		if (p.connection.wfd != p.connection.rfd)
			(void)close(p.connection.wfd);
		p.draining = true;	/* done when the connection is */
		p.drain_until_usec = UINT64_MAX;
	}
	d->drain = drain;
	d->retire = retire;
	d->drain_ctx = &p;
	code = daemon_run(d);
	end_all(&p);
	return code;
}
