/*
 * maps_table: what maps_compile() knows between reading and writing.
 *
 *	maps.c		the order of things
 *	maps_read.c	texts -> entries
 *	maps_link.c	one entry an address; postmaster, owners, checks
 *	maps_write.c	entries -> routes.cdb, private/accounts.cdb
 */
#ifndef PP_MAPS_TABLE_H
#define PP_MAPS_TABLE_H

#include "addr.h"
#include "buf.h"
#include "conf.h"
#include "maps.h"
#include "routes.h"

/* Where an entry comes from; at one address the lower wins. */
enum maps_source { FROM_ACCOUNTS, FROM_DOMAIN_ALIASES, FROM_MACHINE_ALIASES, FROM_SYSTEM, FROM_US };

struct maps_entry {
	char		*key;		/* canonical address; "*@domain" is the catch-all */
	enum maps_source source;
	uint32_t	 file;		/* index into maps_table.file */
	uint32_t	 line;

	bool		 has_mailbox, has_alias;
	bool		 system;
	char		*home;
	uint32_t	 uid, gid;
	uint64_t	 quota;
	char		*hash;		/* crypt(5), "" none */
	bool		 disabled;
	struct buf	 targets;	/* route_target_put() */
	char		*owner;		/* owner-NAME's address, or NULL */
	uint32_t	 alias_file, alias_line;

	bool		 seen, on_path;	/* search for loops */
};

struct maps_domain {
	char	*name;		/* canonical */
	char	*means;		/* the domain it is short for; NULL: itself */
	char	*first_mailbox;	/* address of the first account in its file, or NULL */
	uint32_t alias_file;	/* index of its aliases file, for messages */
};

struct maps_table {
	const struct conf	*conf;
	struct maps_report	*report;
	struct maps_entry	*at;
	size_t			 n, size;
	size_t			 sorted;	/* so many of them in order of key, one a key: those that can be found */
	struct maps_domain	*domain;
	size_t			 domain_n, domain_size;
	char			**file;
	size_t			 file_n, file_size;
	char			*first_user;	/* address of the first user of the machine, or NULL */
	char			 host[ADDR_DOMAIN_MAX + 1];	/* our hostname, canonical */
	bool			 failed;	/* an error was reported: nothing is written */
	bool			 no_aliases;	/* the machine's file is missing: said by exit code 66 */
	bool			 no_memory;
};

/* maps.c.  A finding; line 0: the file as a whole; file may be NULL. */
void maps_problem(struct maps_table *t, bool warning, const char *file, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The error that ends it all with this exit code. */
void maps_fail(struct maps_table *t, int exit_code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Room for one more; NULL: no memory (noted). */
struct maps_entry *maps_entry_add(struct maps_table *t, struct slice key);
struct maps_domain *maps_domain_add(struct maps_table *t, const char *name);
struct maps_domain *maps_domain_find(struct maps_table *t, struct slice name);
uint32_t maps_file_add(struct maps_table *t, const char *path);
const char *maps_file(const struct maps_table *t, uint32_t file);

void maps_read(struct maps_table *t);
void maps_link(struct maps_table *t);
void maps_write(struct maps_table *t);

/* maps_link.c: where mail to an address of ours goes (exact, without detail, catch-all), or NULL. */
struct maps_entry *maps_resolve(struct maps_table *t, const struct addr *a);
struct maps_entry *maps_entry_find(struct maps_table *t, const char *key);

#endif
