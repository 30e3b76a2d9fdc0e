/* conf: what a configuration may hold, and what is said about one that is wrong. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf.h"
#include "conf_units.h"

static char dir[] = "/tmp/pp-conf-XXXXXX";
static char file[100];

static int
setup(void **unused)
{
	(void)unused;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(file, sizeof(file), "%s/pennypost.conf", dir);
	return 0;
}

static int
teardown(void **unused)
{
	(void)unused;
	(void)unlink(file);
	return rmdir(dir);
}

static bool
load(struct conf *conf, const char *text, struct conf_problems *problems)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	(void)fputs(text, f);
	(void)fclose(f);
	*problems = (struct conf_problems){ 0 };
	return conf_load(conf, file, problems);
}

static void
units(void **unused)
{
	static const struct { const char *text; bool size_ok; uint64_t size; bool time_ok; uint64_t seconds; } row[] = {
		{ "0", true, 0, true, 0 },		{ "50M", true, 52428800, false, 0 },
		{ "50m", true, 52428800, true, 3000 },	{ "1KB", true, 1024, false, 0 },
		{ "5d", false, 0, true, 432000 },	{ "", false, 0, false, 0 },
		{ "M", false, 0, false, 0 },		{ "-1", false, 0, false, 0 },
		{ "1 M", false, 0, false, 0 },		{ "99999999T", false, 0, false, 0 },
		{ "18446744073709551615", true, UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551615w", false, 0, false, 0 },
	};
	uint64_t n;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, conf_parse_size(row[i].text, &n) == row[i].size_ok && (!row[i].size_ok || n == row[i].size));
		check_row(i, conf_parse_seconds(row[i].text, &n) == row[i].time_ok && (!row[i].time_ok || n == row[i].seconds));
	}
}

static void
defaults_and_paths(void **unused)
{
	struct conf c;
	struct conf_problems p;
	char want[200];

	(void)unused;
	assert_true(load(&c, "hostname = mail.example.org\nspool-dir = \"spool/\"\n"
	    "smtp-listen = {\"127.0.0.1:2525\", \"[::1]:25\", \"*:26\"}\nlmtp-listen = {\"run/lmtp\"}\n"
	    "smarthost = \"smtp.example.net:2587\"\nretry-min = 10m\n", &p));
	(void)snprintf(want, sizeof(want), "%s/spool", dir);
	assert_string_equal(c.spool_dir, want);
	assert_int_equal(c.listen_n, 4);
	assert_string_equal(c.listen[1].host, "::1");
	assert_int_equal(c.listen[2].port, 26);
	assert_null(c.listen[3].host);
	(void)snprintf(want, sizeof(want), "%s/run/lmtp", dir);
	assert_string_equal(c.listen[3].path, want);
	assert_string_equal(c.smarthost.host, "smtp.example.net");
	assert_int_equal(c.smarthost.port, 2587);
	assert_int_equal(c.smarthost.tls, TLS_STARTTLS);
	assert_int_equal(c.retry_min_s, 600);
	assert_int_equal(c.retry_max_s, 14400);
	assert_int_equal(c.message_size, 52428800);
	assert_true(c.smtp_bare_newline_refused && !c.log_json);
	conf_problems_clear(&p);
	conf_clear(&c);
}

/* Every mistake has its line, and says what to write instead. */
static void
mistakes(void **unused)
{
	static const struct { const char *text; int line; const char *says; } row[] = {
		{ "hostname = a.example\nhostnme = b.example\n", 2, "did you mean 'hostname'?" },
		{ "hostname = a.example\nzzzzzzzzzzzz = 1\n", 2, "pennypost.conf(5)" },
		{ "hostname = a.example\n\nretry-min = soon\n", 3, "write for example retry-min = 5m" },
		{ "hostname = a.example\nmessage-size = 1\n", 2, "write a value from" },
		{ "hostname = a.example\nsmtp-listen = {\"25\"}\n", 2, "\"127.0.0.1:25\"" },
		{ "hostname = a.example\nsmtp-listen = {\"*:99999\"}\n", 2, "\"127.0.0.1:25\"" },
		{ "hostname = a.example\nlog-format = xml\n", 2, "text or json" },
		{ "hostname = a.example\nsystem-users = maybe\n", 2, "write system-users" },
		{ "hostname = a.example\nlog-to = \"\"\n", 2, "log-to is empty; write a value" },
		{ "hostname = a.example\nspool-dir = ''\n", 2, "leave the line out for the default, /" },
		{ "hostname = a.example\nlog-to = sylog\n", 2, "write stderr, syslog, journal, or a file" },
		{ "hostname = a.example\ntls-key = k\n", 2, "go together" },
		{ "hostname = a.example\nimaps-listen = {\"*:993\"}\n", 0, "need a certificate" },
		{ "hostname = \"a b\"\n", 1, "is no host name" },
		{ "smtp-listen = {\"*:25\"}\n", 0, "hostname is missing" },
		{ "hostname = a.example\nsmarthost = h\nsmarthost-user = u\n", 2, "go together" },
		{ "hostname = a.example\nlog-tag = \"b\nlog-to = \"stderr\"\n", 2, "the quote that opens here" },
		{ "hostname = a.example\nsmtp-listen = {\"*:25\"\n\nlog-tag = x\n", 2, "the brace that opens here" },
		{ "hostname = a.example # \"x\n\nlog-tag = x # y\nretry-min = soon\n", 4, "retry-min = 5m" },
		{ "hostname = a.example\nlog-tag x\n", 2, "write: name = \"value\"" },
	};
	struct conf c;
	struct conf_problems p;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		bool found = false;

		check_row(i, !load(&c, row[i].text, &p));
		check_row(i, c.file == NULL && c.listen == NULL);
		for (size_t k = 0; k < p.n; k++)
			found |= strstr(p.at[k].text, row[i].says) != NULL &&
			    (p.at[k].line == row[i].line || row[i].says[0] == '\0');
		if (!found)
			fail_msg("row %zu: line %d: %s", i, p.n > 0 ? p.at[0].line : -1, p.n > 0 ? p.at[0].text : "nothing");
		conf_problems_clear(&p);
	}
}

static void
several_at_once(void **unused)
{
	struct conf c;
	struct conf_problems p;

	(void)unused;
	assert_false(load(&c, "hostname = \"a b\"\nretry-min = soon\nlog-format = xml\n", &p));
	assert_true(p.n >= 3);
	conf_problems_clear(&p);
}

static void
the_initial_one_is_valid(void **unused)
{
	const struct conf_init init = { .hostname = "mail.example.org", .address = "127.0.0.1",
	    .port = { [SERVICE_SMTP] = 25, [SERVICE_IMAPS] = 993 }, .lmtp_path = "run/lmtp", .uid_base = 64200 };
	struct conf c;
	struct conf_problems p;
	struct buf text;

	(void)unused;
	buf_init(&text, 65536);
	assert_true(conf_write_initial(&init, &text));
	assert_true(load(&c, buf_cstr(&text), &p));
	assert_int_equal(p.n, 0);
	assert_int_equal(c.listen_n, 3);
	conf_problems_clear(&p);
	conf_clear(&c);
	buf_clear(&text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(units), cmocka_unit_test(defaults_and_paths), cmocka_unit_test(mistakes),
		cmocka_unit_test(several_at_once), cmocka_unit_test(the_initial_one_is_valid),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
