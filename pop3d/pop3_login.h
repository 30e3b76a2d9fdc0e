/*
 * pop3_login: POP3 before login, the AUTHORIZATION state (RFC 1939 section 4),
 * with CAPA (RFC 2449), STLS (RFC 2595), AUTH PLAIN (RFC 5034, RFC 4616) and
 * the response codes of RFC 2449 and RFC 3206.  Pure; run by the front
 * (login/login.h).
 *
 * No APOP: it needs passwords in the clear on the server.  No login of any
 * kind without TLS.
 */
#ifndef PP_POP3_LOGIN_H
#define PP_POP3_LOGIN_H

#include <stdbool.h>

#include "buf.h"
#include "login/login.h"

extern const struct login_proto pop3_login_proto;

/*
 * The answer to CAPA, the same in both states but for STLS (only before TLS)
 * and USER and SASL (only under TLS).
 */
bool pop3_capabilities(struct buf *out, bool tls, bool starttls);

#endif
