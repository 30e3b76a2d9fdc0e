/* scan.c: the directories against the view.  Files win: what is there is there,
 * under whatever name; what cannot be found, twice, is gone.
 *
 * readdir may miss a file that is renamed meanwhile, or show it twice.  So a
 * message is only taken for gone when a second look does not find it either and
 * its last known name does not exist; or when the index says that it is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

#define TRIES		4		/* looks before some candidates are left for the next time */
#define NAMES_OCTETS	(256u * 1024 * 1024)

struct scanner {
	struct store_folder *f;
	enum msg_where	 where;
	bool		 collect;	/* unknown files, into strays */
	struct strays	 strays;
	struct strays	 doubles;	/* second names of messages */
	enum store_error error;
};

static bool
put_stray(struct strays *s, const char *name, enum msg_where where)
{
	if (s->n == s->cap) {
		size_t cap = s->cap == 0 ? 64 : s->cap * 2;
		struct stray *at = reallocarray(s->at, cap, sizeof(*at));

		if (at == NULL)
			return false;
		s->at = at;
		s->cap = cap;
	}
	s->at[s->n++] = (struct stray){
		.name_at = s->names.len, .name_len = (uint8_t)strlen(name), .where = (uint8_t)where,
	};
	return buf_put(&s->names, name, strlen(name) + 1);
}

static bool
same_letters(const struct msg *m, const struct maildir_name *name)
{
	return m->upper == name->upper && m->pub.keywords == name->lower;
}

/* Is this file the one the view knows for m? */
static bool
same_file(const struct store_folder *f, const struct msg *m, enum msg_where where, const char *file)
{
	char known[MAILDIR_NAME_MAX + 1];

	return m->where == where && view_file(f, m, known) && strcmp(known, file) == 0;
}

static enum store_error
take_file(struct scanner *sc, struct msg *m, const char *file, const struct maildir_name *name)
{
	struct store_folder *f = sc->f;

	if (!m->absent) {
		if (!same_file(f, m, sc->where, file) && !put_stray(&sc->doubles, file, sc->where))
			return STORE_MEMORY;
		return STORE_OK;
	}
	m->absent = m->late = false;
	if ((((maildir_flags(name->upper) | m->unsaved) ^ m->pub.flags) & STORE_FLAGS_IMAP) != 0 ||
	    m->pub.keywords != name->lower)
		view_changes(f, m);
	/* Nearly always it is called what it was called. */
	if (m->where == sc->where && m->odd == NULL && same_letters(m, name) &&
	    (m->where == IN_NEW ? name->base.len == strlen(file) : name->canonical))
		return STORE_OK;
	return view_set_file(f, m, sc->where, slice_of(file));
}

static bool
see_entry(void *ctx, const char *file, unsigned char type)
{
	struct scanner *sc = ctx;
	struct maildir_name name;
	struct msg *m;

	if (type == DT_DIR || type == DT_LNK || !maildir_parse(slice_of(file), &name))
		return true;
	m = view_find(sc->f, name.base);
	if (sc->f->no_memory)
		sc->error = STORE_MEMORY;
	else if (m != NULL)
		sc->error = take_file(sc, m, file, &name);
	else if (sc->collect && !put_stray(&sc->strays, file, sc->where))
		sc->error = STORE_MEMORY;
	return sc->error == STORE_OK;
}

/* new/ first: a file that moves to cur/ meanwhile is then seen there. */
static enum store_error
look(struct scanner *sc, bool collect, bool all)
{
	static const struct { enum box_sub sub; enum msg_where where; } dirs[] = {
		{ BOX_NEW, IN_NEW }, { BOX_CUR, IN_CUR },
	};
	enum store_error error = STORE_OK;

	sc->collect = collect;
	for (size_t i = 0; i < (all ? LEN(dirs) : 1) && error == STORE_OK; i++) {
		int dir = box_sub(&sc->f->box, dirs[i].sub);

		if (dir < 0)
			return store_from_errno(errno);
		sc->where = dirs[i].where;
		error = store_read_dir(dir, see_entry, sc);
		if (error == STORE_OK)
			error = sc->error;
	}
	return error;
}

/* ---- what is gone ---- */

