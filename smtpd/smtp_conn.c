#include "smtp_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "smtp_policy.h"

#define HANDSHAKE_MS	30000
#define OVERLOAD_MS	10000	/* for a line, when nearly all sessions are in use */
#define DELAY_MS	1000	/* after an error too many, and after failed logins */
#define DELAY_MAX_MS	5000
#define DRAIN_MS	3000	/* for a client that has just come */

/* ---- time, waiting ---- */

unsigned
smtp_conn_timeout_ms(const struct smtp_conn *c)
{
	unsigned ms = c->server->conf->smtp_timeout_s * 1000;

	return smtp_server_overloaded(c->server) && ms > OVERLOAD_MS ? OVERLOAD_MS : ms;
}

void
smtp_conn_timer(struct smtp_conn *c, enum smtp_timer timer, unsigned ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000 * 1000) };

	c->timer = timer;
	(void)event_add(&c->ev_timer, &tv);
}

void
smtp_conn_wait(struct smtp_conn *c, enum smtp_wait wait)
{
	c->wait = wait;
	conn_pause(c->conn);
	if (wait != WAIT_DELAY)
		(void)event_del(&c->ev_timer);	/* whoever is asked has a limit of its own */
}

void
smtp_conn_go_on(struct smtp_conn *c)
{
	c->wait = WAIT_NOTHING;
	conn_resume(c->conn);
}

size_t
smtp_conn_out_max(const struct smtp_server *s)
{
	/* LMTP answers for each recipient. */
	return 16384 + (size_t)s->conf->recipients * 96;
}

/* ---- what the session asks from outside ---- */

static enum smtp_where
op_check_rcpt(void *ctx, struct addr *rcpt)
{
	return smtp_policy_rcpt(((struct smtp_conn *)ctx)->server->routes, rcpt);
}

static bool
op_postmaster(void *ctx, struct addr *out)
{
	return smtp_policy_postmaster(((struct smtp_conn *)ctx)->server->routes, out);
}

static enum verdict
op_may_send(void *ctx, struct slice login, const struct addr *sender)
{
	return smtp_policy_may_send(((struct smtp_conn *)ctx)->server->routes, login, sender);
}

static bool
op_spool_low(void *ctx)
{
	struct smtp_conn *c = ctx;

	smtp_queue_prepare(c->server->queue);
	return smtp_queue_low(c->server->queue);
}

static void
op_refused(void *ctx, const char *stage, struct slice reply, struct slice from, struct slice to)
{
	const struct smtp_conn *c = ctx;
	struct qid qid = { c->content == NULL ? 0 : c->submit.qid.n };

	log_reject(qid, stage, c->client, reply, from, to, slice_of(smtp_session_proto(&c->session)),
	    smtp_session_helo(&c->session));
}

static void
op_improper(void *ctx, const char *after, struct slice line)
{
	log_improper_pipelining(after, ((struct smtp_conn *)ctx)->client, line);
}

static void
op_foreign(void *ctx, struct slice line)
{
	const struct smtp_conn *c = ctx;

	log_say(LOG_LEVEL_WARNING, "non-SMTP command from %s[%s]: %.*s", c->name, c->address,
	    (int)(line.len < 100 ? line.len : 100), line.ptr);
}

static const struct smtp_ops session_ops = {
	.check_rcpt = op_check_rcpt, .postmaster = op_postmaster, .may_send = op_may_send,
	.spool_low = op_spool_low, .refused = op_refused, .improper = op_improper, .foreign = op_foreign,
};

/* ---- the end ---- */

static void
destroy(struct smtp_conn *c)
{
	struct smtp_server *s = c->server;

	smtp_content_free(c);
	smtp_submit_abort(&c->submit);
	smtp_auth_forget(&c->ask);
	(void)event_del(&c->ev_timer);
	smtp_session_clear(&c->session);
	buf_clear(&c->held);
	if (c->counted)
		login_limits_give(s->limits, s->worker, c->slot);
	s->sessions--;
	TAILQ_REMOVE(&s->conns, c, link);
	free(c->name);
	free(c);
	smtp_server_ended(s);
}

