/*
 * auth_cache: good answers, so that a phone that asks every minute does not
 * cost a yescrypt each time.
 *
 * Only "yes" is kept, under a keyed hash of the whole tuple (V12): neither
 * passwords nor logins are in memory, and no answer can serve another service,
 * user, method or password.  Bounded; the oldest of a few neighbours gives way.
 * Pure: the clock is given.
 */
#ifndef PP_AUTH_CACHE_H
#define PP_AUTH_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

struct auth_cache;

struct auth_tuple {
	struct slice	service;	/* "imap" */
	struct slice	user;		/* canonical login */
	struct slice	method;		/* "PLAIN" */
	struct slice	password;
};

/* entries: how many at most (rounded up); ttl_s: how long, 0 keeps nothing.  NULL: no memory or no randomness. */
struct auth_cache *auth_cache_new(size_t entries, unsigned ttl_s);
void auth_cache_free(struct auth_cache *c);

bool auth_cache_has(struct auth_cache *c, const struct auth_tuple *t, uint64_t now_usec);
void auth_cache_put(struct auth_cache *c, const struct auth_tuple *t, uint64_t now_usec);

/* The maps have changed: nothing is known any more. */
void auth_cache_clear(struct auth_cache *c);

#endif
