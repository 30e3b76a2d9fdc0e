/*
 * pop3_maildrop: the INBOX as POP3 sees it, by way of lib/store.
 *
 * What it holds is fixed when it is opened (RFC 1939 section 4): messages that
 * come later belong to the next session; what IMAP expunges meanwhile is
 * POP3_GONE to this one.  A second POP3 session is refused while it is open.
 *
 * UIDL is the store's (store_message_uidl): of the message's UID and
 * UIDVALIDITY, or the one that another server gave it before the mailbox was
 * taken over, so that no client downloads anything twice.
 */
#ifndef PP_POP3_MAILDROP_H
#define PP_POP3_MAILDROP_H

#include <stdbool.h>
#include <stdint.h>

#include "pop3d/pop3_session.h"
#include "store/store.h"

struct pop3_maildrop {
	struct store		*store;
	struct store_folder	*inbox;
	uint32_t		*seq;		/* number of the view by our number - 1 */
	uint32_t		 count;
	struct store_content	 content;	/* the text that is being sent */
	enum store_error	 error;		/* of the last operation that failed */
};

enum pop3_open { POP3_OPENED, POP3_IN_USE, POP3_OPEN_FAILED };

/*
 * Open it.  message gets a malloc'd list for pop3_session_init() (NULL when
 * empty), m->count entries.  After a failure m->error says why, and there is
 * nothing to close.
 */
enum pop3_open pop3_maildrop_open(struct pop3_maildrop *m, int maildir_fd,
    const struct store_options *options, struct pop3_message **message);
void pop3_maildrop_close(struct pop3_maildrop *m);

/* The operations of a session; ctx is the struct pop3_maildrop. */
extern const struct pop3_ops pop3_maildrop_ops;

#endif
