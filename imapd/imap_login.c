#include "imap_login.h"

#include <string.h>

#include "imap_cmd.h"
#include "imap_input.h"
#include "imap_parse.h"

#define LINE_MAX_OCTETS		8192	/* RELIABILITY.md V9 */
#define LITERAL_MAX_OCTETS	4096
#define PLAIN_MAX		2048	/* octets of a SASL PLAIN message: 320 + 320 + 1024 + 2 */
#define POOL_MAX		(64 * 1024)

static const struct imap_input_limits limits = {
	.line = LINE_MAX_OCTETS,
	.literal = LITERAL_MAX_OCTETS,
	.command = LINE_MAX_OCTETS + 2 * LITERAL_MAX_OCTETS,
	.skip = 0,
};

struct imap_login {
	struct login_facts	 facts;
	struct imap_input	 input;
	struct imap_pool	 pool;		/* of the command being read or answered */
	bool			 begun;		/* input and pool are set up */
	bool			 sasl;		/* the next line is an answer to AUTHENTICATE */
	char			 tag[256];
	char			 plain[PLAIN_MAX];	/* decoded SASL response; wiped */
};

/* The command is done with; it may have been a password. */
static void
forget(struct imap_login *l)
{
	imap_pool_clear(&l->pool);
	imap_input_reset(&l->input);
	explicit_bzero(l->plain, sizeof(l->plain));
}

static void
login_clear(void *state)
{
	struct imap_login *l = state;

	if (!l->begun)
		return;
	forget(l);
	imap_input_clear(&l->input);
	l->begun = false;
}

static void
login_start(void *state, const struct login_facts *facts)
{
	struct imap_login *l = state;

	login_clear(l);
	*l = (struct imap_login){ .facts = *facts, .begun = true };
	imap_input_init(&l->input, &limits);
	imap_pool_init(&l->pool, POOL_MAX);
}

static void
put_capabilities(const struct imap_login *l, struct buf *out)
{
	(void)buf_text(out, "CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE");
	if (l->facts.starttls)
		(void)buf_text(out, " STARTTLS");
	(void)buf_text(out, l->facts.tls ? " AUTH=PLAIN" : " LOGINDISABLED");
}

static void
login_banner(void *state, struct buf *out)
{
	const struct imap_login *l = state;

	(void)buf_text(out, "* OK [");
	put_capabilities(l, out);
	(void)buf_fmt(out, "] %s Pennypost ready\r\n", l->facts.hostname);
}

/* "tag OK text". */
static void
reply(const struct imap_login *l, struct login_step *step, const char *text)
{
	(void)buf_fmt(step->out, "%s %s\r\n", l->tag[0] == '\0' ? "*" : l->tag, text);
}

static void
bad(const struct imap_login *l, struct login_step *step, const char *why)
{
	step->error = true;
	(void)buf_fmt(step->out, "%s BAD %s\r\n", l->tag[0] == '\0' ? "*" : l->tag,
	    why == NULL ? "Invalid arguments" : why);
}

static void
close_with(struct login_step *step, const char *text)
{
	(void)buf_fmt(step->out, "* BYE %s\r\n", text);
	step->want = LOGIN_WANT_CLOSE;
}

static void
privacy_required(const struct imap_login *l, struct login_step *step)
{
	step->error = true;
	reply(l, step, "NO [PRIVACYREQUIRED] Not without TLS: use STARTTLS or port 993");
}

static void
ask_auth(struct imap_login *l, struct login_step *step, const char *method, struct slice user, struct slice password)
{
	step->want = LOGIN_WANT_AUTH;
	step->auth = (struct login_auth){
		.method = method, .user = user, .password = password, .greeting = slice_of(l->tag),
	};
}

static void
failed(const struct imap_login *l, struct login_step *step)
{
	step->error = true;
	reply(l, step, "NO [AUTHENTICATIONFAILED] Authentication failed");
}

/* ---- the verbs ---- */

static void
pre_capability(struct imap_login *l, struct imap_in *in, struct login_step *step)
{
	if (!imap_parse_end(in)) {
		bad(l, step, in->error);
		return;
	}
	(void)buf_text(step->out, "* ");
	put_capabilities(l, step->out);
	(void)buf_text(step->out, "\r\n");
	reply(l, step, "OK Capabilities listed");
}

static void
pre_noop(struct imap_login *l, struct imap_in *in, struct login_step *step)
{
	if (!imap_parse_end(in))
		bad(l, step, in->error);
	else
		reply(l, step, "OK Nothing done");
}

