#include "folders.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "slice.h"

static bool
is_ours(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* The next folder of a walk; makes it when it is missing. */
static int
step(int at, const char *name, char *why, size_t why_size)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, fd;
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno != ENOENT || (mkdirat(at, name, 0755) != 0 && errno != EEXIST)) {
			(void)snprintf(why, why_size, "cannot make folder %s: %s", name, strerror(errno));
			return -1;
		}
	} else if (S_ISLNK(st.st_mode)) {
		if (!is_ours(st.st_uid)) {
			(void)snprintf(why, why_size, "%s is a symbolic link made by uid %u", name, st.st_uid);
			return -1;
		}
		flags &= ~O_NOFOLLOW;
	}
	fd = openat(at, name, flags);
	if (fd < 0 && errno == EACCES)	/* may be passed, but not read */
		fd = openat(at, name, (flags & ~O_RDONLY) | O_PATH);
	if (fd < 0)
		(void)snprintf(why, why_size, "cannot open folder %s: %s", name, strerror(errno));
	return fd;
}

int
folder_open(const char *path, char *why, size_t why_size)
{
	struct slice rest = slice_of(path), part;
	char name[NAME_MAX + 1], inner[300];
	int at = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), next;

	while (at >= 0 && rest.len > 0) {
		part = slice_cut(&rest, '/');
		if (part.len == 0)
			continue;
		if (!slice_text(part, name, sizeof(name))) {
			(void)snprintf(inner, sizeof(inner), "a name in it is too long");
			next = -1;
		} else {
			next = step(at, name, inner, sizeof(inner));
		}
		(void)close(at);
		at = next;
	}
	if (at < 0)
		(void)snprintf(why, why_size, "%s: %s", path, inner);
	return at;
}

/* O_PATH descriptors (folders that may not be read) take fchownat/fchmodat only through /proc. */
static bool
give(int fd, uid_t uid, gid_t gid, mode_t mode, const struct stat *st)
{
	if (uid != (uid_t)-1 && (st->st_uid != uid || st->st_gid != gid) && fchown(fd, uid, gid) != 0)
		return false;
	return (st->st_mode & 07777) == mode || fchmod(fd, mode) == 0;
}

int
folder_make(const char *path, uid_t uid, gid_t gid, mode_t mode, char *why, size_t why_size)
{
	struct stat st;
	int fd = folder_open(path, why, why_size);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0) {
		(void)snprintf(why, why_size, "%s: %s", path, strerror(errno));
		goto fail;
	}
	if (!is_ours(st.st_uid) && st.st_uid != uid) {
		(void)snprintf(why, why_size, "%s belongs to uid %u; write: chown -R %u %s (or take another folder)",
		    path, st.st_uid, uid == (uid_t)-1 ? geteuid() : uid, path);
		goto fail;
	}
	if (!give(fd, uid, gid, mode, &st)) {
		(void)snprintf(why, why_size, "cannot set owner and mode of %s: %s", path, strerror(errno));
		goto fail;
	}
	return fd;
fail:
	(void)close(fd);
	return -1;
}

static const struct folder {
	const char	*option;
	size_t		 at;		/* offset of the path in struct conf */
	const char	*below;		/* "" or "/drop" */
	const char	*owner, *group;	/* accounts; NULL: root */
	mode_t		 mode;		/* when we are root */
	mode_t		 mode_user;	/* when all runs under one user */
} folders[] = {
	{ "run-dir",    offsetof(struct conf, run_dir),    "",         NULL,    NULL,    0755, 0755 },
	/* The set-gid helper passes through spool_dir into drop, and can list neither. */
	{ "spool-dir",  offsetof(struct conf, spool_dir),  "",         "queue", "drop",  0710, 0700 },
	{ "spool-dir",  offsetof(struct conf, spool_dir),  "/drop",    "queue", "drop",  0730, 0700 },
	{ "state-dir",  offsetof(struct conf, state_dir),  "",         NULL,    NULL,    0711, 0700 },
	{ "state-dir",  offsetof(struct conf, state_dir),  "/auth",    "auth",  "auth",  0700, 0700 },
	{ "state-dir",  offsetof(struct conf, state_dir),  "/queue",   "queue", "queue", 0700, 0700 },
	{ "map-dir",    offsetof(struct conf, map_dir),    "",         NULL,    NULL,    0755, 0755 },
	{ "map-dir",    offsetof(struct conf, map_dir),    "/private", "auth",  "auth",  0700, 0700 },
	{ "mail-root",  offsetof(struct conf, mail_root),  "",         "vmail", "vmail", 0700, 0700 },
	{ "domain-dir", offsetof(struct conf, domain_dir), "",         NULL,    NULL,    0755, 0755 },
};

