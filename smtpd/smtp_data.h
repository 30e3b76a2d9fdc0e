/*
 * smtp_data: the content of a message, from DATA to CRLF.CRLF (RFC 5321
 * sections 4.1.1.4, 4.5.2).  Pure: octets in, content in a buf.
 *
 * Only CRLF.CRLF ends it.  A bare CR, bare LF or NUL is refused: servers that
 * disagree about where a message ends let strangers smuggle one inside another
 * (CVE-2023-51764).  After a fault the rest is read and thrown away, so that
 * what follows the true end is not taken for commands.
 *
 * Counts Received: lines, keeps the Message-ID:, and on submission (fix)
 * removes Bcc: and adds Date: and Message-ID: if they are missing (RFC 6409 section 8).
 */
#ifndef PP_SMTP_DATA_H
#define PP_SMTP_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

#define SMTP_MESSAGE_ID_MAX 998

struct smtp_data_rules {
	uint64_t	size_max;	/* octets of content, without what we add */
	size_t		header_max;	/* octets */
	size_t		line_max;	/* octets without CRLF */
	unsigned	hops_max;	/* Received: lines */
	bool		refuse_bare;	/* else a bare LF becomes CRLF, a bare CR a blank */
	bool		fix;		/* a submission */
	/* Whole header lines with CRLF, added if missing and fix is set; good as long as the data. */
	struct slice	date, message_id;
};

enum smtp_fault {
	FAULT_NONE,
	FAULT_BARE_LF, FAULT_BARE_CR, FAULT_NUL,
	FAULT_LINE, FAULT_HEADER, FAULT_SIZE, FAULT_HOPS,
	FAULT_MEMORY, FAULT_STORAGE, FAULT_QUEUE,	/* ours: to be tried again */
};

struct smtp_data {
	struct smtp_data_rules	 rules;
	struct buf		 out;		/* content */
	enum smtp_fault		 fault;		/* the first */
	uint64_t		 size;		/* octets taken as content so far */
	unsigned		 hops;		/* Received: lines seen */
	bool			 eight_bit;	/* an octet above 127 was seen */
	size_t			 message_id_len;
	char			 message_id[SMTP_MESSAGE_ID_MAX];	/* with its < and > */

	/* Where we are. */
	bool	done;
	bool	bol;		/* nothing of the line was read */
	bool	lone_dot;	/* all of the line is a '.', which is not in out */
	bool	cr;		/* the last octet was a CR, which is not in out */
	bool	in_header;
	bool	dropping;	/* the present header field */
	bool	wants_id;	/* the present field is the Message-ID */
	bool	has_date, has_id;
	size_t	line_at;	/* offset in out of the present line */
	size_t	line_len;
	size_t	header_len;
};

/* out_cap: most octets of out (see smtp_data_ready()). */
void smtp_data_init(struct smtp_data *d, const struct smtp_data_rules *rules, size_t out_cap);
void smtp_data_clear(struct smtp_data *d);
/* Lines of our own before the first of the content. */
void smtp_data_prefix(struct smtp_data *d, struct slice lines);

/*
 * Take input.  Returns how many octets were taken: all of them, or those up to
 * the end of the data, when d->done becomes true.
 */
size_t smtp_data_feed(struct smtp_data *d, struct slice in);

/* Give the message up for a reason from outside; its end is still waited for. */
void smtp_data_fail(struct smtp_data *d, enum smtp_fault fault);

/* The front of out that will not change any more; drop it with smtp_data_taken() when it is stored. */
struct slice smtp_data_ready(const struct smtp_data *d);
void smtp_data_taken(struct smtp_data *d, size_t len);

#endif
