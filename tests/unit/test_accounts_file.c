/* accounts_file: our form and Dovecot's; quotas; names that become folders. */
#include "check.h"

#include <string.h>

#include "accounts_file.h"

#define Y "$y$j9T$abcdefghijk$lkjasdlkjasdlkjasdlkjasd"

static void
forms(void **unused)
{
	static const struct {
		const char *line; enum account_next next; const char *addr, *hash; uint64_t quota; bool disabled;
	} row[] = {
		{ "alice:" Y, ACCOUNT_GOT, "alice@d.example", Y, 0, false },
		{ "Alice@D.Example:" Y, ACCOUNT_GOT, "alice@d.example", Y, 0, false },
		{ "alice:{CRYPT}" Y, ACCOUNT_GOT, "alice@d.example", Y, 0, false },
		{ "alice:{blf-crypt}$2b$10$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ACCOUNT_GOT, "alice@d.example",
		  "$2b$10$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0, false },
		{ "alice:" Y ":quota=500M", ACCOUNT_GOT, "alice@d.example", Y, 524288000, false },
		{ "alice:" Y ":quota=1g, disabled", ACCOUNT_GOT, "alice@d.example", Y, 1073741824, true },
		{ "alice:" Y ":disabled", ACCOUNT_GOT, "alice@d.example", Y, 0, true },
		{ "alice:", ACCOUNT_GOT, "alice@d.example", "", 0, false },
		{ "alice", ACCOUNT_GOT, "alice@d.example", "", 0, false },
		{ "alice:!" Y, ACCOUNT_GOT, "alice@d.example", "", 0, false },
		{ "alice:*", ACCOUNT_GOT, "alice@d.example", "", 0, false },
		/* Dovecot. */
		{ "alice:{SHA512-CRYPT}$6$abcdefg$ttttttt::::::", ACCOUNT_GOT, "alice@d.example", "$6$abcdefg$ttttttt", 0, false },
		{ "alice:" Y ":5000:5000::/home/alice:/bin/false:userdb_quota_rule=*:storage=1G nodelay=y",
		  ACCOUNT_WARNING, "alice@d.example", Y, 1073741824, false },
		{ "alice:" Y ":5000:5000::/home/alice:/bin/false:userdb_quota_rule=*:storage=1024", ACCOUNT_GOT,
		  "alice@d.example", Y, 1048576, false },
		{ "alice:" Y "::::::userdb_quota_rule=*:bytes=77", ACCOUNT_GOT, "alice@d.example", Y, 77, false },
		{ "alice:" Y ":5000", ACCOUNT_GOT, "alice@d.example", Y, 0, false },
		{ "alice:" Y "::::::nologin", ACCOUNT_GOT, "alice@d.example", Y, 0, true },
		/* Mistakes. */
		{ "alice:" Y ":quota=5X", ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "alice:" Y ":qota=5M", ACCOUNT_WARNING, "alice@d.example", Y, 0, false },
		{ "alice:" Y "::::::allow_nets=10.0.0.0/8", ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "alice:{PLAIN}secret", ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "alice:secret", ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "alice:$6$a b$ttttttttttttttt", ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "alice@other.example:" Y, ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "a/b:" Y, ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "..:" Y, ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "\"a b\":" Y, ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "*:" Y, ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ ":" Y, ACCOUNT_ERROR, NULL, NULL, 0, false },
		{ "al\x01ice:" Y, ACCOUNT_ERROR, NULL, NULL, 0, false },
	};
	struct accounts_file f;
	struct account_error e;
	struct account a;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		accounts_file_init(&f, slice_of(row[i].line), SLICE("d.example"));
		check_row(i, accounts_file_next(&f, &a, &e) == row[i].next);
		if (row[i].next == ACCOUNT_ERROR) {
			check_row(i, e.line == 1 && e.text[0] != '\0' && strstr(e.text, "secret") == NULL);
			continue;
		}
		check_row(i, strcmp(a.addr.text, row[i].addr) == 0 && slice_is(a.hash, row[i].hash));
		check_row(i, a.quota == row[i].quota && a.disabled == row[i].disabled);
		check_row(i, accounts_file_next(&f, &a, &e) == ACCOUNT_END);
	}
}

