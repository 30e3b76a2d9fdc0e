/*
 * queue_intern: texts that many recipients share (why they wait, replaced
 * senders), kept once and counted.  An id is 4 octets; 0 is "none".
 *
 * Hashed with a secret key, so that nobody can choose texts that collide.
 */
#ifndef PP_QUEUE_INTERN_H
#define PP_QUEUE_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

/* SipHash-2-4 with this process's key (drawn at the first use). */
uint64_t queue_hash(struct slice text);

struct intern_entry;

struct intern {
	struct intern_entry	*entry;		/* [0] is not used */
	uint32_t		 entry_n, entry_size;
	uint32_t		 free_first;	/* list of free entries; 0: none */
	uint32_t		*slot;		/* hash table of ids */
	uint32_t		 slot_n;	/* power of two */
	uint32_t		 used;
};

/* The id of this text, counted once more; 0 if it is empty or there is no memory. */
uint32_t intern_get(struct intern *t, struct slice text);
/* One user less; 0 is fine. */
void intern_drop(struct intern *t, uint32_t id);
/* One user more. */
uint32_t intern_again(struct intern *t, uint32_t id);
/* Good until the last user drops it. */
struct slice intern_text(const struct intern *t, uint32_t id);
void intern_clear(struct intern *t);

#endif
