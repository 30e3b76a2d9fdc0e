#include "queue_file.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dropfile.h"
#include "log.h"
#include "queue_intake.h"
#include "queue_result.h"

#define TEMPORARY	".tmp"
#define NAME_SIZE	(QID_TEXT + sizeof(TEMPORARY))
#define PIECE		(64 * 1024)

struct queue_file {
	struct queue		*queue;
	struct qid		 qid;
	int			 fd;		/* ours; it can be synced */
	uint64_t		 size, max;
	/* With a pipe: */
	int			 pipe_fd;	/* our end, or -1 */
	struct event		*readable;
	struct dropfile_lines	 lines;
	bool			 bad, too_large;
	int			 error;		/* errno of a write that failed */
};

static void
temporary_name(struct qid qid, char out[NAME_SIZE])
{
	char text[QID_TEXT];

	(void)snprintf(out, NAME_SIZE, "%s" TEMPORARY, qid_print(qid, text));
}

/* ---- from a stranger, by a pipe ---- */

static bool
write_piece(struct queue_file *f, const char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = write(f->fd, p, len);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			f->error = n == 0 ? EIO : errno;
			return false;
		}
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
put_received(struct queue_file *f, uint32_t uid)
{
	struct buf line;
	bool ok;

	buf_init(&line, 1024);
	intake_received(f->queue, f->qid.n, uid, &line);
	ok = !line.full && write_piece(f, line.ptr, line.len);
	f->size = line.len;
	if (!ok)
		errno = line.full ? ENOMEM : f->error;
	buf_clear(&line);
	return ok;
}

/* Take what is in the pipe; at most `pieces`.  False: nothing is left in it now. */
static bool
drain_pipe(struct queue_file *f, unsigned pieces)
{
	char piece[PIECE];

	while (pieces-- > 0) {
		ssize_t n = read(f->pipe_fd, piece, sizeof(piece));

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		if (f->too_large || f->bad || f->error != 0)
			continue;	/* read and dropped, so that the writer comes to its submit */
		if ((uint64_t)n > f->max - f->size)
			f->too_large = true;
		else if (!dropfile_lines_feed(&f->lines, slice_make(piece, (size_t)n)))
			f->bad = true;
		else if (write_piece(f, piece, (size_t)n))
			f->size += (uint64_t)n;
	}
	return true;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct queue_file *f = arg;

	(void)fd;
	(void)what;
	(void)drain_pipe(f, 4);
}

static bool
use_pipe(struct queue_file *f, int *pass)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
		return false;
	f->pipe_fd = fds[0];
	/* The writer waits when it is full, as with a file on a slow disk. */
	if (fcntl(fds[1], F_SETFL, O_WRONLY) != 0) {
		(void)close(fds[1]);
		return false;
	}
	f->lines.last = '\n';
	f->readable = event_new(f->queue->daemon.base, f->pipe_fd, EV_READ | EV_PERSIST, on_readable, f);
	if (f->readable == NULL || event_add(f->readable, NULL) != 0) {
		(void)close(fds[1]);
		errno = ENOMEM;
		return false;
	}
	*pass = fds[1];
	return true;
}

/* ---- begin and end ---- */

static void
file_free(struct queue_file *f)
{
	if (f->readable != NULL)
		event_free(f->readable);
	if (f->pipe_fd != -1)
		(void)close(f->pipe_fd);
	if (f->fd != -1)
		(void)close(f->fd);
	free(f);
}

void
queue_file_abort(struct queue *q, struct queue_file *f)
{
	char name[NAME_SIZE];

	if (f == NULL)
		return;
	temporary_name(f->qid, name);
	(void)unlinkat(q->large_dirfd, name, 0);
	file_free(f);
}

