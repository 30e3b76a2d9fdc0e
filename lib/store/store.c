/* store.c: open and make a user's Maildir; helpers that the other files share. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "group_int.h"

#define UIDVALIDITY_FILE	"pennypost-uidvalidity"

/* ---- errors ---- */

static const struct {
	const char	*text;
	enum verdict	 verdict;
} errors[] = {
	[STORE_OK] = { "ok", OK },
	[STORE_NONEXISTENT] = { "no such folder", TEMP },
	[STORE_EXISTS] = { "folder exists", TEMP },
	[STORE_NAME] = { "not a folder name", TEMP },
	[STORE_CANNOT] = { "not possible with this folder", TEMP },
	[STORE_LIMIT] = { "too many folders or keywords", TEMP },
	[STORE_OVERQUOTA] = { "over quota", TEMP },
	[STORE_GONE] = { "message is gone", TEMP },
	[STORE_BUSY] = { "mailbox is locked", TEMP },
	[STORE_NOSPACE] = { "disk full", TEMP },
	[STORE_READONLY] = { "mailbox is open read-only", TEMP },
	[STORE_NOPERM] = { "permission denied", TEMP },
	[STORE_IO] = { "input/output error", TEMP },
	[STORE_MEMORY] = { "out of memory or descriptors", TEMP },
};

const char *
store_error_text(enum store_error error)
{
	return (size_t)error < LEN(errors) ? errors[error].text : "unknown error";
}

enum verdict
store_error_verdict(enum store_error error)
{
	return (size_t)error < LEN(errors) ? errors[error].verdict : TEMP;
}

enum store_error
store_from_errno(int why)
{
	switch (why) {
	case 0:
		return STORE_OK;
	case ENOENT:
		return STORE_NONEXISTENT;
	case EEXIST:
	case ENOTEMPTY:
		return STORE_EXISTS;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return STORE_NOSPACE;
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
	case ENOTDIR:
	case EISDIR:
		return STORE_NOPERM;
	case ENAMETOOLONG:
		return STORE_NAME;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return STORE_MEMORY;
	}
	return STORE_IO;
}

enum store_error
store_done(struct store *s, enum store_error error)
{
	if (error != STORE_OK)
		s->err = errno;
	return error;
}

int
store_errno(const struct store *s)
{
	return s->err;
}

void
store_say(const struct store *s, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (s->say == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	s->say(s->say_ctx, text);
}

/* ---- helpers ---- */

bool
store_write_all(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes = slice_sub(bytes, (size_t)n, bytes.len);
	}
	return true;
}

