/* view.c: a folder as one session sees it: open, refresh, what it says of messages. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "store_int.h"

#define NAMES_OCTETS	(1024u * 1024 * 1024)

/* ---- the index ---- */

struct reader {
	struct store_folder *f;
	bool		 failed;
};

static void
take_add(struct reader *rd, const struct uidlist_record *r)
{
	struct store_folder *f = rd->f;
	struct msg *m, *older;

	/* Known, or left out of this view before: a UID below the last cannot come into it. */
	if (f->m > 0 && r->uid <= f->msg[f->m - 1].pub.uid) {
		m = view_uid(f, r->uid);	/* of a file made anew: with the letters it has now */
		if (m != NULL && !m->dead)
			view_take_flags(f, m, r);
		return;
	}
	older = f->hashed ? view_find(f, r->name) : NULL;
	if (older != NULL)
		view_forget(f, older);	/* the name was given a new UID; so it is found, too, when the hash is made */
	m = view_add(f, r->uid, r->name);
	if (m == NULL) {
		rd->failed = true;
		return;
	}
	f->behind = true;	/* that it is there, a SYNC or a look at the directories tells */
	m->synced = r->synced;
	m->date = r->when;
	m->size = r->size;
	m->crlf_size = r->crlf_size;
	m->pub.modseq = r->modseq;
	m->noted_upper = r->upper;
	m->noted_lower = r->lower;
	m->saved = r->saved;
	m->object = r->object;
	if (!r->tagged || (r->upper & UIDLIST_ODD) != 0)
		f->dirty = true;	/* where it is, only a look tells */
	else
		view_set_letters(f, m, (r->upper & UIDLIST_IN_NEW) != 0 ? IN_NEW : IN_CUR, r->upper & UIDLIST_LETTERS, r->lower);
}

/* Somebody saw that the directories are what the records say. */
static void
take_sync(struct store_folder *f, const struct uidlist_record *r)
{
	memcpy(f->logged, r->stamp, sizeof(f->logged));
	if (f->dirty || f->some_unnoted)
		return;
	memcpy(f->stamp, r->stamp, sizeof(f->stamp));
	f->behind = false;
	for (; f->sure < f->m; f->sure++)
		f->msg[f->sure].absent = f->msg[f->sure].late = false;
}

static void
take_uidl(struct reader *rd, const struct uidlist_record *r)
{
	struct store_folder *f = rd->f;
	struct uidl u = { .uid = r->uid };

	if ((f->uidl_n > 0 && r->uid <= f->uidl[f->uidl_n - 1].uid) || !slice_text(r->past, u.text, sizeof(u.text)))
		return;
	if (f->uidl_n == f->uidl_cap) {
		size_t cap = f->uidl_cap == 0 ? 64 : f->uidl_cap * 2;
		struct uidl *more = reallocarray(f->uidl, cap, sizeof(*more));

		if (more == NULL) {
			rd->failed = true;
			return;
		}
		f->uidl = more;
		f->uidl_cap = cap;
	}
	f->uidl[f->uidl_n++] = u;
}

static void
take_record(void *ctx, const struct uidlist_record *r)
{
	struct reader *rd = ctx;
	struct msg *m;

	rd->f->new_keywords |= r->lower != 0;	/* their names may be new */
	if (r->type == UIDLIST_ADD) {
		take_add(rd, r);
	} else if (r->type == UIDLIST_FLAGS) {
		m = view_uid(rd->f, r->uid);
		if (m != NULL && !m->dead)
			view_take_flags(rd->f, m, r);
	} else if (r->type == UIDLIST_UIDL) {
		take_uidl(rd, r);
	} else if (r->type == UIDLIST_SYNC) {
		take_sync(rd->f, r);
	} else if (r->type == UIDLIST_GONE || r->type == UIDLIST_SIZE) {
		m = view_uid(rd->f, r->uid);
		if (m == NULL)
			return;
		if (r->type == UIDLIST_SIZE) {
			m->crlf_size = r->crlf_size;
			return;
		}
		if (!m->dead)
			m->known_modseq = r->modseq - 1;
		view_forget(rd->f, m);
		m->noted = true;
	}
}

