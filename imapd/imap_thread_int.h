/*
 * imap_thread_int.h: what the files of imap_thread share.  Nobody else includes it.
 *
 *	imap_thread_ids.c	Message-IDs and subjects as small numbers
 *	imap_thread.c		the messages; ORDEREDSUBJECT
 *	imap_thread_refs.c	REFERENCES
 */
#ifndef PP_IMAP_THREAD_INT_H
#define PP_IMAP_THREAD_INT_H

#include "imap_thread.h"

#define TEXTS_MAX (256 * 1024 * 1024)	/* octets of all texts */

/* Texts, each kept once, as numbers from 1 in the order they came. */
struct thread_texts {
	struct buf	 text;
	size_t		*at;		/* by number; at[n + 1] is the end of n */
	uint32_t	 n, room;
	uint32_t	*table;		/* of numbers, 0: free; a power of two of them */
	size_t		 table_n;
	uint64_t	 seed;
};
void thread_texts_init(struct thread_texts *t, uint64_t seed);
void thread_texts_clear(struct thread_texts *t);
/* Its number; 0: no memory. */
uint32_t thread_text(struct thread_texts *t, struct slice text);
struct slice thread_text_of(const struct thread_texts *t, uint32_t n);

/* The next Message-ID in a field's value, without quoting, in *out (reset first). */
bool thread_next_id(struct slice *value, struct buf *out);

struct thread_message {
	uint32_t	number;
	uint32_t	subject;	/* text; 0: it is empty */
	int64_t		sent;
	uint32_t	id;		/* text; 0: none, or another message's */
	uint32_t	ref, ref_n;	/* in refs: texts, the oldest first */
	bool		reply;
};

struct imap_threads {
	struct thread_texts	 ids, subjects;
	struct thread_message	*message;
	size_t			 n, room;
	uint32_t		*ref;
	size_t			 ref_n, ref_room;
	bool			*id_taken;	/* by text: a message has it */
	size_t			 id_room;
};

#endif