size_t
store_pwrite_all(int fd, struct slice bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < bytes.len) {
		ssize_t n = pwrite(fd, bytes.ptr + done, bytes.len - done, (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

enum store_error
store_read_file(int dir, const char *name, size_t limit, struct buf *out)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	enum store_error error = STORE_OK;

	if (fd < 0)
		return store_from_errno(errno);
	for (;;) {
		char *room = buf_room(out, 4096);
		ssize_t n = room == NULL || out->len > limit ? -1 : read(fd, room, 4096);

		if (room == NULL || out->len > limit)
			error = STORE_IO;
		else if (n < 0)
			error = store_from_errno(errno);
		if (n <= 0)
			break;
		buf_add(out, (size_t)n);
	}
	(void)close(fd);
	return error;
}

enum store_error
store_write_file(struct store *s, int dir, const char *name, struct slice bytes)
{
	enum store_error error = STORE_OK;
	struct buf tmp;
	int fd;

	buf_init(&tmp, MAILDIR_NAME_MAX);
	(void)buf_fmt(&tmp, "pennypost-tmp.");
	store_unique(s, &tmp);
	fd = openat(dir, buf_cstr(&tmp), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		error = store_from_errno(errno);
		buf_clear(&tmp);
		return error;
	}
	if (!store_write_all(fd, bytes) || fsync(fd) != 0)
		error = store_from_errno(errno);
	(void)close(fd);
	if (error == STORE_OK && (renameat(dir, buf_cstr(&tmp), dir, name) != 0 || fsync(dir) != 0))
		error = store_from_errno(errno);
	if (error != STORE_OK)
		(void)unlinkat(dir, buf_cstr(&tmp), 0);
	buf_clear(&tmp);
	return error;
}

void
store_unique(struct store *s, struct buf *out)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	maildir_unique_name(out, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000,
	    (uint32_t)getpid(), s->name_counter++, s->hostname);
}

/* The kernel's struct linux_dirent64 is glibc's struct dirent64. */
enum store_error
store_read_dir(int dir, bool (*fn)(void *ctx, const char *name, unsigned char type), void *ctx)
{
	_Alignas(struct dirent64) char buffer[32768];
	ssize_t n;

	if (lseek(dir, 0, SEEK_SET) != 0)
		return store_from_errno(errno);
	while ((n = getdents64(dir, buffer, sizeof(buffer))) > 0) {
		for (ssize_t at = 0; at < n; ) {
			const struct dirent64 *d = (const void *)(buffer + at);

			at += d->d_reclen;
			if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
				continue;
			if (!fn(ctx, d->d_name, d->d_type))
				return STORE_OK;
		}
	}
	return n < 0 ? store_from_errno(errno) : STORE_OK;
}

int
store_open_dir(int dir, const char *name, bool create)
{
	const int how = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(dir, name, how);

	if (fd >= 0 || errno != ENOENT || !create)
		return fd;
	if (mkdirat(dir, name, 0700) != 0 && errno != EEXIST)
		return -1;
	if (fsync(dir) != 0)
		return -1;
	return openat(dir, name, how);
}

void
store_dir_name(const char *folder, char out[STORE_NAME_MAX + 2])
{
	if (strcmp(folder, "INBOX") == 0)
		(void)snprintf(out, STORE_NAME_MAX + 2, ".");
	else
		(void)snprintf(out, STORE_NAME_MAX + 2, ".%s", folder);
}

/* An O_PATH descriptor cannot be synced or listed. */
static int
open_again(int dir)
{
	return openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int
store_dir(int root, const char *path, bool create)
{
	struct slice rest = slice_of(path);
	int dir = open_again(root), next;
	char name[MAILDIR_NAME_MAX + 1];

	while (dir >= 0 && rest.len > 0) {
		struct slice part = slice_cut(&rest, '/');

		if (part.len == 0 || slice_is(part, "."))
			continue;
		if (slice_is(part, "..") || !slice_text(part, name, sizeof(name))) {
			errno = EINVAL;
			next = -1;
		} else {
			next = store_open_dir(dir, name, create);
		}
		(void)close(dir);	/* keeps errno when it succeeds */
		dir = next;
	}
	return dir;
}

/* ---- UIDVALIDITY ---- */

enum store_error
store_uidvalidity_lock(struct store *s, int *lock)
{
	struct timespec nap = { .tv_nsec = 5 * 1000 * 1000 };

	*lock = openat(s->dir, UIDVALIDITY_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
	if (*lock < 0)
		return store_from_errno(errno);
	for (int waited_ms = 0; flock(*lock, LOCK_EX | LOCK_NB) != 0; waited_ms += 5) {
		if (waited_ms > STORE_LOCK_WAIT_MS || errno != EWOULDBLOCK) {
			(void)close(*lock);
			return STORE_BUSY;
		}
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	return STORE_OK;
}

enum store_error
store_uidvalidity_next(struct store *s, int lock, uint32_t *out)
{
	char text[16] = "";
	uint64_t last = 0, next = (uint64_t)time(NULL);
	ssize_t n = pread(lock, text, 10, 0);
	int len;

	if (n > 0)
		(void)slice_number(slice_trim(slice_make(text, (size_t)n)), UINT32_MAX, &last);
	if (next <= last)
		next = last + 1;
	if (next == 0 || next > UINT32_MAX)
		next = 1;
	len = snprintf(text, sizeof(text), "%010lu\n", (unsigned long)next);
	if (store_pwrite_all(lock, slice_make(text, (size_t)len), 0) != (size_t)len ||
	    fsync(lock) != 0 || (n <= 0 && fsync(s->dir) != 0))
		return store_from_errno(errno);
	*out = (uint32_t)next;
	return STORE_OK;
}

enum store_error
store_uidvalidity_note(struct store *s, int lock, uint32_t uidvalidity)
{
	char text[16] = "";
	uint64_t last = 0;
	ssize_t n = pread(lock, text, 10, 0);
	int len;

	if (n > 0)
		(void)slice_number(slice_trim(slice_make(text, (size_t)n)), UINT32_MAX, &last);
	if (last >= uidvalidity)
		return STORE_OK;
	len = snprintf(text, sizeof(text), "%010lu\n", (unsigned long)uidvalidity);
	if (store_pwrite_all(lock, slice_make(text, (size_t)len), 0) != (size_t)len ||
	    fsync(lock) != 0 || (n <= 0 && fsync(s->dir) != 0))
		return store_from_errno(errno);
	return STORE_OK;
}

/* ---- open ---- */

/* tmp, new and cur last: who sees cur sees a whole Maildir. */
static enum store_error
make_maildir(struct store *s)
{
	static const char *const sub[] = { "tmp", "new", "cur" };

	for (size_t i = 0; i < LEN(sub); i++) {
		if (mkdirat(s->dir, sub[i], 0700) != 0 && errno != EEXIST)
			return store_from_errno(errno);
	}
	return fsync(s->dir) == 0 ? STORE_OK : store_from_errno(errno);
}

/* The file with the highest UIDVALIDITY is the last thing that a new Maildir gets: while it
 * is missing the folders above are made again, after that only the user makes them. */
static enum store_error
mark_made(struct store *s)
{
	int fd = openat(s->dir, UIDVALIDITY_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);

	if (fd < 0 || fsync(s->dir) != 0) {
		enum store_error error = store_from_errno(errno);

		if (fd >= 0)
			(void)close(fd);
		return error;
	}
	(void)close(fd);
	return STORE_OK;
}

static enum store_error
open_maildir(struct store *s, bool create)
{
	struct stat st;
	enum store_error error = STORE_OK;
	bool found = fstatat(s->dir, "cur", &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (!found && (errno != ENOENT || !create))
		return store_from_errno(errno);
	if (create && (!found || fstatat(s->dir, UIDVALIDITY_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0)) {
		error = make_maildir(s);
		if (error == STORE_OK)
			error = folders_make_default(s);
		if (error == STORE_OK)
			error = mark_made(s);
	}
	if (error == STORE_OK)
		error = folders_finish_rename(s);
	return error;
}

struct store *
store_open(int dirfd, const struct store_options *options, enum store_error *error)
{
	struct store *s = calloc(1, sizeof(*s));

	*error = STORE_MEMORY;
	if (s == NULL)
		return NULL;
	s->pop3_fd = s->inotify_fd = s->own_fd = -1;
	s->quota = options->quota;
	s->keep = options->keep;
	s->say = options->say;
	s->say_ctx = options->say_ctx;
	s->dir = open_again(dirfd);
	s->hostname = strdup(options->hostname == NULL ? "localhost" : options->hostname);
	if (s->dir < 0)
		*error = store_from_errno(errno);
	else if (s->hostname != NULL)
		*error = open_maildir(s, options->create);
	if (*error != STORE_OK) {
		store_close(s);
		return NULL;
	}
	return s;
}

void
store_close(struct store *s)
{
	int saved = errno;	/* of the failure that made the caller close it */

	if (s == NULL)
		return;
	status_forget(s);
	group_box_free(s->kept);
	if (s->inotify_fd >= 0)
		(void)close(s->inotify_fd);
	if (s->own_fd >= 0)
		(void)close(s->own_fd);
	if (s->pop3_fd >= 0)
		(void)close(s->pop3_fd);
	if (s->dir >= 0)
		(void)close(s->dir);
	free(s->hostname);
	free(s);
	errno = saved;
}

bool
store_pop3_lock(struct store *s)
{
	if (s->pop3_fd >= 0)
		return true;
	/* On the directory: needs no file, so a full disk does not shut POP3 out. */
	s->pop3_fd = open_again(s->dir);
	if (s->pop3_fd >= 0 && flock(s->pop3_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	s->err = errno;
	if (s->pop3_fd >= 0)
		(void)close(s->pop3_fd);
	s->pop3_fd = -1;
	return false;
}
