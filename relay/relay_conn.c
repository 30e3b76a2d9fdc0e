/* relay_conn: one connection to a mail host: connect, TLS, the dialogue, the content. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "relay.h"
#include "smtp_body.h"

#define CONNECT_MS	30000
#define IDLE_MS		3000		/* an idle connection waits so long for more mail */
#define MAILS_MAX	100		/* on one connection */
#define CHUNK		(32 * 1024)
#define OUT_HIGH	(128 * 1024)	/* stop reading content while so much waits to be written */
#define OUT_MAX		(1024 * 1024)	/* a command group with all recipients fits */

struct relay_conn {
	struct relay_conn	*next;
	struct dest		*dest;
	size_t			 host;		/* in dest->hosts at the time */
	struct mail_hosts	 hosts;		/* a copy: the destination may look up again */
	int			 fd;		/* while connecting */
	struct event		*connecting;
	struct conn		*conn;
	struct smtp_client	 client;
	bool			 plain_again;	/* STARTTLS failed here: once more without */
	bool			 open;		/* a mail may be begun */
	bool			 over;		/* failed or quitting: nothing is read any more */
	struct delivery		*delivery;
	struct smtp_body	 body;
	uint64_t		 offset;
	bool			 sending;
	uint64_t		 connected_usec;
	char			 label[400];	/* host[address]:port */
	char			 trouble[920];	/* the last reason why a host was no good */
};

static void try_next_host(struct relay_conn *c);
static void on_want(struct relay_conn *c, enum client_want want, struct buf *out);

struct relay_conn *
relay_conn_next(const struct relay_conn *c)
{
	return c->next;
}

bool
relay_conn_idle(const struct relay_conn *c)
{
	return c->open && c->delivery == NULL && !c->over;
}

static unsigned
reply_ms(const struct relay_conn *c)
{
	return c->dest->relay->daemon.conf.relay_timeout_s * 1000;
}

static uint16_t
port(const struct relay_conn *c)
{
	const struct conf *conf = &c->dest->relay->daemon.conf;

	return conf->smarthost.host != NULL ? conf->smarthost.port : conf->relay_port;
}

static void
unlink_conn(struct relay_conn *c)
{
	struct relay_conn **at = &c->dest->conns;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	c->dest->conn_n--;
}

static void
conn_gone(struct relay_conn *c)
{
	struct dest *d = c->dest;

	unlink_conn(c);
	if (c->connecting != NULL)
		event_free(c->connecting);
	if (c->fd != -1)
		(void)close(c->fd);
	if (c->conn != NULL)
		conn_free(c->conn);
	if (c->delivery != NULL)
		dest_return(d, c->delivery);
	free(c);
	dest_conn_gone(d);
}

/* ---- a delivery ---- */

/* Those without a reply of their own get what happened to the connection. */
static void
fill_results(struct relay_conn *c, const char *text)
{
	struct client_mail *m = &c->delivery->mail;

	for (size_t i = 0; i < m->n; i++) {
		struct client_rcpt *r = &m->rcpt[i];

		if (r->done)
			continue;
		r->done = true;
		r->command = NULL;
		r->reply.code = 0;
		r->reply.len = (size_t)snprintf(r->reply.text, sizeof(r->reply.text), "%s", text);
	}
}

static void
finish_delivery(struct relay_conn *c)
{
	struct delivery *d = c->delivery;

	c->delivery = NULL;
	delivery_done(d, c->label, c->hosts.at[c->host].name);
}

static void
take_delivery(struct relay_conn *c, struct buf *out)
{
	enum client_want want;

	do {
		c->delivery = c->client.mails < MAILS_MAX ? dest_take(c->dest) : NULL;
		if (c->delivery == NULL) {
			if (c->client.mails >= MAILS_MAX || c->dest->relay->daemon.draining)
				relay_conn_quit(c);
			else
				conn_idle_timeout(c->conn, IDLE_MS);
			return;
		}
		c->delivery->started_usec = now_mono_usec();
		c->delivery->connected_usec = c->connected_usec;
		c->connected_usec = 0;	/* only the first one waited for it */
		conn_idle_timeout(c->conn, reply_ms(c));
		want = smtp_client_mail(&c->client, &c->delivery->mail, out);
		if (want == CLIENT_MAIL_DONE)
			finish_delivery(c);
	} while (want == CLIENT_MAIL_DONE);
}

static void
flush(struct relay_conn *c, struct buf *out)
{
	if (out->len > 0)
		(void)conn_write(c->conn, buf_slice_of(out));
	buf_reset(out);
}

void
relay_conn_wake(struct relay_conn *c)
{
	struct buf out;

	buf_init(&out, OUT_MAX);
	take_delivery(c, &out);
	if (!c->over)
		flush(c, &out);
	buf_clear(&out);
}

