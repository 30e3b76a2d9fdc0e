/* login_child: see the header. */
#include "login/login_child.h"

#include <event2/event.h>
#include <limits.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "log.h"

#define EX_OSERR	71

pid_t
login_fork(void)
{
	sigset_t all, before;
	pid_t pid;

	/* A handler that ran in the child would write to the parent's loop. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	pid = fork();
	if (pid != 0)
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return pid;
}

/* The smallest of keep that is at least from, or INT_MAX. */
static int
next_kept(const int *keep, size_t n, int from)
{
	int next = INT_MAX;

	for (size_t i = 0; i < n; i++)
		if (keep[i] >= from && keep[i] < next)
			next = keep[i];
	return next;
}

static void
close_others(const int *keep, size_t n)
{
	int from = 3;

	for (int kept; (kept = next_kept(keep, n, from)) != INT_MAX; from = kept + 1)
		if (kept > from)
			(void)close_range((unsigned)from, (unsigned)kept - 1, 0);
	(void)close_range((unsigned)from, ~0u, 0);
}

static void
reset_signals(void)
{
	static const int ignored[] = { SIGPIPE, SIGHUP, SIGINT, SIGUSR1, SIGUSR2 };
	static const int by_default[] = { SIGTERM, SIGQUIT, SIGCHLD };
	sigset_t none;

	for (size_t i = 0; i < LEN(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	for (size_t i = 0; i < LEN(by_default); i++)
		(void)signal(by_default[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void
login_child(struct daemon *d, const char *program, const int *keep, size_t n)
{
	const struct log_setup setup = {
		.tag = d->conf.log_tag, .program = program, .hostname = d->conf.hostname,
		.fd = 2, .sink = d->log_sink, .json = d->conf.log_json, .debug = d->debug,
	};

	reset_signals();
	close_others(keep, n);
	log_setup(&setup);
	d->name = program;
	d->notify_fd = -1;
	d->drain = d->retire = NULL;
	/* The parent's base is left alone: freeing it would take events out of the shared epoll. */
	d->base = event_base_new();
	if (d->base == NULL)
		log_fatal(EX_OSERR, "event_base_new failed");
}

int
login_sigterm_fd(void)
{
	sigset_t term;
	int fd;

	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &term, NULL);
	fd = signalfd(-1, &term, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd == -1)
		log_fatal(EX_OSERR, "signalfd failed");
	return fd;
}
