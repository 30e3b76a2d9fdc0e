/*
 * imap_session: what one logged-in IMAP connection remembers between commands,
 * and how a command is run (RFC 3501).
 *
 * Octets in, octets out: no sockets; the clock only for what is said of a long
 * command's progress and for OLDER and YOUNGER.  A session acts on the user's
 * store and on nothing else, so a test or a fuzzer feeds it a text and a
 * Maildir.  A command runs in steps: it stops when output has to go first or
 * when it has worked long enough, and goes on when it is called again.
 *
 *	imap_cmd.c	the table: which verb may come when
 *	cmd_*.c		the verbs
 *	imap_sync.c	untagged EXISTS, EXPUNGE, FETCH: what changed meanwhile
 *	imap_reply.c	tagged answers, and what a store_error is called
 */
#ifndef PP_IMAP_SESSION_H
#define PP_IMAP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "imap_input.h"
#include "imap_message.h"
#include "imap_parse.h"
#include "imap_pool.h"
#include "slice.h"
#include "store/store.h"

#define IMAP_COMMAND_MAX	(1024 * 1024)	/* octets of a command, literals included */
#define IMAP_POOL_MAX		(16 * 1024 * 1024)
#define IMAP_OUT_HIGH		(64 * 1024)	/* a command stops while more than this waits */
#define IMAP_OUT_MAX		(64 * 1024 * 1024)	/* the session ends beyond it */
#define IMAP_REPLY_MAX		(8 * 1024 * 1024)	/* octets of a tagged answer: COPYUID */
#define IMAP_ERRORS_MAX		20		/* BAD commands in a row */

enum imap_state { STATE_LOGGED_IN = 1, STATE_SELECTED = 2 };	/* bits */

/* How far a command has come. */
enum imap_step {
	STEP_DONE,	/* s->reply holds the tagged answer */
	STEP_AGAIN,	/* worked long enough: call again when others had their turn */
	STEP_DRAIN,	/* call again when the output is gone */
	STEP_INPUT,	/* waits for the client: IDLE's DONE, APPEND's message */
};

/* What the caller has to do. */
enum imap_want {
	IMAP_WANT_INPUT,	/* all data was taken: wait for more */
	IMAP_WANT_AGAIN,	/* call again soon */
	IMAP_WANT_DRAIN,	/* call again when the output has been written */
	IMAP_WANT_CLOSE,	/* write the output, then close */
	IMAP_WANT_DEFLATE,	/* write the output; from there on both sides send DEFLATE (RFC 4978) */
};

/* What the client has asked for with ENABLE. */
enum imap_enabled {	/* bits */
	ENABLED_REV2 = 1,	/* IMAP4rev2, RFC 9051 */
	ENABLED_UTF8 = 2,	/* UTF8=ACCEPT, RFC 6855 */
	ENABLED_CONDSTORE = 4,	/* RFC 7162; any command that needs it enables it */
	ENABLED_QRESYNC = 8,
};

struct imap_session;
struct imap_cmd;

/* The command that is being run.  Gone when its tagged answer is written. */
struct imap_run {
	const struct imap_cmd	*cmd;		/* NULL: none */
	char			 tag[256];
	bool			 uid;		/* UID FETCH and the like */
	int64_t			 told_ms;	/* when it began, or how far it has come was told; monotonic */
	bool			 modseq;	/* its OK tells HIGHESTMODSEQ, in QRESYNC (RFC 7162 section 3.2.7) */
	enum imap_step		(*step)(struct imap_session *s);
	/* A line came while waiting with STEP_INPUT; NULL: it is no input for this command. */
	enum imap_step		(*line)(struct imap_session *s, struct slice line);
	/* Free what the pool does not; also called when the session ends in the middle.  May be NULL. */
	void			(*end)(struct imap_session *s);
	void			*state;		/* the verb's own; in the pool */
};

struct imap_setup {
	struct store	*store;		/* shared by the sessions of the user; outlives them */
	const char	*user;		/* for the log; outlives the session */
	uint64_t	 message_size;	/* most octets of an APPEND */
};

struct imap_session {
	struct imap_setup	 setup;
	enum imap_state		 state;
	struct store_folder	*folder;	/* selected; NULL in STATE_LOGGED_IN */
	bool			 readonly;	/* EXAMINE */
	struct imap_message	 message;	/* opened last by FETCH or SEARCH */
	uint32_t		 keywords;	/* bits of the folder's keywords that the client was told */
	unsigned		 enabled;	/* enum imap_enabled */
	struct imap_set		 saved;		/* "$": UIDs in order; .at is malloc'd */

	struct imap_input	 input;
	struct imap_pool	 pool;		/* of the running command */
	struct imap_run		 run;
	struct buf		 reply;		/* "OK Done": tagged answer of the running command */
	struct buf		 out;		/* to be written */
	size_t			 out_at;	/* octets of out that have been taken */

	bool			 deflate;	/* COMPRESS was done */
	bool			 switching;	/* just now */
	bool			 idle;		/* IDLE: tell changes at once */
	bool			 missed;	/* and something was not told: too much waits to be written */
	bool			 lost;		/* the selected folder was deleted by someone: BYE */
	bool			 closing;	/* LOGOUT, or no way to go on */
	unsigned		 errors;	/* BAD commands in a row */
	uint64_t		 commands;	/* for the log */
	int64_t			 progress_ms;	/* between two words of how far a command has come */
};

