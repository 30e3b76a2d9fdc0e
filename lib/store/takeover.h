/*
 * takeover: the lists that Dovecot and Courier keep of a Maildir folder.  The parsers are
 * pure: text in, values out; any text gives a list, or is refused as a whole.
 * Private to lib/store, but for tests and fuzzers.
 */
#ifndef PP_STORE_TAKEOVER_H
#define PP_STORE_TAKEOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

#define TAKEOVER_UIDL_MAX 70	/* octets, RFC 1939 section 7 */

struct takeover_entry {
	uint32_t	uid;
	struct slice	base;		/* view into the text */
	uint64_t	size, crlf_size; /* 0: not told */
	struct slice	uidl;		/* of POP3; ptr NULL: made of UID and UIDVALIDITY */
};

struct takeover {
	uint32_t	uidvalidity, uidnext;
	struct takeover_entry *at;	/* by ascending UID; owned */
	size_t		n, cap;
	size_t		bad;		/* lines that were no entries, or came a second time */
};

/*
 * dovecot-uidlist, versions 1 to 3:
 *	1 UIDVALIDITY UIDNEXT			UID FILENAME
 *	3 V<uidvalidity> N<uidnext> ...		UID [KEYVALUE ...] :FILENAME
 * courierimapuiddb is like version 1.  False: it is none of these, or there is no memory.
 */
bool takeover_parse_uids(struct slice text, struct takeover *out);
void takeover_clear(struct takeover *t);

/* courierpop3dsizelist: the UIDLs that Courier gave, into the entries of the same base name.
 * They are put together in *store (caller's, inited), which the entries then point into. */
struct buf;
void takeover_parse_pop3(struct slice text, struct takeover *t, struct buf *store);

/* courierimapkeywords/:list: names, an empty line, "FILENAME:0 3".  Take the next name off
 * *text, then (after false) the next file; bits: of the names in their order. */
bool takeover_keyword_name(struct slice *text, struct slice *name);
bool takeover_keyword_file(struct slice *text, struct slice *base, uint32_t *bits);

#endif
