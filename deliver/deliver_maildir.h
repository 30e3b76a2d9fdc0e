/*
 * deliver_maildir: recipients whose mail goes into a Maildir, many at a time:
 * one group of lib/store, so that one round of syncs is for all of them.
 */
#ifndef PP_DELIVER_MAILDIR_H
#define PP_DELIVER_MAILDIR_H

#include <stdbool.h>
#include <stdint.h>

#include "deliver_job.h"

#define BATCH_ITEMS	256	/* each has a file open until the group is committed */
#define BATCH_STORES	1000	/* Maildirs that stay open for the next message */

struct batch;

/*
 * relay: "virtual" or "local", for the results.  hostname is borrowed.  files:
 * descriptors that this process may have; there are fewer messages in a group,
 * and fewer Maildirs stay open, where there are few.  NULL: no memory.
 */
struct batch *batch_new(const char *hostname, const char *relay, size_t files);
void batch_free(struct batch *b);	/* what was not committed is left for nobody to see */

/*
 * Add a recipient whose Maildir is `maildir` below root ("example.org/alice/Maildir",
 * made if missing; "" is root itself), with this quota.  to: the address for
 * Delivered-To:.  A failure is the recipient's result at once.  Commits by itself
 * when BATCH_ITEMS are there.
 */
void batch_add(struct batch *b, struct rcpt *r, int root, const char *maildir, uint64_t quota,
    const struct addr *to);

/* Make it all durable; each recipient gets its result. */
void batch_commit(struct batch *b);

/* Close the Maildirs that were not used for some seconds.  False: none is open any more. */
bool batch_rest(struct batch *b);

/*
 * May this message be delivered to `to`?  False: the result was given: it was
 * there before, came over too many hosts, or cannot be read.
 */
bool deliver_loop_check(struct rcpt *r, const struct addr *to, unsigned hops, const char *relay);
/* The hops alone, for those who pass it on. */
bool deliver_hop_check(struct rcpt *r, unsigned hops);

#endif
