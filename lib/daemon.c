#include "daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "daemon_parent.h"
#include "listen.h"
#include "log.h"

#define LOG_HELD_MS	5	/* lines wait for others */
#define LOG_AGAIN_MS	20	/* a log that had no room is tried again after */
#define EX_CONFIG 78
#define EX_OSERR 71
#define FIRST_PASSED 3		/* sd_listen_fds(3) */

const char *const daemon_accounts[] = {
	"smtpd", "queue", "relay", "login", "auth", "policy", "vmail", "log", "drop", NULL
};

/* What daemon.c remembers; hangs on d->internal. */
struct internal {
	const char *const	*wanted;	/* sockets */
	struct event		*signal[8];
	size_t			 signal_n;
	struct event		*watchdog;
	struct event		*log;
	int			 exit_code;
	bool			 passed;	/* sockets came from whoever started us */
};

uint64_t
now_usec(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t
now_mono_usec(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The system's account of that name, or NULL; one with uid 0 is none. */
static const struct passwd *
system_account(const struct conf *conf, const char *account)
{
	char name[64];
	const struct passwd *pw;

	if (conf->user_prefix[0] == '\0')	/* numbers alone */
		return NULL;
	(void)snprintf(name, sizeof(name), "%s%s", conf->user_prefix, account);
	pw = getpwnam(name);
	return pw == NULL || pw->pw_uid == 0 ? NULL : pw;
}

uid_t
daemon_peer_uid(const struct conf *conf, const char *account)
{
	const struct passwd *pw = system_account(conf, account);
	uid_t uid;
	gid_t gid;

	if (geteuid() != 0)
		return pw != NULL ? pw->pw_uid : geteuid();
	daemon_account(conf, account, &uid, &gid);
	return uid;
}

void
daemon_account(const struct conf *conf, const char *account, uid_t *uid, gid_t *gid)
{
	const struct passwd *pw;

	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	if (geteuid() != 0)
		return;
	pw = system_account(conf, account);
	if (pw != NULL) {
		*uid = pw->pw_uid;
		*gid = pw->pw_gid;
		return;
	}
	for (unsigned i = 0; daemon_accounts[i] != NULL; i++) {
		if (strcmp(daemon_accounts[i], account) == 0) {
			*uid = conf->uid_base + i;
			*gid = conf->uid_base + i;
			return;
		}
	}
	log_fatal(EX_OSERR, "there is no account '%s%s'", conf->user_prefix, account);
}

/* ---- options ---- */

static _Noreturn void
usage(const char *name)
{
	(void)fprintf(stderr, "usage: %s [-C file] [-d] [-n] [-V] [-i [-S service]]\n", name);
	exit(64);
}

static void
take_options(struct daemon *d, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "probe", required_argument, NULL, 'P' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	const char *path = conf_default_file();
	int c;

	while ((c = getopt_long(argc, argv, "C:dniS:V", longs, NULL)) != -1) {
		switch (c) {
		case 'C':
			path = optarg;
			break;
		case 'd':
			d->debug = true;
			break;
		case 'n':
			d->check_only = true;
			break;
		case 'i':
			d->inetd = true;
			break;
		case 'S':
			d->inetd_service = optarg;
			break;
		case 'P':
			d->probe = optarg;
			break;
		case 'V':
			(void)printf("pennypost %s %s\n", d->name, PP_VERSION);
			exit(0);
		default:
			usage(d->name);
		}
	}
	if (optind != argc)
		usage(d->name);
	d->conf_path = strdup(path);
	if (d->conf_path == NULL)
		log_fatal(EX_OSERR, "no memory");
}

/* ---- the log ---- */

/* inetd makes descriptors 0, 1 and 2 the connection; whatever we and libraries say there, the client would get. */
static bool
stderr_is_connection(void)
{
	struct stat in, err;

	return fstat(0, &in) == 0 && fstat(2, &err) == 0 && S_ISSOCK(in.st_mode) &&
	    in.st_dev == err.st_dev && in.st_ino == err.st_ino;
}

/* Descriptor 2 becomes the log (or nothing): opened now, since no one can after confinement. */
static void
redirect_stderr(struct daemon *d, const char *log_to)
{
	int fd = log_open(log_to, &d->log_sink);

	if (fd == -1)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd == -1 || dup2(fd, 2) != 2)
		exit(EX_OSERR);
	(void)close(fd);
	d->own_log = true;
}

static void
open_log(const struct daemon *d)
{
	const struct log_setup setup = {
		.tag = d->conf.log_tag, .program = d->name, .hostname = d->conf.hostname,
		.fd = 2, .sink = d->log_sink, .json = d->conf.log_json, .debug = d->debug,
	};

	log_setup(&setup);
}

/* ---- sockets ---- */

static bool
is_wanted(const struct internal *in, const char *name)
{
	for (const char *const *w = in->wanted; w != NULL && *w != NULL; w++)
		if (strcmp(*w, name) == 0)
			return true;
	return false;
}

static void
add_socket(struct daemon *d, int fd, const char *name, bool connection)
{
	struct daemon_socket *s;

	if (d->socket_n == LEN(d->socket))
		log_fatal(EX_CONFIG, "more than %zu sockets", LEN(d->socket));
	s = &d->socket[d->socket_n++];
	s->fd = fd;
	s->connection = connection;
	conn_tune(fd);
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
}

static bool
is_listener(int fd)
{
	int yes = 0;
	socklen_t len = sizeof(yes);

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &len) == 0 && yes == 1;
}

