#include "queue_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX		".seg"
#define BAD_SUFFIX	".bad"

void
segment_name(uint64_t seq, uint64_t salt, char out[SEGMENT_NAME])
{
	(void)snprintf(out, SEGMENT_NAME, "%016llx-%016llx" SUFFIX, (unsigned long long)seq,
	    (unsigned long long)salt);
}

static bool
hex(const char *p, size_t digits, uint64_t *out)
{
	*out = 0;
	for (size_t i = 0; i < digits; i++) {
		unsigned d;

		if (p[i] >= '0' && p[i] <= '9')
			d = (unsigned)(p[i] - '0');
		else if (p[i] >= 'a' && p[i] <= 'f')
			d = (unsigned)(p[i] - 'a') + 10;
		else
			return false;
		*out = *out << 4 | d;
	}
	return true;
}

bool
segment_parse_name(const char *name, uint64_t *seq, uint64_t *salt)
{
	return strlen(name) == 33 + strlen(SUFFIX) && hex(name, 16, seq) && name[16] == '-' &&
	    hex(name + 17, 16, salt) && strcmp(name + 33, SUFFIX) == 0 && *seq != 0;
}

void
segment_bad_name(uint64_t seq, uint64_t offset, char out[SEGMENT_NAME])
{
	(void)snprintf(out, SEGMENT_NAME, "%016llx-%08llx" BAD_SUFFIX, (unsigned long long)seq,
	    (unsigned long long)offset);
}

bool
segment_is_bad_name(const char *name)
{
	size_t len = strlen(name);

	return len > strlen(BAD_SUFFIX) && strcmp(name + len - strlen(BAD_SUFFIX), BAD_SUFFIX) == 0;
}

static bool
allocate(int fd, uint32_t limit)
{
	if (fallocate(fd, 0, 0, (off_t)limit) == 0)
		return true;
	/* A file system that cannot: ENOSPC then comes from the write. */
	return errno == EOPNOTSUPP || errno == ENOSYS;
}

struct segment *
segment_create(int dirfd, uint64_t seq, uint32_t limit)
{
	struct segment *s = calloc(1, sizeof(*s));
	char name[SEGMENT_NAME];
	int error;

	if (s == NULL)
		return NULL;
	*s = (struct segment){ .seq = seq, .limit = limit, .fd = -1 };
	if (getrandom(&s->salt, sizeof(s->salt), 0) != (ssize_t)sizeof(s->salt)) {
		free(s);
		errno = EIO;
		return NULL;
	}
	segment_name(seq, s->salt, name);
	s->fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->fd != -1 && allocate(s->fd, limit))
		return s;
	error = errno;
	if (s->fd != -1)
		(void)unlinkat(dirfd, name, 0);
	segment_free(s);
	errno = error;
	return NULL;
}

bool
segment_close(struct segment *s)
{
	if (s->limit == 0)
		return true;
	s->limit = 0;
	return ftruncate(s->fd, (off_t)s->size) == 0;
}

bool
segment_remove(int dirfd, struct segment *s)
{
	char name[SEGMENT_NAME];

	segment_name(s->seq, s->salt, name);
	if (unlinkat(dirfd, name, 0) != 0 && errno != ENOENT)
		return false;
	segment_free(s);
	return true;
}

void
segment_free(struct segment *s)
{
	if (s == NULL)
		return;
	if (s->fd != -1)
		(void)close(s->fd);
	free(s);
}

static bool
copy(int to, int from, uint64_t offset, uint64_t end)
{
	char piece[16 * 1024];

	while (offset < end) {
		size_t want = end - offset < sizeof(piece) ? (size_t)(end - offset) : sizeof(piece);
		ssize_t n = pread(from, piece, want, (off_t)offset);

		if (n <= 0) {	/* unreadable, or shorter than it was: keep the place */
			memset(piece, 0, want);
			n = (ssize_t)want;
		}
		for (ssize_t done = 0; done < n;) {
			ssize_t wrote = write(to, piece + done, (size_t)(n - done));

			if (wrote == -1 && errno != EINTR)
				return false;
			done += wrote == -1 ? 0 : wrote;
		}
		offset += (uint64_t)n;
	}
	return fsync(to) == 0;
}

bool
segment_set_aside(int dirfd, const struct segment *s, uint64_t from, uint64_t to, bool *made)
{
	char name[SEGMENT_NAME], temporary[SEGMENT_NAME + 4];
	struct stat st;
	bool ok;
	int fd, error;

	*made = false;
	segment_bad_name(s->seq, from, name);
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return true;
	(void)snprintf(temporary, sizeof(temporary), "%s.tmp", name);
	fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1)
		return false;
	ok = copy(fd, s->fd, from, to) && renameat(dirfd, temporary, dirfd, name) == 0 && fsync(dirfd) == 0;
	error = errno;
	(void)close(fd);
	if (!ok)
		(void)unlinkat(dirfd, temporary, 0);
	errno = error;
	*made = ok;
	return ok;
}
