#include "imap_pool.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE 4000

struct imap_pool_chunk {
	struct imap_pool_chunk	*next;
	size_t			 used, size;	/* octets of data */
	alignas(max_align_t) unsigned char data[];
};

void
imap_pool_init(struct imap_pool *p, size_t cap)
{
	*p = (struct imap_pool){ .cap = cap };
}

void
imap_pool_clear(struct imap_pool *p)
{
	while (p->chunk != NULL) {
		struct imap_pool_chunk *c = p->chunk;

		p->chunk = c->next;
		free(c);
	}
	p->used = 0;
}

static struct imap_pool_chunk *
chunk_new(struct imap_pool *p, size_t size)
{
	size_t room = size > CHUNK_SIZE ? size : CHUNK_SIZE;
	struct imap_pool_chunk *c = calloc(1, sizeof(*c) + room);

	if (c == NULL)
		return NULL;
	c->size = room;
	c->next = p->chunk;
	p->chunk = c;
	return c;
}

void *
imap_pool_alloc(struct imap_pool *p, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct imap_pool_chunk *c = p->chunk;
	void *at;

	if (size > p->cap)
		return NULL;
	size = (size + align - 1) / align * align;
	if (size > p->cap - p->used)
		return NULL;
	if (c == NULL || size > c->size - c->used) {
		c = chunk_new(p, size);
		if (c == NULL)
			return NULL;
	}
	at = c->data + c->used;
	c->used += size;
	p->used += size;
	return at;
}

void *
imap_pool_array(struct imap_pool *p, size_t n, size_t size)
{
	if (size != 0 && n > SIZE_MAX / size)
		return NULL;
	return imap_pool_alloc(p, n * size);
}

bool
imap_pool_grow(struct imap_pool *p, void **at, size_t n, size_t *room, size_t size)
{
	size_t more = *room == 0 ? 8 : *room * 2;
	void *bigger;

	if (n < *room)
		return true;
	bigger = imap_pool_array(p, more, size);
	if (bigger == NULL)
		return false;
	if (n > 0)
		memcpy(bigger, *at, n * size);
	*at = bigger;
	*room = more;
	return true;
}