static void
on_ended(struct conn *conn, void *ctx, enum conn_end why, const char *text)
{
	struct smtp_conn *c = ctx;
	struct buf summary;

	if (why == CONN_TLS_FAILED)
		log_say(LOG_LEVEL_INFO, "TLS handshake with %s[%s] failed: %s", c->name, c->address, text);
	if (!c->closing) {
		if (why == CONN_TIMEOUT)
			log_timeout(smtp_session_after(&c->session), c->client);
		else
			log_lost_connection(smtp_session_after(&c->session), c->client);
	}
	buf_init(&summary, 1000);
	smtp_session_summary(&c->session, &summary);
	log_disconnect(c->client, buf_slice_of(&summary));
	buf_clear(&summary);
	conn_free(conn);
	destroy(c);
}

void
smtp_conn_drop(struct smtp_conn *c)
{
	conn_free(c->conn);
	destroy(c);
}

static void
close_with(struct smtp_conn *c, const char *code_and_text)
{
	struct buf out;

	buf_init(&out, 1000);
	smtp_session_bye(&c->session, code_and_text, &out);
	c->closing = true;
	(void)event_del(&c->ev_timer);
	(void)conn_write(c->conn, buf_slice_of(&out));
	conn_close(c->conn);
	buf_clear(&out);
}

/* One transaction is let through; who has had one (or more) comes again elsewhere. */
void
smtp_conn_drain(struct smtp_conn *c)
{
	bool idle = c->session.state <= ST_READY && !c->session.in_data && c->content == NULL &&
	    c->wait == WAIT_NOTHING && !c->starting_tls;

	if (!idle || c->closing)
		return;
	if (c->session.count[VERB_MAIL].ok > 0)
		close_with(c, "421 4.3.2 Service shutting down");
	else
		smtp_conn_timer(c, TIMER_DRAIN, DRAIN_MS);
}

/* ---- what the session wants ---- */

/* How long the reply is held back: bad guesses and bad commands shall take time, ours not. */
static unsigned
delay_ms(struct smtp_conn *c)
{
	const struct smtp_session *s = &c->session;
	unsigned ms = 0;

	if (s->auth_failures > c->failures_seen)
		ms = (s->auth_failures - 1) * DELAY_MS;	/* auth has taken its time already */
	else if (s->errors > c->errors_seen && s->errors >= c->server->conf->smtp_soft_errors)
		ms = DELAY_MS;
	c->failures_seen = s->auth_failures;
	c->errors_seen = s->errors;
	return ms > DELAY_MAX_MS ? DELAY_MAX_MS : ms;
}

static void
next_line(struct smtp_conn *c, struct buf *out)
{
	unsigned ms = delay_ms(c);

	if (ms > 0 && smtp_server_overloaded(c->server)) {
		log_too_many_errors(smtp_session_after(&c->session), c->client);
		(void)conn_write(c->conn, buf_slice_of(out));
		close_with(c, "421 4.7.0 Error: too many errors");
	} else if (ms > 0 && buf_slice(&c->held, buf_slice_of(out))) {
		smtp_conn_wait(c, WAIT_DELAY);
		smtp_conn_timer(c, TIMER_DELAY, ms);
	} else {
		(void)conn_write(c->conn, buf_slice_of(out));
		smtp_conn_timer(c, TIMER_LINE, smtp_conn_timeout_ms(c));
		if (c->server->draining)
			smtp_conn_drain(c);
	}
}

static void
start_tls(struct smtp_conn *c)
{
	unsigned ms = smtp_conn_timeout_ms(c);

	c->starting_tls = true;
	smtp_conn_timer(c, TIMER_LINE, ms < HANDSHAKE_MS ? ms : HANDSHAKE_MS);
	if (!conn_starttls(c->conn, c->server->tls, NULL, false)) {
		c->closing = true;
		conn_close(c->conn);
	}
}

static void
authenticated(struct smtp_conn *c, enum verdict v, struct slice login)
{
	struct buf out;
	enum smtp_want want;

	buf_init(&out, smtp_conn_out_max(c->server));
	want = smtp_session_authenticated(&c->session, v, login, &out);
	smtp_conn_act(c, want, &out);
	buf_clear(&out);
}