void
relay_conn_quit(struct relay_conn *c)
{
	c->over = true;
	(void)conn_write(c->conn, SLICE("QUIT\r\n"));
	conn_close(c->conn);
}

/* The content, as much as the connection takes; the rest when it has drained. */
static void
send_content(struct relay_conn *c)
{
	char chunk[CHUNK];
	struct buf out;

	buf_init(&out, 3 * CHUNK);
	while (c->sending && !c->over && conn_pending(c->conn) < OUT_HIGH) {
		ssize_t n = job_content(c->delivery->job, c->offset, chunk, sizeof(chunk));

		if (n < 0) {	/* cannot be read: end without the final dot, nothing is delivered */
			fill_results(c, "the content could not be read from the spool");
			finish_delivery(c);
			c->over = true;
			conn_close(c->conn);
			break;
		}
		if (n == 0) {
			(void)smtp_body_end(&c->body, &out);
			c->sending = false;
		} else {
			c->offset += (uint64_t)n;
			(void)smtp_body_put(&c->body, slice_make(chunk, (size_t)n), &out);
		}
		flush(c, &out);
	}
	buf_clear(&out);
}

/* ---- the connection ---- */

static void
give_up_host(struct relay_conn *c, const char *verb, const char *text)
{
	(void)snprintf(c->trouble, sizeof(c->trouble), "host %.380s%s: %.500s", c->label, verb, text);
	c->over = true;
	c->open = false;
}

static void
on_failed(struct relay_conn *c)
{
	if (c->delivery != NULL) {
		fill_results(c, c->client.reply.text);
		finish_delivery(c);
	} else if (!c->open) {
		give_up_host(c, " said", c->client.reply.text);
	}
	c->over = true;
	conn_close(c->conn);
}

static void
on_want(struct relay_conn *c, enum client_want want, struct buf *out)
{
	struct relay *r = c->dest->relay;

	switch (want) {
	case CLIENT_MORE:
		return;
	case CLIENT_STARTTLS:
		flush(c, out);
		if (!conn_starttls(c->conn, r->tls, c->hosts.at[c->host].name,
		    r->setup.tls == CLIENT_TLS_MUST && r->daemon.conf.smarthost.verify)) {
			give_up_host(c, "", "input before the TLS handshake");
			conn_close(c->conn);
		}
		return;
	case CLIENT_BODY:
		c->body = (struct smtp_body){ 0 };
		c->offset = 0;
		c->sending = true;
		flush(c, out);
		send_content(c);
		return;
	case CLIENT_IDLE:
		c->open = true;
		take_delivery(c, out);
		return;
	case CLIENT_MAIL_DONE:
		finish_delivery(c);
		take_delivery(c, out);
		return;
	case CLIENT_FAILED:
		on_failed(c);
		return;
	}
}

static size_t
on_input(struct conn *conn, void *ctx, struct slice data)
{
	struct relay_conn *c = ctx;
	struct slice rest = data;
	struct buf out;

	(void)conn;
	buf_init(&out, OUT_MAX);
	while (!c->over && slice_find(rest, '\n') < rest.len) {
		struct slice line = slice_cut(&rest, '\n');

		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		on_want(c, smtp_client_line(&c->client, line, &out), &out);
		if (c->client.state == CS_TLS)
			break;
	}
	if (!c->over && rest.len >= REPLY_LINE_MAX)
		on_want(c, smtp_client_line(&c->client, SLICE("line too long"), &out), &out);
	if (!c->over)
		flush(c, &out);
	buf_clear(&out);
	return c->over ? data.len : data.len - rest.len;
}

static void
on_tls_done(struct conn *conn, void *ctx)
{
	struct relay_conn *c = ctx;
	struct buf out;

	(void)conn;
	if (c->dest->relay->implicit_tls)
		return;	/* the greeting comes next */
	buf_init(&out, OUT_MAX);
	smtp_client_tls_done(&c->client, &out);
	flush(c, &out);
	buf_clear(&out);
}

static void
on_drained(struct conn *conn, void *ctx)
{
	struct relay_conn *c = ctx;

	conn_idle_timeout(conn, reply_ms(c));
	if (c->sending)
		send_content(c);
}

