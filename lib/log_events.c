#include "log_events.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "log.h"

/* What one event is made of: the text line and the same as fields for JSON. */
struct event {
	struct buf		text;
	struct log_field	field[16];
	size_t			n;
};

static void
begin(struct event *e)
{
	buf_init(&e->text, 3500);
	e->n = 0;
}

static void
field(struct event *e, const char *name, struct slice text)
{
	if (e->n < LEN(e->field))
		e->field[e->n++] = (struct log_field){ .name = name,
		    .text = text.ptr == NULL ? slice_of("") : text };
}

static void
number(struct event *e, const char *name, int64_t n)
{
	if (e->n < LEN(e->field))
		e->field[e->n++] = (struct log_field){ .name = name, .number = n };
}

static void
end(struct event *e, const char *program, const char *name)
{
	log_event(program, name, buf_slice_of(&e->text), e->field, e->n);
	buf_clear(&e->text);
}

/* "name[address]"; a peer's brackets cannot fake another client: both were made by us. */
static void
client(struct event *e, struct log_client c)
{
	(void)buf_slice(&e->text, c.name.len == 0 ? slice_of("unknown") : c.name);
	(void)buf_char(&e->text, '[');
	(void)buf_slice(&e->text, c.address);
	(void)buf_char(&e->text, ']');
	field(e, "client_name", c.name.len == 0 ? slice_of("unknown") : c.name);
	field(e, "client_address", c.address);
}

/* "QUEUEID: " or "NOQUEUE: "; id must live as long as e. */
static void
queue_id(struct event *e, struct qid q, char id[QID_TEXT])
{
	if (q.n == 0)
		(void)memcpy(id, "NOQUEUE", sizeof("NOQUEUE"));
	else
		(void)qid_print(q, id);
	(void)buf_fmt(&e->text, "%s: ", id);
	field(e, "queue_id", slice_of(id));
}

/* name=<text> as text and as a field. */
static void
angle(struct event *e, const char *before, const char *name, struct slice s)
{
	(void)buf_fmt(&e->text, "%s%s=<", before, name);
	(void)buf_slice(&e->text, s);
	(void)buf_char(&e->text, '>');
	field(e, name, s);
}

static void
plain(struct event *e, const char *before, const char *name, struct slice s)
{
	(void)buf_fmt(&e->text, "%s%s=", before, name);
	(void)buf_slice(&e->text, s);
	field(e, name, s);
}

/* ---- smtpd ---- */

static void
client_event(const char *name, const char *words, const char *after, const char *from, struct log_client c)
{
	struct event e;

	begin(&e);
	(void)buf_text(&e.text, words);
	if (after != NULL) {
		(void)buf_fmt(&e.text, " after %s", after);
		field(&e, "after", slice_of(after));
	}
	(void)buf_fmt(&e.text, " from %s", from);
	client(&e, c);
	end(&e, "smtpd", name);
}

void
log_connect(struct log_client c)
{
	client_event("connect", "connect", NULL, "", c);
}

void
log_lost_connection(const char *after, struct log_client c)
{
	client_event("lost-connection", "lost connection", after, "", c);
}

void
log_timeout(const char *after, struct log_client c)
{
	client_event("timeout", "timeout", after, "", c);
}

void
log_too_many_errors(const char *after, struct log_client c)
{
	client_event("too-many-errors", "too many errors", after, "", c);
}

void
log_client_accepted(struct qid q, struct log_client c, struct slice sasl_method, struct slice sasl_username)
{
	struct event e;
	char id[QID_TEXT];

	begin(&e);
	queue_id(&e, q, id);
	(void)buf_text(&e.text, "client=");
	client(&e, c);
	if (sasl_username.len > 0) {
		plain(&e, ", ", "sasl_method", sasl_method);
		plain(&e, ", ", "sasl_username", sasl_username);
	}
	end(&e, "smtpd", "client");
}

void
log_reject(struct qid q, const char *stage, struct log_client c, struct slice reply,
    struct slice from, struct slice to, struct slice proto, struct slice helo)
{
	struct event e;
	char id[QID_TEXT];

