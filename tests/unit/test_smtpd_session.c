/* smtpd/smtp_session.c, smtp_cmd.c, smtp_sasl.c: conversations. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/smtp_session.h"

static struct {
	bool		 low, no_map;
	char		 refused[2000];		/* stages and replies */
	char		 improper[200], foreign[200];
	struct addr	 last_rcpt;
} world;

static enum smtp_where
check_rcpt(void *ctx, struct addr *rcpt)
{
	(void)ctx;
	world.last_rcpt = *rcpt;
	if (world.no_map)
		return RCPT_TEMP;
	if (!slice_ieq(addr_domain(rcpt), "b.example"))
		return RCPT_REMOTE;
	return slice_ieq(addr_local(rcpt), "bob") || slice_ieq(addr_local(rcpt), "postmaster") ? RCPT_LOCAL : RCPT_UNKNOWN;
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
	assert_true(slice_is(login, "bob@b.example"));
	return slice_is(addr_text(sender), "bob@b.example") ? OK : PERM;
}

static bool
spool_low(void *ctx)
{
	(void)ctx;
	return world.low;
}

static void
refused(void *ctx, const char *stage, struct slice reply, struct slice from, struct slice to)
{
	size_t len = strlen(world.refused);

	(void)ctx;
	(void)from;
	(void)to;
	(void)snprintf(world.refused + len, sizeof(world.refused) - len, "%s:%.*s\n", stage, (int)reply.len, reply.ptr);
}

static void
improper(void *ctx, const char *after, struct slice line)
{
	(void)ctx;
	(void)line;
	(void)snprintf(world.improper, sizeof(world.improper), "%s", after);
}

static void
foreign(void *ctx, struct slice line)
{
	(void)ctx;
	(void)snprintf(world.foreign, sizeof(world.foreign), "%.*s", (int)line.len, line.ptr);
}

static const struct smtp_ops ops = {
	.check_rcpt = check_rcpt, .postmaster = postmaster, .may_send = may_send, .spool_low = spool_low,
	.refused = refused, .improper = improper, .foreign = foreign,
};
static const struct smtp_rules rules[] = {
	{ SMTP_SERVICE_SMTP, "mx.b.example", true, 1000, 3, 20, true },
	{ SMTP_SERVICE_SUBMISSION, "mx.b.example", true, 1000, 3, 20, true },
	{ SMTP_SERVICE_LMTP, "mx.b.example", true, 1000, 3, 20, true },
};

/* One step: a line and what it must bring. */
struct step {
	const char	*line, *reply;	/* reply: how it must begin; NULL: nothing is said */
	enum smtp_want	 want;
};

static void
begin(struct smtp_session *s, enum smtp_service service)
{
	memset(&world, 0, sizeof(world));
	smtp_session_init(s, &rules[service], &ops, NULL);
}

static enum smtp_want
say(struct smtp_session *s, struct slice line, struct buf *out)
{
	buf_reset(out);
	return smtp_session_line(s, line, false, false, out);
}

static void
check_steps(struct smtp_session *s, const struct step *step, size_t n)
{
	struct buf out;

	buf_init(&out, 10000);
	for (size_t i = 0; i < n; i++) {
		enum smtp_want want = say(s, slice_of(step[i].line), &out);
		const char *reply = step[i].reply == NULL ? "" : step[i].reply;

		if (want != step[i].want || strncmp(buf_cstr(&out), reply, strlen(reply)) != 0 ||
		    (step[i].reply == NULL && out.len > 0))
			fail_msg("step %zu '%s': want %d, reply '%s'", i, step[i].line, (int)want, buf_cstr(&out));
		/* Whatever was said, replies are lines of their own. */
		if (out.len > 0)
			assert_memory_equal(out.ptr + out.len - 2, "\r\n", 2);
	}
	buf_clear(&out);
}

#define STEPS(s, ...) do {							\
	static const struct step steps_[] = { __VA_ARGS__ };			\
	check_steps((s), steps_, LEN(steps_));					\
} while (0)