struct queue_file *
queue_file_begin(struct queue *q, struct qid qid, bool local, uint32_t uid, int *pass)
{
	struct queue_file *f = calloc(1, sizeof(*f));
	char name[NAME_SIZE];
	int error;

	if (f == NULL)
		return NULL;
	/* Some room for header lines of our own. */
	*f = (struct queue_file){ .queue = q, .qid = qid, .max = q->daemon.conf.message_size + 4096, .pipe_fd = -1 };
	temporary_name(qid, name);
	f->fd = openat(q->large_dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (f->fd == -1) {
		error = errno;
		free(f);
		errno = error;
		return NULL;
	}
	if (local ? put_received(f, uid) && use_pipe(f, pass) :
	    (*pass = openat(q->large_dirfd, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC)) != -1)
		return f;
	error = errno;
	queue_file_abort(q, f);
	errno = error;
	return NULL;
}

/* The checks of content that came through a pipe. */
static enum verdict
finish_pipe(struct queue_file *f, const char **why)
{
	if (f->pipe_fd == -1)
		return OK;
	/* All was written before the submit; more than a pipe holds is a game. */
	for (int i = 0; i < 4 && drain_pipe(f, 16); i++)
		;
	if (f->error != 0) {
		*why = strerror(f->error);
		return TEMP;
	}
	if (f->too_large) {
		*why = "message too large";
		return PERM;
	}
	if (f->bad || !dropfile_lines_end(&f->lines)) {
		*why = "content is not made of lines that end in CRLF";
		return PERM;
	}
	return OK;
}

static enum verdict
keep(struct queue *q, struct queue_file *f, const char **why)
{
	char name[NAME_SIZE], text[QID_TEXT];

	temporary_name(f->qid, name);
	if (fsync(f->fd) == 0 &&
	    renameat2(q->large_dirfd, name, q->large_dirfd, qid_print(f->qid, text), RENAME_NOREPLACE) == 0) {
		if (fsync(q->large_dirfd) == 0)
			return OK;
		*why = strerror(errno);
		(void)unlinkat(q->large_dirfd, text, 0);
		return TEMP;
	}
	*why = strerror(errno);
	return TEMP;
}

static enum verdict
read_small(const struct queue_file *f, size_t size, struct buf *to, const char **why)
{
	char *room = buf_room(to, size);
	size_t have = 0;

	*why = "no memory";
	if (room == NULL)
		return TEMP;
	while (have < size) {
		ssize_t n = pread(f->fd, room + have, size - have, (off_t)have);

		if (n == -1 && errno == EINTR)
			continue;
		*why = n == 0 ? "the file became shorter" : strerror(errno);
		if (n <= 0)
			return TEMP;
		have += (size_t)n;
	}
	buf_add(to, size);
	return OK;
}

enum verdict
queue_file_finish(struct queue *q, struct queue_file *f, struct buf *small, uint64_t *size, const char **why)
{
	enum verdict v = finish_pipe(f, why);
	struct stat st;

	if (v == OK && fstat(f->fd, &st) != 0) {
		*why = strerror(errno);
		v = TEMP;
	}
	if (v == OK && (uint64_t)st.st_size > f->max) {
		*why = "message too large";
		v = PERM;
	}
	if (v == OK)
		*size = (uint64_t)st.st_size;
	if (v == OK && small != NULL && st.st_size <= FILE_IN_LOG) {
		v = read_small(f, (size_t)st.st_size, small, why);
		queue_file_abort(q, f);
		return v;
	}
	if (v == OK)
		v = keep(q, f, why);
	if (v == OK)
		file_free(f);
	else
		queue_file_abort(q, f);
	return v;
}

enum verdict
queue_file_store(struct queue *q, struct qid qid, struct slice content)
{
	int pass = -1;
	struct queue_file *f = queue_file_begin(q, qid, false, UID_NONE, &pass);
	const char *why = "";
	uint64_t size;

	if (f == NULL)
		return TEMP;
	(void)close(pass);
	f->max = content.len;
	if (!write_piece(f, content.ptr, content.len)) {
		queue_file_abort(q, f);
		return TEMP;
	}
	return queue_file_finish(q, f, NULL, &size, &why);
}

/* ---- those that messages own ---- */

int
queue_file_open(const struct queue *q, struct qid qid, uint64_t size)
{
	char text[QID_TEXT];
	struct stat st;
	int fd = openat(q->large_dirfd, qid_print(qid, text), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size)
		return fd;
	(void)close(fd);
	errno = EBADMSG;
	return -1;
}

void
queue_file_remove(struct queue *q, struct qid qid)
{
	char text[QID_TEXT];

	if (unlinkat(q->large_dirfd, qid_print(qid, text), 0) != 0 && errno != ENOENT)
		log_say(LOG_LEVEL_WARNING, "cannot remove spool/large/%s: %s", text, strerror(errno));
}

uint64_t
queue_file_octets(const struct queue *q)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < q->messages.slot_n; i++) {
		const struct message *m = q->messages.slot[i];

		if (m != NULL && (m->flags & MESSAGE_LARGE) != 0)
			sum += m->size;
	}
	return sum;
}

static void
remove_orphans(struct queue *q)
{
	int fd = openat(q->large_dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *e;
	unsigned n = 0;

	while (dir != NULL && (e = readdir(dir)) != NULL) {
		struct slice name = slice_of(e->d_name);
		const struct message *m;
		struct qid qid;

		if (name.len == QID_DIGITS + strlen(TEMPORARY))
			name = slice_sub(name, 0, QID_DIGITS);
		if (!qid_parse(name, &qid))
			continue;
		m = messages_find(&q->messages, qid.n);
		if (m != NULL && (m->flags & MESSAGE_LARGE) != 0 && strlen(e->d_name) == QID_DIGITS)
			continue;
		if (unlinkat(q->large_dirfd, e->d_name, 0) == 0)
			n++;
	}
	if (dir != NULL)
		(void)closedir(dir);
	if (n > 0)
		log_say(LOG_LEVEL_INFO, "%u files in spool/large belonged to no message and were removed", n);
}

void
queue_file_clean(struct queue *q)
{
	remove_orphans(q);
	for (uint32_t i = 0; i < q->messages.slot_n; i++) {
		struct message *m = q->messages.slot[i];
		char text[QID_TEXT];
		int fd;

		if (m == NULL || (m->flags & MESSAGE_LARGE) == 0 || (m->flags & MESSAGE_HELD) != 0)
			continue;
		fd = queue_file_open(q, (struct qid){ m->qid }, m->size);
		if (fd != -1) {
			(void)close(fd);
			continue;
		}
		log_say(LOG_LEVEL_ERROR, "%s: its content in spool/large is missing or damaged; it is held",
		    qid_print((struct qid){ m->qid }, text));
		(void)result_action(q, m, ACTION_HOLD, UID_NONE, "content in spool/large is missing or damaged");
	}
}