	begin(&e);
	queue_id(&e, q, id);
	(void)buf_fmt(&e.text, "reject: %s from ", stage);
	field(&e, "stage", slice_of(stage));
	client(&e, c);
	(void)buf_text(&e.text, ": ");
	(void)buf_slice(&e.text, reply);
	field(&e, "reply", reply);
	angle(&e, "; ", "from", from);
	if (to.len > 0)
		angle(&e, " ", "to", to);
	plain(&e, " ", "proto", proto);
	angle(&e, " ", "helo", helo);
	end(&e, "smtpd", "reject");
}

void
log_sasl_failed(struct log_client c, struct slice method, const char *why, struct slice username)
{
	struct event e;

	begin(&e);
	(void)buf_text(&e.text, "warning: ");
	client(&e, c);
	(void)buf_text(&e.text, ": SASL ");
	(void)buf_slice(&e.text, method);
	(void)buf_fmt(&e.text, " authentication failed: %s", why);
	field(&e, "sasl_method", method);
	field(&e, "reason", slice_of(why));
	if (username.len > 0)
		plain(&e, ", ", "sasl_username", username);
	end(&e, "smtpd", "sasl-failed");
}

void
log_improper_pipelining(const char *after, struct log_client c, struct slice what)
{
	struct event e;

	begin(&e);
	(void)buf_fmt(&e.text, "improper command pipelining after %s from ", after);
	field(&e, "after", slice_of(after));
	client(&e, c);
	(void)buf_text(&e.text, ": ");
	(void)buf_slice(&e.text, slice_sub(what, 0, 100));
	end(&e, "smtpd", "improper-pipelining");
}

void
log_tls_established(struct log_client c, const char *protocol, const char *cipher, int bits)
{
	struct event e;

	begin(&e);
	(void)buf_text(&e.text, "Anonymous TLS connection established from ");
	client(&e, c);
	(void)buf_fmt(&e.text, ": %s with cipher %s (%d/%d bits)", protocol, cipher, bits, bits);
	field(&e, "tls_protocol", slice_of(protocol));
	field(&e, "tls_cipher", slice_of(cipher));
	number(&e, "tls_bits", bits);
	end(&e, "smtpd", "tls");
}

void
log_disconnect(struct log_client c, struct slice summary)
{
	struct event e;

	begin(&e);
	(void)buf_text(&e.text, "disconnect from ");
	client(&e, c);
	(void)buf_char(&e.text, ' ');
	(void)buf_slice(&e.text, summary);
	field(&e, "summary", summary);
	end(&e, "smtpd", "disconnect");
}

/* ---- queue ---- */

void
log_message_id(struct qid q, struct slice message_id)
{
	struct event e;
	char id[QID_TEXT];
	struct slice bare = message_id;

	if (bare.len >= 2 && bare.ptr[0] == '<' && bare.ptr[bare.len - 1] == '>')
		bare = slice_sub(bare, 1, bare.len - 2);
	begin(&e);
	queue_id(&e, q, id);
	angle(&e, "", "message-id", bare);
	end(&e, "cleanup", "message-id");
}

void
log_pickup(struct qid q, uint32_t uid, struct slice from)
{
	struct event e;
	char id[QID_TEXT];

	begin(&e);
	queue_id(&e, q, id);
	(void)buf_fmt(&e.text, "uid=%lu", (unsigned long)uid);
	number(&e, "uid", uid);
	angle(&e, " ", "from", from);
	end(&e, "pickup", "pickup");
}

void
log_queue_active(struct qid q, struct slice from, uint64_t size, size_t nrcpt)
{
	struct event e;
	char id[QID_TEXT];

	begin(&e);
	queue_id(&e, q, id);
	angle(&e, "", "from", from);
	(void)buf_fmt(&e.text, ", size=%llu, nrcpt=%zu (queue active)", (unsigned long long)size, nrcpt);
	number(&e, "size", (int64_t)size);
	number(&e, "nrcpt", (int64_t)nrcpt);
	end(&e, "qmgr", "active");
}

void
log_removed(struct qid q)
{
	struct event e;
	char id[QID_TEXT];

	begin(&e);
	queue_id(&e, q, id);
	(void)buf_text(&e.text, "removed");
	end(&e, "qmgr", "removed");
}