static void
take_passed(struct daemon *d)
{
	struct internal *in = d->internal;
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	struct slice left = slice_of(names);
	uint64_t n, p;

	if (pid != NULL && count != NULL && slice_number(slice_of(pid), INT32_MAX, &p) &&
	    (pid_t)p == getpid() && slice_number(slice_of(count), 1000, &n)) {
		in->passed = n > 0;
		for (int fd = FIRST_PASSED; fd < FIRST_PASSED + (int)n; fd++) {
			char name[sizeof(d->socket[0].name)];
			struct stat st;

			if (!slice_text(slice_cut(&left, ':'), name, sizeof(name)))
				name[0] = '\0';
			if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
				log_fatal(EX_CONFIG, "descriptor %d ('%s') is no socket", fd, name);
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
			(void)fcntl(fd, F_SETFL, O_NONBLOCK);
			if (is_listener(fd) && is_wanted(in, name))
				add_socket(d, fd, name, false);
			else if (!is_listener(fd))
				add_socket(d, fd, "connection", true);
			else
				log_fatal(EX_CONFIG, "socket '%s' is not for %s", name, d->name);
		}
	}
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
}

/* Bind what the configuration says and nobody passed. */
static void
bind_missing(struct daemon *d)
{
	const struct internal *in = d->internal;

	for (const char *const *w = in->wanted; w != NULL && *w != NULL; w++) {
		const struct listen_inner *inner = listen_inner_find(*w);
		int fd;

		if (daemon_socket(d, *w, 0) != -1)
			continue;
		if (inner != NULL) {
			fd = listen_inner_socket(&d->conf, d->run_dirfd, inner);
			if (fd == -1)
				log_fatal(EX_OSERR, "cannot bind %s/%s: %s", d->conf.run_dir, *w, strerror(errno));
			add_socket(d, fd, *w, false);
			continue;
		}
		for (size_t i = 0; !in->passed && i < d->conf.listen_n; i++) {
			const struct conf_listen *l = &d->conf.listen[i];

			if (strcmp(conf_service_name(l->service), *w) != 0)
				continue;
			fd = listen_service(&d->conf, l);
			if (fd == -1)
				log_fatal(EX_OSERR, "cannot bind %s (%s:%d): %s; is another server running?", *w,
				    d->conf.file, l->line, strerror(errno));
			add_socket(d, fd, *w, false);
		}
	}
}

int
daemon_socket(const struct daemon *d, const char *name, size_t n)
{
	for (size_t i = 0; i < d->socket_n; i++)
		if (strcmp(d->socket[i].name, name) == 0 && n-- == 0)
			return d->socket[i].fd;
	return -1;
}

/* ---- start ---- */

static void
open_notify(struct daemon *d)
{
	const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len;
	uint64_t n;

	d->notify_fd = -1;
	if (usec != NULL && slice_number(slice_of(usec), UINT64_MAX, &n))
		d->watchdog_usec = n;
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
	len = path == NULL ? 0 : strlen(path);
	if (len == 0 || len >= sizeof(sun.sun_path))
		return;
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@')	/* abstract */
		sun.sun_path[0] = '\0';
	(void)unsetenv("NOTIFY_SOCKET");
	d->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (d->notify_fd != -1 && connect(d->notify_fd, (const struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) != 0) {
		(void)close(d->notify_fd);
		d->notify_fd = -1;
	}
}

/*
 * The master passes the text that it checked: a daemon that died comes back
 * with the configuration in force, whatever stands in the file meanwhile.
 */
static bool
load_conf(struct daemon *d)
{
	const char *number = getenv("PENNYPOST_CONF_FD");
	uint64_t fd;
	bool ok;

	if (number == NULL || !slice_number(slice_of(number), INT32_MAX, &fd))
		return conf_load(&d->conf, d->conf_path, NULL);
	ok = conf_load_fd(&d->conf, d->conf_path, (int)fd, NULL);
	(void)close((int)fd);
	(void)unsetenv("PENNYPOST_CONF_FD");
	return ok;
}

/* systemd's LoadCredential=tls-key: the key for a daemon that is never root. */
static void
take_credentials(struct conf *conf)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char *path;

	if (dir == NULL || asprintf(&path, "%s/tls-key", dir) == -1)
		return;
	if (access(path, R_OK) == 0) {
		free(conf->tls_key);
		conf->tls_key = path;
	} else {
		free(path);
	}
}

