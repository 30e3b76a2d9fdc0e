/* pop3d before login: lines to replies and wants. */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "pop3d/pop3_login.h"
#include "pop3d/pop3_parse.h"

static const struct login_facts in_clear = { .starttls = true, .hostname = "h.example" };
static const struct login_facts no_tls = { .hostname = "h.example" };
static const struct login_facts in_tls = { .tls = true, .hostname = "h.example" };

static _Alignas(max_align_t) char state[8192];
static struct buf out;

static void
begin(const struct login_facts *facts)
{
	assert_true(pop3_login_proto.state_size <= sizeof(state));
	memset(state, 0, sizeof(state));
	pop3_login_proto.start(state, facts);
	buf_clear(&out);
	buf_init(&out, 16384);
}

/* One line, CRLF added; what it brings. */
static struct login_step
say(const char *line)
{
	static char text[8192];
	struct login_step step = { .out = &out };
	int n = snprintf(text, sizeof(text), "%s\r\n", line);

	buf_reset(&out);
	assert_int_equal(pop3_login_proto.input(state, slice_make(text, (size_t)n), &step), n);
	return step;
}

struct row {
	const char	*line;
	const char	*reply;		/* how it begins */
	enum login_want	 want;
	bool		 error;
};

static void
check_rows(const struct row *row, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct login_step step = say(row[i].line);
		struct slice text = buf_slice_of(&out);

		check_row(i, slice_prefix(&text, row[i].reply));
		check_row(i, step.want == row[i].want);
		check_row(i, step.error == row[i].error);
	}
}

static void
under_tls(void **unused)
{
	static const struct row row[] = {
		{ "PASS x",		"-ERR USER comes first", LOGIN_WANT_INPUT, true },
		{ "USER",		"-ERR", LOGIN_WANT_INPUT, true },
		{ "USER a@b.example",	"+OK", LOGIN_WANT_INPUT, false },
		{ "PASS ",		"-ERR", LOGIN_WANT_INPUT, true },
		{ "pass s e c ret",	"", LOGIN_WANT_AUTH, false },
		{ "PASS again",		"-ERR USER comes first", LOGIN_WANT_INPUT, true },
		{ "CAPA",		"+OK", LOGIN_WANT_INPUT, false },
		{ "STLS",		"-ERR TLS is active", LOGIN_WANT_INPUT, true },
		{ "AUTH",		"+OK\r\nPLAIN\r\n.\r\n", LOGIN_WANT_INPUT, false },
		{ "AUTH CRAM-MD5",	"-ERR", LOGIN_WANT_INPUT, true },
		{ "AUTH PLAIN",		"+ \r\n", LOGIN_WANT_INPUT, false },
		{ "*",			"-ERR Authentication cancelled", LOGIN_WANT_INPUT, false },
		{ "AUTH PLAIN",		"+ ", LOGIN_WANT_INPUT, false },
		{ "AGEAYg==",		"", LOGIN_WANT_AUTH, false },
		{ "auth plain AGEAYg==", "", LOGIN_WANT_AUTH, false },
		{ "AUTH PLAIN =",	"-ERR", LOGIN_WANT_INPUT, true },
		{ "AUTH PLAIN AGEAYg",	"-ERR", LOGIN_WANT_INPUT, true },
		{ "AUTH PLAIN QUJD",	"-ERR", LOGIN_WANT_INPUT, true },
		{ "NOOP",		"-ERR", LOGIN_WANT_INPUT, true },
		{ "RETR 1",		"-ERR", LOGIN_WANT_INPUT, true },
		{ "APOP a b",		"-ERR", LOGIN_WANT_INPUT, true },
		{ "",			"-ERR", LOGIN_WANT_INPUT, true },
		{ "\x01\x02",		"-ERR", LOGIN_WANT_INPUT, true },
		{ "quit",		"+OK", LOGIN_WANT_CLOSE, false },
	};

	(void)unused;
	begin(&in_tls);
	check_rows(row, LEN(row));
}

static void
in_the_clear_nobody_logs_in(void **unused)
{
	static const struct row row[] = {
		{ "USER a",		"-ERR Logging in needs encryption", LOGIN_WANT_INPUT, true },
		{ "PASS a",		"-ERR Logging in needs encryption", LOGIN_WANT_INPUT, true },
		{ "AUTH PLAIN AGEAYg==", "-ERR Logging in needs encryption", LOGIN_WANT_INPUT, true },
		{ "AUTH PLAIN",		"-ERR Logging in needs encryption", LOGIN_WANT_INPUT, true },
		{ "AUTH",		"+OK\r\n.\r\n", LOGIN_WANT_INPUT, false },
		{ "STLS now",		"-ERR", LOGIN_WANT_INPUT, true },
		{ "STLS",		"+OK", LOGIN_WANT_STARTTLS, false },
	};

	(void)unused;
	begin(&in_clear);
	check_rows(row, LEN(row));
	begin(&no_tls);
	assert_int_equal(say("STLS").want, LOGIN_WANT_INPUT);
}

static bool
has_line(const char *line)
{
	struct slice text = buf_slice_of(&out);

	while (text.len != 0) {
		struct slice l = slice_cut(&text, '\n');

		if (slice_is(slice_trim(l), line))
			return true;
	}
	return false;
}

