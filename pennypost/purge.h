/* purge: remove a mailbox (or a domain's) from the mail root, or a folder of our own. */
#ifndef PP_PURGE_H
#define PP_PURGE_H

#include <stdbool.h>

#include "cli.h"

/*
 * Remove MAIL-ROOT/below and everything in it; below is "domain" or
 * "domain/user".  Done in a child that runs as the owner of the mail, so that
 * nothing planted there leads root astray.  True if nothing is left.
 */
bool purge_mail(const struct cli *c, const char *below);

/* Remove the folder of this path and everything in it, following no symbolic link below it.  False with errno. */
bool purge_folder(const char *path);

#endif
