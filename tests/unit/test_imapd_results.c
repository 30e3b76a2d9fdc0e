/* imapd: SEARCH with results (ESEARCH, SEARCHRES, PARTIAL, WITHIN), LIST and STATUS with more to say. */
#include "imapd_talk.h"

/* Five messages: 1 seen, 3 and 4 flagged. */
static void
five(struct user *u)
{
	append(u, "(\\Seen) \"17-Jul-1996 02:44:25 -0700\" ", MESSAGE_1);
	append(u, "", MESSAGE_2);
	append(u, "(\\Flagged) ", MESSAGE_2);
	append(u, "(\\Flagged) ", MESSAGE_2);
	append(u, "", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
}

static void
esearch(void **state)
{
	static const struct { const char *args, *result; } row[] = {
		{ "RETURN () ALL", "* ESEARCH (TAG \"b\") ALL 1:5\r\n" },
		{ "RETURN (MIN MAX COUNT ALL) FLAGGED", "* ESEARCH (TAG \"b\") MIN 3 MAX 4 COUNT 2 ALL 3:4\r\n" },
		{ "return (count) DRAFT", "* ESEARCH (TAG \"b\") COUNT 0\r\n" },
		{ "RETURN (MIN ALL) DRAFT", "* ESEARCH (TAG \"b\")\r\n" },
		{ "RETURN (ALL) NOT FLAGGED", "* ESEARCH (TAG \"b\") ALL 1:2,5\r\n" },
		{ "RETURN (PARTIAL 1:2) ALL", "* ESEARCH (TAG \"b\") PARTIAL (1:2 1:2)\r\n" },
		{ "RETURN (PARTIAL 5:4 COUNT) ALL", "* ESEARCH (TAG \"b\") COUNT 5 PARTIAL (4:5 4:5)\r\n" },
		{ "RETURN (PARTIAL 6:9) ALL", "* ESEARCH (TAG \"b\") PARTIAL (6:9 NIL)\r\n" },
		{ "RETURN (PARTIAL -1:-2) ALL", "* ESEARCH (TAG \"b\") PARTIAL (-1:-2 4:5)\r\n" },
		{ "RETURN (PARTIAL -2:-900) ALL", "* ESEARCH (TAG \"b\") PARTIAL (-2:-900 1:4)\r\n" },
		{ "RETURN (SAVE) SEEN", "" },
		{ "RETURN (COUNT) CHARSET utf-8 SUBJECT one", "* ESEARCH (TAG \"b\") COUNT 1\r\n" },
		{ "OLDER 3600", "* SEARCH 1\r\n" },
		{ "YOUNGER 3600", "* SEARCH 2 3 4 5\r\n" },
		{ "NOT OLDER 3600 FLAGGED", "* SEARCH 3 4\r\n" },
	};
	static const char *const bad[] = {
		"RETURN (FOO) ALL", "RETURN (MIN ALL", "RETURN ALL", "RETURN (ALL PARTIAL 1:2) ALL", "RETURN (PARTIAL 1) ALL",
		"RETURN (PARTIAL 1:-2) ALL", "RETURN (PARTIAL 0:2) ALL", "RETURN (PARTIAL 1:2 PARTIAL 2:3) ALL", "RETURN (MIN)",
		"OLDER 0", "YOUNGER x", "RETURN () $,1", "RETURN ()",
	};
	struct user *u = *state;
	char text[300], answer[300];

	five(u);
	for (size_t i = 0; i < LEN(row); i++) {
		(void)snprintf(text, sizeof(text), "b SEARCH %s\r\n", row[i].args);
		(void)snprintf(answer, sizeof(answer), "%sb OK Searched\r\n", row[i].result);
		if (strcmp(say(u, 0, text), answer) != 0)
			fail_msg("%s: %s", row[i].args, buf_cstr(&u->out));
	}
	for (size_t i = 0; i < LEN(bad); i++) {
		(void)snprintf(text, sizeof(text), "b SEARCH %s\r\n", bad[i]);
		if (strncmp(say(u, 0, text), "b BAD ", 6) != 0)
			fail_msg("%s: %s", bad[i], buf_cstr(&u->out));
	}
	(void)say(u, 0, "b UID STORE 1 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\n");
	assert_string_equal(say(u, 0, "b UID SEARCH RETURN (MIN MAX ALL) FLAGGED\r\n"),
	    "* ESEARCH (TAG \"b\") UID MIN 3 MAX 4 ALL 3:4\r\nb OK Searched\r\n");
}

static void
saved_results(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b FETCH $ UID\r\n", "b OK Fetched\r\n" },	/* nothing was saved yet */
		{ 0, "b SEARCH RETURN (SAVE) FLAGGED\r\n", "b OK Searched\r\n" },
		{ 0, "b FETCH $ UID\r\n", "* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\nb OK Fetched\r\n" },
		{ 0, "b UID FETCH $ UID\r\n", "* 3 FETCH (UID 3)\r\n* 4 FETCH (UID 4)\r\nb OK Fetched\r\n" },
		{ 0, "b SEARCH $ 1:3\r\n", "* SEARCH 3\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH OR UID $ 1\r\n", "* SEARCH 1 3 4\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH NOT $\r\n", "* SEARCH 1 2 5\r\nb OK Searched\r\n" },
		/* A command that is BAD leaves it, one that fails empties it. */
		{ 0, "b SEARCH RETURN (SAVE) FOO\r\n", "b BAD Unknown search key\r\n" },
		{ 0, "b SEARCH RETURN (COUNT) $\r\n", "* ESEARCH (TAG \"b\") COUNT 2\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH RETURN (SAVE) CHARSET klingon TEXT x\r\n",
		    "b NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset, or text that is none of it\r\n" },
		{ 0, "b SEARCH RETURN (COUNT) $\r\n", "* ESEARCH (TAG \"b\") COUNT 0\r\nb OK Searched\r\n" },
		/* What is saved depends on what else is asked for. */
		{ 0, "b SEARCH RETURN (SAVE MIN) ALL\r\n", "* ESEARCH (TAG \"b\") MIN 1\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH $\r\n", "* SEARCH 1\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH RETURN (MAX SAVE MIN) ALL\r\n", "* ESEARCH (TAG \"b\") MIN 1 MAX 5\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH $\r\n", "* SEARCH 1 5\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH RETURN (MAX SAVE MIN COUNT) ALL\r\n", "* ESEARCH (TAG \"b\") MIN 1 MAX 5 COUNT 5\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH $\r\n", "* SEARCH 1 2 3 4 5\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH RETURN (SAVE PARTIAL -1:-2 MIN) ALL\r\n",
		    "* ESEARCH (TAG \"b\") MIN 1 PARTIAL (-1:-2 4:5)\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH $\r\n", "* SEARCH 1 4 5\r\nb OK Searched\r\n" },
		/* Made of what was saved before. */
		{ 0, "b SEARCH RETURN (SAVE) $ UNFLAGGED\r\n", "b OK Searched\r\n" },
		{ 0, "b STORE $ +FLAGS.SILENT (\\Deleted)\r\n", "b OK Flags stored\r\n" },
		{ 0, "b COPY $ Sent\r\n", "b OK [COPYUID # 1,5 1:2] Messages copied\r\n" },
		{ 0, "b UID EXPUNGE $\r\n", "* 5 EXPUNGE\r\n* 1 EXPUNGE\r\nb OK Expunged\r\n" },
		{ 0, "b FETCH $ UID\r\n", "b OK Fetched\r\n" },
		{ 0, "b SEARCH RETURN (SAVE) UID 3\r\n", "b OK Searched\r\n" },
		{ 0, "b MOVE $ Sent\r\n", "* OK [COPYUID # 3 3] Messages moved\r\n* 2 EXPUNGE\r\nb OK Moved\r\n" },
		{ 0, "b MOVE $ Sent\r\n", "b OK No messages\r\n" },
	};
	struct user *u = *state;

	five(u);
	TALK(u, turns);
	(void)say(u, 0, "b SEARCH RETURN (SAVE) ALL\r\nb EXAMINE Sent\r\n");
	assert_string_equal(say(u, 0, "b SEARCH $\r\n"), "* SEARCH\r\nb OK Searched\r\n");
}

