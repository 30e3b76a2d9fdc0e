/*
 * init_cert: a self-signed certificate, for the time until a real one is there.
 */
#ifndef PP_INIT_CERT_H
#define PP_INIT_CERT_H

#include <stdbool.h>

#include "buf.h"

/*
 * Make a key (EC P-256) and a certificate for hostname, domain, localhost,
 * 127.0.0.1 and ::1, good for ten years, both as PEM.  False: OpenSSL failed.
 */
bool init_cert(const char *hostname, const char *domain, struct buf *cert_pem, struct buf *key_pem);

#endif
