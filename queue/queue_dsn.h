/*
 * queue_dsn: the text of a delivery status notification (RFC 3464) in a
 * multipart/report (RFC 6522).  Pure: no files, no clock.
 *
 * All of it is 7-bit and free of control octets, whatever came in: content
 * that holds 8-bit octets is returned as its header alone, with '?' in their
 * place, because nobody on the way back need be able to carry them.
 */
#ifndef PP_QUEUE_DSN_H
#define PP_QUEUE_DSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "queue_record.h"
#include "slice.h"

struct dsn_rcpt {
	struct slice	addr;		/* whom it was delivered to, or not */
	struct slice	orig_to;	/* whom the sender wrote to */
	struct slice	orcpt;		/* with its type: "rfc822;a@b"; may be empty */
	struct slice	status;		/* "5.1.1" */
	struct slice	remote;		/* host that said it; empty: ourselves */
	struct slice	text;
	const char	*action;	/* failed, delayed, delivered, relayed, expanded */
};

struct dsn {
	enum record_notice notice;
	const char	*hostname;
	struct slice	sender;		/* whom it goes to */
	struct slice	envid;
	const char	*queue_id;	/* of the message it is about */
	const char	*own_id;	/* of itself */
	uint64_t	now_usec, arrival_usec;
	uint64_t	retry_until_utc;	/* seconds; delay: given up after */
	uint64_t	boundary;	/* random */
	const struct dsn_rcpt *rcpt;
	size_t		rcpt_n;
	struct slice	content;	/* header and, when `whole`, all of the message */
	bool		whole;		/* content is complete and is to be returned */
};

/* Append the message, header and all, CRLF lines.  False if out is full. */
bool dsn_print(const struct dsn *d, struct buf *out);

/* "Sun, 22 Nov 2026 16:47:27 +0000", RFC 5322 section 3.3. */
void dsn_date(uint64_t usec, struct buf *out);

/* The header of a message: up to the empty line, that not included. */
struct slice dsn_header_of(struct slice content);

#endif