/* Read the configuration again for a new process; the sockets that are bound stay. */
static bool
reload(struct daemon *d)
{
	struct conf fresh;

	if (!conf_load(&fresh, d->conf_path, NULL))
		return false;
	conf_clear(&d->conf);
	d->conf = fresh;
	conf_forget_text(&d->conf);
	take_credentials(&d->conf);
	open_log(d);
	bind_missing(d);
	return true;
}

static int
open_run_dir(const struct daemon *d)
{
	if (geteuid() != 0 || access(d->conf.run_dir, F_OK) != 0)
		(void)mkdir(d->conf.run_dir, 0755);
	return daemon_open_dir(d, d->conf.run_dir);
}

void
daemon_start(struct daemon *d, const char *name, const char *account,
    const char *const *sockets, int argc, char **argv)
{
	struct internal *in = calloc(1, sizeof(*in));

	*d = (struct daemon){ .name = name, .account = account, .run_dirfd = -1, .notify_fd = -1, .internal = in };
	if (in == NULL)
		log_fatal(EX_OSERR, "no memory");
	in->wanted = sockets;
	if (stderr_is_connection())
		redirect_stderr(d, "syslog");	/* until log-to is known */
	log_setup(&(struct log_setup){ .tag = "pennypost", .program = name, .fd = 2, .sink = d->log_sink });
	(void)signal(SIGPIPE, SIG_IGN);
	(void)umask(077);
	take_options(d, argc, argv);
	if (!load_conf(d))
		exit(EX_CONFIG);
	conf_forget_text(&d->conf);
	if (d->check_only)
		exit(0);
	/* Absolute from here on: the folder we were started in may be out of reach after the uid change. */
	free(d->conf_path);
	d->conf_path = strdup(d->conf.file);
	if (d->conf_path == NULL || chdir("/") != 0)
		log_fatal(EX_OSERR, "cannot change to /: %s", strerror(errno));
	take_credentials(&d->conf);
	if (d->own_log)
		redirect_stderr(d, d->conf.log_to);
	open_log(d);
	d->by_master = getenv("PENNYPOST_MASTER") != NULL;
	if (d->by_master)
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);	/* the master was killed: finish and go */
	d->run_dirfd = open_run_dir(d);
	daemon_account(&d->conf, account, &d->uid, &d->gid);
	open_notify(d);
	take_passed(d);
	if (d->inetd && daemon_socket(d, "connection", 0) == -1)
		add_socket(d, 0, "connection", true);
	if (daemon_socket(d, "connection", 0) == -1 && d->probe == NULL)
		bind_missing(d);
	/* Spool and databases have one owner: there the old process ends before a new one starts. */
	if (!d->by_master && !d->debug && d->probe == NULL && daemon_socket(d, "connection", 0) == -1)
		daemon_parent(d, reload, strcmp(name, "queue") == 0 || strcmp(name, "auth") == 0);
	d->base = event_base_new();
	if (d->base == NULL)
		log_fatal(EX_OSERR, "event_base_new failed");
}

int
daemon_open_dir(const struct daemon *d, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	(void)d;
	if (fd == -1)
		log_fatal(EX_OSERR, "cannot open folder %s: %s; 'pennypost start' makes the folders of the suite",
		    path, strerror(errno));
	return fd;
}

void
daemon_confine(struct daemon *d, struct confine *c)
{
	char why[200];

	if (!confine_apply(c, why, sizeof(why)))
		log_fatal(EX_OSERR, "cannot confine: %s", why);
	if (d->probe != NULL)
		exit(confine_probe(d->probe));
}

/* ---- notices ---- */

static void
notify(const struct daemon *d, const char *text)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text) };
	const struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	/* Connected, so no address is needed; send() is one system call more for the fronts' filter. */
	if (d->notify_fd != -1)
		(void)sendmsg(d->notify_fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
daemon_ready(struct daemon *d)
{
	notify(d, "READY=1");
}

void
daemon_status(struct daemon *d, const char *fmt, ...)
{
	char text[300] = "STATUS=";
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text + 7, sizeof(text) - 7, fmt, ap);
	va_end(ap);
	notify(d, text);
}

