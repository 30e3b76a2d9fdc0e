/*
 * modseq.c: what changes is noted in the index, with a mod-sequence (RFC 7162).
 *
 * Flags are letters of file names, and renaming is how they change, by whoever.
 * After a rename, or when a scan meets letters that the index does not know, a
 * FLAGS record says so.  Of several processes that see one change the first writes
 * the record; the others read it when they come to write theirs (with the lock),
 * and leave theirs out.  Whose view the record contradicts looks at the files again.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "store_int.h"

uint32_t
view_tags(const struct msg *m)
{
	return m->upper | (m->where == IN_NEW ? UIDLIST_IN_NEW : 0) | (m->odd != NULL ? UIDLIST_ODD : 0);
}

bool
view_is_noted(const struct msg *m)
{
	return view_tags(m) == m->noted_upper && m->pub.keywords == m->noted_lower;
}

static bool
letters_are_noted(const struct msg *m)
{
	return m->upper == (m->noted_upper & UIDLIST_LETTERS) && m->pub.keywords == m->noted_lower;
}

void
view_take_flags(struct store_folder *f, struct msg *m, const struct uidlist_record *r)
{
	bool agreed = view_is_noted(m) && m->unsaved == 0;

	if (!r->tagged)
		return;
	m->noted_upper = r->upper;
	m->noted_lower = r->lower;
	m->pending = false;
	f->behind = true;
	view_changes(f, m);
	if (r->modseq > m->pub.modseq)
		m->pub.modseq = r->modseq;
	if (view_is_noted(m))
		return;
	/* Without a change of our own it is what the file is called now; else a look tells. */
	if (agreed && (r->upper & UIDLIST_ODD) == 0) {
		view_set_letters(f, m, (r->upper & UIDLIST_IN_NEW) != 0 ? IN_NEW : IN_CUR, r->upper & UIDLIST_LETTERS, r->lower);
		return;
	}
	f->dirty = f->some_unnoted = true;
}

/* Which are to be written; false if none. */
static bool
mark_pending(struct store_folder *f, const uint32_t *uid, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		struct msg *m = uid == NULL ? &f->msg[i] : view_uid(f, uid[i]);

		if (m != NULL && !m->dead && !m->absent && !view_is_noted(m))
			m->pending = any = true;
	}
	return any;
}

static enum store_error
append_flags(struct store_folder *f)
{
	struct uidlist *u = &f->box.uids;
	enum store_error error = STORE_OK;
	struct buf records;
	uint64_t modseq;
	size_t n = 0, changed = 0;

	for (uint32_t i = 0; i < f->m; i++) {
		n += f->msg[i].pending;
		changed += f->msg[i].pending && !letters_are_noted(&f->msg[i]);
	}
	if (n == 0)
		return STORE_OK;
	modseq = changed > 0 ? uidlist_next_modseq(u) : u->modseq;
	buf_init(&records, 64 * (n + 1));
	for (uint32_t i = 0; i < f->m; i++) {
		const struct msg *m = &f->msg[i];

		if (m->pending)
			uidlist_put_flags(u, &records, m->pub.uid, view_tags(m), m->pub.keywords,
			    letters_are_noted(m) ? m->pub.modseq : modseq);
	}
	error = uidlist_append(u, &records);
	buf_clear(&records);
	for (uint32_t i = 0; i < f->m && error == STORE_OK; i++) {
		struct msg *m = &f->msg[i];

		if (!m->pending)
			continue;
		if (!letters_are_noted(m))
			m->pub.modseq = modseq;
		m->noted_upper = view_tags(m);
		m->noted_lower = m->pub.keywords;
	}
	return error;
}

enum store_error
view_note(struct store_folder *f, const uint32_t *uid, size_t n)
{
	enum store_error error;
	bool replaced;

	if (!mark_pending(f, uid, uid == NULL ? f->m : n)) {
		f->some_unnoted &= uid != NULL;
		return STORE_OK;
	}
	error = uidlist_lock(&f->box.uids, &replaced);
	if (error == STORE_OK)
		error = view_read_index(f);
	if (error == STORE_OK)
		error = append_flags(f);
	uidlist_unlock(&f->box.uids);
	for (uint32_t i = 0; i < f->m; i++)
		f->msg[i].pending = false;
	if (error == STORE_OK) {
		f->some_unnoted &= uid != NULL;
		return STORE_OK;
	}
	f->dirty = f->some_unnoted = true;	/* it is tried again at the next look */
	/* The change itself is made, and told; what a full disk keeps us from is its number. */
	return error == STORE_NOSPACE ? STORE_OK : error;
}

