/*
 * relay: sends mail to other hosts.
 *
 * The way of a job: relay_job.c takes it from queue and makes a delivery for
 * each destination in it; relay_dest.c looks the destination up (relay_dns.c)
 * and gives its deliveries to connections; relay_conn.c holds one connection
 * with the dialogue of smtp_client.c; the results go back through relay_job.c.
 */
#ifndef PP_RELAY_H
#define PP_RELAY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "buf.h"
#include "daemon.h"
#include "qid.h"
#include "smtp_client.h"

struct ipc_conn;
struct ssl_ctx_st;
struct relay_dns;
struct relay_conn;
struct relay_recent;

#define DEST_KEY_MAX	256
#define DEST_HOSTS_MAX	20	/* addresses tried for one destination */

/* Where mail for a destination may be brought, best first. */
struct mail_host {
	char			name[256];	/* of the MX, for TLS and the log */
	char			text[64];	/* address as text */
	struct sockaddr_storage	addr;		/* port not set */
	socklen_t		addr_len;
};

struct mail_hosts {
	struct mail_host	at[DEST_HOSTS_MAX];
	size_t			n;
	/* When n is 0: what that means for the mail. */
	bool			permanent;
	char			dsn[16];
	char			text[400];
};

struct job;

/* The recipients of one job that go to one destination. */
struct delivery {
	struct delivery		*next;		/* in the destination's queue */
	struct job		*job;
	struct client_mail	 mail;		/* rcpt is owned */
	uint32_t		*index;		/* of each recipient in the job; owned */
	uint64_t		 started_usec;	/* when a connection took it */
	uint64_t		 connected_usec;
};

struct dest {
	struct dest		*next;
	struct relay		*relay;
	char			 key[DEST_KEY_MAX];	/* domain, or the smarthost's name */
	bool			 resolving;
	struct mail_hosts	 hosts;
	uint64_t		 resolved_mono_usec;
	struct delivery		*first, **last;	/* waiting for a connection */
	struct relay_conn	*conns;
	unsigned		 conn_n;
};

struct relay {
	struct daemon		 daemon;
	struct client_setup	 setup;		/* the same for all connections */
	bool			 implicit_tls;
	struct ssl_ctx_st	*tls;
	char			 password[512];
	struct relay_dns	*dns;
	struct ipc_conn		*queue;
	struct relay_recent	*recent;
	struct event		*reconnect;
	struct dest		*dests;
	unsigned		 jobs;		/* in hand */
};

/* relay_job.c */
void relay_queue_connect(struct relay *r);
void relay_begin_drain(void *relay);

/* Content of a job: up to size octets from offset; 0 at the end, -1 on an error. */
ssize_t job_content(const struct job *j, uint64_t offset, char *out, size_t size);
uint64_t job_size(const struct job *j);

/* All recipients of d are done: report what its client_mail says.  host: "name[address]:port". Frees d. */
void delivery_done(struct delivery *d, const char *host, const char *host_name);

/* None could be tried: all get this outcome. Frees d. */
void delivery_fail(struct delivery *d, bool permanent, const char *dsn, const char *text);

/* relay_dest.c */
void dest_add(struct relay *r, struct slice domain, struct delivery *d);
struct delivery *dest_take(struct dest *d);	/* the next that waits, or NULL */
void dest_return(struct dest *d, struct delivery *again);	/* put back at the front */
void dest_conn_gone(struct dest *d);		/* a connection has ended: start others, or forget the destination */
void dest_unreachable(struct dest *d, const char *text);	/* no host could be reached */

/* relay_conn.c */
bool relay_conn_open(struct dest *d);
void relay_conn_wake(struct relay_conn *c);	/* an idle one may take a delivery */
bool relay_conn_idle(const struct relay_conn *c);
struct relay_conn *relay_conn_next(const struct relay_conn *c);
void relay_conn_quit(struct relay_conn *c);

/* relay_dns.c */
struct relay_dns *relay_dns_open(struct event_base *base, const char *resolver, const char *hostname);
typedef void (*relay_dns_done)(void *ctx, const struct mail_hosts *hosts);
/* mx: follow MX records (RFC 5321 section 5); else addresses only.  done is called once, maybe at once. */
void relay_dns_find(struct relay_dns *dns, const char *name, bool mx, relay_dns_done done, void *ctx);

#endif
