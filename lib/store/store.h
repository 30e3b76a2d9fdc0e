/*
 * store: a user's mail, a Maildir++ with an index beside it (pennypost-store(5)).
 *
 * Used by deliver and by the per-user processes of imapd and pop3d, any number
 * of them at once on one Maildir.  The files are the truth: what mutt, mv or
 * Dovecot do to them is noticed and taken in.  The index (one pennypost-uidlist
 * a folder) adds what files cannot say: UIDs that are never used twice, and the
 * names of what was here before (queue ids), so that nothing is delivered twice.
 *
 * Everything works relative to one directory descriptor, a component at a time
 * and never through a symbolic link: a process that can reach nothing but this
 * Maildir can do all of it.  System calls: openat, newfstatat, fstat, getdents64,
 * mkdirat, linkat, renameat, renameat2, unlinkat, utimensat, flock, fcntl, lseek,
 * read, pread64, write, pwrite64, ftruncate, fallocate, fsync, fdatasync,
 * syncfs, sync_file_range, mmap, munmap, clock_nanosleep, getpid, getrandom, close,
 * inotify_init1, inotify_add_watch, inotify_rm_watch, fchdir (watching changes the
 * working directory).
 *
 * ONE STORED FORM.  A message we write is stored with CRLF, octet for octet as
 * it came (a bare LF becomes CRLF on the way in), so that ,S= equals ,W= in its
 * name, and IMAP and POP3 send the mapped file without touching it.  mutt,
 * Dovecot, mu and notmuch read such files; a file that another tool left here
 * with LF is served with CRLF, and its sizes are counted so.
 *
 * DURABLE.  What says so below has been fsynced, directories included, when the
 * call returns; one call syncs once for all its messages.  Nothing is lost or
 * half there after kill -9 or a power cut at any instant.
 *
 * LOCKS are held for some microseconds (read the tail of the index, append to
 * it), not while a message is written or synced (only making and compacting an
 * index sync with the lock held), and are waited for at most STORE_LOCK_WAIT_MS:
 * then STORE_BUSY.
 *
 * Not thread-safe.  No function logs; store_open() takes a function for the few
 * lines that a person should see (a damaged index that was rebuilt).
 */
#ifndef PP_STORE_H
#define PP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "qid.h"
#include "slice.h"
#include "verdict.h"

#define STORE_SEPARATOR		'.'
#define STORE_NAME_MAX		240	/* octets of a folder's name, modified UTF-7 */
#define STORE_FOLDERS_MAX	5000	/* a user may create */
#define STORE_KEYWORDS		26	/* a folder; letters a-z in file names */
#define STORE_KEYWORD_MAX	100	/* octets of one */
#define STORE_LOCK_WAIT_MS	10000
#define STORE_TMP_AGE_S		(36 * 3600)

enum store_error {
	STORE_OK,
	STORE_NONEXISTENT,	/* no such folder			IMAP [NONEXISTENT], [TRYCREATE] */
	STORE_EXISTS,		/* there is one already			[ALREADYEXISTS] */
	STORE_NAME,		/* not a name a folder can have		[CANNOT] */
	STORE_CANNOT,		/* not with this folder (delete INBOX)	[CANNOT] */
	STORE_LIMIT,		/* too many folders or keywords		[LIMIT] */
	STORE_OVERQUOTA,	/* the user's quota			[OVERQUOTA], 452 4.2.2 */
	STORE_GONE,		/* the message was expunged meanwhile	[EXPUNGEISSUED] */
	STORE_BUSY,		/* someone holds a lock			[INUSE], 4.3.0 */
	STORE_NOSPACE,		/* disk full				NO, 452 4.3.1 */
	STORE_READONLY,		/* the view is read-only		[CANNOT] */
	STORE_NOPERM,		/* EACCES, EPERM, a symbolic link	[NOPERM], 4.3.0 */
	STORE_IO,		/* anything else of the system		[SERVERBUG], 4.3.0 */
	STORE_MEMORY,		/* no memory or descriptors		[UNAVAILABLE], 4.3.0 */
};

