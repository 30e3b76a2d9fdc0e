/*
 * imap_login: IMAP before login, spoken by the front to strangers (RFC 3501
 * sections 6.1 and 6.2, RFC 2595, RFC 4959).  Pure; login.h says how it is run.
 */
#ifndef PP_IMAP_LOGIN_H
#define PP_IMAP_LOGIN_H

#include "login/login.h"

extern const struct login_proto imap_login_proto;

#endif
