#include "smtp_session.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "smtp_parse.h"
#include "smtp_reply.h"

#define REPLY_MAX 1000	/* octets; RFC 5321 section 4.5.3.1.5 has 512, with long addresses more */

void
smtp_session_init(struct smtp_session *s, const struct smtp_rules *rules,
    const struct smtp_ops *ops, void *ctx)
{
	*s = (struct smtp_session){ .rules = rules, .ops = ops, .ctx = ctx, .verb = VERBS };
	smtp_envelope_init(&s->env, rules->recipients);
	buf_init(&s->secret, SMTP_LOGIN_MAX + SMTP_PASSWORD_MAX);
}

void
smtp_session_wipe(struct smtp_session *s)
{
	if (s->secret.ptr != NULL)
		explicit_bzero(s->secret.ptr, s->secret.size);
	buf_clear(&s->secret);
	s->user_len = 0;
}

void
smtp_session_clear(struct smtp_session *s)
{
	smtp_session_wipe(s);
	smtp_envelope_clear(&s->env);
	free(s->helo);
	free(s->login);
	s->helo = s->login = NULL;
}

void
smtp_session_reset(struct smtp_session *s)
{
	smtp_envelope_clear(&s->env);
	if (s->state > ST_READY)
		s->state = ST_READY;
}

/* ---- replies ---- */

static void __attribute__((format(printf, 2, 0)))
reply_va(struct buf *out, const char *fmt, va_list ap)
{
	(void)buf_vfmt(out, fmt, ap);
	(void)buf_text(out, "\r\n");
}

enum smtp_want
smtp_reply(struct buf *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	reply_va(out, fmt, ap);
	va_end(ap);
	return WANT_LINE;
}

enum smtp_want
smtp_refuse(struct smtp_session *s, struct buf *out, const char *stage, struct slice from,
    struct slice to, const char *fmt, ...)
{
	struct buf text;
	va_list ap;

	buf_init(&text, REPLY_MAX);
	va_start(ap, fmt);
	(void)buf_vfmt(&text, fmt, ap);
	va_end(ap);
	s->ops->refused(s->ctx, stage, buf_slice_of(&text), from, to);
	(void)buf_slice(out, buf_slice_of(&text));
	(void)buf_text(out, "\r\n");
	buf_clear(&text);
	return WANT_LINE;
}

void
smtp_session_greet(struct smtp_session *s, struct buf *out)
{
	(void)smtp_reply(out, "220 %s %s Pennypost", s->rules->hostname,
	    s->rules->service == SMTP_SERVICE_LMTP ? "LMTP" : "ESMTP");
}

void
smtp_session_bye(struct smtp_session *s, const char *code_and_text, struct buf *out)
{
	/* The host name stands behind both codes: RFC 5321 section 3.8. */
	struct slice text = slice_of(code_and_text), code = slice_cut(&text, ' '), dsn = slice_cut(&text, ' ');

	(void)smtp_reply(out, "%.*s %.*s %s %.*s", (int)code.len, code.ptr, (int)dsn.len, dsn.ptr,
	    s->rules->hostname, (int)text.len, text.ptr);
}

/* ---- lines ---- */

size_t
smtp_session_line_max(const struct smtp_session *s)
{
	return s->tls && s->login == NULL ? SMTP_SASL_MAX : SMTP_LINE_MAX;
}

/*
 * Count the reply that begins at before as this verb's; too many errors end
 * the session.  A 4xx is our trouble, not the client's.
 */
static enum smtp_want
account(struct smtp_session *s, enum smtp_want want, struct buf *out, size_t before)
{
	char first = out->len > before ? out->ptr[before] : '\0';

	if (first == '5')
		s->errors++;
	if ((first == '2' || s->in_data) && s->verb < VERBS)
		s->count[s->verb].ok++;
	if (s->errors >= s->rules->hard_errors && want == WANT_LINE) {
		smtp_session_bye(s, "421 4.7.0 Error: too many errors", out);
		return WANT_CLOSE;
	}
	return want;
}

