/* The SMTP verbs.  No sockets, no files, no clock. */
#include "smtp_session.h"

#include <stdlib.h>

#include "smtp_parse.h"
#include "smtp_reply.h"

#define JUNK_MAX	100	/* harmless commands between two messages */
#define OVERSHOOT_MAX	1000	/* recipients above the limit before we hang up */

#define IN(st)	(1u << (st))
#define IN_ANY	(IN(ST_START) | IN(ST_READY) | IN(ST_MAIL) | IN(ST_RCPT))
#define IN_MAIL	(IN(ST_MAIL) | IN(ST_RCPT))

static bool
is_lmtp(const struct smtp_session *s)
{
	return s->rules->service == SMTP_SERVICE_LMTP;
}

static bool
hello(struct smtp_session *s, struct slice args, bool esmtp, struct buf *out)
{
	char *helo;

	args = slice_trim(args);
	if (!smtp_parse_helo(args)) {
		(void)smtp_reply(out, "501 5.5.4 Syntax: %s hostname", smtp_verb_name(s->verb));
		return false;
	}
	if ((helo = slice_dup(args)) == NULL) {
		(void)smtp_reply(out, "451 4.3.0 Out of memory");
		return false;
	}
	smtp_session_reset(s);
	free(s->helo);
	s->helo = helo;
	s->esmtp = esmtp;
	s->state = ST_READY;
	return true;
}

/* RFC 5321 section 4.1.1.1. */
static enum smtp_want
cmd_helo(struct smtp_session *s, struct slice args, struct buf *out)
{
	if (!hello(s, args, false, out))
		return WANT_LINE;
	return smtp_reply(out, "250 %s", s->rules->hostname);
}

/* EHLO, LHLO. */
static enum smtp_want
cmd_ehlo(struct smtp_session *s, struct slice args, struct buf *out)
{
	if (!hello(s, args, true, out))
		return WANT_LINE;
	(void)smtp_reply(out, "250-%s", s->rules->hostname);
	(void)smtp_reply(out, "250-PIPELINING");
	(void)smtp_reply(out, "250-SIZE %llu", (unsigned long long)s->rules->message_size);
	if (s->rules->tls_offered && !s->tls)
		(void)smtp_reply(out, "250-STARTTLS");
	if (s->tls && !is_lmtp(s))
		(void)smtp_reply(out, "250-AUTH PLAIN LOGIN");
	(void)smtp_reply(out, "250-ENHANCEDSTATUSCODES");
	return smtp_reply(out, "250 8BITMIME");
}

/* RFC 3207.  The caller refuses input that came behind it. */
static enum smtp_want
cmd_starttls(struct smtp_session *s, struct slice args, struct buf *out)
{
	if (args.len > 0)
		return smtp_reply(out, "501 5.5.4 Syntax: STARTTLS");
	if (s->tls)
		return smtp_reply(out, "554 5.5.1 Error: TLS already active");
	if (!s->rules->tls_offered)
		return smtp_reply(out, "502 5.5.1 Error: command not implemented");
	(void)smtp_reply(out, "220 2.0.0 Ready to start TLS");
	return WANT_TLS;
}

/* ---- MAIL, RFC 5321 section 4.1.1.2 ---- */

/* One parameter into env; false with a reply. */
static bool
mail_param(struct smtp_session *s, struct smtp_param p, struct smtp_envelope *env, struct buf *out)
{
	struct buf decoded;
	bool ok;

	if (slice_ieq(p.keyword, "SIZE")) {	/* RFC 1870 */
		if (!slice_number(p.value, UINT64_MAX, &env->size)) {
			(void)smtp_reply(out, "501 5.5.4 Bad message size syntax");
			return false;
		}
		if (env->size > s->rules->message_size) {
			(void)smtp_refuse(s, out, "MAIL", addr_text(&env->sender), SLICE(""),
			    "552 5.3.4 Message size exceeds fixed limit");
			return false;
		}
		return true;
	}
	if (slice_ieq(p.keyword, "BODY")) {	/* RFC 6152 */
		env->body_8bit = slice_ieq(p.value, "8BITMIME");
		if (env->body_8bit || slice_ieq(p.value, "7BIT"))
			return true;
		(void)smtp_reply(out, "501 5.5.4 Unsupported body type");
		return false;
	}
	if (slice_ieq(p.keyword, "AUTH")) {	/* RFC 4954 section 5: checked, not believed */
		buf_init(&decoded, SMTP_PATH_MAX * 3);
		ok = p.value.len > 0 && smtp_parse_xtext(p.value, &decoded);
		buf_clear(&decoded);
		if (!ok)
			(void)smtp_reply(out, "501 5.5.4 Bad AUTH parameter");
		return ok;
	}
	(void)smtp_reply(out, "555 5.5.4 Unsupported option: %.*s", (int)p.keyword.len, p.keyword.ptr);
	return false;
}

