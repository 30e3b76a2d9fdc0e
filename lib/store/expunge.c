/* expunge.c: messages are removed for good.  Needs no space on the disk: an unlink, a
 * sync of the directory; the entry in the index is best effort. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

struct removal {
	struct store_folder *f;
	bool		 any_flag;	/* whether \Deleted is set or not */
	bool		 touched[2];	/* directories, by enum msg_where */
	uint32_t	*uid;		/* removed */
	size_t		 n;
	int64_t		 octets;
};

static uint64_t
file_size(struct store_folder *f, struct msg *m)
{
	char file[MAILDIR_NAME_MAX + 1];
	struct stat st;
	uint64_t size;

	if (maildir_size(view_base(f, m), 'S', &size))
		return size;
	if (m->size == 0 && view_file(f, m, file) &&
	    fstatat(view_file_dir(f, m), file, &st, AT_SYMLINK_NOFOLLOW) == 0)
		m->size = (uint64_t)st.st_size;
	return m->size;
}

/* STORE_GONE if the file is not where the view thinks. */
static enum store_error
remove_one(struct removal *r, struct msg *m)
{
	struct store_folder *f = r->f;
	char file[MAILDIR_NAME_MAX + 1];
	uint64_t size = f->box.store->quota == 0 ? 0 : file_size(f, m);

	if (!r->any_flag && (m->pub.flags & STORE_DELETED) == 0)
		return STORE_OK;
	if (!view_file(f, m, file))
		return STORE_NAME;
	if (unlinkat(view_file_dir(f, m), file, 0) != 0)
		return errno == ENOENT ? STORE_GONE : store_from_errno(errno);
	r->touched[m->where] = true;
	own_did(f, m->where == IN_CUR, m->where == IN_NEW);
	r->octets += (int64_t)size;
	r->uid[r->n++] = m->pub.uid;
	view_forget(f, m);
	m->noted = true;
	return STORE_OK;
}

static enum store_error
remove_all(struct removal *r, const uint32_t *uid, size_t n)
{
	bool scanned = false;

	for (size_t i = 0; i < n; i++) {
		struct msg *m = uid == NULL ? &r->f->msg[i] : view_uid(r->f, uid[i]);
		enum store_error error;

		if (m == NULL || m->pub.gone)
			continue;
		error = remove_one(r, m);
		if (error == STORE_GONE && !scanned) {
			scanned = true;
			error = scan_folder(r->f);
			i--;
		} else if (error == STORE_GONE) {
			r->f->dirty = true;
			error = STORE_OK;
		}
		if (error != STORE_OK)
			return error;
	}
	return STORE_OK;
}

static enum store_error
finish(struct removal *r)
{
	struct store_folder *f = r->f;
	enum store_error error = STORE_OK;

	for (int i = 0; i < 2; i++) {
		if (r->touched[i] && fsync(box_sub(&f->box, i == IN_NEW ? BOX_NEW : BOX_CUR)) != 0)
			error = store_from_errno(errno);
	}
	box_gone(&f->box, r->uid, r->n);
	quota_add(f->box.store, f->box.name, -r->octets, -(int64_t)r->n);
	return error;
}

static enum store_error
remove_messages(struct store_folder *f, const uint32_t *uid, size_t n, bool any_flag)
{
	struct removal r = { .f = f, .any_flag = any_flag };
	enum store_error error = STORE_OK, finished;

	/* Others may have set \\Deleted meanwhile, or taken it back. */
	if (!any_flag && scan_needed(f))
		error = scan_folder(f);
	if (error != STORE_OK)
		return store_done(f->box.store, error);

	if (uid == NULL)
		n = f->n;
	r.uid = reallocarray(NULL, n + 1, sizeof(*r.uid));
	if (r.uid == NULL)
		return STORE_MEMORY;
	own_begin(f);
	error = remove_all(&r, uid, n);
	finished = finish(&r);
	own_end(f);
	view_sync(f);
	free(r.uid);
	return store_done(f->box.store, error != STORE_OK ? error : finished);
}

enum store_error
store_folder_expunge(struct store_folder *f, const uint32_t *uid, size_t n)
{
	return f->readonly ? STORE_READONLY : remove_messages(f, uid, n, false);
}

enum store_error
store_folder_remove(struct store_folder *f, const uint32_t *uid, size_t n)
{
	return uid == NULL ? STORE_OK : remove_messages(f, uid, n, true);
}
