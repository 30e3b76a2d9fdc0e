/*
 * The scratch suite.  We are the subreaper of its processes, so that those
 * whose parent was killed become our children: descendants of ours are the
 * suite, and nothing else is ever killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "folders.h"
#include "purge.h"
#include "run_files.h"
#include "selftest.h"

#define TOOL_MS		90000	/* no command takes longer */
#define GONE_TURNS	2000	/* of 5 ms: until killed processes are gone */
#define PORT_FIRST	12000	/* below ip_local_port_range */
#define PORTS		20000
#define PORT_TRIES	100
#define TIRED		3	/* deaths of one name; the master then waits for 2 s and more */

/* ---- commands of this very program ---- */

static _Noreturn void
run_tool(const struct selftest_suite *s, char **argv, int in)
{
	char path[4300];
	int out;

	(void)snprintf(path, sizeof(path), "%s/selftest.out", s->dir);
	out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (in >= 0)
		(void)dup2(in, 0);
	if (out >= 0 && dup2(out, 1) >= 0 && dup2(out, 2) >= 0)
		(void)execv(s->self, argv);
	_exit(EX_OSERR);
}

/* Its exit code; -1 when it was killed or does not end. */
static int
tool(const struct selftest_suite *s, const char *input, const char *const *args)
{
	uint64_t over = now_mono_usec() + TOOL_MS * UINT64_C(1000);
	char *argv[24] = { NULL };
	int fds[2] = { -1, -1 }, status = 0;
	size_t n = 0;
	pid_t pid, got = 0;

	/* execv() takes what it does not change without const. */
	for (argv[n++] = strdup("pennypost"); n < LEN(argv) - 1 && args[n - 1] != NULL; n++)
		argv[n] = strdup(args[n - 1]);
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -1;
	pid = fork();
	if (pid == 0)
		run_tool(s, argv, fds[0]);
	while (n > 0)
		free(argv[--n]);
	(void)close(fds[0]);
	if (pid > 0 && input != NULL)
		(void)!write(fds[1], input, strlen(input));
	(void)close(fds[1]);
	while (pid > 0 && (got = waitpid(pid, &status, WNOHANG)) == 0 && now_mono_usec() < over)
		suite_nap(2000);
	if (pid > 0 && got == 0) {
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
	}
	return got == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
#define TOOL(s, input, ...)	tool(s, input, (const char *const []){ __VA_ARGS__, NULL })

void
suite_nap(unsigned usec)
{
	const struct timespec t = { usec / 1000000, (long)(usec % 1000000) * 1000 };

	(void)nanosleep(&t, NULL);
}

/* ---- made ---- */

static bool
port_free(uint16_t port)
{
	const struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)&sin, sizeof(sin)) == 0;

	if (fd >= 0)
		(void)close(fd);
	return ok;
}

/* One that is free now, and that no client gets for its own end while the suite is down. */
static uint16_t
free_port(void)
{
	for (unsigned i = 0; i < PORT_TRIES; i++) {
		uint16_t n = 0, port;

		(void)!getrandom(&n, sizeof(n), 0);
		port = (uint16_t)(PORT_FIRST + n % PORTS);
		if (port_free(port))
			return port;
	}
	return 0;
}

/* What differs from the defaults: mail for elsewhere waits, away from the network. */
static bool
write_options(const struct selftest_suite *s)
{
	FILE *f = fopen(s->conf_file, "ae");
	bool ok;

	if (f == NULL)
		return false;
	(void)fprintf(f, "smarthost = \"127.0.0.1:1\"\nsmarthost-tls = \"never\"\n"
	    "retry-min = \"1s\"\nretry-max = \"5s\"\nsmtp-sessions-per-client = 200\n");
	ok = ferror(f) == 0;
	return fclose(f) == 0 && ok;
}