static void
lines(void **unused)
{
	struct accounts_file f;
	struct account_error e;
	struct account a;

	(void)unused;
	accounts_file_init(&f, SLICE("# users\n\n  bob:\r\nnonsense:y\n carol:*\n"), SLICE("d.example"));
	assert_int_equal(accounts_file_next(&f, &a, &e), ACCOUNT_GOT);
	assert_int_equal(a.line, 3);
	assert_int_equal(accounts_file_next(&f, &a, &e), ACCOUNT_ERROR);
	assert_int_equal(e.line, 4);
	assert_int_equal(accounts_file_next(&f, &a, &e), ACCOUNT_GOT);
	assert_int_equal(a.line, 5);
	assert_int_equal(accounts_file_next(&f, &a, &e), ACCOUNT_END);
}

static void
quotas(void **unused)
{
	static const struct { const char *text; bool ok; uint64_t n; } row[] = {
		{ "0", true, 0 }, { "1", true, 1 }, { "1k", true, 1024 }, { "2M", true, 2097152 }, { "3G", true, 3221225472 },
		{ "1T", true, 1099511627776 }, { "5MB", true, 5242880 }, { "16777215T", true, UINT64_C(16777215) << 40 },
		{ "16777216T", false, 0 }, { "", false, 0 }, { "M", false, 0 }, { "-1", false, 0 }, { "1.5G", false, 0 },
		{ "5B", false, 0 }, { "5 M", false, 0 }, { "18446744073709551616", false, 0 },
	};
	uint64_t n;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, account_quota_parse(slice_of(row[i].text), &n) == row[i].ok);
		if (row[i].ok)
			check_row(i, n == row[i].n);
	}
}

/* V10: a mailbox's name is the name of a folder. */
static void
names(void **unused)
{
	static const struct { const char *local; bool ok; } row[] = {
		{ "alice", true }, { "a.b-c_d+e=f", true }, { "o'brien", true }, { "1", true },
		{ "", false }, { ".", false }, { "..", false }, { ".a", false }, { "a/b", false }, { "a\\b", false },
		{ "a b", false }, { "a:b", false }, { "\"a\"", false }, { "a|b", false }, { "#a", false }, { "*", false }, { "a\x7f", false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, account_local_valid(slice_of(row[i].local)) == row[i].ok);
	assert_false(account_local_valid(slice_make("a\0b", 3)));
}

/* What `pennypost user` writes is read back the same. */
static void
printed(void **unused)
{
	static const struct { uint64_t quota; bool disabled; const char *line; } row[] = {
		{ 0, false, "bob:" Y "\n" },
		{ 524288000, false, "bob:" Y ":quota=500M\n" },
		{ 1000, false, "bob:" Y ":quota=1000\n" },
		{ (uint64_t)3 << 40, true, "bob:" Y ":quota=3T disabled\n" },
		{ 0, true, "bob:" Y ":disabled\n" },
	};
	struct accounts_file f;
	struct account_error e;
	struct account a;
	struct buf b;

	(void)unused;
	buf_init(&b, 1000);
	for (size_t i = 0; i < LEN(row); i++) {
		buf_reset(&b);
		check_row(i, account_line_print(&b, SLICE("bob"), SLICE(Y), row[i].quota, row[i].disabled));
		check_row(i, slice_is(buf_slice_of(&b), row[i].line));
		accounts_file_init(&f, buf_slice_of(&b), SLICE("d.example"));
		check_row(i, accounts_file_next(&f, &a, &e) == ACCOUNT_GOT);
		check_row(i, a.quota == row[i].quota && a.disabled == row[i].disabled && slice_is(a.hash, Y));
	}
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms), cmocka_unit_test(lines), cmocka_unit_test(quotas),
		cmocka_unit_test(names), cmocka_unit_test(printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
