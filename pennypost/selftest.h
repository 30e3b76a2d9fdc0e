/*
 * selftest: `pennypost selftest crash`, the proof that no message is lost, run
 * by an administrator on the file system that is to hold the mail.
 *
 * A scratch suite of the installed binaries is loaded from several processes,
 * its daemons are killed at random instants and at chosen system calls, it is
 * started again, and the mailboxes and the queue are compared with what was
 * answered.  Nothing in a daemon knows of it.
 *
 * selftest_cmd.c	options, the rounds, the report
 * selftest_suite.c	the scratch suite: made, started, killed, removed
 * selftest_point.c	a process killed before or after its n-th write, sync, rename, answer
 * selftest_load.c	the senders, and what they were answered
 * selftest_imap.c	the keepers: APPEND, COPY, MOVE, STORE, EXPUNGE
 * selftest_message.c	the content of message n, and the way back
 * selftest_verify.c	mailboxes and queue against the answers
 */
#ifndef PP_SELFTEST_H
#define PP_SELFTEST_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "cli.h"
#include "proc.h"

#define SELFTEST_USERS	4		/* u0@ ... u3@, and both@ for u0 and u1 */
#define SELFTEST_DOMAIN	"selftest.test"
#define SELFTEST_AWAY	"away@elsewhere.test"	/* nobody takes it: stays in the queue */
#define PLACES		(SELFTEST_USERS + 1)	/* mailboxes, then the queue */
#define PLACE_QUEUE	SELFTEST_USERS
#define SENDERS_SMTP	6
#define SENDERS		8		/* the last ones use sendmail */
#define KEEPERS		2		/* by IMAP, in mailboxes of their own, k0@ and k1@ */
#define WORKERS		(SENDERS + KEEPERS)
#define KEEPS_MAX	4096		/* messages of a keeper between two looks */
#define SELFTEST_PASSWORD "not a secret"
#define MESSAGES_MAX	(8u * 1024 * 1024)

/* What the sender of a message knows of it. */
enum told {
	TOLD_NOTHING,		/* number not used */
	TOLD_REFUSED,		/* 4xx or 5xx, or never sent whole: must be nowhere */
	TOLD_DOUBT,		/* sent whole, no answer came: everywhere once, or nowhere */
	TOLD_TAKEN,		/* 250, or exit code 0: everywhere once */
};
struct selftest_fate {
	_Atomic uint8_t	told;		/* enum told; written by the sender alone */
	bool		by_sendmail;	/* the same */
	uint16_t	code;		/* of the SMTP reply or of the exit; the same */
	uint8_t		seen[PLACES];	/* how often it was found there, in all checks so far */
	uint64_t	qid;		/* under which it was found first; 0: not yet */
	uint32_t	keep;		/* a keeper's: keeper * KEEPS_MAX + index + 1; 0: none */
};

/* How often a keeper's message is in these folders. */
struct keep_counts {
	uint8_t	inbox, archive, sent;
};
struct keep {
	uint32_t		 n, uid;	/* uid in INBOX; 0: not there, or not known */
	struct keep_counts	 allowed[2];	/* by what was answered */
	uint8_t			 allowed_n;
	bool			 flagged;	/* \Flagged was set for certain */
	const char		*last;		/* the command that counts, for the report */
	struct keep_counts	 seen;
	bool			 seen_flagged;	/* in INBOX or Archive */
};
struct keeps {
	uint32_t		 n;		/* written by the keeper; emptied when it rests */
	uint64_t		 commands[3];	/* OK, NO, without an answer */
	struct keep		 at[KEEPS_MAX];
};

/* Between the senders and their parent, in shared memory. */
struct selftest_shared {
	_Atomic bool		pause;		/* finish the message at hand and wait */
	_Atomic bool		idle[WORKERS];	/* waits */
	_Atomic uint32_t	next;		/* number of the next message */
	struct keeps		keeps[KEEPERS];
	struct selftest_fate	fate[MESSAGES_MAX];
};

enum kill_kind { KILL_ONE, KILL_ALL, KILL_POINT, KILL_KINDS };

/* ---- selftest_point.c ---- */

enum point_call { POINT_WRITE, POINT_SYNC, POINT_RENAME, POINT_REMOVE, POINT_OPEN, POINT_SEND, POINT_CALLS };
extern const char *const point_name[POINT_CALLS];

struct point {
	unsigned	calls;		/* bits of enum point_call */
	bool		after;		/* the call was done; else it never happened */
	unsigned	nth;		/* counted from now */
	unsigned	wait_ms;	/* left alone when it has not come so far by then */
	enum point_call	hit;		/* out: which call it was */
};
enum point_end {
	POINT_HIT,			/* killed at that call */
	POINT_MISSED,			/* not killed: it did not come to that call in time */
	POINT_GONE,			/* it ended by itself before */
	POINT_REFUSED,			/* we may not trace it; not killed */
};
enum point_end point_kill(const struct proc *victim, struct point *p);