static void
on_auth_answer(void *ctx, enum verdict v, enum ipc_auth_reason reason, struct slice login)
{
	static const char *const words[] = {
		[AUTH_REASON_NONE] = "authentication failure", [AUTH_REASON_CREDENTIALS] = "bad user name or password",
		[AUTH_REASON_EXPIRED] = "account or password has expired",
		[AUTH_REASON_UNAVAILABLE] = "temporary failure", [AUTH_REASON_DISABLED] = "account is disabled",
	};
	struct smtp_conn *c = ctx;

	if (v != OK)
		log_sasl_failed(c->client, slice_of(c->session.auth_method), words[reason],
		    smtp_session_user(&c->session));
	smtp_conn_go_on(c);
	authenticated(c, v, login);
}

static void
ask_auth(struct smtp_conn *c)
{
	const struct smtp_session *s = &c->session;

	if (smtp_auth_ask(&c->ask, s->auth_method, smtp_session_user(s), smtp_session_password(s),
	    c->client.address))
		smtp_conn_wait(c, WAIT_AUTH);
	else
		authenticated(c, TEMP, SLICE(""));
}

void
smtp_conn_act(struct smtp_conn *c, enum smtp_want want, struct buf *out)
{
	if (out->full) {	/* no memory for a reply: nothing can be said */
		c->closing = true;
		conn_close(c->conn);
		return;
	}
	if (want == WANT_LINE) {
		next_line(c, out);
		return;
	}
	(void)conn_write(c->conn, buf_slice_of(out));
	switch (want) {
	case WANT_TLS:
		start_tls(c);
		break;
	case WANT_AUTH:
		ask_auth(c);
		break;
	case WANT_QUEUE:
		smtp_content_start(c);
		break;
	case WANT_CLOSE:
		if (c->session.errors >= c->session.rules->hard_errors)
			log_too_many_errors(smtp_session_after(&c->session), c->client);
		c->closing = true;
		(void)event_del(&c->ev_timer);
		if (c->session.count[VERB_QUIT].ok > 0)
			conn_bye(c->conn);
		else
			conn_close(c->conn);
		break;
	case WANT_DATA:
	case WANT_LINE:
		break;
	}
}

/* ---- input ---- */

static void
take_line(struct smtp_conn *c, struct slice line, bool more)
{
	struct buf out;
	enum smtp_want want;
	bool bare = line.len == 0 || line.ptr[line.len - 1] != '\r', skipped = c->skipping;

	if (!bare)
		line.len--;
	c->skipping = false;
	buf_init(&out, smtp_conn_out_max(c->server));
	if (skipped || line.len > smtp_session_line_max(&c->session))
		want = smtp_session_long_line(&c->session, &out);
	else
		want = smtp_session_line(&c->session, line, more, bare, &out);
	if (c->session.state < ST_MAIL)
		c->began_usec = 0;
	else if (c->began_usec == 0)
		c->began_usec = now_usec();
	smtp_conn_act(c, want, &out);
	buf_clear(&out);
}

static size_t
on_input(struct conn *conn, void *ctx, struct slice data)
{
	struct smtp_conn *c = ctx;
	size_t len;

	(void)conn;
	if (c->session.in_data)
		return smtp_content_input(c, data);
	len = slice_find(data, '\n');
	if (len == data.len) {
		/* Not whole yet; what is too long anyway need not be kept. */
		if (!c->skipping && len <= smtp_session_line_max(&c->session) + 1)
			return 0;
		c->skipping = true;
		return len;
	}
	take_line(c, slice_sub(data, 0, len), len + 1 < data.len);
	return len + 1;
}

static void
greet(struct smtp_conn *c)
{
	struct buf out;

	buf_init(&out, 1000);
	smtp_session_greet(&c->session, &out);
	(void)conn_write(c->conn, buf_slice_of(&out));
	buf_clear(&out);
	smtp_conn_timer(c, TIMER_LINE, smtp_conn_timeout_ms(c));
}

