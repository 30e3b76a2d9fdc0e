/* aliases: the grammar of aliases(5), :include: and .forward; commands without a shell. */
#include "check.h"

#include <stdio.h>
#include <string.h>

#include "aliases.h"

/* All of a file in one line: "name=k:text,k:text;" with k the kind's letter; a mistake is "!line;". */
static void
show(const char *file, char *out, size_t size)
{
	static const char kinds[] = "A\\F|I";
	struct alias_entry entry;
	struct alias_error error;
	struct alias_value v;
	struct aliases a;
	enum alias_next next;
	struct buf b;

	buf_init(&b, size - 1);
	buf_init(&v.text, ALIAS_VALUE_MAX + 1);
	aliases_init(&a, slice_of(file));
	while ((next = aliases_next(&a, &entry, &error)) != ALIAS_END) {
		if (next == ALIAS_ERROR) {
			(void)buf_fmt(&b, "!%u;", error.line);
			continue;
		}
		(void)buf_fmt(&b, "%s=", entry.name);
		while ((next = alias_list_next(&entry.values, &v, &error)) != ALIAS_END) {
			if (next == ALIAS_ERROR)
				(void)buf_fmt(&b, "!%u,", error.line);
			else
				(void)buf_fmt(&b, "%c:%.*s,", kinds[v.kind], (int)v.text.len, v.text.ptr);
		}
		(void)buf_char(&b, ';');
	}
	assert_true(slice_text(buf_slice_of(&b), out, size));
	aliases_clear(&a);
	buf_clear(&v.text);
	buf_clear(&b);
}

static void
files(void **unused)
{
	static const struct { const char *file, *want; } row[] = {
		{ "", "" },
		{ "\n\n# only a comment\n   # and another\n", "" },
		{ "a: b\n", "a=A:b,;" },
		{ "a: b", "a=A:b,;" },
		{ "a:b\r\nc:d\r\n", "a=A:b,;c=A:d,;" },
		{ "a : b , c,d\n", "a=A:b,A:c,A:d,;" },
		{ "Root:  alice@example.org\n", "Root=A:alice@example.org,;" },
		/* Continuation, with comments and empty lines between. */
		{ "a: b,\n  c\n\td\n", "a=A:b,!2,;" },
		{ "a: b,\n  c,\n# comment\n\n\td\ne: f\n", "a=A:b,A:c,A:d,;e=A:f,;" },
		{ "a:\n b\n", "a=A:b,;" },
		{ "a: b\n   # comment, not a continuation\nc: d\n", "a=A:b,;c=A:d,;" },
		{ "  a: b\n", "!1;" },
		/* Names. */
		{ "\"a b\": c\n", "a b=A:c,;" },
		{ "\"a:b\" : c\n", "a:b=A:c,;" },
		{ "\"a@b.example\": c\n", "a@b.example=A:c,;" },
		{ "\"#x\": c\n", "#x=A:c,;" },
		{ "\"q\\\"q\": c\n", "q\"q=A:c,;" },
		{ "a b: c\n", "!1;" },
		{ "\"a: c\n", "!1;" },
		{ "\"a\" b: c\n", "!1;" },
		{ ": c\n", "!1;" },
		{ "nothing\nb: c\n", "!1;b=A:c,;" },
		{ "a:\nb: c\n", "!1;b=A:c,;" },
		{ "a:   \t\n", "!1;" },
		{ "a: ,\n", "a=;" },
		{ "*: all@example.org\n", "*=A:all@example.org,;" },
		{ "owner-list: x\n", "owner-list=A:x,;" },
		/* Kinds of values. */
		{ "a: \\a, b\n", "a=\\:a,A:b,;" },
		{ "a: \"\\\\a\"\n", "a=\\:a,;" },
		{ "a: /var/mail/a\n", "a=F:/var/mail/a,;" },
		{ "a: \"/var/log/odd name\"\n", "a=F:/var/log/odd name,;" },
		{ "a: /var/mail/dir/, /dev/null\n", "a=F:/var/mail/dir/,F:/dev/null,;" },
		{ "a: \"|/usr/bin/prog -a b\"\n", "a=|:/usr/bin/prog -a b,;" },
		{ "a: |\"/usr/bin/prog -a b\"\n", "a=|:/usr/bin/prog -a b,;" },
		{ "a: |/usr/bin/prog\n", "a=|:/usr/bin/prog,;" },
		{ "a: \"| /usr/bin/prog 'x, y'\", b\n", "a=|:/usr/bin/prog 'x, y',A:b,;" },
		{ "a: :include:/etc/mail/list\n", "a=I:/etc/mail/list,;" },
		{ "a: \":include:/etc/mail/my list\"\n", "a=I:/etc/mail/my list,;" },
		{ "a: \"john doe\"@example.org\n", "a=A:\"john doe\"@example.org,;" },
		{ "a: \"x,y\"@example.org, b\n", "a=A:\"x,y\"@example.org,A:b,;" },
		{ "a: b#c\n", "a=A:b#c,;" },
		/* Refused, each with its line; the rest stays. */
		{ "a: b, |/bin/prog x, c\n", "a=A:b,!1,A:c,;" },
		{ "a: /var/log/odd name\n", "a=!1,;" },
		{ "a: b c\n", "a=!1,;" },
		{ "a: b\n  c\n", "a=!1,;" },
		{ "a: |prog\n", "a=!1,;" },
		{ "a: \"|exec /bin/prog\"\n", "a=!1,;" },
		{ "a: \"|/bin/prog 'x\"\n", "a=!1,;" },
		{ "a: |\n", "a=!1,;" },
		{ "a: :include:list\n", "a=!1,;" },
		{ "a: :fail: gone\n", "a=!1,;" },
		{ "a: \":fail: gone\"\n", "a=!1,;" },
		{ "a: :defer:\n", "a=!1,;" },
		{ "a: :blackhole:\n", "a=!1,;" },
		{ "a: :whatever:\n", "a=!1,;" },
		{ "a: error:5.1.1\n", "a=!1,;" },
		{ "a: \"error:no such user here\"\n", "a=!1,;" },
		{ "a: <b@example.org>\n", "a=!1,;" },
		{ "a: \"\"\n", "a=!1,;" },
		{ "a: \"b\n c: d\n", "a=!1,!2,;" },
		{ "a: b\x01z\n", "a=!1,;" },
		{ "a: b,\n\n  :fail:\nc: d\n", "a=A:b,!3,;c=A:d,;" },
	};
	char got[2000];

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		show(row[i].file, got, sizeof(got));
		if (strcmp(got, row[i].want) != 0)
			fail_msg("row %zu: %s -> %s, not %s", i, row[i].file, got, row[i].want);
	}
}

