/*
 * imap_status: the items of STATUS (RFC 3501 section 6.3.10, RFC 7889, RFC 8438,
 * RFC 9051, RFC 9208, RFC 7162, RFC 8474), which LIST can ask for as well (RFC 5819).
 */
#ifndef PP_IMAP_STATUS_H
#define PP_IMAP_STATUS_H

#include "imap_session.h"

/* "(MESSAGES UNSEEN)", as bits for imap_put_status(). */
bool imap_parse_status_items(struct imap_in *in, unsigned *items);

/* Find out and write "* STATUS name (...)"; when it fails nothing is written. */
enum store_error imap_put_status(struct imap_session *s, struct slice name, unsigned items);

/* MAILBOXID of RFC 8474. */
enum store_error imap_mailbox_id(struct imap_session *s, struct slice name, char out[STORE_ID_MAX]);

#endif
