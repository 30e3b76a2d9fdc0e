/*
 * group_publish.c: a group becomes durable and visible.
 *
 *	1. every file is written; writing back begins for all of them; fsync of each
 *	2. renames (copies: links) into new/ or cur/: now readers see them
 *	3. fsync of each directory once
 *	4. UIDs: one append to each index, one sync of it
 *
 * Not before 3 is anything appended to an index (uidlist.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "group_int.h"

#define RECORD_OCTETS	192	/* of an ADD with a usual name, to reserve space */
#define NAME_TRIES	5
#define COPY_CHUNK	(256 * 1024)

/* ---- 1. files ---- */

static uint64_t
octets_of(const struct item *i, const struct store *s)
{
	if (!item_live(i) || i->store != s || strcmp(i->box->box.name, "Trash") == 0)
		return 0;
	return i->written + i->pending.len + i->from_size;
}

/* All that goes to one store: at once if that fits, else message by message. */
static void
check_quota(struct store_group *g, struct store *s)
{
	uint64_t all = 0, sum = 0;

	for (const struct item *i = g->first; i != NULL; i = i->next)
		all += octets_of(i, s);
	if (all == 0 || quota_check(s, all) == STORE_OK)
		return;
	for (struct item *i = g->first; i != NULL; i = i->next) {
		uint64_t octets = octets_of(i, s);

		if (octets > 0)
			item_fail(i, quota_check(s, sum + octets));
		sum += octets_of(i, s);
	}
}

static void
check_quotas(struct store_group *g)
{
	for (const struct group_box *b = g->boxes; b != NULL; b = b->next) {
		const struct group_box *earlier = g->boxes;

		while (earlier != b && earlier->box.store != b->box.store)
			earlier = earlier->next;
		if (earlier == b && b->box.store->quota != 0)
			check_quota(g, b->box.store);
	}
}

static void
write_file(struct store_group *g, struct item *i, bool begin_now)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { .tv_sec = i->date } };

	/* All of it is in memory still: the first who lists the folder need not read it.  A copy
	 * that several get (a list's) is made for each, that is a fraction of what syncing takes. */
	if (i->written == 0 && !i->pending.full)
		(void)cache_make(buf_slice_of(&i->pending), &i->made, &i->parts);
	item_flush(g, i);
	if (!item_live(i))
		return;
	if (i->date != 0 && futimens(i->fd, times) != 0)
		item_fail(i, store_from_errno(errno));
	if (begin_now)
		(void)sync_file_range(i->fd, 0, 0, SYNC_FILE_RANGE_WRITE);	/* a hint; fsync tells the truth */
	i->pub.size = i->crlf_size = i->written;
	i->synced = true;
}

