/*
 * conn: one stream connection, plain or TLS, non-blocking, on libevent.
 *
 * Buffers are small and freed while idle (an idle connection costs well under
 * 16 KB without TLS).  Reading stops while more than half of out_max waits to
 * be written, so a peer that does not read cannot make us grow.
 *
 * What is written in input(), tls_done() or drained() is sent when it returns,
 * so the replies to a batch of pipelined commands go out in one piece; what is
 * written elsewhere goes out at the end of the present turn of the loop.
 * SIGPIPE has to be ignored.
 */
#ifndef PP_CONN_H
#define PP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "slice.h"
#include "tls.h"

struct event_base;
struct conn;
struct ssl_ctx_st;

enum conn_end { CONN_EOF, CONN_ERROR, CONN_TIMEOUT, CONN_TLS_FAILED };

struct conn_ops {
	/*
	 * Input: all octets that have not been taken yet.  Returns how many
	 * were taken; the rest is given again when more has come.  Called again
	 * at once while it takes something and some is left: taking one line a
	 * call keeps the bounds on output tight.  It may call any conn_ function
	 * but conn_free on c (use conn_close).  At the end of input (EOF) what
	 * is complete is given first, and ended() comes after the last reply.
	 */
	size_t	(*input)(struct conn *c, void *ctx, struct slice data);
	void	(*tls_done)(struct conn *c, void *ctx);	/* may be NULL */
	/* All output is written, after it was not; may be NULL; may write more. */
	void	(*drained)(struct conn *c, void *ctx);
	/*
	 * The connection has ended, its descriptor is closed; called once, from
	 * the loop only (never out of a conn_ call), and conn_free may be called in it.
	 */
	void	(*ended)(struct conn *c, void *ctx, enum conn_end why, const char *text);
};

/*
 * Takes over fd, which is non-blocking (and may still be connecting).
 * in_max: most octets input() may leave untaken, else the connection ends with
 * CONN_ERROR.  out_max: most octets that may wait to be written.
 * NULL: no memory (fd is closed).
 */
struct conn *conn_new(struct event_base *base, int fd, size_t in_max, size_t out_max,
    const struct conn_ops *ops, void *ctx);
/* The same for a pair of pipes (or one socket twice). */
struct conn *conn_new_pair(struct event_base *base, int rfd, int wfd, size_t in_max, size_t out_max,
    const struct conn_ops *ops, void *ctx);
/* Closes at once, without ended().  Accepts NULL. */
void conn_free(struct conn *c);

/* Write; kept until the peer takes it.  False if out_max is passed (the connection is then closed). */
bool conn_write(struct conn *c, struct slice data);
size_t conn_pending(const struct conn *c);	/* octets not yet written */

/*
 * Flush what is written, then close and call ended(CONN_EOF).  No input is
 * given any more.  If the peer is still sending, its octets are read and thrown
 * away for 2 s, so that it gets our last words instead of a reset.
 */
void conn_close(struct conn *c);

/* The same after the peer said goodbye (QUIT): nobody waits for more octets of it. */
void conn_bye(struct conn *c);

/* Stop and go on calling input() (flow control; while an answer from elsewhere is awaited). */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);

/*
 * End with CONN_TIMEOUT unless input comes (kind idle; does not run while
 * paused; octets of a TLS handshake are no input), or unconditionally
 * (deadline), within ms; 0: no limit.  Setting one again costs nothing.
 */
void conn_idle_timeout(struct conn *c, unsigned ms);
void conn_deadline(struct conn *c, unsigned ms);

/*
 * Start TLS, as server or (host != NULL) as client with SNI, after the output
 * written so far is flushed; what is written later goes over TLS.  Input that
 * came before it (RFC 3207 section 4, CVE-2011-0411), be it left untaken by
 * input() or still in the socket, ends the connection with CONN_TLS_FAILED,
 * and that output is not sent.  Called before anything was read or written
 * (implicit TLS), it begins at once.  tls has to live as long as c.
 * Returns false, with the connection to be closed by the caller, if TLS is on
 * already, there is no memory, or it is called outside input() with input left.
 */
bool conn_starttls(struct conn *c, struct ssl_ctx_st *tls, const char *host, bool verify);
bool conn_is_tls(const struct conn *c);
const char *conn_tls_protocol(const struct conn *c);	/* "TLSv1.3"; NULL if none */
const char *conn_tls_cipher(const struct conn *c, int *bits);

/* A second descriptor of a plain connection (close-on-exec), for another process to go on with;
 * -1 while there is output to be written or input that has not been taken. */
int conn_dup(const struct conn *c);

/* Is there input that has not been taken?  Inside input(): from earlier calls. */
bool conn_has_input(const struct conn *c);

/* TCP_NODELAY and keepalive; of a listener its connections inherit them.  Nothing on
 * other sockets.  Sockets of daemon_start() have it already. */
void conn_tune(int fd);

/* Peer and own address as logged ("192.0.2.1", "2001:db8::1", "unix"), port may be NULL. */
#define CONN_ADDRESS_MAX 64
bool conn_address(int fd, bool peer, char *out, size_t size, uint16_t *port);

/*
 * Listeners.  accepted() gets a non-blocking descriptor and the client's
 * address as conn_address() writes it, good for the call.  When descriptors run
 * out nothing is accepted for 200 ms.  fd stays the caller's and may be shared
 * with other processes.
 */
struct conn_listener;
struct conn_listener *conn_listen(struct event_base *base, int fd,
    void (*accepted)(int fd, const char *address, void *ctx), void *ctx);
void conn_listener_free(struct conn_listener *l);	/* stops accepting; closes nothing */

#endif
