/* user_cmd: what the commands user, domain and alias need of one another. */
#ifndef PP_USER_CMD_H
#define PP_USER_CMD_H

#include <stdbool.h>

#include "accounts_file.h"
#include "addr.h"
#include "cli.h"

/* Find a mailbox in the text of an accounts file. */
bool user_find(struct slice text, const struct addr *a, struct account *out);

/* Find a name ("info", "*", case ignored) in the text of an aliases file of this domain. */
bool alias_find(struct slice text, struct slice name, struct slice domain, unsigned *line);

/* Call run for each domain, in order; stops at the first that returns another code than EX_OK. */
int domain_each(struct cli *c, int (*run)(struct cli *c, const char *domain, void *arg), void *arg);

#endif
