/* auth_accounts: reads map_dir/private/accounts.cdb (lib/accounts.h). */
#ifndef PP_AUTH_ACCOUNTS_H
#define PP_AUTH_ACCOUNTS_H

#include <stdbool.h>

#include "accounts.h"
#include "addr.h"
#include "verdict.h"

struct auth_accounts;

/* Keeps map_dirfd (not owned).  The file may be missing at first.  NULL: no memory. */
struct auth_accounts *auth_accounts_open(int map_dirfd);
void auth_accounts_close(struct auth_accounts *a);

/* Has the file another device, inode, time or size than last time?  Then it is opened anew. */
bool auth_accounts_changed(struct auth_accounts *a);

/*
 * OK: *out is filled; its hash is a view, good until the next call of
 * auth_accounts_changed().  PERM: there is no such account.  TEMP: there is no
 * map, or it is damaged.
 */
enum verdict auth_accounts_find(struct auth_accounts *a, const struct addr *canonical, struct account_record *out);

#endif
