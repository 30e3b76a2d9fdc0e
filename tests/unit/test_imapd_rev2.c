/* imapd: IMAP4rev2 and what came with it: UTF-8 names, BINARY, several messages in one APPEND, quota. */
#include "imapd_talk.h"

static void
enable(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a ENABLE FOO\r\n", "* ENABLED\r\na OK Enabled what there is\r\n" },
		{ 0, "a ENABLE foo imap4REV2 UTF8=ACCEPT\r\n", "* ENABLED IMAP4rev2 UTF8=ACCEPT\r\na OK Enabled what there is\r\n" },
		{ 0, "a ENABLE \"x\"\r\n", "a BAD Syntax error\r\n" },
	};

	TALK(*state, turns);
}

static void
rev2(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a ENABLE IMAP4rev2\r\n", "* ENABLED IMAP4rev2\r\na OK Enabled what there is\r\n" },
		{ 0, "b SELECT inbox\r\n", "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n"
		    "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)] Flags permitted\r\n"
		    "* 2 EXISTS\r\n* OK [UIDVALIDITY #] UIDs valid\r\n* OK [UIDNEXT 3] Predicted next UID\r\n* OK [HIGHESTMODSEQ #] Highest\r\n* OK [MAILBOXID (#)] Mailbox id\r\n"
		    "* LIST () \".\" \"INBOX\"\r\nb OK [READ-WRITE] Mailbox selected\r\n" },
		{ 0, "b FETCH 1 FLAGS\r\n", "* 1 FETCH (FLAGS ())\r\nb OK Fetched\r\n" },
		{ 0, "b SEARCH UNSEEN\r\n", "* ESEARCH (TAG \"b\") ALL 1:2\r\nb OK Searched\r\n" },
		{ 0, "b UID SEARCH SEEN\r\n", "* ESEARCH (TAG \"b\") UID\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH RETURN (COUNT) ALL\r\n", "* ESEARCH (TAG \"b\") COUNT 2\r\nb OK Searched\r\n" },
		{ 1, "b STORE 2 +FLAGS (\\Flagged)\r\n", "* 2 FETCH (FLAGS (\\Flagged \\Recent))\r\nb OK Flags stored\r\n" },
		{ 1, "b APPEND INBOX {19+}\r\n" MESSAGE_2 "\r\n", "* 3 EXISTS\r\n* 3 RECENT\r\nb OK [APPENDUID # 3] Message appended\r\n" },
		{ 0, "b NOOP\r\n", "* 3 EXISTS\r\n* 2 FETCH (UID 2 FLAGS (\\Flagged))\r\nb OK Nothing done\r\n" },
		{ 0, "b EXAMINE Sent\r\n", "* OK [CLOSED] Previous mailbox closed\r\n"
		    "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)\r\n* OK [PERMANENTFLAGS ()] Read-only mailbox\r\n"
		    "* 0 EXISTS\r\n* OK [UIDVALIDITY #] UIDs valid\r\n* OK [UIDNEXT 1] Predicted next UID\r\n* OK [HIGHESTMODSEQ #] Highest\r\n* OK [MAILBOXID (#)] Mailbox id\r\n"
		    "* LIST () \".\" \"Sent\"\r\nb OK [READ-ONLY] Mailbox examined\r\n" },
		{ 0, "b SELECT Nowhere\r\n", "* OK [CLOSED] Previous mailbox closed\r\nb NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
	};
	struct user *u = *state;

	append(u, "", MESSAGE_1);
	append(u, "", MESSAGE_2);
	(void)say(u, 1, "a EXAMINE INBOX\r\na SELECT INBOX\r\n");
	TALK(u, turns);
}

