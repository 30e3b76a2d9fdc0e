/*
 * maildir: names of message files (CONVENTIONS.md section 7).  Pure; private to lib/store.
 *
 *	SECONDS.M<usec>P<pid>Q<n>.HOST,S=<octets>,W=<octets as CRLF>:2,<flags>
 *	SECONDS.Q<queue id>R<recipient>.HOST,S=...,W=...	delivered by us
 *
 * What stands before ":2," is the base name: it stays while flags change.
 */
#ifndef PP_STORE_MAILDIR_H
#define PP_STORE_MAILDIR_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "qid.h"
#include "slice.h"

#define MAILDIR_NAME_MAX 255

struct maildir_name {
	struct slice	base;
	uint32_t	upper;		/* bit n: letter 'A' + n */
	uint32_t	lower;		/* bit n: letter 'a' + n, a keyword */
	bool		canonical;	/* maildir_print() of this gives the same name again */
};

/* False for names that readers skip: dot files, longer than MAILDIR_NAME_MAX, empty base. */
bool maildir_parse(struct slice file, struct maildir_name *out);

/* Write base:2,FLAGS and a NUL; false if that is longer than a name may be. */
bool maildir_print(struct slice base, uint32_t upper, uint32_t lower, char out[MAILDIR_NAME_MAX + 1]);

/* IMAP flags (enum store_flag) of the letters, and back; other letters pass through `keep`. */
uint8_t maildir_flags(uint32_t upper);
uint32_t maildir_letters(uint8_t flags, uint32_t keep);

/* The number after ",S=" or ",W=" in a base name; false if there is none. */
bool maildir_size(struct slice base, char which, uint64_t *out);

/* The queue id and recipient of a name made by maildir_queue_name(); false for others. */
bool maildir_queue_id(struct slice base, struct qid *qid, uint32_t *rcpt);

/* Append the first part of a base name, HOST included, for maildir_sizes() to end. */
void maildir_queue_name(struct buf *out, struct qid qid, uint32_t rcpt, const char *host);
void maildir_unique_name(struct buf *out, uint64_t usec, uint32_t pid, uint32_t n, const char *host);
void maildir_sizes(struct buf *out, uint64_t size, uint64_t crlf_size);

#endif
