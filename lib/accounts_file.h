/*
 * accounts_file: the grammar of domains/<domain>/accounts (pennypost-accounts(5)).
 * Pure: text in, values out.  The compiled form is accounts.h.
 *
 * A line is passwd-like, one of
 *
 *	user:hash			ours, written by `pennypost user`
 *	user:hash:option option ...	quota=500M, disabled
 *	user:hash:uid:gid:gecos:home:shell:extra	Dovecot's passwd-file
 *
 * user is a local part, or an address of that domain.  In Dovecot's form,
 * which has at least four fields or a third one that is empty or a number,
 * uid, gid, gecos, home and shell are not used (mailboxes have one owner and
 * one place), and extra gives the quota: userdb_quota_rule=*:storage=500M.
 */
#ifndef PP_ACCOUNTS_FILE_H
#define PP_ACCOUNTS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "slice.h"

#define ACCOUNT_HASH_MAX	384	/* octets; the longest of crypt(5) */
#define ACCOUNT_LINE_MAX	4096

enum account_next { ACCOUNT_GOT, ACCOUNT_WARNING, ACCOUNT_ERROR, ACCOUNT_END };

struct account {
	struct addr	 addr;		/* canonical, with the domain */
	unsigned	 line;
	struct slice	 hash;		/* crypt(5), without {SCHEME}; empty: nobody can log in with a password; view into the text */
	uint64_t	 quota;		/* octets; 0 none */
	bool		 disabled;	/* gets mail, cannot log in */
};

struct account_error {
	unsigned	line;
	char		text[300];	/* what is wrong and what to write instead; never a hash */
};

struct accounts_file {
	struct slice	rest;
	unsigned	line;
	struct slice	domain;		/* the folder's name; borrowed */
};

void accounts_file_init(struct accounts_file *f, struct slice text, struct slice domain);

/*
 * The next account.  ACCOUNT_WARNING: *out is good, *e has something to say
 * about it.  ACCOUNT_ERROR: the line is skipped, the next call goes on.
 */
enum account_next accounts_file_next(struct accounts_file *f, struct account *out, struct account_error *e);

/*
 * May this be the name of a mailbox?  It becomes the name of a folder: none of
 * / \ : * | ", no blanks or control octets, no dot or # in front.
 */
bool account_local_valid(struct slice local);

/* "500M", "2G", "1000000", "0"; K, M, G, T are powers of 1024.  False for anything else and for overflow. */
bool account_quota_parse(struct slice text, uint64_t *out);

/* Append "user:hash[:options]\n" in our form; user is the local part alone. */
bool account_line_print(struct buf *out, struct slice local, struct slice hash, uint64_t quota, bool disabled);

#endif