/* ---- the loop ---- */

static void
begin_drain(struct daemon *d)
{
	if (d->draining) {	/* asked twice: at once */
		daemon_end(d, 0);
		return;
	}
	d->draining = true;
	notify(d, "STOPPING=1");
	if (d->drain == NULL)
		daemon_end(d, 0);
	else
		d->drain(d->drain_ctx);
}

static void
on_retired(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;

	(void)fd;
	(void)what;
	if (!d->draining)
		begin_drain(d);
}

/* Someone new has the sockets. */
static void
retire(struct daemon *d)
{
	const struct timeval most = { .tv_sec = DAEMON_RETIRE_S };

	if (d->retired || d->draining)
		return;
	d->retired = true;
	if (d->retire == NULL || event_base_once(d->base, -1, EV_TIMEOUT, on_retired, d, &most) != 0)
		begin_drain(d);
	else
		d->retire(d->drain_ctx);
}

static void
on_signal(evutil_socket_t number, short what, void *arg)
{
	struct daemon *d = arg;

	(void)what;
	if (number == SIGTERM || number == SIGINT)
		begin_drain(d);
	else if (number == SIGQUIT)
		daemon_end(d, 0);
	else if (number == SIGUSR2)
		retire(d);
	/* SIGHUP and SIGUSR1 are the parent's and the logger's: not fatal here. */
}

static void
on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	notify(arg, "WATCHDOG=1");
}

static void
watch_signals(struct daemon *d)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2 };
	struct internal *in = d->internal;

	for (size_t i = 0; i < LEN(signals); i++) {
		struct event *e = evsignal_new(d->base, signals[i], on_signal, d);

		if (e == NULL || event_add(e, NULL) != 0)
			log_fatal(EX_OSERR, "signal handlers: no memory");
		in->signal[in->signal_n++] = e;
	}
	if (d->watchdog_usec > 0 && d->notify_fd != -1) {
		const struct timeval half = {
			.tv_sec = (time_t)(d->watchdog_usec / 2 / 1000000),
			.tv_usec = (suseconds_t)(d->watchdog_usec / 2 % 1000000),
		};

		in->watchdog = event_new(d->base, -1, EV_PERSIST, on_watchdog, d);
		if (in->watchdog != NULL)
			(void)event_add(in->watchdog, &half);
	}
}

/* ---- the log, a few lines at a time ---- */

static void
on_log(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval again = { .tv_usec = LOG_AGAIN_MS * 1000 };
	struct internal *in = ((struct daemon *)arg)->internal;

	(void)fd;
	(void)what;
	if (!log_flush())
		(void)event_add(in->log, &again);
}

/* Some turns share a write.  Who needs an order among the lines of several
 * daemons calls log_flush() before it tells the other one (smtp_queue.c). */
static void
log_soon(void *arg)
{
	const struct timeval soon = { .tv_usec = LOG_HELD_MS * 1000 };
	struct internal *in = ((struct daemon *)arg)->internal;

	(void)event_add(in->log, &soon);
}

void
daemon_log_batch(struct daemon *d)
{
	struct internal *in = d->internal;

	in->log = event_new(d->base, -1, 0, on_log, d);
	if (in->log != NULL)
		log_batch(log_soon, d);
}

int
daemon_run(struct daemon *d)
{
	struct internal *in = d->internal;

	watch_signals(d);
	daemon_log_batch(d);
	(void)event_base_dispatch(d->base);
	log_batch(NULL, NULL);
	return in->exit_code;
}

void
daemon_end(struct daemon *d, int code)
{
	struct internal *in = d->internal;

	in->exit_code = code;
	(void)event_base_loopbreak(d->base);
}

void
daemon_child(struct daemon *d, const char *name)
{
	struct internal *in = d->internal;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* reinit first: freeing would take the parent's events out of the shared epoll. */
	(void)event_reinit(d->base);
	for (size_t i = 0; i < in->signal_n; i++)
		event_free(in->signal[i]);
	if (in->watchdog != NULL)
		event_free(in->watchdog);
	in->signal_n = 0;
	in->watchdog = NULL;
	event_base_free(d->base);
	d->base = event_base_new();
	if (d->base == NULL)
		log_fatal(EX_OSERR, "event_base_new failed");
	if (d->notify_fd != -1)
		(void)close(d->notify_fd);
	d->notify_fd = -1;
	d->drain = d->retire = NULL;
	d->draining = d->retired = false;
	d->name = name;
	open_log(d);
}

void
daemon_close_sockets(struct daemon *d)
{
	for (size_t i = 0; i < d->socket_n; i++)
		(void)close(d->socket[i].fd);
	d->socket_n = 0;
}
