/*
 * For tests: LD_PRELOAD this into a daemon to have calls fail (strace cannot:
 * its way of failing a call looks like a forbidden one to seccomp).
 *
 *	PP_FAULTS=fdatasync:5:3		the third fdatasync fails with errno 5
 *	PP_FAULTS=pwritev:28:4+2	the fourth, and every second one after
 *	PP_FAULTS=pwritev:short:4	the fourth writes half, and says so
 *	PP_FAULTS=pwritev:lie:4		the fourth writes nothing, and says that it did
 *	PP_FAULTS=fsync:kill:2		SIGKILL before the second fsync
 *	PP_FAULTS=fsync:slow:2+1	20 ms are lost before each from the second on
 *	PP_FAULTS=count			at the end say how often each was called
 *
 * Several rules are parted by commas.  Only the process that was started is
 * meant, not its children.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum call { FDATASYNC, FSYNC, PREAD, PWRITEV, PWRITE, WRITE, FALLOCATE, OPENAT, RENAMEAT2, UNLINKAT, FTRUNCATE, CALLS };
static const char *const names[CALLS] = { "fdatasync", "fsync", "pread", "pwritev", "pwrite", "write", "fallocate", "openat",
	"renameat2", "unlinkat", "ftruncate" };

enum { NONE, SHORT = -1, KILL = -2, LIE = -3, SLOW = -4 };
struct rule {
	enum call call;
	int error;		/* errno, SHORT, KILL, LIE (pwritev) or SLOW */
	long first, step;
};

static struct rule rule[16];
static int rules;
static long seen[CALLS];
static pid_t self;
static bool counting;

__attribute__((constructor)) static void
read_rules(void)
{
	char *wish = getenv("PP_FAULTS") == NULL ? NULL : strdup(getenv("PP_FAULTS")), *save = NULL;

	self = getpid();
	for (char *one = wish == NULL ? NULL : strtok_r(wish, ",", &save); one != NULL && rules < 16;
	    one = strtok_r(NULL, ",", &save)) {
		struct rule r = { .call = CALLS };
		char call[16] = "", what[16] = "";

		counting = counting || strcmp(one, "count") == 0;
		if (sscanf(one, "%15[^:]:%15[^:]:%ld+%ld", call, what, &r.first, &r.step) < 3)
			continue;
		for (int c = 0; c < CALLS; c++)
			if (strcmp(names[c], call) == 0)
				r.call = (enum call)c;
		r.error = strcmp(what, "short") == 0 ? SHORT : strcmp(what, "kill") == 0 ? KILL :
		    strcmp(what, "lie") == 0 ? LIE : strcmp(what, "slow") == 0 ? SLOW : atoi(what);
		if (r.call != CALLS)
			rule[rules++] = r;
	}
}

__attribute__((destructor)) static void
say_counts(void)
{
	if (counting && getpid() == self)
		for (int c = 0; c < CALLS; c++)
			(void)fprintf(stderr, "calls %s %ld\n", names[c], seen[c]);
}

/* Turning in circles: a confined process may not be allowed to sleep. */
static void
lose_time(void)
{
	struct timespec t, end;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += 20000000;
	do
		(void)clock_gettime(CLOCK_MONOTONIC, &t);
	while ((t.tv_sec - end.tv_sec) * 1000000000 + t.tv_nsec < end.tv_nsec);
}

/* What is to become of this call: 0, an errno (already set), or SHORT. */
static int
strike(enum call call)
{
	if (self != getpid())
		return NONE;
	seen[call]++;
	for (int i = 0; i < rules; i++) {
		const struct rule *r = &rule[i];

		if (r->call != call || seen[call] < r->first ||
		    (r->step == 0 ? seen[call] != r->first : (seen[call] - r->first) % r->step != 0))
			continue;
		if (r->error == SLOW) {
			lose_time();
			continue;
		}
		if (r->error == KILL)
			(void)raise(SIGKILL);
		errno = r->error;
		return r->error;
	}
	return NONE;
}

#define REAL(name)	((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int
fdatasync(int fd)
{
	return strike(FDATASYNC) != NONE ? -1 : REAL(fdatasync)(fd);
}

int
fsync(int fd)
{
	return strike(FSYNC) != NONE ? -1 : REAL(fsync)(fd);
}

ssize_t
pread(int fd, void *buf, size_t len, off_t offset)
{
	return strike(PREAD) != NONE ? -1 : REAL(pread)(fd, buf, len, offset);
}

ssize_t
pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	int struck = strike(PWRITEV);

	if (struck == SHORT)
		return REAL(pwrite)(fd, iov[0].iov_base, (iov[0].iov_len + 1) / 2, offset);
	if (struck == LIE) {
		ssize_t len = 0;

		for (int i = 0; i < n; i++)
			len += (ssize_t)iov[i].iov_len;
		return len;
	}
	return struck != NONE ? -1 : REAL(pwritev)(fd, iov, n, offset);
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	int struck = strike(PWRITE);

	return struck == SHORT ? REAL(pwrite)(fd, buf, (len + 1) / 2, offset) :
	    struck != NONE ? -1 : REAL(pwrite)(fd, buf, len, offset);
}

ssize_t
write(int fd, const void *buf, size_t len)
{
	int struck = fd == 2 ? NONE : strike(WRITE);

	return struck == SHORT ? REAL(write)(fd, buf, (len + 1) / 2) : struck != NONE ? -1 : REAL(write)(fd, buf, len);
}

int
fallocate(int fd, int mode, off_t offset, off_t len)
{
	return strike(FALLOCATE) != NONE ? -1 : REAL(fallocate)(fd, mode, offset, len);
}

int
openat(int dirfd, const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return strike(OPENAT) != NONE ? -1 : REAL(openat)(dirfd, path, flags, mode);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	return strike(RENAMEAT2) != NONE ? -1 : REAL(renameat2)(from_fd, from, to_fd, to, flags);
}

int
unlinkat(int dirfd, const char *path, int flags)
{
	return strike(UNLINKAT) != NONE ? -1 : REAL(unlinkat)(dirfd, path, flags);
}

int
ftruncate(int fd, off_t len)
{
	return strike(FTRUNCATE) != NONE ? -1 : REAL(ftruncate)(fd, len);
}