static bool
mail_params(struct smtp_session *s, struct slice args, struct smtp_envelope *env, struct buf *out)
{
	struct smtp_param p;
	bool bad;

	while (smtp_parse_param(&args, &p, &bad))
		if (!mail_param(s, p, env, out))
			return false;
	if (bad)
		(void)smtp_reply(out, "501 5.5.4 Bad parameter syntax");
	return !bad;
}

/* May this client send as this address now?  False with a reply. */
static bool
sender_allowed(struct smtp_session *s, const struct addr *sender, struct buf *out)
{
	struct slice text = addr_text(sender);

	if (s->ops->spool_low(s->ctx)) {
		(void)smtp_refuse(s, out, "MAIL", text, SLICE(""), "452 4.3.1 Insufficient system storage");
		return false;
	}
	/* The null sender is for receipts and the like; it names nobody. */
	if (s->login == NULL || addr_is_null(sender))
		return true;
	switch (s->ops->may_send(s->ctx, slice_of(s->login), sender)) {
	case OK:
		return true;
	case TEMP:
		(void)smtp_refuse(s, out, "MAIL", text, SLICE(""),
		    "451 4.3.0 <%s>: Sender address cannot be checked now", sender->text);
		return false;
	default:
		(void)smtp_refuse(s, out, "MAIL", text, SLICE(""),
		    "553 5.7.1 <%s>: Sender address rejected: not owned by user %s", sender->text, s->login);
		return false;
	}
}

static enum smtp_want
cmd_mail(struct smtp_session *s, struct slice args, struct buf *out)
{
	struct smtp_envelope env = { 0 };
	struct slice path;

	if (s->rules->service == SMTP_SERVICE_SUBMISSION && s->login == NULL)
		return smtp_refuse(s, out, "MAIL", SLICE(""), SLICE(""), s->tls ?
		    "530 5.7.0 Authentication required" : "530 5.7.0 Must issue a STARTTLS command first");
	if (!slice_iprefix(&args, "FROM:"))
		return smtp_reply(out, "501 5.5.4 Syntax: MAIL FROM:<address>");
	if (!smtp_parse_path(&args, &path))
		return smtp_reply(out, "501 5.1.7 Bad sender address syntax");
	if (path.len == 0)
		addr_null(&env.sender);
	else if (!addr_parse(path, &env.sender))
		return smtp_reply(out, "501 5.1.7 Bad sender address syntax");
	if (!mail_params(s, args, &env, out) || !sender_allowed(s, &env.sender, out))
		return WANT_LINE;
	s->env.sender = env.sender;
	s->env.size = env.size;
	s->env.body_8bit = env.body_8bit;
	s->overshoot = 0;
	s->state = ST_MAIL;
	return smtp_reply(out, "250 2.1.0 Ok");
}

/* ---- RCPT, RFC 5321 section 4.1.1.3 ---- */

/* <postmaster> needs no domain, RFC 5321 section 4.5.1. */
static bool
rcpt_address(struct smtp_session *s, struct slice path, struct addr *rcpt)
{
	if (slice_ieq(path, "postmaster"))
		return s->ops->postmaster(s->ctx, rcpt);
	return addr_parse(path, rcpt);
}

static enum smtp_want
too_many_recipients(struct smtp_session *s, struct slice to, struct buf *out)
{
	if (++s->overshoot > OVERSHOOT_MAX) {
		smtp_session_bye(s, "421 4.7.0 Error: too many recipients", out);
		return WANT_CLOSE;
	}
	return smtp_refuse(s, out, "RCPT", addr_text(&s->env.sender), to, "452 4.5.3 Error: too many recipients");
}

