/* pop3_login: see the header. */
#include "pop3d/pop3_login.h"

#include <string.h>

#include "pop3d/pop3_parse.h"

#define USER_MAX	320	/* octets; auth_request in ipc_messages.h */
#define PASSWORD_MAX	1024
#define ERRORS_MAX	10
#define SASL_MAX	(2 * USER_MAX + PASSWORD_MAX + 2)	/* authzid NUL authcid NUL password */

enum login_state {
	ST_COMMAND,
	ST_SASL,	/* AUTH PLAIN was given: its line of base64 comes */
};

struct pop3_login {
	const struct login_facts *facts;
	enum login_state state;
	char		 user[USER_MAX];	/* of USER */
	size_t		 user_len;		/* 0: no USER yet */
	char		 sasl[SASL_MAX];	/* decoded: holds the password */
};

static void
reply(struct login_step *step, const char *text)
{
	(void)buf_text(step->out, text);
	(void)buf_text(step->out, "\r\n");
}

/* A reply that counts as an error of the client. */
static void
reply_error(struct login_step *step, const char *text)
{
	step->error = true;
	reply(step, text);
}

bool
pop3_capabilities(struct buf *out, bool tls, bool starttls)
{
	(void)buf_text(out, "+OK Capability list follows\r\nTOP\r\nUIDL\r\nRESP-CODES\r\n"
	    "AUTH-RESP-CODE\r\nPIPELINING\r\n");
	if (starttls)
		(void)buf_text(out, "STLS\r\n");
	if (tls)
		(void)buf_text(out, "USER\r\nSASL PLAIN\r\n");
	return buf_text(out, "EXPIRE NEVER\r\nIMPLEMENTATION Pennypost\r\n.\r\n");
}

/* RFC 2595 section 4: what was said before TLS is forgotten, so start() runs again. */
static void
pop3_start(void *state, const struct login_facts *facts)
{
	struct pop3_login *p = state;

	p->facts = facts;
	p->state = ST_COMMAND;
	p->user_len = 0;
}

/* No "<...>" in it: that would announce APOP (RFC 1939 section 7). */
static void
pop3_banner(void *state, struct buf *out)
{
	const struct pop3_login *p = state;

	(void)buf_fmt(out, "+OK %s POP3 ready\r\n", p->facts->hostname);
}

/* Refuse what would send a password in the clear. */
static bool
refused_in_clear(const struct pop3_login *p, struct login_step *step)
{
	if (p->facts->tls)
		return false;
	reply_error(step, p->facts->starttls ?
	    "-ERR Logging in needs encryption: use STLS first, or port 995" :
	    "-ERR Logging in needs encryption: use port 995");
	return true;
}

/* ---- the verbs; each gets what stands behind the keyword ---- */

static void
cmd_capa(struct pop3_login *p, struct slice args, struct login_step *step)
{
	(void)args;
	(void)pop3_capabilities(step->out, p->facts->tls, p->facts->starttls);
}

/* RFC 2595 section 4. */
static void
cmd_stls(struct pop3_login *p, struct slice args, struct login_step *step)
{
	if (args.len != 0) {
		reply_error(step, "-ERR STLS takes no argument");
	} else if (p->facts->tls) {
		reply_error(step, "-ERR TLS is active already");
	} else if (!p->facts->starttls) {
		reply_error(step, "-ERR No TLS here");
	} else {
		reply(step, "+OK Begin TLS negotiation");
		step->want = LOGIN_WANT_STARTTLS;
	}
}

/* RFC 1939 section 7.  Always +OK: who exists is not told. */
static void
cmd_user(struct pop3_login *p, struct slice args, struct login_step *step)
{
	if (refused_in_clear(p, step))
		return;
	if (args.len == 0 || args.len > USER_MAX) {
		reply_error(step, "-ERR USER needs a name");
		return;
	}
	memcpy(p->user, args.ptr, args.len);
	p->user_len = args.len;
	reply(step, "+OK Send PASS");
}

/* RFC 1939 section 7: blanks are part of the password. */
static void
cmd_pass(struct pop3_login *p, struct slice args, struct login_step *step)
{
	if (refused_in_clear(p, step))
		return;
	if (p->user_len == 0) {
		reply_error(step, "-ERR USER comes first");
		return;
	}
	if (args.len == 0 || args.len > PASSWORD_MAX) {
		reply_error(step, "-ERR PASS needs a password");
		return;
	}
	step->auth = (struct login_auth){ .method = "USER",
		.user = slice_make(p->user, p->user_len), .password = args };
	step->want = LOGIN_WANT_AUTH;
	p->user_len = 0;
}

