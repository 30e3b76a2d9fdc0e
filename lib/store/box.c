/* box.c: a folder's descriptors, index and keywords. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

static const char *const sub_names[BOX_SUBS] = { "cur", "new", "tmp" };

/* The index is missing, or its head is not readable: a new one, with new UIDs. */
static enum store_error
make_index(struct box *b)
{
	enum store_error error;
	uint32_t uidvalidity;
	int lock;

	error = store_uidvalidity_lock(b->store, &lock);
	if (error != STORE_OK)
		return error;
	error = uidlist_open(&b->uids, b->dir);	/* somebody else may just have done it */
	if (error == STORE_NONEXISTENT || error == STORE_EXISTS) {
		bool damaged = error == STORE_EXISTS;

		error = damaged ? STORE_NONEXISTENT : takeover_folder(b, lock);
		if (error == STORE_NONEXISTENT)
			error = store_uidvalidity_next(b->store, lock, &uidvalidity);
		else
			uidvalidity = 0;
		if (error == STORE_OK && uidvalidity != 0)
			error = uidlist_create(b->dir, uidvalidity, damaged);
		if (error == STORE_OK && damaged)
			store_say(b->store, "folder %s: the index was damaged beyond repair; "
			    "made a new one with UIDVALIDITY %u", b->name, uidvalidity);
		if (error == STORE_OK)
			error = uidlist_open(&b->uids, b->dir);
	}
	(void)close(lock);
	return error == STORE_EXISTS ? STORE_IO : error;
}

enum store_error
box_open(struct box *b, struct store *s, const char *name)
{
	char dir_name[STORE_NAME_MAX + 2];
	enum store_error error;

	*b = (struct box){ .store = s, .sub = { -1, -1, -1 }, .uids.fd = -1 };
	cache_init(&b->cache);
	(void)snprintf(b->name, sizeof(b->name), "%s", name);
	store_dir_name(name, dir_name);
	b->dir = openat(s->dir, dir_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b->dir < 0)
		return store_from_errno(errno);
	error = uidlist_open(&b->uids, b->dir);
	if (error == STORE_NONEXISTENT || error == STORE_EXISTS)
		error = make_index(b);
	if (error != STORE_OK)
		box_close(b);
	return error;
}

void
box_close(struct box *b)
{
	int saved = errno;

	cache_flush(b);
	cache_clear(&b->cache);
	uidlist_close(&b->uids);
	keywords_clear(&b->keywords);
	for (size_t i = 0; i < BOX_SUBS; i++) {
		if (b->sub[i] >= 0)
			(void)close(b->sub[i]);
		b->sub[i] = -1;
	}
	if (b->dir >= 0)
		(void)close(b->dir);
	b->dir = -1;
	errno = saved;
}

int
box_sub(struct box *b, enum box_sub which)
{
	if (b->sub[which] < 0)
		b->sub[which] = store_open_dir(b->dir, sub_names[which], true);
	return b->sub[which];
}

/* ---- UIDs for new files ---- */

static int
by_base(const void *a, const void *b)
{
	const struct box_entry *const *x = a, *const *y = b;
	size_t len = (*x)->base.len < (*y)->base.len ? (*x)->base.len : (*y)->base.len;
	int c = memcmp((*x)->base.ptr, (*y)->base.ptr, len);

	return c != 0 ? c : ((*x)->base.len > (*y)->base.len) - ((*x)->base.len < (*y)->base.len);
}

struct finder {
	struct box_entry	**sorted;
	size_t			  n;
};

/* Somebody who saw the file before we came to the index gave it a UID. */
static void
find_record(void *ctx, const struct uidlist_record *r)
{
	struct finder *f = ctx;
	struct box_entry key = { .base = r->name }, *k = &key, **hit;

	if (r->type != UIDLIST_ADD)
		return;
	hit = bsearch(&k, f->sorted, f->n, sizeof(k), by_base);
	if (hit != NULL)
		(*hit)->uid = r->uid;
}

static enum store_error
find_uids(struct box *b, struct finder *f)
{
	enum store_error error = STORE_OK;
	bool replaced = false;

	for (int tries = 0; tries < 3; tries++) {
		if (tries > 0 || !uidlist_tail(&b->uids))
			b->uids.end = UIDLIST_HEADER;	/* what we knew as a place may be none */
		error = uidlist_read(&b->uids, find_record, f);
		if (error != STORE_OK || !b->uids.damaged)
			return error;
		if (tries == 0)
			continue;
		error = uidlist_repair(&b->uids, &replaced);
		if (error != STORE_OK)
			return error;
		store_say(b->store, "folder %s: a damaged index was repaired", b->name);
	}
	return STORE_IO;
}

