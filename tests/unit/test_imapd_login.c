/* imapd: cutting octets into commands, and the conversation before login. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imapd/imap_input.h"
#include "imapd/imap_login.h"

/* ---- imap_input ---- */

static const struct imap_input_limits limits = { .line = 100, .literal = 50, .command = 200, .skip = 1000 };

/* What comes of a text: "C[...]" commands, "L" literals (taken), "B" refused ones, "X" closed. */
static void
cut_into_commands(struct imap_input *in, struct slice data, struct buf *out)
{
	for (;;) {
		switch (imap_input_next(in, &data)) {
		case INPUT_MORE:
			return;
		case INPUT_COMMAND:
			(void)buf_fmt(out, "C[%.*s]", (int)in->text.len, in->text.ptr);
			imap_input_reset(in);
			break;
		case INPUT_LITERAL:
			(void)buf_fmt(out, "L%u%s", (unsigned)in->literal.octets, in->literal.nonsync ? "+" : "");
			(void)imap_input_take(in);
			break;
		case INPUT_BAD:
			(void)buf_fmt(out, "B[%s]", in->error);
			imap_input_reset(in);
			break;
		case INPUT_CLOSE:
			(void)buf_text(out, "X");
			return;
		case INPUT_CHUNK:
			fail();
		}
	}
}

#define TEN	"0123456789"
#define FIFTY	TEN TEN TEN TEN TEN

static const struct { const char *data, *events; } input_row[] = {
	{ "a NOOP\r\nb NOOP\n", "C[a NOOP]C[b NOOP]" },
	{ "\r\n\r\n", "C[]C[]" },
	{ "a x {3}\r\nabc {0}\r\n\r\n", "L3L0C[a x {3}\r\nabc {0}\r\n]" },
	{ "a x {3+}\r\n\r\n\r y\r\n", "L3+C[a x {3+}\r\n\r\n\r y]" },
	{ "a x {51}\r\nb NOOP\r\n", "L51B[Literal too large]C[b NOOP]" },
	{ "a x {51+}\r\n" FIFTY "! rest\r\nb NOOP\r\n", "L51+B[Literal too large]C[b NOOP]" },
	{ "a x {51+}\r\n" FIFTY "! {3+}\r\nabc\r\nb NOOP\r\n", "L51+B[Literal too large]C[b NOOP]" },
	{ "a x {51+}\r\n" FIFTY "! {3}\r\nb NOOP\r\n", "L51+B[Literal too large]C[b NOOP]" },
	{ "a x {1001+}\r\n", "L1001+X" },
	{ "a x {4294967296}\r\nb NOOP\r\n", "B[Literal too large]C[b NOOP]" },
	{ "a x {18446744073709551616+}\r\n", "X" },
	{ "a " FIFTY FIFTY "\r\nb NOOP\r\n", "B[Command line too long]C[b NOOP]" },
	{ "a " FIFTY FIFTY " {5+}\r\n12345\r\nb NOOP\r\n", "B[Command line too long]C[b NOOP]" },
	{ "a " FIFTY FIFTY " {5}\r\nb NOOP\r\n", "B[Command line too long]C[b NOOP]" },
	{ "a " FIFTY FIFTY " {1001+}\r\n", "X" },
	{ "a {50}\r\n" FIFTY " {50}\r\n" FIFTY " {50}\r\n" FIFTY " {50}\r\nb NOOP\r\n",
	    "L50L50L50L50B[Literal too large]C[b NOOP]" },
};

static void
input_cut(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < LEN(input_row); i++) {
		struct slice data = slice_of(input_row[i].data);

		/* In one piece, and octet by octet: the same. */
		for (size_t piece = 1; piece <= data.len; piece += piece == 1 ? data.len - 1 : 1) {
			struct imap_input in;
			struct buf out;

			imap_input_init(&in, &limits);
			buf_init(&out, 10000);
			for (size_t at = 0; at < data.len && strchr(buf_cstr(&out), 'X') == NULL; at += piece)
				cut_into_commands(&in, slice_sub(data, at, piece), &out);
			if (strcmp(buf_cstr(&out), input_row[i].events) != 0)
				fail_msg("row %zu, pieces of %zu: %s", i, piece, buf_cstr(&out));
			buf_clear(&out);
			imap_input_clear(&in);
		}
	}
}