/* Another file is in its place: compacted, or lost and made anew (other UIDVALIDITY). */
static enum store_error
follow_index(struct store_folder *f)
{
	f->dirty = true;	/* it does not say what became of those that it does not have */
	uidlist_close(&f->box.uids);
	return uidlist_open(&f->box.uids, f->box.dir);
}

enum store_error
view_read_index(struct store_folder *f)
{
	struct uidlist *u = &f->box.uids;
	struct reader rd = { .f = f };
	enum store_error error = STORE_OK;
	bool replaced;

	if (u->fd < 0 || (!u->locked && uidlist_changed(u) == UIDLIST_REPLACED))
		error = follow_index(f);
	if (error == STORE_OK)
		error = uidlist_read(u, take_record, &rd);
	while (error == STORE_OK && u->damaged && u->locked) {
		error = uidlist_repair(u, &replaced);
		store_say(f->box.store, "folder %s: a damaged index was repaired", f->box.name);
		if (error == STORE_OK)
			error = uidlist_read(u, take_record, &rd);
	}
	if (error == STORE_OK && u->uidvalidity != f->uidvalidity)
		error = STORE_NONEXISTENT;	/* the view is of a folder that is no more */
	return error == STORE_OK && rd.failed ? STORE_MEMORY : error;
}

/* What stops a reader may be an append that is going on: with the lock we know. */
static enum store_error
read_index_surely(struct store_folder *f)
{
	enum store_error error = view_read_index(f);
	bool replaced;

	if (error != STORE_OK || !f->box.uids.damaged)
		return error;
	error = uidlist_lock(&f->box.uids, &replaced);
	if (error == STORE_OK)
		error = view_read_index(f);
	uidlist_unlock(&f->box.uids);
	return error;
}

/* ---- what comes into the view ---- */

static bool
is_dead(const struct msg *m)
{
	return m->dead;
}

/* \Recent belongs to the first view that may write (RFC 3501 section 2.3.2). */
static uint32_t
claim_recent(struct store_folder *f)
{
	struct uidlist *u = &f->box.uids;
	uint32_t from = u->recent, next = f->n == 0 ? 1 : f->msg[f->n - 1].pub.uid + 1;
	struct buf record;
	bool replaced;

	if (f->readonly || next <= from)
		return from;
	if (uidlist_lock(u, &replaced) != STORE_OK)
		return from;
	if (view_read_index(f) == STORE_OK) {
		from = u->recent;
		if (next > from) {
			buf_init(&record, 64);
			uidlist_put_recent(u, &record, next);
			if (uidlist_append(u, &record) == STORE_OK)
				u->recent = next;
			buf_clear(&record);
		}
	}
	uidlist_unlock(u);
	return from;
}

/* Files leave new/ when a session that may write has seen them. */
static void
move_to_cur(struct store_folder *f, struct msg *m)
{
	char from[MAILDIR_NAME_MAX + 1], to[MAILDIR_NAME_MAX + 1];

	if (!view_file(f, m, from) || !maildir_print(view_base(f, m), m->upper, m->pub.keywords, to) ||
	    renameat2(box_sub(&f->box, BOX_NEW), from, box_sub(&f->box, BOX_CUR), to, RENAME_NOREPLACE) != 0) {
		f->dirty = true;	/* somebody else did it, or it is a double */
		return;
	}
	own_did(f, 1, 1);
	(void)view_set_file(f, m, IN_CUR, slice_of(to));
}

static bool
any_in_new(const struct store_folder *f, uint32_t from)
{
	while (from < f->n && f->msg[from].where != IN_NEW)
		from++;
	return from < f->n;
}

/* Candidates up to the first that is not there yet become visible.  Their UIDs are durable before. */
static enum store_error
publish(struct store_folder *f)
{
	uint32_t first = f->n, recent_from;
	enum store_error error;

	(void)view_remove(f, f->n, is_dead);
	if (f->n == f->m || f->msg[f->n].absent)
		return STORE_OK;
	error = uidlist_sync(&f->box.uids);
	if (error != STORE_OK)
		return error;
	while (f->n < f->m && !f->msg[f->n].absent)
		f->n++;
	recent_from = claim_recent(f);
	if (!f->readonly && any_in_new(f, first))
		own_begin(f);
	for (uint32_t i = first; i < f->n; i++) {
		struct msg *m = &f->msg[i];

		m->changed = m->late = false;
		if (m->pub.uid >= recent_from)
			m->pub.flags |= STORE_RECENT;
		if (!f->readonly && m->where == IN_NEW)
			move_to_cur(f, m);
	}
	own_end(f);
	return f->some_unnoted ? view_note(f, NULL, 0) : STORE_OK;
}

