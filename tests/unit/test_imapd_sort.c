/* imapd: SORT and THREAD as whole commands. */
#include "imapd_talk.h"

static void
sort(void **state)
{
	static const char *const messages[] = {
		/* 1 */ "From: Zoe <bob@x>\r\nTo: z@x\r\nSubject: banana\r\nDate: Tue, 1 Feb 1994 10:00:00 +0000\r\n\r\nx\r\n",
		/* 2 */ "From: alice@x\r\nTo: Yan <y@x>\r\nCc: c@x\r\nSubject: Re: Apple\r\nDate: Mon, 31 Jan 1994 10:00:00 +0000\r\n\r\nxxxxxx\r\n",
		/* 3 */ "From: =?utf-8?Q?=C3=89mile?= <carl@x>\r\nTo: friends: a@x;\r\nSubject: [l] apple\r\nDate: Tue, 1 Feb 1994 12:00:00 +0300\r\n\r\nxx\r\n",
		/* 4 */ "Subject: \r\n\r\ny\r\n",
	};
	static const struct { const char *args, *result; } row[] = {
		{ "(ARRIVAL) UTF-8 ALL", "* SORT 4 3 2 1\r\n" },
		{ "(REVERSE ARRIVAL) UTF-8 ALL", "* SORT 1 2 3 4\r\n" },
		{ "(SIZE) UTF-8 ALL", "* SORT 4 1 2 3\r\n" },
		{ "(DATE) UTF-8 ALL", "* SORT 2 3 1 4\r\n" },		/* 4 has none: it came later */
		{ "(REVERSE DATE) UTF-8 ALL", "* SORT 4 1 3 2\r\n" },
		{ "(SUBJECT) UTF-8 ALL", "* SORT 4 2 3 1\r\n" },		/* 2 and 3 are equal: by number */
		{ "(REVERSE SUBJECT) UTF-8 ALL", "* SORT 1 2 3 4\r\n" },	/* still by number */
		{ "(SUBJECT REVERSE DATE) UTF-8 ALL", "* SORT 4 3 2 1\r\n" },
		{ "(FROM) UTF-8 ALL", "* SORT 4 2 1 3\r\n" },
		{ "(TO) UTF-8 ALL", "* SORT 4 3 2 1\r\n" },
		{ "(CC) UTF-8 ALL", "* SORT 1 3 4 2\r\n" },
		{ "(DISPLAYFROM) UTF-8 ALL", "* SORT 4 2 3 1\r\n" },		/* nothing, alice@x, Emile, Zoe */
		{ "(DISPLAYTO) UTF-8 ALL", "* SORT 4 3 2 1\r\n" },		/* nothing, friends, Yan, z@x */
		{ "(SUBJECT) US-ASCII SUBJECT apple", "* SORT 2 3\r\n" },
		{ "(SUBJECT) UTF-8 SUBJECT nothing", "* SORT\r\n" },
		{ "RETURN (ALL COUNT MIN MAX) (DATE) UTF-8 ALL", "* ESEARCH (TAG \"b\") MIN 2 MAX 4 COUNT 4 ALL 2:3,1,4\r\n" },
		{ "RETURN () (REVERSE DATE) UTF-8 ALL", "* ESEARCH (TAG \"b\") ALL 4,1,3,2\r\n" },
		{ "RETURN (PARTIAL 1:2) (DATE) UTF-8 ALL", "* ESEARCH (TAG \"b\") PARTIAL (1:2 2:3)\r\n" },
		{ "RETURN (SAVE) (REVERSE DATE) UTF-8 SUBJECT apple", "" },
		{ "(ARRIVAL) UTF-8 $", "* SORT 3 2\r\n" },
		{ "(SUBJECT) klingon ALL", NULL }, { "SUBJECT UTF-8 ALL", NULL }, { "() UTF-8 ALL", NULL },
		{ "(COLOUR) UTF-8 ALL", NULL }, { "(REVERSE) UTF-8 ALL", NULL }, { "(DATE) UTF-8", NULL }, { "(DATE) ALL", NULL },
	};
	struct user *u = *state;
	char text[300], answer[300];

	for (size_t i = 0; i < LEN(messages); i++) {
		(void)snprintf(text, sizeof(text), "\"0%zu-Jul-1996 02:44:25 -0700\" ", 9 - i);
		append(u, text, messages[i]);
	}
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < LEN(row); i++) {
		(void)snprintf(text, sizeof(text), "b SORT %s\r\n", row[i].args);
		(void)snprintf(answer, sizeof(answer), "%sb OK Sorted\r\n", row[i].result == NULL ? "" : row[i].result);
		(void)say(u, 0, text);
		if (row[i].result == NULL ? strstr(buf_cstr(&u->out), "OK") != NULL : strcmp(buf_cstr(&u->out), answer) != 0)
			fail_msg("%s: %s", row[i].args, buf_cstr(&u->out));
	}
	(void)say(u, 0, "b STORE 1 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\n");
	assert_string_equal(say(u, 0, "b UID SORT (DATE) UTF-8 ALL\r\n"), "* SORT 2 3 4\r\nb OK Sorted\r\n");
	assert_string_equal(say(u, 0, "b SORT (DATE) UTF-8 ALL\r\n"), "* SORT 1 2 3\r\nb OK Sorted\r\n");
}

