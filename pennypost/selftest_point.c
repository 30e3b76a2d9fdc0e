/*
 * A process of the suite is killed at a system call of its own, chosen by kind
 * and number, with ptrace(2): the binary is the one of production, and nothing
 * in it knows.  "Before" means that the call is not made, "after" that it was,
 * and that the process never saw its result.
 */
#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "selftest.h"
#include "daemon.h"

#define SYSCALL_STOP	(SIGTRAP | 0x80)
#define WAKE_USEC	20000	/* how often a wait looks at the clock */

const char *const point_name[POINT_CALLS] = { "write", "sync", "rename", "remove", "open", "answer" };

static const struct { long nr; enum point_call call; } calls[] = {
	{ SYS_write, POINT_WRITE }, { SYS_writev, POINT_WRITE }, { SYS_pwrite64, POINT_WRITE },
	{ SYS_pwritev, POINT_WRITE }, { SYS_pwritev2, POINT_WRITE }, { SYS_ftruncate, POINT_WRITE },
	{ SYS_fallocate, POINT_WRITE }, { SYS_copy_file_range, POINT_WRITE },
	{ SYS_fsync, POINT_SYNC }, { SYS_fdatasync, POINT_SYNC }, { SYS_syncfs, POINT_SYNC },
	{ SYS_sync_file_range, POINT_SYNC },
	{ SYS_renameat, POINT_RENAME }, { SYS_renameat2, POINT_RENAME }, { SYS_linkat, POINT_RENAME },
#ifdef SYS_rename
	{ SYS_rename, POINT_RENAME }, { SYS_link, POINT_RENAME }, { SYS_unlink, POINT_REMOVE },
#endif
	{ SYS_unlinkat, POINT_REMOVE },
	{ SYS_openat, POINT_OPEN }, { SYS_mkdirat, POINT_OPEN },
	{ SYS_sendmsg, POINT_SEND }, { SYS_sendto, POINT_SEND }, { SYS_sendmmsg, POINT_SEND },
};

static void
on_alarm(int sig)
{
	(void)sig;
}

/* A timer that interrupts waitpid() again and again, so that no instant can miss it. */
static void
set_timer(suseconds_t usec)
{
	const struct itimerval every = { { 0, usec }, { 0, usec } };
	const struct sigaction sa = { .sa_handler = on_alarm };

	(void)sigaction(SIGALRM, &sa, NULL);
	(void)setitimer(ITIMER_REAL, &every, NULL);
}

/* The next stop; false: over is reached (and the process runs) or it is gone (*gone). */
static bool
next_stop(pid_t pid, uint64_t over, int *status, bool *gone)
{
	for (;;) {
		pid_t got = waitpid(pid, status, __WALL);

		if (got == pid && WIFSTOPPED(*status))
			return true;
		if (got == pid || errno != EINTR) {
			*gone = true;
			return false;
		}
		if (now_mono_usec() >= over || selftest_stop)
			return false;
	}
}

/* Is this stop the entry of a call that counts?  p->hit is then which one. */
static bool
counts(pid_t pid, struct point *p)
{
	struct __ptrace_syscall_info info = { 0 };

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	for (size_t i = 0; i < LEN(calls); i++) {
		if ((uint64_t)calls[i].nr != info.entry.nr || (p->calls & 1u << calls[i].call) == 0)
			continue;
		p->hit = calls[i].call;
		return true;
	}
	return false;
}

/* Let it run from call to call until the chosen one. */
static enum point_end
run_to(pid_t pid, struct point *p, uint64_t over)
{
	unsigned left = p->nth;
	bool gone = false, leaving = false;
	int status, signal;

	while (next_stop(pid, over, &status, &gone)) {
		signal = WSTOPSIG(status);
		if (signal == SYSCALL_STOP) {
			signal = 0;
			if (leaving)
				return POINT_HIT;
			if (counts(pid, p) && --left == 0) {
				if (!p->after)
					return POINT_HIT;
				leaving = true;
			}
		} else if (status >> 16 != 0) {
			signal = 0;		/* our own interruption */
		}
		if (ptrace(PTRACE_SYSCALL, pid, 0, signal) != 0 && errno != ESRCH)
			return POINT_MISSED;
	}
	return gone ? POINT_GONE : POINT_MISSED;
}

/* Stopped once more, it is left to itself; false: it ended meanwhile. */
static bool
let_go(pid_t pid)
{
	int status, signal;

	(void)ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	for (;;) {
		if (waitpid(pid, &status, __WALL) != pid) {
			if (errno != EINTR)
				return false;
			continue;
		}
		if (!WIFSTOPPED(status))
			return false;
		/* A signal that came instead is given to it. */
		signal = WSTOPSIG(status) == SYSCALL_STOP || status >> 16 != 0 ? 0 : WSTOPSIG(status);
		return ptrace(PTRACE_DETACH, pid, 0, signal) == 0;
	}
}

enum point_end
point_kill(const struct proc *victim, struct point *p)
{
	uint64_t over = now_mono_usec() + (uint64_t)p->wait_ms * 1000;
	const pid_t pid = victim->pid;
	enum point_end end = POINT_GONE;
	struct proc now;
	int status;

	/* EPERM is also said of one that has just ended. */
	if (ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD) != 0)
		return !proc_read(pid, &now) || now.state == 'Z' || now.state == 'X' ? POINT_GONE : POINT_REFUSED;
	/* It cannot end unseen any more: is it still the one that was meant? */
	if (!proc_read(pid, &now) || now.start != victim->start) {
		(void)ptrace(PTRACE_DETACH, pid, 0, 0);
		return POINT_GONE;
	}
	set_timer(WAKE_USEC);
	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0)
		end = run_to(pid, p, over);
	if (end == POINT_MISSED && !let_go(pid))
		end = POINT_GONE;
	if (end == POINT_HIT) {
		(void)kill(pid, SIGKILL);
		while (waitpid(pid, &status, __WALL) == pid ? WIFSTOPPED(status) : errno == EINTR)
			;
	}
	set_timer(0);
	return end;
}