/* For the log: "no such folder"; and what deliver makes of it (PERM never: mail is kept). */
const char *store_error_text(enum store_error error);
enum verdict store_error_verdict(enum store_error error);

/* ---- a user's Maildir ---- */

struct store;

struct store_options {
	const char	*hostname;	/* for file names; copied */
	uint64_t	 quota;		/* octets, 0: none (maildirsize is then not kept) */
	bool		 create;	/* make what is missing: folders, default folders, subscriptions */
	bool		 keep;		/* INBOX stays open between groups (five descriptors) */
	void		(*say)(void *ctx, const char *text);	/* one line without LF; may be NULL */
	void		*say_ctx;
};

/*
 * The directory at path, relative to root, opened a component at a time, no
 * symbolic links, no "..".  create: make missing components (0700, durable).
 * Returns a descriptor (close-on-exec) or -1 with errno.  For those who still
 * have to get from mail-root to "example.org/alice/Maildir", before confining
 * themselves to it or (deliver) for each recipient.
 */
int store_dir(int root, const char *path, bool create);

/*
 * Open the Maildir that dirfd is (duplicated; the caller keeps his).  With
 * create a new one gets cur, new, tmp and the folders Sent, Drafts, Trash, Junk
 * and Archive, subscribed.  Finishes a folder rename that a crash interrupted.
 * Cheap (some 5 system calls) when it exists: deliver may do it per message.
 * NULL on failure.
 */
struct store *store_open(int dirfd, const struct store_options *options, enum store_error *error);

/*
 * For those who keep a store for the next message: does this path below root
 * still lead to its INBOX?  One system call.  False also when nothing of it is
 * kept open: close it and open it anew.
 */
bool store_still_at(const struct store *s, int root, const char *path);

void store_close(struct store *s);	/* NULL is fine; close its folders and groups first */

/* errno of the last failed call, for the log. */
int store_errno(const struct store *s);

/*
 * POP3 wants the mailbox for itself (RFC 1939 section 4): true if no other
 * process or struct store has it; held until store_close().  It excludes POP3
 * sessions from each other, not IMAP: a POP3 session works on the view it
 * opened at login, by UID; what IMAP expunges meanwhile is STORE_GONE to it,
 * and deleting it at QUIT is no error.
 */
bool store_pop3_lock(struct store *s);

/* Used and limit, from maildirsize (recounted by the rules of Maildir++ when due). */
struct store_quota {
	uint64_t	limit;		/* octets, 0: none; the other two are then 0 */
	uint64_t	used;		/* octets */
	uint64_t	count;		/* messages */
};
enum store_error store_quota(struct store *s, struct store_quota *out);

/* Remove files in tmp/ of all folders older than STORE_TMP_AGE_S, and what is
 * left of deleted folders.  For an idle moment; a user's process does it once. */
void store_clean(struct store *s);

/* ---- folders ---- */

/*
 * Names are IMAP names in modified UTF-7 (RFC 3501 section 5.1.3) with '.'
 * between levels, and INBOX in any case.  Valid is: 1 to STORE_NAME_MAX octets
 * of printable ASCII; no '/', no empty level ("..", a dot at an end), '&' only
 * in a canonical encoding, which must not hide '.', '/', NUL, control characters
 * or what could stand unencoded.  New names do not have '*' or '%' either.
 * out gets the canonical name ("inbox.x" -> "INBOX.x") and a NUL; may be name's own memory.
 */
bool store_name_check(struct slice name, bool new_name, char out[STORE_NAME_MAX + 1]);

/* Modified UTF-7 to UTF-8 (for the log, and UTF8=ACCEPT) and back; false if not valid. */
bool store_name_utf8(struct slice name, struct buf *out);
bool store_name_utf7(struct slice utf8, struct buf *out);

enum store_special { STORE_SPECIAL_NONE, STORE_SENT, STORE_DRAFTS, STORE_TRASH, STORE_JUNK, STORE_ARCHIVE };

