/*
 * imap_list: names against the patterns of LIST and LSUB (RFC 3501 section
 * 6.3.8).  '*' is anything, '%' anything within one level.  Takes time in
 * proportion to pattern times name, whatever the pattern.
 */
#ifndef PP_IMAP_LIST_H
#define PP_IMAP_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "slice.h"
#include "store/store.h"

#define IMAP_PATTERN_MAX (2 * STORE_NAME_MAX + 1)

struct imap_pattern {
	char	text[IMAP_PATTERN_MAX];	/* runs of wildcards made one */
	size_t	len;
	bool	none;			/* longer than any name: matches nothing */
};

/* The pattern that reference and mailbox name make together. */
void imap_pattern_init(struct imap_pattern *p, struct slice reference, struct slice mailbox);

/* INBOX matches in any case. */
bool imap_pattern_match(const struct imap_pattern *p, struct slice name);

#endif
