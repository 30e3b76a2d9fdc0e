/*
 * login_session: one connection until it is logged in.
 *
 * The protocol (struct login_proto) says what to reply and what it wants; this
 * does it.  At most one question is open at a time, to auth or to the parent,
 * input waits meanwhile, and a timer bounds every state.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc_conn.h"
#include "log.h"
#include "log_events.h"
#include "login/login_front.h"

#define OUT_MAX		(256 * 1024)	/* octets that may wait for the client */
#define REPLY_MAX	(16 * 1024)	/* octets of one reply before login */
#define GREETING_MAX	1024		/* octets, session_start */
#define USER_MAX	320		/* auth_request */
#define PASSWORD_MAX	1024
#define FAILURES_MAX	5		/* refused logins of a connection */
#define DELAY_MS	1000		/* of a login that is refused here; auth delays those it refuses */
#define AUTH_MS		40000		/* on top of auth's limit for PAM: it lets who fails often wait up to 30 s */
#define START_MS	30000		/* for the parent to find or make the user's process */
#define TALK_MIN_MS	1000		/* that a client has left after an answer */

static void follow(struct login_session *s, struct login_step *step);

static void
set_timer(struct login_session *s, unsigned ms)
{
	const struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000 * 1000) };

	(void)event_add(&s->talk->timer, &tv);
}

/* The client's turn; what is left of its time. */
static void
to_talk(struct login_session *s)
{
	uint64_t now = now_mono_usec(), until = s->talk->until_usec;
	unsigned ms = until > now ? (unsigned)((until - now) / 1000) : 0;

	s->state = SESSION_TALK;
	set_timer(s, ms < TALK_MIN_MS ? TALK_MIN_MS : ms);
}

/* ---- the log ---- */

static struct log_login
log_fields(const struct login_session *s)
{
	const struct login_talk *t = s->talk;

	return (struct log_login){
		.program = s->front->proto->program,
		.user = slice_of(t->user == NULL ? "" : t->user),
		.method = slice_of(t->method == NULL ? "" : t->method),
		.rip = slice_of(s->rip), .lip = slice_of(s->lip),
		.tls = conn_is_tls(s->conn) || t->facts == &s->front->in_tls,
		.session = slice_of(s->id),
	};
}

static void
log_end(const struct login_session *s, const char *why)
{
	const struct login_talk *t = s->talk;
	const struct log_login l = log_fields(s);
	unsigned secs = (unsigned)((now_mono_usec() - t->started_usec) / 1000000);
	char text[300];

	if (t->failures != 0)
		(void)snprintf(text, sizeof(text), "%s (auth failed, %u attempts in %u secs)", why, t->failures, secs);
	else if (t->method != NULL)
		(void)snprintf(text, sizeof(text), "%s (auth not answered in %u secs)", why, secs);
	else
		(void)snprintf(text, sizeof(text), "%s (no auth attempts in %u secs)", why, secs);
	log_login_disconnected(&l, text);
}

/* ---- the end ---- */

void
login_talk_free(struct login_session *s)
{
	struct login_talk *t = s->talk;

	if (t == NULL)
		return;
	(void)event_del(&t->timer);
	login_auth_forget(&s->front->auth, &t->question);
	if (s->front->proto->clear != NULL)
		s->front->proto->clear(t->state);
	buf_clear(&t->greeting);
	free(t->user);
	free(t);
	s->talk = NULL;
}

void
login_session_free(struct login_session *s, const char *why)
{
	struct login_front *f = s->front;

	if (s->talk != NULL) {
		log_end(s, s->state == SESSION_CLOSING ? s->talk->closing : why);
		TAILQ_REMOVE(&f->talking, s, entry);
	} else {
		login_relay_clear(s);
		TAILQ_REMOVE(&f->relaying, s, entry);
	}
	login_talk_free(s);
	conn_free(s->conn);
	login_limits_give(f->limits, f->worker, s->limit_slot);
	free(s);
	login_front_session_gone(f);
}

