/* imapd: CONDSTORE and QRESYNC (RFC 7162), PARTIAL, EMAILID, SAVEDATE, PREVIEW of FETCH. */
#include "imapd_talk.h"

#include "imapd/imap_preview.h"

/* The number behind the first `word` in what was said last. */
static unsigned long long
number_behind(const struct user *u, const char *word)
{
	struct buf copy = u->out;
	const char *at = strstr(buf_cstr(&copy), word);

	if (at == NULL)
		fail_msg("no %s in %s", word, buf_cstr(&copy));
	return strtoull(at + strlen(word), NULL, 10);
}

static void
n_messages(struct user *u, size_t n)
{
	for (size_t i = 0; i < n; i++)
		append(u, "", MESSAGE_2);
}

static void
condstore(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b FETCH 1 FLAGS\r\n", "* 1 FETCH (FLAGS (\\Recent))\r\nb OK Fetched\r\n" },
		/* Whoever asks for it uses it, and is told of it from then on. */
		{ 0, "b FETCH 1 (MODSEQ UID)\r\n", "* OK [HIGHESTMODSEQ #] Highest\r\n* 1 FETCH (UID 1 MODSEQ (#))\r\nb OK Fetched\r\n" },
		{ 0, "b STORE 1 +FLAGS (\\Seen)\r\n", "* 1 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (#))\r\nb OK Flags stored\r\n" },
		{ 0, "b STORE 2 +FLAGS.SILENT (\\Seen)\r\n", "* 2 FETCH (MODSEQ (#))\r\nb OK Flags stored\r\n" },
		{ 0, "b UID STORE 2 +FLAGS.SILENT (\\Flagged)\r\n", "* 2 FETCH (UID 2 MODSEQ (#))\r\nb OK Flags stored\r\n" },
		{ 0, "b STATUS INBOX (HIGHESTMODSEQ)\r\n", "* STATUS \"INBOX\" (HIGHESTMODSEQ #)\r\nb OK Status given\r\n" },
		{ 0, "b FETCH 3 BODY[]<0.1>\r\n",
		    "* 3 FETCH (FLAGS (\\Seen \\Recent) MODSEQ (#) BODY[]<0> {1}\r\nS)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1:* (UID) (CHANGEDSINCE 9223372036854775807)\r\n", "b OK Fetched\r\n" },
		{ 0, "b FETCH 1 (UID) (CHANGEDSINCE 1)\r\n", "* 1 FETCH (UID 1 MODSEQ (#))\r\nb OK Fetched\r\n" },
		{ 0, "b SEARCH MODSEQ 1\r\n", "* SEARCH 1 2 3 4 (MODSEQ #)\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH MODSEQ \"/flags/\\\\Seen\" all 1 FLAGGED\r\n", "* SEARCH 2 (MODSEQ #)\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH MODSEQ 9223372036854775807\r\n", "* SEARCH\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH RETURN (MIN COUNT) MODSEQ 1\r\n", "* ESEARCH (TAG \"b\") MIN 1 COUNT 4 MODSEQ #\r\nb OK Searched\r\n" },
		{ 0, "b SORT (ARRIVAL) UTF-8 MODSEQ 1 FLAGGED\r\n", "* SORT 2 (MODSEQ #)\r\nb OK Sorted\r\n" },
		{ 0, "b STORE 1:4 (UNCHANGEDSINCE 0) +FLAGS (\\Flagged)\r\n", "b OK [MODIFIED 1:4] Some were changed meanwhile\r\n" },
		{ 0, "b STORE 4 (UNCHANGEDSINCE 9223372036854775807) +FLAGS.SILENT (\\Flagged)\r\n",
		    "* 4 FETCH (MODSEQ (#))\r\nb OK Flags stored\r\n" },
		{ 0, "b STORE 4 (UNCHANGEDSINCE x) +FLAGS (\\Flagged)\r\n", "b BAD Invalid number\r\n" },
		{ 0, "b STORE 4 (FOO 1) +FLAGS (\\Flagged)\r\n", "b BAD Unknown store modifier\r\n" },
		{ 0, "b FETCH 4 UID (FOO 1)\r\n", "b BAD Unknown fetch modifier\r\n" },
		{ 0, "b UID FETCH 4 UID (CHANGEDSINCE 1 VANISHED)\r\n", "b BAD VANISHED is for UID FETCH after ENABLE QRESYNC\r\n" },
		{ 0, "b SELECT INBOX (QRESYNC (1 2))\r\n", "b BAD ENABLE QRESYNC first\r\n" },
	};
	struct user *u = *state;
	unsigned long long before, after;
	char text[200];

	n_messages(u, 4);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	TALK(u, turns);
	/* Two clients: the second sees what the first did, and does not undo it unknowing. */
	(void)say(u, 1, "a SELECT INBOX (CONDSTORE)\r\n");
	before = number_behind(u, "HIGHESTMODSEQ ");
	(void)say(u, 0, "b UID STORE 2 +FLAGS (\\Draft)\r\n");
	after = number_behind(u, "MODSEQ (");
	assert_true(after > before);
	(void)snprintf(text, sizeof(text), "c UID STORE 1:2 (UNCHANGEDSINCE %llu) +FLAGS.SILENT (\\Deleted)\r\n", before);
	(void)say(u, 1, text);
	assert_non_null(strstr(buf_cstr(&u->out), "* 1 FETCH (UID 1 MODSEQ ("));
	assert_non_null(strstr(buf_cstr(&u->out), "* 2 FETCH (UID 2 FLAGS (\\Flagged \\Seen \\Draft) MODSEQ ("));
	assert_non_null(strstr(buf_cstr(&u->out), "c OK [MODIFIED 2] "));
	(void)snprintf(text, sizeof(text), "c FETCH 1:* (UID) (CHANGEDSINCE %llu)\r\n", before);
	(void)say(u, 1, text);
	assert_non_null(strstr(buf_cstr(&u->out), "* 1 FETCH (UID 1 "));
	assert_non_null(strstr(buf_cstr(&u->out), "* 2 FETCH (UID 2 "));
	assert_null(strstr(buf_cstr(&u->out), "* 3 FETCH"));
}

