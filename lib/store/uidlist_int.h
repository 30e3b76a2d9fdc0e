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
void uidlist_put_vanished(struct buf *packed, const struct uidlist_vanished *v);

/* uidlist_vanished.c: UIDs that are gone, collected from GONE and VANISHED records. */
struct vanished_list {
	struct uidlist_vanished	*at;
	size_t			 n, cap;
	uint64_t		 since;		/* only those above are taken */
	uint64_t		 floor;
	bool			 failed;	/* no memory */
};
void vanished_take(struct vanished_list *v, const struct uidlist_record *r);
void vanished_put(struct vanished_list *v, uint32_t from, uint32_t n, uint64_t modseq);
/* Ascending by UID; neighbours joined (any_modseq: though they went at different times, the highest then). */
void vanished_join(struct vanished_list *v, bool any_modseq);
/* Forget the oldest, so that at most VANISHED_KEEP stay. */
void vanished_trim(struct vanished_list *v);
#define VANISHED_KEEP 16384
void uidlist_put_header(const struct uidlist *u, char out[UIDLIST_HEADER]);
bool uidlist_get_header(struct uidlist *u, const char in[UIDLIST_HEADER]);

/* Random: seed of the checksums, id of a new folder. */
void uidlist_new_seed(struct uidlist *u);

/* Write header and records as a new file in u->dir and put it in place, durable.
 * replace: over what is there; else STORE_EXISTS if there is one. */
enum store_error uidlist_write_new(const struct uidlist *u, const struct buf *records, bool replace);

/* Rewrite the file from all records that can be read; with the lock, which is then
 * held on the new file. */
enum store_error uidlist_rewrite(struct uidlist *u);

/* u->fd is another file now: begin at its header.  Closes the old one. */
enum store_error uidlist_reopen(struct uidlist *u);

#endif
