#include "smtp_client.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

void
smtp_client_init(struct smtp_client *c, const struct client_setup *setup, bool tls)
{
	*c = (struct smtp_client){ .setup = setup, .tls = tls, .command = "connect" };
	smtp_reply_init(&c->reply);
}

static enum client_want
command(struct smtp_client *c, enum client_state state, const char *name)
{
	c->state = state;
	c->command = name;
	return CLIENT_MORE;
}

static enum client_want
failed(struct smtp_client *c)
{
	c->state = CS_FAILED;
	return CLIENT_FAILED;
}

/* Fail for a reason of our own, in the form of a reply. */
static enum client_want
failed_with(struct smtp_client *c, unsigned code, const char *text)
{
	c->reply.code = code;
	c->reply.len = (size_t)snprintf(c->reply.text, sizeof(c->reply.text), "%s", text);
	return failed(c);
}

static enum client_want
idle(struct smtp_client *c)
{
	c->state = CS_IDLE;
	return CLIENT_IDLE;
}

static void
send_ehlo(struct smtp_client *c, enum client_state state, struct buf *out)
{
	c->pipelining = c->eightbit = c->size = c->starttls = c->auth_plain = c->auth_login = false;
	c->size_max = 0;
	(void)buf_fmt(out, "EHLO %s\r\n", c->setup->hostname);
	(void)command(c, state, "EHLO");
}

/* One keyword line of the EHLO reply, RFC 5321 section 4.1.1.1. */
static void
ehlo_keyword(struct smtp_client *c, struct slice line)
{
	struct slice word = slice_cut(&line, ' ');

	if (slice_ieq(word, "PIPELINING"))
		c->pipelining = true;
	else if (slice_ieq(word, "8BITMIME"))
		c->eightbit = true;
	else if (slice_ieq(word, "STARTTLS"))
		c->starttls = true;
	else if (slice_ieq(word, "SIZE")) {
		c->size = true;
		if (!slice_number(slice_trim(line), UINT64_MAX, &c->size_max))
			c->size_max = 0;
	} else if (slice_ieq(word, "AUTH")) {
		while (line.len > 0) {
			word = slice_cut(&line, ' ');
			c->auth_plain |= slice_ieq(word, "PLAIN");
			c->auth_login |= slice_ieq(word, "LOGIN");
		}
	}
}

static void
put_base64(struct buf *out, const void *data, size_t len)
{
	char text[1600];

	if (len > 1100) {	/* longer than any user and password we read */
		out->full = true;
		return;
	}
	(void)EVP_EncodeBlock((unsigned char *)text, data, (int)len);
	(void)buf_text(out, text);
}

static enum client_want
begin_auth(struct smtp_client *c, struct buf *out)
{
	if (!c->tls)	/* the password does not travel in the clear */
		return failed_with(c, 454, "454 4.7.0 the server offers no TLS: not logging in");
	if (c->auth_plain) {
		struct buf plain;

		buf_init(&plain, 1100);
		(void)buf_char(&plain, '\0');
		(void)buf_text(&plain, c->setup->user);
		(void)buf_char(&plain, '\0');
		(void)buf_text(&plain, c->setup->password);
		(void)buf_text(out, "AUTH PLAIN ");
		put_base64(out, plain.ptr, plain.len);
		(void)buf_text(out, "\r\n");
		out->full |= plain.full;
		if (plain.ptr != NULL)
			explicit_bzero(plain.ptr, plain.size);
		buf_clear(&plain);
		return command(c, CS_AUTH, "AUTH");
	}
	if (c->auth_login) {
		(void)buf_text(out, "AUTH LOGIN\r\n");
		return command(c, CS_AUTH_LOGIN_USER, "AUTH");
	}
	return failed_with(c, 454, "454 4.7.0 the server offers neither AUTH PLAIN nor LOGIN");
}

