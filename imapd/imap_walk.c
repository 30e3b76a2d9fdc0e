/* The messages that a set names, in the selected folder. */
#include <stdlib.h>

#include "imap_session.h"

static uint32_t
highest_uid(const struct store_folder *f)
{
	uint32_t count = store_folder_count(f);

	return count == 0 ? 0 : store_folder_at(f, count)->uid;
}

bool
imap_walk_init(struct imap_walk *w, const struct imap_session *s, const struct imap_set *set, bool uid)
{
	const struct store_folder *f = s->folder;
	uint32_t count = store_folder_count(f);

	if (set->saved) {
		*w = (struct imap_walk){ .set = s->saved, .uid = true };
		return true;
	}
	*w = (struct imap_walk){ .set = *set, .uid = uid };
	if (!uid && imap_set_beyond(set, count))
		return false;
	imap_set_resolve(&w->set, uid ? highest_uid(f) : count);
	return true;
}

/* Is there a message w->next within the range r? */
static bool
within(const struct imap_walk *w, const struct store_folder *f, const struct imap_range *r)
{
	if (w->next > store_folder_count(f))
		return false;
	return w->uid ? store_folder_at(f, w->next)->uid <= r->last : w->next <= r->last;
}

bool
imap_walk_next(struct imap_walk *w, const struct store_folder *f, uint32_t *seq)
{
	for (; w->range < w->set.n; w->range++, w->next = 0) {
		const struct imap_range *r = &w->set.at[w->range];

		if (w->next == 0)
			w->next = w->uid ? store_folder_seq(f, r->first) : r->first;
		if (within(w, f, r)) {
			*seq = w->next++;
			return true;
		}
	}
	return false;
}

bool
imap_walk_uids(struct imap_walk *w, const struct store_folder *f, uint32_t **uids, size_t *n, bool *gone)
{
	struct imap_walk again = *w;
	size_t count = 0;
	uint32_t seq;

	*uids = NULL;
	*n = 0;
	*gone = false;
	while (imap_walk_next(w, f, &seq)) {
		if (store_folder_at(f, seq)->gone)
			*gone = true;
		else
			count++;
	}
	if (count == 0)
		return true;
	*uids = calloc(count, sizeof(uint32_t));
	if (*uids == NULL)
		return false;
	while (imap_walk_next(&again, f, &seq))
		if (!store_folder_at(f, seq)->gone)
			(*uids)[(*n)++] = store_folder_at(f, seq)->uid;
	return true;
}