static void
pre_logout(struct imap_login *l, struct imap_in *in, struct login_step *step)
{
	if (!imap_parse_end(in)) {
		bad(l, step, in->error);
		return;
	}
	close_with(step, "Logging out");
	reply(l, step, "OK Logged out");
}

static void
pre_id(struct imap_login *l, struct imap_in *in, struct login_step *step)
{
	if (!imap_parse_id(in)) {
		bad(l, step, in->error);
		return;
	}
	(void)buf_text(step->out, IMAP_ID_RESPONSE);
	reply(l, step, "OK ID exchanged");
}

/* RFC 2595 section 3.1.  What was pipelined behind it ends the connection (the front sees to that). */
static void
pre_starttls(struct imap_login *l, struct imap_in *in, struct login_step *step)
{
	if (!imap_parse_end(in))
		bad(l, step, in->error);
	else if (!l->facts.starttls)
		bad(l, step, l->facts.tls ? "TLS is on already" : "TLS is not available");
	else {
		reply(l, step, "OK Begin TLS negotiation now");
		step->want = LOGIN_WANT_STARTTLS;
	}
}

/* RFC 3501 section 6.2.3. */
static void
pre_login(struct imap_login *l, struct imap_in *in, struct login_step *step)
{
	struct slice user, password;

	if (!l->facts.tls)
		privacy_required(l, step);
	else if (!imap_parse_space(in) || !imap_parse_astring(in, &user) || !imap_parse_space(in) ||
	    !imap_parse_astring(in, &password) || !imap_parse_end(in))
		bad(l, step, in->error);
	else if (user.len == 0 || user.len > 320 || password.len == 0 || password.len > 1024)
		failed(l, step);
	else
		ask_auth(l, step, "LOGIN", user, password);
}

/* The response of SASL PLAIN, in base64. */
static void
sasl_plain(struct imap_login *l, struct slice text, struct login_step *step)
{
	struct slice user, password;
	size_t n;

	if (!login_base64(text, l->plain, sizeof(l->plain), &n))
		bad(l, step, "Invalid base64");
	else if (!login_sasl_plain(slice_make(l->plain, n), &user, &password))
		failed(l, step);
	else
		ask_auth(l, step, "PLAIN", user, password);
}

/* RFC 3501 section 6.2.2, with the initial response of RFC 4959. */
static void
pre_authenticate(struct imap_login *l, struct imap_in *in, struct login_step *step)
{
	struct slice mechanism, response;

	if (!imap_parse_space(in) || !imap_parse_atom(in, &mechanism)) {
		bad(l, step, in->error);
		return;
	}
	if (!l->facts.tls) {
		privacy_required(l, step);
		return;
	}
	if (!slice_ieq(mechanism, "PLAIN")) {
		step->error = true;
		reply(l, step, "NO [CANNOT] Unknown authentication mechanism");
		return;
	}
	if (imap_at_end(in)) {
		l->sasl = true;
		(void)buf_text(step->out, "+ \r\n");
		return;
	}
	if (!imap_parse_space(in)) {
		bad(l, step, in->error);
		return;
	}
	response = slice_trim(in->rest);
	sasl_plain(l, slice_is(response, "=") ? SLICE("") : response, step);
}

static const struct {
	const char	*verb;
	void		(*run)(struct imap_login *l, struct imap_in *in, struct login_step *step);
} verbs[] = {
	{ "CAPABILITY",		pre_capability },
	{ "NOOP",		pre_noop },
	{ "LOGOUT",		pre_logout },
	{ "ID",			pre_id },
	{ "STARTTLS",		pre_starttls },
	{ "LOGIN",		pre_login },
	{ "AUTHENTICATE",	pre_authenticate },
};

/* ---- input ---- */

static bool
parse_start(struct imap_login *l, struct imap_in *in, struct slice *verb)
{
	struct slice tag;

	l->tag[0] = '\0';
	imap_in_init(in, buf_slice_of(&l->input.text), &l->pool);
	if (!imap_parse_tag(in, &tag))
		return false;
	(void)slice_text(tag, l->tag, sizeof(l->tag));
	return imap_parse_space(in) && imap_parse_atom(in, verb);
}

