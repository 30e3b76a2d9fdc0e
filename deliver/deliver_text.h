/*
 * deliver_text: mail as programs and mbox files want it, with LF.  Pure.
 */
#ifndef PP_DELIVER_TEXT_H
#define PP_DELIVER_TEXT_H

#include <stdbool.h>

#include "buf.h"
#include "slice.h"

struct text_filter {
	bool	 mbox;		/* quote lines that look like the From_ line: mboxrd */
	bool	 cr;		/* a CR is held back: a LF may follow */
	bool	 start;		/* only '>' so far in this line */
	unsigned matched;	/* octets of "From " held back at the start of a line */
	bool	 in_line;	/* the last octet was no LF */
};

void text_filter_init(struct text_filter *f, bool mbox);
/* Append in, CRLF become LF; state is kept, so it may come in pieces. */
bool text_filter_put(struct text_filter *f, struct slice in, struct buf *out);
/* What was held back, and a LF if the last line has none. */
bool text_filter_end(struct text_filter *f, struct buf *out);

#endif
