/*
 * smtp_conn: one client: its connection, its session, its timers; the only
 * part of smtpd that knows sockets and TLS.  Read next: smtp_session.h (what
 * is said), smtp_content.c (what happens to a message).
 */
#ifndef PP_SMTP_CONN_H
#define PP_SMTP_CONN_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "buf.h"
#include "conn.h"
#include "log_events.h"
#include "smtp_auth.h"
#include "smtp_queue.h"
#include "smtp_server.h"
#include "smtp_session.h"

/* What input waits for. */
enum smtp_wait { WAIT_NOTHING, WAIT_AUTH, WAIT_ID, WAIT_FILE, WAIT_RESULT, WAIT_DELAY };

enum smtp_timer {
	TIMER_LINE,	/* the whole of the next line, or the TLS handshake */
	TIMER_CONTENT,	/* content has to come at a rate */
	TIMER_GIVE_UP,	/* refused content: its end does not come */
	TIMER_DELAY,	/* a held reply goes out */
	TIMER_DRAIN,	/* the server ends: its first transaction may still begin */
};

struct smtp_content;

struct smtp_conn {
	TAILQ_ENTRY(smtp_conn)	 link;
	struct smtp_server	*server;
	struct conn		*conn;
	struct smtp_session	 session;
	struct smtp_submit	 submit;
	struct smtp_auth_ask	 ask;
	struct smtp_content	*content;	/* NULL but between DATA and its reply */
	struct log_client	 client;	/* points to name, address */
	char			*name;		/* owned */
	char			 address[64];
	size_t			 slot;		/* in server->limits */
	uint64_t		 began_usec;	/* MAIL, since 1970 */
	struct event		 ev_timer;
	enum smtp_timer		 timer;
	enum smtp_wait		 wait;
	struct buf		 held;		/* reply that waits for TIMER_DELAY */
	unsigned		 errors_seen, failures_seen;
	bool			 starting_tls;
	bool			 implicit_tls;
	bool			 skipping;	/* the rest of a line that is too long */
	bool			 closing;	/* by us, with a reply */
	bool			 counted;	/* in server->limits */
};

/* address as logged; name NULL: unknown.  rfd and wfd (often the same) are taken over. */
void smtp_conn_new(struct smtp_server *s, int rfd, int wfd, enum smtp_service service, bool tls,
    const char *name, const char *address);

/* The server is draining: leave if nothing is under way, or nothing comes in a moment. */
void smtp_conn_drain(struct smtp_conn *c);
/* The process ends: at once. */
void smtp_conn_drop(struct smtp_conn *c);

/* For smtp_content.c. */
void smtp_conn_timer(struct smtp_conn *c, enum smtp_timer timer, unsigned ms);
unsigned smtp_conn_timeout_ms(const struct smtp_conn *c);
void smtp_conn_wait(struct smtp_conn *c, enum smtp_wait wait);	/* stops input */
void smtp_conn_go_on(struct smtp_conn *c);			/* and starts it again */
/* Send what the session said and do what it wants. */
void smtp_conn_act(struct smtp_conn *c, enum smtp_want want, struct buf *out);
size_t smtp_conn_out_max(const struct smtp_server *s);

/* smtp_content.c */
extern const struct smtp_submit_ops smtp_content_ops;
void smtp_content_start(struct smtp_conn *c);	/* after WANT_QUEUE */
size_t smtp_content_input(struct smtp_conn *c, struct slice data);
void smtp_content_give_up(struct smtp_conn *c);	/* TIMER_GIVE_UP */
void smtp_content_free(struct smtp_conn *c);	/* aborts what is under way */

#endif
