/*
 * expand: what an address becomes when all aliases are followed (deliver,
 * sendmail -bv, pennypost explain).  Loops stop at 100 levels or 1000 aliases
 * on the way; duplicates are dropped, the first stays.
 */
#ifndef PP_EXPAND_H
#define PP_EXPAND_H

#include "addr.h"
#include "buf.h"
#include "routes.h"
#include "verdict.h"

#define EXPAND_LEVELS		100
#define EXPAND_ALIASES		1000	/* aliases, :include: files and .forward files looked into for one address */
#define EXPAND_TARGETS		50000	/* results */
#define EXPAND_FILE_MAX		(4 * 1024 * 1024)	/* octets of an :include: or .forward file */

enum expand_kind {
	EXPAND_MAILBOX,		/* an address of ours, with its +detail, that is a mailbox */
	EXPAND_REMOTE,		/* an address elsewhere */
	EXPAND_FILE,		/* "/path"; out of a user's .forward "~user/path", or "~user+detail/path" */
	EXPAND_COMMAND,		/* "|command", "~user|command" or "~user+detail|command" */
	EXPAND_UNKNOWN,		/* an address of ours behind an alias, where nobody is: it bounces by itself */
};

struct expand_target {
	enum expand_kind kind;
	char		*text;		/* owned: address, path or command, at most 320 octets */
	char		*sender;	/* owned; owner- alias on the way: new envelope sender; NULL: as it was */
	char		*via;		/* owned: "FILE:LINE alias info@x -> alice@x; ..." for trace and explain; "" if direct */
};

struct expansion {
	struct expand_target	*at;
	size_t			 n;
	bool			 direct;	/* the address itself is a mailbox: nothing was expanded */
	char			 dsn[16];	/* on TEMP and PERM: "5.4.6", "5.1.1", "4.3.0" */
	char			 why[400];	/* and the words: "alias loop: a@x -> b@x -> a@x" */
};

struct expand_ops {
	/*
	 * Read an :include: file; NULL: includes give TEMP.  user: whose
	 * .forward it stands in (read it as him), or NULL: the machine's aliases.
	 */
	enum verdict (*include)(void *ctx, const struct route *user, struct slice path, struct buf *out);
	/*
	 * Read the .forward file of a user of the machine (route->system); with a
	 * route->detail that is alias_detail_safe(), .forward+DETAIL first.  OK: it is there; PERM: there is none, or it is one to be
	 * passed over; TEMP.  NULL: .forward files are not looked at.
	 */
	enum verdict (*forward)(void *ctx, const struct route *user, struct buf *out);
	/* A mistake in a file that was read at delivery; may be NULL.  The line is passed over. */
	void (*mistake)(void *ctx, const char *file, unsigned line, const char *text);
	void *ctx;
};

/*
 * OK: *out is filled.  TEMP, PERM: out->dsn and out->why say why; nothing else
 * is in it.  ops may be NULL.  An :include: file with mistakes gives TEMP (a
 * recipient would be lost; it may hold addresses alone); a .forward file with mistakes is passed over as a
 * whole: the mail goes to the user's mailbox.
 */
enum verdict expand_address(struct routes *r, const struct addr *a, const struct expand_ops *ops,
    struct expansion *out);
void expansion_clear(struct expansion *e);

#endif
