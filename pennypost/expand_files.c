#include "expand_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aliases.h"

static bool
read_all(int fd, struct buf *out)
{
	ssize_t n;

	do {
		char *room = buf_room(out, 4096);

		n = room == NULL ? -1 : read(fd, room, 4096);
		if (n > 0)
			buf_add(out, (size_t)n);
	} while (n > 0 || (n < 0 && !out->full && errno == EINTR));
	return n == 0;
}

/* uid: who must own it, besides root; (uid_t)-1: anybody. */
static enum verdict
read_file(const char *path, uid_t uid, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	enum verdict verdict = TEMP;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT || errno == EACCES ? PERM : TEMP;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uid == (uid_t)-1 || ((st.st_uid == uid || st.st_uid == 0) && (st.st_mode & 022) == 0)))
		verdict = read_all(fd, out) ? OK : TEMP;
	else
		verdict = PERM;
	(void)close(fd);
	return verdict;
}

static enum verdict
include(void *ctx, const struct route *user, struct slice path, struct buf *out)
{
	char text[4096];

	(void)ctx;
	if (!slice_text(path, text, sizeof(text)))
		return PERM;
	return read_file(text, user == NULL ? (uid_t)-1 : (uid_t)user->uid, out) == OK ? OK : TEMP;
}

static enum verdict
forward(void *ctx, const struct route *user, struct buf *out)
{
	char path[4096];
	enum verdict verdict = PERM;

	(void)ctx;
	if (user->detail.len > 0 && alias_detail_safe(user->detail)) {
		(void)snprintf(path, sizeof(path), "%.*s/.forward+%.*s", (int)user->home.len, user->home.ptr,
		    (int)user->detail.len, user->detail.ptr);
		verdict = read_file(path, user->uid, out);
	}
	if (verdict != PERM)
		return verdict;
	(void)snprintf(path, sizeof(path), "%.*s/.forward", (int)user->home.len, user->home.ptr);
	return read_file(path, user->uid, out);
}

void
expand_files(struct expand_ops *ops)
{
	*ops = (struct expand_ops){ .include = include, .forward = forward };
}