/* The same mailboxes, as a client of old and as one that speaks UTF-8 sees them. */
static void
utf8_names(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a ENABLE IMAP4rev2\r\n", "* ENABLED IMAP4rev2\r\na OK Enabled what there is\r\n" },
		{ 0, "a CREATE \"Entw\xc3\xbcrfe\"\r\n", "a OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 1, "a LIST \"\" E%\r\n", "* LIST (\\HasNoChildren) \".\" \"Entw&APw-rfe\"\r\na OK Mailboxes listed\r\n" },
		{ 0, "a LIST \"\" \"E%\xc3\xbcr*\"\r\n", "* LIST (\\HasNoChildren) \".\" \"Entw\xc3\xbcrfe\"\r\na OK Mailboxes listed\r\n" },
		{ 1, "a CREATE \"R&-D\"\r\n", "a OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "a STATUS \"R&D\" (MESSAGES)\r\n", "* STATUS \"R&D\" (MESSAGES 0)\r\na OK Status given\r\n" },
		{ 0, "a LIST \"\" R&%\r\n", "* LIST (\\HasNoChildren) \".\" \"R&D\"\r\na OK Mailboxes listed\r\n" },
		/* A name that is not in Normalization Form C is told as what it became. */
		{ 0, "a CREATE {5+}\r\nxe\xcc\x81y\r\n", "* LIST () \".\" \"x\xc3\xa9y\" (\"OLDNAME\" (\"xe\xcc\x81y\"))\r\na OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "a RENAME \"x\xc3\xa9y\" \"z\xc3\xa9\"\r\n", "a OK Mailbox renamed\r\n" },
		{ 0, "a SUBSCRIBE \"z\xc3\xa9\"\r\n", "a OK Mailbox subscribed\r\n" },
		{ 0, "a LSUB \"\" z*\r\n", "* LSUB () \".\" \"z\xc3\xa9\"\r\na OK Subscriptions listed\r\n" },
		{ 0, "a CREATE inbox.sub\r\n", "* LIST () \".\" \"INBOX.sub\" (\"OLDNAME\" (\"inbox.sub\"))\r\na OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "a CREATE \"\xff\"\r\n", "a NO [CANNOT] Invalid mailbox name\r\n" },
		{ 0, "a SELECT \"\xc3\"\r\n", "a NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
		{ 0, "a LIST \"\" \"\xc3\"\r\n", "a OK Mailboxes listed\r\n" },
		{ 0, "a DELETE \"z\xc3\xa9\"\r\n", "a OK Mailbox deleted\r\n" },
		{ 1, "a SELECT \"Entw\xc3\xbcrfe\"\r\n", "a NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
	};

	TALK(*state, turns);
}

static void
utf8_accept(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a APPEND INBOX UTF8 (~{15+}\r\nSubject: \xc3\xbc\r\n\r\n)\r\n", "a BAD ENABLE UTF8=ACCEPT first\r\n" },
		{ 0, "a ENABLE UTF8=ACCEPT\r\n", "* ENABLED UTF8=ACCEPT\r\na OK Enabled what there is\r\n" },
		{ 0, "a APPEND INBOX UTF8 (~{15+}\r\nSubject: \xc3\xbc\r\n\r\n)\r\n", "a OK [APPENDUID # 1] Message appended\r\n" },
		{ 0, "a APPEND INBOX UTF8 (~{15+}\r\nSubject: \xc3\xbc\r\n\r\n) (\\Seen) UTF8 (~{15+}\r\nSubject: \xc3\xa4\r\n\r\n)\r\n",
		    "a OK [APPENDUID # 2:3] Messages appended\r\n" },
		{ 0, "a APPEND INBOX UTF8 (~{15+}\r\nSubject: \xc3\xbc\r\n\r\n\r\n", "a BAD Unexpected arguments behind the message\r\n" },
		{ 0, "a CREATE \"\xc3\xbc\"\r\n", "a OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "a LIST \"\" \"\xc3\xbc\"\r\n", "* LIST (\\HasNoChildren) \".\" \"\xc3\xbc\"\r\na OK Mailboxes listed\r\n" },
		{ 0, "a EXAMINE \"\xc3\xbc\"\r\n", NULL },
		{ 0, "a SELECT INBOX\r\n", NULL },
		{ 0, "a SEARCH SUBJECT \"\xc3\x9c\"\r\n", "* SEARCH 1 2\r\na OK Searched\r\n" },
		{ 0, "a SEARCH CHARSET UTF-8 SUBJECT \"x\"\r\n", "a BAD No CHARSET after ENABLE UTF8=ACCEPT\r\n" },
		{ 0, "a SORT (SUBJECT) UTF-8 SUBJECT \"\xc3\x9c\"\r\n", "* SORT 1 2\r\na OK Sorted\r\n" },
	};
	struct user *u = *state;

	for (size_t i = 0; i < LEN(turns); i++)
		if (turns[i].answer != NULL)
			talk(u, &turns[i], 1);
		else
			(void)say(u, turns[i].who, turns[i].say);
}

