/* group_int.h: between group.c (items, their files), group_sync.c (what makes them durable) and
 * group_publish.c (in which order, and visible). */
#ifndef PP_STORE_GROUP_INT_H
#define PP_STORE_GROUP_INT_H

#include "store_int.h"

#define GROUP_PENDING_ITEM	(64 * 1024)		/* octets kept in memory before they go to a file */
#define GROUP_PENDING_ALL	(8 * 1024 * 1024)
#define GROUP_FDS		256			/* files open at once */

struct group_box {
	struct group_box *next;
	struct box	 box;
	bool		 touched[2];	/* cur and new, by enum msg_where: to be synced */
	bool		 added;		/* its index was appended to: to be synced */
	bool		 failed;	/* one of its items: it is not kept */
	/* of a kept one: where its new/ is */
	dev_t		 new_dev;
	ino_t		 new_ino;
};

struct item {
	struct store_item pub;		/* first: what the caller holds */
	struct item	*next;
	struct store	*store;
	struct group_box *box;		/* NULL: failed early */
	bool		 cancelled;
	/* of struct store_new */
	struct qid	 qid;
	uint32_t	 rcpt;
	int64_t		 date;
	uint8_t		 flags;
	struct slice	*keyword;	/* names in keyword_text; owned */
	size_t		 keyword_n;
	char		*keyword_text;
	/* content */
	struct buf	 pending;
	char		 last;		/* octet written before */
	uint64_t	 written;	/* octets in the file */
	char		*tmp;		/* its name in tmp/, or NULL */
	int		 fd;		/* or -1 */
	bool		 unsynced;	/* the file holds what no fsync covered */
	/* a copy */
	struct store_folder *from;
	uint32_t	 from_uid;
	uint64_t	 from_size;
	/* when published */
	struct buf	 base;		/* its base name */
	char		*file;		/* its name in cur or new, or NULL while it is not there */
	uint8_t		 where;		/* enum msg_where */
	uint64_t	 crlf_size;
	struct buf	 made;		/* for the cache, parts are views into it */
	struct cache_parts parts;
	uint64_t	 object;	/* EMAILID of what it is a copy of, or 0 */
	uint32_t	 upper, lower;	/* letters of its file's name */
	bool		 synced;
};

struct store_group {
	enum store_mode	 mode;
	struct item	*first, **last;
	struct group_box *boxes;
	size_t		 pending, fds;
	bool		 committed;
	bool		 no_syncfs;	/* it reported an error */
};

/* Is there anything still to be done for it? */
static inline bool
item_live(const struct item *i)
{
	return !i->cancelled && !i->pub.repeated && i->pub.error == STORE_OK;
}

/* group_box.c: the folder of that canonical name, the kept one if it is as it was. */
enum store_error group_box_open(struct store *s, const char *name, struct group_box **out);
/* The group is over: INBOX is kept, if its store wants that and all went well. */
void group_box_done(struct group_box *b, bool well);
void group_box_free(struct group_box *b);	/* NULL is fine */

void item_fail(struct item *i, enum store_error error);
/* Write out what is pending; the file is open then, or closed by a wave. */
void item_flush(struct store_group *g, struct item *i);
void item_close(struct store_group *g, struct item *i);
/* Remove its file in tmp/. */
void item_drop(struct store_group *g, struct item *i);

/* group_sync.c: all open files are durable, and closed, or have failed; directories in which
 * something was published; indexes that were appended to. */
void group_sync_files(struct store_group *g);
/* Will so many on one file system be synced at once?  Then nothing is gained by writing each back early. */
bool group_sync_at_once(const struct store_group *g, size_t n);
void group_sync_sources(struct store_group *g);	/* of copies, if they are many; others one by one later */
void group_sync_dirs(struct store_group *g);
void group_sync_indexes(struct store_group *g);

#endif
