/* folders.c: make, delete and rename folders, each a directory ".name" of the Maildir. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

#define RENAME_FILE	"pennypost-rename"	/* an unfinished rename: old name, new name, a line each */
#define TREE_DEPTH	4			/* directories within a folder that we remove */

/* ---- remove a tree ---- */

struct remover {
	int	dir;
	int	depth;
};

static void remove_tree(int dir, const char *name, int depth);

static bool
remove_entry(void *ctx, const char *name, unsigned char type)
{
	struct remover *r = ctx;

	if ((type == DT_DIR || type == DT_UNKNOWN) && r->depth > 0)
		remove_tree(r->dir, name, r->depth - 1);
	if (type != DT_DIR)
		(void)unlinkat(r->dir, name, 0);
	return true;
}

static void
remove_tree(int dir, const char *name, int depth)
{
	struct remover r = { .dir = store_open_dir(dir, name, false), .depth = depth };

	if (r.dir >= 0) {
		(void)store_read_dir(r.dir, remove_entry, &r);
		(void)close(r.dir);
	}
	(void)unlinkat(dir, name, AT_REMOVEDIR);
}

void
folders_remove_tree(int dir, const char *name)
{
	remove_tree(dir, name, TREE_DEPTH);
}

/* ---- create ---- */

static void
hidden_name(struct store *s, struct buf *out)
{
	buf_init(out, MAILDIR_NAME_MAX);
	(void)buf_text(out, FOLDERS_HIDDEN);
	store_unique(s, out);
}

