/*
 * imap_search: which messages of the selected folder a search program is about
 * (RFC 3501 section 6.4.4, RFC 5032): for SEARCH, SORT and THREAD.
 *
 * What is cheap decides first: flags and numbers, then what the file's name and
 * date say, then headers, then bodies.
 */
#ifndef PP_IMAP_SEARCH_H
#define PP_IMAP_SEARCH_H

#include "imap_session.h"

/* Numbers of messages. */
struct imap_found {
	uint32_t	*seq;	/* malloc'd */
	size_t		 n, room;
};
/* False: no memory. */
bool imap_found_add(struct imap_found *f, uint32_t seq);

struct imap_searching {
	struct imap_search	*root;		/* of the command; in the pool */
	struct imap_found	 found;		/* so far, ascending; owned */
	bool			 no_memory;	/* it ended early for that */
	bool			 modseq;	/* it asks for MODSEQ: the answer tells one too (RFC 7162 section 3.1.5) */
	/* private */
	struct mime_key		*match;		/* owned; those of all text keys */
	size_t			 match_n, match_room;
	uint32_t		 seq;		/* looked at last */
	size_t			 work;
	int64_t			 now;		/* for OLDER and YOUNGER */
	bool			 unreadable;	/* the message being looked at */
};

/* False: s->reply says why it cannot be searched for.  Cleared in any case. */
bool imap_search_init(struct imap_session *s, struct imap_searching *x, const struct imap_search_command *cmd);
void imap_search_clear(struct imap_searching *x);

/* Look at some messages more.  STEP_AGAIN, or STEP_DONE: x->found is all. */
enum imap_step imap_search_step(struct imap_session *s, struct imap_searching *x);

#endif