static enum smtp_want
cmd_rcpt(struct smtp_session *s, struct slice args, struct buf *out)
{
	struct slice path = SLICE(""), from = addr_text(&s->env.sender);
	struct smtp_param p;
	struct addr rcpt, given;
	enum ipc_hint hint = HINT_LOCAL;
	bool bad;

	if (!slice_iprefix(&args, "TO:"))
		return smtp_reply(out, "501 5.5.4 Syntax: RCPT TO:<address>");
	if (!smtp_parse_path(&args, &path) || path.len == 0 || !rcpt_address(s, path, &rcpt))
		return smtp_refuse(s, out, "RCPT", from, path, "501 5.1.3 Bad recipient address syntax");
	if (smtp_parse_param(&args, &p, &bad))
		return smtp_reply(out, "555 5.5.4 Unsupported option: %.*s", (int)p.keyword.len, p.keyword.ptr);
	if (bad)
		return smtp_reply(out, "501 5.5.4 Bad parameter syntax");
	if (s->env.accepted >= s->rules->recipients)
		return too_many_recipients(s, path, out);
	given = rcpt;
	switch (s->ops->check_rcpt(s->ctx, &rcpt)) {
	case RCPT_LOCAL:
		break;
	case RCPT_REMOTE:
		hint = HINT_REMOTE;
		if (s->login != NULL)
			break;
		return smtp_refuse(s, out, "RCPT", from, path, "554 5.7.1 <%s>: Relay access denied", given.text);
	case RCPT_UNKNOWN:
		return smtp_refuse(s, out, "RCPT", from, path,
		    "550 5.1.1 <%s>: Recipient address rejected: User unknown", given.text);
	case RCPT_TEMP:
		return smtp_refuse(s, out, "RCPT", from, path,
		    "451 4.3.0 <%s>: Recipient address cannot be checked now", given.text);
	}
	if (!smtp_envelope_add(&s->env, &rcpt, hint))
		return smtp_refuse(s, out, "RCPT", from, path, "452 4.3.1 Out of memory");
	s->state = ST_RCPT;
	return smtp_reply(out, "250 2.1.5 Ok");
}

/* RFC 5321 section 4.1.1.4; the answer is smtp_session_start_data(). */
static enum smtp_want
cmd_data(struct smtp_session *s, struct slice args, struct buf *out)
{
	(void)s;
	if (args.len > 0)
		return smtp_reply(out, "501 5.5.4 Syntax: DATA");
	return WANT_QUEUE;
}

/* ---- the rest ---- */

static enum smtp_want
cmd_rset(struct smtp_session *s, struct slice args, struct buf *out)
{
	if (args.len > 0)
		return smtp_reply(out, "501 5.5.4 Syntax: RSET");
	smtp_session_reset(s);
	return smtp_reply(out, "250 2.0.0 Ok");
}

static enum smtp_want
cmd_noop(struct smtp_session *s, struct slice args, struct buf *out)
{
	(void)s;
	(void)args;
	return smtp_reply(out, "250 2.0.0 Ok");
}

/* Says nothing about who exists: RFC 5321 sections 3.5.3 and 7.3. */
static enum smtp_want
cmd_vrfy(struct smtp_session *s, struct slice args, struct buf *out)
{
	(void)s;
	if (args.len == 0)
		return smtp_reply(out, "501 5.5.4 Syntax: VRFY address");
	return smtp_reply(out, "252 2.0.0 Send some mail, I will do my best");
}

static enum smtp_want
cmd_help(struct smtp_session *s, struct slice args, struct buf *out)
{
	(void)args;
	(void)smtp_reply(out, "214-2.0.0 Commands: %s MAIL RCPT DATA RSET NOOP VRFY HELP QUIT",
	    is_lmtp(s) ? "LHLO" : "EHLO HELO STARTTLS AUTH");
	return smtp_reply(out, "214 2.0.0 See RFC 5321");
}

static enum smtp_want
cmd_quit(struct smtp_session *s, struct slice args, struct buf *out)
{
	(void)s;
	(void)args;
	(void)smtp_reply(out, "221 2.0.0 Bye");
	return WANT_CLOSE;
}

/* ---- the table ---- */

#define LMTP	1u	/* understood on LMTP listeners */
#define SMTP	2u	/* and on the others */
#define BOTH	(LMTP | SMTP)
#define LAST	4u	/* nothing may be pipelined behind it, RFC 2920 section 3.1 */
#define JUNK	8u	/* harmless, but not for ever */