void
log_bounce(struct qid q, const char *kind, struct qid notification)
{
	struct event e;
	char id[QID_TEXT], child[QID_TEXT];

	begin(&e);
	queue_id(&e, q, id);
	(void)buf_fmt(&e.text, "sender %s notification: %s", kind, qid_print(notification, child));
	field(&e, "kind", slice_of(kind));
	field(&e, "notification", slice_of(child));
	end(&e, "bounce", "bounce");
}

/* Seconds as Postfix writes them: two significant digits below ten, else whole. */
static void
seconds(struct buf *out, double s)
{
	if (s < 0)
		s = 0;
	if (s >= 10)
		(void)buf_fmt(out, "%.0f", s);
	else if (s >= 1)
		(void)buf_fmt(out, "%.1f", s);
	else if (s >= 0.005)
		(void)buf_fmt(out, "%.2g", s);
	else
		(void)buf_char(out, '0');
}

void
log_delivered(const struct log_delivery *d)
{
	struct event e;
	char id[QID_TEXT];

	begin(&e);
	queue_id(&e, d->qid, id);
	angle(&e, "", "to", d->to);
	if (d->orig_to.len > 0 && !slice_eq(d->orig_to, d->to))
		angle(&e, ", ", "orig_to", d->orig_to);
	plain(&e, ", ", "relay", d->relay.len == 0 ? slice_of("none") : d->relay);
	if (d->conn_use >= 2) {
		(void)buf_fmt(&e.text, ", conn_use=%u", d->conn_use);
		number(&e, "conn_use", d->conn_use);
	}
	(void)buf_text(&e.text, ", delay=");
	seconds(&e.text, d->delay);
	(void)buf_text(&e.text, ", delays=");
	for (size_t i = 0; i < LEN(d->delays); i++) {
		if (i > 0)
			(void)buf_char(&e.text, '/');
		seconds(&e.text, d->delays[i]);
	}
	number(&e, "delay_ms", (int64_t)(d->delay * 1000));
	plain(&e, ", ", "dsn", d->dsn);
	plain(&e, ", ", "status", slice_of(d->status));
	(void)buf_text(&e.text, " (");
	(void)buf_slice(&e.text, d->text);
	(void)buf_char(&e.text, ')');
	field(&e, "text", d->text);
	end(&e, d->program, "delivery");
}

/* ---- imapd and pop3d ---- */

/* The common end of the login lines, in Dovecot's order. */
static void
login_fields(struct event *e, const struct log_login *l)
{
	angle(e, "", "user", l->user);
	if (l->method.len > 0)
		plain(e, ", ", "method", l->method);
	plain(e, ", ", "rip", l->rip);
	plain(e, ", ", "lip", l->lip);
	if (l->mpid != 0) {
		(void)buf_fmt(&e->text, ", mpid=%lld", (long long)l->mpid);
		number(e, "mpid", l->mpid);
	}
	if (l->tls)
		(void)buf_text(&e->text, ", TLS");
	number(e, "tls", l->tls);
	angle(e, ", ", "session", l->session);
}

void
log_login(const struct log_login *l)
{
	struct event e;

	begin(&e);
	(void)buf_text(&e.text, "Login: ");
	login_fields(&e, l);
	end(&e, l->program, "login");
}

void
log_login_disconnected(const struct log_login *l, const char *why)
{
	struct event e;

	begin(&e);
	(void)buf_fmt(&e.text, "Disconnected: %s: ", why);
	field(&e, "reason", slice_of(why));
	login_fields(&e, l);
	end(&e, l->program, "disconnected");
}

void
log_session_end(const char *program, struct slice user, struct slice session, const char *why,
    uint64_t bytes_in, uint64_t bytes_out)
{
	struct event e;

	begin(&e);
	(void)buf_text(&e.text, "Disconnected: ");
	(void)buf_text(&e.text, why);
	field(&e, "reason", slice_of(why));
	angle(&e, ": ", "user", user);
	angle(&e, ", ", "session", session);
	(void)buf_fmt(&e.text, ", in=%llu out=%llu", (unsigned long long)bytes_in, (unsigned long long)bytes_out);
	number(&e, "in", (int64_t)bytes_in);
	number(&e, "out", (int64_t)bytes_out);
	end(&e, program, "session-end");
}
