/*
 * expand: what an address becomes when all aliases are followed (deliver,
 * sendmail -bv, pennypost explain).  Loops stop at 100 levels or 1000
 * expansions; duplicates are dropped.
 */
#ifndef PP_EXPAND_H
#define PP_EXPAND_H

#include "addr.h"
#include "buf.h"
#include "routes.h"
#include "verdict.h"

enum expand_kind { EXPAND_MAILBOX, EXPAND_REMOTE, EXPAND_FILE, EXPAND_COMMAND };

struct expand_target {
	enum expand_kind kind;
	char		*text;		/* owned: address, path or command */
	char		*sender;	/* owned; owner- alias on the way: new envelope sender; NULL: as it was */
	char		*via;		/* owned: "FILE:LINE alias info@x -> alice@x; ..." for trace and explain */
};

struct expansion {
	struct expand_target	*at;
	size_t			 n;
	bool			 direct;	/* the address itself is a mailbox: nothing was expanded */
	char			 dsn[16];	/* on TEMP and PERM: "5.4.6", "5.1.1", "4.3.0" */
	char			 why[400];	/* and the words: "alias loop: a@x -> b@x -> a@x" */
};

struct expand_ops {
	/* Read an :include: file; NULL: includes give TEMP. */
	enum verdict (*include)(void *ctx, struct slice path, struct buf *out);
	void *ctx;
};

/* OK: *out is filled.  TEMP, PERM: out->dsn and out->why say why; nothing else is in it. */
enum verdict expand_address(struct routes *r, const struct addr *a, const struct expand_ops *ops,
    struct expansion *out);
void expansion_clear(struct expansion *e);

#endif