static void
capabilities(void **unused)
{
	static const struct { const char *line; bool clear, tls; } row[] = {
		{ "STLS", true, false }, { "USER", false, true }, { "SASL PLAIN", false, true },
		{ "TOP", true, true }, { "UIDL", true, true }, { "RESP-CODES", true, true },
		{ "AUTH-RESP-CODE", true, true }, { "PIPELINING", true, true }, { ".", true, true },
	};

	(void)unused;
	for (int tls = 0; tls < 2; tls++) {
		begin(tls ? &in_tls : &in_clear);
		(void)say("CAPA");
		for (size_t i = 0; i < LEN(row); i++)
			check_row(i, has_line(row[i].line) == (tls ? row[i].tls : row[i].clear));
	}
}

static void
what_auth_gets(void **unused)
{
	struct login_step step;

	(void)unused;
	begin(&in_tls);
	(void)say("USER Alice@b.example");
	step = say("PASS  two  blanks ");
	assert_true(slice_is(step.auth.user, "Alice@b.example"));
	assert_true(slice_is(step.auth.password, " two  blanks "));
	assert_string_equal(step.auth.method, "USER");
	assert_int_equal(step.auth.greeting.len, 0);
	step = say("AUTH PLAIN YQBhAGIgYw==");		/* a NUL a NUL "b c" */
	assert_true(slice_is(step.auth.user, "a"));
	assert_true(slice_is(step.auth.password, "b c"));
	assert_string_equal(step.auth.method, "PLAIN");
}

/* RFC 3206: [AUTH] is for credentials, [SYS/TEMP] for us. */
static void
answers(void **unused)
{
	static const struct { enum verdict verdict; enum ipc_auth_reason reason; const char *reply; } row[] = {
		{ PERM, AUTH_REASON_CREDENTIALS, "-ERR [AUTH] " },
		{ PERM, AUTH_REASON_DISABLED,	 "-ERR [AUTH] Authentication failed\r\n" },
		{ PERM, AUTH_REASON_EXPIRED,	 "-ERR [AUTH] " },
		{ TEMP, AUTH_REASON_UNAVAILABLE, "-ERR [SYS/TEMP] " },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct login_step step = { .out = &out };
		struct slice text;

		begin(&in_tls);
		pop3_login_proto.answer(state, row[i].verdict, row[i].reason, &step);
		text = buf_slice_of(&out);
		check_row(i, slice_prefix(&text, row[i].reply));
		check_row(i, step.want == LOGIN_WANT_INPUT);
	}
}

/* The banner must not look like an offer of APOP; what was said before STLS is forgotten. */
static void
banner_and_starttls(void **unused)
{
	(void)unused;
	begin(&in_clear);
	pop3_login_proto.banner(state, &out);
	assert_int_equal(slice_find(buf_slice_of(&out), '<'), out.len);
	begin(&in_tls);
	(void)say("USER a");
	pop3_login_proto.start(state, &in_tls);
	assert_true(say("PASS b").error);
}

static void
lines_in_pieces(void **unused)
{
	struct login_step step = { .out = &out };

	(void)unused;
	begin(&in_tls);
	assert_int_equal(pop3_login_proto.input(state, SLICE("CAPA\r"), &step), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(pop3_login_proto.input(state, SLICE("CAPA\r\nQUIT\r\n"), &step), 6);
	assert_int_equal(step.want, LOGIN_WANT_INPUT);
	assert_int_equal(pop3_login_proto.input(state, SLICE("QUIT\n"), &step), 5);
	assert_int_equal(step.want, LOGIN_WANT_CLOSE);
}

/* Names and passwords at their limits, and one octet more. */
static void
limits(void **unused)
{
	char line[2048];

	(void)unused;
	begin(&in_tls);
	memset(line, 'u', sizeof(line));
	memcpy(line, "USER ", 5);
	line[5 + 320] = '\0';
	assert_false(say(line).error);
	line[5 + 320] = 'u';
	line[5 + 321] = '\0';
	assert_true(say(line).error);
	memset(line, 'p', sizeof(line));
	memcpy(line, "PASS ", 5);
	line[5 + 1025] = '\0';
	(void)say("USER a");
	assert_true(say(line).error);
	line[5 + 1024] = '\0';
	assert_int_equal(say(line).want, LOGIN_WANT_AUTH);
}

static void
numbers(void **unused)
{
	static const struct { const char *args; bool fine; uint32_t n; const char *rest; } row[] = {
		{ "1", true, 1, "" },		{ "12 5", true, 12, "5" },	{ "4294967295", true, UINT32_MAX, "" },
		{ "4294967296", false, 0, "" },	{ "", false, 0, "" },		{ "-1", false, 0, "" },
		{ "1x", false, 0, "" },		{ "1   2", true, 1, "2" },	{ " 1", false, 0, "" },
		{ "18446744073709551617", false, 0, "" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct slice args = slice_of(row[i].args);
		uint32_t n = 0;

		check_row(i, pop3_parse_number(&args, &n) == row[i].fine);
		if (row[i].fine)
			check_row(i, n == row[i].n && slice_is(args, row[i].rest));
	}
}

static int
tear_down(void **unused)
{
	(void)unused;
	buf_clear(&out);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(under_tls),
		cmocka_unit_test(in_the_clear_nobody_logs_in),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(what_auth_gets),
		cmocka_unit_test(answers),
		cmocka_unit_test(banner_and_starttls),
		cmocka_unit_test(lines_in_pieces),
		cmocka_unit_test(limits),
		cmocka_unit_test(numbers),
	};

	return cmocka_run_group_tests(tests, NULL, tear_down);
}