static void
verbs_come_in_order(void **unused)
{
	struct smtp_session s;

	(void)unused;
	begin(&s, SMTP_SERVICE_SMTP);
	STEPS(&s,
		{ "MAIL FROM:<a@a.example>",	"503 5.5.1 ", WANT_LINE },
		{ "RCPT TO:<bob@b.example>",	"503 5.5.1 ", WANT_LINE },
		{ "STARTTLS",			"503 5.5.1 ", WANT_LINE },
		{ "LHLO c.example",		"500 5.5.2 ", WANT_LINE },
		{ "EHLO",			"501 5.5.4 ", WANT_LINE },
		{ "EHLO c.example",		"250-mx.b.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-STARTTLS\r\n"
						"250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n", WANT_LINE },
		{ "DATA",			"503 5.5.1 ", WANT_LINE },
		{ "MAIL FROM:<>",		"250 2.1.0 ", WANT_LINE },
		{ "MAIL FROM:<>",		"503 5.5.1 ", WANT_LINE },
		{ "DATA",			"503 5.5.1 ", WANT_LINE },
		{ "RCPT TO:<eve@b.example>",	"550 5.1.1 <eve@b.example>: ", WANT_LINE },
		{ "RCPT TO:<bob@other.example>", "554 5.7.1 <bob@other.example>: Relay access denied\r\n", WANT_LINE },
		{ "DATA",			"503 5.5.1 ", WANT_LINE },
		{ "rcpt to: <BOB@b.example>",	"250 2.1.5 ", WANT_LINE },
		{ "RCPT TO:<postMASTER>",	"250 2.1.5 ", WANT_LINE },
		{ "DATA now",			"501 5.5.4 ", WANT_LINE },
		{ "VRFY bob",			"252 2.0.0 ", WANT_LINE },
		{ "EXPN list",			"500 5.5.2 ", WANT_LINE },
		{ "HELP",			"214", WANT_LINE },
		{ "NOOP (nul",			"250 2.0.0 ", WANT_LINE },
		{ "DATA",			NULL, WANT_QUEUE },
	);
	assert_int_equal(s.env.accepted, 2);
	assert_string_equal(smtp_session_with(&s), "ESMTP");
	smtp_session_clear(&s);
}

static void
a_message_from_data_to_250(void **unused)
{
	struct smtp_session s;
	struct buf out;
	struct qid qid = { 12345 };

	(void)unused;
	begin(&s, SMTP_SERVICE_SMTP);
	buf_init(&out, 10000);
	STEPS(&s,
		{ "HELO c.example",		"250 mx.b.example\r\n", WANT_LINE },
		{ "MAIL FROM:<a@a.example>",	"250", WANT_LINE },
		{ "RCPT TO:<bob@b.example>",	"250", WANT_LINE },
		{ "DATA",			NULL, WANT_QUEUE },
	);
	assert_int_equal(smtp_session_start_data(&s, OK, &out), WANT_DATA);
	assert_true(s.in_data);
	buf_reset(&out);
	assert_int_equal(smtp_session_data_done(&s, FAULT_NONE, OK, false, qid, &out), WANT_LINE);
	assert_string_equal(buf_cstr(&out), "250 2.0.0 Ok: queued as 000000003D7\r\n");
	assert_string_equal(smtp_session_after(&s), "END-OF-MESSAGE");
	assert_string_equal(smtp_session_with(&s), "SMTP");
	STEPS(&s, { "DATA", "503", WANT_LINE }, { "QUIT", "221 2.0.0 ", WANT_CLOSE });
	buf_reset(&out);
	smtp_session_summary(&s, &out);
	assert_string_equal(buf_cstr(&out), "helo=1 mail=1 rcpt=1 data=1/2 quit=1 commands=5/6");
	smtp_session_clear(&s);
	buf_clear(&out);
}