/* A copy shares the file; one that another tool wrote may not be on the disk yet. */
static void
sync_source(struct item *i)
{
	struct msg *m = view_uid(i->from, i->from_uid);
	char file[MAILDIR_NAME_MAX + 1];
	int fd;

	if (m == NULL || m->pub.gone) {
		item_fail(i, STORE_GONE);
		return;
	}
	i->pub.size = i->from_size;
	if (m->synced || !view_file(i->from, m, file))
		return;
	fd = openat(view_file_dir(i->from, m), file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;		/* renamed: publishing looks for it */
	if (fsync(fd) != 0)
		item_fail(i, store_from_errno(errno));
	else
		m->synced = true;
	(void)close(fd);
}

static void
make_files(struct store_group *g)
{
	size_t files = 0;
	bool one_by_one;

	for (const struct item *i = g->first; i != NULL; i = i->next)
		files += item_live(i) && i->from == NULL;
	one_by_one = !group_sync_at_once(g, files);
	for (struct item *i = g->first; i != NULL; i = i->next) {
		if (item_live(i) && i->from == NULL)
			write_file(g, i, one_by_one);
	}
	group_sync_files(g);
	group_sync_sources(g);
	for (struct item *i = g->first; i != NULL; i = i->next) {
		if (item_live(i) && i->from != NULL)
			sync_source(i);
	}
}

/* ---- 2. names ---- */

static void
reserve(struct store_group *g, struct group_box *b)
{
	enum store_error error;
	size_t n = 0;

	for (const struct item *i = g->first; i != NULL; i = i->next)
		n += item_live(i) && i->box == b;
	error = n == 0 ? STORE_OK : uidlist_reserve(&b->box.uids, n * RECORD_OCTETS);
	uidlist_skip(&b->box.uids);
	for (struct item *i = g->first; i != NULL && error != STORE_OK; i = i->next) {
		if (item_live(i) && i->box == b)
			item_fail(i, error);
	}
}

/* The letters of a new message's name. */
static enum store_error
letters(struct item *i, uint32_t *upper, uint32_t *lower)
{
	struct box *b = &i->box->box;
	enum store_error error;
	bool replaced;	/* then all of the index is read again later */

	*upper = maildir_letters(i->flags, 0);
	*lower = 0;
	if (i->keyword_n == 0)
		return STORE_OK;
	error = uidlist_lock(&b->uids, &replaced);
	if (error == STORE_OK)
		error = box_keywords(b, i->keyword, i->keyword_n, true, lower);
	uidlist_unlock(&b->uids);
	return error;
}

static void
compose_base(struct item *i)
{
	buf_reset(&i->base);
	if (i->qid.n != 0)
		maildir_queue_name(&i->base, i->qid, i->rcpt, i->store->hostname);
	else
		store_unique(i->store, &i->base);
	maildir_sizes(&i->base, i->written, i->written);
}

static void
published(struct item *i, enum msg_where where, const char *file)
{
	i->where = (uint8_t)where;
	i->box->touched[where] = true;
	i->file = strdup(file);		/* only to undo it; without memory it stays */
	free(i->tmp);
	i->tmp = NULL;
}

static void
publish_file(struct store_group *g, struct item *i)
{
	char file[MAILDIR_NAME_MAX + 1];
	enum store_error error = letters(i, &i->upper, &i->lower);
	uint32_t upper = i->upper, lower = i->lower;
	enum msg_where where = upper == 0 && lower == 0 ? IN_NEW : IN_CUR;
	int from = box_sub(&i->box->box, BOX_TMP), to = box_sub(&i->box->box, where == IN_NEW ? BOX_NEW : BOX_CUR);

	for (int tries = 0; error == STORE_OK && tries < NAME_TRIES; tries++) {
		compose_base(i);
		if (i->base.full || (where == IN_NEW ? !slice_text(buf_slice_of(&i->base), file, sizeof(file)) :
		    !maildir_print(buf_slice_of(&i->base), upper, lower, file))) {
			error = STORE_NAME;
		} else if (to >= 0 && renameat2(from, i->tmp, to, file, RENAME_NOREPLACE) == 0) {
			published(i, where, file);
			return;
		} else if (errno == EEXIST && i->qid.n != 0) {
			i->pub.repeated = true;		/* a repeat that did not say so */
			i->box->touched[where] = true;
			item_drop(g, i);
			return;
		} else if (errno != EEXIST) {
			error = store_from_errno(errno);
		}
	}
	item_fail(i, error == STORE_OK ? STORE_EXISTS : error);
	item_drop(g, i);
}

/* ---- copies ---- */

/* Where hard links are not to be had: octets. */
static enum store_error
copy_octets(struct item *i, int dir, const char *file)
{
	int from = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK), to = -1;
	enum store_error error = STORE_OK;
	char *chunk = malloc(COPY_CHUNK);
	struct stat st = { 0 };
	struct buf tmp;
	ssize_t n = 0;

	buf_init(&tmp, MAILDIR_NAME_MAX);
	store_unique(i->store, &tmp);
	i->tmp = slice_dup(buf_slice_of(&tmp));
	buf_clear(&tmp);
	if (from >= 0 && i->tmp != NULL && chunk != NULL)
		to = openat(box_sub(&i->box->box, BOX_TMP), i->tmp,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (to < 0 || fstat(from, &st) != 0)
		error = store_from_errno(errno);
	while (error == STORE_OK && (n = read(from, chunk, COPY_CHUNK)) > 0) {
		if (!store_write_all(to, slice_make(chunk, (size_t)n)))
			error = store_from_errno(errno);
	}
	if (error == STORE_OK && (n < 0 || futimens(to, (struct timespec[2]){ st.st_atim, st.st_mtim }) != 0 ||
	    fsync(to) != 0))
		error = store_from_errno(errno);
	free(chunk);
	if (from >= 0)
		(void)close(from);
	if (to >= 0)
		(void)close(to);
	return error;
}

static bool
no_links(int why)
{
	return why == EXDEV || why == EMLINK || why == EPERM || why == EOPNOTSUPP || why == ENOSYS;
}

/* STORE_GONE if the file is not where the view thinks. */
static enum store_error
link_copy(struct item *i, struct msg *m, const struct key_map *keys)
{
	char from[MAILDIR_NAME_MAX + 1], to[MAILDIR_NAME_MAX + 1];
	int dir = view_file_dir(i->from, m), cur = box_sub(&i->box->box, BOX_CUR);
	struct box_entry e;
	enum store_error error;

	if (!view_file(i->from, m, from) || !copy_base(i->from, m, &i->base, &e))
		return STORE_NAME;
	i->upper = m->upper;
	i->lower = copy_letters(keys, m->pub.keywords);
	i->object = e.object;
	i->parts = (struct cache_parts){ 0 };
	if (!maildir_print(buf_slice_of(&i->base), i->upper, i->lower, to))
		return STORE_NAME;
	i->pub.size = e.size;
	i->crlf_size = e.crlf_size;
	i->date = e.date;
	i->synced = e.synced;
	if (dir < 0 || cur < 0)
		return store_from_errno(errno);
	if (linkat(dir, from, cur, to, 0) != 0) {
		if (!no_links(errno))
			return errno == ENOENT ? STORE_GONE : store_from_errno(errno);
		error = copy_octets(i, dir, from);
		if (error == STORE_OK && renameat2(box_sub(&i->box->box, BOX_TMP), i->tmp, cur, to, RENAME_NOREPLACE) != 0)
			error = store_from_errno(errno);
		if (error != STORE_OK)
			return error == STORE_NONEXISTENT ? STORE_GONE : error;
	}
	published(i, IN_CUR, to);
	return STORE_OK;
}

/* Keywords are looked up once for all copies from one view to one folder. */
struct copier {
	const struct store_folder *from;
	const struct group_box	*to;
	struct key_map		 keys;
};

static enum store_error
try_copy(struct item *i, struct copier *c)
{
	struct msg *m = view_uid(i->from, i->from_uid);
	bool other = c->from != i->from || c->to != i->box;
	enum store_error error = STORE_OK;

	if (m == NULL || m->pub.gone)
		return STORE_GONE;
	if (other || (m->pub.keywords & ~c->keys.used) != 0) {
		error = copy_keywords(i->from, (other ? 0 : c->keys.used) | m->pub.keywords, &i->box->box, &c->keys);
		c->from = i->from;
		c->to = i->box;
	}
	return error == STORE_OK ? link_copy(i, m, &c->keys) : error;
}

static void
publish_copy(struct store_group *g, struct item *i, struct copier *c)
{
	enum store_error error = try_copy(i, c);

	if (error == STORE_GONE && scan_folder(i->from) == STORE_OK)
		error = try_copy(i, c);		/* it had been renamed */
	for (int tries = 1; error == STORE_EXISTS && tries < NAME_TRIES; tries++)
		error = try_copy(i, c);		/* with another name */
	if (error != STORE_OK) {
		item_fail(i, error);
		item_drop(g, i);
	}
}

/* ---- undo ---- */

/* STORE_ALL: nothing stays of it. */
static void
undo(struct store_group *g, enum store_error error)
{
	for (struct item *i = g->first; i != NULL; i = i->next) {
		if (i->file != NULL && !i->cancelled) {
			(void)unlinkat(box_sub(&i->box->box, i->where == IN_NEW ? BOX_NEW : BOX_CUR), i->file, 0);
			free(i->file);
			i->file = NULL;
		}
		if (!i->cancelled) {
			item_fail(i, error);
			item_drop(g, i);
		}
	}
}

static enum store_error
first_error(const struct store_group *g)
{
	for (const struct item *i = g->first; i != NULL; i = i->next) {
		if (!i->cancelled && i->pub.error != STORE_OK)
			return i->pub.error;
	}
	return STORE_OK;
}

/* With STORE_ALL one error ends it all; true if so. */
static bool
give_up(struct store_group *g)
{
	enum store_error error = g->mode == STORE_ALL ? first_error(g) : STORE_OK;

	if (error != STORE_OK)
		undo(g, error);
	return error != STORE_OK;
}

/* ---- 4. UIDs ---- */

static struct box_entry
entry_of(const struct item *i)
{
	return (struct box_entry){
		.base = buf_slice_of(&i->base), .size = i->pub.size, .crlf_size = i->crlf_size,
		.synced = i->synced, .date = i->date != 0 ? i->date : time(NULL), .object = i->object,
		.upper = i->upper | (i->where == IN_NEW ? UIDLIST_IN_NEW : 0), .lower = i->lower,
	};
}

static void
fill_cache(struct item *i)
{
	if (i->from != NULL && !cache_get(&i->from->box, i->from_uid, &i->parts))
		return;
	i->parts.uid = i->pub.uid;
	if (i->parts.part[STORE_CACHED_ENVELOPE].ptr != NULL)
		cache_put(&i->box->box, &i->parts);
}

/* The messages are there and durable: should the index fail us, a reader gives them UIDs. */
static void
give_uids(struct store_group *g, struct group_box *b)
{
	struct box_entry *entry;
	size_t n = 0, k = 0;
	int64_t octets = 0;
	bool good;

	for (const struct item *i = g->first; i != NULL; i = i->next)
		n += item_live(i) && i->box == b;
	if (n == 0)
		return;
	entry = reallocarray(NULL, n, sizeof(*entry));
	for (const struct item *i = g->first; i != NULL; i = i->next) {
		if (!item_live(i) || i->box != b)
			continue;
		if (entry != NULL)
			entry[k++] = entry_of(i);
		octets += (int64_t)i->pub.size;
	}
	good = entry != NULL && store_done(b->box.store, box_add(&b->box, entry, n, false)) == STORE_OK;
	b->added = good;
	k = 0;
	for (struct item *i = g->first; i != NULL && good; i = i->next) {
		if (!item_live(i) || i->box != b)
			continue;
		i->pub.uid = entry[k++].uid;
		i->pub.uidvalidity = b->box.uids.uidvalidity;
		fill_cache(i);
	}
	free(entry);
	cache_flush(&b->box);
	quota_add(b->box.store, b->box.name, octets, (int64_t)n);
}

static void
publish(struct store_group *g)
{
	struct copier copier = { 0 };

	for (struct item *i = g->first; i != NULL; i = i->next) {
		if (!item_live(i))
			continue;
		if (i->from == NULL)
			publish_file(g, i);
		else
			publish_copy(g, i, &copier);
		if (g->mode == STORE_ALL && i->pub.error != STORE_OK)
			return;
	}
}

enum store_error
store_group_commit(struct store_group *g)
{
	if (g->committed)
		return first_error(g);
	g->committed = true;
	check_quotas(g);
	if (give_up(g))
		return first_error(g);
	make_files(g);
	if (give_up(g))
		return first_error(g);
	for (struct group_box *b = g->boxes; b != NULL; b = b->next)
		reserve(g, b);
	publish(g);
	if (give_up(g))
		return first_error(g);
	group_sync_dirs(g);
	if (give_up(g))
		return first_error(g);
	for (struct group_box *b = g->boxes; b != NULL; b = b->next)
		give_uids(g, b);
	group_sync_indexes(g);
	return first_error(g);
}
