/*
 * auth_throttle: who fails again and again has to wait before the next try.
 *
 * Failures are counted per client address (IPv6: per /64); one is forgiven
 * every THROTTLE_FORGIVE_S.  From THROTTLE_FREE on, tries of that address are
 * spaced, by 1 s, 2 s ... up to THROTTLE_SPACE_MAX_S.  Behind an address of
 * this machine (a web mail program) sit many people, so there each login is
 * counted by itself.  Bounded; nothing waits in here: the caller sets a timer.
 * Pure: the clock is given.
 */
#ifndef PP_AUTH_THROTTLE_H
#define PP_AUTH_THROTTLE_H

#include <stdint.h>

#include "slice.h"

#define THROTTLE_FREE		5
#define THROTTLE_FORGIVE_S	30
#define THROTTLE_SPACE_MAX_S	16
#define THROTTLE_WAIT_MAX_S	30	/* longer than this nobody is kept waiting */

struct auth_throttle;

/* entries: addresses at most; the one that failed least gives way.  NULL: no memory or no randomness. */
struct auth_throttle *auth_throttle_new(size_t entries);
void auth_throttle_free(struct auth_throttle *t);

/*
 * Microseconds to wait before a try, whose place in the row is taken by this
 * call; UINT64_MAX: too many are waiting, say "try again later".
 */
uint64_t auth_throttle_wait(struct auth_throttle *t, struct slice address, struct slice login, uint64_t now_usec);

void auth_throttle_failed(struct auth_throttle *t, struct slice address, struct slice login, uint64_t now_usec);

#endif
