/* imapd: annotations (RFC 5464), and special uses made and kept with them (RFC 6154). */
#include "imapd_talk.h"

#define C(x) { 0, x "\r\n", "b OK Metadata set\r\n" }

static void
metadata(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b GETMETADATA INBOX /private/comment\r\n", "* METADATA \"INBOX\" (/private/comment NIL)\r\nb OK Metadata given\r\n" },
		C("b SETMETADATA INBOX (/private/comment \"My \\\"own\\\"\" /shared/comment {3+}\r\nhis)"),
		C("b SETMETADATA \"\" (/private/vendor/x/a \"1\" /private/vendor/x/a/b \"22\" /private/vendor/x/a/b/c \"333\")"),
		{ 0, "b GETMETADATA inbox /PRIVATE/Comment\r\n",
		    "* METADATA \"INBOX\" (/private/comment \"My \\\"own\\\"\")\r\nb OK Metadata given\r\n" },
		{ 0, "b GETMETADATA INBOX (/shared/comment /private/none)\r\n",
		    "* METADATA \"INBOX\" (/shared/comment \"his\" /private/none NIL)\r\nb OK Metadata given\r\n" },
		{ 0, "b GETMETADATA \"\" /private/vendor/x/a\r\n", "* METADATA \"\" (/private/vendor/x/a \"1\")\r\nb OK Metadata given\r\n" },
		{ 0, "b GETMETADATA (DEPTH 1) \"\" /private/vendor/x/a\r\n",
		    "* METADATA \"\" (/private/vendor/x/a \"1\" /private/vendor/x/a/b \"22\")\r\nb OK Metadata given\r\n" },
		{ 0, "b GETMETADATA (DEPTH infinity MAXSIZE 2) \"\" (/private)\r\n", "b BAD Invalid entry name\r\n" },
		{ 0, "b GETMETADATA (DEPTH infinity MAXSIZE 2) \"\" (/private/vendor)\r\n",
		    "* METADATA \"\" (/private/vendor/x/a \"1\" /private/vendor/x/a/b \"22\")\r\n"
		    "b OK [METADATA LONGENTRIES 3] Metadata given\r\n" },
		{ 0, "b GETMETADATA \"\" (MAXSIZE 2) /private/vendor/x/a\r\n",
		    "* METADATA \"\" (/private/vendor/x/a \"1\")\r\nb OK Metadata given\r\n" },
		{ 0, "b GETMETADATA (DEPTH 1) \"\" /private/vendor\r\n", "b OK Metadata given\r\n" },
		C("b SETMETADATA \"\" (/private/vendor/x/a NIL)"),
		{ 0, "b GETMETADATA \"\" /private/vendor/x/a\r\n", "* METADATA \"\" (/private/vendor/x/a NIL)\r\nb OK Metadata given\r\n" },
		/* Along with a rename, and gone with the mailbox. */
		{ 0, "b CREATE A\r\n", "b OK [MAILBOXID (#)] Mailbox created\r\n" },
		C("b SETMETADATA A (/private/comment \"\")"),
		{ 0, "b RENAME A B\r\n", "b OK Mailbox renamed\r\n" },
		{ 0, "b GETMETADATA B /private/comment\r\n", "* METADATA \"B\" (/private/comment \"\")\r\nb OK Metadata given\r\n" },
		{ 0, "b DELETE B\r\n", "b OK Mailbox deleted\r\n" },
		{ 0, "b CREATE B\r\n", "b OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "b GETMETADATA B /private/comment\r\n", "* METADATA \"B\" (/private/comment NIL)\r\nb OK Metadata given\r\n" },
		{ 0, "b GETMETADATA Nowhere /private/comment\r\n", "b NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
		{ 0, "b SETMETADATA INBOX (\"/private/a*\" \"x\")\r\n", "b BAD Invalid entry name\r\n" },
		{ 0, "b SETMETADATA INBOX (/private//a \"x\")\r\n", "b BAD Invalid entry name\r\n" },
		{ 0, "b SETMETADATA INBOX (/other/a \"x\")\r\n", "b BAD Invalid entry name\r\n" },
		{ 0, "b SETMETADATA INBOX (/private/a/ \"x\")\r\n", "b BAD Invalid entry name\r\n" },
		{ 0, "b SETMETADATA INBOX (/private/a)\r\n", "b BAD Missing argument\r\n" },
		{ 0, "b SETMETADATA INBOX ()\r\n", "b BAD Missing argument\r\n" },
		{ 0, "b GETMETADATA (DEPTH 7) INBOX /private/a\r\n", "b BAD Invalid depth\r\n" },
	};
	static const char want[] = "* METADATA \"INBOX\" (/private/b ~{3}\r\na\0b)\r\nb OK";
	struct user *u = *state;

	TALK(u, turns);
	/* Any octets. */
	(void)feed(u, 0, slice_make("b SETMETADATA INBOX (/private/b ~{3+}\r\na\0b)\r\n", 45));
	assert_string_equal(buf_cstr(&u->out), "b OK Metadata set\r\n");
	(void)say(u, 0, "b GETMETADATA INBOX /private/b\r\n");
	assert_true(slice_eq(slice_sub(buf_slice_of(&u->out), 0, sizeof(want) - 1), slice_make(want, sizeof(want) - 1)));
}

