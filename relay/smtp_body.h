/*
 * smtp_body: content on its way out: dot-stuffed, only CRLF line ends, no bare
 * CR, LF or NUL, lines of at most 998 octets (P23), whatever was stored.
 */
#ifndef PP_SMTP_BODY_H
#define PP_SMTP_BODY_H

#include <stdbool.h>

#include "buf.h"
#include "slice.h"

struct smtp_body {
	size_t	column;		/* octets of the current line */
	bool	cr;		/* a CR is held back */
};

/* Append the next part of the content. */
bool smtp_body_put(struct smtp_body *b, struct slice part, struct buf *out);

/* The end: closes the last line and appends the final dot line. */
bool smtp_body_end(struct smtp_body *b, struct buf *out);

#endif
