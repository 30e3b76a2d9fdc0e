/*
 * deliver_mbox: append a message to an mbox file (aliases(5) "/file"), as the
 * uid that this process has.
 */
#ifndef PP_DELIVER_MBOX_H
#define PP_DELIVER_MBOX_H

#include "deliver_job.h"
#include "ipc.h"

/*
 * The file is made (0600) if missing, and else must be a regular file with one
 * link, not a symbolic link.  Locked by fcntl and, where the folder may be
 * written, by FILE.lock, for both of which is waited some seconds.  What was
 * written is cut off again when something fails; what stays is synced.  The
 * result is the recipient's.
 */
void mbox_deliver(struct rcpt *r, const char *path, struct slice trace_headers);

#endif