static bool
add_users(const struct selftest_suite *s)
{
	char address[64];

	for (unsigned i = 0; i < SELFTEST_USERS + KEEPERS; i++) {
		if (i < SELFTEST_USERS)
			(void)snprintf(address, sizeof(address), "u%u@" SELFTEST_DOMAIN, i);
		else
			(void)snprintf(address, sizeof(address), "k%u@" SELFTEST_DOMAIN, i - SELFTEST_USERS);
		if (TOOL(s, SELFTEST_PASSWORD "\n", "-C", s->conf_file, "user", "add", address, "--password-stdin") != 0)
			return false;
	}
	return TOOL(s, NULL, "-C", s->conf_file, "alias", "add", "both@" SELFTEST_DOMAIN,
	    "u0@" SELFTEST_DOMAIN ",u1@" SELFTEST_DOMAIN) == 0;
}

static bool
make_folder(struct selftest_suite *s, const char *below)
{
	char real[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", s->self, sizeof(s->self) - 1);

	if (n <= 0 || realpath(below, real) == NULL || strlen(real) + 32 > sizeof(s->dir)) {
		cli_errno(s->cli, "%s", below);
		return false;
	}
	s->self[n] = '\0';
	(void)snprintf(s->dir, sizeof(s->dir), "%s/pennypost-selftest.XXXXXX", real);
	if (mkdtemp(s->dir) == NULL) {
		cli_errno(s->cli, "%s", s->dir);
		s->dir[0] = '\0';
		return false;
	}
	/* The daemons' accounts have to reach what is theirs in it. */
	return chmod(s->dir, 0755) == 0 &&
	    (size_t)snprintf(s->conf_file, sizeof(s->conf_file), "%s/pennypost.conf", s->dir) < sizeof(s->conf_file);
}

bool
suite_make(struct selftest_suite *s, const char *below)
{
	char smtp[32], imap[32];

	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0 || !make_folder(s, below))
		return false;
	s->smtp_port = free_port();
	do {
		s->imap_port = free_port();
	} while (s->imap_port == s->smtp_port && s->imap_port != 0);
	(void)snprintf(smtp, sizeof(smtp), "smtp=%u", s->smtp_port);
	(void)snprintf(imap, sizeof(imap), "imaps=%u", s->imap_port);
	if (TOOL(s, NULL, "init", "--domain", SELFTEST_DOMAIN, "--hostname", "mail." SELFTEST_DOMAIN,
	    "--address", "127.0.0.1", "--port", smtp, "--port", imap, "--port", "submission=0", "--port", "submissions=0", "--port",
	    "imap=0", "--port=pop3=0", "--port=pop3s=0", s->dir) == 0 &&
	    write_options(s) && add_users(s) && conf_load(&s->conf, s->conf_file, NULL)) {
		s->loaded = true;
		return true;
	}
	cli_say(s->cli, "cannot make the scratch suite; %s/selftest.out says why", s->dir);
	return false;
}

/* ---- started ---- */

bool
suite_runs(const struct selftest_suite *s)
{
	int fd = open(s->conf.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool runs = fd >= 0 && run_locked_by(fd) != 0;

	if (fd >= 0)
		(void)close(fd);
	return runs;
}

bool
suite_start(struct selftest_suite *s)
{
	uint64_t began = now_mono_usec();
	int rc = TOOL(s, NULL, "-C", s->conf_file, "start");

	suite_reap(s);
	memset(s->deaths, 0, sizeof(s->deaths));
	s->starts++;
	s->start_usec += now_mono_usec() - began;
	if (rc != 0 && !selftest_stop)
		cli_say(s->cli, "the suite does not start again (%d); see %s/selftest.out", rc, s->dir);
	return rc == 0;
}

/* ---- its processes ---- */

static bool
is_worker(const struct selftest_suite *s, pid_t pid)
{
	for (size_t i = 0; i < WORKERS; i++)
		if (s->worker[i] == pid)
			return true;
	return false;
}

struct proc *
suite_processes(const struct selftest_suite *s, size_t *n)
{
	struct proc *all = proc_all(n);
	size_t found = 0;
	bool more = all != NULL;

	while (more) {
		more = false;
		for (size_t i = 0; i < *n; i++) {
			bool ours = all[i].ppid == getpid() && !is_worker(s, all[i].pid);

			for (size_t k = 0; k < *n && !ours && !all[i].picked; k++)
				ours = all[k].picked && all[k].pid == all[i].ppid;
			more |= ours && !all[i].picked;
			all[i].picked |= ours;
		}
	}
	for (size_t i = 0; i < *n; i++)
		if (all[i].picked && all[i].state != 'Z')
			all[found++] = all[i];
	*n = found;
	return all;
}

/* Zombies of ours; a sender that ended is a mistake that load_pause() finds. */
void
suite_reap(const struct selftest_suite *s)
{
	siginfo_t info = { 0 };

	(void)s;
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) == 0 && info.si_pid != 0)
		info.si_pid = 0;
}