static void
command(struct imap_login *l, struct login_step *step)
{
	struct imap_in in;
	struct slice verb;

	if (!parse_start(l, &in, &verb)) {
		bad(l, step, l->tag[0] == '\0' ? "Invalid tag" : "Missing command");
		return;
	}
	for (size_t i = 0; i < LEN(verbs); i++) {
		if (slice_ieq(verb, verbs[i].verb)) {
			verbs[i].run(l, &in, step);
			return;
		}
	}
	bad(l, step, imap_cmd_find(verb, false) != NULL || slice_ieq(verb, "UID") ? "Log in first" : "Unknown command");
}

/* A line that answers "+": the response, or "*" to give up. */
static void
sasl_line(struct imap_login *l, struct login_step *step)
{
	struct slice line = buf_slice_of(&l->input.text);

	l->sasl = false;
	if (slice_is(line, "*"))
		bad(l, step, "Authentication cancelled");
	else
		sasl_plain(l, line, step);
}

/* A password does not have to come over the wire to be refused. */
static void
literal(struct imap_login *l, struct login_step *step)
{
	struct slice verb;
	struct imap_in in;

	if (l->sasl || !parse_start(l, &in, &verb))
		imap_input_refuse(&l->input, "Invalid command");
	else if (!l->facts.tls && slice_ieq(verb, "LOGIN") && !l->input.literal.nonsync) {
		privacy_required(l, step);
		forget(l);
	} else if (imap_input_take(&l->input) && !l->input.literal.nonsync)
		(void)buf_text(step->out, "+ OK\r\n");
}

/* Too large, or not to be understood. */
static void
refused(struct imap_login *l, struct login_step *step)
{
	const char *why = l->input.error;
	struct imap_in in;
	struct slice verb;

	if (!l->sasl)
		(void)parse_start(l, &in, &verb);
	l->sasl = false;
	bad(l, step, why);
}

static size_t
login_input(void *state, struct slice data, struct login_step *step)
{
	struct imap_login *l = state;
	struct slice rest = data;
	enum imap_input_event event;

	/* What becomes of a refused literal is said at once, not with the next input. */
	while ((event = imap_input_next(&l->input, &rest)) == INPUT_LITERAL)
		literal(l, step);
	switch (event) {
	case INPUT_MORE:
		/* A line beyond the limit is not waited for. */
		if (imap_input_skipping(&l->input))
			close_with(step, "Command too large");
		break;
	case INPUT_COMMAND:
		if (l->sasl)
			sasl_line(l, step);
		else
			command(l, step);
		if (step->want != LOGIN_WANT_AUTH)
			forget(l);
		break;
	case INPUT_BAD:
		refused(l, step);
		forget(l);
		break;
	case INPUT_CLOSE: case INPUT_CHUNK: case INPUT_LITERAL:
		close_with(step, "Command too large");
		break;
	}
	return data.len - rest.len;
}

static void
login_answer(void *state, enum verdict verdict, enum ipc_auth_reason reason, struct login_step *step)
{
	struct imap_login *l = state;

	forget(l);
	if (verdict == TEMP || reason == AUTH_REASON_UNAVAILABLE)
		reply(l, step, "NO [UNAVAILABLE] Cannot log in now, try again later");
	else if (reason == AUTH_REASON_EXPIRED)
		reply(l, step, "NO [EXPIRED] Password has expired");
	else
		reply(l, step, "NO [AUTHENTICATIONFAILED] Authentication failed");
}

static void
login_bye(void *state, enum login_bye why, struct buf *out)
{
	(void)state;
	switch (why) {
	case LOGIN_BYE_SHUTDOWN:
		(void)buf_text(out, "* BYE [UNAVAILABLE] Server is shutting down\r\n");
		break;
	case LOGIN_BYE_TIMEOUT:
		(void)buf_text(out, "* BYE Not logged in for too long\r\n");
		break;
	case LOGIN_BYE_ERRORS:
		(void)buf_text(out, "* BYE Too many errors\r\n");
		break;
	case LOGIN_BYE_BUSY:
		(void)buf_text(out, "* BYE [UNAVAILABLE] Too many connections, try again later\r\n");
		break;
	case LOGIN_BYE_INPUT:
		(void)buf_text(out, "* BYE Command too large\r\n");
		break;
	}
}

const struct login_proto imap_login_proto = {
	.service = "imap",
	.service_tls = "imaps",
	.port_tls = 993,
	.program = "imap-login",
	.state_size = sizeof(struct imap_login),
	.input_max = LINE_MAX_OCTETS,
	.errors_max = 10,
	.start = login_start,
	.banner = login_banner,
	.input = login_input,
	.answer = login_answer,
	.bye = login_bye,
	.clear = login_clear,
};
