/*
 * auth_user: what a client calls itself, checked before anything else sees it
 * (RELIABILITY.md, V12).  Pure.
 */
#ifndef PP_AUTH_USER_H
#define PP_AUTH_USER_H

#include <stdbool.h>

#include "addr.h"
#include "slice.h"

/*
 * A login as given -> canonical address (addr_canonical()).  A bare name is
 * taken as name@default_domain.  False if it holds anything but letters,
 * digits and !#$%&'+-=?^_~. (RFC 5322 atext without / * ` { | }), or is
 * no address then.
 */
bool auth_user_parse(struct slice given, struct slice default_domain, struct addr *out);

/* May this be handed to PAM: [a-z_][a-z0-9_.-]{0,31} (useradd(8), with dots)? */
bool auth_user_is_account(struct slice name);

#endif
