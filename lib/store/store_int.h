/*
 * store_int.h: what the files of lib/store share.  Nobody else includes it.
 *
 *	store.c		open, make, errors; small helpers
 *	store_name.c	names of folders			pure
 *	maildir.c	names of message files			pure
 *	uidlist*.c	the index of a folder
 *	box.c		a folder's descriptors, index and keywords, opened
 *	keywords.c	dovecot-keywords
 *	folders.c	create, delete, rename; list.c, subscriptions.c
 *	annotations.c	notes about folders; their special use
 *	view.c		struct store_folder: messages by number; refresh
 *	scan.c		the directories against the view: what is new, gone, changed
 *	modseq.c	what changed is noted in the index
 *	own.c		directories that only we changed need no look
 *	flags.c, expunge.c, move.c, content.c, status.c, watch.c	on views
 *	cache.c		pennypost-cache; cache_make.c fills it
 *	group.c		new messages; group_sync.c, group_publish.c make them durable and visible
 *	quota.c		maildirsize
 *	clean.c		left-overs of the dead
 *	check.c		the index against the files; takeover*.c from Dovecot and Courier
 */
#ifndef PP_STORE_INT_H
#define PP_STORE_INT_H

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "maildir.h"
#include "store.h"
#include "uidlist.h"

/* ---- store.c ---- */

struct status_cache;

struct store {
	int		 dir;		/* the Maildir */
	char		*hostname;
	uint64_t	 quota;
	void		(*say)(void *ctx, const char *text);
	void		*say_ctx;
	int		 err;		/* errno of the last failure */
	int		 pop3_fd;	/* holds the lock, or -1 */
	int		 inotify_fd;	/* or -1 */
	int		 own_fd;	/* inotify of own.c, or -1 */
	struct store_folder *views;	/* open ones */
	struct status_cache *status;
	uint32_t	 name_counter;	/* Q of unique names */
	bool		 keep;
	struct group_box *kept;		/* INBOX, for the next group (group_box.c) */
};

