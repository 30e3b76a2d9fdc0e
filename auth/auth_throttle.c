#include "auth_throttle.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "auth_mac.h"

#define WAYS		4
#define KEY_OCTETS	16
#define FAILURES_MAX	20	/* more are not remembered: ten minutes of peace and all is forgiven */
#define SECOND		UINT64_C(1000000)

struct entry {
	unsigned char	key[KEY_OCTETS];
	unsigned	failures;	/* 0: free */
	uint64_t	counted_usec;	/* up to when forgiving is done */
	uint64_t	next_usec;	/* when the next try may begin */
};

struct auth_throttle {
	struct auth_mac_key	key;
	size_t			sets;
	struct entry		at[];
};

struct auth_throttle *
auth_throttle_new(size_t entries)
{
	const size_t sets = (entries + WAYS - 1) / WAYS;
	struct auth_throttle *t;

	if (sets == 0 || sets > SIZE_MAX / WAYS / sizeof(struct entry) / 2)
		return NULL;
	t = calloc(1, sizeof(*t) + sets * WAYS * sizeof(struct entry));
	if (t == NULL)
		return NULL;
	t->sets = sets;
	if (!auth_mac_key_new(&t->key)) {
		free(t);
		return NULL;
	}
	return t;
}

void
auth_throttle_free(struct auth_throttle *t)
{
	free(t);
}

/* What failures are counted by: the network of the client, or the login where all come from here. */
static struct slice
counted_by(struct slice address, struct slice login, unsigned char net[8])
{
	struct in_addr four;
	struct in6_addr six;
	char text[INET6_ADDRSTRLEN];

	if (!slice_text(address, text, sizeof(text)))
		return login;
	if (inet_pton(AF_INET, text, &four) == 1) {
		if (ntohl(four.s_addr) >> 24 == 127)
			return login;
		memcpy(net, &four, sizeof(four));
		return slice_make(net, sizeof(four));
	}
	if (inet_pton(AF_INET6, text, &six) != 1 || IN6_IS_ADDR_LOOPBACK(&six))
		return login;
	if (IN6_IS_ADDR_V4MAPPED(&six)) {
		memcpy(net, &six.s6_addr[12], 4);
		return slice_make(net, 4);
	}
	memcpy(net, &six, 8);
	return slice_make(net, 8);
}

static void
forgive(struct entry *e, uint64_t now_usec)
{
	uint64_t steps;

	if (now_usec <= e->counted_usec)
		return;
	steps = (now_usec - e->counted_usec) / (THROTTLE_FORGIVE_S * SECOND);
	e->failures = steps >= e->failures ? 0 : e->failures - (unsigned)steps;
	e->counted_usec += steps * THROTTLE_FORGIVE_S * SECOND;
}

/* The entry, or (make) a free one or that which matters least; NULL if there is none. */
static struct entry *
find(struct auth_throttle *t, struct slice address, struct slice login, uint64_t now_usec, bool make)
{
	unsigned char mac[AUTH_MAC_OCTETS], net[8];
	const struct slice by = counted_by(address, login, net);
	struct entry *set, *least = NULL;
	uint64_t n;

	if (!auth_mac(&t->key, &by, 1, mac))
		return NULL;
	memcpy(&n, mac + KEY_OCTETS, sizeof(n));
	set = &t->at[n % t->sets * WAYS];
	for (size_t i = 0; i < WAYS; i++) {
		forgive(&set[i], now_usec);
		if (set[i].failures > 0 && memcmp(set[i].key, mac, KEY_OCTETS) == 0)
			return &set[i];
		if (least == NULL || set[i].failures < least->failures)
			least = &set[i];
	}
	if (!make)
		return NULL;
	*least = (struct entry){ .counted_usec = now_usec };
	memcpy(least->key, mac, KEY_OCTETS);
	return least;
}

uint64_t
auth_throttle_wait(struct auth_throttle *t, struct slice address, struct slice login, uint64_t now_usec)
{
	struct entry *e = find(t, address, login, now_usec, false);
	uint64_t space = SECOND, begin;

	if (e == NULL || e->failures < THROTTLE_FREE)
		return 0;
	for (unsigned i = THROTTLE_FREE; i < e->failures && space < THROTTLE_SPACE_MAX_S * SECOND; i++)
		space *= 2;
	begin = e->next_usec > now_usec ? e->next_usec : now_usec;
	if (begin - now_usec > THROTTLE_WAIT_MAX_S * SECOND)
		return UINT64_MAX;
	e->next_usec = begin + space;
	return begin - now_usec;
}

void
auth_throttle_failed(struct auth_throttle *t, struct slice address, struct slice login, uint64_t now_usec)
{
	struct entry *e = find(t, address, login, now_usec, true);

	if (e == NULL)
		return;
	if (e->failures < FAILURES_MAX)
		e->failures++;
}
