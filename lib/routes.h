/*
 * routes: where an address leads.  Read from map_dir/routes.cdb, which
 * maps_compile() (maps.h) makes of domains/<domain>/{accounts,aliases},
 * /etc/aliases and the machine's users.
 *
 * Precedence is fixed: mailbox, alias, the address without its +detail
 * (mailbox, then alias), catch-all.  For a user of the machine (passwd) the
 * alias comes first, as everywhere: `root: alice` has to work; an alias that
 * lists itself reaches the user's own mailbox.
 */
#ifndef PP_ROUTES_H
#define PP_ROUTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "slice.h"
#include "verdict.h"

struct routes;

/* Keeps dirfd (not owned).  The file may be missing at first. */
struct routes *routes_open(int map_dirfd);
void routes_close(struct routes *r);

/* Look (fstatat, at most once a second of now_usec) whether the file was replaced; open the new one.
 * A new file that is damaged is not taken: the map then counts as missing. */
void routes_refresh(struct routes *r, uint64_t now_usec);
/* The same for a process that may not open files: use the map in this descriptor (which is then ours). */
bool routes_take(struct routes *r, int fd);
/* Is there a map at all? */
bool routes_ready(const struct routes *r);

enum route_kind { ROUTE_MAILBOX, ROUTE_ALIAS, ROUTE_CATCHALL };

struct route {
	enum route_kind	 kind;
	struct addr	 key;		/* what matched: canonical address; for a catch-all "*@domain" */
	struct slice	 detail;	/* view into the address asked for */
	bool		 system;	/* a user of the machine */
	struct slice	 home;		/* mailbox: "domain/user" below mail_root, or the absolute home */
	uint32_t	 uid, gid;	/* of a system user; 0xffffffff: pp-vmail */
	uint64_t	 quota;		/* octets, 0 none */
	struct slice	 targets;	/* alias, catch-all: list for routes_next_target() */
	struct slice	 owner;		/* owner-NAME's address if there is one: replaces the envelope sender */
	struct slice	 file;		/* where the rule is written */
	uint32_t	 line;
};

/*
 * Where does this address lead?  OK: *out is filled (views good until the next
 * refresh).  PERM: unknown user of a domain of ours.  TEMP: the map cannot be
 * read.  Call routes_domain() first for foreign domains.
 */
enum verdict routes_find(struct routes *r, const struct addr *a, struct route *out);

/*
 * The mailbox of this address (or of the address without its +detail), past
 * any alias of that name: for `\user`, and for targets that were expanded.
 */
enum verdict routes_find_mailbox(struct routes *r, const struct addr *a, struct route *out);

/* Is this "/file", "|command" or ":include:/path" a target in the machine's alias file now? */
enum verdict routes_action(struct routes *r, struct slice action);

/* Is the domain ours?  OK, PERM (no), TEMP. */
enum verdict routes_domain(struct routes *r, struct slice domain);

/* Resolve an address literal or a bare local part ("postmaster") to our own default domain (the hostname). */
bool routes_default_domain(struct routes *r, struct slice *domain);

enum target_kind { TARGET_ADDRESS, TARGET_LOCAL_FINAL /* \user */, TARGET_FILE, TARGET_COMMAND, TARGET_INCLUDE };
struct target {
	enum target_kind kind;
	struct slice	 text;		/* address (canonical, domain added), path or command */
};
bool routes_next_target(struct slice *targets, struct target *out);

/*
 * May this login (an address; a user of the machine also by the bare name)
 * send as this address: does mail to it reach the login's mailbox?
 * :include: files are not looked into.
 */
enum verdict routes_may_send(struct routes *r, struct slice login, const struct addr *a);

#endif
