/* group_box.c: the folders of a group; INBOX may stay open from one group to the next. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "group_int.h"

#define PATH_OCTETS	1400	/* of a Maildir below the mail root */

void
group_box_free(struct group_box *b)
{
	if (b == NULL)
		return;
	box_close(&b->box);
	free(b);
}

enum store_error
group_box_open(struct store *s, const char *name, struct group_box **out)
{
	struct group_box *b = s->kept;
	enum store_error error;

	*out = NULL;
	if (b != NULL && strcmp(b->box.name, name) == 0) {
		s->kept = NULL;
		if (uidlist_changed(&b->box.uids) != UIDLIST_REPLACED) {
			*out = b;
			return STORE_OK;
		}
		group_box_free(b);
	}
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return STORE_MEMORY;
	error = box_open(&b->box, s, name);
	if (error != STORE_OK) {
		free(b);
		return error;
	}
	*out = b;
	return STORE_OK;
}

void
group_box_done(struct group_box *b, bool well)
{
	struct store *s = b->box.store;
	struct stat st;

	if (!s->keep || !well || b->failed || s->kept != NULL || b->box.sub[BOX_NEW] < 0 ||
	    strcmp(b->box.name, "INBOX") != 0 || (b->new_ino == 0 && fstat(b->box.sub[BOX_NEW], &st) != 0)) {
		group_box_free(b);
		return;
	}
	if (b->new_ino == 0) {
		b->new_dev = st.st_dev;
		b->new_ino = st.st_ino;
	}
	b->touched[IN_CUR] = b->touched[IN_NEW] = b->added = false;
	b->next = NULL;
	keywords_clear(&b->box.keywords);
	s->kept = b;
}

bool
store_still_at(const struct store *s, int root, const char *path)
{
	char below[PATH_OCTETS];
	struct stat st;
	int n;

	if (s->kept == NULL)
		return false;
	n = snprintf(below, sizeof(below), "%s%snew", path, path[0] == '\0' ? "" : "/");
	return n > 0 && (size_t)n < sizeof(below) && fstatat(root, below, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == s->kept->new_dev && st.st_ino == s->kept->new_ino;
}
