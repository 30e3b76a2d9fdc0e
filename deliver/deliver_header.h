/*
 * deliver_header: what deliver reads in the header of a message, and what it
 * puts above it.  Pure.
 */
#ifndef PP_DELIVER_HEADER_H
#define PP_DELIVER_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "buf.h"
#include "slice.h"

/* Octets of the beginning of a message that are looked at: larger headers were refused by smtpd. */
#define HEADER_LOOK	(128 * 1024)
#define HEADER_SEEN_MAX	64	/* Delivered-To: lines remembered */

struct header_facts {
	unsigned	received;			/* Received: lines, the hops so far */
	size_t		delivered_n;
	struct slice	delivered[HEADER_SEEN_MAX];	/* values of Delivered-To:, views */
};

/* message: its beginning, with CRLF or LF; reading ends at the empty line. */
void header_scan(struct slice message, struct header_facts *out);

/* Was it delivered to this address before?  RFC 9228 section 4: then it goes round in a circle. */
bool header_was_delivered_to(const struct header_facts *h, const struct addr *to);

/*
 * Append Return-Path:, X-Original-To: and Delivered-To:, with CRLF.  sender and
 * orig_to come from the queue; what could break a header line is left out of them.
 * orig_to and to may be empty: no such line.
 */
bool header_put_trace(struct buf *out, struct slice sender, struct slice orig_to, struct slice to);

#endif