void
view_sync(struct store_folder *f)
{
	struct uidlist *u = &f->box.uids;
	struct buf record;
	bool replaced;

	if (f->dirty || f->behind || f->some_unnoted ||
	    (own_same(&f->stamp[0], &f->logged[0]) && own_same(&f->stamp[1], &f->logged[1])))
		return;
	if (uidlist_lock(u, &replaced) != STORE_OK)
		return;
	/* What others wrote meanwhile is not in our stamps. */
	if (!replaced && uidlist_changed(u) == UIDLIST_SAME) {
		buf_init(&record, 128);
		uidlist_put_sync(u, &record, f->stamp);
		if (uidlist_append(u, &record) == STORE_OK) {
			f->logged[0] = f->stamp[0];
			f->logged[1] = f->stamp[1];
		}
		buf_clear(&record);
	}
	uidlist_unlock(u);
}

/* ---- what is said of it ---- */

uint64_t
store_folder_highestmodseq(const struct store_folder *f)
{
	uint64_t highest = f->box.uids.seen_modseq;

	for (uint32_t i = f->n; i < f->m; i++) {
		if (!f->msg[i].dead && f->msg[i].pub.modseq <= highest)
			highest = f->msg[i].pub.modseq - 1;
	}
	for (uint32_t i = 0; i < f->n && f->some_gone; i++) {
		if (f->msg[i].pub.gone && f->msg[i].known_modseq < highest)
			highest = f->msg[i].known_modseq;
	}
	return highest == 0 ? 1 : highest;
}

struct ranges {
	struct store_range *at;
	size_t		 n, cap;
};

static bool
put_range(struct ranges *r, uint64_t from, uint64_t to)
{
	if (from > to)
		return true;
	if (r->n == r->cap) {
		size_t cap = r->cap == 0 ? 16 : r->cap * 2;
		struct store_range *at = reallocarray(r->at, cap, sizeof(*at));

		if (at == NULL)
			return false;
		r->at = at;
		r->cap = cap;
	}
	r->at[r->n++] = (struct store_range){ (uint32_t)from, (uint32_t)to };
	return true;
}

/* The UIDs from..to but for those that the view has. */
static bool
put_missing(const struct store_folder *f, struct ranges *r, uint64_t from, uint64_t to)
{
	for (uint32_t seq = store_folder_seq(f, (uint32_t)from); seq <= f->n && f->msg[seq - 1].pub.uid <= to; seq++) {
		if (!put_range(r, from, (uint64_t)f->msg[seq - 1].pub.uid - 1))
			return false;
		from = (uint64_t)f->msg[seq - 1].pub.uid + 1;
	}
	return put_range(r, from, to);
}

enum store_error
store_folder_vanished(struct store_folder *f, uint64_t since, struct store_range **out, size_t *n, bool *exact)
{
	struct uidlist_vanished *gone = NULL;
	struct ranges r = { 0 };
	uint64_t floor;
	size_t gone_n;
	enum store_error error = uidlist_vanished(&f->box.uids, since, &gone, &gone_n, &floor);
	bool good = true;

	*out = NULL;
	*n = 0;
	if (error != STORE_OK)
		return store_done(f->box.store, error);
	*exact = since >= floor;
	if (!*exact)
		good = put_missing(f, &r, 1, (uint64_t)store_folder_uidnext(f) - 1);
	for (size_t i = 0; i < gone_n && *exact && good; i++)
		good = put_missing(f, &r, gone[i].from, (uint64_t)gone[i].from + gone[i].n - 1);
	free(gone);
	if (!good) {
		free(r.at);
		return STORE_MEMORY;
	}
	*out = r.at;
	*n = r.n;
	return STORE_OK;
}

bool
store_message_saved(const struct store_folder *f, uint32_t seq, int64_t *out)
{
	*out = f->msg[seq - 1].saved;
	return *out != 0;
}

uint64_t
view_object(const struct store_folder *f, const struct msg *m)
{
	return m->object != 0 ? m->object : (uint64_t)f->uidvalidity << 32 | m->pub.uid;
}

void
store_message_id(const struct store_folder *f, uint32_t seq, char out[STORE_ID_MAX])
{
	(void)snprintf(out, STORE_ID_MAX, "M%016" PRIx64, view_object(f, &f->msg[seq - 1]));
}

void
store_folder_id(const struct store_folder *f, char out[STORE_ID_MAX])
{
	(void)snprintf(out, STORE_ID_MAX, "F%08" PRIx32 "%08" PRIx32, f->uidvalidity, f->box.uids.id);
}