/* ---- open ---- */

static enum store_error
fill(struct store_folder *f)
{
	enum store_error error = read_index_surely(f);
	bool changed;

	if (error == STORE_OK)
		error = keywords_load(&f->box.keywords, f->box.dir, &changed);
	if (error == STORE_OK && scan_needed(f))
		error = scan_folder(f);
	if (error == STORE_OK)
		error = publish(f);
	if (error == STORE_OK)
		view_sync(f);
	return error;
}

struct store_folder *
store_folder_open(struct store *s, struct slice name, bool readonly, enum store_error *error)
{
	char canonical[STORE_NAME_MAX + 1];
	struct store_folder *f;
	bool replaced;

	if (!store_name_check(name, false, canonical)) {
		*error = STORE_NAME;
		return NULL;
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL) {
		*error = STORE_MEMORY;
		return NULL;
	}
	f->readonly = readonly;
	f->watch[0] = f->watch[1] = f->own_watch[0] = f->own_watch[1] = -1;
	buf_init(&f->names, NAMES_OCTETS);
	buf_init(&f->made, CACHE_RECORD_MAX);
	*error = STORE_IO;
	if (getrandom(f->hash_key, sizeof(f->hash_key), 0) == (ssize_t)sizeof(f->hash_key))
		*error = box_open(&f->box, s, canonical);
	if (store_done(s, *error) != STORE_OK) {
		free(f);
		return NULL;
	}
	f->uidvalidity = f->box.uids.uidvalidity;
	f->next = s->views;
	s->views = f;
	*error = store_done(s, fill(f));
	if (*error != STORE_OK) {
		store_folder_close(f);
		return NULL;
	}
	if (!readonly && uidlist_compact(&f->box.uids, &replaced) == STORE_OK && replaced)
		(void)view_read_index(f);
	return f;
}

void
store_folder_close(struct store_folder *f)
{
	int saved = errno;

	if (f == NULL)
		return;
	(void)store_folder_watch(f, false);
	own_close(f);
	cache_flush(&f->box);
	cache_compact(f);
	for (struct store_folder **p = &f->box.store->views; *p != NULL; p = &(*p)->next) {
		if (*p == f) {
			*p = f->next;
			break;
		}
	}
	buf_clear(&f->made);
	free(f->uidl);
	view_clear(f);
	box_close(&f->box);
	free(f);
	errno = saved;
}

/* ---- refresh ---- */

static bool
is_gone(const struct msg *m)
{
	return m->pub.gone;
}

/* The numbers are those of before; told from the highest down each is right when it is read. */
static enum store_error
tell_expunged(struct store_folder *f, const struct store_changes *c)
{
	struct { uint32_t seq, uid; } *gone;
	uint32_t n = 0, k = 0;

	for (uint32_t i = 0; i < f->n && f->some_gone; i++)
		n += f->msg[i].pub.gone;
	if (n == 0)
		return STORE_OK;
	gone = reallocarray(NULL, n, sizeof(*gone));
	if (gone == NULL)
		return STORE_MEMORY;
	for (uint32_t i = f->n; i > 0; i--) {
		if (f->msg[i - 1].pub.gone) {
			gone[k].seq = i;
			gone[k++].uid = f->msg[i - 1].pub.uid;
		}
	}
	(void)view_remove(f, 0, is_gone);
	f->some_gone = false;
	for (uint32_t i = 0; i < n && c->expunged != NULL; i++)
		c->expunged(c->ctx, gone[i].seq, gone[i].uid);
	free(gone);
	return STORE_OK;
}

static void
tell_flags(struct store_folder *f, const struct store_changes *c)
{
	for (uint32_t i = 0; i < f->n && f->some_changed; i++) {
		if (!f->msg[i].changed)
			continue;
		f->msg[i].changed = false;
		if (f->msg[i].pub.flags == f->msg[i].told_flags && f->msg[i].pub.keywords == f->msg[i].told_keywords)
			continue;	/* there and back */
		if (c->flags != NULL && !f->msg[i].pub.gone)
			c->flags(c->ctx, i + 1);
	}
	f->some_changed = false;
}