static void
what_becomes_of_refused_content(void **unused)
{
	static const struct {
		enum smtp_fault	 fault;
		enum verdict	 v;
		bool		 low;
		const char	*reply;
		enum smtp_want	 want;
	} row[] = {
		{ FAULT_NONE, TEMP, false, "451 4.3.0 ", WANT_LINE },
		{ FAULT_NONE, TEMP, true, "452 4.3.1 ", WANT_LINE },
		{ FAULT_NONE, PERM, false, "554 5.3.0 ", WANT_LINE },
		{ FAULT_BARE_LF, TEMP, false, "521 5.5.2 ", WANT_CLOSE },
		{ FAULT_BARE_CR, TEMP, false, "521 5.5.2 ", WANT_CLOSE },
		{ FAULT_NUL, TEMP, false, "521 5.5.2 ", WANT_CLOSE },
		{ FAULT_LINE, TEMP, false, "554 5.6.0 ", WANT_LINE },
		{ FAULT_HEADER, TEMP, false, "552 5.3.4 ", WANT_LINE },
		{ FAULT_SIZE, TEMP, false, "552 5.3.4 ", WANT_LINE },
		{ FAULT_HOPS, TEMP, false, "554 5.4.6 ", WANT_LINE },
		{ FAULT_MEMORY, TEMP, false, "452 4.3.1 ", WANT_LINE },
		{ FAULT_STORAGE, TEMP, false, "452 4.3.1 ", WANT_LINE },
		{ FAULT_QUEUE, TEMP, false, "451 4.3.0 ", WANT_LINE },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct smtp_session s;
		struct buf out;

		begin(&s, SMTP_SERVICE_SMTP);
		buf_init(&out, 10000);
		STEPS(&s, { "EHLO c", "250", WANT_LINE }, { "MAIL FROM:<>", "250", WANT_LINE },
		    { "RCPT TO:<bob@b.example>", "250", WANT_LINE }, { "DATA", NULL, WANT_QUEUE });
		(void)smtp_session_start_data(&s, OK, &out);
		buf_reset(&out);
		check_row(i, smtp_session_data_done(&s, row[i].fault, row[i].v, row[i].low, (struct qid){ 1 }, &out) == row[i].want);
		check_row(i, strncmp(buf_cstr(&out), row[i].reply, strlen(row[i].reply)) == 0);
		check_row(i, strncmp(world.refused, "END-OF-MESSAGE:", 15) == 0);
		check_row(i, s.state == ST_READY);
		smtp_session_clear(&s);
		buf_clear(&out);
	}
}

static void
queue_is_away(void **unused)
{
	struct smtp_session s;
	struct buf out;

	(void)unused;
	begin(&s, SMTP_SERVICE_SMTP);
	buf_init(&out, 1000);
	STEPS(&s, { "EHLO c", "250", WANT_LINE });
	world.low = true;
	STEPS(&s, { "MAIL FROM:<>", "452 4.3.1 ", WANT_LINE });
	world.low = false;
	STEPS(&s, { "MAIL FROM:<>", "250", WANT_LINE });
	world.no_map = true;
	STEPS(&s, { "RCPT TO:<bob@b.example>", "451 4.3.0 ", WANT_LINE });
	world.no_map = false;
	STEPS(&s, { "RCPT TO:<bob@b.example>", "250", WANT_LINE }, { "DATA", NULL, WANT_QUEUE });
	assert_int_equal(smtp_session_start_data(&s, TEMP, &out), WANT_LINE);
	assert_memory_equal(out.ptr, "451 4.3.0 ", 10);
	assert_false(s.in_data);
	smtp_session_clear(&s);
	buf_clear(&out);
}

