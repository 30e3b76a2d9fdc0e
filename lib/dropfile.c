#include "dropfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char magic[] = "PPDROP1\n";
#define MAGIC_LEN (sizeof(magic) - 1)

/* ---- numbers and slices, little-endian ---- */

static bool
put_number(struct buf *out, uint64_t n, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		(void)buf_char(out, (char)(n >> (8 * i) & 0xff));
	return !out->full;
}

static bool
put_slice(struct buf *out, struct slice s)
{
	return s.len <= UINT32_MAX && put_number(out, s.len, 4) && buf_slice(out, s);
}

static bool
get_number(struct slice *in, unsigned octets, uint64_t *n)
{
	*n = 0;
	if (in->len < octets)
		return false;
	for (unsigned i = 0; i < octets; i++)
		*n |= (uint64_t)(unsigned char)in->ptr[i] << (8 * i);
	*in = slice_sub(*in, octets, in->len);
	return true;
}

static bool
get_slice(struct slice *in, size_t limit, struct slice *out)
{
	uint64_t len;

	if (!get_number(in, 4, &len) || len > limit || len > in->len)
		return false;
	*out = slice_sub(*in, 0, (size_t)len);
	*in = slice_sub(*in, (size_t)len, in->len);
	return true;
}

static bool
is_text(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
			return false;
	return true;
}

/* ---- the header ---- */

bool
dropfile_print(const struct dropfile *d, struct buf *out)
{
	uint64_t len = 8 + 8 + 4 + 1 + 1 + 4 * 4 + (d->qid != 0 ? 8u : 0u) +
	    (uint64_t)d->sender.len + d->envid.len + d->message_id.len + d->rcpts.len;

	return len <= DROPFILE_HEADER_MAX && buf_put(out, magic, MAGIC_LEN) &&
	    put_number(out, len, 4) &&
	    put_number(out, d->content_size, 8) &&
	    put_number(out, d->received_usec, 8) &&
	    put_number(out, d->uid, 4) &&
	    put_number(out, d->body_8bit, 1) &&
	    put_number(out, d->ret, 1) &&
	    put_slice(out, d->sender) && put_slice(out, d->envid) &&
	    put_slice(out, d->message_id) && put_slice(out, d->rcpts) &&
	    (d->qid == 0 || put_number(out, d->qid, 8));
}

size_t
dropfile_prefix(const char prefix[DROPFILE_PREFIX])
{
	struct slice in = slice_make(prefix + MAGIC_LEN, DROPFILE_PREFIX - MAGIC_LEN);
	uint64_t len;

	if (memcmp(prefix, magic, MAGIC_LEN) != 0 || !get_number(&in, 4, &len) ||
	    len > DROPFILE_HEADER_MAX)
		return 0;
	return (size_t)len;
}

/* At least one recipient, each with an address, no control octets anywhere. */
static bool
rcpts_good(struct slice list)
{
	struct ipc_rcpt rcpt;
	bool bad = false;
	size_t n = 0;

	while (ipc_next_rcpt(&list, &rcpt, &bad)) {
		if (rcpt.addr.len == 0 || !is_text(rcpt.addr) || !is_text(rcpt.orcpt))
			return false;
		n++;
	}
	return !bad && n > 0;
}

bool
dropfile_parse(struct slice header, struct dropfile *out)
{
	uint64_t uid, body, ret;

	*out = (struct dropfile){ 0 };
	if (!get_number(&header, 8, &out->content_size) ||
	    !get_number(&header, 8, &out->received_usec) ||
	    !get_number(&header, 4, &uid) ||
	    !get_number(&header, 1, &body) || body > 1 ||
	    !get_number(&header, 1, &ret) || ret > 2 ||
	    !get_slice(&header, 320, &out->sender) ||
	    !get_slice(&header, 100, &out->envid) ||
	    !get_slice(&header, 998, &out->message_id) ||
	    !get_slice(&header, DROPFILE_HEADER_MAX, &out->rcpts) ||
	    (header.len != 0 && (!get_number(&header, 8, &out->qid) || out->qid == 0)) || header.len != 0)
		return false;
	out->uid = (uint32_t)uid;
	out->body_8bit = body == 1;
	out->ret = (uint8_t)ret;
	return out->content_size <= INT64_MAX - DROPFILE_HEADER_MAX - DROPFILE_PREFIX &&
	    is_text(out->sender) && is_text(out->envid) &&
	    is_text(out->message_id) && rcpts_good(out->rcpts);
}

/* ---- content ---- */

bool
dropfile_lines_feed(struct dropfile_lines *c, struct slice piece)
{
	for (size_t i = 0; i < piece.len; i++) {
		char now = piece.ptr[i];

		if (now == '\0' || (now == '\n') != (c->last == '\r'))
			return false;
		c->last = now;
	}
	return true;
}

bool
dropfile_lines_end(const struct dropfile_lines *c)
{
	return c->last == '\n';
}

/* ---- writing ---- */

static bool
write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s = slice_sub(s, (size_t)n, s.len);
	}
	return true;
}