/* Send what is written, then close. */
static void
close_soon(struct login_session *s, const char *why)
{
	(void)event_del(&s->talk->timer);	/* conn_close() is bounded itself */
	login_auth_forget(&s->front->auth, &s->talk->question);
	s->talk->start_id = 0;
	s->talk->closing = why;
	s->state = SESSION_CLOSING;
	conn_close(s->conn);
}

static bool
put(struct login_session *s, struct buf *out)
{
	bool fine = !out->full && conn_write(s->conn, buf_slice_of(out));

	buf_clear(out);
	return fine;
}

void
login_session_bye(struct login_session *s, enum login_bye why)
{
	static const char *const text[] = {
		[LOGIN_BYE_SHUTDOWN] = "Server is shutting down",
		[LOGIN_BYE_TIMEOUT] = "Inactivity",
		[LOGIN_BYE_ERRORS] = "Too many errors",
		[LOGIN_BYE_BUSY] = "Too many connections",
		[LOGIN_BYE_INPUT] = "Too long a line",
	};
	struct buf out;

	if (s->state == SESSION_CLOSING || s->state == SESSION_RELAY)
		return;
	buf_init(&out, REPLY_MAX);
	if (s->state != SESSION_TLS)
		s->front->proto->bye(s->talk->state, why, &out);
	(void)put(s, &out);
	close_soon(s, text[why]);
}

/* ---- logging in ---- */

/* Tell the client that it is not logged in. */
static void
tell_failure(struct login_session *s, enum verdict verdict, enum ipc_auth_reason reason)
{
	struct buf out;
	struct login_step step = { .out = &out };

	buf_init(&out, REPLY_MAX);
	s->front->proto->answer(s->talk->state, verdict, reason, &step);
	if (s->front->draining) {
		(void)put(s, &out);
		login_session_bye(s, LOGIN_BYE_SHUTDOWN);
		return;
	}
	to_talk(s);
	follow(s, &step);
	if (s->state == SESSION_TALK && s->talk->failures >= FAILURES_MAX)
		login_session_bye(s, LOGIN_BYE_ERRORS);
	if (s->state == SESSION_TALK)
		conn_resume(s->conn);
}

/* No account can have such a name or password: refused as late as auth would do it. */
static void
refuse_later(struct login_session *s)
{
	s->talk->failures++;
	s->state = SESSION_DELAY;
	set_timer(s, DELAY_MS);
}

/* Remember who wants in; for the log and for the user's process. */
static bool
remember(struct login_talk *t, const struct login_auth *a)
{
	free(t->user);
	t->user = slice_dup(slice_sub(a->user, 0, USER_MAX));
	t->method = a->method;
	buf_clear(&t->greeting);
	buf_init(&t->greeting, GREETING_MAX);
	return buf_slice(&t->greeting, a->greeting);
}

static void
ask_auth(struct login_session *s, const struct login_auth *a)
{
	struct login_front *f = s->front;
	struct ipc_auth_request request = {
		.service = slice_of(f->proto->service), .method = slice_of(a->method),
		.user = a->user, .password = a->password,
		.client_address = slice_of(s->rip), .tls = conn_is_tls(s->conn),
	};

	conn_pause(s->conn);
	s->state = SESSION_AUTH;
	if (!remember(s->talk, a)) {
		tell_failure(s, TEMP, AUTH_REASON_UNAVAILABLE);
	} else if (s->talk->user == NULL || a->user.len == 0 || a->user.len > USER_MAX ||
	    a->password.len > PASSWORD_MAX) {
		refuse_later(s);
	} else if (!login_auth_ask(&f->auth, &s->talk->question, &request)) {
		log_say(LOG_LEVEL_WARNING, "auth cannot be asked now");
		tell_failure(s, TEMP, AUTH_REASON_UNAVAILABLE);
	} else {
		set_timer(s, f->daemon->conf.auth_pam_timeout_s * 1000 + AUTH_MS);
	}
}

