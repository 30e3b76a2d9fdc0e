/*
 * master_log: the logger, a process of its own that copies what daemons write
 * on their stderr (one pipe) to where log-to says.
 *
 * A file is opened by the master's child before it gives up its rights, so the
 * folder may be root's; to reopen (after logrotate) a new logger is started on
 * the same pipe and the old one ends after the line it is at.
 *
 * A single line goes out at once.  Where more come soon after, they are fetched
 * every GATHER_MS together: the pipe has room for what comes meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "confine.h"
#include "daemon.h"
#include "folders.h"
#include "log.h"
#include "log_line.h"
#include "master.h"

#define CHUNK		65536
#define GATHER_MS	5

struct logger {
	const char	*tag;
	enum log_sink	 sink;
	int		 out_fd, in_fd;
	int		 copy_fd;	/* errors are copied here while the suite starts; -1 */
	struct buf	 in;
};

/* Set by signals: 1 end after this line, 2 no more copies. */
static volatile sig_atomic_t told;

static void
on_signal(int number)
{
	told = number == SIGTERM ? told | 1 : told | 2;
}

static void
write_out(int fd, const char *ptr, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, ptr, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)	/* disk full: the line is lost, the mail is not */
			return;
		ptr += n;
		len -= (size_t)n;
	}
}

static void
put_line(struct logger *l, struct slice line)
{
	struct log_line parsed;
	struct buf entry;

	(void)log_line_parse(slice_sub(line, 0, line.len - 1), &parsed);
	if (l->copy_fd >= 0 && parsed.level <= 4) {
		write_out(l->copy_fd, parsed.text.ptr, parsed.text.len);
		write_out(l->copy_fd, "\n", 1);
	}
	if (l->sink == LOG_SINK_LINES) {
		write_out(l->out_fd, line.ptr, line.len);
		return;
	}
	buf_init(&entry, CHUNK * 2);
	if (l->sink == LOG_SINK_SYSLOG)
		log_line_syslog(&parsed, l->tag, &entry);
	else
		log_line_journal(&parsed, l->tag, &entry);
	if (send(l->out_fd, entry.ptr, entry.len, MSG_NOSIGNAL) < 0 && errno != EMSGSIZE && errno != EAGAIN)
		told |= 1;	/* syslogd was restarted: a new logger finds the new one */
	buf_clear(&entry);
}

/* Whole lines; what has no end yet waits, unless it fills the buffer or is the last. */
static void
put_lines(struct logger *l, bool last)
{
	struct slice rest = buf_slice_of(&l->in);

	if (l->sink == LOG_SINK_LINES && l->copy_fd < 0) {	/* as they are, all at once */
		size_t end = slice_rfind(rest, '\n');

		if (end < rest.len) {
			write_out(l->out_fd, rest.ptr, end + 1);
			rest = slice_sub(rest, end + 1, rest.len);
		}
	}
	while (rest.len > 0) {
		size_t end = slice_find(rest, '\n');

		if (end == rest.len && !last && rest.len < CHUNK)
			break;
		if (end == rest.len) {
			char *room = buf_room(&l->in, 1);	/* the one case where a newline is added */

			rest.ptr = l->in.ptr + (l->in.len - rest.len);
			if (room == NULL)
				break;
			*room = '\n';
			buf_add(&l->in, 1);
		}
		put_line(l, slice_sub(rest, 0, end + 1));
		rest = slice_sub(rest, end + 1, rest.len);
	}
	buf_skip(&l->in, l->in.len - rest.len);
}

/* Lines come one after the other: let some come together. */
static void
gather(uint64_t *last_usec)
{
	uint64_t now = now_mono_usec();

	if (now - *last_usec < GATHER_MS * 1000)
		(void)poll(NULL, 0, GATHER_MS);
	*last_usec = now_mono_usec();
}

static int
run(struct logger *l)
{
	struct pollfd p = { .fd = l->in_fd, .events = POLLIN };
	uint64_t last_usec = 0;
	ssize_t n = 1;

	while (n != 0) {
		if ((told & 2) != 0 && l->copy_fd >= 0) {
			(void)close(l->copy_fd);
			l->copy_fd = -1;
		}
		if ((told & 1) != 0 && l->in.len == 0)
			return 0;
		if (poll(&p, 1, -1) < 0)
			continue;
		gather(&last_usec);
		if (buf_room(&l->in, CHUNK) == NULL)
			return 71;
		n = read(l->in_fd, l->in.ptr + l->in.len, CHUNK);
		if (n > 0)
			buf_add(&l->in, (size_t)n);
		else if (n < 0 && errno != EINTR && errno != EAGAIN)
			return 74;
		put_lines(l, n == 0);
	}
	return 0;
}

/* ---- opening ---- */

