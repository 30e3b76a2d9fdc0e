/*
 * AUTH (RFC 4954): PLAIN with and without initial response (RFC 4616), LOGIN.
 * Collects user and password; whether they are right is auth's to say.
 */
#include "smtp_session.h"

#include <stdlib.h>
#include <string.h>

#include "login/login.h"
#include "smtp_reply.h"

#define DECODED_MAX	(SMTP_LOGIN_MAX * 2 + SMTP_PASSWORD_MAX + 2)

static enum smtp_want
give_up(struct smtp_session *s, struct buf *out, const char *text)
{
	s->sasl = SASL_NONE;
	smtp_session_wipe(s);
	return smtp_reply(out, "%s", text);
}

/* Keep a part of the secret; false: too long, or no memory. */
static bool
keep(struct smtp_session *s, struct slice part)
{
	/* All of the room at once: a buf that grows leaves copies behind. */
	if (s->secret.ptr == NULL)
		(void)buf_room(&s->secret, s->secret.cap);
	return buf_slice(&s->secret, part);
}

static enum smtp_want
ask(struct smtp_session *s)
{
	s->sasl = SASL_NONE;
	return WANT_AUTH;
}

static enum smtp_want
plain(struct smtp_session *s, struct slice message, struct buf *out)
{
	struct slice user, password;

	if (!login_sasl_plain(message, &user, &password))
		return give_up(s, out, "501 5.5.2 Error: malformed authentication message");
	s->user_len = user.len;
	if (!keep(s, user) || !keep(s, password))
		return give_up(s, out, "454 4.7.0 Temporary authentication failure");
	return ask(s);
}

static enum smtp_want
login_user(struct smtp_session *s, struct slice user, struct buf *out)
{
	if (user.len == 0 || user.len > SMTP_LOGIN_MAX || slice_find(user, '\0') != user.len)
		return give_up(s, out, "501 5.5.2 Error: malformed user name");
	s->user_len = user.len;
	if (!keep(s, user))
		return give_up(s, out, "454 4.7.0 Temporary authentication failure");
	s->sasl = SASL_LOGIN_PASSWORD;
	return smtp_reply(out, "334 UGFzc3dvcmQ6");	/* Password: */
}

static enum smtp_want
login_password(struct smtp_session *s, struct slice password, struct buf *out)
{
	if (password.len == 0 || password.len > SMTP_PASSWORD_MAX ||
	    slice_find(password, '\0') != password.len)
		return give_up(s, out, "501 5.5.2 Error: malformed password");
	if (!keep(s, password))
		return give_up(s, out, "454 4.7.0 Temporary authentication failure");
	return ask(s);
}

/* A response: of the AUTH line itself, or a line of its own. */
static enum smtp_want
response(struct smtp_session *s, struct slice text, struct buf *out)
{
	char decoded[DECODED_MAX];
	struct slice message;
	enum smtp_want want;
	size_t len = 0;

	if (!login_base64(text, decoded, sizeof(decoded), &len))
		return give_up(s, out, "501 5.5.2 Error: malformed base64 or too long");
	message = slice_make(decoded, len);
	switch (s->sasl) {
	case SASL_PLAIN:
		want = plain(s, message, out);
		break;
	case SASL_LOGIN_USER:
		want = login_user(s, message, out);
		break;
	default:
		want = login_password(s, message, out);
		break;
	}
	explicit_bzero(decoded, sizeof(decoded));
	return want;
}

enum smtp_want
smtp_sasl_line(struct smtp_session *s, struct slice line, struct buf *out)
{
	if (slice_is(line, "*"))
		return give_up(s, out, "501 5.7.0 Authentication cancelled");
	return response(s, line, out);
}

enum smtp_want
smtp_cmd_auth(struct smtp_session *s, struct slice args, struct buf *out)
{
	struct slice mechanism = slice_cut(&args, ' ');

	if (!s->tls)
		return smtp_refuse(s, out, "AUTH", SLICE(""), SLICE(""), "538 5.7.11 Encryption required: use STARTTLS first");
	if (!s->esmtp || s->login != NULL)
		return smtp_reply(out, "503 5.5.1 Error: %s",
		    s->login != NULL ? "already authenticated" : "send EHLO first");
	if (mechanism.len == 0)
		return smtp_reply(out, "501 5.5.4 Syntax: AUTH mechanism");
	if (slice_ieq(mechanism, "PLAIN")) {
		s->auth_method = "PLAIN";
		s->sasl = SASL_PLAIN;
	} else if (slice_ieq(mechanism, "LOGIN")) {
		s->auth_method = "LOGIN";
		s->sasl = SASL_LOGIN_USER;
	} else {
		return smtp_reply(out, "504 5.5.4 Unrecognized authentication type");
	}
	if (args.len > 0)	/* "=" is an empty one */
		return response(s, slice_is(args, "=") ? SLICE("") : args, out);
	return smtp_reply(out, s->sasl == SASL_PLAIN ? "334 " : "334 VXNlcm5hbWU6");	/* Username: */
}