#define ENCODED \
	"Content-Type: multipart/mixed; boundary=B\r\n\r\n" \
	"--B\r\nContent-Transfer-Encoding: base64\r\n\r\nAGEA\r\nYg==\r\n" \
	"--B\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=\r\nn\r\n" \
	"--B\r\nContent-Transfer-Encoding: x-rot13\r\n\r\nabc\r\n" \
	"--B\r\nContent-Type: message/rfc822\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\neA==\r\n" \
	"--B--\r\n"

static void
binary(void **state)
{
	static const struct { const char *items, *answer; } row[] = {
		{ "BINARY.SIZE[1]", "* 1 FETCH (BINARY.SIZE[1] 4)\r\n" },
		{ "BINARY.SIZE[2]", "* 1 FETCH (BINARY.SIZE[2] 4)\r\n" },
		{ "BINARY.PEEK[2]", "* 1 FETCH (BINARY[2] {4}\r\nGr\xfcn)\r\n" },
		{ "BINARY.PEEK[2]<1.2>", "* 1 FETCH (BINARY[2]<1> {2}\r\nr\xfc)\r\n" },
		{ "BINARY.PEEK[2]<9.2>", "* 1 FETCH (BINARY[2]<9> {0}\r\n)\r\n" },
		{ "BINARY.PEEK[4.1]", "* 1 FETCH (BINARY[4.1] {1}\r\nx)\r\n" },
		{ "(BINARY.PEEK[2] BINARY.SIZE[4.1] BODY.PEEK[2]<0.3>)",
		    "* 1 FETCH (BINARY[2] {4}\r\nGr\xfcn BINARY.SIZE[4.1] 1 BODY[2]<0> {3}\r\nGr=)\r\n" },
		{ "BINARY.PEEK[9]", "* 1 FETCH (BINARY[9] NIL)\r\n" },
		{ "BINARY.PEEK[1]<1.1>", "* 1 FETCH (BINARY[1]<1> {1}\r\na)\r\n" },
	};
	struct user *u = *state;
	char text[300], answer[300];
	struct slice got;

	append(u, "", ENCODED);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < LEN(row); i++) {
		(void)snprintf(text, sizeof(text), "b FETCH 1 %s\r\n", row[i].items);
		(void)snprintf(answer, sizeof(answer), "%sb OK Fetched\r\n", row[i].answer);
		if (strcmp(say(u, 0, text), answer) != 0)
			fail_msg("%s: %s", row[i].items, buf_cstr(&u->out));
	}
	/* With a NUL it is a literal8. */
	(void)say(u, 0, "b FETCH 1 BINARY.PEEK[1]\r\n");
	got = buf_slice_of(&u->out);
	assert_true(slice_eq(slice_sub(got, 0, 34), slice_make("* 1 FETCH (BINARY[1] ~{4}\r\n\0a\0b)\r\n", 34)));
	assert_string_equal(say(u, 0, "b FETCH 1 BINARY.PEEK[3]\r\n"), "b NO [UNKNOWN-CTE] A part is in an encoding that is not known\r\n");
	assert_string_equal(say(u, 0, "b FETCH 1 BINARY.SIZE[3]\r\n"), "b NO [UNKNOWN-CTE] A part is in an encoding that is not known\r\n");
	assert_string_equal(say(u, 0, "b FETCH 1 FLAGS\r\n"), "* 1 FETCH (FLAGS (\\Recent))\r\nb OK Fetched\r\n");
	assert_string_equal(say(u, 0, "b FETCH 1 BINARY[4.1]\r\n"),
	    "* 1 FETCH (FLAGS (\\Seen \\Recent) BINARY[4.1] {1}\r\nx)\r\nb OK Fetched\r\n");
}