/* Ask the parent for the user's process. */
static void
ask_parent(struct login_session *s, struct slice ticket)
{
	struct login_front *f = s->front;
	struct login_talk *t = s->talk;
	struct ipc_session_start start;

	if (++f->last_start_id == 0)
		f->last_start_id = 1;
	t->start_id = f->last_start_id;
	start = (struct ipc_session_start){
		.id = t->start_id, .ticket = ticket, .greeting = buf_slice_of(&t->greeting),
		.client_address = slice_of(s->rip), .session = slice_of(s->id), .tls = conn_is_tls(s->conn),
	};
	s->state = SESSION_START;
	set_timer(s, START_MS);
	if (f->parent == NULL || !IPC_CONN_SEND(f->parent, session_start, &start, -1)) {
		t->start_id = 0;
		tell_failure(s, TEMP, AUTH_REASON_UNAVAILABLE);
	}
}

void
login_session_answer(struct login_question *q, const struct ipc_auth_result *result)
{
	struct login_talk *t = (void *)((char *)q - offsetof(struct login_talk, question));
	struct login_session *s = t->session;

	if (result == NULL || result->verdict == TEMP) {
		tell_failure(s, TEMP, AUTH_REASON_UNAVAILABLE);
	} else if (result->verdict != OK || result->ticket.len == 0) {
		s->talk->failures++;
		tell_failure(s, PERM, (enum ipc_auth_reason)result->reason);
	} else {
		char *user = slice_dup(result->user);	/* as auth calls it, for the log */

		if (user != NULL) {
			free(t->user);
			t->user = user;
		}
		ask_parent(s, result->ticket);
	}
}

void
login_session_started(struct login_session *s, enum verdict verdict, uint32_t pid, int fd)
{
	struct log_login l = log_fields(s);

	s->talk->start_id = 0;
	if (verdict != OK || !login_relay_begin(s, fd)) {
		tell_failure(s, TEMP, AUTH_REASON_UNAVAILABLE);
		return;
	}
	l.mpid = pid;
	log_login(&l);
	login_talk_free(s);
	TAILQ_REMOVE(&s->front->talking, s, entry);
	TAILQ_INSERT_TAIL(&s->front->relaying, s, entry);
	s->state = SESSION_RELAY;
	conn_resume(s->conn);
}

/* ---- the conversation ---- */

/* A step is made: send the reply, do what is wanted. */
static void
follow(struct login_session *s, struct login_step *step)
{
	struct login_front *f = s->front;

	if (!put(s, step->out)) {
		close_soon(s, "Connection closed");
		return;
	}
	if (step->error && ++s->talk->errors >= f->proto->errors_max) {
		login_session_bye(s, LOGIN_BYE_ERRORS);
		return;
	}
	switch (step->want) {
	case LOGIN_WANT_INPUT:
		break;
	case LOGIN_WANT_STARTTLS:
		s->state = SESSION_TLS;
		if (f->tls == NULL || !conn_starttls(s->conn, f->tls, NULL, false))
			close_soon(s, "TLS cannot be started");
		break;
	case LOGIN_WANT_AUTH:
		ask_auth(s, &step->auth);
		break;
	case LOGIN_WANT_CLOSE:
		close_soon(s, "Logged out");
		break;
	}
}

/* A browser was led here (ALPACA, cross-protocol requests): no answer for it to read. */
static bool
is_http(struct slice data)
{
	static const char *const verbs[] = { "GET ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "CONNECT ",
		"DELETE ", "TRACE ", "PATCH ", "PRI * " };

	for (size_t i = 0; i < LEN(verbs); i++)
		if (slice_prefix(&data, verbs[i]))
			return true;
	return false;
}

static size_t
talk_input(struct login_session *s, struct slice data)
{
	const struct login_proto *proto = s->front->proto;
	struct buf out;
	struct login_step step = { .out = &out };
	size_t taken;

	if (!s->talk->spoken && is_http(data)) {
		close_soon(s, "HTTP request");
		return data.len;
	}
	buf_init(&out, REPLY_MAX);
	taken = proto->input(s->talk->state, data, &step);
	if (taken == 0 && data.len >= proto->input_max) {
		buf_clear(&out);
		login_session_bye(s, LOGIN_BYE_INPUT);
		return data.len;
	}
	if (taken != 0)
		s->talk->spoken = true;
	follow(s, &step);
	return taken;
}

