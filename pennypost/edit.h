/*
 * edit: change one of the texts that people edit (accounts, aliases), whole or
 * not at all, and compile the maps.
 *
 * A lock on domain-dir keeps two commands apart.  The new text is written
 * beside the old and renamed; when the maps do not compile with it the old
 * text is put back, so a mistake is never left behind.
 */
#ifndef PP_EDIT_H
#define PP_EDIT_H

#include <stdbool.h>
#include <sys/stat.h>

#include "addr.h"
#include "buf.h"
#include "cli.h"

struct edit {
	struct cli	*cli;
	int		 domain_dirfd;	/* of domain-dir; holds the lock */
	int		 dirfd;		/* of the file's folder */
	const char	*name;		/* "accounts", "aliases" */
	char		 path[4200];	/* of the file, for what is said */
	struct buf	 text;		/* as it is; empty when there is no file */
	struct stat	 st;		/* of the file */
	bool		 exists;
};

/* Lock domain-dir only; for `domain add` and `domain del`.  EX_OK, or said why. */
int edit_lock(struct edit *e, struct cli *c);

/* Lock, and read DOMAIN-DIR/domain/name.  EX_NOHOST: there is no such domain. */
int edit_open(struct edit *e, struct cli *c, struct slice domain, const char *name);
/* Its second half, after edit_lock(). */
int edit_domain(struct edit *e, struct slice domain, const char *name);
/* Another file of the same folder under the same lock: read it into text. */
bool edit_read(const struct edit *e, const char *name, struct buf *text);
void edit_close(struct edit *e);

/* Write the new text and compile. */
int edit_commit(struct edit *e, struct slice text);

/* Compile; mistakes are said. */
int edit_compile(struct cli *c);

/* Parse an address given on the command line, folded; said when it is none. */
bool edit_address(const struct cli *c, const char *text, struct addr *out);

#endif
