/* flags.c: flags and keywords, which are letters of the file's name. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

/* Letters P and unknown ones are not ours to touch. */
static void
new_letters(const struct msg *m, const struct store_flags *c, uint32_t keywords, uint32_t *upper, uint32_t *lower)
{
	const uint8_t set = (uint8_t)(c->flags & STORE_FLAGS_IMAP);
	uint8_t flags = m->pub.flags & (STORE_FLAGS_IMAP | STORE_PASSED);

	*lower = keywords;
	switch (c->change) {
	case STORE_ADD:
		flags |= set;
		*lower = m->pub.keywords | keywords;
		break;
	case STORE_REMOVE:
		flags = (uint8_t)(flags & ~set);
		*lower = m->pub.keywords & ~keywords;
		break;
	case STORE_REPLACE:
		flags = (uint8_t)((flags & STORE_PASSED) | set);
		break;
	}
	*upper = maildir_letters(flags, m->upper);
}

struct renamed {
	bool	cur, new;	/* directories that changed */
};

/*
 * A full disk may have no room for another name, but messages must be deletable
 * on it: then \Deleted, and what is set with it, is kept in the view until
 * EXPUNGE, which needs no room.  Should the session end before, nothing is lost.
 */
static bool
keep_unsaved(struct msg *m, const struct store_flags *c)
{
	if (c->change == STORE_REMOVE || (c->flags & STORE_DELETED) == 0 || c->keyword_n > 0)
		return false;
	m->unsaved |= (uint8_t)(c->flags & STORE_FLAGS_IMAP);
	m->pub.flags |= m->unsaved;
	return true;
}

/* One message; STORE_GONE if the file is not where the view thinks. */
static enum store_error
rename_one(struct store_folder *f, struct msg *m, const struct store_flags *c, uint32_t keywords, struct renamed *done)
{
	char from[MAILDIR_NAME_MAX + 1], to[MAILDIR_NAME_MAX + 1];
	uint32_t upper, lower;
	struct stat st;
	int dir = view_file_dir(f, m), cur = box_sub(&f->box, BOX_CUR);

	new_letters(m, c, keywords, &upper, &lower);
	if (!view_file(f, m, from) || !maildir_print(view_base(f, m), upper, lower, to))
		return STORE_CANNOT;	/* no room for the letters in a foreign name */
	/* Nothing to do, if the view is right about what it has. */
	if (upper == m->upper && lower == m->pub.keywords && m->unsaved == 0)
		return fstatat(dir, from, &st, AT_SYMLINK_NOFOLLOW) == 0 ? STORE_OK :
		    errno == ENOENT ? STORE_GONE : store_from_errno(errno);
	if (dir < 0 || cur < 0)
		return store_from_errno(errno);
	if (renameat(dir, from, cur, to) != 0) {
		enum store_error error = errno == ENOENT ? STORE_GONE : store_from_errno(errno);

		return error == STORE_NOSPACE && keep_unsaved(m, c) ? STORE_OK : error;
	}
	m->unsaved = 0;
	done->cur = true;
	done->new |= m->where == IN_NEW;
	own_did(f, m->where == IN_NEW ? 1 : 2, m->where == IN_NEW);
	return view_set_file(f, m, IN_CUR, slice_of(to));
}

/* A file that is not where we thought was renamed or removed by another: look, and try
 * again with the letters it has now. */
static enum store_error
change_all(struct store_folder *f, const uint32_t *uid, size_t n, const struct store_flags *c, uint32_t keywords,
    struct renamed *done)
{
	bool scanned = false;

	for (size_t i = 0; i < n; i++) {
		struct msg *m = view_uid(f, uid[i]);
		enum store_error error;

		if (m == NULL || m->pub.gone)
			continue;
		if (c->conditional && m->pub.modseq > c->unchangedsince) {
			c->failed[(*c->failed_n)++] = uid[i];
			continue;
		}
		error = rename_one(f, m, c, keywords, done);
		if (error == STORE_GONE && !scanned) {
			scanned = true;
			error = scan_folder(f);
			i--;	/* this one again */
		} else if (error == STORE_GONE) {
			f->dirty = true;
			error = STORE_OK;	/* the next refresh finds out what became of it */
		}
		if (error != STORE_OK)
			return error;
	}
	return STORE_OK;
}

static enum store_error
sync_dirs(struct store_folder *f, const struct renamed *done)
{
	if (done->cur && fsync(box_sub(&f->box, BOX_CUR)) != 0)
		return store_from_errno(errno);
	if (done->new && fsync(box_sub(&f->box, BOX_NEW)) != 0)
		return store_from_errno(errno);
	return STORE_OK;
}

/* Bits of those keywords that the view knows; are they all? */
static bool
known_keywords(const struct store_folder *f, const struct store_flags *c, uint32_t *bits)
{
	bool all = true;

	*bits = 0;
	for (size_t i = 0; i < c->keyword_n; i++) {
		int bit = keywords_find(&f->box.keywords, c->keyword[i]);

		if (bit >= 0)
			*bits |= 1u << bit;
		else
			all = false;
	}
	return all;
}

/* Bits of the keywords named; other sessions may have made them; those that must be added need the lock. */
static enum store_error
find_keywords(struct store_folder *f, const struct store_flags *c, uint32_t *bits)
{
	enum store_error error;
	bool replaced, changed;

	if (known_keywords(f, c, bits))
		return STORE_OK;
	error = keywords_load(&f->box.keywords, f->box.dir, &changed);
	f->keywords_changed |= changed;
	if (error != STORE_OK || known_keywords(f, c, bits) || c->change == STORE_REMOVE)
		return error;
	error = uidlist_lock(&f->box.uids, &replaced);
	if (error == STORE_OK)
		error = box_keywords(&f->box, c->keyword, c->keyword_n, false, bits);
	uidlist_unlock(&f->box.uids);
	f->keywords_changed = true;
	return error;
}

enum store_error
store_folder_flags(struct store_folder *f, const uint32_t *uid, size_t n, const struct store_flags *change)
{
	struct store *s = f->box.store;
	struct renamed done = { 0 };
	enum store_error error, noted, sync_error = STORE_OK;
	bool others_unnoted;
	uint32_t keywords;

	if (f->readonly)
		return STORE_READONLY;
	error = find_keywords(f, change, &keywords);
	if (error != STORE_OK)
		return store_done(s, error);
	if (change->conditional) {
		*change->failed_n = 0;
		/* A rename that finds the name it expects is the proof that nobody else was quicker. */
		if (scan_needed(f))
			error = scan_folder(f);
		if (error != STORE_OK)
			return store_done(s, error);
	}
	own_begin(f);
	others_unnoted = f->some_unnoted;
	error = change_all(f, uid, n, change, keywords, &done);
	noted = view_note(f, uid, n);
	if (noted == STORE_OK && !f->dirty)
		f->some_unnoted = others_unnoted;
	own_end(f);
	view_sync(f);
	if (error == STORE_OK)
		error = noted;
	if ((change->how & STORE_UNSYNCED) == 0)
		sync_error = sync_dirs(f, &done);
	return store_done(s, error != STORE_OK ? error : sync_error);
}
