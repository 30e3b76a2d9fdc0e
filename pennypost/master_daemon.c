/* master_daemon: one daemon's life: started, ready, died, tried again, ended. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "master.h"

/* In the order of starting; ended in the reverse order. */
const struct master_kind master_kinds[] = {
	{ "queue",   { "queue-submit", "queue-deliver", "queue-relay", "queue-control", NULL }, .exclusive = true },
	{ "auth",    { "auth-login", "auth-smtp", "auth-ticket", "auth-control", NULL }, .exclusive = true },
	{ "deliver", { NULL } },
	{ "relay",   { NULL }, .optional = true },
	{ "smtpd",   { "smtp", "submission", "submissions", "lmtp", NULL }, .services = true },
	{ "imapd",   { "imap", "imaps", NULL }, .services = true },
	{ "pop3d",   { "pop3", "pop3s", NULL }, .services = true },
	{ NULL,      { NULL } },
};

static const struct conf *
conf_in_force(const struct master *m)
{
	return m->has_fresh ? &m->fresh : &m->conf;
}

static bool
has_socket(const struct master_kind *kind, const char *name)
{
	for (size_t i = 0; kind->sockets[i] != NULL; i++)
		if (strcmp(kind->sockets[i], name) == 0)
			return true;
	return false;
}

static bool
is_wanted(const struct master *m, const struct master_kind *kind)
{
	const struct conf *conf = conf_in_force(m);
	char path[4200];

	if (kind->optional) {
		(void)snprintf(path, sizeof(path), "%s/%s", conf->libexec_dir, kind->name);
		if (access(path, X_OK) != 0) {
			log_say(LOG_LEVEL_WARNING, "%s is not installed (%s): it is not started", kind->name, path);
			return false;
		}
	}
	if (!kind->services)
		return true;
	for (size_t i = 0; i < conf->listen_n; i++)
		if (has_socket(kind, conf_service_name(conf->listen[i].service)))
			return true;
	return false;
}

void
daemon_set_up(struct master *m)
{
	for (size_t i = 0; master_kinds[i].name != NULL; i++) {
		struct master_daemon *d = &m->daemon[i];

		d->kind = &master_kinds[i];
		d->wanted = is_wanted(m, d->kind);
		m->daemon_n = i + 1;
	}
}

void
master_process_of(pid_t pid, struct master_process *out)
{
	struct proc p;

	out->pid = pid;
	out->start = proc_read(pid, &p) ? p.start : 0;
}

/* ---- starting ---- */

/* A file without a name that holds the configuration's text. */
static int
text_file(const struct conf *conf)
{
	int fd = memfd_create("pennypost.conf", 0);
	size_t at = 0, len = strlen(conf->text);

	while (fd >= 0 && at < len) {
		ssize_t n = write(fd, conf->text + at, len - at);

		if (n < 0) {
			(void)close(fd);
			return -1;
		}
		at += (size_t)n;
	}
	return fd;
}

/*
 * Put the sockets of this daemon on 3, 4 ... as systemd does, and the text of
 * the configuration behind them.  All are first moved up, out of the way of
 * the numbers they are to get.  Returns how many sockets, -1 on failure.
 */
static int
place_descriptors(const struct master *m, const struct master_kind *kind, struct buf *names)
{
	int up[MASTER_SOCKETS], n = 0, text = text_file(conf_in_force(m));

	for (size_t i = 0; i < m->socket_n; i++) {
		const struct master_socket *s = &m->socket[i];

		if (!s->keep || !has_socket(kind, s->name))
			continue;
		up[n] = fcntl(s->fd, F_DUPFD, 3 + MASTER_SOCKETS);
		if (up[n] < 0)
			return -1;
		n++;
		(void)buf_fmt(names, "%s%s", n == 1 ? "" : ":", s->name);
	}
	text = text < 0 ? -1 : fcntl(text, F_DUPFD, 3 + MASTER_SOCKETS);
	for (int i = 0; i < n; i++)
		if (dup2(up[i], 3 + i) < 0)
			return -1;
	if (text < 0 || dup2(text, 3 + n) < 0)
		return -1;
	return close_range((unsigned)(3 + n + 1), ~0U, 0) == 0 ? n : -1;
}

