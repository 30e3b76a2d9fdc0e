/*
 * auth_ticket: the proof that a login was good, carried by the front (which
 * talks to strangers) to the parent of imapd or pop3d (which does not believe
 * the front who it is talking to).
 *
 * 16 random octets, good once, for TICKET_SECONDS, for the service it was made
 * for; a try with the wrong service uses it up.  Pure: the clock is given.
 */
#ifndef PP_AUTH_TICKET_H
#define PP_AUTH_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "slice.h"

#define TICKET_OCTETS	16
#define TICKET_SECONDS	30

struct auth_tickets;

/* At most `most` tickets are out at once.  NULL: no memory. */
struct auth_tickets *auth_tickets_new(size_t most);
void auth_tickets_free(struct auth_tickets *t);

/* False: there are too many, or no randomness. */
bool auth_ticket_issue(struct auth_tickets *t, struct slice service, const struct addr *login,
    uint64_t now_usec, unsigned char out[TICKET_OCTETS]);

/* False if it is unknown, used, too old, or of another service. */
bool auth_ticket_redeem(struct auth_tickets *t, struct slice service, struct slice ticket,
    uint64_t now_usec, struct addr *login);

/* How many are out that could still be redeemed. */
size_t auth_tickets_out(struct auth_tickets *t, uint64_t now_usec);

#endif
