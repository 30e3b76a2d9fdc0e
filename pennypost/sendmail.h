/*
 * sendmail: the submission command's parts.
 *
 * sendmail.c		who is who, what is to be done
 * sendmail_options.c	the command line
 * mail_lines.c, mail_header.c, header_addrs.c, mail_message.c	the message
 * sendmail_submit.c	to queue, or through the helper into spool/drop
 * sendmail_smtp.c	-bs
 * sendmail_verify.c	-bv
 * queue_list.c		-bp
 */
#ifndef PP_SENDMAIL_H
#define PP_SENDMAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "cli.h"
#include "mail_message.h"
#include "sendmail_options.h"

/* One transaction: envelope and message. */
struct submission {
	struct cli		*cli;
	const struct sendmail_options *options;
	char			 login[64];	/* the caller's user name */
	char			 full_name[256];
	struct addr		 self;		/* login@hostname */
	struct addr		 sender;	/* envelope sender; may be null */
	struct buf		 rcpts;		/* list of IPC_RCPT */
	size_t			 rcpt_n;
	void			*seen;		/* tree of addresses, to have each once */
	struct mail_message	 message;
	char			 id[24];	/* what it was queued as */
	bool			 dropped;	/* into the drop folder */
};

/* Forget recipients and message; the caller's names stay. */
void submission_reset(struct submission *s);

/* Add a recipient; a bare local part gets our domain.  False: no address, said why. */
bool submission_add(struct submission *s, struct slice text);

/* A sender, "" and "<>" included. */
bool submission_sender(struct submission *s, struct slice text);

/* Hand it over; OK means that it is on stable storage.  Says what went wrong. */
int submission_send(struct submission *s);

int sendmail_smtp(struct submission *s);		/* -bs */
int sendmail_verify(struct cli *c, const struct sendmail_options *o);	/* -bv */

#endif