static void
qresync(void **state)
{
	static const struct turn turns[] = {
		{ 0, "a ENABLE QRESYNC\r\n", "* ENABLED QRESYNC\r\na OK Enabled what there is\r\n" },
		{ 0, "b SELECT INBOX\r\n", NULL },
		{ 0, "b STORE 2,4:5 +FLAGS.SILENT (\\Deleted)\r\n", "* 2 FETCH (UID 2 MODSEQ (#))\r\n"
		    "* 4 FETCH (UID 4 MODSEQ (#))\r\n* 5 FETCH (UID 5 MODSEQ (#))\r\nb OK Flags stored\r\n" },
		{ 1, "b UID EXPUNGE 2\r\n", "* 2 EXPUNGE\r\n* 3 FETCH (UID 4 FLAGS (\\Deleted \\Recent))\r\n"
		    "* 4 FETCH (UID 5 FLAGS (\\Deleted \\Recent))\r\nb OK Expunged\r\n" },
		{ 0, "b EXPUNGE\r\n", "* VANISHED 2,4:5\r\nb OK [HIGHESTMODSEQ #] Expunged\r\n" },
		{ 0, "b UID MOVE 6 Sent\r\n", "* OK [COPYUID # 6 1] Messages moved\r\n* VANISHED 6\r\nb OK [HIGHESTMODSEQ #] Moved\r\n" },
		{ 1, "b UID STORE 3 +FLAGS.SILENT (\\Flagged)\r\n", "* 4 EXPUNGE\r\n* 3 EXPUNGE\r\n* 2 EXPUNGE\r\n"
		    "* 2 FETCH (UID 3 FLAGS (\\Flagged))\r\nb OK Flags stored\r\n" },
		{ 0, "b NOOP\r\n", "* 2 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (#))\r\nb OK Nothing done\r\n" },
	};
	struct user *u = *state;
	unsigned long long modseq = 0, validity = 0;
	char text[300], *got;

	n_messages(u, 7);
	(void)say(u, 1, "a SELECT INBOX\r\n");
	for (size_t i = 0; i < LEN(turns); i++) {
		if (turns[i].answer != NULL && i != 6)
			talk(u, &turns[i], 1);
		else
			(void)say(u, turns[i].who, turns[i].say);
		if (i == 1) {
			modseq = number_behind(u, "HIGHESTMODSEQ ");
			validity = number_behind(u, "UIDVALIDITY ");
		}
	}
	/* Back again, knowing what was there then. */
	(void)snprintf(text, sizeof(text), "c SELECT INBOX (QRESYNC (%llu %llu 1:7))\r\n", validity, modseq);
	got = without_uidvalidity(say(u, 0, text));
	assert_non_null(strstr(got, "* OK [CLOSED] "));
	assert_non_null(strstr(got, "* VANISHED (EARLIER) 2,4:6\r\n* 2 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (#))\r\nc OK [READ-WRITE]"));
	free(got);
	/* Of some of them alone; of a time before all; of another mailbox of that name. */
	(void)snprintf(text, sizeof(text), "c SELECT INBOX (QRESYNC (%llu %llu 1:4 (1,2 1,3)))\r\n", validity, modseq);
	assert_non_null(strstr(say(u, 0, text), "* VANISHED (EARLIER) 2,4\r\n* 2 FETCH (UID 3 "));
	(void)snprintf(text, sizeof(text), "c SELECT INBOX (CONDSTORE QRESYNC (%llu 1))\r\n", validity);
	assert_non_null(strstr(say(u, 0, text), "* VANISHED (EARLIER) 2,4:6\r\n* 1 FETCH"));
	(void)snprintf(text, sizeof(text), "c SELECT INBOX (QRESYNC (%llu %llu))\r\n", validity + 1, modseq);
	assert_null(strstr(say(u, 0, text), "VANISHED"));
	(void)snprintf(text, sizeof(text), "c UID FETCH 1:5 (FLAGS) (CHANGEDSINCE %llu VANISHED)\r\n", modseq);
	got = without_uidvalidity(say(u, 0, text));
	assert_string_equal(got, "* VANISHED (EARLIER) 2,4:5\r\n* 2 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (#))\r\nc OK Fetched\r\n");
	free(got);
	assert_non_null(strstr(say(u, 0, "c FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)\r\n"), "c BAD"));
	assert_non_null(strstr(say(u, 0, "c UID FETCH 1 (FLAGS) (VANISHED)\r\n"), "c BAD VANISHED needs CHANGEDSINCE"));
	assert_non_null(strstr(say(u, 0, "c SELECT INBOX (QRESYNC (0 1))\r\n"), "c BAD"));
	assert_non_null(strstr(say(u, 0, "c SELECT INBOX (QRESYNC (1 1 $))\r\n"), "c BAD"));
	assert_non_null(strstr(say(u, 0, "c SELECT INBOX (FOO)\r\n"), "c BAD Unknown parameter"));
}

