/* move.c: messages to another folder, each by one rename: never lost, never doubled. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

#define RECORD_OCTETS 192	/* of an ADD with a usual name, to reserve space */

struct mover {
	struct store_folder *f;
	struct box	 to;
	struct key_map	 keys;
	struct buf	 base;		/* of the message at hand */
	struct buf	 bases;		/* of all that were moved */
	struct box_entry *entry;
	uint32_t	*uid;		/* old ones */
	size_t		 n;
	bool		 touched[2];	/* source directories, by enum msg_where */
	uint64_t	 octets;
};

static uint32_t
keywords_used(const struct store_folder *f, const uint32_t *uid, size_t n)
{
	uint32_t used = 0;

	for (size_t i = 0; i < n; i++) {
		const struct msg *m = view_uid(f, uid[i]);

		if (m != NULL)
			used |= m->pub.keywords;
	}
	return used;
}

static void
note_moved(struct mover *v, struct msg *m, const struct box_entry *e)
{
	v->entry[v->n] = *e;
	v->entry[v->n].base = slice_make(NULL, v->base.len);	/* pointed into bases when that grows no more */
	v->uid[v->n++] = m->pub.uid;
	v->octets += e->size;
	v->touched[m->where] = true;
	view_forget(v->f, m);
	m->noted = true;
}

/* STORE_GONE if the file is not where the view thinks. */
static enum store_error
move_one(struct mover *v, struct msg *m)
{
	char from[MAILDIR_NAME_MAX + 1], to[MAILDIR_NAME_MAX + 1];
	struct box_entry e;
	size_t had = v->bases.len;
	enum store_error error = STORE_OK;

	if ((m->pub.keywords & ~v->keys.used) != 0)	/* another session has set one meanwhile */
		error = copy_keywords(v->f, v->keys.used | m->pub.keywords, &v->to, &v->keys);
	if (error != STORE_OK)
		return error;
	if (!view_file(v->f, m, from) || !copy_base(v->f, m, &v->base, &e))
		return STORE_NAME;
	e.upper = m->upper;
	e.lower = copy_letters(&v->keys, m->pub.keywords);
	if (!maildir_print(buf_slice_of(&v->base), e.upper, e.lower, to))
		return STORE_NAME;
	if (!buf_slice(&v->bases, buf_slice_of(&v->base)))
		return STORE_MEMORY;
	if (renameat2(view_file_dir(v->f, m), from, box_sub(&v->to, BOX_CUR), to, RENAME_NOREPLACE) != 0) {
		v->bases.len = had;
		return errno == ENOENT ? STORE_GONE : store_from_errno(errno);
	}
	own_did(v->f, m->where == IN_CUR, m->where == IN_NEW);
	note_moved(v, m, &e);
	return STORE_OK;
}

static enum store_error
move_all(struct mover *v, const uint32_t *uid, size_t n)
{
	bool scanned = false;

	for (size_t i = 0; i < n; i++) {
		struct msg *m = view_uid(v->f, uid[i]);
		enum store_error error;

		if (m == NULL || m->pub.gone)
			continue;
		error = move_one(v, m);
		if (error == STORE_GONE && !scanned) {
			scanned = true;
			error = scan_folder(v->f);
			i--;
		} else if (error == STORE_GONE) {
			v->f->dirty = true;
			error = STORE_OK;
		}
		if (error != STORE_OK)
			return error;
	}
	return STORE_OK;
}

/* The target first: should it be all that becomes durable, nothing is lost. */
static enum store_error
sync_dirs(struct mover *v)
{
	if (v->n == 0)
		return STORE_OK;
	if (fsync(box_sub(&v->to, BOX_CUR)) != 0)
		return store_from_errno(errno);
	for (int i = 0; i < 2; i++) {
		if (v->touched[i] && fsync(box_sub(&v->f->box, i == IN_NEW ? BOX_NEW : BOX_CUR)) != 0)
			return store_from_errno(errno);
	}
	return STORE_OK;
}