static void
mail_parameters(void **unused)
{
	struct smtp_session s;

	(void)unused;
	begin(&s, SMTP_SERVICE_SMTP);
	STEPS(&s,
		{ "EHLO c", "250", WANT_LINE },
		{ "MAIL FROM:<a@a.example> SIZE=1000 BODY=8BITMIME AUTH=<>", "250", WANT_LINE },
		{ "RSET", "250", WANT_LINE },
		{ "MAIL FROM: <a@a.example> body=7bit size=0", "250", WANT_LINE },
		{ "RSET", "250", WANT_LINE },
		{ "MAIL FROM:<a@a.example> SIZE=1001", "552 5.3.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> SIZE=99999999999999999999999", "501 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> SIZE=-1", "501 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> SIZE", "501 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> BODY=BINARYMIME", "501 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> AUTH=<+0A>", "501 5.5.4 ", WANT_LINE },	/* V3 */
		{ "MAIL FROM:<a@a.example> AUTH", "501 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> ENVID=x+0Ay", "555 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> RET=HDRS", "555 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> SMTPUTF8", "555 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example> =", "501 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a>", "501 5.1.7 ", WANT_LINE },
		{ "MAIL FROM:a@a.example", "501 5.1.7 ", WANT_LINE },
		{ "MAIL TO:<a@a.example>", "501 5.5.4 ", WANT_LINE },
		{ "MAIL", "501 5.5.4 ", WANT_LINE },
		{ "MAIL FROM:<a@a.example>", "250", WANT_LINE },
		{ "RCPT TO:<bob@b.example> NOTIFY=NEVER", "555 5.5.4 ", WANT_LINE },
		{ "RCPT TO:<>", "501 5.1.3 ", WANT_LINE },
		{ "RCPT TO:<bob>", "501 5.1.3 ", WANT_LINE },
	);
	smtp_session_clear(&s);
}

/* V1: none of them is an address, or if it is, then one that is not here. */
static void
hostile_addresses(void **unused)
{
	static const char *const locals[] = {
		";sleep 66;", "$(id)", "${run{/bin/sh}}", "`id`", "|id", "|/bin/sh -c id", "/etc/passwd", "../../etc/passwd",
		"() { :;}; /bin/id", ":include:/etc/passwd", "\"|id\"", "\";sleep 66;\"", "\"$(id)\"", "\"a\\\"", "a\\", "\"\"",
		"bob\r\nRCPT TO:<eve@b.example>", "bob\n", "bob\0", "bob\x1b[2J", "\xe2\x80\xa8\x62ob", "bob\xc2\x85", "%n%n%n%n", "%s%s",
		"bob@b.example,eve", "<bob", "bob>", "bob,eve", "bob eve", "eve%other.example", "other.example!eve", "-fbob", "-oQ/tmp",
		".bob", "bob.", "b..ob", "@", "@@", "*", "?", "bob\t", " bob", "bob ", "''", "a'b", "a\"b", "(bob)bob", "bob(x)", "\\|id",
	};

	(void)unused;
	for (size_t i = 0; i < LEN(locals); i++) {
		struct smtp_session s;
		struct buf out;
		char line[300];

		begin(&s, SMTP_SERVICE_SMTP);
		buf_init(&out, 10000);
		(void)say(&s, SLICE("EHLO c"), &out);
		(void)snprintf(line, sizeof(line), "MAIL FROM:<%s@b.example>", locals[i]);
		(void)say(&s, slice_of(line), &out);
		check_row(i, out.len > 0 && (out.ptr[0] == '2' || out.ptr[0] == '5'));
		check_row(i, slice_find(slice_sub(buf_slice_of(&out), 0, out.len - 2), '\n') == out.len - 2);
		(void)say(&s, SLICE("RSET"), &out);
		(void)say(&s, SLICE("MAIL FROM:<>"), &out);
		(void)snprintf(line, sizeof(line), "RCPT TO:<%s@b.example>", locals[i]);
		(void)say(&s, slice_of(line), &out);
		/* "bob\0" ends the C string at bob, and is covered by the next test. */
		if (strcmp(locals[i], "bob") != 0)
			check_row(i, out.ptr[0] == '5');
		check_row(i, slice_find(slice_sub(buf_slice_of(&out), 0, out.len - 2), '\n') == out.len - 2);
		(void)snprintf(line, sizeof(line), "EHLO %s", locals[i]);
		(void)say(&s, slice_of(line), &out);
		smtp_session_clear(&s);
		buf_clear(&out);
	}
}