static bool
deleted_under_us(const struct store_folder *f)
{
	struct stat st;

	return fstat(f->box.dir, &st) == 0 && st.st_nlink == 0;
}

enum store_error
store_folder_refresh(struct store_folder *f, unsigned how, const struct store_changes *c)
{
	struct store *s = f->box.store;
	enum store_error error = STORE_OK;
	uint32_t before;
	bool changed = false, scanned;

	if (deleted_under_us(f))
		return STORE_NONEXISTENT;
	cache_flush(&f->box);
	f->parts.uid = 0;
	scanned = scan_needed(f);
	if (scanned)
		error = scan_folder(f);
	if (error == STORE_OK && (scanned || f->new_keywords)) {
		f->new_keywords = false;
		error = keywords_load(&f->box.keywords, f->box.dir, &changed);
		f->keywords_changed |= changed;
	}
	if (error == STORE_OK && (how & STORE_REFRESH_EXPUNGE) != 0)
		error = tell_expunged(f, c);
	if (error != STORE_OK)
		return store_done(s, error);
	before = f->n;
	error = publish(f);
	if (error == STORE_OK)
		view_sync(f);
	if (f->n > before && c->added != NULL)
		c->added(c->ctx, f->n, store_folder_recent(f));
	if (f->keywords_changed && c->keywords != NULL)
		c->keywords(c->ctx);
	f->keywords_changed = false;
	tell_flags(f, c);
	return store_done(s, error);
}

/* ---- what it says ---- */

const char *
store_folder_name(const struct store_folder *f)
{
	return f->box.name;
}

uint32_t
store_folder_count(const struct store_folder *f)
{
	return f->n;
}

uint32_t
store_folder_recent(const struct store_folder *f)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->n; i++)
		n += (f->msg[i].pub.flags & STORE_RECENT) != 0;
	return n;
}

uint32_t
store_folder_unseen(const struct store_folder *f)
{
	for (uint32_t i = 0; i < f->n; i++) {
		if ((f->msg[i].pub.flags & STORE_SEEN) == 0)
			return i + 1;
	}
	return 0;
}

uint32_t
store_folder_uidvalidity(const struct store_folder *f)
{
	return f->uidvalidity;
}

/* Candidates will come with the UIDs they have: the next is what follows the view. */
uint32_t
store_folder_uidnext(const struct store_folder *f)
{
	return f->n < f->m ? f->msg[f->n].pub.uid : f->box.uids.uidnext;
}

const struct store_message *
store_folder_at(const struct store_folder *f, uint32_t seq)
{
	return &f->msg[seq - 1].pub;
}

const char *
store_folder_keyword(const struct store_folder *f, unsigned bit)
{
	return bit < STORE_KEYWORDS ? f->box.keywords.name[bit] : NULL;
}

int
store_folder_keyword_bit(const struct store_folder *f, struct slice name)
{
	return keywords_find(&f->box.keywords, name);
}

bool
store_folder_keyword_room(const struct store_folder *f)
{
	for (size_t i = 0; i < STORE_KEYWORDS; i++) {
		if (f->box.keywords.name[i] == NULL)
			return true;
	}
	return false;
}

struct slice
view_uidl(const struct store_folder *f, uint32_t uid)
{
	size_t low = 0, high = f->uidl_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (f->uidl[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < f->uidl_n && f->uidl[low].uid == uid ? slice_of(f->uidl[low].text) : (struct slice){ 0 };
}

void
store_message_uidl(const struct store_folder *f, uint32_t seq, char out[72])
{
	struct slice taken = view_uidl(f, f->msg[seq - 1].pub.uid);

	if (taken.ptr != NULL && slice_text(taken, out, 72))
		return;
	/* Dovecot's default form (%08Xu%08Xv): who comes from it downloads nothing again. */
	(void)snprintf(out, 72, "%08" PRIx32 "%08" PRIx32, f->msg[seq - 1].pub.uid, f->uidvalidity);
}
