/*
 * smtp_envelope: sender and recipients of the transaction under way.
 */
#ifndef PP_SMTP_ENVELOPE_H
#define PP_SMTP_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "ipc.h"

struct smtp_envelope {
	struct addr	 sender;
	uint64_t	 size;		/* SIZE=, 0 if not given */
	bool		 body_8bit;	/* BODY=8BITMIME */
	struct buf	 rcpts;		/* list of struct ipc_rcpt, each address once */
	size_t		 accepted;	/* RCPT commands answered 250: LMTP owes as many replies */
	size_t		 rcpt_n;	/* elements of rcpts */
	uint32_t	*seen;		/* hash table: 1 + offset in rcpts, 0 free */
	size_t		 seen_size;	/* slots, a power of 2; 0: none yet */
};

/* rcpts_max: most recipients it may be given. */
void smtp_envelope_init(struct smtp_envelope *e, size_t rcpts_max);
void smtp_envelope_clear(struct smtp_envelope *e);	/* frees all; may be used again */

/*
 * Add a recipient; one that is there already is only counted.  False: no
 * memory; nothing has changed then.
 */
bool smtp_envelope_add(struct smtp_envelope *e, const struct addr *rcpt, enum ipc_hint hint);

/*
 * The recipients in lists of at most IPC_RCPTS_MAX octets, for frames: take the
 * next off the front of *rest (at first all of rcpts).  Empty at the end.
 */
struct slice smtp_envelope_part(struct slice *rest);

#endif