static void
on_tls_done(struct conn *conn, void *ctx)
{
	struct smtp_conn *c = ctx;
	int bits;
	const char *cipher = conn_tls_cipher(conn, &bits);

	log_tls_established(c->client, conn_tls_protocol(conn), cipher, bits);
	smtp_session_secured(&c->session);
	c->starting_tls = false;
	if (c->implicit_tls)
		greet(c);
	else
		smtp_conn_timer(c, TIMER_LINE, smtp_conn_timeout_ms(c));
	if (c->server->draining)
		smtp_conn_drain(c);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct smtp_conn *c = arg;

	(void)fd;
	(void)what;
	switch (c->timer) {
	case TIMER_LINE:
	case TIMER_CONTENT:
		log_timeout(smtp_session_after(&c->session), c->client);
		close_with(c, "421 4.4.2 Error: timeout exceeded");
		break;
	case TIMER_GIVE_UP:
		smtp_content_give_up(c);
		break;
	case TIMER_DRAIN:
		close_with(c, "421 4.3.2 Service shutting down");
		break;
	case TIMER_DELAY:
		(void)conn_write(c->conn, buf_slice_of(&c->held));
		buf_clear(&c->held);
		smtp_conn_go_on(c);
		smtp_conn_timer(c, TIMER_LINE, smtp_conn_timeout_ms(c));
		if (c->server->draining)
			smtp_conn_drain(c);
		break;
	}
}

static const struct conn_ops conn_ops = { .input = on_input, .tls_done = on_tls_done, .ended = on_ended };

/* ---- begin ---- */

/* Too many of them: the shortest of sessions. */
static bool
crowded(struct smtp_conn *c)
{
	struct smtp_server *s = c->server;
	enum login_limit limit = LOGIN_LIMIT_NONE;
	char text[120];

	if (s->limits != NULL)
		limit = login_limits_take(s->limits, s->worker, c->address, &c->slot);
	c->counted = s->limits != NULL && limit == LOGIN_LIMIT_NONE;
	if (limit == LOGIN_LIMIT_CLIENT) {
		log_say(LOG_LEVEL_WARNING, "too many connections from %s[%s]", c->name, c->address);
		(void)snprintf(text, sizeof(text), "421 4.7.0 Error: too many connections from %s", c->address);
		close_with(c, text);
		return true;
	}
	if (limit == LOGIN_LIMIT_TOTAL || s->sessions > s->sessions_max) {
		log_say(LOG_LEVEL_WARNING, "all sessions are in use: %s[%s] refused", c->name, c->address);
		close_with(c, "421 4.3.2 Error: too many connections, try again later");
		return true;
	}
	return false;
}

static struct smtp_conn *
create(struct smtp_server *s, enum smtp_service service, const char *name, const char *address)
{
	struct smtp_conn *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->server = s;
	c->name = strdup(name == NULL ? "unknown" : name);
	if (c->name == NULL) {
		free(c);
		return NULL;
	}
	(void)snprintf(c->address, sizeof(c->address), "%s", address);
	c->client = (struct log_client){ slice_of(c->name), slice_of(c->address) };
	c->ask = (struct smtp_auth_ask){ .auth = s->auth, .answer = on_auth_answer, .ctx = c };
	smtp_session_init(&c->session, &s->rules[service], &session_ops, c);
	smtp_submit_init(&c->submit, s->queue, &smtp_content_ops, c);
	buf_init(&c->held, smtp_conn_out_max(s));
	(void)event_assign(&c->ev_timer, s->base, -1, 0, on_timer, c);
	return c;
}

void
smtp_conn_new(struct smtp_server *s, int rfd, int wfd, enum smtp_service service, bool tls,
    const char *name, const char *address)
{
	struct smtp_conn *c = create(s, service, name, address);

	if (c == NULL) {
		(void)close(rfd);
		if (wfd != rfd)
			(void)close(wfd);
		return;
	}
	TAILQ_INSERT_TAIL(&s->conns, c, link);
	s->sessions++;
	c->conn = conn_new_pair(s->base, rfd, wfd, SMTP_SASL_MAX + 2, smtp_conn_out_max(s) * 2, &conn_ops, c);
	if (c->conn == NULL) {
		destroy(c);
		return;
	}
	log_connect(c->client);
	if (crowded(c))
		return;
	c->implicit_tls = tls;
	if (tls)
		start_tls(c);
	else
		greet(c);
}