/* NUL and other control octets, at every place of every line. */
static void
control_octets(void **unused)
{
	static const char *const lines[] = { "EHLO c.example", "MAIL FROM:<a@a.example> SIZE=1", "RCPT TO:<bob@b.example>", "AUTH PLAIN =" };
	static const char octets[] = { '\0', '\r', '\n', 1, 27, 127 };

	(void)unused;
	for (size_t i = 0; i < LEN(lines); i++) {
		for (size_t at = 0; at <= strlen(lines[i]); at++) {
			for (size_t k = 0; k < sizeof(octets); k++) {
				struct smtp_session s;
				struct buf out;
				char line[100];
				size_t len = strlen(lines[i]);

				begin(&s, SMTP_SERVICE_SMTP);
				buf_init(&out, 10000);
				(void)say(&s, SLICE("EHLO c"), &out);
				memcpy(line, lines[i], at);
				line[at] = octets[k];
				memcpy(line + at + 1, lines[i] + at, len - at);
				assert_int_equal(say(&s, slice_make(line, len + 1), &out), WANT_LINE);
				assert_memory_equal(out.ptr, "500 5.5.2 ", 10);
				smtp_session_clear(&s);
				buf_clear(&out);
			}
		}
	}
}

static void
too_many(void **unused)
{
	struct smtp_session s;
	struct buf out;
	enum smtp_want want = WANT_LINE;
	int n;

	(void)unused;
	buf_init(&out, 100000);
	/* Recipients: 3 are allowed; what is above is no error of the client's. */
	begin(&s, SMTP_SERVICE_SMTP);
	STEPS(&s, { "EHLO c", "250", WANT_LINE }, { "MAIL FROM:<>", "250", WANT_LINE },
	    { "RCPT TO:<bob@b.example>", "250", WANT_LINE }, { "RCPT TO:<bob@b.example>", "250", WANT_LINE },
	    { "RCPT TO:<postmaster>", "250", WANT_LINE });
	for (n = 0; want == WANT_LINE && n < 2000; n++) {
		want = say(&s, SLICE("RCPT TO:<bob@b.example>"), &out);
		assert_memory_equal(out.ptr, want == WANT_LINE ? "452 4.5.3 " : "421 4.7.0 ", 10);
	}
	assert_int_equal(n, 1001);
	assert_int_equal(s.errors, 0);
	assert_int_equal(s.env.rcpt_n, 2);
	smtp_session_clear(&s);

	/* Errors. */
	begin(&s, SMTP_SERVICE_SMTP);
	for (n = 1, want = WANT_LINE; want == WANT_LINE && n < 100; n++)
		want = say(&s, SLICE(""), &out);
	assert_int_equal(n, 21);
	assert_int_equal(want, WANT_CLOSE);
	assert_non_null(strstr(buf_cstr(&out), "\r\n421 4.7.0 mx.b.example Error: too many errors\r\n"));
	smtp_session_clear(&s);

	/* Harmless commands without end. */
	begin(&s, SMTP_SERVICE_SMTP);
	for (n = 0, want = WANT_LINE; want == WANT_LINE && n < 1000; n++)
		want = say(&s, SLICE("NOOP"), &out);
	assert_int_equal(n, 120);
	smtp_session_clear(&s);

	/* A line that is too long. */
	begin(&s, SMTP_SERVICE_SMTP);
	buf_reset(&out);
	assert_int_equal(smtp_session_long_line(&s, &out), WANT_LINE);
	assert_memory_equal(out.ptr, "500 5.5.2 ", 10);
	smtp_session_clear(&s);
	buf_clear(&out);
}

static void
running_ahead(void **unused)
{
	static const struct { const char *before, *line; bool esmtp, refused; } row[] = {
		{ NULL, "EHLO c", false, true },
		{ NULL, "HELO c", false, true },
		{ NULL, "NOOP", false, true },
		{ "HELO c", "MAIL FROM:<>", false, true },
		{ "EHLO c", "MAIL FROM:<>", true, false },
		{ "EHLO c", "EHLO c", true, true },
		{ "EHLO c", "STARTTLS", true, true },
		{ "EHLO c", "RSET", true, false },
		{ "EHLO c", "QUIT", true, false },
		{ "EHLO c", "DATA", true, true },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct smtp_session s;
		struct buf out;
		enum smtp_want want;

		begin(&s, SMTP_SERVICE_SMTP);
		buf_init(&out, 10000);
		if (row[i].before != NULL)
			(void)say(&s, slice_of(row[i].before), &out);
		buf_reset(&out);
		want = smtp_session_line(&s, slice_of(row[i].line), true, false, &out);
		check_row(i, (world.improper[0] != '\0') == row[i].refused);
		check_row(i, (strncmp(buf_cstr(&out), "554 5.5.0 ", 10) == 0) == row[i].refused);
		check_row(i, !row[i].refused || want == WANT_CLOSE);
		smtp_session_clear(&s);
		buf_clear(&out);
	}
}

