/*
 * pop3_cmd: the verbs of the TRANSACTION state; used by pop3_session.c alone.
 */
#ifndef PP_POP3_CMD_H
#define PP_POP3_CMD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "pop3d/pop3_session.h"
#include "slice.h"

/* Run a command; false if there is no such verb. */
bool pop3_cmd_run(struct pop3_session *s, struct slice verb, struct slice args, struct buf *out,
    enum pop3_want *want);

/* "number size" or "number uidl", with CRLF. */
void pop3_cmd_list_line(const struct pop3_session *s, uint32_t n, bool uidl, struct buf *out);

#endif