static void
multiappend(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b APPEND Sent (\\Seen) {5}\r\n", "+ OK\r\n" },
		{ 0, "A: b\n (\\Draft $x) \"17-Jul-1996 02:44:25 -0700\" {5}\r\n", "+ OK\r\n" },
		{ 0, "C: d\n {5+}\r\nE: f\n\r\n", "b OK [APPENDUID # 1:3] Messages appended\r\n" },
		{ 0, "b SELECT Sent\r\n", NULL },
		{ 0, "b FETCH 1:* (FLAGS RFC822.SIZE)\r\n", "* 1 FETCH (FLAGS (\\Seen \\Recent) RFC822.SIZE 6)\r\n"
		    "* 2 FETCH (FLAGS (\\Draft \\Recent $x) RFC822.SIZE 6)\r\n* 3 FETCH (FLAGS (\\Recent) RFC822.SIZE 6)\r\n"
		    "b OK Fetched\r\n" },
		/* All or none. */
		{ 0, "b APPEND Sent {5+}\r\nA: b\n {0+}\r\n\r\n", "b NO [CANNOT] A message cannot be empty\r\n" },
		{ 0, "b APPEND Sent {5+}\r\nA: b\n {1000001}\r\n", "b NO [TOOBIG] Message is too large\r\n" },
		{ 0, "b APPEND Sent {5+}\r\nA: b\n (\\Foo) {5+}\r\nA: b\n {5+}\r\nA: b\n\r\n", "b BAD Unknown system flag\r\n" },
		{ 0, "b APPEND Sent {5+}\r\nA: b\n {5+}\r\nA: b\n x\r\n", "b BAD Unexpected arguments behind the message\r\n" },
		{ 0, "b NOOP\r\n", "b OK Nothing done\r\n" },
		/* literal8: text is kept, what is no text is not. */
		{ 0, "b APPEND INBOX ~{6+}\r\nA: b\r\n\r\n", "b OK [APPENDUID # 1] Message appended\r\n" },
		{ 0, "b APPEND INBOX ~{5+}\r\nA: b\n\r\n", "b NO [UNKNOWN-CTE] Binary content cannot be kept\r\n" },
		{ 0, "b APPEND INBOX ~{7+}\r\nA: b\rc\n\r\n", "b NO [UNKNOWN-CTE] Binary content cannot be kept\r\n" },
		{ 0, "b STATUS INBOX (MESSAGES)\r\n", "* STATUS \"INBOX\" (MESSAGES 1)\r\nb OK Status given\r\n" },
	};
	struct user *u = *state;

	for (size_t i = 0; i < LEN(turns); i++)
		if (turns[i].answer != NULL)
			talk(u, &turns[i], 1);
		else
			(void)say(u, turns[i].who, turns[i].say);
	(void)feed(u, 0, slice_make("b APPEND INBOX ~{6+}\r\nA: \0\r\n\r\n", 30));
	assert_string_equal(buf_cstr(&u->out), "b NO [UNKNOWN-CTE] Binary content cannot be kept\r\n");
}

static void
replace(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b REPLACE 2 INBOX (\\Draft) {5+}\r\nA: b\n\r\n",
		    "* OK [APPENDUID # 4] Message appended\r\n* 2 EXPUNGE\r\n* 3 EXISTS\r\n* 3 RECENT\r\nb OK Replaced\r\n" },
		{ 0, "b UID REPLACE 3 Sent {5}\r\n", "+ OK\r\n" },
		{ 0, "A: b\n\r\n", "* OK [APPENDUID # 1] Message appended\r\n* 2 EXPUNGE\r\nb OK Replaced\r\n" },
		{ 0, "b REPLACE * {5+}\r\nINBOX {5+}\r\nA: b\n\r\n",
		    "* OK [APPENDUID # 5] Message appended\r\n* 2 EXPUNGE\r\n* 2 EXISTS\r\n* 2 RECENT\r\nb OK Replaced\r\n" },
		/* Nothing goes unless something came. */
		{ 0, "b REPLACE 1 Nowhere {5+}\r\nA: b\n\r\n", "b NO [TRYCREATE] Mailbox doesn't exist\r\n" },
		{ 0, "b REPLACE 1 INBOX {0+}\r\n\r\n", "b NO [CANNOT] A message cannot be empty\r\n" },
		{ 0, "b REPLACE 1:2 INBOX {5+}\r\nA: b\n\r\n", "b BAD One message number expected\r\n" },
		{ 0, "b REPLACE $ INBOX {5+}\r\nA: b\n\r\n", "b BAD One message number expected\r\n" },
		{ 0, "b REPLACE 7 INBOX {5+}\r\nA: b\n\r\n", "b BAD No such message\r\n" },
		{ 0, "b UID REPLACE 77 INBOX {5+}\r\nA: b\n\r\n", "b NO [NONEXISTENT] No such message\r\n" },
		{ 0, "b REPLACE 1 INBOX {5+}\r\nA: b\n {5+}\r\nA: b\n\r\n", "b BAD One message at a time\r\n" },
		{ 0, "b REPLACE 1 INBOX\r\n", "b BAD Message literal expected\r\n" },
		{ 0, "b UID FETCH 1:* FLAGS\r\n", "* 1 FETCH (UID 1 FLAGS (\\Recent))\r\n* 2 FETCH (UID 5 FLAGS (\\Recent))\r\nb OK Fetched\r\n" },
		{ 0, "b EXAMINE INBOX\r\n", NULL },
		{ 0, "b REPLACE 1 INBOX {5+}\r\nA: b\n\r\n", "b NO [READ-ONLY] Mailbox is read-only\r\n" },
	};
	struct user *u = *state;

	append(u, "", MESSAGE_2);
	append(u, "", MESSAGE_2);
	append(u, "", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < LEN(turns); i++)
		if (turns[i].answer != NULL)
			talk(u, &turns[i], 1);
		else
			(void)say(u, turns[i].who, turns[i].say);
}

