/*
 * imap_pool: memory of one command, freed all at once.
 *
 * What a parser makes of a command (unquoted strings, lists, search keys)
 * lives here until the command is done.  The cap bounds what one command can
 * make us allocate, whatever it says.
 */
#ifndef PP_IMAP_POOL_H
#define PP_IMAP_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct imap_pool_chunk;

struct imap_pool {
	struct imap_pool_chunk	*chunk;	/* newest first; owned */
	size_t			 used;	/* octets asked for so far */
	size_t			 cap;	/* most octets it will give */
};

void imap_pool_init(struct imap_pool *p, size_t cap);
/* Frees everything that came from it. */
void imap_pool_clear(struct imap_pool *p);

/* Zeroed, aligned for any type.  NULL: over the cap, or no memory. */
void *imap_pool_alloc(struct imap_pool *p, size_t size);
void *imap_pool_array(struct imap_pool *p, size_t n, size_t size);

/*
 * Make room for one more element behind the *n that *at holds; grows by
 * doubling (the old place stays in the pool until it is cleared).  *room is
 * the number of elements there is space for.  False: over the cap.
 */
bool imap_pool_grow(struct imap_pool *p, void **at, size_t n, size_t *room, size_t size);

#endif