/* What of our own environment daemons get to see. */
static const char *const inherited[] = {
	"TZ",
#ifdef PP_SANITIZE
	"ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS",
#endif
};
#define ENV_OWN 7

/* Fills env (ENV_OWN + LEN(inherited) bufs) and the vector of them. */
static void
make_env(const struct master *m, pid_t master, int sockets, struct buf *names, struct buf *env, char **envp)
{
	size_t n = ENV_OWN;

	for (size_t i = 0; i < ENV_OWN + LEN(inherited); i++)
		buf_init(&env[i], 4200);
	(void)buf_fmt(&env[0], "LISTEN_PID=%ld", (long)getpid());
	(void)buf_fmt(&env[1], "LISTEN_FDS=%d", sockets);
	(void)buf_fmt(&env[2], "LISTEN_FDNAMES=%s", buf_cstr(names));
	(void)buf_fmt(&env[3], "NOTIFY_SOCKET=%s", m->notify_name);
	(void)buf_fmt(&env[4], "WATCHDOG_USEC=%d", WATCHDOG_MSEC * 1000);
	(void)buf_fmt(&env[5], "PENNYPOST_MASTER=%ld", (long)master);
	(void)buf_fmt(&env[6], "PENNYPOST_CONF_FD=%d", 3 + sockets);
	for (size_t i = 0; i < LEN(inherited); i++) {
		const char *value = getenv(inherited[i]);

		if (value != NULL)
			(void)buf_fmt(&env[n++], "%s=%s", inherited[i], value);
	}
	for (size_t i = 0; i < n; i++) {
		(void)buf_cstr(&env[i]);
		envp[i] = env[i].ptr;
	}
	envp[n] = NULL;
}