static bool
fill_folder(int dir)
{
	int fd;

	if (mkdirat(dir, "tmp", 0700) != 0 || mkdirat(dir, "new", 0700) != 0 || mkdirat(dir, "cur", 0700) != 0)
		return false;
	fd = openat(dir, "maildirfolder", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	(void)close(fd);
	return fsync(dir) == 0;
}

/* Made whole under a hidden name, then renamed: nobody sees half a folder. */
static enum store_error
make_folder(struct store *s, const char *name)
{
	char dir_name[STORE_NAME_MAX + 2];
	enum store_error error = STORE_OK;
	struct buf hidden;
	int dir;

	store_dir_name(name, dir_name);
	hidden_name(s, &hidden);
	if (mkdirat(s->dir, buf_cstr(&hidden), 0700) != 0) {
		error = store_from_errno(errno);
		buf_clear(&hidden);
		return error;
	}
	dir = store_open_dir(s->dir, buf_cstr(&hidden), false);
	if (dir < 0 || !fill_folder(dir) ||
	    renameat2(s->dir, buf_cstr(&hidden), s->dir, dir_name, RENAME_NOREPLACE) != 0 ||
	    fsync(s->dir) != 0)
		error = store_from_errno(errno);
	if (dir >= 0)
		(void)close(dir);
	if (error != STORE_OK) {
		int saved = errno;

		folders_remove_tree(s->dir, buf_cstr(&hidden));
		errno = saved;
	}
	buf_clear(&hidden);
	return error;
}

enum store_error
folders_make_default(struct store *s)
{
	static const char *const names[] = { "Sent", "Drafts", "Trash", "Junk", "Archive" };
	struct buf lines;
	enum store_error error = STORE_OK;

	for (size_t i = 0; i < LEN(names) && error == STORE_OK; i++) {
		error = make_folder(s, names[i]);
		if (error == STORE_EXISTS)
			error = STORE_OK;
	}
	buf_init(&lines, 4 * 1024 * 1024);
	if (error == STORE_OK)
		error = subscriptions_read(s, &lines);
	if (error == STORE_OK && lines.len == 0) {
		(void)buf_text(&lines, "INBOX\n");
		for (size_t i = 0; i < LEN(names); i++)
			(void)buf_fmt(&lines, "%s\n", names[i]);
		error = subscriptions_write(s, buf_slice_of(&lines));
	}
	buf_clear(&lines);
	return error;
}

static bool
count_entry(void *ctx, const char *name, unsigned char type)
{
	size_t *n = ctx;

	(void)type;
	*n += name[0] == '.';
	return *n <= STORE_FOLDERS_MAX;
}

static bool
folder_there(const struct store *s, const char *name)
{
	char dir_name[STORE_NAME_MAX + 2];
	struct stat st;

	store_dir_name(name, dir_name);
	return fstatat(s->dir, dir_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

bool
store_exists(struct store *s, struct slice name)
{
	char canonical[STORE_NAME_MAX + 1];

	return store_name_check(name, false, canonical) && folder_there(s, canonical);
}

/* The levels above name, and with `self` name too; those that are there stay. */
static enum store_error
make_levels(struct store *s, const char *name, bool self)
{
	char level[STORE_NAME_MAX + 1];
	enum store_error error = STORE_OK;
	size_t len = strlen(name), count = 0;

	error = store_read_dir(s->dir, count_entry, &count);
	if (error == STORE_OK && count > STORE_FOLDERS_MAX)
		error = STORE_LIMIT;
	for (size_t i = 1; i <= len && error == STORE_OK; i++) {
		if (name[i] != STORE_SEPARATOR && name[i] != '\0')
			continue;
		if (name[i] == '\0' && !self)
			break;
		memcpy(level, name, i);
		level[i] = '\0';
		if (!folder_there(s, level))
			error = make_folder(s, level);
	}
	return error;
}

enum store_error
store_create(struct store *s, struct slice name)
{
	char canonical[STORE_NAME_MAX + 1];
	enum store_error error;
	int lock;

	if (!store_name_check(name, true, canonical))
		return STORE_NAME;
	if (folder_there(s, canonical))
		return STORE_EXISTS;
	error = store_uidvalidity_lock(s, &lock);
	if (error != STORE_OK)
		return store_done(s, error);
	error = store_done(s, make_levels(s, canonical, true));
	(void)close(lock);
	return error;
}

/* ---- delete ---- */

enum store_error
store_delete(struct store *s, struct slice name)
{
	char canonical[STORE_NAME_MAX + 1], dir_name[STORE_NAME_MAX + 2];
	enum store_error error = STORE_OK;
	struct buf hidden;

	if (!store_name_check(name, false, canonical))
		return STORE_NAME;
	if (strcmp(canonical, "INBOX") == 0)
		return STORE_CANNOT;
	if (!folder_there(s, canonical))
		return STORE_NONEXISTENT;
	store_dir_name(canonical, dir_name);
	hidden_name(s, &hidden);
	/* One rename makes it durable; a crash after it leaves work for store_clean(). */
	if (renameat(s->dir, dir_name, s->dir, buf_cstr(&hidden)) != 0 || fsync(s->dir) != 0)
		error = store_from_errno(errno);
	error = store_done(s, error);
	if (error == STORE_OK) {
		quota_forget(s);
		folders_remove_tree(s->dir, buf_cstr(&hidden));
	}
	buf_clear(&hidden);
	return error;
}

/* ---- rename ---- */

struct renamer {
	struct store	*store;
	const char	*from, *to;	/* folders */
	size_t		 n;		/* directories to be renamed */
	bool		 act;		/* false: only look whether it can be done */
	enum store_error error;
};

/* ".from" or ".from.x" to ".to" or ".to.x"; false if the directory is neither, or the name too long. */
static bool
new_dir_name(struct renamer *r, const char *dir, char out[STORE_NAME_MAX + 2])
{
	size_t from_len = strlen(r->from);
	int len;

	if (dir[0] != '.' || strncmp(dir + 1, r->from, from_len) != 0 ||
	    (dir[1 + from_len] != '\0' && dir[1 + from_len] != STORE_SEPARATOR))
		return false;
	len = snprintf(out, STORE_NAME_MAX + 2, ".%s%s", r->to, dir + 1 + from_len);
	if (len <= STORE_NAME_MAX + 1)
		return true;
	r->error = STORE_NAME;
	return false;
}

static bool
rename_entry(void *ctx, const char *name, unsigned char type)
{
	struct renamer *r = ctx;
	char fresh[STORE_NAME_MAX + 2];
	struct stat st;

	(void)type;
	if (!new_dir_name(r, name, fresh))
		return r->error == STORE_OK;
	r->n++;
	if (!r->act && fstatat(r->store->dir, fresh, &st, AT_SYMLINK_NOFOLLOW) == 0)
		r->error = STORE_EXISTS;
	/* ENOENT: readdir showed it again after we had renamed it. */
	if (r->act && renameat2(r->store->dir, name, r->store->dir, fresh, RENAME_NOREPLACE) != 0 &&
	    errno != ENOENT && r->error == STORE_OK)
		r->error = store_from_errno(errno);
	return r->act || r->error == STORE_OK;
}

static enum store_error
rename_all(struct renamer *r, bool act)
{
	enum store_error error;

	r->act = act;
	r->n = 0;
	error = store_read_dir(r->store->dir, rename_entry, r);
	return error != STORE_OK ? error : r->error;
}

/* With several directories a crash may come between two of them: what is to be
 * done is written down first, and store_open() finishes it. */
static enum store_error
rename_noted(struct renamer *r)
{
	struct store *s = r->store;
	bool note = r->n > 1;
	enum store_error error = STORE_OK;
	struct buf text;

	if (note) {
		buf_init(&text, 4 * STORE_NAME_MAX);
		(void)buf_fmt(&text, "%s\n%s\n", r->from, r->to);
		error = store_write_file(s, s->dir, RENAME_FILE, buf_slice_of(&text));
		buf_clear(&text);
	}
	if (error == STORE_OK)
		error = rename_all(r, true);
	if (error == STORE_OK && fsync(s->dir) != 0)
		error = store_from_errno(errno);
	if (note && error == STORE_OK && (unlinkat(s->dir, RENAME_FILE, 0) != 0 || fsync(s->dir) != 0))
		error = store_from_errno(errno);
	return error;
}

enum store_error
folders_finish_rename(struct store *s)
{
	struct renamer r = { .store = s };
	char from[STORE_NAME_MAX + 1], to[STORE_NAME_MAX + 1];
	struct slice rest;
	struct stat st;
	struct buf text;
	int lock;

	if (fstatat(s->dir, RENAME_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return STORE_OK;
	if (store_uidvalidity_lock(s, &lock) != STORE_OK)
		return STORE_OK;	/* whoever has the lock is at it, or the next one will be */
	buf_init(&text, 8192);
	if (store_read_file(s->dir, RENAME_FILE, 4000, &text) == STORE_OK) {
		rest = buf_slice_of(&text);
		if (store_name_check(slice_cut(&rest, '\n'), false, from) &&
		    store_name_check(slice_cut(&rest, '\n'), false, to)) {
			r.from = from;
			r.to = to;
			if (rename_all(&r, true) == STORE_OK && fsync(s->dir) == 0)
				(void)unlinkat(s->dir, RENAME_FILE, 0);
			store_say(s, "finished the interrupted rename of folder %s to %s", from, to);
		} else {
			(void)unlinkat(s->dir, RENAME_FILE, 0);
		}
	}
	buf_clear(&text);
	(void)close(lock);
	return STORE_OK;
}

/* INBOX is not renamed: its messages move, and it stays (RFC 3501 section 6.3.5). */
static enum store_error
rename_inbox(struct store *s, const char *to)
{
	struct store_folder *f;
	enum store_error error;
	uint32_t *uid, uidvalidity;
	size_t moved;

	error = make_folder(s, to);
	if (error != STORE_OK)
		return error;
	f = store_folder_open(s, SLICE("INBOX"), false, &error);
	if (f == NULL)
		return error;
	uid = reallocarray(NULL, (size_t)store_folder_count(f) + 1, sizeof(*uid));
	for (uint32_t i = 1; uid != NULL && i <= store_folder_count(f); i++)
		uid[i - 1] = store_folder_at(f, i)->uid;
	error = uid == NULL ? STORE_MEMORY :
	    store_folder_move(f, uid, store_folder_count(f), slice_of(to), NULL, &moved, &uidvalidity);
	free(uid);
	store_folder_close(f);
	return error;
}

static bool
is_below(const char *name, const char *above)
{
	size_t len = strlen(above);

	return strncmp(name, above, len) == 0 && (name[len] == STORE_SEPARATOR || name[len] == '\0');
}

static enum store_error
rename_locked(struct store *s, const char *from, const char *to)
{
	struct renamer r = { .store = s, .from = from, .to = to };
	enum store_error error = STORE_OK;

	if (strcmp(from, "INBOX") != 0) {
		error = rename_all(&r, false);
		if (error == STORE_OK && r.n == 0)
			error = STORE_NONEXISTENT;
	}
	if (error == STORE_OK)
		error = make_levels(s, to, false);
	if (error == STORE_OK && strcmp(from, "INBOX") != 0)
		error = rename_noted(&r);
	return error;
}

/* The use that a folder has by its name alone, which a rename would take from it. */
static enum store_special
special_by_name(struct store *s, const char *name)
{
	enum store_special special = STORE_SPECIAL_NONE;
	struct store_list *list;

	if (store_list(s, 0, &list) != STORE_OK)
		return special;
	for (size_t i = 0; i < list->n; i++)
		if (strcmp(list->at[i].name, name) == 0)
			special = list->at[i].special;
	free(list);
	return annotations_special(s, name) == STORE_SPECIAL_NONE ? special : STORE_SPECIAL_NONE;
}

enum store_error
store_rename(struct store *s, struct slice from, struct slice to)
{
	char old[STORE_NAME_MAX + 1], fresh[STORE_NAME_MAX + 1];
	enum store_special special;
	enum store_error error;
	int lock;

	if (!store_name_check(from, false, old) || !store_name_check(to, true, fresh))
		return STORE_NAME;
	if (folder_there(s, fresh))
		return STORE_EXISTS;
	/* A folder cannot go into itself, nor onto the level that holds it. */
	if (strcmp(old, "INBOX") != 0 && (is_below(fresh, old) || is_below(old, fresh)))
		return STORE_CANNOT;
	special = special_by_name(s, old);
	error = store_uidvalidity_lock(s, &lock);
	if (error != STORE_OK)
		return store_done(s, error);
	error = store_done(s, rename_locked(s, old, fresh));
	(void)close(lock);
	if (error == STORE_OK && special != STORE_SPECIAL_NONE)
		error = store_set_special(s, slice_of(fresh), special);
	if (error == STORE_OK && strcmp(old, "INBOX") == 0)
		error = store_done(s, rename_inbox(s, fresh));	/* takes that lock itself */
	quota_forget(s);	/* to or from Trash it counts otherwise */
	return error;
}