/* Each message says what to write instead. */
static void
advice(void **unused)
{
	static const struct { const char *value, *words; } row[] = {
		{ ":fail: x", "remove the alias" },	{ ":blackhole:", "/dev/null" },
		{ "error:x", "remove the alias" },	{ ":include:x", ":include:/path" },
		{ "|prog", "full path" },		{ "a b", "comma" },
		{ "/a b", "quotes" },			{ "<a@b.example>", "without name" },
		{ "\"a", "not closed" },		{ ":x:", "user@domain" },
	};
	struct alias_error e;
	struct alias_value v;
	struct alias_list l;

	(void)unused;
	buf_init(&v.text, ALIAS_VALUE_MAX + 1);
	for (size_t i = 0; i < LEN(row); i++) {
		alias_list_init(&l, slice_of(row[i].value), 7, false);
		check_row(i, alias_list_next(&l, &v, &e) == ALIAS_ERROR);
		check_row(i, e.line == 7);
		if (strstr(e.text, row[i].words) == NULL)
			fail_msg("row %zu: '%s' lacks '%s'", i, e.text, row[i].words);
	}
	buf_clear(&v.text);
}

/* :include: and .forward: a new line ends a value too, # begins a comment line. */
static void
lines(void **unused)
{
	static const char text[] = "# members\nalice\n  bob, carol@example.org\n\n\"|/bin/prog -x\"\n"
	    "\\dave # no comment here\neve\r\n   # the end\n";
	static const struct { enum alias_next next; const char *text; unsigned line; } want[] = {
		{ ALIAS_GOT, "alice", 2 }, { ALIAS_GOT, "bob", 3 }, { ALIAS_GOT, "carol@example.org", 3 },
		{ ALIAS_GOT, "/bin/prog -x", 5 }, { ALIAS_ERROR, "", 6 }, { ALIAS_GOT, "eve", 7 }, { ALIAS_END, "", 0 },
	};
	struct alias_error e;
	struct alias_value v;
	struct alias_list l;

	(void)unused;
	buf_init(&v.text, ALIAS_VALUE_MAX + 1);
	alias_list_init(&l, slice_of(text), 1, true);
	for (size_t i = 0; i < LEN(want); i++) {
		check_row(i, alias_list_next(&l, &v, &e) == want[i].next);
		if (want[i].next == ALIAS_GOT) {
			check_row(i, slice_is(buf_slice_of(&v.text), want[i].text));
			check_row(i, v.line == want[i].line);
		} else if (want[i].next == ALIAS_ERROR) {
			check_row(i, e.line == want[i].line);
		}
	}
	buf_clear(&v.text);
}

