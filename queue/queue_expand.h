/*
 * queue_expand: an alias became others.  Targets that the message has already
 * (as they are, or reached by another alias) are left out, so that a mailbox
 * named twice gets one copy.
 */
#ifndef PP_QUEUE_EXPAND_H
#define PP_QUEUE_EXPAND_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "queue_message.h"
#include "slice.h"
#include "verdict.h"

/* A file or a command ("/path", "|command", "~user/path", "~user|command"), no address. */
bool expand_is_action(struct slice target);

/* What the message's recipients lead to, as far as it is known. */
struct expand_set {
	const struct message	*message;
	uint64_t		*slot;		/* hashes; 0: free */
	uint32_t		 slot_n, n;
};

/* False: no memory.  done: numbers of recipients whose delivery is known but not yet applied. */
bool expand_begin(struct expand_set *s, const struct message *m, const uint32_t *done, uint32_t done_n);
void expand_end(struct expand_set *s);

/*
 * Turn the targets of an ipc result into targets of a record with new numbers
 * from *next on; *n of them.  TEMP: no memory; PERM: too many recipients, or a
 * malformed list.
 */
enum verdict expand_targets(struct expand_set *s, struct slice ipc_targets, uint32_t *next,
    struct buf *record_targets, uint32_t *n);

#endif
