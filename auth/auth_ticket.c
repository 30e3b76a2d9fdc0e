#include "auth_ticket.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define SERVICE_OCTETS 16

struct ticket {
	unsigned char	octets[TICKET_OCTETS];
	uint64_t	until_usec;
	char		service[SERVICE_OCTETS];	/* filled up with NULs */
	struct addr	login;
};

struct auth_tickets {
	size_t		most, n;
	struct ticket	at[];	/* n in use, in no order */
};

struct auth_tickets *
auth_tickets_new(size_t most)
{
	struct auth_tickets *t = calloc(1, sizeof(*t) + most * sizeof(struct ticket));

	if (t != NULL)
		t->most = most;
	return t;
}

void
auth_tickets_free(struct auth_tickets *t)
{
	free(t);
}

static void
forget(struct auth_tickets *t, size_t i)
{
	t->at[i] = t->at[--t->n];
	OPENSSL_cleanse(&t->at[t->n], sizeof(struct ticket));
}

static void
forget_old(struct auth_tickets *t, uint64_t now_usec)
{
	for (size_t i = t->n; i-- > 0; ) {
		if (t->at[i].until_usec <= now_usec)
			forget(t, i);
	}
}

size_t
auth_tickets_out(struct auth_tickets *t, uint64_t now_usec)
{
	forget_old(t, now_usec);
	return t->n;
}

bool
auth_ticket_issue(struct auth_tickets *t, struct slice service, const struct addr *login,
    uint64_t now_usec, unsigned char out[TICKET_OCTETS])
{
	struct ticket *new;

	forget_old(t, now_usec);
	if (t->n == t->most || service.len >= SERVICE_OCTETS || RAND_bytes(out, TICKET_OCTETS) != 1)
		return false;
	new = &t->at[t->n++];
	*new = (struct ticket){ .until_usec = now_usec + TICKET_SECONDS * UINT64_C(1000000), .login = *login };
	memcpy(new->octets, out, TICKET_OCTETS);
	memcpy(new->service, service.ptr, service.len);
	return true;
}

bool
auth_ticket_redeem(struct auth_tickets *t, struct slice service, struct slice ticket,
    uint64_t now_usec, struct addr *login)
{
	size_t found;
	bool good;

	forget_old(t, now_usec);
	found = t->n;
	if (ticket.len != TICKET_OCTETS)
		return false;
	/* All are compared, so that the time says nothing. */
	for (size_t i = 0; i < t->n; i++) {
		if (CRYPTO_memcmp(t->at[i].octets, ticket.ptr, TICKET_OCTETS) == 0)
			found = i;
	}
	if (found == t->n)
		return false;
	good = slice_is(service, t->at[found].service);
	*login = t->at[found].login;
	forget(t, found);
	return good;
}
