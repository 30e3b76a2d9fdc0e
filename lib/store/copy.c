/* copy.c: what COPY and MOVE have in common: names and keywords in another folder. */
#include <string.h>

#include "store_int.h"

enum store_error
copy_keywords(struct store_folder *f, uint32_t used, struct box *to, struct key_map *map)
{
	enum store_error error;
	bool replaced, changed;

	*map = (struct key_map){ .used = used };
	if (used == 0)
		return STORE_OK;
	error = keywords_load(&f->box.keywords, f->box.dir, &changed);	/* others may have added names */
	f->keywords_changed |= changed;
	if (error != STORE_OK)
		return error;
	error = uidlist_lock(&to->uids, &replaced);
	for (unsigned bit = 0; bit < STORE_KEYWORDS && error == STORE_OK; bit++) {
		const char *name = f->box.keywords.name[bit];
		struct slice s = slice_of(name);

		if ((used & (1u << bit)) != 0 && name != NULL)
			error = box_keywords(to, &s, 1, true, &map->to[bit]);
	}
	uidlist_unlock(&to->uids);
	return error;
}

uint32_t
copy_letters(const struct key_map *map, uint32_t lower)
{
	uint32_t out = 0;

	for (unsigned bit = 0; bit < STORE_KEYWORDS; bit++) {
		if ((lower & (1u << bit)) != 0)
			out |= map->to[bit];
	}
	return out;
}

bool
copy_base(struct store_folder *f, const struct msg *m, struct buf *out, struct box_entry *e)
{
	struct slice old = view_base(f, m);
	uint64_t size = m->size, crlf = m->crlf_size;

	if (size == 0)
		(void)maildir_size(old, 'S', &size);
	if (crlf == 0)
		(void)maildir_size(old, 'W', &crlf);
	buf_reset(out);
	store_unique(f->box.store, out);
	if (size != 0 && crlf != 0)
		maildir_sizes(out, size, crlf);
	*e = (struct box_entry){
		.date = m->date, .size = size, .crlf_size = crlf, .synced = m->synced, .object = view_object(f, m),
	};
	return !out->full;
}