struct store_folder_info {
	const char	*name;		/* canonical */
	enum store_special special;	/* RFC 6154 */
	bool		 exists;	/* false: only a level above others, or only subscribed */
	bool		 children;	/* some folder is below it */
	bool		 subscribed;
	bool		 fresh;		/* something lies in new/ (\Marked) */
};

/*
 * All folders, levels above them that are no folders themselves, and names that
 * are subscribed but do not exist; INBOX first, then sorted by octets.  The
 * list and its names are one allocation: free() it.  STORE_LIST_FRESH: find out
 * `fresh` too (a look into each new/).
 */
#define STORE_LIST_FRESH	1
struct store_list {
	size_t				n;
	const struct store_folder_info	*at;
};
enum store_error store_list(struct store *s, unsigned how, struct store_list **out);

bool store_exists(struct store *s, struct slice name);

/* All durable.  create makes the levels above too (not subscribed). */
enum store_error store_create(struct store *s, struct slice name);
/* The messages are gone; levels below stay (RFC 3501 section 6.3.4); not INBOX. */
enum store_error store_delete(struct store *s, struct slice name);
/* With everything below it; UIDs and UIDVALIDITY go along.  Of INBOX: its
 * messages move to the new folder, INBOX stays, empty (section 6.3.5).
 * Subscriptions stay as they are. */
enum store_error store_rename(struct store *s, struct slice from, struct slice to);
/* A name may be subscribed whether it exists or not. */
enum store_error store_subscribe(struct store *s, struct slice name, bool on);

/*
 * Annotations of a folder, or (folder "") of the Maildir as a whole: RFC 5464.  An
 * entry is "/private/comment" and the like, in any case.  They go along with a rename.
 */
#define STORE_ANNOTATIONS	100		/* a folder may have */
#define STORE_ANNOTATION_MAX	(64 * 1024)	/* octets of a value */
#define STORE_ENTRY_MAX		200		/* octets of an entry's name */
struct store_annotation {
	struct slice	entry;
	struct slice	value;		/* ptr == NULL: to be removed */
};
/* All of them, appended to out; store_annotation_next() takes one after the other off that text. */
enum store_error store_annotations(struct store *s, struct slice folder, struct buf *out);
bool store_annotation_next(struct slice *text, struct store_annotation *out);
/* Set and remove several, all or none; durable.  STORE_LIMIT: too many, or too long. */
enum store_error store_annotate(struct store *s, struct slice folder, const struct store_annotation *set, size_t n);
/* '/', printable ASCII without '*', '%' and blanks, no empty level. */
bool store_entry_valid(struct slice entry);

/*
 * The special use of a folder is the annotation "/private/specialuse" (RFC 6154 section 4);
 * for a use that no folder has, the folder called Sent, Drafts, Trash, Junk or Archive has it.
 */
#define STORE_ENTRY_SPECIAL "/private/specialuse"
enum store_error store_set_special(struct store *s, struct slice folder, enum store_special special);
const char *store_special_name(enum store_special special);	/* "\\Sent"; NULL: none */
enum store_special store_special_parse(struct slice text);	/* STORE_SPECIAL_NONE: no such use */

struct store_status {
	uint32_t	messages, recent, unseen;
	uint32_t	deleted;	/* have \Deleted */
	uint32_t	uidnext, uidvalidity;
	uint64_t	highestmodseq;
	/* Octets as CRLF, of all messages and of those with \Deleted; only with STORE_STATUS_SIZE. */
	uint64_t	size, deleted_size;
};
#define STORE_STATUS_SIZE	1
/* Does not touch \Recent.  Remembered by struct store: asking again while
 * nothing changed costs three fstat. */
enum store_error store_status(struct store *s, struct slice name, unsigned how, struct store_status *out);

/* ---- an open folder: a view ---- */

/*
 * A view is what one session sees.  Its messages are numbered 1..count by
 * ascending UID; numbers and data change in store_folder_refresh() and the
 * functions that take a non-const view, nowhere else.  Several views of one
 * folder, in one process or many, are independent.
 */
struct store_folder;