/* Expunged by another session: not told yet, and passed over. */
static void
saved_and_gone(void **state)
{
	static const struct turn turns[] = {
		{ 1, "b SEARCH RETURN (SAVE) 2:3\r\n", "b OK Searched\r\n" },
		{ 0, "b STORE 2 +FLAGS.SILENT (\\Deleted)\r\n", "b OK Flags stored\r\n" },
		{ 0, "b EXPUNGE\r\n", "* 2 EXPUNGE\r\nb OK Expunged\r\n" },
		{ 1, "b FETCH $ (UID BODY.PEEK[TEXT])\r\n", "* 3 FETCH (UID 3 BODY[TEXT] {3}\r\nx\r\n)\r\nb OK Fetched\r\n" },
		{ 1, "b COPY $ Sent\r\n", "* 2 EXPUNGE\r\nb OK [COPYUID # 3 1] Messages copied\r\n" },
	};
	struct user *u = *state;

	five(u);
	(void)say(u, 1, "a EXAMINE INBOX\r\n");
	TALK(u, turns);
}

static void
status(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b STATUS INBOX (SIZE DELETED DELETED-STORAGE APPENDLIMIT)\r\n",
		    "* STATUS \"INBOX\" (DELETED 0 SIZE 215 DELETED-STORAGE 0 APPENDLIMIT 1000000)\r\nb OK Status given\r\n" },
		{ 0, "b STORE 1 +FLAGS.SILENT (\\Deleted)\r\n", "b OK Flags stored\r\n" },
		{ 0, "b STATUS INBOX (SIZE DELETED DELETED-STORAGE)\r\n",
		    "* STATUS \"INBOX\" (DELETED 1 SIZE 215 DELETED-STORAGE " MESSAGE_1_SIZE ")\r\nb OK Status given\r\n" },
		{ 0, "b LIST \"\" (INBOX S%) RETURN (STATUS (MESSAGES UNSEEN) SUBSCRIBED)\r\n",
		    "* LIST (\\HasNoChildren \\Subscribed) \".\" \"INBOX\"\r\n* STATUS \"INBOX\" (MESSAGES 5 UNSEEN 4)\r\n"
		    "* LIST (\\HasNoChildren \\Subscribed \\Sent) \".\" \"Sent\"\r\n* STATUS \"Sent\" (MESSAGES 0 UNSEEN 0)\r\n"
		    "b OK Mailboxes listed\r\n" },
		{ 0, "b CREATE A.B\r\n", "b OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "b DELETE A\r\n", NULL },
		{ 0, "b SUBSCRIBE A.B\r\n", "b OK Mailbox subscribed\r\n" },
		{ 0, "b SUBSCRIBE A.Q\r\n", "b OK Mailbox subscribed\r\n" },
		/* No STATUS of what does not exist, or is told for its children alone. */
		{ 0, "b LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (A A.%) RETURN (STATUS (MESSAGES))\r\n",
		    "* LIST (\\NonExistent \\HasChildren) \".\" \"A\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
		    "* LIST (\\HasNoChildren \\Subscribed) \".\" \"A.B\"\r\n* STATUS \"A.B\" (MESSAGES 0)\r\n"
		    "* LIST (\\NonExistent \\HasNoChildren \\Subscribed) \".\" \"A.Q\"\r\nb OK Mailboxes listed\r\n" },
		{ 0, "b LIST \"\" % RETURN (STATUS)\r\n", "b BAD Missing argument\r\n" },
		{ 0, "b LIST \"\" % RETURN (STATUS ())\r\n", "b BAD Syntax error\r\n" },
		{ 0, "b LIST \"\" % RETURN (STATUS (FOO))\r\n", "b BAD Unknown status item\r\n" },
		/* In the extended syntax "" is a pattern like any other, which nothing matches. */
		{ 0, "b LIST \"\" \"\" RETURN (CHILDREN)\r\n", "b OK Mailboxes listed\r\n" },
		{ 0, "b LIST () \"\" Sent\r\n", "* LIST (\\HasNoChildren \\Sent) \".\" \"Sent\"\r\nb OK Mailboxes listed\r\n" },
		{ 0, "b LIST (FOO) \"\" %\r\n", "b BAD Unknown LIST option\r\n" },
	};
	struct user *u = *state;

	five(u);
	for (size_t i = 0; i < LEN(turns); i++)
		if (turns[i].answer != NULL)
			talk(u, &turns[i], 1);
		else
			(void)say(u, turns[i].who, turns[i].say);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TALK_TEST(esearch),
		TALK_TEST(saved_results),
		TALK_TEST(saved_and_gone),
		TALK_TEST(status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