enum store_error store_from_errno(int why);
/* Keep errno for store_errno() if it is an error; returns error. */
enum store_error store_done(struct store *s, enum store_error error);
void store_say(const struct store *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A higher UIDVALIDITY than any folder of this user ever had; durable.  The lock that
 * goes with it also orders those who make an index: hold it while doing so. */
enum store_error store_uidvalidity_lock(struct store *s, int *lock);
enum store_error store_uidvalidity_next(struct store *s, int lock, uint32_t *out);
/* A folder has this one: those to come will be higher; durable. */
enum store_error store_uidvalidity_note(struct store *s, int lock, uint32_t uidvalidity);

/* Write all octets; false with errno.  pwrite: returns how many went out. */
bool store_write_all(int fd, struct slice bytes);
size_t store_pwrite_all(int fd, struct slice bytes, uint64_t offset);

/* Read a small file of ours whole (at most limit octets); STORE_NONEXISTENT if there is none. */
enum store_error store_read_file(int dir, const char *name, size_t limit, struct buf *out);
/* Replace it: tmp file, fsync, rename, fsync of the directory. */
enum store_error store_write_file(struct store *s, int dir, const char *name, struct slice bytes);

/* A name that no file of this Maildir has: prefix and a unique part. */
void store_unique(struct store *s, struct buf *out);

/* Call fn for each entry but "." and ".." until it returns false.  The directory is read
 * from its beginning.  type is DT_*; fn may remove and rename entries. */
enum store_error store_read_dir(int dir, bool (*fn)(void *ctx, const char *name, unsigned char type), void *ctx);

/* Open a directory below dir without following links; or make it first when it is missing. */
int store_open_dir(int dir, const char *name, bool create);

/* The directory name of a folder: "." for INBOX, else ".name". */
void store_dir_name(const char *folder, char out[STORE_NAME_MAX + 2]);

/* ---- folders.c, subscriptions.c, status.c ---- */

/* The default folders, subscribed; those that are there stay. */
enum store_error folders_make_default(struct store *s);
/* Go on with a rename that a crash interrupted. */
enum store_error folders_finish_rename(struct store *s);
/* Remove a directory below dir, its folders and files, as far as it goes. */
void folders_remove_tree(int dir, const char *name);
/* Prefix of directories that are being made or removed: no folder's name has two dots. */
#define FOLDERS_HIDDEN "..pennypost-"

/* What was noted as the special use of a folder. */
enum store_special annotations_special(struct store *s, const char *folder);

/* The names in subscriptions, each ended by LF; order as in the file. */
enum store_error subscriptions_read(struct store *s, struct buf *out);
enum store_error subscriptions_write(struct store *s, struct slice lines);

void status_forget(struct store *s);

/* ---- keywords.c ---- */

struct keywords {
	char		*name[STORE_KEYWORDS];	/* owned; NULL: free */
	ino_t		 ino;		/* of the file read; 0: there was none */
	off_t		 size;		/* a new one within the clock's tick may get the old one's ino, but is longer */
	struct timespec	 mtime;
};

/* Read dovecot-keywords of the folder again if it is not the one known; *changed if so. */
enum store_error keywords_load(struct keywords *k, int dir, bool *changed);
void keywords_clear(struct keywords *k);
int keywords_find(const struct keywords *k, struct slice name);

/* ---- cache.c, cache_make.c ---- */

#define CACHE_FILE		"pennypost-cache"
#define CACHE_RECORD_HEADER	32
#define CACHE_RECORD_MAX	(512 * 1024)	/* octets */
#define CACHE_NONE		UINT32_MAX	/* length of a part that is not kept */

struct cache_parts {
	uint32_t	uid;
	struct slice	part[STORE_CACHED_KINDS];	/* ptr NULL: not kept */
};
struct cache_entry {
	uint32_t	uid;
	uint32_t	at;		/* place of the record, in units of 8 octets */
};
struct cache {
	int		 fd;		/* or -1 */
	bool		 tried;		/* to open it */
	uint32_t	 seed;		/* of its checksums */
	ino_t		 ino;
	const char	*map;		/* all of it, or NULL */
	size_t		 map_len, read;	/* looked at up to here */
	struct cache_entry *at;		/* by ascending UID; owned */
	size_t		 n, cap, hint;
	struct buf	 pending;	/* records to be appended */
};

void cache_init(struct cache *c);
void cache_clear(struct cache *c);
struct box;
struct store_folder;
/* Of a message; views into the file, good until the next call. */
bool cache_get(struct box *b, uint32_t uid, struct cache_parts *out);
/* To be appended soon, cache_flush() does it; all of it best effort. */
void cache_put(struct box *b, const struct cache_parts *parts);
void cache_flush(struct box *b);
/* Does a record not fit its checksum, or stand something between them?  Remove the file. */
bool cache_damaged(struct box *b);
void cache_drop(struct box *b);
/* Without what is of messages that are gone, when that is most of it. */
void cache_compact(struct store_folder *f);
/* Render a message (CRLF) at the end of out, whose cap is changed; parts are views into it. */
bool cache_make(struct slice text, struct buf *out, struct cache_parts *parts);
/* Pure: the record at the front of bytes, and its length.  For the fuzzer, too. */
bool cache_record(uint32_t seed, struct slice bytes, struct cache_parts *out, size_t *len);

/* ---- box.c ---- */

enum box_sub { BOX_CUR, BOX_NEW, BOX_TMP, BOX_SUBS };

struct box {
	struct store	*store;
	char		 name[STORE_NAME_MAX + 1];
	int		 dir;
	int		 sub[BOX_SUBS];	/* opened at need, -1 before */
	struct uidlist	 uids;
	struct keywords	 keywords;
	struct cache	 cache;
};

/* Open folder `name` (canonical) with its index, which is made if it is missing.
 * STORE_NONEXISTENT if there is no such folder.  Nothing to close on failure. */
enum store_error box_open(struct box *b, struct store *s, const char *name);
void box_close(struct box *b);

/* Descriptor of cur, new or tmp, or -1 with errno; made if it is missing. */
int box_sub(struct box *b, enum box_sub which);

/* With the index lock: bits for these names, adding those that are missing.  With
 * `drop` names for which there is no room are left out, else STORE_LIMIT. */
enum store_error box_keywords(struct box *b, const struct slice *name, size_t n, bool drop, uint32_t *bits);

/*
 * Append ADDs for files that are durably in place, or find out that somebody
 * was quicker.  entry[].uid is set.  Takes and leaves the lock; then syncs, if asked to.
 * b->uids.end must be where it was before the files got their names.
 */
struct box_entry {
	struct slice	base;
	int64_t		date;
	uint64_t	size, crlf_size;
	uint64_t	object;		/* of what it is a copy of, or 0 */
	uint32_t	upper, lower;	/* letters of the file's name, UIDLIST_IN_NEW */
	bool		synced;
	uint32_t	uid;		/* out */
};
enum store_error box_add(struct box *b, struct box_entry *entry, size_t n, bool sync);

/* Is or was a message of that queue id and recipient in the folder?  If so, that is durable now. */
enum store_error box_knows(struct box *b, struct qid qid, uint32_t rcpt, bool *known);

/* Best effort: tell others that these are gone (compaction and queue ids live on it). */
void box_gone(struct box *b, const uint32_t *uid, size_t n);

/* ---- takeover.c ---- */

#define TAKEN_FILE "pennypost-taken"	/* in a folder whose UIDs were taken over */
/* Make the index from what Dovecot or Courier left, durable; STORE_NONEXISTENT if there is nothing. */
enum store_error takeover_folder(struct box *b, int lock);

/* ---- quota.c ---- */

/* Would `octets` more be over the quota?  STORE_OVERQUOTA if so. */
enum store_error quota_check(struct store *s, uint64_t octets);
/* Account for a change; folders named Trash do not count. */
void quota_add(struct store *s, const char *folder, int64_t octets, int64_t count);
/* Recount at the next need. */
void quota_forget(struct store *s);

/* ---- view.c, view_table.c, scan.c ---- */

enum msg_where { IN_CUR, IN_NEW };	/* as BOX_CUR, BOX_NEW */

struct msg {
	struct store_message pub;	/* what the view's owner sees */
	uint32_t	upper;		/* letters of the file name; pub.keywords are the lower ones */
	uint32_t	base_at;	/* base name, in f->names */
	uint8_t		base_len;
	uint8_t		where;		/* enum msg_where */
	uint8_t		unsaved;	/* flags that are not in the name, for the disk was full */
	bool		synced;		/* content known to be durable */
	bool		absent;		/* not seen by the last scan */
	bool		late;		/* a candidate whose record came after the last scan began */
	bool		dead;		/* its file is gone, or its name has another UID now; not in the hash */
	bool		noted;		/* the index knows that it is gone */
	bool		changed;	/* flags: to be reported by refresh, if they are not those of before: */
	uint8_t		told_flags;
	uint32_t	told_keywords;
	bool		 pending;	/* view_note(): its record is to be written */
	uint32_t	 noted_upper, noted_lower; /* letters that the index knows */
	uint64_t	 known_modseq;	/* gone: what the index said before it knew that */
	int64_t		 saved;		/* when it came into the folder; 0: not known */
	uint64_t	 object;	/* EMAILID, or 0: its UID tells */
	char		*odd;		/* file name, when it is not the canonical one; owned */
	int64_t		date;		/* NO_DATE: not known */
	uint64_t	size, crlf_size; /* 0: not known */
};
#define NO_DATE INT64_MIN

struct uidl {
	uint32_t	uid;
	char		text[72];
};

struct store_folder {
	struct box	 box;
	struct store_folder *next;	/* in store->views */
	bool		 readonly;
	uint32_t	 uidvalidity;	/* when it was opened */
	struct msg	*msg;		/* by UID: [0, n) the view; [n, m) candidates to come into it */
	uint32_t	 n, m, cap;
	struct buf	 names;		/* base names, one after the other */
	uint32_t	*hash;		/* index into msg + 1, by base name; made when one is looked for */
	bool		 hashed, no_memory;
	uint32_t	 finds;		/* names looked for without it */
	uint32_t	 hash_size;	/* a power of 2 */
	uint64_t	 hash_key[2];
	struct uidl	*uidl;		/* POP3 UIDLs that were taken over, by ascending UID; owned */
	size_t		 uidl_n, uidl_cap;
	struct cache_parts parts;	/* of the message asked for last; uid 0: none */
	struct buf	 made;		/* holds them, when they are not in the cache */
	struct uidlist_stamp stamp[2];	/* of cur and new when they held what the view knows, no more no less */
	struct uidlist_stamp logged[2];	/* the last of which the index knows */
	bool		 dirty;		/* scan all of it, whatever they say */
	bool		 behind;	/* records were read after those of the stamps */
	uint32_t	 sure;		/* that many at the front are not absent */
	int		 own_watch[2];	/* own.c: inotify watch of cur, new; -1 */
	uint32_t	 own_want[2];	/* events that our own changes make */
	uint32_t	 own_got[2];
	bool		 own_active, own_spoiled, own_late;
	bool		 keywords_changed, new_keywords;
	bool		 some_changed, some_gone;	/* refresh has something to tell of known messages */
	bool		 some_unnoted;	/* letters that the index may not know */
	int		 watch[2];	/* inotify watch of cur, new; -1 */
};

/* view_table.c: messages by number, UID and base name */
struct slice view_base(const struct store_folder *f, const struct msg *m);
/* The live message of that name.  f->no_memory is set when there is none to look for it. */
struct msg *view_find(struct store_folder *f, struct slice base);
struct msg *view_uid(const struct store_folder *f, uint32_t uid);
/* Add a candidate; NULL: no memory.  Moves f->msg. */
struct msg *view_add(struct store_folder *f, uint32_t uid, struct slice base);
/* Its name may get another UID: out of the hash, dead. */
void view_forget(struct store_folder *f, struct msg *m);
/* Before flags change that the view's owner knows: refresh will tell. */
void view_changes(struct store_folder *f, struct msg *m);
/* Take out messages [from, m) for which drop() says so. */
bool view_remove(struct store_folder *f, uint32_t from, bool (*drop)(const struct msg *m));
void view_clear(struct store_folder *f);

/* The POP3 UIDL that another server gave a message; ptr NULL: none. */
struct slice view_uidl(const struct store_folder *f, uint32_t uid);

/* The file's name, and the directory it is in (or -1). */
bool view_file(const struct store_folder *f, const struct msg *m, char out[MAILDIR_NAME_MAX + 1]);
int view_file_dir(struct store_folder *f, const struct msg *m);
/* The file is now called so. */
enum store_error view_set_file(struct store_folder *f, struct msg *m, enum msg_where where, struct slice file);

/* view.c: read what others appended to the index (all of it when it was replaced).
 * Without the lock it stops at what is no record; with it that is repaired. */
enum store_error view_read_index(struct store_folder *f);

/*
 * modseq.c: write down in the index what letters the files have, of messages by UID or (uid
 * NULL) of all.  What another process wrote down for a message meanwhile counts: files are
 * looked at again then.
 */
enum store_error view_note(struct store_folder *f, const uint32_t *uid, size_t n);
bool view_is_noted(const struct msg *m);
/* Where the file is and its letters, as an index record has them. */
uint32_t view_tags(const struct msg *m);
/* Let others, and those who come later, know that the directories are as the index says. */
void view_sync(struct store_folder *f);
/* What the record of another process says of a message's letters. */
void view_take_flags(struct store_folder *f, struct msg *m, const struct uidlist_record *r);
/* EMAILID */
uint64_t view_object(const struct store_folder *f, const struct msg *m);

/* The file is called base:2,LETTERS in that directory. */
void view_set_letters(struct store_folder *f, struct msg *m, enum msg_where where, uint32_t upper, uint32_t lower);

/*
 * own.c: what this process does itself to a directory need not be looked for in it.  Between
 * own_begin() and own_end() it counts what it does, and the kernel says how much was done by
 * anybody; if that is the same, the stamps are brought up to date.  Where the kernel's times
 * are too coarse to tell one change from the next, or there is no inotify, nothing of this
 * happens, and the directories are read again.
 */
void own_begin(struct store_folder *f);
void own_did(struct store_folder *f, uint32_t in_cur, uint32_t in_new);
void own_end(struct store_folder *f);
/* News of what others did; if it is in our stamps nevertheless, f->dirty is set. */
void own_poll(struct store *s);
void own_check_late(struct store_folder *f);
void own_close(struct store_folder *f);
/* cur and new now; *settled: no later change can leave the same stamps. */
bool own_stamps(struct store_folder *f, struct uidlist_stamp out[2], bool *settled);
bool own_same(const struct uidlist_stamp *a, const struct uidlist_stamp *b);

/* scan.c: look at the directories: candidates and flags are up to date then, and
 * what is gone is .dead.  What the owner sees does not change but in flags and .gone. */
enum store_error scan_folder(struct store_folder *f);
/* Would scan_folder() find anything?  Reads what is new in the index, and a few fstat. */
bool scan_needed(struct store_folder *f);

/* copy.c: what COPY and MOVE have in common */
struct key_map {
	uint32_t	used;		/* bits of the source seen */
	uint32_t	to[STORE_KEYWORDS];	/* bit in the target, or 0 */
};
/* Where the keywords of these messages are in folder `to`; names are added to it as far as there is room. */
enum store_error copy_keywords(struct store_folder *f, uint32_t used, struct box *to, struct key_map *map);
uint32_t copy_letters(const struct key_map *map, uint32_t lower);
/* A new base name for a message, with the sizes when they are known; fills e but for e->base's life: out owns it. */
bool copy_base(struct store_folder *f, const struct msg *m, struct buf *out, struct box_entry *e);

/* adopt.c: give UIDs to files that have none: they become candidates. */
struct stray {
	size_t		name_at;	/* in names, with its NUL */
	uint8_t		name_len;
	uint8_t		where;
	int64_t		date;		/* mtime */
	uint64_t	size;
	uint64_t	order;		/* the seconds in its name */
};
struct strays {
	struct stray	*at;
	size_t		 n, cap;
	struct buf	 names;
};
enum store_error adopt_strays(struct store_folder *f, struct strays *s);

#endif
