/* content.c: what is in a message: its octets, size and date. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store_int.h"

#define MAP_FROM	(128 * 1024)	/* octets from which mapping is cheaper than reading */

/* ---- open ---- */

static int
open_file(struct store_folder *f, const struct msg *m)
{
	char file[MAILDIR_NAME_MAX + 1];
	int dir = view_file_dir(f, m);

	if (dir < 0 || !view_file(f, m, file))
		return -1;
	return openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

/* The file, where it is now. */
static enum store_error
open_message(struct store_folder *f, uint32_t seq, int *fd, struct stat *st)
{
	const struct msg *m = &f->msg[seq - 1];

	*fd = m->pub.gone ? -1 : open_file(f, m);
	if (*fd < 0 && !m->pub.gone && errno == ENOENT) {
		enum store_error error = scan_folder(f);	/* renamed by another */

		if (error != STORE_OK)
			return error;
		m = &f->msg[seq - 1];
		*fd = m->pub.gone ? -1 : open_file(f, m);
	}
	if (m->pub.gone || (*fd < 0 && errno == ENOENT))
		return STORE_GONE;
	if (*fd < 0)
		return store_from_errno(errno);
	if (fstat(*fd, st) == 0 && S_ISREG(st->st_mode))
		return STORE_OK;
	(void)close(*fd);
	return STORE_NOPERM;
}

static enum store_error
load(int fd, size_t size, struct store_content *c)
{
	size_t done = 0;

	if (size >= MAP_FROM) {
		c->map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (c->map == MAP_FAILED) {
			c->map = NULL;
			return store_from_errno(errno);
		}
		c->map_len = size;
		c->raw = slice_make(c->map, size);
		return STORE_OK;
	}
	c->map = malloc(size + 1);
	if (c->map == NULL)
		return STORE_MEMORY;
	while (done < size) {
		ssize_t n = read(fd, (char *)c->map + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return store_from_errno(errno);
		if (n == 0)
			break;		/* somebody cut it; what is there is served */
		done += (size_t)n;
	}
	c->raw = slice_make(c->map, done);
	return STORE_OK;
}

/* Octets when every LF has its CR. */
static uint64_t
crlf_size(struct slice s)
{
	uint64_t size = s.len;
	const char *p = s.ptr, *end = s.ptr + s.len;

	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		size += p == s.ptr || p[-1] != '\r';
		p++;
	}
	return size;
}

/* Learn the size as CRLF, and let others know it. */
static void
learn_size(struct store_folder *f, struct msg *m, uint64_t size)
{
	struct buf record;
	uint64_t named;
	bool replaced;

	if (m->crlf_size == size)
		return;
	m->crlf_size = size;
	if (maildir_size(view_base(f, m), 'W', &named) && named == size)
		return;
	if (uidlist_lock(&f->box.uids, &replaced) != STORE_OK)
		return;
	if (!replaced && uidlist_tail(&f->box.uids)) {
		buf_init(&record, 64);
		uidlist_put_size(&f->box.uids, &record, m->pub.uid, size);
		(void)uidlist_append(&f->box.uids, &record);
		buf_clear(&record);
	}
	uidlist_unlock(&f->box.uids);
}

/* Both sizes are in the name: written by us or by Dovecot.  Believed when the file is that
 * long and needs no conversion. */
static bool
sizes_in_name(const struct store_folder *f, const struct msg *m, uint64_t *size, uint64_t *crlf)
{
	struct slice base = view_base(f, m);

	return maildir_size(base, 'S', size) && maildir_size(base, 'W', crlf);
}

enum store_error
store_content_open(struct store_folder *f, uint32_t seq, struct store_content *out)
{
	uint64_t size, crlf;
	enum store_error error;
	struct stat st;
	struct msg *m;
	int fd;

	*out = (struct store_content){ 0 };
	error = open_message(f, seq, &fd, &st);
	if (error != STORE_OK)
		return store_done(f->box.store, error);
	error = load(fd, (size_t)st.st_size, out);
	(void)close(fd);
	if (error != STORE_OK) {
		store_content_close(out);
		return store_done(f->box.store, error);
	}
	m = &f->msg[seq - 1];
	if (!sizes_in_name(f, m, &size, &crlf) || size != out->raw.len || crlf != size) {
		crlf = crlf_size(out->raw);
		learn_size(f, m, crlf);
	}
	out->crlf = crlf == out->raw.len;
	return STORE_OK;
}

/* ---- as CRLF ---- */

enum store_error
store_content_text(struct store_content *c, struct slice *out)
{
	const char *p = c->raw.ptr, *end = c->raw.ptr + c->raw.len;
	char *to;

	*out = c->raw;
	if (c->crlf)
		return STORE_OK;
	if (c->copy == NULL) {
		c->copy = to = malloc((size_t)crlf_size(c->raw) + 1);
		if (to == NULL)
			return STORE_MEMORY;
		while (p < end) {
			const char *lf = memchr(p, '\n', (size_t)(end - p));
			size_t len = (size_t)((lf == NULL ? end : lf) - p);

			memcpy(to, p, len);
			to += len;
			p += len;
			if (lf == NULL)
				break;
			if (p == c->raw.ptr || p[-1] != '\r')
				*to++ = '\r';
			*to++ = '\n';
			p++;
		}
		c->copy_len = (size_t)(to - (char *)c->copy);
	}
	*out = slice_make(c->copy, c->copy_len);
	return STORE_OK;
}

void
store_content_close(struct store_content *c)
{
	if (c->map_len > 0)
		(void)munmap(c->map, c->map_len);
	else
		free(c->map);
	free(c->copy);
	*c = (struct store_content){ 0 };
}

/* ---- size and date ---- */

enum store_error
store_message_size(struct store_folder *f, uint32_t seq, uint64_t *out)
{
	struct msg *m = &f->msg[seq - 1];
	struct store_content c;
	enum store_error error;

	if (m->crlf_size == 0 && maildir_size(view_base(f, m), 'W', out))
		m->crlf_size = *out;
	if (m->crlf_size == 0) {
		error = store_content_open(f, seq, &c);
		if (error != STORE_OK)
			return error;
		*out = crlf_size(c.raw);
		store_content_close(&c);
		return STORE_OK;
	}
	*out = m->crlf_size;
	return STORE_OK;
}

enum store_error
store_message_date(struct store_folder *f, uint32_t seq, int64_t *out)
{
	enum store_error error;
	struct stat st;
	int fd;

	if (f->msg[seq - 1].date == NO_DATE) {
		error = open_message(f, seq, &fd, &st);
		if (error != STORE_OK)
			return store_done(f->box.store, error);
		(void)close(fd);
		f->msg[seq - 1].date = st.st_mtim.tv_sec;
	}
	*out = f->msg[seq - 1].date;
	return STORE_OK;
}