static void
browsers_and_bare_newlines(void **unused)
{
	struct smtp_session s;
	struct buf out;

	(void)unused;
	begin(&s, SMTP_SERVICE_SMTP);
	buf_init(&out, 1000);
	assert_int_equal(smtp_session_line(&s, SLICE("GET / HTTP/1.1"), true, false, &out), WANT_CLOSE);
	assert_memory_equal(out.ptr, "554", 3);
	assert_string_equal(world.foreign, "GET / HTTP/1.1");
	smtp_session_clear(&s);
	begin(&s, SMTP_SERVICE_SMTP);
	buf_reset(&out);
	assert_int_equal(smtp_session_line(&s, SLICE("EHLO c"), false, true, &out), WANT_CLOSE);
	assert_memory_equal(out.ptr, "521 5.5.2 ", 10);
	smtp_session_clear(&s);
	buf_clear(&out);
}

/* ---- TLS and AUTH ---- */

static void
starttls_forgets_all(void **unused)
{
	struct smtp_session s;

	(void)unused;
	begin(&s, SMTP_SERVICE_SMTP);
	STEPS(&s, { "EHLO c.example", "250", WANT_LINE }, { "MAIL FROM:<>", "250", WANT_LINE },
	    { "STARTTLS x", "501", WANT_LINE }, { "STARTTLS", "220 2.0.0 ", WANT_TLS });
	smtp_session_secured(&s);
	assert_int_equal(smtp_session_helo(&s).len, 0);
	STEPS(&s, { "RCPT TO:<bob@b.example>", "503", WANT_LINE }, { "MAIL FROM:<>", "503", WANT_LINE },
	    { "EHLO c.example", "250-mx.b.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-AUTH PLAIN LOGIN\r\n"
	      "250-ENHANCEDSTATUSCODES\r\n250 8BITMIME\r\n", WANT_LINE },
	    { "STARTTLS", "554 5.5.1 ", WANT_LINE });
	assert_string_equal(smtp_session_with(&s), "ESMTPS");
	smtp_session_clear(&s);
}

static void
no_auth_without_tls(void **unused)
{
	struct smtp_session s;

	(void)unused;
	for (enum smtp_service service = SMTP_SERVICE_SMTP; service <= SMTP_SERVICE_SUBMISSION; service++) {
		begin(&s, service);
		STEPS(&s, { "EHLO c", "250", WANT_LINE }, { "AUTH PLAIN AGJvYgBwdw==", "538 5.7.11 ", WANT_LINE },
		    { "AUTH LOGIN", "538 5.7.11 ", WANT_LINE });
		smtp_session_clear(&s);
	}
	begin(&s, SMTP_SERVICE_LMTP);
	s.tls = true;
	STEPS(&s, { "LHLO c", "250", WANT_LINE }, { "AUTH PLAIN AGJvYgBwdw==", "500", WANT_LINE });
	smtp_session_clear(&s);
}

