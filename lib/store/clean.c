/* clean.c: what the dead left behind: files in tmp/ that nobody finishes, folders that
 * were being made or removed, half-written index files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

struct cleaner {
	int		 dir;
	const char	*prefix;	/* only these; NULL: all */
	bool		 tree;		/* they are directories */
};

static bool
remove_old(void *ctx, const char *name, unsigned char type)
{
	struct cleaner *c = ctx;
	struct stat st;

	(void)type;
	if (c->prefix != NULL && strncmp(name, c->prefix, strlen(c->prefix)) != 0)
		return true;
	if (fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    time(NULL) - st.st_mtim.tv_sec < STORE_TMP_AGE_S || time(NULL) - st.st_ctim.tv_sec < STORE_TMP_AGE_S)
		return true;
	if (c->tree && S_ISDIR(st.st_mode))
		folders_remove_tree(c->dir, name);
	else if (!c->tree && S_ISREG(st.st_mode))
		(void)unlinkat(c->dir, name, 0);
	return true;
}

static void
clean_folder(int dir)
{
	struct cleaner files = { .dir = dir, .prefix = "pennypost-tmp." };
	struct cleaner indexes = { .dir = dir, .prefix = UIDLIST_FILE "." };
	struct cleaner tmp = { .dir = store_open_dir(dir, "tmp", false) };

	(void)store_read_dir(dir, remove_old, &files);
	(void)store_read_dir(dir, remove_old, &indexes);
	if (tmp.dir >= 0) {
		(void)store_read_dir(tmp.dir, remove_old, &tmp);
		(void)close(tmp.dir);
	}
}

void
store_clean(struct store *s)
{
	struct cleaner hidden = { .dir = s->dir, .prefix = FOLDERS_HIDDEN, .tree = true };
	char dir_name[STORE_NAME_MAX + 2];
	struct store_list *list;

	(void)store_read_dir(s->dir, remove_old, &hidden);
	if (store_list(s, 0, &list) != STORE_OK)
		return;
	for (size_t i = 0; i < list->n; i++) {
		int dir;

		if (!list->at[i].exists)
			continue;
		store_dir_name(list->at[i].name, dir_name);
		dir = store_open_dir(s->dir, dir_name, false);
		if (dir < 0)
			continue;
		clean_folder(dir);
		(void)close(dir);
	}
	free(list);
}
