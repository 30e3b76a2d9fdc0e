/*
 * imap_conn: the user's process: its connections, and the descriptors and
 * timers that imap_session knows nothing of.
 */
#ifndef PP_IMAP_CONN_H
#define PP_IMAP_CONN_H

#include "login/user_process.h"

extern const struct user_proto imap_user_proto;

#endif