static bool
has_file(struct store_folder *f, const struct msg *m)
{
	char file[MAILDIR_NAME_MAX + 1];
	struct stat st;

	return view_file(f, m, file) && fstatat(view_file_dir(f, m), file, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool
is_missing(const struct msg *m)
{
	return m->absent && !m->late && !m->dead;
}

static bool
any_missing(const struct store_folder *f)
{
	for (uint32_t i = 0; i < f->m; i++) {
		if (is_missing(&f->msg[i]))
			return true;
	}
	return false;
}

/* After the second look: those still missing are gone.  Says so in the index. */
static enum store_error
bury(struct store_folder *f)
{
	uint32_t *uid = reallocarray(NULL, (size_t)f->m + 1, sizeof(*uid));
	size_t n = 0;

	if (uid == NULL)
		return STORE_MEMORY;
	for (uint32_t i = 0; i < f->m; i++) {
		struct msg *m = &f->msg[i];

		if (is_missing(m)) {
			if (has_file(f, m))
				m->absent = false;
			else
				view_forget(f, m);
		}
		if (m->dead && !m->noted) {
			m->noted = true;
			uid[n++] = m->pub.uid;
		}
	}
	box_gone(&f->box, uid, n);
	free(uid);
	return STORE_OK;
}

/* ---- two files with one base name ---- */

/* A tool made a copy with other flags: the second gets a name of its own. */
static void
separate(struct store_folder *f, const struct msg *m, const char *file, enum msg_where where)
{
	int dir = box_sub(&f->box, where == IN_NEW ? BOX_NEW : BOX_CUR);
	char known[MAILDIR_NAME_MAX + 1], to[MAILDIR_NAME_MAX + 1];
	struct maildir_name name;
	struct stat one, two;
	struct buf base;

	if (!view_file(f, m, known) || !maildir_parse(slice_of(file), &name) ||
	    fstatat(view_file_dir(f, m), known, &one, AT_SYMLINK_NOFOLLOW) != 0 ||
	    fstatat(dir, file, &two, AT_SYMLINK_NOFOLLOW) != 0 || one.st_ino == two.st_ino)
		return;		/* it was renamed while we looked, or is being linked and unlinked */
	buf_init(&base, MAILDIR_NAME_MAX);
	store_unique(f->box.store, &base);
	if (maildir_print(buf_slice_of(&base), name.upper, name.lower, to))
		(void)renameat2(dir, file, box_sub(&f->box, BOX_CUR), to, RENAME_NOREPLACE);
	buf_clear(&base);
}

static void
settle_doubles(struct scanner *sc)
{
	struct store_folder *f = sc->f;

	for (size_t i = 0; i < sc->doubles.n; i++) {
		const struct stray *d = &sc->doubles.at[i];
		const char *file = sc->doubles.names.ptr + d->name_at;
		struct maildir_name name;
		struct msg *m = maildir_parse(slice_of(file), &name) ? view_find(f, name.base) : NULL;

		if (m == NULL)
			continue;
		if (has_file(f, m)) {
			separate(f, m, file, d->where);
		} else {
			view_changes(f, m);
			(void)view_set_file(f, m, d->where, slice_of(file));
		}
		f->dirty = true;
	}
}

/* ---- when ---- */

bool
scan_needed(struct store_folder *f)
{
	struct uidlist_stamp now[2];
	bool settled;

	own_poll(f->box.store);
	own_check_late(f);
	if (f->dirty)
		return true;
	if (uidlist_changed(&f->box.uids) != UIDLIST_SAME && (view_read_index(f) != STORE_OK || f->box.uids.damaged))
		return true;
	return f->dirty || f->behind || !own_stamps(f, now, &settled) ||
	    !own_same(&now[0], &f->stamp[0]) || !own_same(&now[1], &f->stamp[1]);
}

/* ---- one scan ---- */

/* Nothing is known of those to be looked for. */
static void
forget_places(struct store_folder *f, bool all)
{
	f->sure = 0;
	for (uint32_t i = 0; i < f->m; i++) {
		if (all || f->msg[i].where == IN_NEW || f->msg[i].late) {
			f->msg[i].absent = true;
			f->msg[i].late = false;
		}
	}
}

static enum store_error
scan_once(struct scanner *sc)
{
	struct store_folder *f = sc->f;
	struct uidlist_stamp now[2];
	enum store_error error;
	bool settled = false, all;

	if (!own_stamps(f, now, &settled))
		return store_from_errno(errno);
	f->own_spoiled = true;	/* which of our changes the stamps have in them is not known */
	/* cur/ is as it was: what is missing in new/ is the only reason to read it. */
	all = f->dirty || !own_same(&now[IN_CUR], &f->stamp[IN_CUR]);
	f->dirty = !settled;
	f->behind = false;
	forget_places(f, all);
	error = look(sc, true, all);
	if (error == STORE_OK && !all && any_missing(f)) {
		forget_places(f, true);
		error = look(sc, true, true);
		all = true;
	}
	if (error == STORE_OK && all && any_missing(f))
		error = look(sc, false, true);
	if (error != STORE_OK) {
		f->dirty = true;
		return error;
	}
	f->stamp[0] = now[0];
	f->stamp[1] = now[1];
	settle_doubles(sc);
	error = bury(f);
	if (error == STORE_OK && sc->strays.n > 0)
		error = adopt_strays(f, &sc->strays);
	if (error == STORE_OK && f->some_unnoted)
		error = view_note(f, NULL, 0);
	return error;
}

static bool
any_late(const struct store_folder *f)
{
	for (uint32_t i = f->n; i < f->m; i++) {
		if (f->msg[i].late && !f->msg[i].dead)
			return true;
	}
	return false;
}

enum store_error
scan_folder(struct store_folder *f)
{
	enum store_error error = STORE_OK;

	for (int tries = 0; tries < TRIES; tries++) {
		struct scanner sc = { .f = f };

		error = view_read_index(f);
		if (error != STORE_OK)
			break;
		buf_init(&sc.strays.names, NAMES_OCTETS);
		buf_init(&sc.doubles.names, NAMES_OCTETS);
		error = scan_once(&sc);
		buf_clear(&sc.strays.names);
		buf_clear(&sc.doubles.names);
		free(sc.strays.at);
		free(sc.doubles.at);
		if (error != STORE_OK || !any_late(f))
			break;
	}
	if (error != STORE_OK || any_late(f))
		f->dirty = true;
	return error;
}
