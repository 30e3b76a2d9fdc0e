/*
 * imap_facts: what SORT and THREAD compare messages by (RFC 5256, RFC 5957),
 * as numbers and as octets that are in the right order.
 */
#ifndef PP_IMAP_FACTS_H
#define PP_IMAP_FACTS_H

#include "imap_session.h"

#define IMAP_FACT_MAX 1000	/* octets of a text that are compared */

/* When it was sent: the Date: field, or else when it came. */
int64_t imap_fact_sent(struct imap_session *s, uint32_t seq);

/* A sort key of a message: one of these. */
struct imap_fact {
	int64_t		number;		/* ARRIVAL, DATE, SIZE */
	struct slice	text;		/* the others: collation key, in the buf given; empty if there is none */
};

/* text: appended to; false if it is full.  A message that cannot be read has empty ones. */
bool imap_fact(struct imap_session *s, uint32_t seq, enum imap_sort_by by, struct buf *text, struct imap_fact *out);

#endif