/* How far a long command has come is told between responses. */
static void
progress(void **state)
{
	struct user *u = *state;
	struct buf text;

	buf_init(&text, 1000000);
	(void)buf_text(&text, "a APPEND INBOX");
	for (size_t i = 0; i < 600; i++)
		(void)buf_text(&text, " {5+}\r\nA: b\n");
	(void)buf_text(&text, "\r\na SELECT INBOX\r\n");
	(void)say(u, 0, buf_cstr(&text));
	buf_clear(&text);
	assert_null(strstr(say(u, 0, "b SORT (SUBJECT) UTF-8 ALL\r\n"), "INPROGRESS"));
	u->s[0]->progress_ms = 0;
	(void)say(u, 0, "b SORT (SUBJECT) UTF-8 ALL\r\n");
	assert_memory_equal(buf_cstr(&u->out), "* OK [INPROGRESS (\"b\" 500 600)] Still working\r\n* SORT 1 2 3 ", 60);
	assert_non_null(strstr(say(u, 0, "b THREAD REFERENCES UTF-8 ALL\r\n"), "* OK [INPROGRESS (\"b\" 500 600)] Still working\r\n* THREAD "));
}

static void
quota(void **state)
{
	static const struct turn none[] = {
		{ 0, "b GETQUOTAROOT INBOX\r\n", "* QUOTAROOT \"INBOX\"\r\nb OK Quota given\r\n" },
		{ 0, "b GETQUOTA \"User\"\r\n", "b NO [NONEXISTENT] No such quota root\r\n" },
		{ 0, "b GETQUOTAROOT Nowhere\r\n", "b NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
	}, some[] = {
		{ 0, "b GETQUOTAROOT INBOX\r\n", "* QUOTAROOT \"INBOX\" \"User\"\r\n* QUOTA \"User\" (STORAGE 1 10)\r\nb OK Quota given\r\n" },
		{ 0, "b GETQUOTA User\r\n", "* QUOTA \"User\" (STORAGE 1 10)\r\nb OK Quota given\r\n" },
		{ 0, "b GETQUOTA \"\"\r\n", "b NO [NONEXISTENT] No such quota root\r\n" },
		{ 0, "b APPEND INBOX {20000}\r\n", "b NO [OVERQUOTA] Quota exceeded\r\n" },
		{ 0, "b SETQUOTA User (STORAGE 500)\r\n", "b BAD Unknown command\r\n" },
	};
	struct user *u = *state;
	enum store_error error;
	struct store *limited;

	TALK(u, none);
	append(u, "", MESSAGE_1);
	imap_session_free(u->s[0]);
	imap_session_free(u->s[1]);
	store_close(u->store);
	limited = store_open(u->fd, &(struct store_options){ .hostname = "mail.example", .quota = 10240, .create = true }, &error);
	assert_non_null(limited);
	u->store = limited;
	for (size_t i = 0; i < 2; i++) {
		const struct imap_setup setup = { .store = limited, .user = "alice@example.org", .message_size = 1000000 };

		u->s[i] = imap_session_new(&setup, SLICE("L"));
		(void)say(u, i, "");
	}
	TALK(u, some);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TALK_TEST(enable),
		TALK_TEST(rev2),
		TALK_TEST(utf8_names),
		TALK_TEST(utf8_accept),
		TALK_TEST(binary),
		TALK_TEST(multiappend),
		TALK_TEST(replace),
		TALK_TEST(progress),
		TALK_TEST(quota),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
