/* conf_text: comments, open quotes and braces, single values of a broken text. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf_text.h"
#include "slice.h"

static void
faults(void **unused)
{
	static const struct { const char *text; int line; const char *says; } row[] = {
		{ "a = \"b\nc = \"d\"\n", 1, "quote" },
		{ "a = 'b\n", 1, "quote" },
		{ "\n\na = \"b\\\"\n", 3, "quote" },
		{ "# a \"comment\n/* and { a\nblock \" */\na = \"b\n", 4, "quote" },
		{ "a = {\"b\",\n\"c\"\nd = e\n", 1, "brace" },
		{ "x = y\na = {\"b\"", 2, "brace" },
		{ "a = {\"b\"}\n", 0, NULL },
		{ "a = {\"b\",\n\"c\"}\nd = e # \"\n", 0, NULL },
		{ "a = \"b\\\\\"\nb = \"# no { comment\"\n", 0, NULL },
		{ "a = \"it's\" // 'x\n", 0, NULL },
		{ "/* never closed \"\n{", 0, NULL },
		{ "/*/ a = \"*/b = \"c\n", 1, "quote" },
		{ "/", 0, NULL }, { "", 0, NULL }, { "\"", 1, "quote" }, { "\"\\", 1, "quote" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct conf_text_fault fault = { 0 };
		char *text = strdup(row[i].text);

		assert_non_null(text);
		check_row(i, conf_text_prepare(text, &fault) == (row[i].line == 0));
		check_row(i, fault.line == row[i].line && (row[i].line == 0 || strstr(fault.text, row[i].says) != NULL));
		check_row(i, strlen(text) == strlen(row[i].text));
		free(text);
	}
}

static void
comments_are_blanked(void **unused)
{
	char text[] = "a = b # x\n  # y\n/* z\nz */ c = \"#d\" // e\n";
	struct conf_text_fault fault;

	(void)unused;
	assert_true(conf_text_prepare(text, &fault));
	assert_null(strpbrk(text, "xyze/"));
	assert_non_null(strstr(text, "\n     c = \"#d\"     \n"));
	assert_int_equal(conf_text_line(text, "c"), 4);
	assert_int_equal(conf_text_line(text, "a"), 1);
	assert_int_equal(conf_text_line(text, "b"), 0);
}

static void
values(void **unused)
{
	static const struct { const char *text, *value; } row[] = {
		{ "state-dir = \"state\"\n", "state" },		{ "state-dir='a b'", "a b" },
		{ " \tstate-dir\t=\tx\n", "x" },		{ "state-dir = x\nstate-dir = y\n", "y" },
		{ "state-dir = x\nstate-dir = \"y\n", "x" },	{ "oops = \"\nstate-dir = z\n}{\n", "z" },
		{ "state-dir = /a/b#c\n", "/a/b" },		{ "state-dirs = x\n", NULL },
		{ "# state-dir = x\n", NULL },			{ "state-dir\n= x\n", NULL },
		{ "state-dir = \"\"\n", NULL },			{ "state-dir = \"${HOME}/x\"\n", NULL },
		{ "state-dir += x\n", NULL },			{ "state-dir = {x}\n", NULL },
		{ "state-dir = 12345678901234567890\n", NULL },	{ "", NULL },
		{ "state-dir", NULL },				{ "state-dir =", NULL },
	};
	char out[16];

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		bool found = conf_text_value(row[i].text, "state-dir", out, sizeof(out));

		check_row(i, found == (row[i].value != NULL) && (!found || strcmp(out, row[i].value) == 0));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(faults), cmocka_unit_test(comments_are_blanked), cmocka_unit_test(values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