static const struct smtp_cmd {
	const char	*verb;
	unsigned	 allowed;	/* IN() bits of the states it may run in */
	unsigned	 flags;
	enum smtp_want	(*run)(struct smtp_session *, struct slice, struct buf *);
} smtp_cmds[] = {
	[VERB_HELO] = { "HELO", IN_ANY, SMTP | LAST | JUNK, cmd_helo },	/* 4.1.1.1 */
	[VERB_EHLO] = { "EHLO", IN_ANY, SMTP | LAST | JUNK, cmd_ehlo },
	[VERB_LHLO] = { "LHLO", IN_ANY, LMTP | LAST | JUNK, cmd_ehlo },	/* RFC 2033 */
	[VERB_STARTTLS] = { "STARTTLS", IN_ANY & ~IN(ST_START), BOTH | LAST, cmd_starttls },
	[VERB_AUTH] = { "AUTH", IN(ST_READY), SMTP, smtp_cmd_auth },	/* RFC 4954 */
	[VERB_MAIL] = { "MAIL", IN(ST_READY), BOTH, cmd_mail },
	[VERB_RCPT] = { "RCPT", IN_MAIL, BOTH, cmd_rcpt },
	[VERB_DATA] = { "DATA", IN(ST_RCPT), BOTH | LAST, cmd_data },
	[VERB_RSET] = { "RSET", IN_ANY, BOTH | JUNK, cmd_rset },
	[VERB_NOOP] = { "NOOP", IN_ANY, BOTH | JUNK, cmd_noop },
	[VERB_VRFY] = { "VRFY", IN_ANY, BOTH | JUNK, cmd_vrfy },
	[VERB_HELP] = { "HELP", IN_ANY, BOTH | JUNK, cmd_help },
	[VERB_QUIT] = { "QUIT", IN_ANY, BOTH, cmd_quit },
	[VERB_UNKNOWN] = { "UNKNOWN", 0, 0, NULL },
};

const char *
smtp_verb_name(enum smtp_verb verb)
{
	return smtp_cmds[verb].verb;
}

static enum smtp_verb
find_verb(const struct smtp_session *s, struct slice name)
{
	unsigned service = is_lmtp(s) ? LMTP : SMTP;

	for (enum smtp_verb v = 0; v < VERB_UNKNOWN; v++)
		if (slice_ieq(name, smtp_cmds[v].verb) && (smtp_cmds[v].flags & service) != 0)
			return v;
	return VERB_UNKNOWN;
}

/* Did the client run ahead of our replies where RFC 2920 forbids it? */
static bool
runs_ahead(const struct smtp_session *s, bool more)
{
	if (!more || s->verb == VERB_QUIT || s->verb == VERB_UNKNOWN)
		return false;
	return !s->esmtp || (smtp_cmds[s->verb].flags & LAST) != 0;
}

static enum smtp_want
unknown_verb(struct smtp_session *s, struct slice verb, struct slice line, struct buf *out)
{
	if (smtp_is_http(verb)) {
		s->ops->foreign(s->ctx, line);
		(void)smtp_reply(out, "554 5.7.0 Error: this is no web server");
		return WANT_CLOSE;
	}
	return smtp_reply(out, "500 5.5.2 Error: command not recognized");
}

enum smtp_want
smtp_cmd_run(struct smtp_session *s, struct slice line, bool more, struct buf *out)
{
	struct slice args = line, verb = slice_cut(&args, ' ');
	const struct smtp_cmd *c;

	s->verb = smtp_has_control(line) ? VERB_UNKNOWN : find_verb(s, verb);
	s->count[s->verb].all++;
	c = &smtp_cmds[s->verb];
	if (c->run == NULL)
		return unknown_verb(s, verb, line, out);
	if (runs_ahead(s, more)) {
		s->ops->improper(s->ctx, c->verb, line);
		(void)smtp_reply(out, "554 5.5.0 Error: SMTP protocol synchronization");
		return WANT_CLOSE;
	}
	if ((c->flags & JUNK) != 0 && ++s->junk > JUNK_MAX)
		s->errors++;
	if ((c->allowed & IN(s->state)) == 0)
		return smtp_reply(out, "503 5.5.1 Error: bad sequence of commands");
	return c->run(s, slice_trim(args), out);
}