enum store_flag {	/* bits */
	STORE_SEEN = 1, STORE_ANSWERED = 2, STORE_FLAGGED = 4, STORE_DELETED = 8, STORE_DRAFT = 16,
	STORE_RECENT = 32,	/* this view was the first to see it; cannot be set */
	STORE_PASSED = 64,	/* P of Maildir: kept, means nothing to IMAP */
};
#define STORE_FLAGS_IMAP (STORE_SEEN | STORE_ANSWERED | STORE_FLAGGED | STORE_DELETED | STORE_DRAFT)

struct store_message {
	uint32_t	uid;
	uint8_t		flags;		/* STORE_* bits */
	bool		gone;		/* expunged by someone, but this view was not told yet */
	uint32_t	keywords;	/* bit n: store_folder_keyword(f, n) */
	uint64_t	modseq;		/* of the last change to flags or keywords that the index knows */
};

/* readonly (EXAMINE, POP3, STATUS): nothing is recent to it in a way that takes
 * \Recent from others, and files stay in new/.  The name in any case of INBOX. */
struct store_folder *store_folder_open(struct store *s, struct slice name, bool readonly, enum store_error *error);
void store_folder_close(struct store_folder *f);	/* NULL is fine */

const char *store_folder_name(const struct store_folder *f);
uint32_t store_folder_count(const struct store_folder *f);	/* gone ones included, until told */
uint32_t store_folder_recent(const struct store_folder *f);
uint32_t store_folder_unseen(const struct store_folder *f);	/* number of the first without \Seen, or 0 */
uint32_t store_folder_uidvalidity(const struct store_folder *f);
uint32_t store_folder_uidnext(const struct store_folder *f);

/*
 * Mod-sequences (RFC 7162): each change of flags or keywords, by whoever, and each arrival and
 * removal gets one that is higher than all before it; what one call changes has the same.
 * They are times in microseconds (and so never given twice, after a power cut neither), or 1
 * for what was here before the index had them; all processes see the same one for a change.
 * A change that another tool makes to a file's name gets its own when it is noticed.
 *
 * HIGHESTMODSEQ of what this view was told: what is found out but comes with a later
 * refresh (messages that are .gone, new ones) has a higher one.
 */
uint64_t store_folder_highestmodseq(const struct store_folder *f);

/*
 * UIDs removed with a higher modseq than `since`, ascending, as ranges; free() *out.  Those that
 * the view still has are not among them.  *exact is false when the index does not remember
 * that far back: then *out are all UIDs below UIDNEXT that the view does not have.
 */
struct store_range { uint32_t from, to; };
enum store_error store_folder_vanished(struct store_folder *f, uint64_t since, struct store_range **out, size_t *n,
    bool *exact);

/* OBJECTID (RFC 8474): MAILBOXID stays when the folder is renamed; EMAILID goes along with
 * copies and moves.  At most 31 octets of letters and digits. */
#define STORE_ID_MAX 32
void store_folder_id(const struct store_folder *f, char out[STORE_ID_MAX]);
void store_message_id(const struct store_folder *f, uint32_t seq, char out[STORE_ID_MAX]);

/* The message of that number, 1..count; good until the view changes. */
const struct store_message *store_folder_at(const struct store_folder *f, uint32_t seq);
/* Number of the first message with this UID or a higher one; count + 1 if there
 * is none.  For a single UID compare .uid at that number. */
uint32_t store_folder_seq(const struct store_folder *f, uint32_t uid);

/* Keywords of the folder by bit: its name, or NULL when the bit is not used. */
const char *store_folder_keyword(const struct store_folder *f, unsigned bit);
/* Bit of a keyword (compared without ASCII case, RFC 3501 section 2.3.2), or -1. */
int store_folder_keyword_bit(const struct store_folder *f, struct slice name);
/* May a keyword that is not there yet be added (\* in PERMANENTFLAGS)? */
bool store_folder_keyword_room(const struct store_folder *f);
/* A keyword is an IMAP atom of at most STORE_KEYWORD_MAX octets. */
bool store_keyword_valid(struct slice name);

/* RFC822.SIZE, octets as CRLF; INTERNALDATE, seconds since 1970 (the file's
 * mtime).  From the file's name or the index; else the file is looked at once.
 * STORE_GONE if it is not there any more. */