static enum store_error
give_uids(struct mover *v)
{
	size_t at = 0;

	for (size_t i = 0; i < v->n; i++) {
		v->entry[i].base = slice_sub(buf_slice_of(&v->bases), at, v->entry[i].base.len);
		at += v->entry[i].base.len;
	}
	return v->n == 0 ? STORE_OK : box_add(&v->to, v->entry, v->n, true);
}

/* What the cache has of them goes along. */
static void
move_cached(struct mover *v)
{
	struct cache_parts parts;

	for (size_t i = 0; i < v->n; i++) {
		if (!cache_get(&v->f->box, v->uid[i], &parts))
			continue;
		parts.uid = v->entry[i].uid;
		cache_put(&v->to, &parts);
	}
	cache_flush(&v->to);
}

static enum store_error
prepare(struct mover *v, const uint32_t *uid, size_t n)
{
	enum store_error error = STORE_OK;

	if (box_sub(&v->to, BOX_CUR) < 0)
		return store_from_errno(errno);
	if (strcmp(v->f->box.name, "Trash") == 0) {	/* from here on they count */
		uint64_t octets = 0;

		for (size_t i = 0; i < n; i++) {
			const struct msg *m = view_uid(v->f, uid[i]);

			octets += m == NULL ? 0 : m->size;
		}
		error = quota_check(v->f->box.store, octets);
	}
	if (error == STORE_OK)
		error = copy_keywords(v->f, keywords_used(v->f, uid, n), &v->to, &v->keys);
	if (error == STORE_OK)
		error = uidlist_reserve(&v->to.uids, n * RECORD_OCTETS);
	uidlist_skip(&v->to.uids);
	return error;
}

static enum store_error
move_messages(struct mover *v, const uint32_t *uid, size_t n)
{
	struct store *s = v->f->box.store;
	enum store_error error = prepare(v, uid, n), done;

	if (error != STORE_OK)
		return error;
	own_begin(v->f);
	error = move_all(v, uid, n);
	done = sync_dirs(v);
	if (done == STORE_OK)
		done = give_uids(v);
	box_gone(&v->f->box, v->uid, v->n);
	if (done == STORE_OK)
		move_cached(v);
	own_end(v->f);
	view_sync(v->f);
	quota_add(s, v->f->box.name, -(int64_t)v->octets, -(int64_t)v->n);
	quota_add(s, v->to.name, (int64_t)v->octets, (int64_t)v->n);
	return error != STORE_OK ? error : done;
}

enum store_error
store_folder_move(struct store_folder *f, const uint32_t *uid, size_t n, struct slice to,
    struct store_pair *pairs, size_t *moved, uint32_t *uidvalidity)
{
	char canonical[STORE_NAME_MAX + 1];
	struct mover v = { .f = f };
	enum store_error error;

	*moved = 0;
	if (f->readonly)
		return STORE_READONLY;
	if (!store_name_check(to, false, canonical))
		return STORE_NAME;
	error = box_open(&v.to, f->box.store, canonical);
	if (error != STORE_OK)
		return store_done(f->box.store, error);
	buf_init(&v.base, MAILDIR_NAME_MAX);
	buf_init(&v.bases, 1024u * 1024 * 1024);
	v.entry = reallocarray(NULL, n + 1, sizeof(*v.entry));
	v.uid = reallocarray(NULL, n + 1, sizeof(*v.uid));
	error = v.entry == NULL || v.uid == NULL ? STORE_MEMORY : move_messages(&v, uid, n);
	*moved = v.n;
	*uidvalidity = v.to.uids.uidvalidity;
	for (size_t i = 0; i < v.n && pairs != NULL; i++)
		pairs[i] = (struct store_pair){ v.uid[i], v.entry[i].uid };
	error = store_done(f->box.store, error);
	free(v.entry);
	free(v.uid);
	buf_clear(&v.base);
	buf_clear(&v.bases);
	box_close(&v.to);
	return error;
}
