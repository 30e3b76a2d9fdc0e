/*
 * imap_thread: messages into threads, RFC 5256 section 4.  Pure: what was learnt
 * of the messages in, text of a THREAD response out.
 *
 * Takes O(n log n), whatever the messages refer to, and no recursion, however
 * deep the threads.
 */
#ifndef PP_IMAP_THREAD_H
#define PP_IMAP_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

#define IMAP_THREAD_REFERENCES	1000	/* Message-IDs of one message that are looked at: the first and the last ones */

struct imap_threads;

/* seed: something that no sender of mail can guess.  NULL: no memory. */
struct imap_threads *imap_threads_new(uint64_t seed);
void imap_threads_free(struct imap_threads *t);

struct imap_thread_message {
	uint32_t	number;		/* as it is to be told; not 0 */
	int64_t		sent;
	struct slice	subject;	/* collation key of the base subject */
	bool		reply;		/* the subject says so */
	/* Values of these fields, folded as they are; empty if absent. */
	struct slice	message_id, references, in_reply_to;
};
/* In the order of the mailbox.  Copies what it needs.  False: no memory, or too much. */
bool imap_threads_add(struct imap_threads *t, const struct imap_thread_message *m);

/* Append "(2)(3 6 (4 23)(44 7 96))".  Once.  False: no memory. */
bool imap_threads_by_references(struct imap_threads *t, struct buf *out);
bool imap_threads_by_subject(struct imap_threads *t, struct buf *out);

#endif