static _Noreturn void
child(const struct master *m, const struct master_kind *kind, pid_t master)
{
	const struct conf *conf = conf_in_force(m);
	struct buf path, names, env[ENV_OWN + LEN(inherited)];
	char *argv[4], *envp[LEN(env) + 1], flag[] = "-C";
	sigset_t none;
	int null, n, error;

	(void)setsid();
	/* When the master is killed, its daemons finish what is begun and go. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != master)
		_exit(71);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	buf_init(&path, 4200);
	buf_init(&names, 4096);
	(void)buf_fmt(&path, "%s/%s", conf->libexec_dir, kind->name);
	null = open("/dev/null", O_RDWR);
	if (chdir("/") != 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(m->log_pipe[1], 2) < 0)
		_exit(71);
	n = place_descriptors(m, kind, &names);
	if (n < 0)
		_exit(71);
	make_env(m, master, n, &names, env, envp);
	(void)buf_cstr(&path);
	argv[0] = path.ptr;
	argv[1] = flag;
	argv[2] = conf->file;
	argv[3] = NULL;
	(void)execve(path.ptr, argv, envp);
	error = errno;
	log_say(LOG_LEVEL_ERROR, "cannot run %s: %s", path.ptr, strerror(error));
	_exit(error == ENOENT || error == EACCES ? 69 : 71);
}

bool
daemon_spawn(struct master *m, struct master_daemon *d)
{
	struct master_process *p = d->now.pid == 0 ? &d->now : &d->next;
	pid_t self = getpid(), pid = fork();

	if (pid == 0)
		child(m, d->kind, self);
	if (pid < 0) {
		log_say(LOG_LEVEL_ERROR, "cannot start %s: fork: %s", d->kind->name, strerror(errno));
		return false;
	}
	master_process_of(pid, p);
	d->due_msec = master_msec() + READY_MSEC;
	d->term_again = false;
	if (p == &d->now) {
		d->state = DAEMON_STARTING;
		d->since_usec = now_usec();
		d->since_msec = master_msec();
		d->watched = false;
	}
	master_write_list(m);
	return true;
}

/* ---- notices ---- */

static void
make_current(struct master *m, struct master_daemon *d)
{
	if (d->now.pid != 0 && m->old_n < MASTER_OLD) {
		struct master_old *o = &m->old[m->old_n++];

		(void)snprintf(o->name, sizeof(o->name), "%s", d->kind->name);
		o->process = d->now;
	} else if (d->now.pid != 0) {
		(void)kill(d->now.pid, SIGKILL);	/* far too many reloads at once */
	}
	if (d->now.pid != 0)
		(void)kill(d->now.pid, SIGUSR2);	/* it keeps its sessions */
	d->now = d->next;
	d->watched = false;
	d->next.pid = 0;
	d->since_usec = now_usec();
	d->since_msec = master_msec();
}

/* All of a reload's new processes are ready: they take over. */
void
daemon_take_over(struct master *m, struct master_daemon *d)
{
	if (d->next.pid != 0)
		make_current(m, d);
	d->state = DAEMON_READY;
	d->text[0] = '\0';
}

void
daemon_notice(struct master *m, pid_t pid, const char *text)
{
	for (size_t i = 0; i < m->daemon_n; i++) {
		struct master_daemon *d = &m->daemon[i];

		if (pid != d->now.pid && pid != d->next.pid)
			continue;
		if (pid == d->now.pid && strstr(text, "WATCHDOG=1") != NULL) {
			d->seen_msec = master_msec();
			d->watched = true;
		}
		if (strncmp(text, "STATUS=", 7) == 0)
			(void)snprintf(d->text, sizeof(d->text), "%.*s", (int)strcspn(text + 7, "\n"), text + 7);
		if (strstr(text, "READY=1") == NULL)
			return;
		if (pid == d->next.pid) {
			d->due_msec = 0;
			d->next_ready = true;
		} else if (d->state == DAEMON_STARTING) {
			d->state = DAEMON_READY;
			d->due_msec = 0;
			if (d->restarts > 0)
				log_say(LOG_LEVEL_INFO, "%s is ready again", d->kind->name);
		}
		master_go_on(m);
		return;
	}
}

/* ---- the end of one ---- */

void
daemon_end_text(int status, char *out, size_t size)
{
	if (WIFEXITED(status)) {
		(void)snprintf(out, size, "exit code %d%s", WEXITSTATUS(status),
		    WEXITSTATUS(status) == 78 ? " (configuration)" : "");
		return;
	}
	(void)snprintf(out, size, "signal %d (%s)%s", WTERMSIG(status), strsignal(WTERMSIG(status)),
	    WTERMSIG(status) == SIGSYS ? ": policy violation, it tried what its sandbox forbids" : "");
}

/* The first death is answered at once, the next after 1, 2, 4 ... 30 seconds. */
static uint64_t
backoff_msec(unsigned deaths)
{
	uint64_t wait;

	if (deaths <= 1)
		return 0;
	wait = deaths > 7 ? BACKOFF_MAX_MSEC : (uint64_t)1000 << (deaths - 2);
	return wait > BACKOFF_MAX_MSEC ? BACKOFF_MAX_MSEC : wait;
}

static void
died(struct master *m, struct master_daemon *d, int status)
{
	char end[120];
	uint64_t now = master_msec(), wait;
	bool asked = d->state == DAEMON_STOPPING;

	daemon_end_text(status, end, sizeof(end));
	d->now.pid = 0;
	d->due_msec = 0;
	if (asked || m->phase == PHASE_STOP) {
		d->state = DAEMON_STOPPED;
		d->text[0] = '\0';
		return;
	}
	d->deaths = now - d->since_msec >= STEADY_MSEC ? 1 : d->deaths + 1;
	if (m->phase == PHASE_START) {
		d->state = DAEMON_STOPPED;
		(void)snprintf(d->text, sizeof(d->text), "%s before it was ready", end);
		log_say(LOG_LEVEL_INFO, "%s: %s", d->kind->name, d->text);	/* the answer to `start` says it too */
		return;
	}
	wait = backoff_msec(d->deaths);
	d->state = DAEMON_BACKOFF;
	d->due_msec = now + wait;
	(void)snprintf(d->text, sizeof(d->text), "last end: %s", end);
	if (wait == 0)
		log_say(LOG_LEVEL_ERROR, "%s died: %s; it is started again at once", d->kind->name, end);
	else
		log_say(LOG_LEVEL_ERROR, "%s died again: %s; it is started again in %llu s", d->kind->name, end,
		    (unsigned long long)wait / 1000);
}

bool
daemon_reaped(struct master *m, pid_t pid, int status)
{
	for (size_t i = 0; i < m->daemon_n; i++) {
		struct master_daemon *d = &m->daemon[i];

		if (pid == d->now.pid) {
			died(m, d, status);
			return true;
		}
		if (pid == d->next.pid) {
			d->next.pid = 0;
			d->next_ready = false;
			d->due_msec = 0;
			daemon_end_text(status, d->text, sizeof(d->text));
			m->reload_failed = true;
			(void)snprintf(m->reload_text, sizeof(m->reload_text), "%s: the new process ended before it was ready: %.120s",
			    d->kind->name, d->text);
			return true;
		}
	}
	for (size_t i = 0; i < m->old_n; i++) {
		if (m->old[i].process.pid != pid)
			continue;
		m->old[i] = m->old[--m->old_n];
		return true;
	}
	return false;
}

void
daemon_term(struct master_daemon *d)
{
	if (d->now.pid == 0) {
		d->state = DAEMON_STOPPED;
		d->due_msec = 0;
		return;
	}
	(void)kill(d->now.pid, SIGTERM);
	(void)kill(d->now.pid, SIGCONT);	/* a stopped one could not even end */
	d->state = DAEMON_STOPPING;
	d->term_again = false;
	d->due_msec = master_msec() + TERM_MSEC;
}

/* Its whole session: the workers go with it. */
static void
kill_session(const struct master_daemon *d)
{
	struct run_list list = { .n = 1 };
	struct proc *all;
	size_t n;

	list.at[0].pid = d->now.pid;
	list.at[0].start = d->now.start;
	all = proc_all(&n);
	if (all == NULL || run_list_pick(&list, all, n) == 0)
		(void)kill(d->now.pid, SIGKILL);
	for (size_t i = 0; all != NULL && i < n; i++)
		if (all[i].picked)
			(void)proc_kill(all[i].pid, all[i].start, SIGKILL);
	free(all);
}

uint64_t
daemon_due(const struct master_daemon *d)
{
	if (d->state != DAEMON_READY || d->next.pid != 0)
		return d->due_msec;
	return d->watched ? d->seen_msec + WATCHDOG_MSEC : 0;
}

/* A deadline passed. */
void
daemon_tick(struct master *m, struct master_daemon *d, uint64_t now_msec)
{
	uint64_t due = daemon_due(d);

	if (due == 0 || now_msec < due)
		return;
	d->due_msec = 0;
	if (d->next.pid != 0) {
		log_say(LOG_LEVEL_ERROR, "%s: the new process is not ready after %d s", d->kind->name, READY_MSEC / 1000);
		(void)kill(d->next.pid, SIGKILL);
		return;
	}
	switch (d->state) {
	case DAEMON_BACKOFF:
		d->restarts++;
		if (!daemon_spawn(m, d))
			d->due_msec = now_msec + 1000;
		break;
	case DAEMON_STARTING:
		log_say(LOG_LEVEL_ERROR, "%s is not ready after %d s", d->kind->name, READY_MSEC / 1000);
		kill_session(d);
		break;
	case DAEMON_READY:
		log_say(LOG_LEVEL_ERROR, "%s gave no sign of life for %d s", d->kind->name, WATCHDOG_MSEC / 1000);
		kill_session(d);
		d->seen_msec = now_msec;
		break;
	case DAEMON_STOPPING:
		if (!d->term_again) {
			d->term_again = true;
			(void)kill(d->now.pid, SIGTERM);
			d->due_msec = now_msec + KILL_MSEC - TERM_MSEC;
			break;
		}
		log_say(LOG_LEVEL_WARNING, "%s does not end; it is killed", d->kind->name);
		kill_session(d);
		d->due_msec = now_msec + 1000;
		break;
	default:
		break;
	}
}
