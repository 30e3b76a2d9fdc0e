/*
 * imap_result: how what SEARCH and SORT found is told: as a list of numbers, or
 * as the result options ask (RFC 4731, RFC 5182, RFC 5267 section 3, RFC 9394).
 */
#ifndef PP_IMAP_RESULT_H
#define PP_IMAP_RESULT_H

#include "imap_search.h"

struct imap_result {
	const char			*name;		/* "SEARCH", "SORT" */
	struct imap_returns		 returns;
	const struct imap_found		*found;		/* in the order to be told */
	bool				 modseq;	/* with the highest MODSEQ of what is told */
	size_t				 at;		/* told so far, of a plain list */
	bool				 begun;
};

/* Write it; and remember it as "$" if that was asked for.  STEP_DRAIN or STEP_DONE. */
enum imap_step imap_result_step(struct imap_session *s, struct imap_result *r, const char *done);

/* The search failed: "$" is then empty (RFC 5182 section 2.1). */
void imap_result_failed(struct imap_session *s, const struct imap_returns *returns);

#endif
