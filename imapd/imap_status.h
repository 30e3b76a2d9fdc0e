/*
 * imap_status: the items of STATUS (RFC 3501 section 6.3.10, RFC 7889, RFC 8438,
 * RFC 9051, RFC 9208), which LIST can ask for as well (RFC 5819).
 */
#ifndef PP_IMAP_STATUS_H
#define PP_IMAP_STATUS_H

#include "imap_session.h"

/* "(MESSAGES UNSEEN)", as bits for imap_put_status(). */
bool imap_parse_status_items(struct imap_in *in, unsigned *items);

/* Find out and write "* STATUS name (...)"; when it fails nothing is written. */
enum store_error imap_put_status(struct imap_session *s, struct slice name, unsigned items);

#endif
