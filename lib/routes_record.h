/*
 * routes_record: what stands in routes.cdb (pennypost-maps(5)).  Written by
 * maps_write.c, read by routes.c.
 *
 * The first octet of a key says what it is:
 *
 *	V		ROUTES_VERSION
 *	H		the default domain (our hostname)
 *	D domain	the domain that it is short for: mostly itself
 *	A address	a route_record: mailbox, alias, or both (canonical address)
 *	* domain	a route_record: the catch-all
 *	F u32		name of a source file; records carry the number
 *	X action	"/file", "|command" or ":include:/path" is a target of the machine's aliases
 *
 * Numbers are little-endian.
 */
#ifndef PP_ROUTES_RECORD_H
#define PP_ROUTES_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "routes.h"
#include "slice.h"

#define ROUTES_FILE	"routes.cdb"
#define ROUTES_VERSION	"pennypost-routes 1"
#define ROUTES_KEY_MAX	(1 + 320)

#define ROUTE_HAS_MAILBOX	1
#define ROUTE_HAS_ALIAS		2
#define ROUTE_SYSTEM		4	/* the mailbox is of a user of the machine: its alias comes first */
#define ROUTE_FLAGS		7

struct route_record {
	uint8_t		flags;
	/* ROUTE_HAS_MAILBOX */
	uint32_t	uid, gid;
	uint64_t	quota;
	struct slice	home;
	uint32_t	mailbox_file, mailbox_line;
	/* ROUTE_HAS_ALIAS */
	struct slice	owner, targets;
	uint32_t	alias_file, alias_line;
};

bool route_record_put(struct buf *out, const struct route_record *r);
bool route_record_get(struct slice data, struct route_record *out);	/* views into data */

/* Append one element of a list of targets. */
bool route_target_put(struct buf *targets, enum target_kind kind, struct slice text);

void route_put_u32(char out[4], uint32_t n);

#endif
