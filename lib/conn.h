/*
 * conn: one stream connection, plain or TLS, non-blocking, on libevent.
 *
 * Buffers are small and freed while idle (an idle connection costs well under
 * 16 KB without TLS).  Reading stops while more than the cap waits to be
 * written, so a peer that does not read cannot make us grow.
 */
#ifndef PP_CONN_H
#define PP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"

struct event_base;
struct conn;
struct ssl_ctx_st;

enum conn_end { CONN_EOF, CONN_ERROR, CONN_TIMEOUT, CONN_TLS_FAILED };

struct conn_ops {
	/*
	 * Input: all octets that have not been taken yet.  Returns how many
	 * were taken; the rest is given again when more has come.  Called again
	 * at once while it takes something and some is left.  It may call any
	 * conn_ function but conn_free on c (use conn_close).
	 */
	size_t	(*input)(struct conn *c, void *ctx, struct slice data);
	void	(*tls_done)(struct conn *c, void *ctx);	/* may be NULL */
	/* All output is written, after it was not; may be NULL. */
	void	(*drained)(struct conn *c, void *ctx);
	/* The connection has ended; called once, and conn_free may be called in it. */
	void	(*ended)(struct conn *c, void *ctx, enum conn_end why, const char *text);
};

/* Takes over fd.  in_max: most octets input() may leave untaken.  NULL: no memory (fd is closed). */
struct conn *conn_new(struct event_base *base, int fd, size_t in_max, size_t out_max,
    const struct conn_ops *ops, void *ctx);
void conn_free(struct conn *c);		/* closes at once */

/* Write; kept until the peer takes it.  False if out_max is passed (the connection is then closed). */
bool conn_write(struct conn *c, struct slice data);
size_t conn_pending(const struct conn *c);	/* octets not yet written */

/* Flush what is written, then close and call ended(CONN_EOF). */
void conn_close(struct conn *c);

/* Stop and go on calling input() (flow control; while an answer from elsewhere is awaited). */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/* End with CONN_TIMEOUT unless input comes (kind idle), or unconditionally (deadline), within ms; 0: no limit. */
void conn_idle_timeout(struct conn *c, unsigned ms);
void conn_deadline(struct conn *c, unsigned ms);

/*
 * Start TLS, as server or (host != NULL) as client with SNI, after all output
 * is flushed.  Returns false, with the connection to be closed by the caller,
 * if input came before it (RFC 3207 section 4, CVE-2011-0411).
 */
bool conn_starttls(struct conn *c, struct ssl_ctx_st *tls, const char *host, bool verify);
bool conn_is_tls(const struct conn *c);
const char *conn_tls_protocol(const struct conn *c);	/* "TLSv1.3"; NULL if none */
const char *conn_tls_cipher(const struct conn *c, int *bits);

/* Is there input that has not been taken?  (Pipelining where it is not allowed.) */
bool conn_has_input(const struct conn *c);

/* Peer and own address as logged ("192.0.2.1", "2001:db8::1", "unix"), port may be NULL. */
bool conn_address(int fd, bool peer, char *out, size_t size, uint16_t *port);

/* Listeners: accept4 in a loop; what to do when descriptors run out is in here (a short pause). */
struct conn_listener;
struct conn_listener *conn_listen(struct event_base *base, int fd,
    void (*accepted)(int fd, void *ctx), void *ctx);
void conn_listener_free(struct conn_listener *l);	/* stops accepting; closes nothing */

/* Server and client contexts: TLS 1.2 and up, no compression, no renegotiation, no tickets. */
struct ssl_ctx_st *tls_server_new(const char *certificate, const char *key, char *why, size_t size);
struct ssl_ctx_st *tls_client_new(char *why, size_t size);

#endif