static void
ways_to_log_in(void **unused)
{
	static const struct { const char *line[3]; bool asked; const char *last; } row[] = {
		{ { "AUTH PLAIN AGJvYgBwdw==" }, true, NULL },
		{ { "auth plain", "AGJvYgBwdw==" }, true, NULL },
		{ { "AUTH PLAIN Ym9iAGJvYgBwdw==" }, true, NULL },
		{ { "AUTH LOGIN", "Ym9i", "cHc=" }, true, NULL },
		{ { "AUTH LOGIN Ym9i", "cHc=" }, true, NULL },
		{ { "AUTH PLAIN", "*" }, false, "501 5.7.0 " },
		{ { "AUTH LOGIN", "*" }, false, "501 5.7.0 " },
		{ { "AUTH LOGIN Ym9i", "*" }, false, "501 5.7.0 " },
		{ { "AUTH PLAIN =" }, false, "501 5.5.2 " },
		{ { "AUTH PLAIN AGJvYgBwdw" }, false, "501 5.5.2 " },
		{ { "AUTH PLAIN !!!!" }, false, "501 5.5.2 " },
		{ { "AUTH PLAIN ZXZlAGJvYgBwdw==" }, false, "501 5.5.2 " },	/* as eve with bob's password */
		{ { "AUTH PLAIN AGJvYgA=" }, false, "501 5.5.2 " },
		{ { "AUTH LOGIN =" }, false, "501 5.5.2 " },
		{ { "AUTH LOGIN Ym9i", "" }, false, "501 5.5.2 " },
		{ { "AUTH LOGIN YgBv", NULL }, false, "501 5.5.2 " },
		{ { "AUTH CRAM-MD5" }, false, "504 5.5.4 " },
		{ { "AUTH" }, false, "501 5.5.4 " },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct smtp_session s;
		struct buf out;
		enum smtp_want want = WANT_LINE;

		begin(&s, SMTP_SERVICE_SUBMISSION);
		smtp_session_secured(&s);
		buf_init(&out, 10000);
		(void)say(&s, SLICE("EHLO c"), &out);
		for (size_t k = 0; k < 3 && row[i].line[k] != NULL; k++)
			want = say(&s, slice_of(row[i].line[k]), &out);
		check_row(i, (want == WANT_AUTH) == row[i].asked);
		if (row[i].asked) {
			check_row(i, slice_is(smtp_session_user(&s), "bob"));
			check_row(i, slice_is(smtp_session_password(&s), "pw"));
			buf_reset(&out);
			(void)smtp_session_authenticated(&s, OK, SLICE("bob@b.example"), &out);
			check_row(i, strncmp(buf_cstr(&out), "235 2.7.0 ", 10) == 0);
			check_row(i, s.secret.ptr == NULL);
			check_row(i, s.count[VERB_AUTH].ok == 1);
		} else {
			check_row(i, strncmp(buf_cstr(&out), row[i].last, strlen(row[i].last)) == 0);
			check_row(i, s.sasl == SASL_NONE && s.secret.ptr == NULL);
		}
		smtp_session_clear(&s);
		buf_clear(&out);
	}
}

static void
login_decides_what_may_be_sent(void **unused)
{
	struct smtp_session s;
	struct buf out;

	(void)unused;
	buf_init(&out, 10000);
	begin(&s, SMTP_SERVICE_SUBMISSION);
	STEPS(&s, { "EHLO c", "250", WANT_LINE }, { "MAIL FROM:<bob@b.example>", "530 5.7.0 Must issue a STARTTLS", WANT_LINE });
	smtp_session_secured(&s);
	STEPS(&s, { "EHLO c", "250", WANT_LINE }, { "MAIL FROM:<bob@b.example>", "530 5.7.0 Auth", WANT_LINE },
	    { "AUTH PLAIN AGJvYgBwdw==", NULL, WANT_AUTH });
	assert_int_equal(smtp_session_authenticated(&s, PERM, SLICE(""), &out), WANT_LINE);
	assert_memory_equal(out.ptr, "535 5.7.8 ", 10);
	assert_int_equal(s.auth_failures, 1);
	buf_reset(&out);
	STEPS(&s, { "AUTH PLAIN AGJvYgBwdw==", NULL, WANT_AUTH });
	(void)smtp_session_authenticated(&s, TEMP, SLICE(""), &out);
	assert_memory_equal(out.ptr, "454 4.7.0 ", 10);
	STEPS(&s, { "MAIL FROM:<bob@b.example>", "530", WANT_LINE }, { "AUTH PLAIN AGJvYgBwdw==", NULL, WANT_AUTH });
	buf_reset(&out);
	(void)smtp_session_authenticated(&s, OK, SLICE("bob@b.example"), &out);
	STEPS(&s,
		{ "AUTH PLAIN AGJvYgBwdw==", "503", WANT_LINE },
		{ "MAIL FROM:<eve@b.example>", "553 5.7.1 <eve@b.example>: ", WANT_LINE },
		{ "MAIL FROM:<>", "250", WANT_LINE },
		{ "AUTH LOGIN", "503", WANT_LINE },
		{ "RSET", "250", WANT_LINE },
		{ "MAIL FROM:<bob@b.example>", "250", WANT_LINE },
		{ "RCPT TO:<x@other.example>", "250", WANT_LINE },
		{ "RCPT TO:<eve@b.example>", "550 5.1.1 ", WANT_LINE },
		{ "DATA", NULL, WANT_QUEUE },
	);
	assert_string_equal(smtp_session_with(&s), "ESMTPSA");
	smtp_session_clear(&s);
	buf_clear(&out);
}

