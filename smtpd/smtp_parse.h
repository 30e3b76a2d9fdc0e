/*
 * smtp_parse: the grammar of SMTP commands.  Pure: octets in, views out.
 *
 * RFC 5321 section 4.1.2 (paths), RFC 1869/5321 4.1.2 (parameters),
 * RFC 3461 section 4 (xtext).  A view is good as long as the input line.
 */
#ifndef PP_SMTP_PARSE_H
#define PP_SMTP_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

#define SMTP_PATH_MAX	256	/* octets, with '<' and '>'; RFC 5321 section 4.5.3.1.3 */
#define SMTP_HELO_MAX	255

/*
 * Parse a Path after "FROM:" or "TO:".  Blanks before it are skipped (many
 * clients put one there); a source route is skipped, as RFC 5321 appendix C wants.
 *
 * args	in/out: left at the first octet after '>' and blanks.
 * path	out: what stands inside '<' and '>'; length 0 means "<>".  Not yet a
 *	checked address: see addr_parse().
 *
 * Returns false if this is no Path, holds a control octet, is longer than
 * SMTP_PATH_MAX, or is followed by something without a blank between.
 */
bool smtp_parse_path(struct slice *args, struct slice *path);

/* One ESMTP parameter: keyword, and value (ptr NULL if there is no '='). */
struct smtp_param {
	struct slice	keyword, value;
};

/*
 * Take the next parameter off args.  Returns false at the end (then *bad is
 * false) and at the first that is malformed (*bad is true).
 */
bool smtp_parse_param(struct slice *args, struct smtp_param *out, bool *bad);

/*
 * Decode xtext, appending to out.  Returns false (out is then unspecified) for
 * what is no xtext, and for anything that decodes to other than printable
 * ASCII: no line that we ever write can be broken by it (CVE-2020-28021).
 */
bool smtp_parse_xtext(struct slice text, struct buf *out);

/* Is this something that may stand behind EHLO: 1 to SMTP_HELO_MAX printable octets without blanks? */
bool smtp_parse_helo(struct slice text);

/* Does the line hold a control octet other than a tab? */
bool smtp_has_control(struct slice line);

/* Is the verb one that only a web browser (led here by another page) would send? */
bool smtp_is_http(struct slice verb);

#endif
