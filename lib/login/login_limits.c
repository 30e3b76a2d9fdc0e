/* login_limits: see the header. */
#include "login/login_limits.h"

#include <arpa/inet.h>
#include <openssl/sha.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define SLOTS		65536	/* counters of clients; the last one counts those without limit */
#define SLOT_NONE	(SLOTS - 1)
#define SHARE_MAX	64		/* connections that a worker may have in any case */

struct part {		/* written by one front (and cleared by the parent) */
	_Atomic uint32_t	total;
	_Atomic uint16_t	client[SLOTS];
};

struct login_limits {	/* shared memory; touched pages alone cost something */
	unsigned	total, per_client, share;
	unsigned char	key[16];
	struct part	part[LOGIN_WORKERS];
};

struct login_limits *
login_limits_new(unsigned workers, unsigned total, unsigned per_client)
{
	unsigned share = total / (workers == 0 ? 1 : workers);
	struct login_limits *l = mmap(NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (l == MAP_FAILED)
		return NULL;
	l->total = total;
	l->per_client = per_client;
	l->share = share > SHARE_MAX ? SHARE_MAX : share;
	if (getrandom(l->key, sizeof(l->key), 0) != sizeof(l->key)) {
		login_limits_free(l);
		return NULL;
	}
	return l;
}

void
login_limits_free(struct login_limits *l)
{
	if (l != NULL)
		(void)munmap(l, sizeof(*l));
}

/* The counter of a client. */
static size_t
slot_of(const struct login_limits *l, const char *address)
{
	unsigned char in[sizeof(l->key) + 16] = { 0 }, digest[SHA256_DIGEST_LENGTH];
	unsigned char *net = in + sizeof(l->key);
	size_t len;

	memcpy(in, l->key, sizeof(l->key));
	if (inet_pton(AF_INET, address, net) == 1)
		len = 4;
	else if (inet_pton(AF_INET6, address, net) == 1)
		len = 8;	/* the /64 */
	else
		return SLOT_NONE;
	(void)SHA256(in, sizeof(l->key) + len, digest);
	return ((size_t)digest[0] << 8 | digest[1]) % SLOT_NONE;
}

unsigned
login_limits_total(const struct login_limits *l)
{
	unsigned n = 0;

	for (unsigned w = 0; w < LOGIN_WORKERS; w++)
		n += atomic_load_explicit(&l->part[w].total, memory_order_relaxed);
	return n;
}

static unsigned
client_count(const struct login_limits *l, size_t slot)
{
	unsigned n = 0;

	for (unsigned w = 0; w < LOGIN_WORKERS; w++)
		n += atomic_load_explicit(&l->part[w].client[slot], memory_order_relaxed);
	return n;
}

enum login_limit
login_limits_take(struct login_limits *l, unsigned worker, const char *address, size_t *slot)
{
	struct part *part = &l->part[worker];

	*slot = slot_of(l, address);
	if (*slot != SLOT_NONE && client_count(l, *slot) >= l->per_client)
		return LOGIN_LIMIT_CLIENT;
	if (login_limits_total(l) >= l->total &&
	    atomic_load_explicit(&part->total, memory_order_relaxed) >= l->share)
		return LOGIN_LIMIT_TOTAL;
	(void)atomic_fetch_add_explicit(&part->total, 1, memory_order_relaxed);
	if (atomic_load_explicit(&part->client[*slot], memory_order_relaxed) < UINT16_MAX)
		(void)atomic_fetch_add_explicit(&part->client[*slot], 1, memory_order_relaxed);
	return LOGIN_LIMIT_NONE;
}

void
login_limits_give(struct login_limits *l, unsigned worker, size_t slot)
{
	struct part *part = &l->part[worker];

	if (atomic_load_explicit(&part->total, memory_order_relaxed) > 0)
		(void)atomic_fetch_sub_explicit(&part->total, 1, memory_order_relaxed);
	if (atomic_load_explicit(&part->client[slot], memory_order_relaxed) > 0)
		(void)atomic_fetch_sub_explicit(&part->client[slot], 1, memory_order_relaxed);
}

void
login_limits_reset(struct login_limits *l, unsigned worker)
{
	memset(&l->part[worker], 0, sizeof(l->part[worker]));
}