static void
input_streams(void **unused)
{
	struct slice data = SLICE("a APPEND x {300+}\r\n" FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY " tail\r\nb NOOP\r\n");
	struct imap_input in;
	size_t octets = 0;

	(void)unused;
	imap_input_init(&in, &limits);
	assert_int_equal(imap_input_next(&in, &data), INPUT_LITERAL);
	imap_input_stream(&in);
	while (imap_input_left(&in) > 0) {
		struct slice some = slice_sub(data, 0, 7);
		size_t before = some.len;

		assert_int_equal(imap_input_next(&in, &some), INPUT_CHUNK);
		octets += in.chunk.len;
		data = slice_sub(data, before - some.len, data.len);
	}
	assert_int_equal(octets, 300);
	assert_int_equal(imap_input_next(&in, &data), INPUT_COMMAND);
	assert_true(slice_is(slice_sub(buf_slice_of(&in.text), in.line_at, in.text.len), " tail"));
	imap_input_reset(&in);
	assert_int_equal(imap_input_next(&in, &data), INPUT_COMMAND);
	imap_input_clear(&in);
}

/* ---- before login ---- */

static const struct login_facts plain = { .starttls = true, .hostname = "mail.example" };
static const struct login_facts tls = { .tls = true, .hostname = "mail.example" };

/* All that comes of a text: replies; "!" an error, "T" STARTTLS, "Q" close, "A<method user password tag>". */
static void
talk(void *state, struct slice data, struct buf *out)
{
	for (;;) {
		struct login_step step = { .out = out };
		size_t n = imap_login_proto.input(state, data, &step);

		data = slice_sub(data, n, data.len);
		if (step.error)
			(void)buf_char(out, '!');
		if (step.want == LOGIN_WANT_AUTH) {
			const struct login_auth *a = &step.auth;

			(void)buf_fmt(out, "A<%s %.*s %.*s %.*s>", a->method, (int)a->user.len, a->user.ptr,
			    (int)a->password.len, a->password.ptr, (int)a->greeting.len, a->greeting.ptr);
			step = (struct login_step){ .out = out };
			imap_login_proto.answer(state, PERM, AUTH_REASON_CREDENTIALS, &step);
		} else if (step.want != LOGIN_WANT_INPUT) {
			(void)buf_char(out, step.want == LOGIN_WANT_STARTTLS ? 'T' : 'Q');
			return;
		}
		if (n == 0)
			return;
	}
}

#define PRIVACY_TEXT " [PRIVACYREQUIRED] Not without TLS: use STARTTLS or port 993\r\n"
#define PRIVACY	" NO" PRIVACY_TEXT "!"
#define FAILED	" NO [AUTHENTICATIONFAILED] Authentication failed\r\n"

