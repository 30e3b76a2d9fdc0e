#include "queue_drop.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dropfile.h"
#include "log.h"
#include "queue_file.h"
#include "queue_intake.h"
#include "queue_lease.h"

#define FILES_A_LOOK	50
#define LOOK_S		60			/* sendmail may have found us away just before we were back */
#define LEFTOVER_S	(36 * 3600)
#define PIECE		(64 * 1024)

/* A file whose message is in the log, or on its way there. */
struct taken {
	struct taken	*next;
	uint64_t	 qid;
	struct segment	*segment;	/* keeps it until the file is gone; NULL: not yet in the log */
	char		 name[DROPFILE_NAME];
};

struct drop_state {
	int		 watch_fd;
	struct event	*readable, *again;
	struct taken	*taken;
	bool		 done;		/* files in `taken` may go */
	unsigned	 seconds;	/* since the last look */
};

/* ---- a file that was claimed ---- */

static struct taken *
find_taken(const struct drop_state *d, uint64_t qid)
{
	struct taken *t;

	for (t = d->taken; t != NULL && t->qid != qid; t = t->next)
		;
	return t;
}

static void
forget_taken(struct drop_state *d, struct taken *t)
{
	struct taken **p;

	for (p = &d->taken; *p != t; p = &(*p)->next)
		;
	*p = t->next;
	free(t);
}

/* It makes no sense: out of the way, for the administrator to look at. */
static void
set_aside(struct queue *q, const char *name, const char *why)
{
	char bad[DROPFILE_NAME + 8];

	(void)snprintf(bad, sizeof(bad), "B%.*s", DROPFILE_NAME, name);
	log_say(LOG_LEVEL_WARNING, "spool/drop/%s cannot be taken in (%s): renamed to %s", name, why, bad);
	if (renameat(q->drop_dirfd, name, q->drop_dirfd, bad) != 0)
		(void)unlinkat(q->drop_dirfd, name, 0);
}

/* Read what is left of fd, in pieces, into the log's content or into a file. */
static enum verdict
copy_content(int fd, struct buf *content, int to, const char **why)
{
	struct dropfile_lines lines = { .last = '\n' };
	char piece[PIECE];
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) != 0) {
		if (n == -1 && errno == EINTR)
			continue;
		*why = "it cannot be read";
		if (n == -1)
			return TEMP;
		*why = "it is not made of lines that end in CRLF";
		if (!dropfile_lines_feed(&lines, slice_make(piece, (size_t)n)))
			return PERM;
		*why = "it cannot be copied";
		if (to == -1 ? !buf_put(content, piece, (size_t)n) : write(to, piece, (size_t)n) != n)
			return TEMP;
	}
	*why = "it is not made of lines that end in CRLF";
	return dropfile_lines_end(&lines) ? OK : PERM;
}

static enum verdict
copy_large(struct queue *q, uint64_t qid, const struct buf *received, int fd, uint64_t *size, const char **why)
{
	int to = -1;
	struct queue_file *f = queue_file_begin(q, (struct qid){ qid }, false, UID_NONE, &to);
	enum verdict v = TEMP;

	*why = "no room for it";
	if (f == NULL)
		return TEMP;
	if (write(to, received->ptr, received->len) == (ssize_t)received->len)
		v = copy_content(fd, NULL, to, why);
	(void)close(to);
	if (v == OK)
		return queue_file_finish(q, f, NULL, size, why);
	queue_file_abort(q, f);
	return v;
}

static enum verdict
take_content(struct queue *q, uint64_t qid, const struct dropfile *d, int fd, struct buf *content,
    struct record_message *r, const char **why)
{
	enum verdict v;

	*why = "it is larger than a message may be";
	if (d->content_size > q->daemon.conf.message_size)
		return PERM;
	intake_received(q, qid, d->uid, content);
	if (content->len + d->content_size > FILE_IN_LOG) {
		r->flags |= MESSAGE_IN_FILE;
		v = copy_large(q, qid, content, fd, &r->size, why);
		buf_reset(content);
		return v;
	}
	v = copy_content(fd, content, -1, why);
	r->size = content->len;
	return v;
}

