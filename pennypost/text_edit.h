/*
 * text_edit: change one entry of a text file that people edit too, so that
 * comments, order and everything else stay as they are.  Pure: text in, text out.
 */
#ifndef PP_TEXT_EDIT_H
#define PP_TEXT_EDIT_H

#include <stdbool.h>

#include "buf.h"
#include "slice.h"

/*
 * The entry that begins in line (1 is the first), with its newline; continued:
 * and the lines behind it that begin with a blank and hold something.  A view
 * into text; empty when there is no such line.
 */
struct slice text_entry(struct slice text, unsigned line, bool continued);

/* text with `old` (a view into it) replaced by `with`, to the end of out. */
bool text_replace(struct slice text, struct slice old, struct slice with, struct buf *out);

/* text with one more line behind it; line comes without newline. */
bool text_append(struct slice text, struct slice line, struct buf *out);

/*
 * An account line with another second field; what follows it stays.  entry
 * may end in a newline, which stays too.
 */
bool text_account_hash(struct slice entry, struct slice hash, struct buf *out);

#endif
