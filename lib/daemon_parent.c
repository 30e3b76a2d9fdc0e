#include "daemon_parent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

struct parent {
	struct daemon	*d;
	bool		(*reload)(struct daemon *d);
	bool		 exclusive;
	int		 up_fd;		/* NOTIFY_SOCKET of whoever started us, or -1 */
	int		 signal_fd;
	sigset_t	 old_mask;
	int		 child_fd;	/* notices of the current child */
	pid_t		 child, old;	/* old: draining, 0 if none */
	bool		 restart;	/* exclusive: start again when the child has ended */
	bool		 ready, stopping;
};

static void
tell(const struct parent *p, const char *text)
{
	if (p->up_fd != -1)
		(void)send(p->up_fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* True in the child. */
static bool
start_child(struct parent *p)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0)
		log_fatal(71, "socketpair: %s", strerror(errno));
	pid = fork();
	if (pid == -1) {
		log_say(LOG_LEVEL_ERROR, "fork: %s", strerror(errno));
		(void)close(pair[0]);
		(void)close(pair[1]);
		return false;
	}
	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
		(void)sigprocmask(SIG_SETMASK, &p->old_mask, NULL);
		(void)close(pair[0]);
		(void)close(p->signal_fd);
		if (p->child_fd != -1)
			(void)close(p->child_fd);
		if (p->up_fd != -1)
			(void)close(p->up_fd);
		p->d->notify_fd = pair[1];
		return true;
	}
	(void)close(pair[1]);
	if (p->child_fd != -1)
		(void)close(p->child_fd);
	p->child_fd = pair[0];
	p->old = p->child;
	p->child = pid;
	p->ready = false;
	return false;
}

/* A notice of the child: pass it on; a new one that is ready replaces the old. */
static void
child_notice(struct parent *p)
{
	char text[512];
	ssize_t n = recv(p->child_fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n <= 0)
		return;
	text[n] = '\0';
	tell(p, text);
	if (strstr(text, "READY=1") != NULL && !p->ready) {
		p->ready = true;
		if (p->old > 0)
			(void)kill(p->old, SIGUSR2);
	}
}

static bool
begin_reload(struct parent *p)
{
	struct timespec now;
	char text[100];

	if (p->stopping || !p->reload(p->d)) {
		log_say(LOG_LEVEL_ERROR, "the configuration was not reloaded; the old one stays in force");
		return false;
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
	tell(p, text);
	if (p->exclusive) {
		p->restart = true;
		(void)kill(p->child, SIGTERM);
		return false;
	}
	return start_child(p);
}

/* Reap; true in a new child.  The end of the current one is our end. */
static bool
reap(struct parent *p)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == p->old)
			p->old = 0;
		if (pid != p->child)
			continue;
		if (p->restart && !p->stopping) {
			p->restart = false;
			if (start_child(p))
				return true;
			continue;
		}
		if (!p->ready && p->old > 0 && !p->stopping) {	/* the new one failed: the old goes on */
			log_say(LOG_LEVEL_ERROR, "the new process ended before it was ready; the old one stays");
			p->child = p->old;
			p->old = 0;
			p->ready = true;
			tell(p, "READY=1");
			continue;
		}
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
	return false;
}

static bool
take_signal(struct parent *p)
{
	struct signalfd_siginfo info;

	if (read(p->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return false;
	switch (info.ssi_signo) {
	case SIGHUP:
		return begin_reload(p);
	case SIGCHLD:
		return reap(p);
	default:
		if (!p->stopping)
			tell(p, "STOPPING=1");
		p->stopping = true;
		(void)kill(p->child, (int)info.ssi_signo);
		if (p->old > 0)
			(void)kill(p->old, (int)info.ssi_signo);
		return false;
	}
}

void
daemon_parent(struct daemon *d, bool (*reload)(struct daemon *d), bool exclusive)
{
	struct parent p = { .d = d, .reload = reload, .exclusive = exclusive,
	    .up_fd = d->notify_fd, .child_fd = -1 };
	sigset_t mask;

	(void)sigemptyset(&mask);
	for (const int *s = (const int[]){ SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGCHLD, 0 }; *s != 0; s++)
		(void)sigaddset(&mask, *s);
	(void)sigprocmask(SIG_BLOCK, &mask, &p.old_mask);
	p.signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p.signal_fd == -1)
		log_fatal(71, "signalfd: %s", strerror(errno));
	if (start_child(&p))
		return;
	if (p.child == 0)
		exit(71);
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = p.signal_fd, .events = POLLIN },
			{ .fd = p.child_fd, .events = POLLIN },
		};

		if (poll(fds, LEN(fds), -1) == -1)
			continue;
		if ((fds[1].revents & POLLIN) != 0)
			child_notice(&p);
		else if (fds[1].revents != 0) {
			(void)close(p.child_fd);
			p.child_fd = -1;
		}
		if ((fds[0].revents & POLLIN) != 0 && take_signal(&p))
			return;
	}
}