enum store_error store_message_size(struct store_folder *f, uint32_t seq, uint64_t *out);
enum store_error store_message_date(struct store_folder *f, uint32_t seq, int64_t *out);
/* SAVEDATE (RFC 8514): when it came into this folder; false if that is not known (NIL). */
bool store_message_saved(const struct store_folder *f, uint32_t seq, int64_t *out);
/* POP3 UIDL: 1..70 octets 0x21-0x7e, the same for ever. */
void store_message_uidl(const struct store_folder *f, uint32_t seq, char out[72]);

/*
 * What happened since the last time.  Costs a few fstat if nothing did.
 * Order: expunged (numbers as IMAP wants them: each counts with the earlier
 * ones already gone; they are in descending order), added once, keywords once,
 * flags by ascending number.  The view is without the expunged ones when they are
 * told.  Without STORE_REFRESH_EXPUNGE messages that are gone stay in the view
 * (.gone) and are reported at a later call that has it.
 * Callbacks may read the view and must not change it; any may be NULL.  Returns
 * STORE_NONEXISTENT when the folder was deleted under the view (it stays as it was).
 */
#define STORE_REFRESH_EXPUNGE	1
struct store_changes {
	void	(*expunged)(void *ctx, uint32_t seq, uint32_t uid);
	void	(*added)(void *ctx, uint32_t count, uint32_t recent);	/* the new EXISTS and RECENT */
	void	(*keywords)(void *ctx);		/* the folder has new keywords: send FLAGS again */
	void	(*flags)(void *ctx, uint32_t seq);	/* flags or keywords changed, not by this view */
	void	*ctx;
};
enum store_error store_folder_refresh(struct store_folder *f, unsigned how, const struct store_changes *changes);

/*
 * Change flags and keywords of messages given by UID (ascending; those that
 * the view does not have or that are gone are passed over).  keyword names that
 * the folder does not know are added to it; STORE_LIMIT, with nothing changed,
 * if there is no room.  The view is up to date afterwards; refresh does not
 * report these changes to it.  Durable, unless how has STORE_UNSYNCED (\Seen by FETCH);
 * and but for \Deleted on a full disk, which may be kept in this view alone, so that
 * store_folder_expunge() can make room.
 *
 * conditional: only messages whose modseq is not above unchangedsince (UNCHANGEDSINCE, RFC
 * 7162 section 3.1.3) when their file is renamed; the UIDs of the others are put into
 * failed[] (room for n), failed_n of them.  0 fails for all.
 */
enum store_change { STORE_ADD, STORE_REMOVE, STORE_REPLACE };
#define STORE_UNSYNCED	1
struct store_flags {
	enum store_change	 change;
	unsigned		 flags;		/* STORE_FLAGS_IMAP bits */
	const struct slice	*keyword;	/* names */
	size_t			 keyword_n;
	unsigned		 how;
	bool			 conditional;
	uint64_t		 unchangedsince;
	uint32_t		*failed;	/* caller's */
	size_t			*failed_n;	/* set */
};
enum store_error store_folder_flags(struct store_folder *f, const uint32_t *uid, size_t n, const struct store_flags *change);

/*
 * Remove for good, durable; works on a full disk.  expunge: those of the n UIDs
 * (uid NULL: of all) that have \Deleted now, in the file's name.  remove: those
 * given, whatever their flags (POP3).  They are .gone in the view until a refresh
 * with STORE_REFRESH_EXPUNGE tells.
 */
enum store_error store_folder_expunge(struct store_folder *f, const uint32_t *uid, size_t n);
enum store_error store_folder_remove(struct store_folder *f, const uint32_t *uid, size_t n);

/*
 * Move messages by UID to another folder (RFC 6851), with flags, keywords and
 * date.  Each is moved by one rename: never lost, never doubled.  Stops at the
 * first that fails; those before it are moved, durable, and .gone in the view.
 * pairs: one for each that was moved, in the order given (COPYUID); n of them.
 */