static enum smtp_want
bare_newline(struct smtp_session *s, struct buf *out)
{
	(void)smtp_refuse(s, out, smtp_session_after(s), addr_text(&s->env.sender), SLICE(""),
	    "521 5.5.2 %s Error: bare <LF> received", s->rules->hostname);
	return WANT_CLOSE;
}

enum smtp_want
smtp_session_line(struct smtp_session *s, struct slice line, bool more, bool bare, struct buf *out)
{
	size_t before = out->len;
	enum smtp_want want;

	s->past_data = false;
	if (bare && s->rules->refuse_bare)
		return bare_newline(s, out);
	want = s->sasl != SASL_NONE ? smtp_sasl_line(s, line, out) : smtp_cmd_run(s, line, more, out);
	return account(s, want, out, before);
}

enum smtp_want
smtp_session_long_line(struct smtp_session *s, struct buf *out)
{
	size_t before = out->len;

	s->past_data = false;
	if (s->sasl != SASL_NONE) {
		s->sasl = SASL_NONE;
		smtp_session_wipe(s);
		(void)smtp_reply(out, "500 5.5.6 Authentication exchange line is too long");
	} else {
		s->verb = VERB_UNKNOWN;
		s->count[VERB_UNKNOWN].all++;
		(void)smtp_reply(out, "500 5.5.2 Line too long");
	}
	return account(s, WANT_LINE, out, before);
}

void
smtp_session_secured(struct smtp_session *s)
{
	smtp_session_reset(s);
	smtp_session_wipe(s);
	free(s->helo);
	free(s->login);
	s->helo = s->login = NULL;
	s->auth_method = NULL;
	s->sasl = SASL_NONE;
	s->esmtp = false;
	s->state = ST_START;
	s->tls = true;
}

/* ---- answers ---- */

struct slice
smtp_session_user(const struct smtp_session *s)
{
	return slice_sub(buf_slice_of(&s->secret), 0, s->user_len);
}

struct slice
smtp_session_password(const struct smtp_session *s)
{
	return slice_sub(buf_slice_of(&s->secret), s->user_len, s->secret.len);
}

enum smtp_want
smtp_session_authenticated(struct smtp_session *s, enum verdict v, struct slice login, struct buf *out)
{
	size_t before = out->len;

	smtp_session_wipe(s);
	if (v == OK && (s->login = slice_dup(login)) == NULL)
		v = TEMP;
	switch (v) {
	case OK:
		(void)smtp_reply(out, "235 2.7.0 Authentication successful");
		break;
	case TEMP:
		(void)smtp_reply(out, "454 4.7.0 Temporary authentication failure");
		break;
	case PERM:
		s->auth_failures++;
		(void)smtp_reply(out, "535 5.7.8 Error: authentication failed");
		break;
	}
	return account(s, WANT_LINE, out, before);
}

enum smtp_want
smtp_session_start_data(struct smtp_session *s, enum verdict v, struct buf *out)
{
	size_t before = out->len;

	if (v == OK) {
		s->in_data = true;
		(void)smtp_reply(out, "354 End data with <CR><LF>.<CR><LF>");
		return account(s, WANT_DATA, out, before);
	}
	(void)smtp_refuse(s, out, "DATA", addr_text(&s->env.sender), SLICE(""),
	    "451 4.3.0 Error: queue is not available, try again later");
	return account(s, WANT_LINE, out, before);
}

/* RFC 5321 section 4.5.1: what a message is refused with. */
static const struct {
	const char	*text;
	bool		 closes;
} faults[] = {
	[FAULT_BARE_LF] = { "521 5.5.2 Error: bare <LF> received", true },
	[FAULT_BARE_CR] = { "521 5.5.2 Error: bare <CR> received", true },
	[FAULT_NUL] = { "521 5.5.2 Error: <NUL> received", true },
	[FAULT_LINE] = { "554 5.6.0 Error: a line is too long", false },
	[FAULT_HEADER] = { "552 5.3.4 Error: message header is too large", false },
	[FAULT_SIZE] = { "552 5.3.4 Error: message is too large", false },
	[FAULT_HOPS] = { "554 5.4.6 Error: too many hops", false },
	[FAULT_MEMORY] = { "452 4.3.1 Error: out of memory, try again later", false },
	[FAULT_STORAGE] = { "452 4.3.1 Insufficient system storage", false },
	[FAULT_QUEUE] = { "451 4.3.0 Error: queue is not available, try again later", false },
};

