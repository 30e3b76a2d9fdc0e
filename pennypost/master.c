/* master: the loop of the process that starts and watches the daemons. */
#include "master.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

#include "confine.h"
#include "daemon.h"
#include "folders.h"
#include "log.h"

#define LOG_PIPE_OCTETS	(1024 * 1024)	/* all that one may have without privilege */

uint64_t
master_msec(void)
{
	return now_mono_usec() / 1000;
}

static void
tell_systemd(const struct master *m, const char *text)
{
	if (m->up_fd >= 0)
		(void)send(m->up_fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void
master_write_list(struct master *m)
{
	struct run_list *list = calloc(1, sizeof(*list));
	struct master_process self;

	if (list == NULL)
		return;
	master_process_of(getpid(), &self);
#define ADD(process, what)							\
	if ((process).pid != 0 && list->n < RUN_PROCESSES) {			\
		(void)snprintf(list->at[list->n].name, sizeof(list->at[0].name), "%s", what); \
		list->at[list->n].pid = (process).pid;				\
		list->at[list->n++].start = (process).start;			\
	}
	ADD(self, "master")
	ADD(m->logger, "log")
	for (size_t i = 0; i < m->daemon_n; i++) {
		ADD(m->daemon[i].now, m->daemon[i].kind->name)
		ADD(m->daemon[i].next, m->daemon[i].kind->name)
	}
	for (size_t i = 0; i < m->old_n; i++)
		ADD(m->old[i].process, m->old[i].name)
#undef ADD
	if (!run_list_write(m->run_dirfd, list))
		log_say(LOG_LEVEL_WARNING, "%s: the list of processes cannot be written: %s", m->conf.run_dir, strerror(errno));
	free(list);
}

/* For commands: what is in force, while the file itself is being edited.  The suite runs without it. */
void
master_write_conf(const struct master *m)
{
	int dirfd = open(m->conf.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool root = geteuid() == 0;
	struct stat st;
	struct buf out;

	buf_init(&out, CONF_FILE_MAX + PATH_MAX);
	if (stat(m->conf.file, &st) != 0)
		st = (struct stat){ .st_mode = 0600 };	/* who may read it is not known */
	if (dirfd < 0 || !conf_print_in_force(&m->conf, &out) ||
	    !file_replace(dirfd, CONF_IN_FORCE, out.ptr, out.len, (st.st_mode & 0044) | 0600,
	    root ? 0 : (uid_t)-1, root ? st.st_gid : (gid_t)-1))
		log_say(LOG_LEVEL_WARNING, "%s/" CONF_IN_FORCE " cannot be written: %s", m->conf.state_dir, strerror(errno));
	buf_clear(&out);
	if (dirfd >= 0)
		(void)close(dirfd);
}

/* ---- set-up ---- */

/* A datagram socket with a name the kernel picks; who sends is seen by its credentials. */
static bool
open_notify(struct master *m)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sun);
	int on = 1;

	m->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (m->notify_fd < 0 ||
	    bind(m->notify_fd, (const struct sockaddr *)&sun, sizeof(sa_family_t)) != 0 ||
	    setsockopt(m->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0 ||
	    getsockname(m->notify_fd, (struct sockaddr *)&sun, &len) != 0 ||
	    len <= offsetof(struct sockaddr_un, sun_path) + 1)
		return false;
	len -= (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1;
	(void)snprintf(m->notify_name, sizeof(m->notify_name), "@%.*s", (int)len, sun.sun_path + 1);
	return true;
}

static bool
open_signals(struct master *m)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };
	sigset_t mask;

	(void)sigemptyset(&mask);
	for (size_t i = 0; i < LEN(signals); i++)
		(void)sigaddset(&mask, signals[i]);
	(void)sigprocmask(SIG_BLOCK, &mask, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	m->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return m->signal_fd >= 0;
}

/* Every session of a front is one or two descriptors: take what we may. */
static void
raise_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

void
master_log_setup(const struct master *m)
{
	log_setup(&(struct log_setup){ .tag = m->conf.log_tag, .program = "master",
	    .hostname = m->conf.hostname, .fd = 2, .json = m->conf.log_json });
}

static bool
set_up(struct master *m)
{
	const struct confine c = { .kind = CONFINE_MASTER, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	char *why = m->reload_text;

	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	raise_limits();
	if (!sockets_open(m, &m->conf, why, sizeof(m->reload_text)))
		return false;
	if (!control_open(m) || !open_notify(m) || !open_signals(m) ||
	    pipe2(m->log_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
		(void)snprintf(why, sizeof(m->reload_text), "cannot set up: %s", strerror(errno));
		return false;
	}
	(void)fcntl(m->log_pipe[1], F_SETPIPE_SZ, LOG_PIPE_OCTETS);	/* a burst of lines waits here */
	if (!logger_start(m, why, sizeof(m->reload_text)))
		return false;
	if (dup2(m->log_pipe[1], 2) < 0)
		return false;
	master_log_setup(m);
	if (!confine_apply(&c, why, sizeof(m->reload_text)))
		return false;
	daemon_set_up(m);
	log_say(LOG_LEVEL_INFO, "pennypost %s starts: %s", PP_VERSION, m->conf.file);
	return true;
}

/* ---- phases ---- */

/* To the `pennypost start` that waits: a digit-coded exit status and words. */
static void
answer(struct master *m, int code, const char *text)
{
	if (m->answer_fd < 0)
		return;
	(void)dprintf(m->answer_fd, "%d %s\n", code, text);
	(void)close(m->answer_fd);
	m->answer_fd = -1;
}

static void
all_ready(struct master *m)
{
	m->phase = PHASE_RUN;
	log_say(LOG_LEVEL_INFO, "all daemons are ready");
	master_write_conf(m);
	logger_started_up(m);
	if (!m->foreground) {
		(void)close(m->stderr_fd);
		m->stderr_fd = -1;
	}
	tell_systemd(m, "READY=1");
	answer(m, 0, "");
}

static void
start_go_on(struct master *m)
{
	for (; m->turn < m->daemon_n; m->turn++) {
		struct master_daemon *d = &m->daemon[m->turn];

		if (!d->wanted || d->state == DAEMON_READY)
			continue;
		if (d->now.pid == 0 && d->deaths == 0 && daemon_spawn(m, d))
			return;
		if (d->now.pid != 0)
			return;
		(void)snprintf(m->reload_text, sizeof(m->reload_text), "%s: %s", d->kind->name, d->text);
		master_begin_stop(m, strstr(d->text, "(configuration)") != NULL ? 78 : 69);
		return;
	}
	all_ready(m);
}

void
master_begin_stop(struct master *m, int exit_code)
{
	if (m->phase == PHASE_STOP || m->phase == PHASE_END)
		return;
	m->phase = PHASE_STOP;
	m->exit_code = exit_code;
	m->turn = m->daemon_n;
	tell_systemd(m, "STOPPING=1");
	control_reload_done(m, false, "the suite is being stopped");
	for (size_t i = 0; i < m->old_n; i++)
		(void)kill(m->old[i].process.pid, SIGTERM);
	for (size_t i = 0; i < m->daemon_n; i++)
		if (m->daemon[i].next.pid != 0)
			(void)kill(m->daemon[i].next.pid, SIGTERM);
	master_go_on(m);
}

/* The last started is the first ended: fronts before what they need. */
static void
stop_go_on(struct master *m)
{
	for (; m->turn > 0; m->turn--) {
		struct master_daemon *d = &m->daemon[m->turn - 1];

		if (d->now.pid == 0) {
			daemon_term(d);
			continue;
		}
		if (d->state != DAEMON_STOPPING)
			daemon_term(d);
		return;
	}
	m->phase = PHASE_END;
}

void
master_go_on(struct master *m)
{
	switch (m->phase) {
	case PHASE_START:
		start_go_on(m);
		break;
	case PHASE_RELOAD:
		master_reload_go_on(m);
		break;
	case PHASE_STOP:
		stop_go_on(m);
		break;
	default:
		break;
	}
}

/* ---- events ---- */

static void
reap(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == m->logger.pid) {
			m->logger.pid = 0;
			m->logger_due_msec = master_msec() + 1000;
		} else if (pid == m->maps_pid) {
			master_reload_maps_done(m, status);
		} else if (daemon_reaped(m, pid, status)) {
			master_write_list(m);
		}
	}
	master_go_on(m);
}

static void
on_signal(struct master *m)
{
	struct signalfd_siginfo info;
	const char *why;
	char text[300];

	while (read(m->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap(m);
			break;
		case SIGHUP:
			if (!master_begin_reload(m, &why)) {
				log_say(LOG_LEVEL_ERROR, "reload: %s", why);
				tell_systemd(m, "READY=1");
			}
			break;
		case SIGUSR1:
			if (!logger_start(m, text, sizeof(text)))
				log_say(LOG_LEVEL_ERROR, "log-to: %s; the log goes where it went", text);
			master_write_list(m);
			break;
		case SIGUSR2:
			break;
		default:
			log_say(LOG_LEVEL_INFO, "stop: %s", strsignal((int)info.ssi_signo));
			master_begin_stop(m, 0);
		}
	}
}

/* A notice counts only if it comes from the daemon's own process. */
static void
on_notify(struct master *m)
{
	char text[512], control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct ucred who;
	ssize_t n;

	for (;;) {
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
		    .msg_control = control, .msg_controllen = sizeof(control) };
		const struct cmsghdr *c;

		n = recvmsg(m->notify_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return;
		text[n] = '\0';
		c = CMSG_FIRSTHDR(&msg);
		if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&who, CMSG_DATA(c), sizeof(who));
		daemon_notice(m, who.pid, text);
	}
}

static void
sooner(uint64_t *first, uint64_t due)
{
	if (due != 0 && due < *first)
		*first = due;
}

static int
next_timeout(const struct master *m, uint64_t now)
{
	uint64_t first = now + 60000;

	for (size_t i = 0; i < m->daemon_n; i++)
		sooner(&first, daemon_due(&m->daemon[i]));
	sooner(&first, m->logger_due_msec);
	sooner(&first, m->up_due_msec);
	return first <= now ? 0 : (int)(first - now);
}

static void
on_time(struct master *m)
{
	uint64_t now = master_msec();
	char why[300];

	for (size_t i = 0; i < m->daemon_n; i++)
		daemon_tick(m, &m->daemon[i], now);
	if (m->logger_due_msec != 0 && now >= m->logger_due_msec) {
		m->logger_due_msec = now + 5000;
		if (logger_start(m, why, sizeof(why)))
			master_write_list(m);
	}
	if (m->up_due_msec != 0 && now >= m->up_due_msec) {
		tell_systemd(m, "WATCHDOG=1");
		m->up_due_msec = now + m->up_watchdog_msec / 2;
	}
}

static void
turn_once(struct master *m)
{
	struct pollfd fds[3 + MASTER_CLIENTS];

	fds[0] = (struct pollfd){ .fd = m->signal_fd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = m->notify_fd, .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = m->control_fd, .events = POLLIN };
	for (size_t i = 0; i < MASTER_CLIENTS; i++)
		fds[3 + i] = (struct pollfd){ .fd = m->client[i].fd, .events = POLLIN };
	if (poll(fds, LEN(fds), next_timeout(m, master_msec())) < 0)
		return;
	/* Notices before deaths: a daemon may say READY and die at once. */
	if (fds[1].revents != 0)
		on_notify(m);
	if (fds[0].revents != 0)
		on_signal(m);
	for (size_t i = 0; i < MASTER_CLIENTS; i++)
		if (fds[3 + i].revents != 0 && m->client[i].fd == fds[3 + i].fd && m->client[i].fd >= 0)
			control_read(m, &m->client[i]);
	if (fds[2].revents != 0)
		control_accept(m);
	on_time(m);
}

/* ---- the end ---- */

static void
nap(void)
{
	const struct timespec t = { .tv_nsec = 20 * 1000 * 1000 };

	(void)nanosleep(&t, NULL);
}

/*
 * We are the subreaper, so whatever daemons left behind is or becomes our
 * child: kill children (but the logger) until there are none.
 */
static void
end_the_rest(struct master *m)
{
	for (int i = 0; i < 250; i++) {
		size_t n, mine = 0;
		struct proc *all = proc_all(&n);

		for (size_t k = 0; all != NULL && k < n; k++) {
			if (all[k].ppid != getpid() || all[k].pid == m->logger.pid)
				continue;
			mine++;
			(void)proc_kill(all[k].pid, all[k].start, SIGKILL);
		}
		free(all);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (mine == 0)
			return;
		nap();
	}
}

/* The logger ends by itself when the pipe has no writer; it gets two seconds. */
static void
end_logger(struct master *m)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (m->log_pipe[1] > 2) {
		(void)close(m->log_pipe[0]);
		(void)close(m->log_pipe[1]);
		if (null >= 0)
			(void)dup2(null, 2);
	}
	if (null >= 0)
		(void)close(null);
	for (int i = 0; i < 100 && m->logger.pid != 0; i++) {
		if (waitpid(m->logger.pid, NULL, WNOHANG) != 0)
			m->logger.pid = 0;
		else
			nap();
	}
	if (m->logger.pid != 0)
		(void)kill(m->logger.pid, SIGKILL);
}

int
master_run(struct master *m)
{
	bool up = set_up(m);

	if (up) {
		master_write_list(m);
		master_go_on(m);
		if (m->up_watchdog_msec != 0)
			m->up_due_msec = master_msec() + m->up_watchdog_msec / 2;
		while (m->phase != PHASE_END)
			turn_once(m);
	} else {
		m->exit_code = 69;
	}
	end_the_rest(m);
	if (up)
		log_say(LOG_LEVEL_INFO, "all processes have ended");
	end_logger(m);
	control_close(m);
	sockets_close(m);
	(void)unlinkat(m->run_dirfd, "pennypost.processes", 0);
	if (m->exit_code != 0 && m->foreground && m->stderr_fd >= 0)
		(void)dprintf(m->stderr_fd, "pennypost: not started: %s\n", m->reload_text);
	answer(m, m->exit_code, m->reload_text);
	return m->exit_code;
}
