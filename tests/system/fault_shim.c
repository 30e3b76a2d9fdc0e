/*
 * For tests: LD_PRELOAD this into a daemon to have one call fail after it got
 * its first job (strace cannot: its way of failing a call looks like a
 * forbidden one to seccomp).
 *
 *	PP_FAULT=trace			say "F call" on standard error for each
 *	PP_FAULT=fsync:3:5		the third fsync fails with errno 5
 *	PP_FAULT=write:2:short		the second write writes half of it
 *	PP_FAULT=openat:2:kill		SIGKILL before the second openat
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

static int armed, seen, wanted, trace, code, do_kill, do_short;
static char name[32];

__attribute__((constructor)) static void
read_wish(void)
{
	const char *wish = getenv("PP_FAULT");
	char how[16] = "";

	if (wish == NULL)
		return;
	trace = strcmp(wish, "trace") == 0;
	if (!trace && sscanf(wish, "%31[^:]:%d:%15s", name, &wanted, how) == 3) {
		do_kill = strcmp(how, "kill") == 0;
		do_short = strcmp(how, "short") == 0;
		code = atoi(how);
	}
}

/* True: this call is to fail with errno. */
static int
strike(const char *call)
{
	char line[64];

	if (!armed)
		return 0;
	if (trace) {
		ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
		int n = snprintf(line, sizeof(line), "F %s\n", call);

		(void)real(2, line, (size_t)n);
		return 0;
	}
	if (strcmp(call, name) != 0 || ++seen != wanted)
		return 0;
	if (do_kill)
		(void)raise(SIGKILL);
	errno = code;
	return !do_short;
}

#define REAL(call)	((__typeof__(&call))dlsym(RTLD_NEXT, #call))

ssize_t
recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t n = REAL(recvmsg)(fd, m, flags);

	if (n >= 2 && m->msg_iovlen > 0 && memcmp(m->msg_iov[0].iov_base, "\x02\x02", 2) == 0)
		armed = 1;
	return n;
}

ssize_t
write(int fd, const void *b, size_t n)
{
	if (fd > 2) {
		int before = seen;

		if (strike("write"))
			return -1;
		if (do_short && seen == wanted && before != seen)
			n = (n + 1) / 2;
	}
	return REAL(write)(fd, b, n);
}

ssize_t
writev(int fd, const struct iovec *iov, int n)
{
	return strike("writev") ? -1 : REAL(writev)(fd, iov, n);
}

ssize_t
pwrite(int fd, const void *b, size_t n, off_t at)
{
	return strike("pwrite") ? -1 : REAL(pwrite)(fd, b, n, at);
}

ssize_t
pwrite64(int fd, const void *b, size_t n, off64_t at)
{
	return strike("pwrite") ? -1 : REAL(pwrite64)(fd, b, n, at);
}

int
fsync(int fd)
{
	return strike("fsync") ? -1 : REAL(fsync)(fd);
}

int
fdatasync(int fd)
{
	return strike("fdatasync") ? -1 : REAL(fdatasync)(fd);
}

int
renameat(int a, const char *x, int b, const char *y)
{
	return strike("renameat") ? -1 : REAL(renameat)(a, x, b, y);
}

int
renameat2(int a, const char *x, int b, const char *y, unsigned flags)
{
	return strike("renameat2") ? -1 : REAL(renameat2)(a, x, b, y, flags);
}

int
linkat(int a, const char *x, int b, const char *y, int flags)
{
	return strike("linkat") ? -1 : REAL(linkat)(a, x, b, y, flags);
}

int
mkdirat(int fd, const char *path, mode_t mode)
{
	return strike("mkdirat") ? -1 : REAL(mkdirat)(fd, path, mode);
}

int
close(int fd)
{
	/* As the kernel: the descriptor is gone, whatever is said. */
	if (strike("close")) {
		int number = errno;

		(void)REAL(close)(fd);
		errno = number;
		return -1;
	}
	return REAL(close)(fd);
}

static int
open_it(const char *symbol, int fd, const char *path, int flags, mode_t mode)
{
	int (*real)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, symbol);

	return strike("openat") ? -1 : real(fd, path, flags, mode);
}

#define OPENAT(call)					\
int							\
call(int fd, const char *path, int flags, ...)		\
{							\
	va_list ap;					\
	mode_t mode;					\
							\
	va_start(ap, flags);				\
	mode = va_arg(ap, mode_t);			\
	va_end(ap);					\
	return open_it(#call, fd, path, flags, mode);	\
}

OPENAT(openat)
OPENAT(openat64)

int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);

int
__openat_2(int fd, const char *path, int flags)
{
	return open_it("openat", fd, path, flags, 0);
}

int
__openat64_2(int fd, const char *path, int flags)
{
	return open_it("openat", fd, path, flags, 0);
}
