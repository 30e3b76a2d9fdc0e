/* adopt.c: UIDs for files that the index does not know: put in by other tools, or
 * seen between deliver's rename and its entry in the index. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

static const char *
stray_name(const struct strays *s, const struct stray *t)
{
	return s->names.ptr + t->name_at;
}

/* The order in which they get UIDs: those of cur/ first when a folder is taken
 * over whole, then by the time in the name. */
struct order {
	const struct strays *s;
	bool		 first;
};

static int
by_arrival(const void *a, const void *b, void *ctx)
{
	const struct stray *x = a, *y = b;
	const struct order *o = ctx;

	if (o->first && x->where != y->where)
		return x->where == IN_CUR ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return strcmp(stray_name(o->s, x), stray_name(o->s, y));
}

/* Look at each file; those that are no files, or not there any more, get name_len 0. */
static void
examine(struct store_folder *f, struct strays *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct stray *t = &s->at[i];
		struct slice seconds = slice_of(stray_name(s, t));
		struct stat st;

		if (fstatat(box_sub(&f->box, t->where == IN_NEW ? BOX_NEW : BOX_CUR), stray_name(s, t), &st,
		    AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) {
			t->name_len = 0;
			continue;
		}
		t->date = st.st_mtim.tv_sec;
		t->size = (uint64_t)st.st_size;
		seconds = slice_cut(&seconds, '.');
		if (!slice_number(seconds, UINT64_MAX, &t->order))
			t->order = (uint64_t)t->date;
	}
}

/* An entry of the index is only written for a name that a power cut does not take back. */
static enum store_error
settle_names(struct store_folder *f, const struct strays *s)
{
	bool have[BOX_SUBS] = { false };

	for (size_t i = 0; i < s->n; i++)
		have[s->at[i].where == IN_NEW ? BOX_NEW : BOX_CUR] = true;
	for (size_t i = 0; i < BOX_SUBS; i++) {
		if (have[i] && fsync(box_sub(&f->box, (enum box_sub)i)) != 0)
			return store_from_errno(errno);
	}
	return STORE_OK;
}

static uint64_t
crlf_size_of(struct slice base)
{
	uint64_t size;

	return maildir_size(base, 'W', &size) ? size : 0;
}

/* It is in the view now, whoever gave it its UID. */
static enum store_error
take(struct store_folder *f, struct msg *m, const struct strays *s, const struct stray *t)
{
	m->absent = m->late = false;
	m->date = t->date;
	m->size = t->size;
	return view_set_file(f, m, (enum msg_where)t->where, slice_of(stray_name(s, t)));
}

static enum store_error
add_one(struct store_folder *f, const struct strays *s, const struct stray *t, struct buf *records)
{
	struct uidlist *u = &f->box.uids;
	struct uidlist_record add;
	struct maildir_name name;
	struct msg *m;
	uint64_t crlf;
	uint32_t uid;

	if (t->name_len == 0 || !maildir_parse(slice_of(stray_name(s, t)), &name))
		return STORE_OK;
	m = view_find(f, name.base);
	if (f->no_memory)
		return STORE_MEMORY;
	if (m != NULL && m->absent)	/* deliver or another session was quicker */
		return take(f, m, s, t);
	if (m != NULL) {		/* a double: the next look gives it a name of its own */
		f->dirty = true;
		return STORE_OK;
	}
	if (u->uidnext == UINT32_MAX)
		return STORE_LIMIT;
	crlf = crlf_size_of(name.base);
	add = (struct uidlist_record){
		.name = name.base, .when = t->date, .size = t->size, .crlf_size = crlf, .lower = name.lower,
		.upper = name.upper | (t->where == IN_NEW ? UIDLIST_IN_NEW : name.canonical ? 0 : UIDLIST_ODD),
		.saved = time(NULL),
	};
	uid = uidlist_put_new(u, records, &add);
	m = view_add(f, uid, name.base);
	if (m == NULL)
		return STORE_MEMORY;
	m->crlf_size = crlf;
	m->pub.modseq = u->modseq;
	m->noted_upper = add.upper;
	m->noted_lower = add.lower;
	m->saved = add.saved;
	return take(f, m, s, t);
}

/* With the lock. */
static enum store_error
add_all(struct store_folder *f, const struct strays *s, bool first)
{
	struct uidlist *u = &f->box.uids;
	enum store_error error = view_read_index(f);
	uint32_t had = f->m;
	struct buf records;
	bool recent_done = !first || u->uidnext != 1;

	(void)uidlist_next_modseq(u);
	buf_init(&records, 400 * (s->n + 2));
	for (size_t i = 0; i < s->n && error == STORE_OK; i++) {
		if (!recent_done && s->at[i].where == IN_NEW) {
			recent_done = true;	/* what was in cur/ already is not \Recent */
			uidlist_put_recent(u, &records, u->uidnext);
			u->recent = u->uidnext;
		}
		error = add_one(f, s, &s->at[i], &records);
	}
	if (!recent_done && error == STORE_OK) {
		uidlist_put_recent(u, &records, u->uidnext);
		u->recent = u->uidnext;
	}
	if (error == STORE_OK && records.len > 0)
		error = uidlist_append(u, &records);
	if (error != STORE_OK) {
		for (uint32_t i = had; i < f->m; i++) {
			view_forget(f, &f->msg[i]);
			f->msg[i].noted = true;	/* nothing to say of what the index may not hold */
		}
	}
	buf_clear(&records);
	return error;
}

enum store_error
adopt_strays(struct store_folder *f, struct strays *s)
{
	struct order order = { .s = s, .first = f->box.uids.uidnext == 1 };
	enum store_error error;
	bool replaced;

	examine(f, s);
	qsort_r(s->at, s->n, sizeof(*s->at), by_arrival, &order);
	error = settle_names(f, s);
	if (error == STORE_OK)
		error = uidlist_lock(&f->box.uids, &replaced);
	if (error == STORE_OK)
		error = add_all(f, s, order.first);
	uidlist_unlock(&f->box.uids);
	if (error == STORE_NOSPACE) {
		/* Known messages stay usable on a full disk; these come when there is room. */
		f->dirty = true;
		return STORE_OK;
	}
	return error;
}
