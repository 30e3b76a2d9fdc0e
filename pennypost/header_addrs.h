/*
 * header_addrs: the addresses in a To:, Cc: or Bcc: field, RFC 5322 section
 * 3.4 with the obsolete forms of 4.4.  Pure.
 */
#ifndef PP_HEADER_ADDRS_H
#define PP_HEADER_ADDRS_H

#include <stdbool.h>

#include "buf.h"
#include "slice.h"

/*
 * Take the next address off *field (the field's body, folded or not): what
 * stands in <...> without a source route, or the bare addr-spec, with comments
 * and blanks around its parts removed.  It may lack a domain; it is not checked further.
 * Display names, comments and the names of groups are skipped.
 *
 * Returns true with out holding the address (reset first), false at the end;
 * *bad is set when something could not be read, and reading goes on behind the next comma.
 */
bool header_addr_next(struct slice *field, struct buf *out, bool *bad);

#endif
