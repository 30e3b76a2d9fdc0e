/* mime_token: the small pieces of grammar that the files of lib/mime share. */
#ifndef PP_MIME_TOKEN_H
#define PP_MIME_TOKEN_H

#include "slice.h"

/* Past blanks, line ends and comments. */
void mime_skip_cfws(struct slice *s);

/* A token (RFC 2045 section 5.1) off the front; empty if there is none. */
struct slice mime_token(struct slice *s);

#endif
