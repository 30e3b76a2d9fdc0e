/*
 * auth_last: when each user logged in last, by which protocol, from where.
 *
 * A Berkeley DB environment of its own (state_dir/auth), with transactions;
 * recovered whenever it is opened, so a kill leaves nothing to do by hand, and
 * made anew if it cannot be recovered: it is nice to have, not precious.
 * Logins are noted in memory and written together by auth_last_flush(), without
 * waiting for the disk.  The log of the environment is bounded.
 */
#ifndef PP_AUTH_LAST_H
#define PP_AUTH_LAST_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

struct auth_last;

struct auth_last_entry {
	uint64_t	usec;		/* since 1970 */
	uint64_t	count;		/* good logins so far */
	char		address[65];
};

/*
 * dirfd: the folder, which must also be the working folder of the process.
 * The database is opened by the first flush: another auth may still be ending.
 * NULL: no memory.
 */
struct auth_last *auth_last_open(int dirfd);
void auth_last_close(struct auth_last *l);	/* flushes */

void auth_last_note(struct auth_last *l, struct slice login, struct slice service, struct slice address,
    uint64_t now_usec);
/* Is there something to flush? */
bool auth_last_pending(const struct auth_last *l);
/* False: the database is not open (another process has it); what is pending stays. */
bool auth_last_flush(struct auth_last *l);

/* The entry of one login and service; false if there is none, *open tells whether the database could be asked. */
bool auth_last_find(struct auth_last *l, struct slice login, struct slice service, struct auth_last_entry *out,
    bool *open);

#endif
