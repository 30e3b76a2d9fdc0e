/*
 * accounts: what stands in map_dir/private/accounts.cdb (pennypost-maps(5)):
 * the password hash of each mailbox that has one.  Written by maps_write.c,
 * read by auth alone (folder 0700, file 0600, owner auth).  Where the mailbox
 * is, and as whom to open it, stands in routes.cdb (routes.h).
 *
 * Keys:
 *	V		ACCOUNTS_VERSION
 *	A address	an account_record; the canonical address (addr_canonical())
 *
 * An account_record is one octet of flags and then the hash, to the end.
 */
#ifndef PP_ACCOUNTS_H
#define PP_ACCOUNTS_H

#include <stdbool.h>

#include "addr.h"
#include "buf.h"
#include "slice.h"

#define ACCOUNTS_FOLDER		"private"
#define ACCOUNTS_FILE		"accounts.cdb"
#define ACCOUNTS_VERSION	"pennypost-accounts 1"
#define ACCOUNTS_KEY_MAX	(1 + ADDR_MAX)
#define ACCOUNTS_HASH_MAX	384	/* octets; CRYPT_OUTPUT_SIZE of crypt(3) */

struct account_record {
	bool		disabled;	/* gets mail, cannot log in */
	struct slice	hash;		/* crypt(5), with or without {SCHEME}; empty: no password fits */
};

/* Append the record; false if the hash is longer than ACCOUNTS_HASH_MAX, holds a NUL, or out is full. */
bool account_record_put(struct buf *out, const struct account_record *r);
/* Views into data.  False if it is no record. */
bool account_record_get(struct slice data, struct account_record *out);
/* Append "A" and the canonical address. */
bool account_key_put(struct buf *out, const struct addr *canonical);

#endif