/* ---- selftest_message.c ---- */


/* A random number that depends on both; the same for ever. */
uint64_t selftest_mix(uint64_t a, uint64_t b);
/* The next of a sequence. */
uint64_t selftest_next(uint64_t *state);

/* Places (bits) that message n goes to. */
unsigned message_places(uint64_t seed, uint32_t n, bool by_sendmail);
/* Its recipients, NULL-terminated. */
void message_rcpts(unsigned places, bool alias, const char *rcpt[SELFTEST_USERS + 2]);
/* Header and body with CRLF, not dot-stuffed. */
bool message_content(uint64_t seed, uint32_t n, struct buf *out);
/* Which message a stored file holds, whether it is whole; false: none of ours. */
bool message_parse(uint64_t seed, struct slice file, uint32_t *n, bool *whole);

/* ---- selftest_suite.c ---- */

struct selftest_suite {
	struct cli		*cli;
	char			 dir[4096];	/* scratch folder; absolute */
	char			 conf_file[4200];
	char			 self[4096];	/* this program */
	uint16_t		 smtp_port, imap_port;
	struct conf		 conf;		/* of the scratch suite */
	bool			 loaded;
	unsigned		 wait_s;	/* for the next step of a queue that runs dry */
	bool			 untraced;	/* a process could not be traced */
	pid_t			 worker[WORKERS];
	unsigned		 starts;
	uint64_t		 start_usec;	/* time in all starts together */
	struct suite_deaths {
		char		name[32];
		unsigned	n;
	}			 deaths[16];	/* since the last start, by name */
};

extern volatile sig_atomic_t selftest_stop;	/* Ctrl-C: end as soon as possible */

bool suite_make(struct selftest_suite *s, const char *below);
bool suite_start(struct selftest_suite *s);	/* says why not; true if it runs already */
bool suite_runs(const struct selftest_suite *s);	/* is there a master? */
/* All its processes: our descendants but the workers.  malloc'd. */
struct proc *suite_processes(const struct selftest_suite *s, size_t *n);
/* Kill until none is left. */
void suite_kill_all(struct selftest_suite *s);
/*
 * Kill one process of one name, both at random.  With a point it is one of those
 * through which messages go, killed there, or anywhere if it may not be traced.
 */
enum point_end suite_kill_one(struct selftest_suite *s, uint64_t *random, struct point *p);
/* Has one daemon died so often that the master lets it wait? */
bool suite_tired(const struct selftest_suite *s);
void suite_reap(const struct selftest_suite *s);
void suite_nap(unsigned usec);
/* Everything ended and, unless keep, removed. */
void suite_clear(struct selftest_suite *s, bool keep);

/* ---- selftest_load.c ---- */

/* Fork senders and keepers; they end with us. */
bool load_start(struct selftest_suite *s, struct selftest_shared *shared, uint64_t seed);
/* Stop them between two messages; false: one does not come to rest. */
bool load_pause(struct selftest_shared *shared, unsigned wait_ms);
void load_go_on(struct selftest_shared *shared);
/* For a worker, between two messages: wait while there is a pause. */
void load_rest(struct selftest_shared *shared, size_t worker);

/* ---- selftest_imap.c ---- */

_Noreturn void keeper_run(const struct selftest_suite *suite, struct selftest_shared *shared, uint64_t seed,
    unsigned which);

/* ---- selftest_verify.c ---- */

struct verify_result {
	uint64_t	taken, refused, doubt;	/* messages */
	uint64_t	doubt_there;		/* of those in doubt */
	uint64_t	lost;			/* missing at a place: taken, or in doubt and at others */
	uint64_t	doubled;		/* more than once at a place */
	uint64_t	torn;			/* not whole */
	uint64_t	ghosts;			/* refused, or never sent there, and there */
	uint64_t	strangers;		/* of them: none of the messages that were sent */
	uint64_t	octets;			/* read back */
	uint64_t	kept;			/* messages of keepers that were compared */
	uint64_t	keeps_wrong;		/* of them: not in a state that the answers allow */
};

/*
 * Wait until only mail for SELFTEST_AWAY is queued, then look at every file and
 * queued message that is there, count it, and remove it.  False: the
 * suite did not come so far (said); what is there was looked at all the same.
 */
bool verify_look(struct selftest_suite *s, struct selftest_shared *shared, uint64_t seed, struct verify_result *r);
/* Compare all that was seen so far with what senders and keepers were told; says the first losses. */
void verify_count(const struct selftest_suite *s, struct selftest_shared *shared, uint64_t seed, struct verify_result *r);

#endif
