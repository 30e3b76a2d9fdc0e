/*
 * start: everything that is done before the master is the master: folders,
 * maps, the lock, what a killed master left, the way into the background.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "daemon.h"
#include "folders.h"
#include "maps.h"
#include "master.h"

#define LEFTOVER_WAIT_MS 5000

/* In a child, so that the process that becomes the master has not read what people edit. */
static int
compile_maps(const struct cli *c)
{
	struct maps_report report = { 0 };
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		bool ok = maps_compile(&c->conf, false, &report);

		(void)cli_problems(NULL, &report.problems);
		_exit(ok ? EX_OK : report.exit_code == 0 ? EX_SOFTWARE : report.exit_code);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EX_OSERR;
	return WEXITSTATUS(status);
}

/* A mistake in the texts does not stop the mail as long as there are maps. */
static bool
maps_good(const struct cli *c)
{
	char path[4200];
	int rc = compile_maps(c);

	if (rc == EX_OK)
		return true;
	(void)snprintf(path, sizeof(path), "%s/routes.cdb", c->conf.map_dir);
	if (access(path, F_OK) != 0) {
		cli_say(c, "the maps cannot be compiled, and there are no old ones");
		return false;
	}
	cli_say(c, "warning: the maps cannot be compiled; the old ones stay in use");
	return true;
}

static bool
end_leftovers(const struct cli *c, int run_dirfd)
{
	struct run_list *list = calloc(1, sizeof(*list));
	size_t found = 0, left = 0;

	if (list != NULL && run_list_read(run_dirfd, list) && list->n > 0)
		found = run_list_end(list, LEFTOVER_WAIT_MS, &left);
	free(list);
	if (found > 0)
		cli_say(c, "the suite had died; %zu of its processes were still there and were ended", found);
	if (left > 0)
		cli_say(c, "%zu processes of the suite cannot be ended", left);
	return left == 0;
}

/* systemd's NOTIFY_SOCKET, if we are a service of it. */
static int
open_up(struct master *m)
{
	const char *path = getenv("NOTIFY_SOCKET"), *usec = getenv("WATCHDOG_USEC");
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = path == NULL ? 0 : strlen(path);
	uint64_t n;
	int fd;

	if (usec != NULL && slice_number(slice_of(usec), UINT64_MAX, &n))
		m->up_watchdog_msec = n / 1000;
	if (len == 0 || len >= sizeof(sun.sun_path))
		return -1;
	memcpy(sun.sun_path, path, len);
	if (path[0] == '@')
		sun.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&sun,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
		return fd;
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

/* The command's side of the pipe: "CODE words". */
static int
wait_for_answer(const struct cli *c, int fd)
{
	char text[600];
	size_t len = 0;
	ssize_t n;
	char *words;
	long code;

	while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	code = strtol(text, &words, 10);
	if (len == 0 || words == text) {
		cli_say(c, "the master died while it started; the log says more: %s", c->conf.log_to);
		return EX_SOFTWARE;
	}
	words[strcspn(words, "\n")] = '\0';
	if (code != 0)
		cli_say(c, "not started:%s", words);
	return (int)code;
}

/* Become the master.  In the background the command itself waits for its answer. */
static int
become_master(struct cli *c, struct master *m)
{
	int fds[2] = { -1, -1 }, null, rc;
	pid_t pid;

	if (!m->foreground) {
		if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
			cli_errno(c, "cannot go into the background");
			return EX_OSERR;
		}
		if (pid > 0) {
			(void)close(fds[1]);
			return wait_for_answer(c, fds[0]);
		}
		(void)close(fds[0]);
		(void)setsid();
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || chdir("/") != 0)
			_exit(EX_OSERR);
	}
	m->answer_fd = fds[1];
	m->stderr_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
	if (!run_lock_write(m->lock_fd))
		cli_errno(c, "%s/pennypost.pid", m->conf.run_dir);
	rc = master_run(m);
	if (!m->foreground)
		_exit(rc);
	return rc;
}

static int
open_run_dir(const struct cli *c)
{
	bool root = geteuid() == 0;
	char why[600];
	int fd = folder_make(c->conf.run_dir, root ? 0 : (uid_t)-1, root ? 0 : (gid_t)-1, 0755, why, sizeof(why));

	if (fd < 0)
		cli_say(c, "%s", why);
	return fd;
}

static int
start(struct cli *c, struct master *m)
{
	char why[600];
	pid_t pid;

	m->run_dirfd = open_run_dir(c);
	if (m->run_dirfd < 0)
		return EX_CANTCREAT;
	m->lock_fd = run_lock(m->run_dirfd, &pid);
	if (m->lock_fd < 0 && errno != EWOULDBLOCK) {
		cli_errno(c, "%s/pennypost.pid", c->conf.run_dir);
		return EX_CANTCREAT;
	}
	if (m->lock_fd < 0) {
		cli_say(c, "is running already (process %ld)", (long)pid);
		return m->foreground ? EX_UNAVAILABLE : EX_OK;
	}
	if (!end_leftovers(c, m->run_dirfd))
		return EX_UNAVAILABLE;
	if (!folders_make(&c->conf, why, sizeof(why))) {
		cli_say(c, "%s", why);
		return EX_CANTCREAT;
	}
	if (!maps_good(c))
		return EX_CONFIG;
	if (!m->foreground && strcmp(c->conf.log_to, "stderr") == 0)
		cli_say(c, "log-to is stderr, and this is the background: the log goes to %s/pennypost.log", c->conf.run_dir);
	m->conf_file = strdup(c->conf.file);
	m->conf = c->conf;	/* the master's from here on */
	c->conf = (struct conf){ 0 };
	c->loaded = false;
	return become_master(c, m);
}

int
cmd_start(struct cli *c, int argc, char **argv)
{
	struct master *m = calloc(1, sizeof(*m));
	bool foreground = false;
	const struct cli_option options[] = {
		{ "--foreground", NULL, &foreground }, { NULL, NULL, NULL },
	};
	int rc;

	if (m == NULL)
		return EX_OSERR;
	if (!cli_options(c, options, &argc, argv)) {
		free(m);
		return EX_USAGE;
	}
	if (argc != 1) {
		free(m);
		return cli_usage(c, "pennypost start [--foreground]");
	}
	(void)umask(022);
	m->foreground = foreground;
	m->answer_fd = m->stderr_fd = m->lock_fd = -1;
	m->up_fd = open_up(m);
	(void)unsetenv("NOTIFY_SOCKET");
	rc = start(c, m);
	conf_clear(&m->conf);
	free(m->conf_file);
	free(m);
	return rc;
}