/* The folder is made if it is missing; the file is never reached through a link. */
static int
open_file(const char *path, char *why, size_t why_size)
{
	char folder[4096], *slash;
	struct stat st;
	int dirfd, fd;

	(void)snprintf(folder, sizeof(folder), "%s", path);
	slash = strrchr(folder, '/');
	if (slash == NULL)
		return -1;
	*slash = '\0';
	dirfd = folder_open(folder, why, why_size);
	if (dirfd < 0)
		return -1;
	fd = openat(dirfd, slash + 1, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
	(void)close(dirfd);
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)snprintf(why, why_size, "%s: %s", path, fd < 0 ? strerror(errno) : "not a regular file");
		if (fd >= 0)
			(void)close(fd);
		return -1;
	}
	return fd;
}

static int
open_socket(const char *path, char *why, size_t why_size)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	(void)snprintf(why, why_size, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* False: nothing can be opened; `why` says what. */
static bool
open_sink(const struct master *m, struct logger *l, char *why, size_t why_size)
{
	const char *to = m->conf.log_to;
	char path[4200];

	if (strcmp(to, "journal") == 0) {
		l->sink = LOG_SINK_JOURNAL;
		l->out_fd = open_socket(LOG_JOURNAL_PATH, why, why_size);
	} else if (strcmp(to, "syslog") == 0) {
		l->sink = LOG_SINK_SYSLOG;
		l->out_fd = open_socket(LOG_SYSLOG_PATH, why, why_size);
	} else if (strcmp(to, "stderr") == 0 && m->foreground) {
		l->out_fd = m->stderr_fd;
		l->copy_fd = -1;
	} else if (strcmp(to, "stderr") == 0) {
		(void)snprintf(path, sizeof(path), "%s/pennypost.log", m->conf.run_dir);
		l->out_fd = open_file(path, why, why_size);
	} else {
		l->out_fd = open_file(to, why, why_size);
	}
	return l->out_fd >= 0;
}

/* 0: /dev/null, 1: where lines go, 2: the pipe (for our own words), 3: the pipe's reading end, 4: copies. */
static bool
place_descriptors(const struct master *m, struct logger *l)
{
	const int from[] = { open("/dev/null", O_RDWR), l->out_fd, m->log_pipe[1], m->log_pipe[0], l->copy_fd };
	int up[LEN(from)];

	for (size_t i = 0; i < LEN(from); i++) {
		up[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD, 64);
		if (up[i] < 0 && i < 4)
			return false;
	}
	for (size_t i = 0; i < LEN(from); i++)
		if (up[i] >= 0 && dup2(up[i], (int)i) < 0)
			return false;
	l->out_fd = 1;
	l->in_fd = 3;
	l->copy_fd = up[4] >= 0 ? 4 : -1;
	return close_range(up[4] >= 0 ? 5 : 4, ~0U, 0) == 0;
}

static _Noreturn void
child(const struct master *m, struct logger *l)
{
	struct confine c = { .kind = CONFINE_LOGGER };
	struct sigaction sa = { .sa_handler = on_signal };
	char why[200];
	sigset_t none;

	(void)setsid();
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGUSR2, &sa, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (!place_descriptors(m, l))
		_exit(71);
	log_setup(&(struct log_setup){ .tag = m->conf.log_tag, .program = "log", .hostname = m->conf.hostname, .fd = 2, .json = m->conf.log_json });
	daemon_account(&m->conf, "log", &c.uid, &c.gid);
	if (!confine_apply(&c, why, sizeof(why)))
		log_fatal(71, "logger: cannot confine: %s", why);
	/* Our own writing end has to go: while it is open the pipe has no end. */
	log_setup(&(struct log_setup){ .tag = m->conf.log_tag, .program = "log", .hostname = m->conf.hostname, .fd = -1 });
	(void)close(2);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	_exit(run(l));
}

bool
logger_start(struct master *m, char *why, size_t why_size)
{
	struct logger l = { .tag = m->conf.log_tag, .out_fd = -1, .in_fd = -1,
	    .copy_fd = m->phase == PHASE_START ? m->stderr_fd : -1 };
	pid_t pid, before = m->logger.pid;

	buf_init(&l.in, CHUNK * 2 + 1);
	if (!open_sink(m, &l, why, why_size))
		return false;
	pid = fork();
	if (pid == 0)
		child(m, &l);
	if (l.out_fd != m->stderr_fd)
		(void)close(l.out_fd);
	if (pid < 0) {
		(void)snprintf(why, why_size, "fork: %s", strerror(errno));
		return false;
	}
	master_process_of(pid, &m->logger);
	m->logger_due_msec = 0;
	if (before != 0)
		(void)kill(before, SIGTERM);
	return true;
}

void
logger_started_up(const struct master *m)
{
	if (m->logger.pid != 0)
		(void)kill(m->logger.pid, SIGUSR2);
}
