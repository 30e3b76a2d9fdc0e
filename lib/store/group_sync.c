/*
 * group_sync.c: what a group wrote becomes durable, in few syncs.
 *
 * A few files are synced one by one.  Many, of one file system, by one syncfs():
 * a journal commit and a flush for all in place of one each.  It also writes what
 * others have left dirty on that disk; where that turns out to take long we
 * return to single syncs for a while.  Should it report an error, whoever's that
 * is, each file is synced by itself, which tells whether it was ours.
 */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "group_int.h"

#define MANY		6		/* to be synced on one file system: then all at once */
#define SLOW_MS		250		/* a syncfs that took so long did others' work ... */
#define SLOW_REST_S	30		/* ... and is not tried again so long */

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What this process has seen of its disks. */
static int64_t rest_until_ms;

bool
group_sync_at_once(const struct store_group *g, size_t n)
{
	return n >= MANY && !g->no_syncfs && now_ms() >= rest_until_ms;
}

/* True if all of that file system is durable now.  An error is told once only: after one
 * this group does not ask again. */
static bool
sync_disk(struct store_group *g, int fd, size_t n)
{
	int64_t begun;
	bool good;

	if (!group_sync_at_once(g, n))
		return false;
	begun = now_ms();
	good = syncfs(fd) == 0;
	g->no_syncfs = !good;
	if (now_ms() - begun > SLOW_MS)
		rest_until_ms = now_ms() + SLOW_REST_S * 1000;
	return good;
}

/* ---- files ---- */

void
item_close(struct store_group *g, struct item *i)
{
	if (i->fd < 0)
		return;
	(void)close(i->fd);
	i->fd = -1;
	g->fds--;
}

static bool
on_disk(const struct item *i, dev_t dev)
{
	return i->fd >= 0 && i->unsynced && i->box->box.uids.dev == dev;
}

/* All files on the disk that this one is on. */
static void
sync_files_of(struct store_group *g, dev_t dev, int fd)
{
	size_t n = 0;

	for (const struct item *i = g->first; i != NULL; i = i->next)
		n += on_disk(i, dev);
	if (!sync_disk(g, fd, n))
		return;
	for (struct item *i = g->first; i != NULL; i = i->next) {
		if (on_disk(i, dev))
			i->unsynced = false;
	}
}

void
group_sync_files(struct store_group *g)
{
	dev_t tried = 0;
	bool any = false;

	for (struct item *i = g->first; i != NULL; i = i->next) {
		if (i->fd < 0)
			continue;
		if (i->unsynced && (!any || i->box->box.uids.dev != tried)) {
			any = true;
			tried = i->box->box.uids.dev;
			sync_files_of(g, tried, i->fd);
		}
		/* After an error this file is never synced again: it is dropped. */
		if (i->unsynced && fsync(i->fd) != 0) {
			item_fail(i, store_from_errno(errno));
			item_drop(g, i);
			continue;
		}
		i->unsynced = false;
		item_close(g, i);
	}
}

/* ---- files that copies share ---- */

static struct msg *
unsynced_source(const struct item *i)
{
	struct msg *m = item_live(i) && i->from != NULL ? view_uid(i->from, i->from_uid) : NULL;

	return m != NULL && !m->synced ? m : NULL;
}

void
group_sync_sources(struct store_group *g)
{
	const struct item *first = NULL;
	struct msg *m;
	size_t n = 0;

	/* A view and a group are of one store, which is on one disk. */
	for (const struct item *i = g->first; i != NULL; i = i->next) {
		if (unsynced_source(i) == NULL)
			continue;
		if (first == NULL)
			first = i;
		n += i->from == first->from;
	}
	if (first == NULL || !sync_disk(g, first->from->box.dir, n))
		return;
	for (const struct item *i = g->first; i != NULL; i = i->next) {
		m = i->from == first->from ? unsynced_source(i) : NULL;
		if (m != NULL)
			m->synced = true;
	}
}

/* ---- directories ---- */

/* How many of the boxes from b on, on the same disk, have something to be synced. */
static size_t
boxes_like(const struct group_box *b, bool index)
{
	dev_t dev = b->box.uids.dev;
	size_t n = 0;

	for (; b != NULL; b = b->next) {
		if (b->box.uids.dev == dev)
			n += index ? b->added : b->touched[IN_CUR] || b->touched[IN_NEW];
	}
	return n;
}

static enum store_error
sync_dirs_of(struct group_box *b)
{
	for (int where = 0; where < 2; where++) {
		if (b->touched[where] && fsync(box_sub(&b->box, where == IN_NEW ? BOX_NEW : BOX_CUR)) != 0)
			return store_from_errno(errno);
	}
	return STORE_OK;
}

static void
forget_dirs(struct group_box *b, dev_t dev)
{
	for (; b != NULL; b = b->next) {
		if (b->box.uids.dev == dev)
			b->touched[IN_CUR] = b->touched[IN_NEW] = false;
	}
}

static void
fail_box(struct store_group *g, const struct group_box *b, enum store_error error)
{
	for (struct item *i = g->first; i != NULL; i = i->next) {
		if (i->box == b && !i->cancelled && i->pub.error == STORE_OK)
			item_fail(i, error);
	}
}

void
group_sync_dirs(struct store_group *g)
{
	for (struct group_box *b = g->boxes; b != NULL; b = b->next) {
		enum store_error error;

		if (!b->touched[IN_CUR] && !b->touched[IN_NEW])
			continue;
		if (sync_disk(g, b->box.dir, boxes_like(b, false))) {
			forget_dirs(b, b->box.uids.dev);
			continue;
		}
		error = sync_dirs_of(b);
		if (error != STORE_OK)
			fail_box(g, b, error);
	}
}

/* ---- indexes ---- */

static void
indexes_synced(struct group_box *b, dev_t dev)
{
	for (; b != NULL; b = b->next) {
		if (b->box.uids.dev == dev && b->added) {
			uidlist_synced(&b->box.uids);
			b->added = false;
		}
	}
}

void
group_sync_indexes(struct store_group *g)
{
	for (struct group_box *b = g->boxes; b != NULL; b = b->next) {
		if (!b->added)
			continue;
		if (sync_disk(g, b->box.dir, boxes_like(b, true))) {
			indexes_synced(b, b->box.uids.dev);
			continue;
		}
		if (uidlist_sync(&b->box.uids) == STORE_OK)
			continue;
		/* The messages are there and durable; their UIDs are not to be told. */
		(void)store_done(b->box.store, STORE_IO);
		for (struct item *i = g->first; i != NULL; i = i->next) {
			if (i->box == b)
				i->pub.uid = 0;
		}
	}
}