/* *known: sendmail submitted it before, and it was taken in, though sendmail never heard of it. */
static enum verdict
take_in(struct queue *q, const char *name, uint64_t qid, const char **why, bool *known)
{
	struct buf header, content;
	struct dropfile d;
	struct record_message r = { .qid = qid, .origin = ORIGIN_LOCAL, .protocol = SLICE("DROP"),
	    .arrival_usec = now_usec() };
	enum verdict v = PERM;
	int fd;

	buf_init(&header, DROPFILE_PREFIX + DROPFILE_HEADER_MAX);
	buf_init(&content, FILE_IN_LOG + 1024);
	fd = dropfile_open(q->drop_dirfd, name, &header, &d);
	*why = fd == -1 ? strerror(errno) : "";
	*known = fd != -1 && d.qid != 0 && intake_known(q, d.qid);
	if (*known) {
		(void)close(fd);
		v = OK;
	} else if (fd != -1) {
		r.received_usec = d.received_usec < r.arrival_usec ? d.received_usec : r.arrival_usec;
		r.flags = d.body_8bit ? MESSAGE_8BIT : 0;
		r.ret = d.ret;
		r.uid = d.uid;
		r.sender = d.sender;
		r.envid = d.envid;
		r.message_id = d.message_id;
		v = take_content(q, qid, &d, fd, &content, &r, why);
		if (v == OK)
			v = intake_append(q, &r, d.rcpts, buf_slice_of(&content), true, DROP_COOKIE, why);
		if (v != OK && (r.flags & MESSAGE_IN_FILE) != 0)
			queue_file_remove(q, (struct qid){ qid });
		(void)close(fd);
	} else if (errno != EBADMSG && errno != ELOOP) {
		v = TEMP;
	}
	buf_clear(&header);
	buf_clear(&content);
	return v;
}

