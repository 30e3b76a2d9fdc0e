/*
 * auth_hash: does a password fit a crypt(5) hash?  Slow by design: only the
 * crypt workers call auth_hash_check().
 */
#ifndef PP_AUTH_HASH_H
#define PP_AUTH_HASH_H

#include <stdbool.h>

#include "accounts.h"
#include "slice.h"
#include "verdict.h"

#define AUTH_PASSWORD_MAX 1024	/* octets; crypt(3) itself takes 511 */

/*
 * hash as it stands in a table -> what crypt(3) takes, as a C string.  A
 * {SCHEME} before it is taken off: CRYPT, YESCRYPT, SCRYPT, SHA512-CRYPT,
 * SHA256-CRYPT, BLF-CRYPT, MD5-CRYPT.  False if no password can fit it: another
 * scheme, empty, locked ("!", "*"), or too long.
 */
bool auth_hash_setting(struct slice hash, char out[ACCOUNTS_HASH_MAX + 1]);

/* OK: it fits.  PERM: no, or it holds a NUL.  TEMP: no memory. */
enum verdict auth_hash_check(const char *setting, struct slice password);

/*
 * A hash that no password fits, as costly to check as those that `pennypost
 * user add` makes: what the password of an unknown user is checked against.
 */
bool auth_hash_dummy(char out[ACCOUNTS_HASH_MAX + 1]);

#endif