/* After EHLO: TLS, then login, then mail. */
static enum client_want
after_ehlo(struct smtp_client *c, struct buf *out)
{
	if (!c->tls && !c->no_tls && c->setup->tls != CLIENT_TLS_NEVER) {
		if (c->starttls) {
			(void)buf_text(out, "STARTTLS\r\n");
			return command(c, CS_STARTTLS, "STARTTLS");
		}
		if (c->setup->tls == CLIENT_TLS_MUST)
			return failed_with(c, 454, "454 4.7.4 TLS is required, but the server does not offer it");
	}
	return c->setup->user != NULL ? begin_auth(c, out) : idle(c);
}

/* ---- one mail ---- */

static void
rcpt_result(struct smtp_client *c, struct client_rcpt *r)
{
	r->done = true;
	r->reply = c->reply;
	r->command = c->command;
}

/* Everyone who has no result yet gets this reply. */
static void
all_results(struct smtp_client *c)
{
	for (size_t i = 0; i < c->mail->n; i++)
		if (!c->mail->rcpt[i].done)
			rcpt_result(c, &c->mail->rcpt[i]);
}

static bool
any_left(const struct smtp_client *c)
{
	for (size_t i = 0; i < c->mail->n; i++)
		if (!c->mail->rcpt[i].done)
			return true;
	return false;
}

static void
send_rcpt(struct smtp_client *c, struct buf *out)
{
	(void)buf_text(out, "RCPT TO:<");
	(void)buf_slice(out, c->mail->rcpt[c->sent++].addr);
	(void)buf_text(out, ">\r\n");
}

enum client_want
smtp_client_mail(struct smtp_client *c, struct client_mail *mail, struct buf *out)
{
	c->mail = mail;
	c->next = c->sent = 0;
	c->mail_ok = c->data_sent = false;
	c->mails++;
	if (c->size_max > 0 && mail->size > c->size_max) {
		c->reply.code = 552;
		c->reply.len = (size_t)snprintf(c->reply.text, sizeof(c->reply.text),
		    "552 5.3.4 the message has %llu octets, the server takes %llu",
		    (unsigned long long)mail->size, (unsigned long long)c->size_max);
		c->command = "EHLO";
		all_results(c);
		(void)idle(c);
		return CLIENT_MAIL_DONE;
	}
	(void)buf_text(out, "MAIL FROM:<");
	(void)buf_slice(out, mail->sender);
	(void)buf_char(out, '>');
	if (c->size)
		(void)buf_fmt(out, " SIZE=%llu", (unsigned long long)mail->size);
	if (c->eightbit && mail->body_8bit)
		(void)buf_text(out, " BODY=8BITMIME");
	(void)buf_text(out, "\r\n");
	if (c->pipelining) {
		while (c->sent < mail->n)
			send_rcpt(c, out);
		(void)buf_text(out, "DATA\r\n");
		c->data_sent = true;
	}
	return command(c, CS_MAIL, "MAIL FROM");
}

/* The mail is over; a transaction that never reached DATA is still open there. */
static enum client_want
mail_over(struct smtp_client *c, bool reset, struct buf *out)
{
	if (reset) {
		(void)buf_text(out, "RSET\r\n");
		return command(c, CS_RSET, "RSET");
	}
	c->state = CS_IDLE;
	return CLIENT_MAIL_DONE;
}

static enum client_want
on_mail(struct smtp_client *c, struct buf *out)
{
	c->mail_ok = c->reply.code / 100 == 2;
	if (!c->mail_ok)
		all_results(c);
	if (!c->pipelining) {
		if (!c->mail_ok)
			return mail_over(c, true, out);
		send_rcpt(c, out);
	}
	return command(c, CS_RCPT, "RCPT TO");
}

static enum client_want
on_rcpt(struct smtp_client *c, struct buf *out)
{
	struct client_rcpt *r = &c->mail->rcpt[c->next++];

	if (c->reply.code / 100 != 2 && !r->done)
		rcpt_result(c, r);
	if (c->next < c->mail->n) {
		if (!c->pipelining)
			send_rcpt(c, out);
		return CLIENT_MORE;
	}
	if (!c->data_sent) {
		if (!any_left(c))
			return mail_over(c, true, out);
		(void)buf_text(out, "DATA\r\n");
		c->data_sent = true;
	}
	return command(c, CS_DATA, "DATA");
}

