/* relay: replies, the dialogue, and content on its way out. */
#include "check.h"

#include <string.h>

#include "relay/smtp_body.h"
#include "relay/smtp_client.h"

static void
replies(void **unused)
{
	static const struct { const char *line; enum reply_step step; const char *dsn; } row[] = {
		{ "250 2.1.5 Ok", REPLY_DONE, "2.1.5" },	{ "250-more", REPLY_MORE, "2.0.0" },
		{ "250", REPLY_DONE, "2.0.0" },			{ "550 5.1.1 No such user", REPLY_DONE, "5.1.1" },
		{ "550 4.1.1 wrong class", REPLY_DONE, "5.0.0" }, { "451 4.7.1234 x", REPLY_DONE, "4.0.0" },
		{ "354 go", REPLY_DONE, "2.0.0" },		{ "199 x", REPLY_BROKEN, "" },
		{ "600 x", REPLY_BROKEN, "" },			{ "25", REPLY_BROKEN, "" },
		{ "", REPLY_BROKEN, "" },			{ "250x", REPLY_BROKEN, "" },
		{ "abc def", REPLY_BROKEN, "" },		{ "421 4.3.2\x01\xff", REPLY_DONE, "4.0.0" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct smtp_reply r;
		struct slice keyword;
		char dsn[16];

		smtp_reply_init(&r);
		check_row(i, smtp_reply_line(&r, slice_of(row[i].line), &keyword) == row[i].step);
		if (row[i].step == REPLY_BROKEN)
			continue;
		smtp_reply_dsn(&r, dsn);
		check_row(i, strcmp(dsn, row[i].dsn) == 0);
		for (size_t k = 0; k < r.len; k++)
			check_row(i, r.text[k] >= ' ' && r.text[k] <= '~');
	}
}

/* A reply of a million lines, and one of two codes, is no reply. */
static void
endless_reply(void **unused)
{
	struct smtp_reply r;
	struct slice keyword;
	int n = 0;

	(void)unused;
	smtp_reply_init(&r);
	while (smtp_reply_line(&r, SLICE("250-x"), &keyword) == REPLY_MORE)
		n++;
	assert_int_equal(n, REPLY_LINES_MAX);
	smtp_reply_init(&r);
	assert_int_equal(smtp_reply_line(&r, SLICE("250-x"), &keyword), REPLY_MORE);
	assert_int_equal(smtp_reply_line(&r, SLICE("550 x"), &keyword), REPLY_BROKEN);
}

/* One step of a conversation: what the server says, what is wanted, what goes out. */
struct step {
	const char		*line;
	enum client_want	 want;
	const char		*out;
};

static void
converse(struct smtp_client *c, const struct step *steps, size_t n)
{
	struct buf out;

	buf_init(&out, 65536);
	for (size_t i = 0; i < n; i++) {
		enum client_want want;

		buf_reset(&out);
		want = smtp_client_line(c, slice_of(steps[i].line), &out);
		if (want != steps[i].want || strcmp(buf_cstr(&out), steps[i].out) != 0)
			fail_msg("step %zu: want %d, out \"%s\"", i, (int)want, buf_cstr(&out));
	}
	buf_clear(&out);
}

static void
begin_mail(struct smtp_client *c, struct client_mail *m, struct client_rcpt *r, size_t n, const char *out_want)
{
	struct buf out;

	for (size_t i = 0; i < n; i++)
		r[i] = (struct client_rcpt){ .addr = slice_of(i == 0 ? "a@x.example" : "b@x.example") };
	*m = (struct client_mail){ .sender = slice_of("s@y.example"), .size = 1000, .rcpt = r, .n = n };
	buf_init(&out, 65536);
	assert_int_equal(smtp_client_mail(c, m, &out), CLIENT_MORE);
	assert_string_equal(buf_cstr(&out), out_want);
	buf_clear(&out);
}

static const struct client_setup plain = { .hostname = "me.example", .tls = CLIENT_TLS_MAY };

static void
one_by_one(void **unused)
{
	static const struct step hello[] = {
		{ "220-mx", CLIENT_MORE, "" },
		{ "220 ready", CLIENT_MORE, "EHLO me.example\r\n" },
		{ "250-mx", CLIENT_MORE, "" },
		{ "250 SIZE 1000", CLIENT_IDLE, "" },
	};
	static const struct step mail[] = {
		{ "250 ok", CLIENT_MORE, "RCPT TO:<a@x.example>\r\n" },
		{ "550 5.1.1 no", CLIENT_MORE, "RCPT TO:<b@x.example>\r\n" },
		{ "250 ok", CLIENT_MORE, "DATA\r\n" },
		{ "354 go", CLIENT_BODY, "" },
		{ "250 2.0.0 queued as 1", CLIENT_MAIL_DONE, "" },
	};
	struct smtp_client c;
	struct client_mail m;
	struct client_rcpt r[2];

	(void)unused;
	smtp_client_init(&c, &plain, false);
	converse(&c, hello, LEN(hello));
	begin_mail(&c, &m, r, 2, "MAIL FROM:<s@y.example> SIZE=1000\r\n");
	converse(&c, mail, LEN(mail));
	assert_true(r[0].done && r[0].reply.code == 550 && strcmp(r[0].command, "RCPT TO") == 0);
	assert_true(r[1].done && r[1].reply.code == 250 && strcmp(r[1].reply.text, "250 2.0.0 queued as 1") == 0);
}

static void
pipelined(void **unused)
{
	static const struct step hello[] = {
		{ "220 ready", CLIENT_MORE, "EHLO me.example\r\n" },
		{ "250-mx", CLIENT_MORE, "" },
		{ "250 PIPELINING", CLIENT_IDLE, "" },
	};
	/* Nobody is taken, yet DATA was: an empty message that goes nowhere. */
	static const struct step mail[] = {
		{ "250 ok", CLIENT_MORE, "" },
		{ "450 4.2.1 later", CLIENT_MORE, "" },
		{ "550 5.1.1 no", CLIENT_MORE, "" },
		{ "354 go", CLIENT_MORE, ".\r\n" },
		{ "554 no valid recipients", CLIENT_MAIL_DONE, "" },
	};
	struct smtp_client c;
	struct client_mail m;
	struct client_rcpt r[2];

	(void)unused;
	smtp_client_init(&c, &plain, false);
	converse(&c, hello, LEN(hello));
	begin_mail(&c, &m, r, 2, "MAIL FROM:<s@y.example>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n");
	converse(&c, mail, LEN(mail));
	assert_int_equal(r[0].reply.code, 450);
	assert_int_equal(r[1].reply.code, 550);
}

static void
tls_and_login(void **unused)
{
	static const struct client_setup setup = { .hostname = "me.example", .tls = CLIENT_TLS_MUST, .user = "u", .password = "p" };
	static const struct step before[] = {
		{ "220 ready", CLIENT_MORE, "EHLO me.example\r\n" },
		{ "250-mx", CLIENT_MORE, "" },
		{ "250-STARTTLS", CLIENT_MORE, "" },
		{ "250 AUTH LOGIN PLAIN", CLIENT_MORE, "STARTTLS\r\n" },
		{ "220 go", CLIENT_STARTTLS, "" },
	};
	static const struct step after[] = {
		{ "250-mx", CLIENT_MORE, "" },
		{ "250 AUTH PLAIN", CLIENT_MORE, "AUTH PLAIN AHUAcA==\r\n" },
		{ "235 2.7.0 ok", CLIENT_IDLE, "" },
	};
	static const struct step none[] = {
		{ "220 ready", CLIENT_MORE, "EHLO me.example\r\n" },
		{ "250 mx", CLIENT_FAILED, "" },	/* no STARTTLS: the password is not sent */
	};
	struct smtp_client c;
	struct buf out;

	(void)unused;
	smtp_client_init(&c, &setup, false);
	converse(&c, before, LEN(before));
	/* A reply that was injected before the handshake is not taken (CVE-2021-38371). */
	buf_init(&out, 1000);
	smtp_client_tls_done(&c, &out);
	assert_string_equal(buf_cstr(&out), "EHLO me.example\r\n");
	assert_false(c.auth_login || c.starttls);	/* forgotten */
	buf_clear(&out);
	converse(&c, after, LEN(after));
	smtp_client_init(&c, &setup, false);
	converse(&c, none, LEN(none));
	assert_memory_equal(c.reply.text, "454 4.7.4", 9);
}

static void
body_out(void **unused)
{
	static const struct { const char *in, *out; } row[] = {
		{ "", ".\r\n" },				{ "a", "a\r\n.\r\n" },
		{ "a\r\n", "a\r\n.\r\n" },			{ "a\nb\n", "a\r\nb\r\n.\r\n" },
		{ ".\r\n", "..\r\n.\r\n" },			{ "..a\r\n", "...a\r\n.\r\n" },
		{ "a\r.\r\n", "a .\r\n.\r\n" },			{ "a\n.\nb", "a\r\n..\r\nb\r\n.\r\n" },
		{ "a\r\r\n", "a \r\n.\r\n" },			{ "a\r", "a\r\n.\r\n" },
		{ "a\r\n.\r\nMAIL FROM:<x>\r\n", "a\r\n..\r\nMAIL FROM:<x>\r\n.\r\n" },
	};
	struct buf out;

	(void)unused;
	buf_init(&out, 65536);
	for (size_t i = 0; i < LEN(row); i++) {
		size_t n = strlen(row[i].in);

		for (size_t cut = 0; cut <= n; cut++) {	/* the same however it is cut */
			struct smtp_body b = { 0 };

			buf_reset(&out);
			(void)smtp_body_put(&b, slice_make(row[i].in, cut), &out);
			(void)smtp_body_put(&b, slice_make(row[i].in + cut, n - cut), &out);
			(void)smtp_body_end(&b, &out);
			check_row(i, strcmp(buf_cstr(&out), row[i].out) == 0);
		}
	}
	buf_clear(&out);
}

static void
long_lines_are_folded(void **unused)
{
	static char line[5000];
	struct smtp_body b = { 0 };
	struct buf out;
	struct slice rest;

	(void)unused;
	memset(line, '.', sizeof(line));
	buf_init(&out, 65536);
	(void)smtp_body_put(&b, slice_make(line, sizeof(line)), &out);
	(void)smtp_body_put(&b, slice_make("\0x", 2), &out);
	(void)smtp_body_end(&b, &out);
	rest = buf_slice_of(&out);
	assert_null(memchr(rest.ptr, '\0', rest.len));
	while (rest.len > 0) {
		struct slice one = slice_cut(&rest, '\n');

		assert_true(one.len <= 998 + 2);	/* the stuffed dot and CR */
		assert_true(one.ptr[one.len - 1] == '\r');
	}
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies), cmocka_unit_test(endless_reply), cmocka_unit_test(one_by_one),
		cmocka_unit_test(pipelined), cmocka_unit_test(tls_and_login), cmocka_unit_test(body_out),
		cmocka_unit_test(long_lines_are_folded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
