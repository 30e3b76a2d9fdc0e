/* init: what `pennypost domain add` shares with `pennypost init`. */
#ifndef PP_INIT_H
#define PP_INIT_H

#include <stdbool.h>

#include "cli.h"

/* Make domain_dirfd/<domain>/ with empty, commented accounts and aliases; what is there stays. */
bool init_domain_files(const struct cli *c, int domain_dirfd, const char *domain);

#endif