static enum client_want
on_data(struct smtp_client *c, struct buf *out)
{
	bool wanted = any_left(c);

	if (c->reply.code == 354) {
		c->state = CS_END;
		c->command = "end of DATA";
		if (wanted)
			return CLIENT_BODY;
		/* Nobody to send to, but the pipelined DATA was taken: an empty message, never delivered. */
		(void)buf_text(out, ".\r\n");
		return CLIENT_MORE;
	}
	if (c->reply.code / 100 < 4) {	/* neither 354 nor a refusal: no sense in going on */
		c->reply.code = 451;
		all_results(c);
		return failed(c);
	}
	all_results(c);
	return mail_over(c, true, out);
}

static enum client_want
on_auth(struct smtp_client *c, struct buf *out)
{
	if (c->state == CS_AUTH_LOGIN_USER && c->reply.code == 334) {
		put_base64(out, c->setup->user, strlen(c->setup->user));
		(void)buf_text(out, "\r\n");
		return command(c, CS_AUTH_LOGIN_PASSWORD, "AUTH");
	}
	if (c->state == CS_AUTH_LOGIN_PASSWORD && c->reply.code == 334) {
		put_base64(out, c->setup->password, strlen(c->setup->password));
		(void)buf_text(out, "\r\n");
		return command(c, CS_AUTH, "AUTH");
	}
	return c->reply.code == 235 ? idle(c) : failed(c);
}

static enum client_want
on_reply(struct smtp_client *c, struct buf *out)
{
	bool good = c->reply.code / 100 == 2;

	switch (c->state) {
	case CS_GREETING:
		if (!good)
			return failed(c);
		send_ehlo(c, CS_EHLO, out);
		return CLIENT_MORE;
	case CS_EHLO:
		if (good)
			return after_ehlo(c, out);
		if (c->reply.code / 100 != 5 || c->setup->tls == CLIENT_TLS_MUST || c->setup->user != NULL)
			return failed(c);
		(void)buf_fmt(out, "HELO %s\r\n", c->setup->hostname);
		return command(c, CS_HELO, "HELO");
	case CS_HELO:
		return good ? idle(c) : failed(c);
	case CS_STARTTLS:
		if (good) {
			c->state = CS_TLS;
			return CLIENT_STARTTLS;
		}
		if (c->setup->tls == CLIENT_TLS_MUST)
			return failed(c);
		return c->setup->user != NULL ? begin_auth(c, out) : idle(c);
	case CS_EHLO_TLS:
		return good ? after_ehlo(c, out) : failed(c);
	case CS_AUTH:
	case CS_AUTH_LOGIN_USER:
	case CS_AUTH_LOGIN_PASSWORD:
		return on_auth(c, out);
	case CS_MAIL:
		return on_mail(c, out);
	case CS_RCPT:
		return on_rcpt(c, out);
	case CS_DATA:
		return on_data(c, out);
	case CS_END:
		all_results(c);
		return mail_over(c, false, out);
	case CS_RSET:
		c->state = CS_IDLE;
		return CLIENT_MAIL_DONE;
	default:	/* a reply that nothing asked for: 421 while idle, or nonsense */
		return failed(c);
	}
}

void
smtp_client_tls_done(struct smtp_client *c, struct buf *out)
{
	c->tls = true;
	send_ehlo(c, CS_EHLO_TLS, out);	/* RFC 3207 section 4.2: forget what was said */
}

enum client_want
smtp_client_line(struct smtp_client *c, struct slice line, struct buf *out)
{
	struct slice keyword;

	if (c->state == CS_FAILED || c->state == CS_TLS)
		return CLIENT_FAILED;
	switch (smtp_reply_line(&c->reply, line, &keyword)) {
	case REPLY_BROKEN:
		return failed_with(c, 451, "451 4.5.0 the server's reply was no SMTP");
	case REPLY_MORE:
	case REPLY_DONE:
		break;
	}
	if ((c->state == CS_EHLO || c->state == CS_EHLO_TLS) && c->reply.lines > 1)
		ehlo_keyword(c, keyword);
	if (line.len > 3 && line.ptr[3] == '-')
		return CLIENT_MORE;
	c->reply.lines = 0;	/* complete: the next line begins another */
	return on_reply(c, out);
}
