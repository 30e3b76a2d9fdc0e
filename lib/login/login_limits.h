/*
 * login_limits: how many connections there are, in all and from one client,
 * over all fronts of a daemon (RELIABILITY.md P14, V18).
 *
 * The fronts share a page or more of counters; each writes its own part alone,
 * so a front that dies leaves nothing behind once its part was cleared.  A
 * client is an IPv4 address or an IPv6 /64.  Clients are counted by a keyed
 * hash: two may share a counter, which makes the limit stricter for both, and
 * nobody can choose to share one.
 */
#ifndef PP_LOGIN_LIMITS_H
#define PP_LOGIN_LIMITS_H

#include <stdbool.h>
#include <stddef.h>

#define LOGIN_WORKERS	8	/* fronts of a daemon, at most */

struct login_limits;

/*
 * Before the first fork.  Each of the workers may have a few connections even
 * when the others have taken all places: it can drop only its own (login_session.c),
 * and a new client must get in wherever it lands.  NULL: no memory.
 */
struct login_limits *login_limits_new(unsigned workers, unsigned total, unsigned per_client);
void login_limits_free(struct login_limits *l);	/* NULL is fine */

enum login_limit { LOGIN_LIMIT_NONE, LOGIN_LIMIT_CLIENT, LOGIN_LIMIT_TOTAL };

/*
 * Count a connection of `worker` from address ("192.0.2.1", "2001:db8::1";
 * anything else has no limit of its own).  Returns which limit forbids it, or
 * NONE: then *slot is for login_limits_give().
 */
enum login_limit login_limits_take(struct login_limits *l, unsigned worker, const char *address, size_t *slot);
void login_limits_give(struct login_limits *l, unsigned worker, size_t slot);

/* The worker is dead: its connections are gone. */
void login_limits_reset(struct login_limits *l, unsigned worker);

/* Connections of all workers. */
unsigned login_limits_total(const struct login_limits *l);

#endif
