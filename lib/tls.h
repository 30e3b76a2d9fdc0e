/*
 * tls: contexts for servers and clients, and one TLS stream on a descriptor.
 *
 * TLS 1.2 and 1.3; no compression, no renegotiation, no tickets, no resumption,
 * no early data.  Making a context does a whole handshake in memory, so that
 * everything OpenSSL loads late is there before the process confines itself:
 * afterwards it opens no file and needs getrandom alone.
 */
#ifndef PP_TLS_H
#define PP_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct ssl_ctx_st;	/* OpenSSL's SSL_CTX and SSL */
struct ssl_st;

/* Of two PEM files (the whole chain; its key).  NULL, and why in words. */
struct ssl_ctx_st *tls_server_new(const char *certificate, const char *key, char *why, size_t size);
/* The same from files that are open (read from their beginning; left open): a
 * parent that must never see the key keeps the descriptor for its children. */
struct ssl_ctx_st *tls_server_new_fds(int certificate_fd, int key_fd, char *why, size_t size);

/*
 * The name of the protocol spoken here, "smtp", "imap", "pop3" (borrowed for
 * good): a client that sends ALPN without it is refused (ALPACA).
 */
void tls_server_alpn(struct ssl_ctx_st *tls, const char *protocol);

/* Trusts the system's certificates, or those in $SSL_CERT_FILE.  NULL, and why in words. */
struct ssl_ctx_st *tls_client_new(char *why, size_t size);

void tls_free(struct ssl_ctx_st *tls);	/* accepts NULL */

enum tls_io { TLS_IO_OK, TLS_IO_READ, TLS_IO_WRITE, TLS_IO_EOF, TLS_IO_ERROR };

/*
 * A stream that reads from rfd and writes to wfd (the caller's).  host NULL:
 * server side.  Else client side, with SNI; verify: the certificate has to be
 * valid for host (a name or an address).  NULL: no memory, or host is unusable.
 */
struct ssl_st *tls_stream_new(struct ssl_ctx_st *tls, int rfd, int wfd, const char *host, bool verify);
void tls_stream_free(struct ssl_st *ssl);	/* accepts NULL */

/* READ and WRITE: call again when the descriptor is readable, writable. */
enum tls_io tls_stream_handshake(struct ssl_st *ssl);
enum tls_io tls_stream_read(struct ssl_st *ssl, void *ptr, size_t size, size_t *got);
/* After READ or WRITE the same octets have to be given again (more may follow them). */
enum tls_io tls_stream_write(struct ssl_st *ssl, const void *ptr, size_t len, size_t *put);
/* Octets that came from the descriptor and were not read yet. */
bool tls_stream_pending(const struct ssl_st *ssl);
/* "TLSv1.3"; "TLS_AES_256_GCM_SHA384" and its strength. */
const char *tls_stream_protocol(const struct ssl_st *ssl);
const char *tls_stream_cipher(const struct ssl_st *ssl, int *bits);
/* Tell the peer that nothing follows; does not wait. */
void tls_stream_bye(struct ssl_st *ssl);

/* What went wrong, after TLS_IO_ERROR. */
void tls_stream_why(struct ssl_st *ssl, char *out, size_t size);

#endif
