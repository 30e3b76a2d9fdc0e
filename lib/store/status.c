/* status.c: STATUS, remembered while a folder does not change. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

#define REMEMBERED 1000		/* folders */

/* What changes when anything in a folder does. */
struct stamp {
	ino_t		ino[3];		/* cur, new, index */
	struct timespec	mtime[3];
	off_t		size;		/* of the index */
};

struct status_cache {
	struct status_cache *next;
	struct stamp	 stamp;
	bool		 with_size;
	struct store_status status;
	char		 name[STORE_NAME_MAX + 1];
};

/* False if the folder changed just now: a later change may leave the same times. */
static bool
take_stamp(const struct store *s, const char *name, struct stamp *out)
{
	static const char *const parts[3] = { "cur", "new", UIDLIST_FILE };
	char dir_name[STORE_NAME_MAX + 2];
	struct timespec now;
	bool good = true;
	int dir;

	*out = (struct stamp){ 0 };
	store_dir_name(name, dir_name);
	dir = store_open_dir(s->dir, dir_name, false);
	if (dir < 0)
		return false;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	for (size_t i = 0; i < LEN(parts); i++) {
		struct stat st = { 0 };

		if (fstatat(dir, parts[i], &st, AT_SYMLINK_NOFOLLOW) != 0 || now.tv_sec - st.st_mtim.tv_sec < 2)
			good = false;
		out->ino[i] = st.st_ino;
		out->mtime[i] = st.st_mtim;
		out->size = st.st_size;
	}
	(void)close(dir);
	return good;
}

static bool
same_stamp(const struct stamp *a, const struct stamp *b)
{
	for (size_t i = 0; i < LEN(a->ino); i++) {
		if (a->ino[i] != b->ino[i] || a->mtime[i].tv_sec != b->mtime[i].tv_sec ||
		    a->mtime[i].tv_nsec != b->mtime[i].tv_nsec)
			return false;
	}
	return a->size == b->size;
}

static struct status_cache *
find(struct store *s, const char *name, size_t *n)
{
	*n = 0;
	for (struct status_cache *c = s->status; c != NULL; c = c->next) {
		if (strcmp(c->name, name) == 0)
			return c;
		(*n)++;
	}
	return NULL;
}

static void
remember(struct store *s, const char *name, const struct stamp *stamp, unsigned how, const struct store_status *status)
{
	size_t n;
	struct status_cache *c = find(s, name, &n);

	if (c == NULL && n < REMEMBERED) {
		c = calloc(1, sizeof(*c));
		if (c != NULL) {
			(void)snprintf(c->name, sizeof(c->name), "%s", name);
			c->next = s->status;
			s->status = c;
		}
	}
	if (c == NULL)
		return;
	c->stamp = *stamp;
	c->status = *status;
	c->with_size = (how & STORE_STATUS_SIZE) != 0;
}

void
status_forget(struct store *s)
{
	while (s->status != NULL) {
		struct status_cache *next = s->status->next;

		free(s->status);
		s->status = next;
	}
}

static enum store_error
count(struct store_folder *f, unsigned how, struct store_status *out)
{
	*out = (struct store_status){
		.uidnext = store_folder_uidnext(f), .uidvalidity = store_folder_uidvalidity(f),
		.highestmodseq = store_folder_highestmodseq(f),
	};
	for (uint32_t seq = 1; seq <= store_folder_count(f); seq++) {
		const struct store_message *m = store_folder_at(f, seq);
		uint64_t size;
		bool deleted;

		if (m->gone)
			continue;
		out->messages++;
		out->recent += (m->flags & STORE_RECENT) != 0;
		deleted = (m->flags & STORE_DELETED) != 0;
		out->unseen += (m->flags & STORE_SEEN) == 0;
		out->deleted += deleted;
		if ((how & STORE_STATUS_SIZE) != 0) {
			enum store_error error = store_message_size(f, seq, &size);

			if (error != STORE_OK && error != STORE_GONE)
				return error;
			out->size += error == STORE_OK ? size : 0;
			out->deleted_size += error == STORE_OK && deleted ? size : 0;
		}
	}
	return STORE_OK;
}

enum store_error
store_status(struct store *s, struct slice name, unsigned how, struct store_status *out)
{
	char canonical[STORE_NAME_MAX + 1];
	struct status_cache *c;
	struct store_folder *f;
	enum store_error error;
	struct stamp before, after;
	bool settled;
	size_t n;

	if (!store_name_check(name, false, canonical))
		return STORE_NAME;
	settled = take_stamp(s, canonical, &before);
	c = find(s, canonical, &n);
	if (settled && c != NULL && same_stamp(&c->stamp, &before) && (c->with_size || (how & STORE_STATUS_SIZE) == 0)) {
		*out = c->status;
		return STORE_OK;
	}
	f = store_folder_open(s, slice_of(canonical), true, &error);
	if (f == NULL)
		return error;
	error = count(f, how, out);
	/* Opening it may have given UIDs: then it is remembered the next time. */
	if (error == STORE_OK && settled && take_stamp(s, canonical, &after) && same_stamp(&before, &after))
		remember(s, canonical, &before, how, out);
	store_folder_close(f);
	return error;
}
