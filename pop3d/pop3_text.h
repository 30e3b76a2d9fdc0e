/*
 * pop3_text: a message as a POP3 multi-line response (RFC 1939 section 3):
 * lines that begin with '.' get one more, and a line with '.' alone ends it.
 *
 * Pure; works in pieces of any size, without a copy of the message.
 */
#ifndef PP_POP3_TEXT_H
#define PP_POP3_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

struct pop3_text {
	struct slice	left;		/* not sent yet; borrowed */
	bool		at_line_start;
	bool		ended;		/* the last line went out */
};

/* The whole text; it must stay where it is until the end. */
void pop3_text_begin(struct pop3_text *t, struct slice text);

/*
 * The header, the empty line, and `lines` lines of the body (TOP, RFC 1939
 * section 7).  A text without an empty line is all header.
 */
struct slice pop3_text_top(struct slice text, uint32_t lines);

/*
 * Append about `octets` octets (at most twice as many, and the end) of it.
 * Returns true when the end was appended.
 */
bool pop3_text_piece(struct pop3_text *t, size_t octets, struct buf *out);

#endif
