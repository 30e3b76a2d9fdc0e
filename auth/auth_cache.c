#include "auth_cache.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth_mac.h"

#define WAYS 4	/* entries that a tuple may be kept in */

struct entry {
	unsigned char	mac[AUTH_MAC_OCTETS];
	uint64_t	until_usec;	/* 0: free */
};

struct auth_cache {
	struct auth_mac_key	key;
	uint64_t		ttl_usec;
	size_t			sets;
	struct entry		at[];	/* sets * WAYS */
};

struct auth_cache *
auth_cache_new(size_t entries, unsigned ttl_s)
{
	const size_t sets = (entries + WAYS - 1) / WAYS;
	struct auth_cache *c;

	if (sets == 0 || sets > SIZE_MAX / WAYS / sizeof(struct entry) / 2)
		return NULL;
	c = calloc(1, sizeof(*c) + sets * WAYS * sizeof(struct entry));
	if (c == NULL)
		return NULL;
	c->sets = sets;
	c->ttl_usec = (uint64_t)ttl_s * 1000000;
	if (!auth_mac_key_new(&c->key)) {
		free(c);
		return NULL;
	}
	return c;
}

void
auth_cache_free(struct auth_cache *c)
{
	if (c == NULL)
		return;
	OPENSSL_cleanse(&c->key, sizeof(c->key));
	free(c);
}

/* The neighbours among which the tuple is kept; NULL if it is kept nowhere. */
static struct entry *
set_of(struct auth_cache *c, const struct auth_tuple *t, unsigned char mac[AUTH_MAC_OCTETS])
{
	const struct slice parts[] = { t->service, t->user, t->method, t->password };
	uint64_t n;

	if (c->ttl_usec == 0 || !auth_mac(&c->key, parts, LEN(parts), mac))
		return NULL;
	memcpy(&n, mac, sizeof(n));
	return &c->at[n % c->sets * WAYS];
}

bool
auth_cache_has(struct auth_cache *c, const struct auth_tuple *t, uint64_t now_usec)
{
	unsigned char mac[AUTH_MAC_OCTETS];
	const struct entry *set = set_of(c, t, mac);

	for (size_t i = 0; set != NULL && i < WAYS; i++) {
		if (set[i].until_usec > now_usec && CRYPTO_memcmp(set[i].mac, mac, sizeof(mac)) == 0)
			return true;
	}
	return false;
}

void
auth_cache_put(struct auth_cache *c, const struct auth_tuple *t, uint64_t now_usec)
{
	unsigned char mac[AUTH_MAC_OCTETS];
	struct entry *set = set_of(c, t, mac), *to = set;

	if (set == NULL)
		return;
	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].until_usec != 0 && CRYPTO_memcmp(set[i].mac, mac, sizeof(mac)) == 0) {
			to = &set[i];
			break;
		}
		if (set[i].until_usec < to->until_usec)
			to = &set[i];
	}
	memcpy(to->mac, mac, sizeof(mac));
	to->until_usec = now_usec + c->ttl_usec;
}

void
auth_cache_clear(struct auth_cache *c)
{
	memset(c->at, 0, c->sets * WAYS * sizeof(struct entry));
}