static const struct { const struct login_facts *facts; const char *data, *reply; } login_row[] = {
	{ &plain, "a CAPABILITY\r\n",
	    "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS LOGINDISABLED\r\na OK Capabilities listed\r\n" },
	{ &tls, "a capability\r\n",
	    "* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE AUTH=PLAIN\r\na OK Capabilities listed\r\n" },
	{ &tls, "a NOOP\r\nb NOOP x\r\n", "a OK Nothing done\r\nb BAD Unexpected arguments\r\n!" },
	{ &tls, "\r\n", "* BAD Invalid tag\r\n!" },
	{ &tls, "a\r\n", "a BAD Missing command\r\n!" },
	{ &tls, "+a NOOP\r\n", "* BAD Invalid tag\r\n!" },
	{ &tls, "a LOGOUT\r\n", "* BYE Logging out\r\na OK Logged out\r\nQ" },
	{ &tls, "a ID NIL\r\n", "* ID (\"name\" \"Pennypost\")\r\na OK ID exchanged\r\n" },
	{ &tls, "a ID ((((((((((\r\n", "a BAD String expected\r\n!" },
	{ &tls, "a SELECT INBOX\r\n", "a BAD Log in first\r\n!" },
	{ &tls, "a UID FETCH 1 UID\r\n", "a BAD Log in first\r\n!" },
	{ &tls, "a FOO\r\n", "a BAD Unknown command\r\n!" },
	{ &plain, "a STARTTLS\r\n", "a OK Begin TLS negotiation now\r\nT" },
	{ &tls, "a STARTTLS\r\n", "a BAD TLS is on already\r\n!" },
	{ &plain, "a LOGIN alice secret\r\n", "a" PRIVACY },
	{ &plain, "a LOGIN {5}\r\nb NOOP\r\n", "a NO" PRIVACY_TEXT "b OK Nothing done\r\n!" },
	{ &plain, "a AUTHENTICATE PLAIN\r\n", "a" PRIVACY },
	{ &tls, "a LOGIN alice secret\r\n", "A<LOGIN alice secret a>a" FAILED },
	{ &tls, "a LOGIN \"al ice\" \"sec\\\"ret\"\r\n", "A<LOGIN al ice sec\"ret a>a" FAILED },
	{ &tls, "a LOGIN {5}\r\nalice {6}\r\nse ret\r\n", "+ OK\r\n+ OK\r\nA<LOGIN alice se ret a>a" FAILED },
	{ &tls, "a LOGIN {5+}\r\nalice {6+}\r\nse ret\r\n", "A<LOGIN alice se ret a>a" FAILED },
	{ &tls, "a LOGIN alice\r\n", "a BAD Missing argument\r\n!" },
	{ &tls, "a LOGIN alice \"\"\r\n", "a" FAILED "!" },
	{ &tls, "a LOGIN alice secret x\r\n", "a BAD Unexpected arguments\r\n!" },
	{ &tls, "a LOGIN {4097}\r\n", "a BAD Literal too large\r\n!" },
	{ &tls, "a LOGIN {4097+}\r\n", "* BYE Command too large\r\nQ" },
	{ &tls, "a LOGIN {4294967295}\r\n", "a BAD Literal too large\r\n!" },
	{ &tls, "a LOGIN {18446744073709551616+}\r\n", "* BYE Command too large\r\nQ" },
	/* "\0alice\0secret" */
	{ &tls, "a AUTHENTICATE PLAIN AGFsaWNlAHNlY3JldA==\r\n", "A<PLAIN alice secret a>a" FAILED },
	{ &tls, "a AUTHENTICATE plain\r\nAGFsaWNlAHNlY3JldA==\r\nb NOOP\r\n",
	    "+ \r\nA<PLAIN alice secret a>a" FAILED "b OK Nothing done\r\n" },
	{ &tls, "a AUTHENTICATE PLAIN\r\n*\r\nb NOOP\r\n", "+ \r\na BAD Authentication cancelled\r\n!b OK Nothing done\r\n" },
	{ &tls, "a AUTHENTICATE PLAIN\r\n@@@\r\nb NOOP\r\n", "+ \r\na BAD Invalid base64\r\n!b OK Nothing done\r\n" },
	{ &tls, "a AUTHENTICATE PLAIN\r\nx {5}\r\nb NOOP\r\n", "+ \r\na BAD Invalid command\r\n!b OK Nothing done\r\n" },
	{ &tls, "a AUTHENTICATE PLAIN =\r\n", "a" FAILED "!" },
	{ &tls, "a AUTHENTICATE CRAM-MD5\r\n", "a NO [CANNOT] Unknown authentication mechanism\r\n!" },
};

static void
before_login(void **unused)
{
	void *state = calloc(1, imap_login_proto.state_size);

	(void)unused;
	assert_non_null(state);
	for (size_t i = 0; i < LEN(login_row); i++) {
		struct buf out;

		buf_init(&out, 10000);
		imap_login_proto.start(state, login_row[i].facts);
		talk(state, slice_of(login_row[i].data), &out);
		if (strcmp(buf_cstr(&out), login_row[i].reply) != 0)
			fail_msg("row %zu: %s", i, buf_cstr(&out));
		buf_clear(&out);
	}
	imap_login_proto.clear(state);
	free(state);
}

static void
banners(void **unused)
{
	void *state = calloc(1, imap_login_proto.state_size);
	struct buf out;

	(void)unused;
	assert_non_null(state);
	buf_init(&out, 1000);
	imap_login_proto.start(state, &plain);
	imap_login_proto.banner(state, &out);
	assert_string_equal(buf_cstr(&out), "* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE STARTTLS "
	    "LOGINDISABLED] mail.example Pennypost ready\r\n");
	buf_clear(&out);
	imap_login_proto.clear(state);
	free(state);
}

/* RELIABILITY.md V9: 10^6 brackets before login are not collected. */
static void
too_much(void **unused)
{
	static const char what[] = "()[]{}\" ";
	void *state = calloc(1, imap_login_proto.state_size);

	(void)unused;
	assert_non_null(state);
	for (size_t i = 0; i < sizeof(what) - 1; i++) {
		char *text = malloc(1000000);
		struct buf out;

		assert_non_null(text);
		memset(text, what[i], 1000000);
		buf_init(&out, 10000);
		imap_login_proto.start(state, &tls);
		talk(state, slice_make(text, 1000000), &out);
		check_row(i, strcmp(buf_cstr(&out), "* BYE Command too large\r\nQ") == 0);
		buf_clear(&out);
		free(text);
	}
	imap_login_proto.clear(state);
	free(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(input_cut),
		cmocka_unit_test(input_streams),
		cmocka_unit_test(before_login),
		cmocka_unit_test(banners),
		cmocka_unit_test(too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