static bool
make_one(const struct conf *conf, const struct folder *f, char *why, size_t why_size)
{
	const char *base = *(char *const *)((const char *)conf + f->at);
	uid_t uid = (uid_t)-1, other_uid;
	gid_t gid = (gid_t)-1, other_gid;
	char path[PATH_MAX];
	int fd;

	if (geteuid() == 0) {
		uid = 0;
		gid = 0;
		if (f->owner != NULL)
			daemon_account(conf, f->owner, &uid, &other_gid);
		if (f->group != NULL)
			daemon_account(conf, f->group, &other_uid, &gid);
	}
	if (snprintf(path, sizeof(path), "%s%s", base, f->below) >= (int)sizeof(path)) {
		(void)snprintf(why, why_size, "%s: too long", base);
		return false;
	}
	fd = folder_make(path, uid, gid, geteuid() == 0 ? f->mode : f->mode_user, why, why_size);
	if (fd < 0)
		return false;
	(void)close(fd);
	return true;
}

/* What is wrong with one that exists; "" if nothing. */
static void
judge(const struct conf *conf, const struct folder *f, const char *path, const struct stat *st, char *why, size_t size)
{
	uid_t uid = 0;
	gid_t gid;

	if (f->owner != NULL)
		daemon_account(conf, f->owner, &uid, &gid);
	if (!S_ISDIR(st->st_mode))
		(void)snprintf(why, size, "%s is no folder; write another path", path);
	else if (geteuid() == 0 && !is_ours(st->st_uid) && st->st_uid != uid)
		(void)snprintf(why, size, "%s belongs to uid %u; write: chown -R %u %s (or take another folder)", path, st->st_uid, uid, path);
	else
		why[0] = '\0';
}

void
folders_check(const struct conf *conf, folder_say *say, void *ctx)
{
	char why[PATH_MAX + 200];
	struct stat st;

	for (size_t i = 0; i < LEN(folders); i++) {
		const struct folder *f = &folders[i];
		const char *path = *(char *const *)((const char *)conf + f->at);

		if (f->below[0] != '\0')
			continue;
		if (stat(path, &st) == 0) {
			judge(conf, f, path, &st, why, sizeof(why));
			if (why[0] != '\0')
				say(ctx, true, f->option, why);
		} else if (errno == ENOENT) {
			(void)snprintf(why, sizeof(why), "there is no %s; 'pennypost start' will make it, if this is the path you mean "
			    "and its disk is mounted", path);
			say(ctx, false, f->option, why);
		} else if (errno != EACCES || geteuid() == 0) {
			(void)snprintf(why, sizeof(why), "%s: %s; write another path", path, strerror(errno));
			say(ctx, true, f->option, why);
		}
	}
}

bool
folders_make(const struct conf *conf, char *why, size_t why_size)
{
	for (size_t i = 0; i < LEN(folders); i++)
		if (!make_one(conf, &folders[i], why, why_size))
			return false;
	return true;
}

static bool
write_all(int fd, const char *ptr, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, ptr, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		ptr += n;
		len -= (size_t)n;
	}
	return true;
}

bool
file_replace(int dirfd, const char *name, const void *ptr, size_t len, mode_t mode, uid_t uid, gid_t gid)
{
	char tmp[NAME_MAX + 1];
	int fd, saved;

	if (snprintf(tmp, sizeof(tmp), ".%s.%ld.new", name, (long)getpid()) >= (int)sizeof(tmp)) {
		errno = ENAMETOOLONG;
		return false;
	}
	fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	if (uid != (uid_t)-1 && fchown(fd, uid, gid) != 0)
		goto fail;
	if (fchmod(fd, mode) != 0 || !write_all(fd, ptr, len) || fsync(fd) != 0)
		goto fail;
	(void)close(fd);
	fd = -1;
	if (renameat(dirfd, tmp, dirfd, name) != 0)
		goto fail;
	return fsync(dirfd) == 0;
fail:
	saved = errno;
	if (fd >= 0)
		(void)close(fd);
	(void)unlinkat(dirfd, tmp, 0);
	errno = saved;
	return false;
}
