/* check.c: does the index of a folder say what its files say?  And have it made good. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store_int.h"
#include "uidlist_int.h"

struct known {
	uint32_t	uid;
	uint32_t	upper, lower;
	char		name[MAILDIR_NAME_MAX + 1];
	bool		gone, seen;
};

struct check {
	struct store_check *out;
	struct known	*at;		/* by ascending UID */
	struct known	**by;		/* those that are not gone, by name */
	size_t		 n, cap, live;
	enum msg_where	 where;
	bool		 failed;
};

static struct known *
find_uid(struct check *c, uint32_t uid)
{
	size_t low = 0, high = c->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->at[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < c->n && c->at[low].uid == uid ? &c->at[low] : NULL;
}

static void
take_add(struct check *c, const struct uidlist_record *r)
{
	struct known *k;

	if (c->n > 0 && r->uid <= c->at[c->n - 1].uid) {
		c->out->disorder++;
		return;
	}
	if (c->n == c->cap) {
		size_t cap = c->cap == 0 ? 256 : c->cap * 2;
		struct known *at = reallocarray(c->at, cap, sizeof(*at));

		if (at == NULL) {
			c->failed = true;
			return;
		}
		c->at = at;
		c->cap = cap;
	}
	k = &c->at[c->n++];
	*k = (struct known){ .uid = r->uid, .upper = r->upper, .lower = r->lower };
	if (!slice_text(r->name, k->name, sizeof(k->name)))
		c->out->disorder++;
}

static void
take_record(void *ctx, const struct uidlist_record *r)
{
	struct check *c = ctx;
	struct known *k;

	c->out->records++;
	if (r->type == UIDLIST_ADD) {
		take_add(c, r);
		return;
	}
	k = r->type == UIDLIST_GONE || r->type == UIDLIST_FLAGS ? find_uid(c, r->uid) : NULL;
	if (k == NULL)
		return;
	if (r->type == UIDLIST_GONE) {
		k->gone = true;
	} else {
		k->upper = r->upper;
		k->lower = r->lower;
	}
}

static int
by_name(const void *a, const void *b)
{
	const struct known *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static bool
sort_names(struct check *c)
{
	c->by = reallocarray(NULL, c->n + 1, sizeof(struct known *));
	if (c->by == NULL)
		return false;
	for (size_t i = 0; i < c->n; i++) {
		if (!c->at[i].gone)
			c->by[c->live++] = &c->at[i];
	}
	qsort(c->by, c->live, sizeof(struct known *), by_name);
	for (size_t i = 1; i < c->live; i++)
		c->out->disorder += strcmp(c->by[i - 1]->name, c->by[i]->name) == 0;
	return true;
}

static bool
check_file(void *ctx, const char *file, unsigned char type)
{
	struct check *c = ctx;
	struct known key, *k = &key, **hit;
	struct maildir_name name;
	uint32_t tags;

	if (type == DT_DIR || type == DT_LNK || !maildir_parse(slice_of(file), &name) ||
	    !slice_text(name.base, key.name, sizeof(key.name)))
		return true;
	c->out->files++;
	hit = bsearch(&k, c->by, c->live, sizeof(struct known *), by_name);
	if (hit == NULL) {
		c->out->unknown++;
		return true;
	}
	k = *hit;
	if (k->seen)
		c->out->doubles++;
	k->seen = true;
	tags = name.upper | (c->where == IN_NEW ? UIDLIST_IN_NEW : 0);
	if ((k->upper & ~UIDLIST_ODD) != tags || k->lower != name.lower)
		c->out->letters++;
	return true;
}

static enum store_error
check_files(struct box *b, struct check *c)
{
	enum store_error error = STORE_OK;

	for (c->where = IN_CUR; c->where <= IN_NEW && error == STORE_OK; c->where++) {
		int dir = store_open_dir(b->dir, c->where == IN_NEW ? "new" : "cur", false);

		error = dir < 0 ? store_from_errno(errno) : store_read_dir(dir, check_file, c);
		if (dir >= 0)
			(void)close(dir);
	}
	for (size_t i = 0; i < c->live; i++)
		c->out->missing += !c->by[i]->seen;
	return error;
}

static void
check_cache(struct box *b, struct check *c)
{
	struct cache_parts parts;

	for (size_t i = 0; i < c->live; i++)
		c->out->cached += cache_get(b, c->by[i]->uid, &parts);
	c->out->cache_damaged = cache_damaged(b);
}

static enum store_error
check_box(struct box *b, struct check *c)
{
	enum store_error error = uidlist_open(&b->uids, b->dir);

	if (error == STORE_NONEXISTENT || error == STORE_EXISTS) {
		c->out->no_index = true;
		c->out->damaged = error == STORE_EXISTS;
		error = sort_names(c) ? STORE_OK : STORE_MEMORY;
		return error == STORE_OK ? check_files(b, c) : error;
	}
	if (error == STORE_OK)
		error = uidlist_read(&b->uids, take_record, c);
	c->out->damaged = b->uids.damaged;
	c->out->uidvalidity = b->uids.uidvalidity;
	c->out->uidnext = b->uids.uidnext;
	c->out->highestmodseq = b->uids.modseq;
	if (error == STORE_OK && (c->failed || !sort_names(c)))
		error = STORE_MEMORY;
	if (error == STORE_OK)
		error = check_files(b, c);
	if (error == STORE_OK)
		check_cache(b, c);
	return error;
}

enum store_error
store_check(struct store *s, struct slice name, struct store_check *out)
{
	char canonical[STORE_NAME_MAX + 1], dir_name[STORE_NAME_MAX + 2];
	struct box b = { .store = s, .sub = { -1, -1, -1 }, .uids.fd = -1 };
	struct check c = { .out = out };
	enum store_error error;

	*out = (struct store_check){ 0 };
	if (!store_name_check(name, false, canonical))
		return STORE_NAME;
	store_dir_name(canonical, dir_name);
	cache_init(&b.cache);
	b.dir = store_open_dir(s->dir, dir_name, false);
	if (b.dir < 0)
		return store_done(s, store_from_errno(errno));
	error = check_box(&b, &c);
	free(c.at);
	free(c.by);
	box_close(&b);
	return store_done(s, error);
}

bool
store_check_good(const struct store_check *c)
{
	return !c->no_index && !c->damaged && !c->cache_damaged && c->disorder + c->unknown + c->missing + c->letters + c->doubles == 0;
}

/* ---- repair ---- */

/* Opening a folder takes in what is there, and says so in the index; some of it needs a second look. */
static enum store_error
look(struct store_folder *f)
{
	enum store_error error = STORE_OK;

	f->dirty = true;
	for (int tries = 0; tries < 3 && error == STORE_OK; tries++)
		error = store_folder_refresh(f, STORE_REFRESH_EXPUNGE, &(struct store_changes){ 0 });
	return error;
}

static enum store_error
write_anew(struct store_folder *f)
{
	struct uidlist *u = &f->box.uids;
	bool replaced;
	enum store_error error = uidlist_lock(u, &replaced);

	if (error == STORE_OK)
		error = uidlist_rewrite(u);
	uidlist_unlock(u);
	return error;
}

enum store_error
store_repair(struct store *s, struct slice name, bool rebuild)
{
	struct store_folder *f;
	struct slice unused;
	enum store_error error;

	f = store_folder_open(s, name, true, &error);
	if (f == NULL)
		return error;
	error = look(f);
	if (error == STORE_OK && (rebuild || cache_damaged(&f->box)))
		cache_drop(&f->box);
	if (error == STORE_OK && rebuild)
		error = write_anew(f);
	for (uint32_t seq = 1; seq <= f->n && error == STORE_OK; seq++)
		(void)store_message_cached(f, seq, STORE_CACHED_ENVELOPE, &unused, NULL);
	store_folder_close(f);
	if (rebuild)
		quota_forget(s);
	return store_done(s, error);
}