static size_t
on_input(struct conn *c, void *ctx, struct slice data)
{
	struct login_session *s = ctx;

	(void)c;
	switch (s->state) {
	case SESSION_TALK:
		return talk_input(s, data);
	case SESSION_RELAY:
		return login_relay_input(s, data);
	case SESSION_CLOSING:
		return data.len;
	case SESSION_TLS:
	case SESSION_AUTH:
	case SESSION_DELAY:
	case SESSION_START:
		break;
	}
	return 0;
}

/* The protocol begins, or begins again: what was said before TLS is forgotten (V7). */
static void
begin_talk(struct login_session *s, bool with_banner)
{
	const struct login_proto *proto = s->front->proto;
	struct login_talk *t = s->talk;
	struct buf out;

	if (proto->clear != NULL)
		proto->clear(t->state);
	memset(t->state, 0, proto->state_size);
	proto->start(t->state, t->facts);
	to_talk(s);
	buf_init(&out, REPLY_MAX);
	if (with_banner)
		proto->banner(t->state, &out);
	if (!put(s, &out))
		close_soon(s, "Connection closed");
}

static void
on_tls_done(struct conn *c, void *ctx)
{
	struct login_session *s = ctx;

	(void)c;
	if (s->state != SESSION_TLS)
		return;
	s->talk->facts = &s->front->in_tls;
	begin_talk(s, !s->talk->spoken);	/* after STARTTLS there is no second one */
}

static void
on_drained(struct conn *c, void *ctx)
{
	struct login_session *s = ctx;

	(void)c;
	if (s->state == SESSION_RELAY)
		login_relay_drained(s);
}

static void
on_ended(struct conn *c, void *ctx, enum conn_end why, const char *text)
{
	struct login_session *s = ctx;
	char reason[200];

	(void)c;
	if (why == CONN_EOF)
		(void)snprintf(reason, sizeof(reason), "Connection closed");
	else if (why == CONN_TLS_FAILED)
		(void)snprintf(reason, sizeof(reason), "TLS handshake failed: %s", text);
	else
		(void)snprintf(reason, sizeof(reason), "Connection closed: %s", text);
	login_session_free(s, reason);
}

static const struct conn_ops session_ops = {
	.input = on_input,
	.tls_done = on_tls_done,
	.drained = on_drained,
	.ended = on_ended,
};

/* Time is up for the state. */
void
login_session_timer(int fd, short what, void *arg)
{
	struct login_session *s = arg;

	(void)fd;
	(void)what;
	switch (s->state) {
	case SESSION_TLS:
	case SESSION_TALK:
		login_session_bye(s, LOGIN_BYE_TIMEOUT);
		break;
	case SESSION_AUTH:
		log_say(LOG_LEVEL_WARNING, "auth has not answered in time");
		login_auth_forget(&s->front->auth, &s->talk->question);
		tell_failure(s, TEMP, AUTH_REASON_UNAVAILABLE);
		break;
	case SESSION_START:
		log_say(LOG_LEVEL_WARNING, "no process for the user in time");
		s->talk->start_id = 0;
		tell_failure(s, TEMP, AUTH_REASON_UNAVAILABLE);
		break;
	case SESSION_DELAY:
		tell_failure(s, PERM, AUTH_REASON_CREDENTIALS);
		break;
	case SESSION_RELAY:
	case SESSION_CLOSING:
		break;
	}
}

/* ---- the beginning ---- */

bool
login_session_begin(struct login_session *s, int rfd, int wfd, bool implicit_tls)
{
	struct login_front *f = s->front;

	s->conn = conn_new_pair(f->base, rfd, wfd, f->proto->input_max, OUT_MAX, &session_ops, s);
	if (s->conn == NULL)
		return false;
	f->sessions_n++;
	TAILQ_INSERT_TAIL(&f->talking, s, entry);
	if (!implicit_tls) {
		begin_talk(s, true);
		return true;
	}
	to_talk(s);		/* its timer runs for the handshake too */
	s->state = SESSION_TLS;
	if (f->tls == NULL || !conn_starttls(s->conn, f->tls, NULL, false))
		login_session_free(s, "TLS cannot be started");
	return true;
}
