/* uidlist.c: the index file of a folder: open, lock, read on, append, sync. */
#include "uidlist.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store_int.h"
#include "uidlist_int.h"

#define READ_CHUNK	(256 * 1024)

/* ---- open ---- */

static bool
read_all(int fd, char *p, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = EIO;
			return false;
		}
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return true;
}

static enum store_error
use_file(struct uidlist *u)
{
	char header[UIDLIST_HEADER];
	struct stat st;

	if (fstat(u->fd, &st) != 0)
		return store_from_errno(errno);
	if (!S_ISREG(st.st_mode))
		return STORE_NOPERM;
	if (st.st_size < UIDLIST_HEADER)
		return STORE_EXISTS;
	if (!read_all(u->fd, header, sizeof(header), 0))
		return store_from_errno(errno);
	u->dev = st.st_dev;
	u->ino = st.st_ino;
	u->end = UIDLIST_HEADER;
	u->synced = UIDLIST_HEADER;
	u->damaged = false;
	u->records = u->dead = 0;
	if (u->modseq == 0)
		u->modseq = 1;
	u->seen_modseq = 1;
	return uidlist_get_header(u, header) ? STORE_OK : STORE_EXISTS;
}

enum store_error
uidlist_open(struct uidlist *u, int dir)
{
	enum store_error error;

	*u = (struct uidlist){ .dir = dir, .fd = -1 };
	u->fd = openat(dir, UIDLIST_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (u->fd < 0)
		return errno == ENOENT ? STORE_NONEXISTENT : store_from_errno(errno);
	error = use_file(u);
	if (error != STORE_OK)
		uidlist_close(u);
	return error;
}

void
uidlist_close(struct uidlist *u)
{
	if (u->fd >= 0)
		(void)close(u->fd);	/* lets go of the lock too */
	u->fd = -1;
	u->locked = false;
}

enum store_error
uidlist_reopen(struct uidlist *u)
{
	uint64_t modseq = u->modseq;
	int dir = u->dir;
	enum store_error error;

	uidlist_close(u);
	error = uidlist_open(u, dir);
	if (modseq > u->modseq)
		u->modseq = modseq;
	return error;
}

/* ---- make ---- */

static enum store_error
put_in_place(int dir, const char *tmp, bool replace)
{
	if (replace ? renameat(dir, tmp, dir, UIDLIST_FILE) == 0 :
	    renameat2(dir, tmp, dir, UIDLIST_FILE, RENAME_NOREPLACE) == 0)
		return fsync(dir) == 0 ? STORE_OK : store_from_errno(errno);
	return errno == EEXIST ? STORE_EXISTS : store_from_errno(errno);
}

enum store_error
uidlist_write_new(const struct uidlist *u, const struct buf *records, bool replace)
{
	static unsigned counter;
	char header[UIDLIST_HEADER], tmp[64];
	enum store_error error = STORE_OK;
	int fd;

	(void)snprintf(tmp, sizeof(tmp), UIDLIST_FILE ".%ld.%u", (long)getpid(), counter++);
	fd = openat(u->dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST && unlinkat(u->dir, tmp, 0) == 0)	/* of a dead process with our pid */
		fd = openat(u->dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return store_from_errno(errno);
	uidlist_put_header(u, header);
	if (!store_write_all(fd, slice_make(header, sizeof(header))) ||
	    !store_write_all(fd, buf_slice_of(records)) || fsync(fd) != 0)
		error = store_from_errno(errno);
	(void)close(fd);
	if (error == STORE_OK)
		error = put_in_place(u->dir, tmp, replace);
	if (error != STORE_OK)
		(void)unlinkat(u->dir, tmp, 0);
	return error;
}

void
uidlist_new_seed(struct uidlist *u)
{
	if (getrandom(&u->seed, sizeof(u->seed), 0) != (ssize_t)sizeof(u->seed))
		u->seed = u->uidvalidity;	/* only to tell this file's records from another's */
	if (getrandom(&u->id, sizeof(u->id), 0) != (ssize_t)sizeof(u->id))
		u->id = u->seed;
}

enum store_error
uidlist_create(int dir, uint32_t uidvalidity, bool replace)
{
	struct uidlist u = {
		.dir = dir, .fd = -1, .uidvalidity = uidvalidity, .uidnext = 1, .recent = 1, .modseq = 1,
	};
	struct buf none;
	enum store_error error;

	buf_init(&none, 0);
	uidlist_new_seed(&u);
	error = uidlist_write_new(&u, &none, replace);
	return error == STORE_EXISTS ? STORE_OK : error;
}

/* ---- lock ---- */

static enum store_error
wait_for_lock(int fd)
{
	struct timespec nap = { .tv_nsec = 200 * 1000 };
	long waited_us = 0;

	while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return store_from_errno(errno);
		if (waited_us > STORE_LOCK_WAIT_MS * 1000L)
			return STORE_BUSY;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
		waited_us += nap.tv_nsec / 1000;
		if (nap.tv_nsec < 20 * 1000 * 1000)
			nap.tv_nsec *= 2;
	}
	return STORE_OK;
}

enum store_error
uidlist_lock(struct uidlist *u, bool *replaced)
{
	*replaced = false;
	for (;;) {
		enum store_error error = wait_for_lock(u->fd);
		struct stat st;

		if (error != STORE_OK)
			return error;
		u->locked = true;
		if (fstatat(u->dir, UIDLIST_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_ino == u->ino && st.st_dev == u->dev)
			return STORE_OK;
		*replaced = true;	/* compacted while we waited, or removed */
		error = uidlist_reopen(u);
		if (error != STORE_OK)
			return error;
	}
}

void
uidlist_unlock(struct uidlist *u)
{
	if (u->locked)
		(void)flock(u->fd, LOCK_UN);
	u->locked = false;
}

enum uidlist_state
uidlist_changed(const struct uidlist *u)
{
	struct stat st;

	if (fstatat(u->dir, UIDLIST_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    st.st_ino != u->ino || st.st_dev != u->dev || (uint64_t)st.st_size < u->end)
		return UIDLIST_REPLACED;
	return (uint64_t)st.st_size == u->end ? UIDLIST_SAME : UIDLIST_GROWN;
}

/* ---- read ---- */

static void
take_in(struct uidlist *u, const struct uidlist_record *r)
{
	u->records++;
	if (r->uidnext > u->uidnext)
		u->uidnext = r->uidnext;
	if (r->type == UIDLIST_ADD && r->uid >= u->uidnext && r->uid < UINT32_MAX)
		u->uidnext = r->uid + 1;
	if (r->type == UIDLIST_RECENT && r->uid > u->recent)
		u->recent = r->uid;
	if (r->modseq > u->modseq)
		u->modseq = r->modseq;
	if (r->modseq > u->seen_modseq)
		u->seen_modseq = r->modseq;
	if (r->type == UIDLIST_GONE)
		u->dead += 2;
	else if (r->type != UIDLIST_ADD && r->type != UIDLIST_PAST && r->type != UIDLIST_VANISHED &&
	    r->type != UIDLIST_UIDL)
		u->dead++;
}

/* Records in bytes, as many as are whole; returns the octets used. */
static size_t
read_records(struct uidlist *u, struct slice bytes, void (*fn)(void *, const struct uidlist_record *), void *ctx)
{
	size_t used = 0;

	for (;;) {
		struct uidlist_record r;
		size_t len = uidlist_parse(u->seed, slice_sub(bytes, used, bytes.len), &r);

		if (len == 0)
			return used;
		take_in(u, &r);
		if (fn != NULL)
			fn(ctx, &r);
		used += len;
	}
}

enum store_error
uidlist_read(struct uidlist *u, void (*fn)(void *ctx, const struct uidlist_record *r), void *ctx)
{
	enum store_error error = STORE_OK;
	struct stat st;
	char *chunk;

	u->damaged = false;
	if (fstat(u->fd, &st) != 0)
		return store_from_errno(errno);
	if ((uint64_t)st.st_size <= u->end)
		return STORE_OK;
	chunk = malloc(READ_CHUNK);
	if (chunk == NULL)
		return STORE_MEMORY;
	while (u->end < (uint64_t)st.st_size) {
		uint64_t left = (uint64_t)st.st_size - u->end;
		size_t len = left < READ_CHUNK ? (size_t)left : READ_CHUNK, used;

		if (!read_all(u->fd, chunk, len, u->end)) {
			error = store_from_errno(errno);
			break;
		}
		used = read_records(u, slice_make(chunk, len), fn, ctx);
		u->end += used;
		/* A record may reach over the end of a chunk, not of a file. */
		if (used == 0 || (used < len && len == left)) {
			u->damaged = true;
			break;
		}
	}
	free(chunk);
	return error;
}

void
uidlist_skip(struct uidlist *u)
{
	struct stat st;

	if (fstat(u->fd, &st) == 0 && (uint64_t)st.st_size > u->end)
		u->end = (uint64_t)st.st_size;
}

/* By all its records: of a file that was last written before there were modseqs. */
static bool
tail_by_reading(struct uidlist *u)
{
	struct uidlist all = *u;	/* its place in the file stays */

	all.end = UIDLIST_HEADER;
	if (uidlist_read(&all, NULL, NULL) != STORE_OK || all.damaged)
		return false;
	u->uidnext = all.uidnext;
	u->modseq = all.modseq;
	return true;
}

bool
uidlist_tail(struct uidlist *u)
{
	char record[UIDLIST_RECORD_MAX];
	struct uidlist_record r;
	struct stat st;
	uint64_t size;
	size_t len;

	if (fstat(u->fd, &st) != 0)
		return false;
	size = (uint64_t)st.st_size;
	if (size == UIDLIST_HEADER)
		return true;
	if (size < UIDLIST_HEADER + UIDLIST_RECORD_MIN || !read_all(u->fd, record, 4, size - 4))
		return false;
	len = uidlist_trailer(record);
	if (len == 0 || len > size - UIDLIST_HEADER || !read_all(u->fd, record, len, size - len) ||
	    uidlist_parse(u->seed, slice_make(record, len), &r) != len)
		return false;
	if (!r.tagged)
		return tail_by_reading(u);
	if (r.uidnext > u->uidnext)
		u->uidnext = r.uidnext;
	if (r.modseq > u->modseq)
		u->modseq = r.modseq;
	return true;
}

struct search {
	struct qid	qid;
	uint32_t	rcpt;
	bool		found;
};

static void
search_record(void *ctx, const struct uidlist_record *r)
{
	struct search *s = ctx;
	struct slice past = r->past;
	struct uidlist_past p;
	struct qid qid;
	uint32_t rcpt;

	if (r->type == UIDLIST_ADD && maildir_queue_id(r->name, &qid, &rcpt) &&
	    qid.n == s->qid.n && rcpt == s->rcpt)
		s->found = true;
	while (uidlist_past_next(&past, &p)) {
		if (p.qid == s->qid.n && p.rcpt == s->rcpt)
			s->found = true;
	}
}

enum store_error
uidlist_knows(struct uidlist *u, struct qid qid, uint32_t rcpt, bool *known)
{
	struct search s = { .qid = qid, .rcpt = rcpt };
	struct uidlist all = *u;	/* its place in the file stays */
	enum store_error error;

	all.end = UIDLIST_HEADER;
	error = uidlist_read(&all, search_record, &s);
	u->damaged = all.damaged;
	*known = s.found;
	return error;
}

/* ---- append ---- */

/* Octets of the whole records at the front of b that lie within the first n. */
static size_t
whole_records(const struct uidlist *u, const struct buf *b, size_t n)
{
	struct uidlist_record r;
	size_t used = 0, len;

	do {
		len = uidlist_parse(u->seed, slice_sub(slice_make(b->ptr, n), used, n), &r);
		used += len;
	} while (len > 0);
	return used;
}

enum store_error
uidlist_append(struct uidlist *u, const struct buf *b)
{
	enum store_error error = STORE_OK;
	struct stat st;
	uint64_t end;
	size_t done;

	if (b->full)
		return STORE_MEMORY;
	if (fstat(u->fd, &st) != 0)
		return store_from_errno(errno);
	end = (uint64_t)st.st_size;
	done = store_pwrite_all(u->fd, buf_slice_of(b), end);
	if (done < b->len) {
		/* Whole records stay: a reader may have seen them and told their UIDs. */
		error = store_from_errno(errno);
		done = whole_records(u, b, done);
		if (ftruncate(u->fd, (off_t)(end + done)) != 0)
			u->damaged = true;	/* the next who locks cuts it off */
	}
	if (u->end == end) {
		u->end += done;
		u->seen_modseq = u->modseq;
	}
	return error;
}

uint64_t
uidlist_next_modseq(struct uidlist *u)
{
	struct timespec now;
	uint64_t usec;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	u->modseq = usec > u->modseq ? usec : u->modseq + 1;
	return u->modseq;
}

enum store_error
uidlist_reserve(struct uidlist *u, size_t n)
{
	struct stat st;
	uint64_t have, need;

	if (fstat(u->fd, &st) != 0)
		return store_from_errno(errno);
	have = (uint64_t)st.st_blocks * 512;
	need = (uint64_t)st.st_size + n;
	if (need <= have)
		return STORE_OK;
	need = (need + 8191) / 4096 * 4096;	/* and some for what comes when the disk is full */
	if (fallocate(u->fd, FALLOC_FL_KEEP_SIZE, (off_t)st.st_size, (off_t)(need - (uint64_t)st.st_size)) == 0 ||
	    errno == EOPNOTSUPP || errno == ENOSYS)
		return STORE_OK;
	return store_from_errno(errno);
}

/* After a failed fsync the kernel may take lost pages for written ones: never
 * sync the same file again and believe it (RELIABILITY.md P6). */
static enum store_error
sync_by_rewriting(struct uidlist *u)
{
	enum store_error error;
	bool replaced;

	error = uidlist_lock(u, &replaced);
	if (error == STORE_OK)
		error = uidlist_rewrite(u);
	uidlist_unlock(u);
	return error;
}

enum store_error
uidlist_sync(struct uidlist *u)
{
	struct stat st;

	if (fstat(u->fd, &st) != 0)
		return store_from_errno(errno);
	if ((uint64_t)st.st_size <= u->synced)
		return STORE_OK;
	if (fdatasync(u->fd) != 0)
		return sync_by_rewriting(u);
	u->synced = (uint64_t)st.st_size;
	return STORE_OK;
}

void
uidlist_synced(struct uidlist *u)
{
	struct stat st;

	if (fstat(u->fd, &st) == 0)
		u->synced = (uint64_t)st.st_size;
}
