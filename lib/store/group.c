/* group.c: new messages are collected, each in memory or in a file of tmp/. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "group_int.h"

struct store_group *
store_group_new(enum store_mode mode)
{
	struct store_group *g = calloc(1, sizeof(*g));

	if (g != NULL) {
		g->mode = mode;
		g->last = &g->first;
	}
	return g;
}

void
item_fail(struct item *i, enum store_error error)
{
	if (i->pub.error == STORE_OK)
		i->pub.error = store_done(i->store, error);
	if (error != STORE_OK && i->box != NULL)
		i->box->failed = true;
}

static void
item_free(struct store_group *g, struct item *i)
{
	item_drop(g, i);
	buf_clear(&i->pending);
	buf_clear(&i->base);
	buf_clear(&i->made);
	free(i->keyword);
	free(i->keyword_text);
	free(i->tmp);
	free(i->file);
	free(i);
}

void
store_group_free(struct store_group *g)
{
	if (g == NULL)
		return;
	while (g->first != NULL) {
		struct item *next = g->first->next;

		item_free(g, g->first);
		g->first = next;
	}
	while (g->boxes != NULL) {
		struct group_box *next = g->boxes->next;

		group_box_done(g->boxes, g->committed);
		g->boxes = next;
	}
	free(g);
}

/* ---- an item ---- */

/* The folder, opened once for all its items. */
static enum store_error
find_box(struct store_group *g, struct store *s, struct slice name, struct group_box **out)
{
	char canonical[STORE_NAME_MAX + 1];
	enum store_error error;

	if (!store_name_check(name, false, canonical))
		return STORE_NAME;
	for (*out = g->boxes; *out != NULL; *out = (*out)->next) {
		if ((*out)->box.store == s && strcmp((*out)->box.name, canonical) == 0)
			return STORE_OK;
	}
	error = group_box_open(s, canonical, out);
	if (error != STORE_OK)
		return error;
	(*out)->next = g->boxes;
	g->boxes = *out;
	return STORE_OK;
}

static struct item *
new_item(struct store_group *g, struct store *s, struct slice folder)
{
	struct item *i = calloc(1, sizeof(*i));

	if (i == NULL)
		return NULL;
	i->store = s;
	i->fd = -1;
	buf_init(&i->pending, 2 * GROUP_PENDING_ITEM);
	buf_init(&i->base, MAILDIR_NAME_MAX);
	buf_init(&i->made, CACHE_RECORD_MAX);
	*g->last = i;
	g->last = &i->next;
	item_fail(i, find_box(g, s, folder, &i->box));
	return i;
}

static enum store_error
copy_keyword_names(struct item *i, const struct store_new *what)
{
	size_t octets = 0;
	char *p;

	for (size_t k = 0; k < what->keyword_n; k++)
		octets += what->keyword[k].len;
	i->keyword = reallocarray(NULL, what->keyword_n + 1, sizeof(*i->keyword));
	i->keyword_text = p = malloc(octets + 1);
	if (i->keyword == NULL || p == NULL)
		return STORE_MEMORY;
	for (size_t k = 0; k < what->keyword_n; k++) {
		memcpy(p, what->keyword[k].ptr, what->keyword[k].len);
		i->keyword[k] = slice_make(p, what->keyword[k].len);
		p += what->keyword[k].len;
	}
	i->keyword_n = what->keyword_n;
	return STORE_OK;
}

/* What this group already wants to put into that store. */
static uint64_t
wanted(const struct store_group *g, const struct store *s)
{
	uint64_t octets = 0;

	for (const struct item *i = g->first; i != NULL; i = i->next) {
		if (i->store == s && item_live(i))
			octets += i->written + i->pending.len + i->from_size;
	}
	return octets;
}

struct store_item *
store_group_add(struct store_group *g, struct store *s, const struct store_new *what)
{
	struct item *i = new_item(g, s, what->folder);

	if (i == NULL)
		return NULL;
	i->qid = what->qid;
	i->rcpt = what->rcpt;
	i->date = what->date;
	i->flags = (uint8_t)(what->flags & STORE_FLAGS_IMAP);
	if (item_live(i) && what->repeat && i->qid.n != 0)
		item_fail(i, box_knows(&i->box->box, i->qid, i->rcpt, &i->pub.repeated));
	if (item_live(i) && what->keyword_n > 0)
		item_fail(i, copy_keyword_names(i, what));
	if (item_live(i) && what->size > 0 && s->quota != 0)
		item_fail(i, quota_check(s, wanted(g, s) + what->size));
	if (item_live(i) && what->size > GROUP_PENDING_ITEM) {
		item_flush(g, i);	/* opens the file */
		if (item_live(i) && fallocate(i->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)what->size) != 0 &&
		    errno != EOPNOTSUPP && errno != ENOSYS)
			item_fail(i, store_from_errno(errno));
	}
	return &i->pub;
}

