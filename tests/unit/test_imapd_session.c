/* imapd: whole conversations against a Maildir of their own. */
#include "imapd_talk.h"

/* ---- the dialogues ---- */

#define CAPABILITIES \
	"IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE SPECIAL-USE LIST-EXTENDED " \
	"LIST-STATUS STATUS=SIZE ESEARCH SEARCHRES WITHIN SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES " \
	"I18NLEVEL=1 UTF8=ACCEPT BINARY MULTIAPPEND QUOTA QUOTA=RES-STORAGE CONDSTORE QRESYNC " \
	"PARTIAL OBJECTID SAVEDATE PREVIEW CREATE-SPECIAL-USE METADATA REPLACE INPROGRESS COMPRESS=DEFLATE APPENDLIMIT=1000000"

static void
simple(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a NOOP\r\n", "a OK Nothing done\r\n" },
		{ 0, "a CAPABILITY\r\n", "* CAPABILITY " CAPABILITIES "\r\na OK Capabilities listed\r\n" },
		{ 0, "a NOOP garbage\r\n", "a BAD Unexpected arguments\r\n" },
		{ 0, "a NAMESPACE\r\n", "* NAMESPACE ((\"\" \".\")) NIL NIL\r\na OK Namespaces listed\r\n" },
		{ 0, "a ID (\"name\" \"x\")\r\n", "* ID (\"name\" \"Pennypost\")\r\na OK ID exchanged\r\n" },
		{ 0, "a ENABLE FOO BAR\r\n", "* ENABLED\r\na OK Enabled what there is\r\n" },
		{ 0, "a ENABLE\r\n", "a BAD Missing argument\r\n" },
		{ 0, "a FETCH 1 UID\r\n", "a BAD No mailbox is selected\r\n" },
		{ 0, "a LOGIN a b\r\n", "a BAD Unknown command\r\n" },
		{ 0, "a UID NOOP\r\n", "a BAD Unknown command\r\n" },
		{ 0, "a UID\r\n", "a BAD Missing command behind UID\r\n" },
		{ 0, "\r\n", "* BAD Invalid tag\r\n" },
		{ 0, "a\r\n", "a BAD Missing command\r\n" },
		{ 0, "a NOOP\r\nb NOOP\r\nc NOOP\r\n", "a OK Nothing done\r\nb OK Nothing done\r\nc OK Nothing done\r\n" },
		{ 0, "a LOGOUT\r\n", "* BYE Logging out\r\na OK Logged out\r\n" },
	};

	TALK(*state, turns);
}

/* 10,000 empty lines (V5) end the session, not the process. */
static void
too_many_errors(void **state)
{
	struct user *u = *state;
	char lines[2001] = "";

	for (size_t i = 0; i < 1000; i++)
		strcat(lines, "\r\n");
	assert_int_equal(feed(u, 0, slice_of(lines)), IMAP_WANT_CLOSE);
	assert_non_null(strstr(buf_cstr(&u->out), "* BYE Too many invalid commands\r\n"));
}