static void
refuse_message(struct smtp_session *s, enum smtp_fault fault, enum verdict v, bool low, struct buf *out)
{
	const char *text;

	if (fault != FAULT_NONE)
		text = faults[fault].text;
	else if (low)
		text = "452 4.3.1 Insufficient system storage";
	else
		text = v == PERM ? "554 5.3.0 Error: message refused" :
		    "451 4.3.0 Error: queue is not available, try again later";
	(void)smtp_refuse(s, out, "END-OF-MESSAGE", addr_text(&s->env.sender), SLICE(""), "%s", text);
}

enum smtp_want
smtp_session_data_done(struct smtp_session *s, enum smtp_fault fault, enum verdict v, bool low,
    struct qid qid, struct buf *out)
{
	/* LMTP: one reply for each recipient, RFC 2033 section 4.2. */
	size_t replies = s->rules->service == SMTP_SERVICE_LMTP ? s->env.accepted : 1, before = out->len;
	char id[QID_TEXT];
	bool closes = faults[fault].closes;

	if (fault == FAULT_NONE && v == OK) {
		s->errors = 0;
		s->junk = 0;
		for (size_t i = 0; i < replies; i++)
			(void)smtp_reply(out, "250 2.0.0 Ok: queued as %s", qid_print(qid, id));
	} else {
		refuse_message(s, fault, v, low, out);
		for (size_t i = 1, end = out->len; i < replies && !closes && !out->full; i++)
			(void)smtp_reply(out, "%.*s", (int)(end - before - 2), out->ptr + before);
		s->errors++;
	}
	s->in_data = false;
	s->past_data = true;
	smtp_session_reset(s);
	return closes ? WANT_CLOSE : WANT_LINE;
}

/* ---- for the log ---- */

const char *
smtp_session_after(const struct smtp_session *s)
{
	if (s->past_data)
		return "END-OF-MESSAGE";
	return s->verb == VERBS ? "CONNECT" : smtp_verb_name(s->verb);
}

/* " rcpt=1/3": of three one was good. */
static void
print_count(struct buf *out, const char *name, unsigned ok, unsigned all)
{
	(void)buf_text(out, out->len == 0 ? "" : " ");
	for (; *name != '\0'; name++)
		(void)buf_char(out, *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name);
	(void)(ok == all ? buf_fmt(out, "=%u", all) : buf_fmt(out, "=%u/%u", ok, all));
}

void
smtp_session_summary(const struct smtp_session *s, struct buf *out)
{
	unsigned ok = 0, all = 0;

	for (enum smtp_verb v = 0; v < VERBS; v++) {
		if (s->count[v].all == 0)
			continue;
		print_count(out, smtp_verb_name(v), s->count[v].ok, s->count[v].all);
		ok += s->count[v].ok;
		all += s->count[v].all;
	}
	print_count(out, "commands", ok, all);
}

const char *
smtp_session_proto(const struct smtp_session *s)
{
	if (s->rules->service == SMTP_SERVICE_LMTP)
		return "LMTP";
	return s->esmtp ? "ESMTP" : "SMTP";
}

const char *
smtp_session_with(const struct smtp_session *s)
{
	static const char *const with[2][2][2] = {	/* LMTP or ESMTP; TLS; AUTH */
		{ { "ESMTP", "ESMTPA" }, { "ESMTPS", "ESMTPSA" } },
		{ { "LMTP", "LMTPA" }, { "LMTPS", "LMTPSA" } },
	};
	bool lmtp = s->rules->service == SMTP_SERVICE_LMTP;

	if (!lmtp && !s->esmtp)
		return "SMTP";
	return with[lmtp][s->tls][s->login != NULL];
}

struct slice
smtp_session_helo(const struct smtp_session *s)
{
	return s->helo == NULL ? SLICE("") : slice_of(s->helo);
}

struct slice
smtp_session_login(const struct smtp_session *s)
{
	return s->login == NULL ? SLICE("") : slice_of(s->login);
}