static void
lmtp_answers_for_each_recipient(void **unused)
{
	struct smtp_session s;
	struct buf out;

	(void)unused;
	begin(&s, SMTP_SERVICE_LMTP);
	buf_init(&out, 10000);
	smtp_session_greet(&s, &out);
	assert_string_equal(buf_cstr(&out), "220 mx.b.example LMTP Pennypost\r\n");
	STEPS(&s,
		{ "EHLO c", "500", WANT_LINE }, { "HELO c", "500", WANT_LINE }, { "LHLO c", "250", WANT_LINE },
		{ "MAIL FROM:<a@a.example>", "250", WANT_LINE },
		{ "RCPT TO:<bob@b.example>", "250", WANT_LINE },
		{ "RCPT TO:<eve@b.example>", "550", WANT_LINE },
		{ "RCPT TO:<x@other.example>", "554", WANT_LINE },
		{ "RCPT TO:<bob@b.example>", "250", WANT_LINE },	/* again: owed a reply of its own */
		{ "DATA", NULL, WANT_QUEUE });
	(void)smtp_session_start_data(&s, OK, &out);
	buf_reset(&out);
	(void)smtp_session_data_done(&s, FAULT_NONE, OK, false, (struct qid){ 1 }, &out);
	assert_string_equal(buf_cstr(&out), "250 2.0.0 Ok: queued as 00000000001\r\n250 2.0.0 Ok: queued as 00000000001\r\n");
	STEPS(&s, { "MAIL FROM:<a@a.example>", "250", WANT_LINE }, { "RCPT TO:<bob@b.example>", "250", WANT_LINE },
	    { "RCPT TO:<postmaster>", "250", WANT_LINE }, { "DATA", NULL, WANT_QUEUE });
	(void)smtp_session_start_data(&s, OK, &out);
	buf_reset(&out);
	(void)smtp_session_data_done(&s, FAULT_NONE, TEMP, false, (struct qid){ 1 }, &out);
	assert_non_null(strstr(strstr(buf_cstr(&out), "451") + 1, "\r\n451"));
	assert_string_equal(smtp_session_with(&s), "LMTP");
	smtp_session_clear(&s);
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verbs_come_in_order),
		cmocka_unit_test(a_message_from_data_to_250),
		cmocka_unit_test(what_becomes_of_refused_content),
		cmocka_unit_test(queue_is_away),
		cmocka_unit_test(mail_parameters),
		cmocka_unit_test(hostile_addresses),
		cmocka_unit_test(control_octets),
		cmocka_unit_test(too_many),
		cmocka_unit_test(running_ahead),
		cmocka_unit_test(browsers_and_bare_newlines),
		cmocka_unit_test(starttls_forgets_all),
		cmocka_unit_test(no_auth_without_tls),
		cmocka_unit_test(ways_to_log_in),
		cmocka_unit_test(login_decides_what_may_be_sent),
		cmocka_unit_test(lmtp_answers_for_each_recipient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