struct store_pair { uint32_t from, to; };
enum store_error store_folder_move(struct store_folder *f, const uint32_t *uid, size_t n, struct slice to,
    struct store_pair *pairs, size_t *moved, uint32_t *uidvalidity);

/*
 * Content of a message.  raw is the file as it is on disk; crlf says whether
 * it is in the form to be sent.  store_content_text() returns the octets
 * that IMAP and POP3 send, exactly as many as store_message_size() says: raw
 * itself, or (a file with LF) a converted copy made at the first call.  Parse
 * what you are going to send: lib/mime works on both forms, with the same
 * sizes, but places differ.
 */
struct store_content {
	struct slice	 raw;
	bool		 crlf;
	void		*map, *copy;	/* private */
	size_t		 map_len, copy_len;
};
enum store_error store_content_open(struct store_folder *f, uint32_t seq, struct store_content *out);
enum store_error store_content_text(struct store_content *c, struct slice *out);
void store_content_close(struct store_content *c);	/* also of a zeroed one */

/*
 * What IMAP clients ask for to list a folder, ready to be sent, from the cache
 * beside the index; what is not there is made from the message, and kept.
 * HEADERS are the fields for which store_header_cached() says so, octet for octet
 * and in their order, and the empty line.  False when there is no such thing (the
 * message is gone or very large, or that part of it is): look at the message then.
 * *out is good until the next call with this view.  octets (may be NULL): how much
 * of the disk had to be read and parsed for it, 0 when it was there.
 */
enum store_cached {
	STORE_CACHED_ENVELOPE, STORE_CACHED_BODY, STORE_CACHED_STRUCTURE, STORE_CACHED_HEADERS,
	STORE_CACHED_KINDS	/* their number */
};
bool store_message_cached(struct store_folder *f, uint32_t seq, enum store_cached kind, struct slice *out, size_t *octets);
bool store_header_cached(struct slice name);

/*
 * Watching, for IDLE.  One descriptor a struct store, for all its watched views:
 * readable when something changed.  Then store_watch_read() calls `changed` for
 * each view whose folder may have changed (refresh it when the protocol allows).
 * Where the kernel has no inotify instance left, store_watch_fd() is -1: refresh
 * once in a few seconds instead, it is cheap.
 */
int store_watch_fd(struct store *s);
bool store_folder_watch(struct store_folder *f, bool on);
/* The folder's directory (it holds new/ and cur/), for another process to watch; the store's. */
int store_folder_dir(const struct store_folder *f);
void store_watch_read(struct store *s, void (*changed)(struct store_folder *f, void *ctx), void *ctx);

/* ---- new messages: delivery, APPEND, COPY ---- */

/*
 * A group collects new messages, for any folders of any stores, and makes them
 * durable and visible together with few syncs:
 *	g = store_group_new(STORE_EACH);
 *	i = store_group_add(g, store, &new);	// for each message
 *	store_group_write(g, i, bytes);		// any number of times
 *	store_group_commit(g);
 *	... i->error, i->uid ...
 *	store_group_free(g);			// of no group: nothing is left of what was not committed
 * An item keeps its first error; writing to a failed one does nothing, so that
 * one test after the commit is enough (look at i->error earlier to refuse early).
 *
 * STORE_EACH: each item has its own fate (deliver).  STORE_ALL: all or none
 * (MULTIAPPEND, COPY): one error is everyone's.
 * Committing writes back all files at once, syncs them, renames them into place,
 * syncs each directory once, appends their UIDs to the indexes, syncs each once;
 * where there are many to be synced on a disk, by one syncfs() a step.
 */
enum store_mode { STORE_EACH, STORE_ALL };
struct store_group;

struct store_new {
	struct slice	 folder;	/* "INBOX" ... */
	struct qid	 qid;		/* delivery: the file is named after it; n = 0: a unique name */
	uint32_t	 rcpt;		/* delivery: number of the recipient within the message */
	bool		 repeat;	/* delivery: it may have been done before, see .repeated */
	int64_t		 date;		/* INTERNALDATE, seconds since 1970; 0: now */
	unsigned	 flags;		/* STORE_FLAGS_IMAP bits; none, and no keywords: it goes to new/ */
	const struct slice *keyword;	/* names; copied */
	size_t		 keyword_n;
	uint64_t	 size;		/* octets that will come, if known, else 0: quota and disk are
					 * checked before anything is written */
};