static void
mailboxes(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a LIST \"\" \"\"\r\n", "* LIST (\\Noselect) \".\" \"\"\r\na OK Mailboxes listed\r\n" },
		{ 0, "a LIST \"\" *\r\n", "* LIST (\\HasNoChildren) \".\" \"INBOX\"\r\n"
		    "* LIST (\\HasNoChildren \\Archive) \".\" \"Archive\"\r\n"
		    "* LIST (\\HasNoChildren \\Drafts) \".\" \"Drafts\"\r\n"
		    "* LIST (\\HasNoChildren \\Junk) \".\" \"Junk\"\r\n"
		    "* LIST (\\HasNoChildren \\Sent) \".\" \"Sent\"\r\n"
		    "* LIST (\\HasNoChildren \\Trash) \".\" \"Trash\"\r\na OK Mailboxes listed\r\n" },
		{ 0, "a LIST (SPECIAL-USE) \"\" (S% T%) RETURN (SPECIAL-USE SUBSCRIBED)\r\n",
		    "* LIST (\\HasNoChildren \\Subscribed \\Sent) \".\" \"Sent\"\r\n"
		    "* LIST (\\HasNoChildren \\Subscribed \\Trash) \".\" \"Trash\"\r\na OK Mailboxes listed\r\n" },
		{ 0, "a CREATE A.B.C.\r\n", "a OK [MAILBOXID (#)] Mailbox created\r\n" },
		{ 0, "a CREATE A.B.C\r\n", "a NO [ALREADYEXISTS] Mailbox exists already\r\n" },
		{ 0, "a CREATE inbox\r\n", "a NO [ALREADYEXISTS] Mailbox exists already\r\n" },
		{ 0, "a LIST A %\r\n", "* LIST (\\HasChildren) \".\" \"A\"\r\n"
		    "* LIST (\\HasNoChildren \\Archive) \".\" \"Archive\"\r\na OK Mailboxes listed\r\n" },
		{ 0, "a LIST A. %\r\n", "* LIST (\\HasChildren) \".\" \"A.B\"\r\na OK Mailboxes listed\r\n" },
		{ 0, "a SUBSCRIBE A.B.C\r\n", "a OK Mailbox subscribed\r\n" },
		{ 0, "a LSUB \"\" %.B\r\n", "* LSUB (\\Noselect) \".\" \"A.B\"\r\na OK Subscriptions listed\r\n" },
		{ 0, "a LSUB \"\" A*\r\n", "* LSUB () \".\" \"A.B.C\"\r\n* LSUB () \".\" \"Archive\"\r\na OK Subscriptions listed\r\n" },
		{ 0, "a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" A\r\n",
		    "* LIST (\\HasChildren) \".\" \"A\" (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\na OK Mailboxes listed\r\n" },
		{ 0, "a LIST (RECURSIVEMATCH) \"\" A\r\n", "a BAD RECURSIVEMATCH needs another option\r\n" },
		{ 0, "a UNSUBSCRIBE A.B.C\r\n", "a OK Mailbox unsubscribed\r\n" },
		{ 0, "a LSUB \"\" A.*\r\n", "a OK Subscriptions listed\r\n" },
		{ 0, "a RENAME A.B Z\r\n", "a OK Mailbox renamed\r\n" },
		{ 0, "a LIST \"\" Z*\r\n", "* LIST (\\HasChildren) \".\" \"Z\"\r\n* LIST (\\HasNoChildren) \".\" \"Z.C\"\r\n"
		    "a OK Mailboxes listed\r\n" },
		{ 0, "a DELETE Z.C\r\n", "a OK Mailbox deleted\r\n" },
		{ 0, "a DELETE Z.C\r\n", "a NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
		{ 0, "a DELETE INBOX\r\n", "a NO [CANNOT] Not possible with this mailbox\r\n" },
		{ 0, "a SELECT Z.C\r\n", "a NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
		{ 0, "a RENAME Q R\r\n", "a NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
		{ 0, "a RENAME Z Sent\r\n", "a NO [ALREADYEXISTS] Mailbox exists already\r\n" },
		{ 0, "a STATUS Z (MESSAGES RECENT UIDNEXT UNSEEN)\r\n",
		    "* STATUS \"Z\" (MESSAGES 0 RECENT 0 UIDNEXT 1 UNSEEN 0)\r\na OK Status given\r\n" },
		{ 0, "a STATUS Z (UIDVALIDITY)\r\n", "* STATUS \"Z\" (UIDVALIDITY #)\r\na OK Status given\r\n" },
		{ 0, "a STATUS Z ()\r\n", "a BAD Syntax error\r\n" },
		{ 0, "a STATUS Q (MESSAGES)\r\n", "a NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
	};

	TALK(*state, turns);
}

/* RELIABILITY.md V10, V13: names that lead elsewhere are no names, and answered as what does not exist. */
static void
evil_names(void **state)
{
	static const char *const name[] = {
		"..", ".", "a..b", "/etc/passwd", "a/b", "../x", "a.../b", "&AC4ALg-", "&AC8-", "&AAA-", "&", "&-&", "a&",
		"~root", "cur/x", ".a", "&2AA-", "&AGEAYg-",
	};
	struct user *u = *state;
	char text[300];

	for (size_t i = 0; i < LEN(name); i++) {
		(void)snprintf(text, sizeof(text), "a SELECT \"%s\"\r\n", name[i]);
		check_row(i, strcmp(say(u, 0, text), "a NO [NONEXISTENT] Mailbox doesn't exist\r\n") == 0);
		(void)snprintf(text, sizeof(text), "a STATUS \"%s\" (UIDNEXT)\r\n", name[i]);
		check_row(i, strcmp(say(u, 0, text), "a NO [NONEXISTENT] Mailbox doesn't exist\r\n") == 0);
		(void)snprintf(text, sizeof(text), "a APPEND \"%s\" {1+}\r\nx\r\n", name[i]);
		check_row(i, strcmp(say(u, 0, text), "a NO [TRYCREATE] Mailbox doesn't exist\r\n") == 0);
		if (strcmp(name[i], "~root") == 0)
			continue;	/* a name like any other */
		(void)snprintf(text, sizeof(text), "a CREATE \"%s\"\r\n", name[i]);
		check_row(i, strcmp(say(u, 0, text), "a NO [CANNOT] Invalid mailbox name\r\n") == 0);
	}
	assert_string_equal(say(u, 0, "a LIST \"\" ../../*\r\n"), "a OK Mailboxes listed\r\n");
	assert_non_null(strstr(say(u, 0, "a CREATE &U,BTFw-\r\n"), "a OK [MAILBOXID ("));
}

static void
select_and_append(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a APPEND Nowhere {5}\r\n", "a NO [TRYCREATE] Mailbox doesn't exist\r\n" },
		{ 0, "a APPEND INBOX {1000001}\r\n", "a NO [TOOBIG] Message is too large\r\n" },
		{ 0, "a APPEND INBOX {1000001+}\r\n", "" },
	};
	static const struct turn more[] = {
		{ 0, "b APPEND INBOX (\\Seen $Work) \"17-Jul-1996 02:44:25 -0700\" {19}\r\n", "+ OK\r\n" },
		{ 0, MESSAGE_2 "\r\n", "b OK [APPENDUID # 1] Message appended\r\n" },
		{ 0, "b APPEND {5}\r\n", "+ OK\r\n" },
		{ 0, "inbox {19+}\r\n" MESSAGE_2 "\r\n", "b OK [APPENDUID # 2] Message appended\r\n" },
		{ 0, "b APPEND INBOX {0+}\r\n\r\n", "b NO [CANNOT] A message cannot be empty\r\n" },
		{ 0, "b APPEND INBOX {1+}\r\nx (\\Foo) {1}\r\n", "b BAD Unknown system flag\r\n" },
		{ 0, "b APPEND INBOX {1+}\r\nx y\r\n", "b BAD Unexpected arguments behind the message\r\n" },
		{ 0, "b APPEND INBOX (\\Foo) {1+}\r\nx\r\n", "b BAD Unknown system flag\r\n" },
		{ 0, "b APPEND INBOX\r\n", "b BAD Message literal expected\r\n" },
		{ 0, "c SELECT inbox\r\n", "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)\r\n"
		    "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work \\*)] Flags permitted\r\n"
		    "* 2 EXISTS\r\n* 2 RECENT\r\n* OK [UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY #] UIDs valid\r\n"
		    "* OK [UIDNEXT 3] Predicted next UID\r\n* OK [HIGHESTMODSEQ #] Highest\r\n* OK [MAILBOXID (#)] Mailbox id\r\nc OK [READ-WRITE] Mailbox selected\r\n" },
		{ 0, "d FETCH 1 (FLAGS UID INTERNALDATE RFC822.SIZE)\r\n",
		    "* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent $Work) INTERNALDATE \"17-Jul-1996 09:44:25 +0000\" RFC822.SIZE "
		    MESSAGE_2_SIZE ")\r\nd OK Fetched\r\n" },
		{ 1, "c EXAMINE INBOX\r\n", "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Work)\r\n"
		    "* OK [PERMANENTFLAGS ()] Read-only mailbox\r\n"
		    "* 2 EXISTS\r\n* 0 RECENT\r\n* OK [UNSEEN 2] First unseen\r\n* OK [UIDVALIDITY #] UIDs valid\r\n"
		    "* OK [UIDNEXT 3] Predicted next UID\r\n* OK [HIGHESTMODSEQ #] Highest\r\n* OK [MAILBOXID (#)] Mailbox id\r\nc OK [READ-ONLY] Mailbox examined\r\n" },
		{ 1, "d STORE 1 FLAGS ()\r\n", "d NO [READ-ONLY] Mailbox is read-only\r\n" },
		{ 1, "d EXPUNGE\r\n", "d NO [READ-ONLY] Mailbox is read-only\r\n" },
		{ 1, "d MOVE 1 Sent\r\n", "d NO [READ-ONLY] Mailbox is read-only\r\n" },
		/* Reading in EXAMINE sets nothing. */
		{ 1, "d FETCH 2 BODY[]<0.4>\r\n", "* 2 FETCH (BODY[]<0> {4}\r\nSubj)\r\nd OK Fetched\r\n" },
		{ 1, "d FETCH 2 FLAGS\r\n", "* 2 FETCH (FLAGS ())\r\nd OK Fetched\r\n" },
		{ 0, "e UNSELECT\r\n", "e OK Mailbox unselected\r\n" },
		{ 0, "e CLOSE\r\n", "e BAD No mailbox is selected\r\n" },
		/* A failed SELECT leaves none selected (6.3.1). */
		{ 1, "e SELECT Nowhere\r\n", "e NO [NONEXISTENT] Mailbox doesn't exist\r\n" },
		{ 1, "e CHECK\r\n", "e BAD No mailbox is selected\r\n" },
	};
	struct user *u = *state;
	char *filler = malloc(1000001);

	TALK(u, turns);
	/* The literal that was refused is skipped, and what follows it is a command again. */
	assert_non_null(filler);
	memset(filler, 'x', 1000001);
	(void)feed(u, 0, slice_make(filler, 1000001));
	assert_string_equal(say(u, 0, "\r\n"), "a NO [TOOBIG] Message is too large\r\n");
	free(filler);
	TALK(u, more);
}

static void
fetch(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b FETCH 1 ENVELOPE\r\n", "* 1 FETCH (ENVELOPE (\"Tue, 1 Feb 1994 10:00:00 +0100\" \"One\" "
		    "((\"Joe\" NIL \"joe\" \"example.org\")) ((\"Joe\" NIL \"joe\" \"example.org\")) "
		    "((\"Joe\" NIL \"joe\" \"example.org\")) ((NIL NIL \"alice\" \"example.org\")) NIL NIL NIL \"<1@x>\"))\r\n"
		    "b OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY\r\n",
		    "* 1 FETCH (BODY (\"text\" \"plain\" NIL NIL NIL \"7BIT\" 14 2))\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODYSTRUCTURE\r\n",
		    "* 1 FETCH (BODYSTRUCTURE (\"text\" \"plain\" NIL NIL NIL \"7BIT\" 14 2 NIL NIL NIL NIL))\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject X)]\r\n",
		    "* 1 FETCH (BODY[HEADER.FIELDS (Subject X)] {16}\r\nSubject: One\r\n\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (from to date message-id)]\r\n",
		    "* 1 FETCH (BODY[HEADER.FIELDS.NOT (from to date message-id)] {16}\r\nSubject: One\r\n\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 (BODY.PEEK[1] BODY.PEEK[2] BODY.PEEK[1.MIME])\r\n", NULL },
		{ 0, "b FETCH 1 BODY.PEEK[TEXT]<7.100>\r\n", "* 1 FETCH (BODY[TEXT]<7> {7}\r\nworld\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[TEXT]<700.100>\r\n", "* 1 FETCH (BODY[TEXT]<700> {0}\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 RFC822.HEADER\r\n", NULL },
		{ 0, "b FETCH 1 FLAGS\r\n", "* 1 FETCH (FLAGS (\\Recent))\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 RFC822.TEXT\r\n",
		    "* 1 FETCH (FLAGS (\\Seen \\Recent) RFC822.TEXT {14}\r\nHello\r\nworld\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b UID FETCH 1 RFC822\r\n",
		    "* 1 FETCH (UID 1 RFC822 {" MESSAGE_1_SIZE "}\r\n" MESSAGE_1 ")\r\nb OK Fetched\r\n" },
		{ 0, "b UID FETCH 77:* UID\r\n", "* 2 FETCH (UID 2)\r\nb OK Fetched\r\n" },
		{ 0, "b UID FETCH 77 UID\r\n", "b OK Fetched\r\n" },
		{ 0, "b FETCH 3 UID\r\n", "b BAD No such message\r\n" },
		{ 0, "b FETCH 1,2:* UID\r\n", "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 (UID\r\n", "b BAD Missing ')'\r\n" },
		{ 0, "b FETCH 2 (BODY.PEEK[HEADER] BODY.PEEK[TEXT])\r\n",
		    "* 2 FETCH (BODY[HEADER] {16}\r\nSubject: Two\r\n\r\n BODY[TEXT] {3}\r\nx\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 2 ENVELOPE\r\n",
		    "* 2 FETCH (ENVELOPE (NIL \"Two\" NIL NIL NIL NIL NIL NIL NIL NIL))\r\nb OK Fetched\r\n" },
	};
	struct user *u = *state;

	append(u, "", MESSAGE_1);
	append(u, "", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < LEN(turns); i++)
		if (turns[i].answer != NULL)
			talk(u, &turns[i], 1);
		else
			assert_non_null(strstr(say(u, 0, turns[i].say), "b OK Fetched\r\n"));
}

#define MULTIPART \
	"From: a@b\r\nContent-Type: multipart/mixed; boundary=\"B\"\r\n\r\npreamble\r\n" \
	"--B\r\nContent-Type: text/plain; charset=utf-8\r\nContent-ID: <i>\r\n\r\none\r\n" \
	"--B\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n\r\n" \
	"--B\r\nContent-Type: image/png; name=\"a b.png\"\r\nContent-Transfer-Encoding: base64\r\n" \
	"Content-Disposition: attachment; filename=x\r\nContent-Language: en, de\r\n\r\nAAAA\r\n" \
	"--B--\r\n"

static void
fetch_parts(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b FETCH 1 BODY\r\n", "* 1 FETCH (BODY ((\"text\" \"plain\" (\"charset\" \"utf-8\") \"<i>\" NIL \"7BIT\" 3 1)"
		    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 30 (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
		    "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 12 1) 3)"
		    "(\"image\" \"png\" (\"name\" \"a b.png\") NIL NIL \"base64\" 4) \"mixed\"))\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODYSTRUCTURE\r\n", "* 1 FETCH (BODYSTRUCTURE ("
		    "(\"text\" \"plain\" (\"charset\" \"utf-8\") \"<i>\" NIL \"7BIT\" 3 1 NIL NIL NIL NIL)"
		    "(\"message\" \"rfc822\" NIL NIL NIL \"7BIT\" 30 (NIL \"inner\" NIL NIL NIL NIL NIL NIL NIL NIL) "
		    "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 12 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)"
		    "(\"image\" \"png\" (\"name\" \"a b.png\") NIL NIL \"base64\" 4 NIL (\"attachment\" (\"filename\" \"x\")) "
		    "(\"en\" \"de\") NIL) \"mixed\" (\"boundary\" \"B\") NIL NIL NIL))\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[1]\r\n", "* 1 FETCH (BODY[1] {3}\r\none)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[2.HEADER]\r\n", "* 1 FETCH (BODY[2.HEADER] {18}\r\nSubject: inner\r\n\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[2.TEXT]\r\n", "* 1 FETCH (BODY[2.TEXT] {12}\r\ninner text\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[2.1]\r\n", "* 1 FETCH (BODY[2.1] {12}\r\ninner text\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[2.HEADER.FIELDS (subject)]\r\n",
		    "* 1 FETCH (BODY[2.HEADER.FIELDS (subject)] {18}\r\nSubject: inner\r\n\r\n)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[1.HEADER]\r\n", "* 1 FETCH (BODY[1.HEADER] NIL)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[4]\r\n", "* 1 FETCH (BODY[4] NIL)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1 BODY.PEEK[1.MIME]<0.12>\r\n", "* 1 FETCH (BODY[1.MIME]<0> {12}\r\nContent-Type)\r\nb OK Fetched\r\n" },
	};
	struct user *u = *state;

	append(u, "", MULTIPART);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	TALK(u, turns);
}

static void
store(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b STORE 1 +FLAGS (\\Seen $New)\r\n", "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $New)\r\n"
		    "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $New \\*)] Flags permitted\r\n"
		    "* 1 FETCH (FLAGS (\\Seen \\Recent $New))\r\nb OK Flags stored\r\n" },
		{ 0, "b STORE 1:2 +FLAGS.SILENT \\Flagged\r\n", "b OK Flags stored\r\n" },
		{ 0, "b UID STORE 2 -FLAGS (\\Flagged)\r\n", "* 2 FETCH (UID 2 FLAGS (\\Recent))\r\nb OK Flags stored\r\n" },
		{ 0, "b STORE 1 FLAGS \\Deleted\r\n", "* 1 FETCH (FLAGS (\\Deleted \\Recent))\r\nb OK Flags stored\r\n" },
		{ 0, "b STORE 3 FLAGS ()\r\n", "b BAD No such message\r\n" },
		{ 0, "b UID STORE 33 FLAGS ()\r\n", "b OK Flags stored\r\n" },
		{ 0, "b STORE 1 FLAGS (\\Recent)\r\n", "b BAD Unknown system flag\r\n" },
		{ 0, "b STORE 1 XFLAGS ()\r\n", "b BAD Unknown store item\r\n" },
		/* The other session hears of it. */
		{ 1, "b NOOP\r\n", "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $New)\r\n"
		    "* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $New \\*)] Flags permitted\r\n"
		    "* 1 FETCH (FLAGS (\\Deleted))\r\nb OK Nothing done\r\n" },
		{ 1, "b NOOP\r\n", "b OK Nothing done\r\n" },
	};
	struct user *u = *state;

	append(u, "", MESSAGE_1);
	append(u, "", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	(void)say(u, 1, "a SELECT INBOX\r\n");
	TALK(u, turns);
}

/* Numbers stay right: no EXPUNGE during FETCH, STORE, SEARCH (RFC 3501 section 7.4.1). */
static void
expunge_by_another(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b UID STORE 1:2 +FLAGS.SILENT (\\Deleted)\r\n", "b OK Flags stored\r\n" },
		{ 0, "b UID EXPUNGE 2:9\r\n", "* 2 EXPUNGE\r\nb OK Expunged\r\n" },
		{ 0, "b EXPUNGE\r\n", "* 1 EXPUNGE\r\nb OK Expunged\r\n" },
		{ 0, "b EXPUNGE\r\n", "b OK Expunged\r\n" },
		{ 1, "b FETCH 3 (UID FLAGS)\r\n", "* 3 FETCH (UID 3 FLAGS ())\r\nb OK Fetched\r\n" },
		{ 1, "b SEARCH ALL\r\n", "* SEARCH 3 4\r\nb OK Searched\r\n" },
		{ 1, "b FETCH 1 BODY.PEEK[]\r\n", "b NO [EXPUNGEISSUED] Some of the messages no longer exist\r\n" },
		{ 1, "b STORE 1 +FLAGS (\\Seen)\r\n", "b NO [EXPUNGEISSUED] Some of the messages no longer exist\r\n" },
		{ 1, "b STORE 4 +FLAGS.SILENT (\\Seen)\r\n", "b OK Flags stored\r\n" },
		{ 1, "b COPY 1 Sent\r\n", "* 2 EXPUNGE\r\n* 1 EXPUNGE\r\n"
		    "b NO [EXPUNGEISSUED] Some of the messages no longer exist\r\n" },
		{ 1, "b FETCH 1 (UID)\r\n", "* 1 FETCH (UID 3)\r\nb OK Fetched\r\n" },
		{ 0, "b NOOP\r\n", "* 2 FETCH (FLAGS (\\Seen \\Recent))\r\nb OK Nothing done\r\n" },
		{ 0, "b UID FETCH * UID\r\n", "* 2 FETCH (UID 4)\r\nb OK Fetched\r\n" },
		{ 0, "b STORE 1 +FLAGS.SILENT (\\Deleted)\r\n", "b OK Flags stored\r\n" },
		{ 0, "b CLOSE\r\n", "b OK Mailbox closed\r\n" },
		{ 1, "b UID FETCH 3 BODY.PEEK[]\r\n", "* 1 EXPUNGE\r\nb OK Fetched\r\n" },
	};
	struct user *u = *state;

	for (size_t i = 0; i < 4; i++)
		append(u, "", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	(void)say(u, 1, "a SELECT INBOX\r\n");
	TALK(u, turns);
}

static void
copy_and_move(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b COPY 1:2 Sent\r\n", "b OK [COPYUID # 1:2 1:2] Messages copied\r\n" },
		{ 0, "b UID COPY 3 Sent\r\n", "b OK [COPYUID # 3 3] Messages copied\r\n" },
		{ 0, "b UID COPY 33 Sent\r\n", "b OK No messages\r\n" },
		{ 0, "b COPY 1 Nowhere\r\n", "b NO [TRYCREATE] Mailbox doesn't exist\r\n" },
		{ 0, "b COPY 9 Sent\r\n", "b BAD No such message\r\n" },
		{ 0, "b MOVE 1,3 Trash\r\n", "* OK [COPYUID # 1,3 1:2] Messages moved\r\n* 3 EXPUNGE\r\n* 1 EXPUNGE\r\nb OK Moved\r\n" },
		{ 0, "b UID MOVE 2 Nowhere\r\n", "b NO [TRYCREATE] Mailbox doesn't exist\r\n" },
		{ 0, "b UID MOVE 2 Trash\r\n", "* OK [COPYUID # 2 3] Messages moved\r\n* 1 EXPUNGE\r\nb OK Moved\r\n" },
		{ 0, "b EXAMINE Trash\r\n", NULL },
		{ 0, "b FETCH 1:* (UID FLAGS)\r\n", "* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent))\r\n"
		    "* 2 FETCH (UID 2 FLAGS (\\Recent $A))\r\n* 3 FETCH (UID 3 FLAGS (\\Recent))\r\nb OK Fetched\r\n" },
		{ 0, "b COPY 1 INBOX\r\n", "b OK [COPYUID # 1 4] Messages copied\r\n" },
		{ 0, "b STATUS INBOX (MESSAGES UNSEEN)\r\n", "* STATUS \"INBOX\" (MESSAGES 1 UNSEEN 0)\r\nb OK Status given\r\n" },
	};
	struct user *u = *state;

	append(u, "(\\Seen) ", MESSAGE_1);
	append(u, "", MESSAGE_2);
	append(u, "($A) ", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < LEN(turns); i++)
		if (turns[i].answer != NULL)
			talk(u, &turns[i], 1);
		else
			(void)say(u, 0, turns[i].say);
}

#define LATIN1	"From: =?iso-8859-1?Q?J=F6rg?= <j@x>\r\nDate: Wed, 2 Feb 1994 23:30:00 -0500\r\n" \
		"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" \
		"Gr=FC=DFe\r\n"

static void
search(void **state)
{
	static const struct { const char *key, *result; } row[] = {
		{ "ALL", " 1 2 3" }, { "2", " 2" }, { "2:*", " 2 3" }, { "9", "" }, { "UID 1,3", " 1 3" }, { "*", " 3" },
		{ "SEEN", " 1" }, { "UNSEEN", " 2 3" }, { "NEW", " 2 3" }, { "OLD", "" }, { "RECENT", " 1 2 3" },
		{ "KEYWORD $A", " 2" }, { "UNKEYWORD $a", " 1 3" }, { "KEYWORD nosuch", "" },
		{ "NOT SEEN", " 2 3" }, { "OR SEEN KEYWORD $A", " 1 2" }, { "NOT (OR SEEN KEYWORD $A)", " 3" },
		{ "SUBJECT one", " 1" }, { "SUBJECT \"\"", " 1 2" }, { "FROM joe", " 1" }, { "TO alice", " 1" },
		{ "HEADER Message-ID 1@x", " 1" }, { "CC x", "" }, { "BODY hello", " 1" }, { "TEXT subject", " 1 2" },
		{ "BODY subject", "" }, { "LARGER 100", " 1 3" }, { "SMALLER 139", " 2" }, { "SMALLER 140", " 1 2" },
		{ "ON 17-Jul-1996", " 1" }, { "SINCE 18-Jul-1996", " 2 3" }, { "BEFORE 18-Jul-1996", " 1" },
		{ "SENTON 1-Feb-1994", " 1" }, { "SENTON 2-Feb-1994", " 3" }, { "SENTSINCE 2-Feb-1994", " 3" },
		{ "SENTBEFORE 2-Feb-1994", " 1" },
		{ "CHARSET utf-8 FROM j\xc3\xb6rg", NULL },
		{ "CHARSET utf-8 FROM {5+}\r\nJ\xc3\x96RG", " 3" },
		{ "CHARSET iso-8859-1 BODY {3+}\r\nGR\xdc", " 3" },
		{ "CHARSET utf-8 TEXT {7+}\r\ngr\xc3\xbc\xc3\x9f" "e", " 3" },
		{ "ANSWERED", "" }, { "DELETED", "" }, { "DRAFT", "" }, { "FLAGGED", "" },
		{ "UNANSWERED UNDELETED UNDRAFT UNFLAGGED", " 1 2 3" },
	};
	struct user *u = *state;
	char text[300], answer[300];

	append(u, "(\\Seen) \"17-Jul-1996 02:44:25 -0700\" ", MESSAGE_1);
	append(u, "($A) ", MESSAGE_2);
	append(u, "", LATIN1);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < LEN(row); i++) {
		(void)snprintf(text, sizeof(text), "b SEARCH %s\r\n", row[i].key);
		(void)snprintf(answer, sizeof(answer), "* SEARCH%s\r\nb OK Searched\r\n", row[i].result);
		if (row[i].result == NULL)
			(void)snprintf(answer, sizeof(answer), "b BAD Unexpected arguments\r\n");
		if (strcmp(say(u, 0, text), answer) != 0)
			fail_msg("%s: %s", row[i].key, buf_cstr(&u->out));
	}
	assert_string_equal(say(u, 0, "b UID SEARCH CHARSET klingon TEXT x\r\n"),
	    "b NO [BADCHARSET (US-ASCII UTF-8)] Unknown charset, or text that is none of it\r\n");
	(void)say(u, 0, "b STORE 1 +FLAGS.SILENT (\\Deleted)\r\nb EXPUNGE\r\n");
	assert_string_equal(say(u, 0, "b UID SEARCH 1:*\r\n"), "* SEARCH 2 3\r\nb OK Searched\r\n");
}

