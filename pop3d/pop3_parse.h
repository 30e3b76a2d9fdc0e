/*
 * pop3_parse: POP3 command lines (RFC 1939 section 3, RFC 2449 section 4).
 *
 * Pure: octets in, values out.
 */
#ifndef PP_POP3_PARSE_H
#define PP_POP3_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

/*
 * Longest command line with its CRLF.  RFC 2449 says 255 octets, RFC 5034
 * (AUTH with an initial response) wants more.
 */
#define POP3_LINE_MAX	4096

/*
 * The first line of data, without its CRLF (a bare LF is taken as an end too).
 * Returns the octets that it takes with its end, or 0 if no end is there yet.
 */
size_t pop3_parse_line(struct slice data, struct slice *line);

/*
 * A command: keyword, and what stands behind the one space (views into line).
 * False if the keyword is not 3 to 8 letters, or the line holds a NUL or
 * another control octet but TAB (a password may hold one).
 */
bool pop3_parse_command(struct slice line, struct slice *verb, struct slice *args);

/*
 * Take a decimal number off the front of args, and the blanks behind it; false
 * if there is none or it is above UINT32_MAX.
 */
bool pop3_parse_number(struct slice *args, uint32_t *number);

#endif
