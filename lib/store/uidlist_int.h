/* uidlist_int.h: between uidlist.c, uidlist_record.c and uidlist_repair.c alone. */
#ifndef PP_STORE_UIDLIST_INT_H
#define PP_STORE_UIDLIST_INT_H

#include "uidlist.h"

#define UIDLIST_MAGIC "PPUIDL1\n"

uint32_t uidlist_get32(const char *p);
void uidlist_set32(char *p, uint32_t v);
size_t uidlist_trailer(const char *p);
void uidlist_put_record(const struct uidlist *u, struct buf *b, const struct uidlist_record *r);
void uidlist_put_past(struct buf *packed, const struct uidlist_past *p);
void uidlist_put_header(const struct uidlist *u, char out[UIDLIST_HEADER]);
bool uidlist_get_header(struct uidlist *u, const char in[UIDLIST_HEADER]);

/* Write header and records as a new file in u->dir and put it in place, durable.
 * replace: over what is there; else STORE_EXISTS if there is one. */
enum store_error uidlist_write_new(const struct uidlist *u, const struct buf *records, bool replace);

/* Rewrite the file from all records that can be read; with the lock, which is then
 * held on the new file. */
enum store_error uidlist_rewrite(struct uidlist *u);

/* u->fd is another file now: begin at its header.  Closes the old one. */
enum store_error uidlist_reopen(struct uidlist *u);

#endif