struct store_item {
	enum store_error error;		/* after commit: what became of it */
	bool		 repeated;	/* it is or was in the folder already; nothing was written; error is STORE_OK */
	uint32_t	 uid;		/* after commit; 0 when repeated, or when the index could not be
					 * written: the message is there and gets its UID later */
	uint32_t	 uidvalidity;
	uint64_t	 size;		/* octets stored */
	void		*ctx;		/* the caller's */
};

struct store_group *store_group_new(enum store_mode mode);
void store_group_free(struct store_group *g);

/* NULL only when there is no memory.  The item is the group's.  Its store must
 * stay open until the group is freed.  The folder must exist (INBOX always does). */
struct store_item *store_group_add(struct store_group *g, struct store *s, const struct store_new *what);
void store_group_write(struct store_group *g, struct store_item *i, struct slice bytes);
/* size octets of fd from offset on; the descriptor's own place does not move. */
void store_group_write_fd(struct store_group *g, struct store_item *i, int fd, uint64_t offset, uint64_t size);
/* Take it out again; the others are not concerned. */
void store_group_cancel(struct store_group *g, struct store_item *i);

/* A copy of a message of a view, with its flags, keywords and date, into a folder
 * of the same store: a hard link where the system allows, else octets. */
struct store_item *store_group_copy(struct store_group *g, struct store_folder *f, uint32_t uid, struct slice folder);

/* All of it.  STORE_ALL: the error all items then have; STORE_EACH: STORE_OK if
 * every item is, else the first error. */
enum store_error store_group_commit(struct store_group *g);


/* ---- is everything as it should be? ---- */

/* What the index and the cache say, against the files; changes nothing.  Mail that other tools
 * put in, renamed or removed since somebody looked shows as unknown, letters or missing. */
struct store_check {
	bool		no_index;	/* there is none, or (damaged) its header cannot be read */
	bool		damaged;	/* something in it is no record */
	bool		cache_damaged;
	uint32_t	uidvalidity, uidnext;
	uint64_t	highestmodseq;
	uint32_t	records, files;
	uint32_t	cached;		/* messages of which the cache has a record */
	uint32_t	unknown;	/* files that have no UID yet */
	uint32_t	missing;	/* messages without a file */
	uint32_t	letters;	/* files in another place or with other flags than noted */
	uint32_t	doubles;	/* two files of one base name */
	uint32_t	disorder;	/* UIDs not ascending, names twice */
};
enum store_error store_check(struct store *s, struct slice name, struct store_check *out);
bool store_check_good(const struct store_check *c);
/* Take in what is there and mend what is damaged.  rebuild: write index and cache anew, too. */
enum store_error store_repair(struct store *s, struct slice name, bool rebuild);

/* ---- from Dovecot or Courier, and back ---- */

/*
 * A folder that one of them kept (dovecot-uidlist, courierimapuiddb) is taken over with its
 * UIDs, UIDVALIDITY, POP3 UIDLs, keywords and subscriptions when it is first opened, once.
 * check says what is or was there to be taken, without changing anything.
 */
enum store_origin { STORE_FROM_NOBODY, STORE_FROM_DOVECOT, STORE_FROM_COURIER };
struct store_takeover {
	enum store_origin origin;
	bool		taken;		/* it has our index already */
	uint32_t	uidvalidity, uidnext;
	uint32_t	listed;		/* files with a UID */
	uint32_t	unlisted;	/* files without: new ones, they get the next UIDs */
	uint32_t	uidls;		/* POP3 UIDLs that are not made of UID and UIDVALIDITY */
	uint32_t	bad;		/* lines that are no entries */
};
enum store_error store_takeover_check(struct store *s, struct slice name, struct store_takeover *out);
/* Write dovecot-uidlist as the folder is now, so that Dovecot can go on with it. */
enum store_error store_takeover_back(struct store *s, struct slice name);

#endif