static void
take_claimed(struct queue *q, const char *name, uint64_t qid)
{
	struct taken *t;
	const char *why;
	bool known;

	if (find_taken(q->drop, qid) != NULL)
		return;
	if (intake_known(q, qid)) {	/* a crash came between the log and this */
		(void)unlinkat(q->drop_dirfd, name, 0);
		return;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return;
	*t = (struct taken){ .next = q->drop->taken, .qid = qid };
	if (!slice_text(slice_of(name), t->name, sizeof(t->name))) {
		free(t);
		return;
	}
	q->drop->taken = t;
	switch (take_in(q, name, qid, &why, &known)) {
	case OK:
		if (!known)
			return;
		(void)unlinkat(q->drop_dirfd, name, 0);
		break;
	case PERM:
		set_aside(q, name, why);
		break;
	case TEMP:
		break;
	}
	forget_taken(q->drop, t);
}

/* ---- what the log says ---- */

/* The segment stays until the file is gone: as long as it is there, the log must know its id. */
void
drop_done(struct queue *q, uint64_t qid, struct segment *segment)
{
	struct taken *t = q->drop == NULL ? NULL : find_taken(q->drop, qid);

	if (t == NULL)
		return;
	t->segment = segment;
	segment->pins++;
	q->drop->done = true;
}

/* All files whose messages are in the log, with one sync of the folder. */
void
drop_flush(struct queue *q)
{
	struct taken *next;

	if (q->drop == NULL || !q->drop->done)
		return;
	for (const struct taken *t = q->drop->taken; t != NULL; t = t->next)
		if (t->segment != NULL && unlinkat(q->drop_dirfd, t->name, 0) != 0 && errno != ENOENT) {
			log_say(LOG_LEVEL_WARNING, "cannot remove spool/drop/%s: %s", t->name, strerror(errno));
			return;
		}
	if (fsync(q->drop_dirfd) != 0)
		return;
	q->drop->done = false;
	for (struct taken *t = q->drop->taken; t != NULL; t = next) {
		next = t->next;
		if (t->segment == NULL)
			continue;
		t->segment->pins--;
		forget_taken(q->drop, t);
	}
}

void
drop_refused(struct queue *q, uint64_t qid)
{
	struct taken *t = q->drop == NULL ? NULL : find_taken(q->drop, qid);

	if (t != NULL)
		forget_taken(q->drop, t);
}

/* ---- looking ---- */

static bool
claim(struct queue *q, const char *name)
{
	char claimed[DROPFILE_NAME];

	return dropfile_claim_name(name, (struct qid){ queue_lease(q, 1) }, claimed) &&
	    renameat2(q->drop_dirfd, name, q->drop_dirfd, claimed, RENAME_NOREPLACE) == 0;
}

static void
remove_leftover(struct queue *q, const char *name)
{
	struct stat st;

	if (fstatat(q->drop_dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (uint64_t)st.st_mtime + LEFTOVER_S < now_usec() / 1000000)
		(void)unlinkat(q->drop_dirfd, name, 0);
}

/* Files of this kind, at most FILES_A_LOOK; the number of those seen. */
static unsigned
each_file(struct queue *q, enum dropfile_name kind)
{
	int fd = openat(q->drop_dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *e;
	unsigned n = 0;

	while (dir != NULL && n < FILES_A_LOOK && (e = readdir(dir)) != NULL) {
		struct qid qid;
		enum dropfile_name is = dropfile_name(e->d_name, &qid);

		if (is != kind)
			continue;
		if (is == DROPFILE_READY)
			n += claim(q, e->d_name);
		else if (is == DROPFILE_CLAIMED) {
			n += find_taken(q->drop, qid.n) == NULL;
			take_claimed(q, e->d_name, qid.n);
		} else if (is == DROPFILE_TEMPORARY)
			remove_leftover(q, e->d_name);
	}
	if (dir != NULL)
		(void)closedir(dir);
	return n;
}

void
drop_look(struct queue *q)
{
	const struct timeval soon = { .tv_usec = 50000 };
	unsigned n;

	if (q->drop == NULL || q->daemon.draining)
		return;
	q->drop->seconds = 0;
	if (queue_log_refuses(&q->log) != NULL)
		return;
	n = each_file(q, DROPFILE_READY);
	if (n > 0 && fsync(q->drop_dirfd) != 0)
		return;
	n += each_file(q, DROPFILE_CLAIMED);
	if (n >= FILES_A_LOOK && q->drop->again != NULL)
		(void)event_add(q->drop->again, &soon);
}

void
drop_tick(struct queue *q)
{
	if (q->drop == NULL)
		return;
	drop_flush(q);
	if (++q->drop->seconds < LOOK_S)
		return;
	(void)each_file(q, DROPFILE_TEMPORARY);
	drop_look(q);
}

/* ---- begin and end ---- */

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	char events[4096];

	(void)what;
	while (read(fd, events, sizeof(events)) > 0)
		;
	drop_look(arg);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	drop_look(arg);
}

bool
drop_init(struct queue *q)
{
	struct drop_state *d;
	char path[64];

	if (q->drop_dirfd == -1)
		return true;
	d = q->drop = calloc(1, sizeof(*d));
	if (d == NULL)
		return false;
	d->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", q->drop_dirfd);
	if (d->watch_fd != -1 && inotify_add_watch(d->watch_fd, path, IN_MOVED_TO | IN_ONLYDIR) == -1) {
		(void)close(d->watch_fd);
		d->watch_fd = -1;
	}
	d->again = event_new(q->daemon.base, -1, 0, on_again, q);
	if (d->watch_fd == -1)
		return d->again != NULL;	/* once a minute then */
	d->readable = event_new(q->daemon.base, d->watch_fd, EV_READ | EV_PERSIST, on_readable, q);
	return d->again != NULL && d->readable != NULL && event_add(d->readable, NULL) == 0;
}

void
drop_clear(struct queue *q)
{
	struct drop_state *d = q->drop;

	if (d == NULL)
		return;
	while (d->taken != NULL)
		forget_taken(d, d->taken);
	if (d->readable != NULL)
		event_free(d->readable);
	if (d->again != NULL)
		event_free(d->again);
	if (d->watch_fd != -1)
		(void)close(d->watch_fd);
	free(d);
	q->drop = NULL;
}
