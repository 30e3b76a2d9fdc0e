/* Reads the sealed record that another process made of its confinement (confine.h). */
#include "confine.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"

/* The descriptor of a record in /proc/PID/fd, opened; -1 if there is none. */
static int
find_record(DIR *fds)
{
	static const char name[] = "/memfd:pennypost-sandbox";
	struct dirent *entry;
	char target[64];

	while ((entry = readdir(fds)) != NULL) {
		ssize_t n = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target));

		if (n >= (ssize_t)sizeof(name) - 1 && memcmp(target, name, sizeof(name) - 1) == 0)
			return openat(dirfd(fds), entry->d_name, O_RDONLY | O_CLOEXEC);
	}
	return -1;
}

/* Only what nobody can have altered since. */
static bool
read_sealed(int fd, struct buf *out)
{
	char *to;
	ssize_t n;

	if ((fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE) == 0)
		return false;
	for (off_t at = 0;; at += n) {
		to = buf_room(out, 4096);
		if (to == NULL)
			return false;
		n = pread(fd, to, 4096, at);
		if (n <= 0)
			return n == 0;
		buf_add(out, (size_t)n);
	}
}

bool
confine_record_read(pid_t pid, struct buf *out)
{
	char path[64];
	DIR *fds;
	int fd;
	bool ok;

	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	fds = opendir(path);
	if (fds == NULL)
		return false;
	fd = find_record(fds);
	(void)closedir(fds);
	if (fd == -1)
		return false;
	ok = read_sealed(fd, out);
	(void)close(fd);
	return ok;
}
