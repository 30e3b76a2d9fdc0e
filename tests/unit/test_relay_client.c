/* relay: replies, the dialogue, and content on its way out. */
#include "check.h"

#include <stdio.h>
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

/* From the greeting to the first mail, or to the reason why there is none. */
static void
hellos(void **unused)
{
	static const struct client_setup may = { .hostname = "m", .tls = CLIENT_TLS_MAY };
	static const struct client_setup never = { .hostname = "m", .tls = CLIENT_TLS_NEVER };
	static const struct client_setup must = { .hostname = "m", .tls = CLIENT_TLS_MUST };
	static const struct client_setup user = { .hostname = "m", .tls = CLIENT_TLS_MAY, .user = "u", .password = "p" };
	static const struct {
		const struct client_setup *setup;
		bool	    tls, no_tls;	/* TLS from the start; STARTTLS failed before */
		const char *lines;		/* from the server, with '\n' */
		const char *out;
		enum client_want want;		/* in the end */
		const char *reply;		/* then */
	} row[] = {
		{ &may, false, false, "220 hi\n250 mx\n", "EHLO m\r\n", CLIENT_IDLE, "250 mx" },
		{ &may, false, false, "554 5.7.1 go away\n", "", CLIENT_FAILED, "554 5.7.1 go away" },
		{ &may, false, false, "hello\n", "", CLIENT_FAILED, "451 4.5.0 the server's reply was no SMTP" },
		{ &may, false, false, "220 hi\n421 busy\n", "EHLO m\r\n", CLIENT_FAILED, "421 busy" },
		{ &may, false, false, "220 hi\n502 what\n250 mx\n", "EHLO m\r\nHELO m\r\n", CLIENT_IDLE, "250 mx" },
		{ &may, false, false, "220 hi\n502 what\n550 no\n", "EHLO m\r\nHELO m\r\n", CLIENT_FAILED, "550 no" },
		{ &must, false, false, "220 hi\n502 what\n", "EHLO m\r\n", CLIENT_FAILED, "502 what" },
		{ &user, false, false, "220 hi\n502 what\n", "EHLO m\r\n", CLIENT_FAILED, "502 what" },
		{ &never, false, false, "220 hi\n250-mx\n250 STARTTLS\n", "EHLO m\r\n", CLIENT_IDLE, "250 mx STARTTLS" },
		{ &may, false, true, "220 hi\n250-mx\n250 STARTTLS\n", "EHLO m\r\n", CLIENT_IDLE, "250 mx STARTTLS" },
		{ &may, false, false, "220 hi\n250-mx\n250 STARTTLS\n", "EHLO m\r\nSTARTTLS\r\n", CLIENT_MORE, "250 mx STARTTLS" },
		{ &may, false, false, "220 hi\n250-mx\n250 STARTTLS\n454 no\n", "EHLO m\r\nSTARTTLS\r\n", CLIENT_IDLE, "454 no" },
		{ &must, false, false, "220 hi\n250-mx\n250 STARTTLS\n454 no\n", "EHLO m\r\nSTARTTLS\r\n", CLIENT_FAILED, "454 no" },
		{ &must, false, false, "220 hi\n250 mx\n", "EHLO m\r\n", CLIENT_FAILED,
		    "454 4.7.4 TLS is required, but the server does not offer it" },
		/* The password travels under TLS alone. */
		{ &user, false, false, "220 hi\n250-mx\n250 AUTH PLAIN\n", "EHLO m\r\n", CLIENT_FAILED,
		    "454 4.7.0 the server offers no TLS: not logging in" },
		{ &user, false, false, "220 hi\n250-mx\n250-STARTTLS\n250 AUTH PLAIN\n454 no\n", "EHLO m\r\nSTARTTLS\r\n",
		    CLIENT_FAILED, "454 4.7.0 the server offers no TLS: not logging in" },
		{ &user, true, false, "220 hi\n250-mx\n250 AUTH PLAIN\n235 ok\n", "EHLO m\r\nAUTH PLAIN AHUAcA==\r\n",
		    CLIENT_IDLE, "235 ok" },
		{ &user, true, false, "220 hi\n250-mx\n250 AUTH PLAIN\n535 no\n", "EHLO m\r\nAUTH PLAIN AHUAcA==\r\n",
		    CLIENT_FAILED, "535 no" },
		{ &user, true, false, "220 hi\n250-mx\n250 AUTH PLAIN\n250 well\n", "EHLO m\r\nAUTH PLAIN AHUAcA==\r\n",
		    CLIENT_FAILED, "250 well" },
		{ &user, true, false, "220 hi\n250-mx\n250 AUTH CRAM-MD5 login\n334 VXNlcjo=\n334 UGFzczo=\n235 ok\n",
		    "EHLO m\r\nAUTH LOGIN\r\ndQ==\r\ncA==\r\n", CLIENT_IDLE, "235 ok" },
		{ &user, true, false, "220 hi\n250-mx\n250 AUTH LOGIN\n535 no\n", "EHLO m\r\nAUTH LOGIN\r\n", CLIENT_FAILED, "535 no" },
		{ &user, true, false, "220 hi\n250-mx\n250 AUTH LOGIN\n334 x\n535 no\n", "EHLO m\r\nAUTH LOGIN\r\ndQ==\r\n",
		    CLIENT_FAILED, "535 no" },
		{ &user, true, false, "220 hi\n250-mx\n250 AUTH CRAM-MD5\n", "EHLO m\r\n", CLIENT_FAILED,
		    "454 4.7.0 the server offers neither AUTH PLAIN nor LOGIN" },
		{ &may, false, false, "220 hi\n250 mx\n421 bye\n", "EHLO m\r\n", CLIENT_FAILED, "421 bye" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		enum client_want want = CLIENT_MORE;
		struct slice lines = slice_of(row[i].lines);
		struct smtp_client c;
		struct buf out;

		buf_init(&out, 4096);
		smtp_client_init(&c, row[i].setup, row[i].tls);
		c.no_tls = row[i].no_tls;
		while (lines.len > 0)
			want = smtp_client_line(&c, slice_cut(&lines, '\n'), &out);
		check_row(i, want == row[i].want && strcmp(buf_cstr(&out), row[i].out) == 0);
		check_row(i, strcmp(c.reply.text, row[i].reply) == 0);
		buf_clear(&out);
	}
}

/* A mail for a@ and b@: what goes out, and what each is told. */
static void
mails(void **unused)
{
#define TO_BOTH "RCPT TO:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
#define MAIL_A "MAIL FROM:<s@y.example>\r\nRCPT TO:<a@x.example>\r\n"
	static const struct {
		const char *ehlo;		/* its keywords, with '\n' */
		bool	    body_8bit;
		const char *lines, *out;
		enum client_want want;		/* in the end */
		unsigned    code[2];
		const char *command[2];
	} row[] = {
		{ "", true, "250 ok\n250 ok\n250 ok\n354 go\n250 done\n", MAIL_A "RCPT TO:<b@x.example>\r\nDATA\r\n",
		    CLIENT_MAIL_DONE, { 250, 250 }, { "end of DATA", "end of DATA" } },
		{ "", false, "250 ok\n250 ok\n250 ok\n354 go\n451 later\n", MAIL_A "RCPT TO:<b@x.example>\r\nDATA\r\n",
		    CLIENT_MAIL_DONE, { 451, 451 }, { "end of DATA", "end of DATA" } },
		{ "", false, "250 ok\n450 busy\n250 ok\n354 go\n554 spam\n", MAIL_A "RCPT TO:<b@x.example>\r\nDATA\r\n",
		    CLIENT_MAIL_DONE, { 450, 554 }, { "RCPT TO", "end of DATA" } },
		{ "", false, "250 ok\n250 ok\n250 ok\n452 full\n250 reset\n", MAIL_A "RCPT TO:<b@x.example>\r\nDATA\r\nRSET\r\n",
		    CLIENT_MAIL_DONE, { 452, 452 }, { "DATA", "DATA" } },
		{ "", false, "250 ok\n250 ok\n250 ok\n250 what\n", MAIL_A "RCPT TO:<b@x.example>\r\nDATA\r\n",
		    CLIENT_FAILED, { 451, 451 }, { "DATA", "DATA" } },
		{ "", false, "250 ok\n550 no\n450 no\n250 reset\n", MAIL_A "RCPT TO:<b@x.example>\r\nRSET\r\n",
		    CLIENT_MAIL_DONE, { 550, 450 }, { "RCPT TO", "RCPT TO" } },
		{ "", false, "421 4.3.2 slow\n250 reset\n", "MAIL FROM:<s@y.example>\r\nRSET\r\n",
		    CLIENT_MAIL_DONE, { 421, 421 }, { "MAIL FROM", "MAIL FROM" } },
		{ "PIPELINING\n", false, "552 big\n503 no\n503 no\n503 no\n250 reset\n", "MAIL FROM:<s@y.example>\r\n" TO_BOTH "DATA\r\nRSET\r\n",
		    CLIENT_MAIL_DONE, { 552, 552 }, { "MAIL FROM", "MAIL FROM" } },
		{ "PIPELINING\n", false, "250 ok\n250 ok\n550 no\n354 go\n250 done\n", "MAIL FROM:<s@y.example>\r\n" TO_BOTH "DATA\r\n",
		    CLIENT_MAIL_DONE, { 250, 550 }, { "end of DATA", "RCPT TO" } },
		/* What the server announced. */
		{ "SIZE\n8BITMIME\n", true, "550 no\n250 reset\n", "MAIL FROM:<s@y.example> SIZE=1000 BODY=8BITMIME\r\nRSET\r\n",
		    CLIENT_MAIL_DONE, { 550, 550 }, { "MAIL FROM", "MAIL FROM" } },
		{ "SIZE 0\n8BITMIME\n", false, "550 no\n250 reset\n", "MAIL FROM:<s@y.example> SIZE=1000\r\nRSET\r\n",
		    CLIENT_MAIL_DONE, { 550, 550 }, { "MAIL FROM", "MAIL FROM" } },
		{ "SIZE 1000\n", true, "550 no\n250 reset\n", "MAIL FROM:<s@y.example> SIZE=1000\r\nRSET\r\n",
		    CLIENT_MAIL_DONE, { 550, 550 }, { "MAIL FROM", "MAIL FROM" } },
		{ "SIZE 999\n", false, "", "", CLIENT_MAIL_DONE, { 552, 552 }, { "EHLO", "EHLO" } },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct slice lines = slice_of(row[i].lines), ehlo = slice_of(row[i].ehlo);
		struct client_rcpt r[2] = { { .addr = SLICE("a@x.example") }, { .addr = SLICE("b@x.example") } };
		struct client_mail m = { .sender = SLICE("s@y.example"), .size = 1000, .body_8bit = row[i].body_8bit, .rcpt = r, .n = 2 };
		enum client_want want;
		struct smtp_client c;
		char line[100];
		struct buf out;

		buf_init(&out, 4096);
		smtp_client_init(&c, &plain, false);
		(void)smtp_client_line(&c, SLICE("220 hi"), &out);
		(void)smtp_client_line(&c, SLICE("250-mx"), &out);
		while (ehlo.len > 0) {
			struct slice word = slice_cut(&ehlo, '\n');

			(void)snprintf(line, sizeof(line), "250-%.*s", (int)word.len, word.ptr);
			(void)smtp_client_line(&c, slice_of(line), &out);
		}
		check_row(i, smtp_client_line(&c, SLICE("250 HELP"), &out) == CLIENT_IDLE);
		buf_reset(&out);
		want = smtp_client_mail(&c, &m, &out);
		while (lines.len > 0)
			want = smtp_client_line(&c, slice_cut(&lines, '\n'), &out);
		check_row(i, want == row[i].want && strcmp(buf_cstr(&out), row[i].out) == 0);
		for (size_t k = 0; k < 2; k++) {
			check_row(i, r[k].done && r[k].reply.code == row[i].code[k]);
			check_row(i, strcmp(r[k].command, row[i].command[k]) == 0);
		}
		buf_clear(&out);
	}
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
		cmocka_unit_test(pipelined), cmocka_unit_test(tls_and_login), cmocka_unit_test(hellos), cmocka_unit_test(mails),
		cmocka_unit_test(body_out),
		cmocka_unit_test(long_lines_are_folded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