static void
limits(void **state)
{
	struct user *u = *state;
	char *text = malloc(70000), small[200];

	assert_non_null(text);
	memset(text, 'x', 66000);
	memcpy(text, "b SETMETADATA INBOX (/private/a {65537+}\r\n", 42);
	memcpy(text + 42 + 65537, ")\r\n", 4);
	assert_string_equal(say(u, 0, text), "b NO [METADATA MAXSIZE 65536] Value is too long\r\n");
	free(text);
	for (unsigned i = 0; i <= STORE_ANNOTATIONS; i++) {
		(void)snprintf(small, sizeof(small), "b SETMETADATA INBOX (/private/n%u \"x\")\r\n", i);
		(void)say(u, 0, small);
		check_row(i, strcmp(buf_cstr(&u->out), i < STORE_ANNOTATIONS ? "b OK Metadata set\r\n" :
		    "b NO [METADATA TOOMANY] Too many annotations\r\n") == 0);
	}
}

static void
special_uses(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b CREATE X (USE (\\Sent))\r\n", "b NO [USEATTR] No mailbox can have that use, or one has it already\r\n" },
		{ 0, "b CREATE X (USE (\\All))\r\n", "b NO [USEATTR] No mailbox can have that use, or one has it already\r\n" },
		{ 0, "b CREATE X (USE (\\Sent \\Junk))\r\n", "b NO [USEATTR] No mailbox can have that use, or one has it already\r\n" },
		{ 0, "b LIST \"\" X\r\n", "b OK Mailboxes listed\r\n" },
		{ 0, "b CREATE X (USE)\r\n", "b BAD Unexpected arguments\r\n" },
		{ 0, "b CREATE Y (USE ())\r\n", "b OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "b DELETE Sent\r\n", "b OK Mailbox deleted\r\n" },
		{ 0, "b CREATE \"Sent Items\" (USE (\\sent))\r\n", "b OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "b LIST (SPECIAL-USE) \"\" S*\r\n", "* LIST (\\HasNoChildren \\Sent) \".\" \"Sent Items\"\r\nb OK Mailboxes listed\r\n" },
		/* Another one of the usual name is only that. */
		{ 0, "b CREATE Sent\r\n", "b OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "b LIST (SPECIAL-USE) \"\" S*\r\n", "* LIST (\\HasNoChildren \\Sent) \".\" \"Sent Items\"\r\nb OK Mailboxes listed\r\n" },
		{ 0, "b GETMETADATA \"Sent Items\" /private/specialuse\r\n",
		    "* METADATA \"Sent Items\" (/private/specialuse \"\\\\Sent\")\r\nb OK Metadata given\r\n" },
		C("b SETMETADATA \"Sent Items\" (/private/specialuse NIL)"),
		{ 0, "b LIST (SPECIAL-USE) \"\" S*\r\n", "* LIST (\\HasNoChildren \\Sent) \".\" \"Sent\"\r\nb OK Mailboxes listed\r\n" },
		C("b SETMETADATA Y (/private/specialuse \"\\\\Archive\")"),
		{ 0, "b LIST (SPECIAL-USE) \"\" (A* Y)\r\n", "* LIST (\\HasNoChildren \\Archive) \".\" \"Y\"\r\nb OK Mailboxes listed\r\n" },
		{ 0, "b SETMETADATA Y (/private/specialuse \"x\")\r\n", "b NO [USEATTR] No mailbox can have that use\r\n" },
		/* The use stays with what is renamed. */
		{ 0, "b RENAME Trash Bin\r\n", "b OK Mailbox renamed\r\n" },
		{ 0, "b LIST (SPECIAL-USE) \"\" B%\r\n", "* LIST (\\HasNoChildren \\Trash) \".\" \"Bin\"\r\nb OK Mailboxes listed\r\n" },
	};

	TALK(*state, turns);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TALK_TEST(metadata),
		TALK_TEST(limits),
		TALK_TEST(special_uses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
