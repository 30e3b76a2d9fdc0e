#include "deliver_mbox.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "deliver_text.h"

#define LOCK_WAIT_USEC	(15 * 1000000)
#define LOCK_STALE_S	(15 * 60)	/* a FILE.lock of that age is nobody's any more */
#define CHUNK		(64 * 1024)

struct mbox {
	const char	*path;
	char		 lock[PATH_MAX];	/* "" : none was made */
	int		 fd;
	off_t		 before;		/* size when we had the lock */

	const char	*why;			/* NULL: errno says it */
};

static bool
fail(struct mbox *m, const char *why)
{
	m->why = why;
	return false;
}

/* V11: never through a link, into a device, or into a file that has another name too. */
static bool
open_file(struct mbox *m)
{
	struct stat st;

	m->fd = open(m->path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (m->fd == -1)
		return false;
	if (fstat(m->fd, &st) != 0)
		return false;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return fail(m, "it is not a regular file with one name");
	return true;
}

static bool
lock_fcntl(struct mbox *m, uint64_t deadline)
{
	const struct timespec nap = { .tv_nsec = 100 * 1000 * 1000 };
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	while (fcntl(m->fd, F_SETLK, &whole) != 0) {
		if (errno != EACCES && errno != EAGAIN && errno != EINTR)
			return false;
		if (now_mono_usec() >= deadline)
			return fail(m, "somebody else has locked it");
		(void)nanosleep(&nap, NULL);
	}
	return true;
}

/* FILE.lock, for programs that know no other way; where we may not make it, nobody of our uid could. */
static bool
lock_dot(struct mbox *m, uint64_t deadline)
{
	const struct timespec nap = { .tv_nsec = 100 * 1000 * 1000 };
	struct stat st;
	int n = snprintf(m->lock, sizeof(m->lock), "%s.lock", m->path), fd;

	if (n < 0 || (size_t)n >= sizeof(m->lock))
		m->lock[0] = '\0';
	while (m->lock[0] != '\0') {
		fd = open(m->lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd != -1) {
			(void)close(fd);
			return true;
		}
		if (errno != EEXIST) {
			m->lock[0] = '\0';
			return true;
		}
		if (lstat(m->lock, &st) == 0 && time(NULL) - st.st_mtime > LOCK_STALE_S) {
			(void)unlink(m->lock);
			continue;
		}
		if (now_mono_usec() >= deadline) {
			m->lock[0] = '\0';
			return fail(m, "somebody else has locked it");
		}
		(void)nanosleep(&nap, NULL);
	}
	return true;
}

static bool
write_all(int fd, const struct buf *b)
{
	size_t done = 0;

	if (b->full) {
		errno = ENOMEM;
		return false;
	}
	while (done < b->len) {
		ssize_t n = write(fd, b->ptr + done, b->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0) {
			errno = ENOSPC;
			return false;
		}
		done += (size_t)n;
	}
	return true;
}

/* "From sender Sun Nov 22 16:47:27 2026": a sender with blanks would end the line's first word. */
static void
from_line(struct buf *out, struct slice sender)
{
	char date[64];
	time_t now = time(NULL);
	struct tm tm;

	(void)buf_text(out, "From ");
	if (sender.len == 0)
		(void)buf_text(out, "MAILER-DAEMON");
	for (size_t i = 0; i < sender.len; i++) {
		unsigned char c = (unsigned char)sender.ptr[i];

		(void)buf_char(out, c <= ' ' || c == 0x7f ? '_' : sender.ptr[i]);
	}
	if (gmtime_r(&now, &tm) == NULL || strftime(date, sizeof(date), " %a %b %e %H:%M:%S %Y\n", &tm) == 0)
		memcpy(date, " Thu Jan  1 00:00:00 1970\n", sizeof(" Thu Jan  1 00:00:00 1970\n"));
	(void)buf_text(out, date);
}

/* The message behind its From_ line, with an empty line at the end. */
static bool
append(struct mbox *m, const struct job *job, struct slice trace_headers)
{
	char chunk[CHUNK];
	struct text_filter f;
	struct buf out;
	bool ok;

	text_filter_init(&f, true);
	buf_init(&out, 4 * CHUNK);
	from_line(&out, job->m.sender);
	(void)text_filter_put(&f, trace_headers, &out);
	ok = write_all(m->fd, &out);
	for (uint64_t at = 0; ok && at < job_size(job); ) {
		uint64_t left = job_size(job) - at;
		size_t n = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);

		buf_reset(&out);
		if (!job_content(job, at, n, chunk)) {
			errno = EIO;
			ok = false;
			break;
		}
		(void)text_filter_put(&f, slice_make(chunk, n), &out);
		ok = write_all(m->fd, &out);
		at += n;
	}
	buf_reset(&out);
	(void)text_filter_end(&f, &out);
	(void)buf_char(&out, '\n');
	ok = ok && write_all(m->fd, &out);
	buf_clear(&out);
	return ok && fsync(m->fd) == 0;
}

static bool
deliver(struct mbox *m, const struct job *job, struct slice trace_headers)
{
	uint64_t deadline = now_mono_usec() + LOCK_WAIT_USEC;
	int number;

	if (!open_file(m) || !lock_fcntl(m, deadline) || !lock_dot(m, deadline))
		return false;
	m->before = lseek(m->fd, 0, SEEK_END);
	if (m->before == -1)
		return false;
	if (append(m, job, trace_headers))
		return true;
	number = errno;
	(void)!ftruncate(m->fd, m->before);
	(void)fsync(m->fd);
	errno = number;
	return false;
}

void
mbox_deliver(struct rcpt *r, const char *path, struct slice trace_headers)
{
	struct mbox m = { .path = path, .fd = -1 };
	bool ok = deliver(&m, r->job, trace_headers);
	int number = errno;

	if (m.lock[0] != '\0')
		(void)unlink(m.lock);
	if (m.fd != -1)
		(void)close(m.fd);
	if (ok)
		rcpt_result(r, OUTCOME_DONE, "2.0.0", "local", "delivered to file %s", path);
	else
		rcpt_result(r, OUTCOME_DEFERRED, number == ENOSPC || number == EDQUOT ? "4.2.2" : "4.2.0", "local",
		    "cannot append to %s: %s", path, m.why != NULL ? m.why : strerror(number));
}
