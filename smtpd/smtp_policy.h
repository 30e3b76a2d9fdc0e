/*
 * smtp_policy: who may send what to whom, out of the maps (lib/routes.h).
 * Precedence (mailbox, alias, +detail, catch-all) is routes_find()'s.
 */
#ifndef PP_SMTP_POLICY_H
#define PP_SMTP_POLICY_H

#include "addr.h"
#include "routes.h"
#include "smtp_session.h"

/* Makes rcpt canonical if its domain is ours. */
enum smtp_where smtp_policy_rcpt(struct routes *r, struct addr *rcpt);

/* postmaster at our own default domain. */
bool smtp_policy_postmaster(struct routes *r, struct addr *out);

enum verdict smtp_policy_may_send(struct routes *r, struct slice login, const struct addr *sender);

#endif
