/*
 * queue_scan: walk through the records of a segment, whatever happened to it.
 *
 * Every intact record is found: after a broken part the search goes on at each
 * multiple of 8.  Pure; where the octets come from is the source's affair.
 */
#ifndef PP_QUEUE_SCAN_H
#define PP_QUEUE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "queue_record.h"
#include "slice.h"

struct scan_source {
	/*
	 * len octets at offset; good until the next call.  Never asked beyond
	 * size.  What cannot be read is given as zeros; NULL: no memory.
	 */
	const char	*(*at)(void *ctx, uint64_t offset, size_t len);
	void		*ctx;
	uint64_t	 size;
};

struct scan {
	const struct scan_source *source;
	uint64_t	salt;
	uint64_t	offset;		/* of the next record; a multiple of 8 */
	bool		verify_content;	/* check the content's checksum too (else it counts as intact) */
};

enum scan_found {
	SCAN_RECORD,	/* *out: head, offset, body */
	SCAN_BROKEN,	/* *out: from, to: no record, and not all zeros or followed by a record */
	SCAN_END,	/* nothing but zeros, or nothing at all, is left */
	SCAN_NO_MEMORY
};

struct scan_item {
	struct record_head	head;
	uint64_t		offset;		/* of the head */
	struct slice		body;		/* good until the next scan_next() */
	uint64_t		from, to;
};

/* Start at the first record. */
void scan_begin(struct scan *s, const struct scan_source *source, uint64_t salt, bool verify_content);
enum scan_found scan_next(struct scan *s, struct scan_item *out);

/* Is the last record of the source a seal with this salt? */
bool scan_sealed(const struct scan_source *source, uint64_t salt);

/* A source of octets in memory. */
struct scan_memory {
	struct scan_source	source;
	struct slice		all;
};
void scan_memory(struct scan_memory *m, struct slice all);

/* A source that reads a file by windows; buf is its own. */
struct scan_file {
	struct scan_source	source;
	int			fd;		/* borrowed */
	struct buf		window;
	uint64_t		start;		/* offset of the window */
	unsigned		unreadable;	/* reads that failed */
};
bool scan_file_open(struct scan_file *f, int fd);	/* size by fstat */
void scan_file_close(struct scan_file *f);		/* the window; fd stays open */

#endif