static void
addresses(void **unused)
{
	static const struct { const char *text, *want; } row[] = {
		{ "bob", "bob@d.example" },		{ "Bob", "bob@d.example" },
		{ "bob@X.Example", "bob@x.example" },	{ "a b", "\"a b\"@d.example" },
		{ "\"a b\"", "\"a b\"@d.example" },	{ "*", "*@d.example" },
		{ "a\"b", "\"a\\\"b\"@d.example" },	{ "bob+x", "bob+x@d.example" },
		{ "a@b", "a@b" },			{ "b@@c", NULL },
		{ "\"a@b\"", "\"a@b\"@d.example" },			{ "a@", NULL },
		{ "", NULL },				{ "b\xc3\xb6", NULL },
	};
	struct addr a;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		bool ok = alias_address(slice_of(row[i].text), SLICE("d.example"), &a);

		check_row(i, ok == (row[i].want != NULL));
		if (ok && strcmp(a.text, row[i].want) != 0)
			fail_msg("row %zu: %s", i, a.text);
	}
}

/* V1, P18: words, never a shell. */
static void
commands(void **unused)
{
	static const struct { const char *command; int n; const char *word[5]; } row[] = {
		{ "/bin/prog", 1, { "/bin/prog" } },
		{ " /bin/prog  -a\tb", -1, { NULL } },		/* a control character */
		{ "/bin/prog  -a b ", 3, { "/bin/prog", "-a", "b" } },
		{ "/bin/prog 'a b' \"c d\"", 3, { "/bin/prog", "a b", "c d" } },
		{ "/bin/prog a\\ b '\\' \"\\\"\"", 4, { "/bin/prog", "a b", "\\", "\"" } },
		{ "/bin/prog ''", 2, { "/bin/prog", "" } },
		{ "/bin/prog $(id) `id` ${HOME} ;", 5, { "/bin/prog", "$(id)", "`id`", "${HOME}", ";" } },
		{ "/bin/prog > /tmp/x & y", 5, { "/bin/prog", ">", "/tmp/x", "&", "y" } },
		{ "prog", -1, { NULL } },
		{ "", -1, { NULL } },
		{ "   ", -1, { NULL } },
		{ "/bin/prog 'x", -1, { NULL } },
		{ "/bin/prog \"x", -1, { NULL } },
		{ "/bin/prog a\nb", -1, { NULL } },
		{ "'/bin/pr og'", 1, { "/bin/pr og" } },
		{ "IFS=' ' && exec /bin/prog", -1, { NULL } },
	};
	const char *argv[ALIAS_ARGV_MAX + 1];
	char many[400] = "/x";
	struct buf words;

	(void)unused;
	buf_init(&words, 4096);
	for (size_t i = 0; i < LEN(row); i++) {
		bool ok = alias_command_split(slice_of(row[i].command), &words, argv);

		check_row(i, ok == (row[i].n >= 0));
		for (int n = 0; ok && n < row[i].n; n++)
			check_row(i, argv[n] != NULL && strcmp(argv[n], row[i].word[n]) == 0);
		if (ok && row[i].n < 5)
			check_row(i, argv[row[i].n] == NULL);
	}
	for (int i = 1; i < ALIAS_ARGV_MAX; i++)
		strcat(many, " y");
	assert_true(alias_command_split(slice_of(many), &words, argv));
	assert_null(argv[ALIAS_ARGV_MAX]);
	strcat(many, " y");
	assert_false(alias_command_split(slice_of(many), &words, argv));
	buf_clear(&words);
}

static void
limits(void **unused)
{
	char name[ALIAS_NAME_MAX + 300], file[2000], got[2000];

	(void)unused;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	(void)snprintf(file, sizeof(file), "%s: x\nb: c\n", name);
	show(file, got, sizeof(got));
	assert_string_equal(got, "!1;b=A:c,;");
	memset(file, 'v', sizeof(file));
	memcpy(file, "a: ", 3);
	file[3 + ALIAS_VALUE_MAX + 1] = '\0';
	show(file, got, sizeof(got));
	assert_string_equal(got, "a=!1,;");
	file[3 + ALIAS_VALUE_MAX] = '\0';
	show(file, got, sizeof(got));
	assert_int_equal(strlen(got), 5 + ALIAS_VALUE_MAX + 1);
}

static void
details(void **unused)
{
	(void)unused;
	assert_true(alias_detail_safe(SLICE("list-1.x_y=z")));
	assert_false(alias_detail_safe(SLICE("")));
	assert_false(alias_detail_safe(SLICE("../x")));
	assert_false(alias_detail_safe(SLICE(".x")));
	assert_false(alias_detail_safe(SLICE("a/b")));
	assert_false(alias_detail_safe(SLICE("a|b")));
	assert_false(alias_detail_safe(SLICE("a b")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files), cmocka_unit_test(advice), cmocka_unit_test(lines),
		cmocka_unit_test(addresses), cmocka_unit_test(commands), cmocka_unit_test(limits),
		cmocka_unit_test(details),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
