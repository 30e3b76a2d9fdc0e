/*
 * A whole conversation: lines and content out of the input, questions answered
 * by its octets.  Replies are whole lines of printable ASCII with a code.
 */
#include <stdint.h>
#include <stdlib.h>

#include "smtpd/smtp_data.h"
#include "smtpd/smtp_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice input;

static unsigned
pick(void)
{
	unsigned n = input.len == 0 ? 0 : (unsigned char)*input.ptr;

	input = slice_sub(input, 1, input.len);
	return n;
}

static enum smtp_where
check_rcpt(void *ctx, struct addr *rcpt)
{
	(void)ctx;
	if (addr_is_null(rcpt))
		abort();
	return (enum smtp_where)(pick() % 4);
}

static bool
postmaster(void *ctx, struct addr *out)
{
	(void)ctx;
	return addr_parse(SLICE("postmaster@b.example"), out);
}

static enum verdict
may_send(void *ctx, struct slice login, const struct addr *sender)
{
	(void)ctx;
	(void)sender;
	if (login.len == 0)
		abort();
	return (enum verdict)(pick() % 3);
}

static bool
spool_low(void *ctx)
{
	(void)ctx;
	return pick() % 16 == 0;
}

static void
refused(void *ctx, const char *stage, struct slice reply, struct slice from, struct slice to)
{
	(void)ctx;
	(void)stage;
	(void)from;
	(void)to;
	if (slice_find(reply, '\n') != reply.len || slice_find(reply, '\r') != reply.len)
		abort();
}

static void
noted(void *ctx, const char *after, struct slice line)
{
	(void)ctx;
	(void)after;
	(void)line;
}

static void
foreign(void *ctx, struct slice line)
{
	(void)ctx;
	(void)line;
}

static const struct smtp_ops ops = {
	.check_rcpt = check_rcpt, .postmaster = postmaster, .may_send = may_send, .spool_low = spool_low,
	.refused = refused, .improper = noted, .foreign = foreign,
};

static void
check_replies(struct slice out)
{
	while (out.len > 0) {
		struct slice line = slice_cut(&out, '\n');

		if (line.len < 5 || line.ptr[line.len - 1] != '\r' || line.ptr[0] < '2' || line.ptr[0] > '5' ||
		    (line.ptr[3] != ' ' && line.ptr[3] != '-'))
			abort();
		for (size_t i = 0; i < line.len - 1; i++)
			if (line.ptr[i] < ' ' || line.ptr[i] > '~')
				abort();
	}
}

static enum smtp_want
content(struct smtp_session *s, struct buf *out)
{
	const struct smtp_data_rules rules = { 500, 100, 80, 3, pick() % 2 == 0, s->login != NULL,
	    SLICE("Date: x\r\n"), SLICE("Message-ID: <x>\r\n") };
	struct smtp_data d;
	enum smtp_want want;

	smtp_data_init(&d, &rules, 5000);
	while (!d.done && input.len > 0)
		input = slice_sub(input, smtp_data_feed(&d, slice_sub(input, 0, 1 + pick() % 64)), input.len);
	want = smtp_session_data_done(s, d.fault, (enum verdict)(pick() % 3), false, (struct qid){ 1 }, out);
	smtp_data_clear(&d);
	return want;
}

static enum smtp_want
step(struct smtp_session *s, struct buf *out)
{
	struct slice line = slice_cut(&input, '\n');
	bool bare = line.len == 0 || line.ptr[line.len - 1] != '\r';

	if (!bare)
		line.len--;
	if (line.len > smtp_session_line_max(s))
		return smtp_session_long_line(s, out);
	return smtp_session_line(s, line, false, bare, out);
}

static enum smtp_want
go_on(struct smtp_session *s, enum smtp_want want, struct buf *out)
{
	switch (want) {
	case WANT_TLS:
		smtp_session_secured(s);
		return WANT_LINE;
	case WANT_AUTH:
		if (smtp_session_user(s).len == 0 || smtp_session_password(s).len == 0)
			abort();
		return smtp_session_authenticated(s, (enum verdict)(pick() % 3), SLICE("bob@b.example"), out);
	case WANT_QUEUE:
		if (s->env.rcpt_n == 0)
			abort();
		return smtp_session_start_data(s, pick() % 8 == 0 ? TEMP : OK, out);
	case WANT_DATA:
		return content(s, out);
	default:
		return step(s, out);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_rules rules = { SMTP_SERVICE_SMTP, "mx.b.example", true, 500, 5, 20, true };
	struct smtp_session s;
	struct buf out;
	enum smtp_want want = WANT_LINE;

	input = slice_make(data, size);
	rules.service = (enum smtp_service)(pick() % 3);
	rules.refuse_bare = pick() % 2 == 0;
	smtp_session_init(&s, &rules, &ops, NULL);
	buf_init(&out, 1000000);
	smtp_session_greet(&s, &out);
	for (int i = 0; i < 1000 && want != WANT_CLOSE && input.len > 0; i++) {
		want = go_on(&s, want, &out);
		check_replies(buf_slice_of(&out));
		buf_reset(&out);
	}
	smtp_session_summary(&s, &out);
	smtp_session_clear(&s);
	buf_clear(&out);
	return 0;
}
