/* trace_cmd: what sendmail -v shares with `pennypost trace`. */
#ifndef PP_TRACE_CMD_H
#define PP_TRACE_CMD_H

#include "cli.h"

/*
 * Print what became of the message with this queue id, as soon as each of its
 * recipients was tried once, or after wait_ms.  Quiet where queue tells nothing.
 */
void trace_first_attempt(struct cli *c, const char *id, int wait_ms);

#endif
