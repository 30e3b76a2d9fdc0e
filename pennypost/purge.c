#include "purge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"

#define DEPTH_MAX 32

static bool remove_below(int dirfd, const char *name, int depth);

static bool
remove_entries(int fd, int depth)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *e;
	bool ok = dir != NULL;

	if (dir == NULL) {
		(void)close(fd);
		return false;
	}
	while (ok && (e = readdir(dir)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			ok = remove_below(fd, e->d_name, depth + 1);
	(void)closedir(dir);
	return ok;
}

static bool
remove_below(int dirfd, const char *name, int depth)
{
	int fd;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return true;
	if (errno != EISDIR && errno != EPERM)
		return false;
	fd = depth < DEPTH_MAX ? openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (fd < 0 || !remove_entries(fd, depth))
		return false;
	return unlinkat(dirfd, name, AT_REMOVEDIR) == 0;
}

/* "domain/user": through the domain's folder, which must be one. */
static bool
remove_path(int root, const char *below)
{
	struct slice rest = slice_of(below), domain = slice_cut(&rest, '/');
	char name[256];
	bool ok;
	int fd;

	if (rest.len == 0)
		return remove_below(root, below, 0);
	if (!slice_text(domain, name, sizeof(name)))
		return false;
	fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT;
	ok = remove_below(fd, rest.ptr, 0);
	(void)close(fd);
	return ok;
}

static _Noreturn void
child(const struct cli *c, const char *below)
{
	uid_t uid;
	gid_t gid;
	int root = open(c->conf.mail_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 && errno == ENOENT)
		_exit(0);
	daemon_account(&c->conf, "vmail", &uid, &gid);
	if (root < 0 || (uid != (uid_t)-1 &&
	    (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)) ||
	    !remove_path(root, below)) {
		cli_errno(c, "%s/%s", c->conf.mail_root, below);
		_exit(EX_IOERR);
	}
	_exit(0);
}

bool
purge_mail(const struct cli *c, const char *below)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		child(c, below);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool
purge_folder(const char *path)
{
	return remove_below(AT_FDCWD, path, 0);
}