void
suite_kill_all(struct selftest_suite *s)
{
	size_t n = 1;

	for (unsigned turn = 0; n > 0 && turn < GONE_TURNS; turn++) {
		struct proc *all = suite_processes(s, &n);

		for (size_t i = 0; i < n; i++)
			(void)proc_kill(all[i].pid, all[i].start, SIGKILL);
		free(all);
		suite_reap(s);
		if (n > 0 && turn > 0)
			suite_nap(5000);
	}
}

static void
note_death(struct selftest_suite *s, const char *name)
{
	for (size_t i = 0; i < LEN(s->deaths); i++) {
		if (s->deaths[i].n > 0 && strcmp(s->deaths[i].name, name) != 0)
			continue;
		(void)snprintf(s->deaths[i].name, sizeof(s->deaths[i].name), "%s", name);
		s->deaths[i].n++;
		return;
	}
}

bool
suite_tired(const struct selftest_suite *s)
{
	for (size_t i = 0; i < LEN(s->deaths); i++)
		if (s->deaths[i].n >= TIRED)
			return true;
	return false;
}

static bool
carries_mail(const char *name)
{
	static const char *const names[] = { "smtpd", "queue", "deliver", "relay", "imapd" };

	for (size_t i = 0; i < LEN(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* A name at random, then one of those that have it; NULL if there is none. */
static const struct proc *
choose(struct proc *all, size_t n, uint64_t *random, bool carrier)
{
	size_t names = 0, pick, at = 0;

	for (size_t i = 0; i < n; i++) {
		all[i].picked = !carrier || carries_mail(all[i].name);
		for (size_t k = 0; k < i && all[i].picked; k++)
			all[i].picked = strcmp(all[k].name, all[i].name) != 0;
		names += all[i].picked;
	}
	if (names == 0)
		return NULL;
	for (pick = (size_t)(selftest_next(random) % names); at < n; at++)
		if (all[at].picked && pick-- == 0)
			break;
	for (pick = (size_t)(selftest_next(random) % n); strcmp(all[pick].name, all[at].name) != 0; pick = (pick + 1) % n)
		;
	return &all[pick];
}

enum point_end
suite_kill_one(struct selftest_suite *s, uint64_t *random, struct point *p)
{
	enum point_end end = POINT_REFUSED;
	const struct proc *one;
	size_t n;
	struct proc *all = suite_processes(s, &n);

	one = choose(all, n, random, p != NULL);
	if (one == NULL) {
		free(all);
		return POINT_GONE;
	}
	if (p != NULL)
		end = point_kill(one, p);
	s->untraced |= p != NULL && end == POINT_REFUSED;
	if (end == POINT_REFUSED && !proc_kill(one->pid, one->start, SIGKILL))
		end = POINT_GONE;
	if (end == POINT_HIT || end == POINT_REFUSED)
		note_death(s, one->name);
	free(all);
	return end;
}

/* ---- removed ---- */

void
suite_clear(struct selftest_suite *s, bool keep)
{
	for (size_t i = 0; i < WORKERS; i++) {
		if (s->worker[i] > 0)
			(void)kill(s->worker[i], SIGKILL);
		s->worker[i] = 0;	/* what it started is ended with the suite */
	}
	suite_kill_all(s);
	if (s->dir[0] != '\0' && !keep && !purge_folder(s->dir))
		cli_errno(s->cli, "%s", s->dir);
	if (s->loaded)
		conf_clear(&s->conf);
	s->loaded = false;
}