/* "T" or "D", the time, and 64 random bits, so that the name cannot be guessed. */
static bool
make_names(struct dropfile_writer *w)
{
	struct timespec now;
	uint64_t usec, random;

	if (clock_gettime(CLOCK_REALTIME, &now) != 0 ||
	    getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return false;
	usec = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	(void)snprintf(w->name, sizeof(w->name), "D%016llx%016llx",
	    (unsigned long long)usec, (unsigned long long)random);
	(void)snprintf(w->tmp, sizeof(w->tmp), "T%s", w->name + 1);
	return true;
}

bool
dropfile_create(struct dropfile_writer *w, int dirfd, const struct dropfile *d)
{
	struct buf header;
	bool ok = false;

	*w = (struct dropfile_writer){
		.dirfd = dirfd, .fd = -1, .left = d->content_size, .lines = { '\n' },
	};
	buf_init(&header, DROPFILE_PREFIX + DROPFILE_HEADER_MAX);
	if (!dropfile_print(d, &header)) {
		errno = EMSGSIZE;
		goto out;
	}
	if (!make_names(w))
		goto out;
	w->fd = openat(dirfd, w->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (w->fd < 0)
		goto out;
	/* queue is neither owner nor group of the file; the folder keeps all others out. */
	ok = fchmod(w->fd, 0644) == 0 && write_all(w->fd, buf_slice_of(&header));
out:
	buf_clear(&header);
	return ok;
}

bool
dropfile_write(struct dropfile_writer *w, struct slice content)
{
	if (content.len > w->left || !dropfile_lines_feed(&w->lines, content)) {
		w->bad = true;
		errno = EBADMSG;
		return false;
	}
	w->left -= content.len;
	return write_all(w->fd, content);
}

/*
 * Make the new name durable.  The helper may not read the folder (0730), so it
 * has only an O_PATH descriptor, which cannot be synced: then the whole file
 * system is, which is rare enough (the suite is stopped).
 */
static bool
sync_folder(const struct dropfile_writer *w)
{
	if (fsync(w->dirfd) == 0)
		return true;
	return errno == EBADF && syncfs(w->fd) == 0;
}

bool
dropfile_commit(struct dropfile_writer *w)
{
	if (w->left != 0 || !dropfile_lines_end(&w->lines)) {
		w->bad = true;
		errno = EBADMSG;
		return false;
	}
	if (fsync(w->fd) != 0)
		return false;
	if (renameat(w->dirfd, w->tmp, w->dirfd, w->name) != 0)
		return false;
	/* From here on abort must take the real name away again. */
	memcpy(w->tmp, w->name, sizeof(w->tmp));
	if (!sync_folder(w))
		return false;
	w->tmp[0] = '\0';
	(void)close(w->fd);
	w->fd = -1;
	return true;
}

void
dropfile_abort(struct dropfile_writer *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
	if (w->tmp[0] != '\0')
		(void)unlinkat(w->dirfd, w->tmp, 0);
	w->tmp[0] = '\0';
}

/* ---- reading ---- */

#define NAME_LEN 33	/* a letter and 32 hexadecimal digits */

enum dropfile_name
dropfile_name(const char *name, struct qid *qid)
{
	struct slice s = slice_of(name);

	qid->n = 0;
	if (s.len < NAME_LEN || strspn(name + 1, "0123456789abcdef") < NAME_LEN - 1)
		return DROPFILE_OTHER;
	if (s.len == NAME_LEN && s.ptr[0] == 'T')
		return DROPFILE_TEMPORARY;
	if (s.len == NAME_LEN && s.ptr[0] == 'D')
		return DROPFILE_READY;
	if (s.ptr[0] == 'D' && s.ptr[NAME_LEN] == '.' &&
	    qid_parse(slice_sub(s, NAME_LEN + 1, s.len), qid))
		return DROPFILE_CLAIMED;
	return DROPFILE_OTHER;
}

bool
dropfile_claim_name(const char *name, struct qid q, char out[DROPFILE_NAME])
{
	char text[QID_TEXT];
	struct qid none;

	if (dropfile_name(name, &none) != DROPFILE_READY)
		return false;
	(void)snprintf(out, DROPFILE_NAME, "%s.%s", name, qid_print(q, text));
	return true;
}

static bool
read_all(int fd, char *to, size_t len)
{
	while (len > 0) {
		ssize_t n = read(fd, to, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = EBADMSG;
		if (n <= 0)
			return false;
		to += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
read_header(int fd, const struct stat *st, struct buf *header, struct dropfile *d)
{
	char prefix[DROPFILE_PREFIX], *room;
	uint64_t size = (uint64_t)st->st_size;
	size_t len;

	if (!read_all(fd, prefix, sizeof(prefix)))
		return false;
	len = dropfile_prefix(prefix);
	if (len == 0 || len + DROPFILE_PREFIX > size) {
		errno = EBADMSG;
		return false;
	}
	buf_reset(header);
	room = buf_room(header, len);
	if (room == NULL) {
		errno = ENOMEM;
		return false;
	}
	if (!read_all(fd, room, len))
		return false;
	buf_add(header, len);
	if (!dropfile_parse(buf_slice_of(header), d) ||
	    d->content_size != size - len - DROPFILE_PREFIX) {
		errno = EBADMSG;
		return false;
	}
	d->uid = st->st_uid;
	return true;
}

int
dropfile_open(int dirfd, const char *name, struct buf *header, struct dropfile *d)
{
	struct stat st;
	int fd, saved;

	/* O_NONBLOCK: a FIFO that somebody planted must not hold us. */
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0)
		goto fail;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1) {
		errno = EBADMSG;
		goto fail;
	}
	if (read_header(fd, &st, header, d))
		return fd;
fail:
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}