static enum store_error
append_missing(struct box *b, struct box_entry *entry, size_t n)
{
	enum store_error error = STORE_OK;
	struct buf records;

	(void)uidlist_next_modseq(&b->uids);
	buf_init(&records, 400 * (n + 1));
	for (size_t i = 0; i < n; i++) {
		struct box_entry *e = &entry[i];

		if (e->uid == 0)
			e->uid = uidlist_put_new(&b->uids, &records, &(struct uidlist_record){
			    .name = e->base, .when = e->date, .size = e->size, .crlf_size = e->crlf_size, .synced = e->synced,
			    .upper = e->upper, .lower = e->lower, .saved = time(NULL), .object = e->object });
	}
	if (records.len > 0 || records.full)
		error = uidlist_append(&b->uids, &records);
	buf_clear(&records);
	return error;
}

enum store_error
box_add(struct box *b, struct box_entry *entry, size_t n, bool sync)
{
	struct finder f = { .sorted = reallocarray(NULL, n + 1, sizeof(*f.sorted)), .n = n };
	enum store_error error;
	bool replaced;

	if (f.sorted == NULL)
		return STORE_MEMORY;
	for (size_t i = 0; i < n; i++) {
		entry[i].uid = 0;
		f.sorted[i] = &entry[i];
	}
	qsort(f.sorted, n, sizeof(*f.sorted), by_base);
	error = uidlist_lock(&b->uids, &replaced);
	if (error == STORE_OK)
		error = find_uids(b, &f);
	if (error == STORE_OK)
		error = append_missing(b, entry, n);
	uidlist_unlock(&b->uids);
	if (error == STORE_OK && sync)
		error = uidlist_sync(&b->uids);
	free(f.sorted);
	return error;
}

/* ---- is or was there ---- */

struct name_search {
	struct qid	qid;
	uint32_t	rcpt;
	bool		found;
};

static bool
match_file(void *ctx, const char *file, unsigned char type)
{
	struct name_search *s = ctx;
	struct maildir_name name;
	struct qid qid;
	uint32_t rcpt;

	(void)type;
	s->found = maildir_parse(slice_of(file), &name) && maildir_queue_id(name.base, &qid, &rcpt) &&
	    qid.n == s->qid.n && rcpt == s->rcpt;
	return !s->found;
}

/* In the index; a damaged one is mended first, for "no" must be true. */
static enum store_error
index_knows(struct box *b, struct qid qid, uint32_t rcpt, bool *known)
{
	enum store_error error = uidlist_knows(&b->uids, qid, rcpt, known);
	bool replaced;

	if (error != STORE_OK || *known || !b->uids.damaged)
		return error;
	error = uidlist_lock(&b->uids, &replaced);
	if (error == STORE_OK) {
		b->uids.end = UIDLIST_HEADER;
		error = uidlist_read(&b->uids, NULL, NULL);
	}
	if (error == STORE_OK && b->uids.damaged)
		error = uidlist_repair(&b->uids, &replaced);
	if (error == STORE_OK)
		error = uidlist_knows(&b->uids, qid, rcpt, known);
	uidlist_unlock(&b->uids);
	return error;
}

enum store_error
box_knows(struct box *b, struct qid qid, uint32_t rcpt, bool *known)
{
	static const enum box_sub subs[] = { BOX_NEW, BOX_CUR, BOX_NEW };	/* it may move between two looks */
	struct name_search s = { .qid = qid, .rcpt = rcpt };
	enum store_error error = index_knows(b, qid, rcpt, known);

	for (size_t i = 0; i < LEN(subs) && error == STORE_OK && !*known; i++) {
		int dir = box_sub(b, subs[i]);

		error = dir < 0 ? store_from_errno(errno) : store_read_dir(dir, match_file, &s);
		*known = s.found;
	}
	if (error != STORE_OK || !*known)
		return error;
	/* Who put it there may have died before his sync. */
	if (fsync(box_sub(b, BOX_NEW)) != 0 || fsync(box_sub(b, BOX_CUR)) != 0)
		return store_from_errno(errno);
	return uidlist_sync(&b->uids);
}

/* ---- gone ---- */

void
box_gone(struct box *b, const uint32_t *uid, size_t n)
{
	struct buf records;
	bool replaced;

	if (n == 0)
		return;
	buf_init(&records, 64 * (n + 1));
	if (uidlist_lock(&b->uids, &replaced) == STORE_OK) {
		if (uidlist_tail(&b->uids)) {
			(void)uidlist_next_modseq(&b->uids);
			for (size_t i = 0; i < n; i++)
				uidlist_put_gone(&b->uids, &records, uid[i], time(NULL));
			(void)uidlist_append(&b->uids, &records);
		}
		uidlist_unlock(&b->uids);
	}
	buf_clear(&records);
}