static void
thread(void **state)
{
	static const char *const messages[] = {
		"Message-ID: <1@x>\r\nSubject: a\r\nDate: Tue, 1 Feb 1994 10:00:00 +0000\r\n\r\nx\r\n",
		"Message-ID: <2@x>\r\nSubject: b\r\nDate: Tue, 1 Feb 1994 11:00:00 +0000\r\n\r\nx\r\n",
		"Message-ID: <3@x>\r\nReferences:\r\n\t<1@x>\r\nSubject: RE: A\r\nDate: Tue, 1 Feb 1994 12:00:00 +0000\r\n\r\nx\r\n",
		"Message-ID: <4@x>\r\nIn-Reply-To: Message of noon <3@x>\r\nSubject: other\r\nDate: Tue, 1 Feb 1994 13:00:00 +0000\r\n\r\nx\r\n",
		"Message-ID: <5@x>\r\nReferences: <1@x> <3@x>\r\nSubject: Fwd: [l] b\r\nDate: Tue, 1 Feb 1994 14:00:00 +0000\r\n\r\nx\r\n",
	};
	static const struct turn turns[] = {
		{ 0, "b THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (1 3 (4)(5))(2)\r\nb OK Threaded\r\n" },
		{ 0, "b THREAD ORDEREDSUBJECT UTF-8 ALL\r\n", "* THREAD (1 3)(2 5)(4)\r\nb OK Threaded\r\n" },
		{ 0, "b THREAD REFERENCES UTF-8 NOT 1\r\n", "* THREAD (2)(3 (4)(5))\r\nb OK Threaded\r\n" },
		{ 0, "b THREAD REFERENCES UTF-8 DRAFT\r\n", "* THREAD\r\nb OK Threaded\r\n" },
		{ 0, "b THREAD BYCOLOUR UTF-8 ALL\r\n", "b BAD Unknown threading algorithm\r\n" },
		{ 0, "b THREAD REFERENCES ALL\r\n", "b BAD Missing argument\r\n" },
		{ 0, "b THREAD REFERENCES klingon ALL\r\n",
		    "b NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset, or text that is none of it\r\n" },
		{ 0, "b STORE 2 +FLAGS.SILENT (\\Deleted)\r\n", "b OK Flags stored\r\n" },
		{ 0, "b EXPUNGE\r\n", "* 2 EXPUNGE\r\nb OK Expunged\r\n" },
		{ 0, "b UID THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (1 3 (4)(5))\r\nb OK Threaded\r\n" },
		{ 0, "b THREAD REFERENCES UTF-8 ALL\r\n", "* THREAD (1 2 (3)(4))\r\nb OK Threaded\r\n" },
	};
	struct user *u = *state;

	for (size_t i = 0; i < LEN(messages); i++)
		append(u, "", messages[i]);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	TALK(u, turns);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TALK_TEST(sort),
		TALK_TEST(thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