static void
partial(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b UID FETCH 1:* (UID) (PARTIAL 1:2)\r\n", "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\nb OK Fetched\r\n" },
		{ 0, "b UID FETCH 2:* (UID) (PARTIAL -1:-2)\r\n", "* 4 FETCH (UID 4)\r\n* 5 FETCH (UID 5)\r\nb OK Fetched\r\n" },
		{ 0, "b UID FETCH 2:3,9 (UID) (PARTIAL 2:5)\r\n", "* 3 FETCH (UID 3)\r\nb OK Fetched\r\n" },
		{ 0, "b UID FETCH 1:* (UID) (PARTIAL 6:9)\r\n", "b OK Fetched\r\n" },
		{ 0, "b UID FETCH 1:* (UID) (PARTIAL -4:-90)\r\n", "* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\nb OK Fetched\r\n" },
		{ 0, "b FETCH 1:* (UID) (PARTIAL 1:2)\r\n", "b BAD PARTIAL is for UID FETCH\r\n" },
		{ 0, "b UID FETCH 1:* (UID) (PARTIAL 0:2)\r\n", "b BAD Invalid number\r\n" },
	};
	struct user *u = *state;

	n_messages(u, 5);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	TALK(u, turns);
}

static void
object_ids(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b FETCH 1 (EMAILID THREADID)\r\n", "* 1 FETCH (EMAILID (#) THREADID NIL)\r\nb OK Fetched\r\n" },
		{ 0, "b SEARCH THREADID x\r\n", "* SEARCH\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH EMAILID nosuch\r\n", "* SEARCH\r\nb OK Searched\r\n" },
		{ 0, "b STATUS Sent (MAILBOXID)\r\n", "* STATUS \"Sent\" (MAILBOXID (#))\r\nb OK Status given\r\n" },
	};
	struct user *u = *state;
	char id[40], text[100], *got;

	n_messages(u, 2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	TALK(u, turns);
	/* Goes along with a copy. */
	(void)say(u, 0, "b FETCH 1 EMAILID\r\n");
	got = strstr(buf_cstr(&u->out), "EMAILID (");
	assert_non_null(got);
	assert_int_equal(sscanf(got, "EMAILID (%39[A-Za-z0-9_-])", id), 1);
	(void)snprintf(text, sizeof(text), "b SEARCH EMAILID %s\r\n", id);
	assert_string_equal(say(u, 0, text), "* SEARCH 1\r\nb OK Searched\r\n");
	(void)say(u, 0, "b COPY 1 Sent\r\nb SELECT Sent\r\n");
	assert_string_equal(say(u, 0, text), "* SEARCH 1\r\nb OK Searched\r\n");
}

static void
save_dates(void **state)
{
	static const struct turn turns[] = {
		{ 0, "b SEARCH SAVEDATESUPPORTED\r\n", "* SEARCH 1\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH SAVEDSINCE 1-Jan-2020 BEFORE 1-Jan-2000\r\n", "* SEARCH 1\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH SAVEDBEFORE 1-Jan-2020\r\n", "* SEARCH\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH SAVEDON 17-Jul-1996\r\n", "* SEARCH\r\nb OK Searched\r\n" },
		{ 0, "b SEARCH SAVEDON x\r\n", "b BAD Invalid date\r\n" },
	};
	struct user *u = *state;

	append(u, "\"17-Jul-1996 02:44:25 -0700\" ", MESSAGE_2);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	TALK(u, turns);
	assert_non_null(strstr(say(u, 0, "b FETCH 1 SAVEDATE\r\n"), "* 1 FETCH (SAVEDATE \""));
}

static void
previews(void **unused)
{
	static const struct { const char *message, *text; } row[] = {
		{ "\r\nHello\r\n  world \r\n", "Hello world" },
		{ "A: b\r\n\r\n", "" },
		{ "Content-Type: text/html\r\n\r\n<html><head><title>x</title></head><style>p {}</style><p>a&amp;b<br>c &lt;&foo; <!-- x --> d",
		    "a&b c <&foo; d" },
		{ "Content-Type: multipart/alternative; boundary=B\r\n\r\n--B\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n"
		  "--B\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nJ=F6rg=\r\nen\r\n--B--\r\n",
		    "J\xc3\xb6rgen" },
		{ "Content-Type: image/png\r\n\r\nxxxx", "" },
		{ "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nxxxx", "" },
		{ "Content-Type: text/html\r\n\r\n<style>never ends", "" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct mime m;
		struct buf out;

		buf_init(&out, 10000);
		assert_true(mime_parse(slice_of(row[i].message), &m));
		imap_preview(&m, &out);
		if (strcmp(buf_cstr(&out), row[i].text) != 0)
			fail_msg("row %zu: %s", i, buf_cstr(&out));
		mime_clear(&m);
		buf_clear(&out);
	}
}

/* 200 characters, not octets, and the last one whole. */
static void
long_preview(void **state)
{
	struct user *u = *state;
	char message[2100] = "\r\n", want[1000] = "* 1 FETCH (PREVIEW {400}\r\n";

	for (size_t i = 0; i < 500; i++)
		strcat(message, "\xc3\xbc");
	for (size_t i = 0; i < 200; i++)
		strcat(want, "\xc3\xbc");
	strcat(want, ")\r\nb OK Fetched\r\n");
	append(u, "", message);
	(void)say(u, 0, "a SELECT INBOX\r\n");
	assert_string_equal(say(u, 0, "b FETCH 1 (PREVIEW (LAZY))\r\n"), want);
	(void)say(u, 0, "b ENABLE IMAP4rev2\r\n");
	assert_non_null(strstr(say(u, 0, "b FETCH 1 PREVIEW\r\n"), "* 1 FETCH (PREVIEW \"\xc3\xbc"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TALK_TEST(condstore),
		TALK_TEST(qresync),
		TALK_TEST(partial),
		TALK_TEST(object_ids),
		TALK_TEST(save_dates),
		cmocka_unit_test(previews),
		TALK_TEST(long_preview),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
