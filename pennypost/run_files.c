#include "run_files.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "folders.h"

#define PID_FILE	"pennypost.pid"
#define LIST_FILE	"pennypost.processes"
#define LIST_MAX	(RUN_PROCESSES * 80)
#define KILL_TURNS	50		/* of 100 ms, after SIGKILL */

static pid_t
read_pid(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

int
run_lock(int run_dirfd, pid_t *pid)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = openat(run_dirfd, PID_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);

	*pid = 0;
	if (fd < 0 || fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return fd;
	*pid = read_pid(fd);
	(void)close(fd);
	errno = EWOULDBLOCK;
	return -1;
}

pid_t
run_locked_by(int run_dirfd)
{
	/* Asking does not take the lock: a `start` at this moment is not disturbed. */
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
	int fd = openat(run_dirfd, PID_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	pid_t pid = 0;

	if (fd < 0)
		return 0;
	if (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
		pid = read_pid(fd);
		if (pid <= 0)
			pid = -1;
	}
	(void)close(fd);
	return pid;
}

bool
run_lock_write(int fd)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	return ftruncate(fd, 0) == 0 && pwrite(fd, text, (size_t)len, 0) == len;
}

static bool
boot_id(char out[64])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, 63);

	if (fd >= 0)
		(void)close(fd);
	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return n > 0;
}

static bool
parse_line(struct slice line, struct run_process *out)
{
	struct slice name = slice_cut(&line, ' '), pid = slice_cut(&line, ' ');
	uint64_t n;

	if (name.len == 0 || !slice_text(name, out->name, sizeof(out->name)) ||
	    !slice_number(pid, INT32_MAX, &n) || n < 2 || !slice_number(line, UINT64_MAX, &out->start))
		return false;
	out->pid = (pid_t)n;
	return true;
}

bool
run_list_parse(struct slice text, const char *boot, struct run_list *out)
{
	struct slice line = slice_cut(&text, '\n');

	out->n = 0;
	if (!slice_prefix(&line, "boot ") || !slice_is(line, boot))
		return false;
	while (text.len > 0) {
		line = slice_cut(&text, '\n');
		if (out->n == RUN_PROCESSES || !parse_line(line, &out->at[out->n]))
			return false;
		out->n++;
	}
	return true;
}

bool
run_list_write(int run_dirfd, const struct run_list *list)
{
	struct buf text;
	char boot[64];
	bool ok;

	if (!boot_id(boot))
		return false;
	buf_init(&text, LIST_MAX);
	(void)buf_fmt(&text, "boot %s\n", boot);
	for (size_t i = 0; i < list->n; i++)
		(void)buf_fmt(&text, "%s %ld %llu\n", list->at[i].name, (long)list->at[i].pid,
		    (unsigned long long)list->at[i].start);
	ok = !text.full && file_replace(run_dirfd, LIST_FILE, text.ptr, text.len, 0644, (uid_t)-1, (gid_t)-1);
	buf_clear(&text);
	return ok;
}

bool
run_list_read(int run_dirfd, struct run_list *out)
{
	char text[LIST_MAX], boot[64];
	int fd = openat(run_dirfd, LIST_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	out->n = 0;
	if (fd < 0)
		return errno == ENOENT;
	/* Only what root or we wrote says whom to kill. */
	n = fstat(fd, &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()) ? read(fd, text, sizeof(text)) : -1;
	(void)close(fd);
	if (n < 0 || !boot_id(boot))
		return false;
	if (!run_list_parse(slice_make(text, (size_t)n), boot, out))
		out->n = 0;
	return true;
}

static const struct proc *
find(const struct proc *all, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (all[i].pid == pid)
			return &all[i];
	return NULL;
}

/*
 * Is p one of this leader's session?  As long as one process of a session
 * lives the kernel gives its number to no other; a process of that number with
 * another start time means that our session was empty and the number is new.
 */
static bool
in_session(const struct run_process *leader, const struct proc *p, const struct proc *all, size_t n)
{
	const struct proc *now = find(all, n, leader->pid);

	if (now != NULL && now->start != leader->start)
		return false;
	if (p->pid == leader->pid)
		return p->start == leader->start;
	return p->session == leader->pid && p->start >= leader->start;
}

size_t
run_list_pick(const struct run_list *list, struct proc *all, size_t n)
{
	size_t count = 0, before;

	for (size_t i = 0; i < n; i++) {
		all[i].picked = false;
		for (size_t k = 0; k < list->n && !all[i].picked; k++)
			all[i].picked = in_session(&list->at[k], &all[i], all, n) && all[i].pid != getpid();
		count += all[i].picked;
	}
	/* Children that made a session of their own, and theirs. */
	do {
		before = count;
		for (size_t i = 0; i < n; i++) {
			const struct proc *parent = all[i].picked ? NULL : find(all, n, all[i].ppid);

			if (parent != NULL && parent->picked && all[i].pid != getpid()) {
				all[i].picked = true;
				count++;
			}
		}
	} while (count != before);
	return count;
}

static size_t
signal_all(const struct run_list *list, int signal)
{
	size_t n, alive = 0;
	struct proc *all = proc_all(&n);

	if (all != NULL && run_list_pick(list, all, n) > 0) {
		for (size_t i = 0; i < n; i++) {
			if (!all[i].picked || all[i].state == 'Z')
				continue;
			alive++;
			if (signal != 0)
				(void)proc_kill(all[i].pid, all[i].start, signal);
		}
	}
	free(all);
	return alive;
}

static void
nap(void)
{
	const struct timespec t = { .tv_nsec = 100 * 1000 * 1000 };

	(void)nanosleep(&t, NULL);
}

size_t
run_list_end(const struct run_list *list, int wait_ms, size_t *left)
{
	size_t found = signal_all(list, SIGTERM);

	*left = found;
	for (; *left > 0 && wait_ms > 0; wait_ms -= 100) {
		nap();
		*left = signal_all(list, 0);
	}
	for (int i = 0; *left > 0 && i < KILL_TURNS; i++) {
		*left = signal_all(list, SIGKILL);
		if (*left > 0)
			nap();
	}
	return found;
}
