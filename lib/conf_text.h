/*
 * conf_text: what is looked at in the text of a configuration without
 * libconfuse: comments, quotes and braces that stay open, and single values of
 * a text that libconfuse may not be able to read.  Pure.
 */
#ifndef PP_CONF_TEXT_H
#define PP_CONF_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct conf_text_fault {
	int		 line;
	const char	*text;		/* what is wrong, and what to write */
};

/*
 * Blank the comments (libconfuse 3.3 counts each of their lines three times,
 * and its line numbers would be wrong), and look for a quote that its line
 * does not close and a brace that stays open: libconfuse would find these at
 * the end of the file, or in a line that is right.  False: *fault says where.
 */
bool conf_text_prepare(char *text, struct conf_text_fault *fault);

/* The line where an option is set, 0 if nowhere: libconfuse keeps no lines. */
int conf_text_line(const char *text, const char *name);

/*
 * The value of an option in a text that need not be right otherwise: the last
 * line `name = value` with a whole value on it.  False: there is none, or it
 * does not fit.
 */
bool conf_text_value(const char *text, const char *name, char *out, size_t size);

#endif
