#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

bool
proc_parse(struct slice stat, struct proc *out)
{
	size_t open = slice_find(stat, '('), close = slice_rfind(stat, ')');
	struct slice rest, name, field;
	uint64_t n[23] = { 0 };

	*out = (struct proc){ 0 };
	if (close >= stat.len || open >= close)
		return false;
	if (!slice_number(slice_trim(slice_sub(stat, 0, open)), INT32_MAX, &n[1]))
		return false;
	name = slice_sub(stat, open + 1, close - open - 1);
	(void)slice_text(slice_sub(name, 0, sizeof(out->name) - 1), out->name, sizeof(out->name));
	rest = slice_trim(slice_sub(stat, close + 1, stat.len));
	field = slice_cut(&rest, ' ');
	if (field.len != 1)
		return false;
	out->state = field.ptr[0];
	/* Fields 4 to 22; some of those between may be negative and are passed over. */
	for (int i = 4; i <= 22; i++) {
		field = slice_cut(&rest, ' ');
		if (!slice_number(field, UINT64_MAX, &n[i]) && (i == 4 || i == 6 || i == 22))
			return false;
	}
	if (n[4] > INT32_MAX || n[6] > INT32_MAX)
		return false;
	out->pid = (pid_t)n[1];
	out->ppid = (pid_t)n[4];
	out->session = (pid_t)n[6];
	out->start = n[22];
	return true;
}

ssize_t
proc_file(pid_t pid, const char *file, char *out, size_t size)
{
	char path[64];
	size_t len = 0;
	ssize_t n = 0;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	while (len + 1 < size && (n = read(fd, out + len, size - 1 - len)) > 0)
		len += (size_t)n;
	(void)close(fd);
	out[len] = '\0';
	return n < 0 ? -1 : (ssize_t)len;
}

bool
proc_read(pid_t pid, struct proc *out)
{
	char text[1024];
	ssize_t n = proc_file(pid, "stat", text, sizeof(text));

	return n > 0 && proc_parse(slice_make(text, (size_t)n), out);
}

struct proc *
proc_all(size_t *n)
{
	struct proc *all = NULL, *grown;
	size_t size = 0;
	const struct dirent *e;
	DIR *dir = opendir("/proc");

	*n = 0;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		if (*n == size) {
			size = size == 0 ? 256 : size * 2;
			grown = reallocarray(all, size, sizeof(*all));
			if (grown == NULL)
				break;
			all = grown;
		}
		if (proc_read((pid_t)strtol(e->d_name, NULL, 10), &all[*n]))
			(*n)++;
	}
	if (dir != NULL)
		(void)closedir(dir);
	return all;
}

bool
proc_kill(pid_t pid, uint64_t start, int signal)
{
	struct proc now;
	int fd = pidfd_open(pid, 0);
	bool ok;

	/* With the descriptor in hand the pid cannot change its meaning between look and kill. */
	ok = proc_read(pid, &now) && now.start == start && now.state != 'Z';
	if (ok)
		ok = fd >= 0 ? pidfd_send_signal(fd, signal, NULL, 0) == 0 : kill(pid, signal) == 0;
	if (fd >= 0)
		(void)close(fd);
	return ok;
}
