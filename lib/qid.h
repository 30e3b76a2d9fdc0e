/*
 * qid: the id of a message in the queue, from the first Received: line to the
 * name of the file in the mailbox.
 *
 * A number that only grows, made from the clock by queue (QID_PER_USEC ids a
 * microsecond) and leased in blocks, so it tells the time of arrival.  Written
 * in base 62 (0-9A-Za-z), QID_DIGITS wide so that text sorts like the number;
 * fail2ban and pflogsumm need \w+ (CONVENTIONS.md, section 2).
 */
#ifndef PP_QID_H
#define PP_QID_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

#define QID_DIGITS	11		/* 62^11 > 2^64 */
#define QID_TEXT	(QID_DIGITS + 1)	/* with the NUL */
#define QID_PER_USEC	8

struct qid {
	uint64_t	n;	/* 0: none */
};

/* Write QID_DIGITS characters and a NUL; returns out. */
char *qid_print(struct qid q, char out[QID_TEXT]);

/* Read QID_DIGITS characters; false for anything else, for 0 and for overflow. */
bool qid_parse(struct slice text, struct qid *out);

/* The second (UTC) in which the id was made. */
int64_t qid_time(struct qid q);

#endif