/* The base64 of SASL PLAIN is here, on its own line or with AUTH. */
static void
sasl_response(struct pop3_login *p, struct slice text, struct login_step *step)
{
	struct slice user, password;
	size_t len;

	p->state = ST_COMMAND;
	if (slice_is(text, "*")) {
		reply(step, "-ERR Authentication cancelled");
		return;
	}
	if (!login_base64(text, p->sasl, sizeof(p->sasl), &len) ||
	    !login_sasl_plain(slice_make(p->sasl, len), &user, &password)) {
		reply_error(step, "-ERR Not a response of PLAIN");
		return;
	}
	step->auth = (struct login_auth){ .method = "PLAIN", .user = user, .password = password };
	step->want = LOGIN_WANT_AUTH;
}

/* RFC 5034 section 4. */
static void
cmd_auth(struct pop3_login *p, struct slice args, struct login_step *step)
{
	struct slice mechanism = slice_cut(&args, ' ');

	if (mechanism.len == 0) {	/* an old custom: list the mechanisms */
		reply(step, p->facts->tls ? "+OK\r\nPLAIN\r\n." : "+OK\r\n.");
		return;
	}
	if (refused_in_clear(p, step))
		return;
	if (!slice_ieq(mechanism, "PLAIN")) {
		reply_error(step, "-ERR Unknown mechanism");
		return;
	}
	if (args.len != 0) {
		sasl_response(p, slice_is(args, "=") ? SLICE("") : args, step);
		return;
	}
	p->state = ST_SASL;
	reply(step, "+ ");
}

static void
cmd_quit(struct pop3_login *p, struct slice args, struct login_step *step)
{
	(void)p;
	(void)args;
	reply(step, "+OK Bye");
	step->want = LOGIN_WANT_CLOSE;
}

static const struct pop3_login_cmd {
	const char	*verb;
	void		(*run)(struct pop3_login *, struct slice, struct login_step *);
} commands[] = {
	{ "CAPA", cmd_capa },	/* RFC 2449 section 5 */
	{ "STLS", cmd_stls },	/* RFC 2595 section 4 */
	{ "USER", cmd_user },	/* RFC 1939 section 7 */
	{ "PASS", cmd_pass },
	{ "AUTH", cmd_auth },	/* RFC 5034 section 4 */
	{ "QUIT", cmd_quit },	/* RFC 1939 section 4 */
};

static void
run_line(struct pop3_login *p, struct slice line, struct login_step *step)
{
	struct slice verb, args;

	if (p->state == ST_SASL) {
		sasl_response(p, line, step);
		return;
	}
	if (!pop3_parse_command(line, &verb, &args)) {
		reply_error(step, "-ERR Unknown command");
		return;
	}
	for (size_t i = 0; i < LEN(commands); i++) {
		if (slice_ieq(verb, commands[i].verb)) {
			commands[i].run(p, args, step);
			return;
		}
	}
	reply_error(step, "-ERR Unknown command, or log in first");
}

static size_t
pop3_input(void *state, struct slice data, struct login_step *step)
{
	struct slice line;
	size_t taken = pop3_parse_line(data, &line);

	if (taken != 0)
		run_line(state, line, step);
	return taken;
}

/* RFC 3206, RFC 2449 section 8. */
static void
pop3_answer(void *state, enum verdict verdict, enum ipc_auth_reason reason, struct login_step *step)
{
	struct pop3_login *p = state;

	explicit_bzero(p->sasl, sizeof(p->sasl));
	if (verdict == TEMP)
		reply(step, "-ERR [SYS/TEMP] Cannot log you in now, try again later");
	else if (reason == AUTH_REASON_EXPIRED)
		reply(step, "-ERR [AUTH] Account or password has expired");
	else
		reply(step, "-ERR [AUTH] Authentication failed");
}

static void
pop3_bye(void *state, enum login_bye why, struct buf *out)
{
	static const char *const text[] = {
		[LOGIN_BYE_SHUTDOWN] = "-ERR [SYS/TEMP] Server is shutting down",
		[LOGIN_BYE_TIMEOUT] = "-ERR Not logged in in time",
		[LOGIN_BYE_ERRORS] = "-ERR Too many errors",
		[LOGIN_BYE_BUSY] = "-ERR [SYS/TEMP] Too many connections",
		[LOGIN_BYE_INPUT] = "-ERR Line too long",
	};

	(void)state;
	(void)buf_text(out, text[why]);
	(void)buf_text(out, "\r\n");
}

static void
pop3_clear(void *state)
{
	explicit_bzero(state, sizeof(struct pop3_login));
}

const struct login_proto pop3_login_proto = {
	.service = "pop3",
	.service_tls = "pop3s",
	.port_tls = 995,
	.program = "pop3-login",
	.state_size = sizeof(struct pop3_login),
	.input_max = POP3_LINE_MAX,
	.errors_max = ERRORS_MAX,
	.start = pop3_start,
	.banner = pop3_banner,
	.input = pop3_input,
	.answer = pop3_answer,
	.bye = pop3_bye,
	.clear = pop3_clear,
};