static void
changed(struct store_folder *f, void *ctx)
{
	struct user *u = ctx;

	for (size_t i = 0; i < 2; i++)
		if (u->s[i]->folder == f && imap_session_changed(u->s[i]))
			take_output(u, u->s[i]);
}

static void
idle(void **state)
{
	struct user *u = *state;

	append(u, "", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	assert_string_equal(say(u, 1, "a IDLE\r\n"), "+ idling\r\n");	/* with nothing selected */
	assert_string_equal(say(u, 1, "done\r\n"), "a OK Idle done\r\n");
	(void)say(u, 1, "a SELECT INBOX\r\n");
	assert_string_equal(say(u, 1, "b IDLE\r\n"), "+ idling\r\n");
	(void)say(u, 0, "b STORE 1 FLAGS (\\Deleted)\r\n");
	buf_reset(&u->out);
	store_watch_read(u->store, changed, u);
	assert_string_equal(buf_cstr(&u->out), "* 1 FETCH (FLAGS (\\Deleted))\r\n");
	append(u, "", MESSAGE_1);
	buf_reset(&u->out);
	store_watch_read(u->store, changed, u);
	assert_string_equal(buf_cstr(&u->out), "* 2 EXISTS\r\n* 0 RECENT\r\n");
	(void)say(u, 0, "b EXPUNGE\r\n");
	buf_reset(&u->out);
	store_watch_read(u->store, changed, u);
	assert_string_equal(buf_cstr(&u->out), "* 1 EXPUNGE\r\n");
	assert_string_equal(say(u, 1, "DONE\r\nc NOOP\r\n"), "b OK Idle done\r\nc OK Nothing done\r\n");
	assert_string_equal(say(u, 1, "d IDLE\r\n"), "+ idling\r\n");
	assert_string_equal(say(u, 1, "NOOP\r\n"), "d BAD DONE expected\r\n");
	assert_string_equal(say(u, 1, "e IDLE\r\nDONE\r\nf IDLE x\r\n"), "+ idling\r\ne OK Idle done\r\nf BAD Unexpected arguments\r\n");
}

/* A folder that is deleted or renamed under a session. */
static void
lost_folder(void **state)
{
	struct user *u = *state;

	(void)say(u, 0, "a CREATE A\r\na SELECT A\r\n");
	(void)say(u, 1, "a SELECT A\r\n");
	assert_string_equal(say(u, 0, "b DELETE A\r\n"), "b OK Mailbox deleted\r\n");
	assert_string_equal(say(u, 0, "b CHECK\r\n"), "b BAD No mailbox is selected\r\n");
	assert_int_equal(feed(u, 1, SLICE("b NOOP\r\n")), IMAP_WANT_CLOSE);
	assert_string_equal(buf_cstr(&u->out), "b OK Nothing done\r\n* BYE Selected mailbox was deleted\r\n");
}

/* A message of many times what may wait goes out in pieces, never all at once. */
static void
back_pressure(void **state)
{
	struct user *u = *state;
	struct slice none = { 0 }, command = SLICE("a FETCH 1:3 BODY.PEEK[]\r\n");
	size_t size = 900000, got = 0, most = 0;
	char *text = malloc(size + 100);
	enum imap_want want;

	assert_non_null(text);
	for (int n = 0; n < 3; n++) {
		int head = sprintf(text, "x APPEND INBOX {%zu+}\r\n", size);

		memset(text + head, 'y', size);
		memcpy(text + head, "A: b\r\n\r\n", 8);
		memcpy(text + (size_t)head + size, "\r\n", 2);
		(void)feed(u, 0, slice_make(text, (size_t)head + size + 2));
	}
	free(text);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (want = imap_session_step(u->s[0], &command); want != IMAP_WANT_INPUT; want = imap_session_step(u->s[0], &none)) {
		size_t len = imap_session_output(u->s[0]).len;

		most = len > most ? len : most;
		got += len;
		imap_session_taken(u->s[0], len);
	}
	assert_true(got > 3 * 900000 - 200000);
	assert_true(most < 2 * IMAP_OUT_HIGH);
	take_output(u, u->s[0]);
}

/* RELIABILITY.md V9, after login. */
static void
too_much(void **state)
{
	static const char what[] = "()[]{}\"1";
	struct user *u = *state;
	size_t n = 2 * IMAP_COMMAND_MAX;
	char *text = malloc(n + 20);

	assert_non_null(text);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < sizeof(what) - 1; i++) {
		memcpy(text, "a SEARCH ", 9);
		memset(text + 9, what[i], n);
		memcpy(text + 9 + n, "\r\n", 2);
		(void)feed(u, 0, slice_make(text, n + 11));
		check_row(i, strcmp(buf_cstr(&u->out), "a BAD Command line too long\r\n") == 0);
		check_row(i, u->s[0]->input.text.size < 10000);
	}
	free(text);
	assert_string_equal(say(u, 0, "a SELECT {1048577}\r\n"), "a BAD Literal too large\r\n");
	assert_int_equal(feed(u, 0, SLICE("a SELECT {18446744073709551616+}\r\n")), IMAP_WANT_CLOSE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TALK_TEST(simple),
		TALK_TEST(too_many_errors),
		TALK_TEST(mailboxes),
		TALK_TEST(evil_names),
		TALK_TEST(select_and_append),
		TALK_TEST(fetch),
		TALK_TEST(fetch_parts),
		TALK_TEST(store),
		TALK_TEST(expunge_by_another),
		TALK_TEST(copy_and_move),
		TALK_TEST(search),
		TALK_TEST(idle),
		TALK_TEST(lost_folder),
		TALK_TEST(back_pressure),
		TALK_TEST(too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