/* greeting: the tag of the login to be answered.  NULL: no memory. */
struct imap_session *imap_session_new(const struct imap_setup *setup, struct slice greeting);
void imap_session_free(struct imap_session *s);

/* Go on: with the running command, then with octets off the front of *data. */
enum imap_want imap_session_step(struct imap_session *s, struct slice *data);

/*
 * Something changed in the store (or s->missed and output has gone): tells the
 * client if it is in IDLE.  True: there is output.
 */
bool imap_session_changed(struct imap_session *s);

/* End it; last words: "* BYE text", unless a response has been begun. */
void imap_session_bye(struct imap_session *s, const char *text);

/*
 * imap_park.c: a session that waits, made small.  park appends all that
 * imap_session_unpark() needs (IMAP_PARKED_MAX octets at most); false, with
 * nothing appended: it has something to do or to remember that has no place in
 * there.  unpark goes on in another process of the same user and tells what
 * has changed meanwhile; NULL with *bye: what to tell the client.
 */
#define IMAP_PARKED_MAX 1200
bool imap_session_parkable(const struct imap_session *s);
bool imap_session_park(struct imap_session *s, struct buf *out);
struct imap_session *imap_session_unpark(const struct imap_setup *setup, struct slice state, const char **bye);

/* Output not taken yet, and taking of it. */
struct slice imap_session_output(const struct imap_session *s);
void imap_session_taken(struct imap_session *s, size_t n);

/* A session that has said nothing yet. */
struct imap_session *imap_session_alloc(const struct imap_setup *setup);

/* ---- for the verbs ---- */

/* Does more output have to wait? */
bool imap_out_high(const struct imap_session *s);

/*
 * A long command has done so much of its work: told once in a while (RFC 9585).
 * Only where no response has been begun.
 */
void imap_progress(struct imap_session *s, uint64_t done, uint64_t all);

/* Tagged answers (imap_reply.c); all return STEP_DONE. */
enum imap_step imap_ok(struct imap_session *s, const char *text);	/* "OK text" */
enum imap_step imap_no(struct imap_session *s, const char *text);	/* "NO text" */
enum imap_step imap_bad(struct imap_session *s, const char *text);	/* "BAD text"; counts */
enum imap_step imap_bad_args(struct imap_session *s, const struct imap_in *in);
enum imap_step imap_no_store(struct imap_session *s, enum store_error error, const char *what);
/* The same where a missing folder is one that CREATE could make: [TRYCREATE]. */
enum imap_step imap_no_target(struct imap_session *s, enum store_error error, const char *what);

/* Are mailbox names UTF-8 for this client?  Write one, as a string. */
bool imap_names_utf8(const struct imap_session *s);
void imap_put_mailbox(struct imap_session *s, struct slice name);
/* "* LIST () "." name", with what the client called it if that is something else; only in IMAP4rev2. */
void imap_put_opened(struct imap_session *s, struct slice name, struct slice said, bool always);
/* "IMAP4rev1 ...", as after login. */
void imap_put_capabilities(const struct imap_session *s, struct buf *out);

/* Close the selected folder, expunging nothing. */
void imap_unselect(struct imap_session *s);

/* Forget what SEARCH saved. */
void imap_saved_clear(struct imap_session *s);

/* The client uses mod-sequences: from now on they are told (RFC 7162 section 3.1). */
void imap_condstore(struct imap_session *s);
void imap_put_highestmodseq(struct imap_session *s);
/* "* VANISHED (EARLIER) 41,43:116": of what was removed since, UIDs in the set (NULL: all), from the lowest on. */
enum store_error imap_put_vanished(struct imap_session *s, uint64_t since, const struct imap_set *uids, uint32_t lowest);

/* imap_sync.c: tell what changed in the selected folder. */
void imap_sync(struct imap_session *s, bool expunge);
/*
 * The folder was opened again: tell what changed since another view of it had
 * these (with the UIDs below uidnext) and told all up to modseq.  False: the
 * index does not remember; nothing was told.
 */
bool imap_sync_since(struct imap_session *s, uint32_t count, uint32_t uidnext, uint64_t modseq);
/* "* 3 FETCH (FLAGS (...))", with UID and MODSEQ where they belong there; flags false: MODSEQ alone. */
void imap_put_fetch_flags(struct imap_session *s, uint32_t seq, bool flags);
/* "FLAGS (\Seen $Junk)" of a message. */
void imap_put_flags(struct imap_session *s, const struct store_message *m);
/* "* FLAGS (...)" and PERMANENTFLAGS; _new: if there are keywords the client does not know. */
void imap_put_folder_flags(struct imap_session *s);
void imap_put_new_keywords(struct imap_session *s);

/*
 * The messages of a set, one after the other, by ascending number.  init
 * resolves the set in place; false: a sequence number that does not exist.
 * uid: the set names UIDs, or is "$"; those that are not there any more are then
 * passed over without a word.
 */
struct imap_walk {
	struct imap_set	set;
	bool		uid;
	size_t		range;		/* being walked */
	uint32_t	next;		/* number to look at next, 0: begin of the range */
};
bool imap_walk_init(struct imap_walk *w, const struct imap_session *s, const struct imap_set *set, bool uid);
bool imap_walk_next(struct imap_walk *w, const struct store_folder *f, uint32_t *seq);

/*
 * All of them as UIDs, malloc'd, those that are .gone left out (*gone: there
 * were some).  NULL with *n = 0 if there are none; false: no memory.
 */
bool imap_walk_uids(struct imap_walk *w, const struct store_folder *f, uint32_t **uids, size_t *n, bool *gone);

#endif
