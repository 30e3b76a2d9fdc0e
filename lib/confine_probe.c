/* What a broken-into process would try; for tests of the confinement itself. */
#include "confine.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slice.h"

/* Each returns -1 with errno if it was refused; `arg` is what stands behind the ':'. */

static int
try_read(const char *arg)
{
	char c;
	int fd = open(arg, O_RDONLY | O_CLOEXEC);

	return fd == -1 || read(fd, &c, 1) == -1 ? -1 : 0;
}

static int
try_write(const char *arg)
{
	return open(arg, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) == -1 ? -1 : 0;
}

static int
try_list(const char *arg)
{
	return open(arg, O_RDONLY | O_DIRECTORY | O_CLOEXEC) == -1 ? -1 : 0;
}

static int
try_stat(const char *arg)
{
	struct stat st;

	return stat(arg, &st);
}

static int
connected(int fd, const struct sockaddr *to, socklen_t len)
{
	if (fd == -1)
		return -1;
	/* A peer that says no has been reached. */
	return connect(fd, to, len) == 0 || errno == ECONNREFUSED || errno == EINPROGRESS ? 0 : -1;
}

static int
try_connect(const char *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct slice rest = slice_of(arg), host = slice_cut(&rest, ':');
	uint64_t port;
	char text[64];

	if (!slice_text(host, text, sizeof(text)) || inet_pton(AF_INET, text, &to.sin_addr) != 1 ||
	    !slice_number(rest, UINT16_MAX, &port)) {
		errno = EINVAL;
		return -1;
	}
	to.sin_port = htons((uint16_t)port);
	return connected(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), (struct sockaddr *)&to, sizeof(to));
}

static int
try_unix(const char *arg)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (!slice_text(slice_of(arg), to.sun_path, sizeof(to.sun_path))) {
		errno = EINVAL;
		return -1;
	}
	return connected(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), (struct sockaddr *)&to, sizeof(to));
}

static int
try_listen(const char *arg)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)arg;
	return fd == -1 || bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 ? -1 : listen(fd, 1);
}

static int
try_socket(const char *arg)
{
	(void)arg;
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int
try_unix_socket(const char *arg)
{
	(void)arg;
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
}

static int
try_raw_socket(const char *arg)
{
	(void)arg;
	return socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
}

static int
try_exec(const char *arg)
{
	char *const argv[] = { strdup(arg), NULL }, *const env[] = { NULL };

	return execve(arg, argv, env);
}

static int
try_setuid(const char *arg)
{
	uint64_t uid;

	if (!slice_number(slice_of(arg), UINT32_MAX - 1, &uid))
		uid = 0;
	return setresuid((uid_t)uid, (uid_t)uid, (uid_t)uid);
}

static int
try_fork(const char *arg)
{
	pid_t pid = fork();

	(void)arg;
	if (pid == 0)
		_exit(0);
	return pid == -1 ? -1 : 0;
}

static int
try_ptrace(const char *arg)
{
	uint64_t pid;

	if (!slice_number(slice_of(arg), INT32_MAX, &pid))
		pid = (uint64_t)getppid();
	return ptrace(PTRACE_SEIZE, (pid_t)pid, NULL, NULL) == -1 ? -1 : 0;
}

static int
try_vm_read(const char *arg)
{
	char octet;
	struct iovec local = { &octet, 1 }, remote = { &octet, 1 };
	uint64_t pid;

	if (!slice_number(slice_of(arg), INT32_MAX, &pid))
		pid = (uint64_t)getppid();
	return process_vm_readv((pid_t)pid, &local, 1, &remote, 1, 0) == -1 && errno != EFAULT ? -1 : 0;
}

static int
try_kill(const char *arg)
{
	uint64_t pid;

	if (!slice_number(slice_of(arg), INT32_MAX, &pid) || pid == 0)
		pid = 1;
	return kill((pid_t)pid, 0);
}

static int
try_mmap_exec(const char *arg)
{
	(void)arg;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0;
}

static int
try_unshare(const char *arg)
{
	(void)arg;
	return unshare(CLONE_NEWUSER);
}

static int
try_chroot(const char *arg)
{
	return chroot(*arg == '\0' ? "/" : arg);
}

static int
try_mount(const char *arg)
{
	(void)arg;
	return mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL);
}

/* Calls that need no sensible arguments: what matters is whether they are let in at all. */
static int
try_call(const char *arg)
{
	static const struct { const char *name; long nr; } calls[] = {
		{ "keyctl", SYS_keyctl }, { "bpf", SYS_bpf }, { "io-uring", SYS_io_uring_setup },
		{ "userfaultfd", SYS_userfaultfd }, { "perf", SYS_perf_event_open }, { "module", SYS_init_module },
	};

	for (size_t i = 0; i < LEN(calls); i++) {
		if (strcmp(calls[i].name, arg) != 0)
			continue;
		/* EPERM and ENOSYS are refusals; EINVAL and EFAULT say that the kernel looked. */
		if (syscall(calls[i].nr, -1L, 0L, 0L, 0L, 0L) == -1 && (errno == EPERM || errno == ENOSYS))
			return -1;
		return 0;
	}
	errno = EINVAL;
	return -1;
}

static const struct {
	const char	*name;
	int		(*run)(const char *arg);
} attempts[] = {
	{ "open", try_read }, { "read", try_read }, { "write", try_write }, { "list", try_list }, { "stat", try_stat },
	{ "connect", try_connect }, { "listen", try_listen }, { "unix", try_unix }, { "socket", try_socket },
	{ "unix-socket", try_unix_socket }, { "raw-socket", try_raw_socket }, { "exec", try_exec }, { "setuid", try_setuid }, { "fork", try_fork },
	{ "ptrace", try_ptrace }, { "vm-read", try_vm_read }, { "kill", try_kill }, { "mmap-exec", try_mmap_exec },
	{ "unshare", try_unshare }, { "chroot", try_chroot }, { "mount", try_mount },
	{ "keyctl", try_call }, { "bpf", try_call }, { "io-uring", try_call }, { "userfaultfd", try_call },
	{ "perf", try_call }, { "module", try_call },
};

/* One write() and no stdio, which would ask what kind of file it is. */
static void
say(const char *attempt, const char *result, int error)
{
	char line[600];
	int n = snprintf(line, sizeof(line), "%.400s: %s%s\n", attempt, result, error == 0 ? "" : strerror(error));

	if (n > 0 && write(STDOUT_FILENO, line, (size_t)n) == -1)
		return;
}

int
confine_probe(const char *attempt)
{
	struct slice rest = slice_of(attempt), name = slice_cut(&rest, ':');

	for (size_t i = 0; i < LEN(attempts); i++) {
		if (!slice_is(name, attempts[i].name))
			continue;
		if (attempts[i].run(attempts[i].run == try_call ? attempts[i].name : rest.ptr) == -1) {
			say(attempt, "refused: ", errno);
			return 1;
		}
		say(attempt, "allowed", 0);
		return 0;
	}
	say(attempt, "no such attempt", 0);
	return 2;
}