static void
on_ended(struct conn *conn, void *ctx, enum conn_end why, const char *text)
{
	struct relay_conn *c = ctx;
	static const char *const words[] = {
		[CONN_EOF] = "lost connection", [CONN_ERROR] = "lost connection",
		[CONN_TIMEOUT] = "conversation timed out", [CONN_TLS_FAILED] = "TLS handshake failed",
	};
	bool was_open = c->open || (c->over && c->trouble[0] == '\0');
	char line[500];

	(void)snprintf(line, sizeof(line), "%s with %s while %s%s%s%s", words[why], c->label,
	    c->sending || c->client.state == CS_END ? "sending message body" : "talking, after ",
	    c->sending || c->client.state == CS_END ? "" : c->client.command,
	    text == NULL || text[0] == '\0' ? "" : ": ", text == NULL ? "" : text);
	conn_free(conn);
	c->conn = NULL;
	c->sending = false;
	if (c->delivery != NULL) {
		fill_results(c, line);
		finish_delivery(c);
	}
	if (was_open) {
		conn_gone(c);
		return;
	}
	if (why == CONN_TLS_FAILED && c->dest->relay->setup.tls == CLIENT_TLS_MAY && !c->plain_again) {
		c->plain_again = true;	/* opportunistic: better in the clear than not at all */
		c->host--;
	}
	if (c->trouble[0] == '\0' || why == CONN_TLS_FAILED)
		(void)snprintf(c->trouble, sizeof(c->trouble), "%s", line);
	c->host++;
	try_next_host(c);
}

static const struct conn_ops ops = {
	.input = on_input, .tls_done = on_tls_done, .drained = on_drained, .ended = on_ended,
};

static void
start_dialogue(struct relay_conn *c)
{
	struct relay *r = c->dest->relay;
	int fd = c->fd;

	c->fd = -1;
	c->over = c->open = c->sending = false;
	c->connected_usec = now_mono_usec();
	smtp_client_init(&c->client, &r->setup, r->implicit_tls);
	c->client.no_tls = c->plain_again;
	c->conn = conn_new(r->daemon.base, fd, REPLY_LINE_MAX, OUT_MAX, &ops, c);
	if (c->conn == NULL) {
		give_up_host(c, "", "out of memory");
		c->host = c->hosts.n;
		try_next_host(c);
		return;
	}
	conn_idle_timeout(c->conn, reply_ms(c));
	if (r->implicit_tls && !conn_starttls(c->conn, r->tls, c->hosts.at[c->host].name, r->daemon.conf.smarthost.verify))
		conn_close(c->conn);
}

static void
on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct relay_conn *c = arg;
	int error = ETIMEDOUT;
	socklen_t len = sizeof(error);

	event_free(c->connecting);
	c->connecting = NULL;
	if ((what & EV_TIMEOUT) == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		error = errno;
	if (error == 0) {
		start_dialogue(c);
		return;
	}
	(void)close(fd);
	c->fd = -1;
	(void)snprintf(c->trouble, sizeof(c->trouble), "connect to %s: %s", c->label, strerror(error));
	c->host++;
	try_next_host(c);
}

static bool
start_connect(struct relay_conn *c)
{
	struct mail_host *h = &c->hosts.at[c->host];
	const struct timeval limit = { .tv_sec = CONNECT_MS / 1000 };

	(void)snprintf(c->label, sizeof(c->label), "%s[%s]:%u", h->name, h->text, port(c));
	c->fd = socket(h->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd == -1)
		return false;
	if (h->addr.ss_family == AF_INET)
		((struct sockaddr_in *)&h->addr)->sin_port = htons(port(c));
	else
		((struct sockaddr_in6 *)&h->addr)->sin6_port = htons(port(c));
	if (connect(c->fd, (const struct sockaddr *)&h->addr, h->addr_len) != 0 && errno != EINPROGRESS)
		return false;
	c->connecting = event_new(c->dest->relay->daemon.base, c->fd, EV_WRITE, on_connected, c);
	return c->connecting != NULL && event_add(c->connecting, &limit) == 0;
}

/* From c->host on; when none is left the destination is unreachable. */
static void
try_next_host(struct relay_conn *c)
{
	for (; c->host < c->hosts.n; c->host++) {
		if (start_connect(c))
			return;
		(void)snprintf(c->trouble, sizeof(c->trouble), "connect to %s: %s", c->label, strerror(errno));
		if (c->fd != -1)
			(void)close(c->fd);
		c->fd = -1;
	}
	dest_unreachable(c->dest, c->trouble[0] == '\0' ? "no host to connect to" : c->trouble);
	conn_gone(c);
}

static void
on_begin(evutil_socket_t fd, short what, void *arg)
{
	struct relay_conn *c = arg;

	(void)fd;
	(void)what;
	event_free(c->connecting);
	c->connecting = NULL;
	try_next_host(c);
}

bool
relay_conn_open(struct dest *d)
{
	struct relay_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return false;
	c->dest = d;
	c->fd = -1;
	c->hosts = d->hosts;
	c->next = d->conns;
	d->conns = c;
	d->conn_n++;
	/* From the loop: an immediate failure must not change the destination under its caller. */
	c->connecting = event_new(d->relay->daemon.base, -1, 0, on_begin, c);
	if (c->connecting == NULL) {
		unlink_conn(c);
		free(c);
		return false;
	}
	event_active(c->connecting, EV_TIMEOUT, 0);
	return true;
}