struct store_item *
store_group_copy(struct store_group *g, struct store_folder *f, uint32_t uid, struct slice folder)
{
	struct item *i = new_item(g, f->box.store, folder);
	struct msg *m = view_uid(f, uid);

	if (i == NULL)
		return NULL;
	i->from = f;
	i->from_uid = uid;
	if (m == NULL || m->pub.gone)
		item_fail(i, STORE_GONE);
	else
		i->from_size = m->size;
	return &i->pub;
}

void
store_group_cancel(struct store_group *g, struct store_item *item)
{
	struct item *i = (struct item *)item;

	i->cancelled = true;
	item_drop(g, i);
	g->pending -= i->pending.len;
	buf_clear(&i->pending);
}

/* ---- its file ---- */

void
item_drop(struct store_group *g, struct item *i)
{
	item_close(g, i);
	if (i->tmp != NULL)
		(void)unlinkat(box_sub(&i->box->box, BOX_TMP), i->tmp, 0);
	free(i->tmp);
	i->tmp = NULL;
}

static void
open_file(struct store_group *g, struct item *i)
{
	int tmp = box_sub(&i->box->box, BOX_TMP), how = O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_APPEND;
	struct buf name;

	if (g->fds >= GROUP_FDS)
		group_sync_files(g);	/* so that a group of any size does with few descriptors */
	if (i->tmp == NULL) {
		buf_init(&name, MAILDIR_NAME_MAX);
		store_unique(i->store, &name);
		i->tmp = slice_dup(buf_slice_of(&name));
		buf_clear(&name);
		how |= O_CREAT | O_EXCL;
	}
	if (i->tmp == NULL) {
		item_fail(i, STORE_MEMORY);
		return;
	}
	i->fd = tmp < 0 ? -1 : openat(tmp, i->tmp, how, 0600);
	if (i->fd >= 0) {
		g->fds++;
		return;
	}
	item_fail(i, store_from_errno(errno));
	if ((how & O_EXCL) != 0) {
		free(i->tmp);
		i->tmp = NULL;
	}
}

static void
write_out(struct store_group *g, struct item *i, struct slice bytes)
{
	if (i->fd < 0)
		open_file(g, i);
	if (i->fd < 0)
		return;
	i->unsynced = true;
	if (!store_write_all(i->fd, bytes)) {
		item_fail(i, store_from_errno(errno));
		item_drop(g, i);	/* give the space back at once */
		return;
	}
	i->written += bytes.len;
}

void
item_flush(struct store_group *g, struct item *i)
{
	write_out(g, i, buf_slice_of(&i->pending));
	g->pending -= i->pending.len;
	buf_clear(&i->pending);
}

/* ---- its content ---- */

static void
put(struct store_group *g, struct item *i, struct slice bytes)
{
	if (bytes.len == 0)
		return;
	if (i->pending.len + bytes.len > GROUP_PENDING_ITEM || g->pending > GROUP_PENDING_ALL)
		item_flush(g, i);
	if (bytes.len > GROUP_PENDING_ITEM) {
		write_out(g, i, bytes);
	} else if (buf_slice(&i->pending, bytes)) {
		g->pending += bytes.len;
	} else {
		item_fail(i, STORE_MEMORY);
	}
	i->last = bytes.ptr[bytes.len - 1];
}

/* Where the first LF without CR stands, or bytes.len. */
static size_t
find_bare_lf(const struct item *i, struct slice bytes)
{
	size_t at = 0;

	while (at < bytes.len) {
		const char *lf = memchr(bytes.ptr + at, '\n', bytes.len - at);

		if (lf == NULL)
			return bytes.len;
		at = (size_t)(lf - bytes.ptr);
		if ((at == 0 ? i->last : bytes.ptr[at - 1]) != '\r')
			return at;
		at++;
	}
	return bytes.len;
}

void
store_group_write(struct store_group *g, struct store_item *item, struct slice bytes)
{
	struct item *i = (struct item *)item;

	while (bytes.len > 0 && item_live(i)) {
		size_t at = find_bare_lf(i, bytes);

		put(g, i, slice_sub(bytes, 0, at));
		if (at == bytes.len)
			break;
		put(g, i, SLICE("\r\n"));
		bytes = slice_sub(bytes, at + 1, bytes.len);
	}
}

void
store_group_write_fd(struct store_group *g, struct store_item *item, int fd, uint64_t offset, uint64_t size)
{
	struct item *i = (struct item *)item;
	const size_t chunk = 256 * 1024;
	char *buffer = malloc(chunk);

	if (buffer == NULL)
		item_fail(i, STORE_MEMORY);
	while (size > 0 && item_live(i)) {
		ssize_t n = pread(fd, buffer, size < chunk ? (size_t)size : chunk, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			item_fail(i, STORE_IO);	/* shorter than was said */
			break;
		}
		store_group_write(g, item, slice_make(buffer, (size_t)n));
		offset += (uint64_t)n;
		size -= (uint64_t)n;
	}
	free(buffer);
}
