/* password: read one, and hash it with yescrypt. */
#ifndef PP_PASSWORD_H
#define PP_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

#define PASSWORD_MAX	1024	/* octets; as IPC_AUTH_REQUEST has it */
#define HASH_MAX	384	/* with NUL */

/*
 * One line of standard input; on a terminal (unless from_stdin) asked for
 * twice without echo.  False: said why.  The caller wipes out.
 */
bool password_read(const struct cli *c, bool from_stdin, char out[PASSWORD_MAX + 1]);

/* crypt(5), "$y$..."; false: libxcrypt or the kernel's randomness failed. */
bool password_hash(const char *password, char out[HASH_MAX]);

#endif
