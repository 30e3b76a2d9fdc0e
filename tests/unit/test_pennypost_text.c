/* pennypost: texts it edits, takes apart and prints. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log_line.h"
#include "pennypost/privs_sockets.h"
#include "pennypost/proc.h"
#include "pennypost/queue_list.h"
#include "pennypost/run_files.h"
#include "pennypost/text_edit.h"
#include "pennypost/user_cmd.h"

/* ---- editing ---- */

static void
entries_with_continuation_lines(void **unused)
{
	static const char text[] = "# c\ninfo: a,\n\tb\n  c\n\nx: y\n   \nlast: z";
	static const struct { unsigned line; bool continued; const char *entry; } row[] = {
		{ 1, true, "# c\n" }, { 2, true, "info: a,\n\tb\n  c\n" }, { 2, false, "info: a,\n" },
		{ 6, true, "x: y\n" }, { 8, true, "last: z" }, { 9, true, "" }, { 100, true, "" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, slice_is(text_entry(slice_of(text), row[i].line, row[i].continued), row[i].entry));
}

static void
only_the_entry_changes(void **unused)
{
	static const char text[] = "# keep me\na: 1,\n 2\n# and me\nb: 2\n";
	struct slice whole = slice_of(text);
	struct buf out;

	(void)unused;
	buf_init(&out, 1000);
	assert_true(text_replace(whole, text_entry(whole, 2, true), SLICE(""), &out));
	assert_string_equal(buf_cstr(&out), "# keep me\n# and me\nb: 2\n");
	buf_reset(&out);
	assert_true(text_append(SLICE("a: 1"), SLICE("b: 2"), &out));
	assert_string_equal(buf_cstr(&out), "a: 1\nb: 2\n");
	buf_reset(&out);
	assert_true(text_append(SLICE(""), SLICE("b: 2"), &out));
	assert_string_equal(buf_cstr(&out), "b: 2\n");
	buf_clear(&out);
}

static void
password_fields(void **unused)
{
	static const struct { const char *in, *out; } row[] = {
		{ "u:old\n", "u:NEW\n" }, { "u:old:quota=5M\n", "u:NEW:quota=5M\n" }, { "u:\n", "u:NEW\n" }, { "u:", "u:NEW" },
		{ "u:{CRYPT}x:1:2:g:h:s:e\r\n", "u:NEW:1:2:g:h:s:e\r\n" }, { "no colon\n", NULL },
	};
	struct buf out;

	(void)unused;
	buf_init(&out, 1000);
	for (size_t i = 0; i < LEN(row); i++) {
		buf_reset(&out);
		check_row(i, text_account_hash(slice_of(row[i].in), SLICE("NEW"), &out) == (row[i].out != NULL));
		check_row(i, row[i].out == NULL || strcmp(buf_cstr(&out), row[i].out) == 0);
	}
	buf_clear(&out);
}

static void
names_in_aliases(void **unused)
{
	static const char text[] = "# info: no\ninfo: a,\n b: c\n\"x y\": a\n*: a\nfull@d.example: a\n";
	static const struct { const char *name; unsigned line; } row[] = {
		{ "info", 2 }, { "INFO", 2 }, { "x y", 4 }, { "*", 5 }, { "full", 6 }, { "b", 0 }, { "inf", 0 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		unsigned line = 0;

		check_row(i, alias_find(slice_of(text), slice_of(row[i].name), SLICE("d.example"), &line) == (row[i].line != 0));
		check_row(i, line == row[i].line);
	}
}

/* ---- /proc ---- */

static void
process_lines(void **unused)
{
	static const char tail[] = " S 7 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3\n";
	static const char *const names[] = { "smtpd", "a b", "a) S 1 (b", "" };
	char line[300];
	struct proc p;

	(void)unused;
	for (size_t i = 0; i < LEN(names); i++) {
		(void)snprintf(line, sizeof(line), "123 (%s)%s", names[i], tail);
		check_row(i, proc_parse(slice_of(line), &p));
		check_row(i, p.pid == 123 && p.ppid == 7 && p.session == 42 && p.start == 987654 && p.state == 'S');
		check_row(i, strcmp(p.name, names[i]) == 0);
	}
	for (size_t cut = 0; cut <= (size_t)(strstr(line, "987654") - line); cut++)	/* up to the start time */
		check_row(cut, !proc_parse(slice_make(line, cut), &p));
	assert_true(proc_read(getpid(), &p));
	assert_int_equal(p.ppid, getppid());
}

static void
process_lists(void **unused)
{
	static const struct { const char *text; bool ok; size_t n; } row[] = {
		{ "boot B\nmaster 10 20\nsmtpd 11 21\n", true, 2 }, { "boot B\n", true, 0 },
		{ "boot C\nmaster 10 20\n", false, 0 },		/* before the last boot */
		{ "boot B\nmaster 1 20\n", false, 0 },		/* never init */
		{ "boot B\nmaster 10\n", false, 0 }, { "boot B\nmaster x 20\n", false, 0 }, { "", false, 0 },
		{ "boot B\n 10 20\n", false, 0 }, { "boot B\nmaster -1 20\n", false, 0 },
	};
	struct run_list list;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		bool ok = run_list_parse(slice_of(row[i].text), "B", &list);

		check_row(i, ok == row[i].ok);
		check_row(i, !ok || list.n == row[i].n);
	}
}

/* Whom a `stop` after a kill -9 of the master ends: the recorded ones, their sessions and children, nobody else. */
static void
leftovers_are_picked_precisely(void **unused)
{
	const struct run_list list = { .at = { { "smtpd", 10, 100 }, { "queue", 20, 200 }, { "imapd", 30, 300 } }, .n = 3 };
	struct {
		struct proc	p;
		bool		picked;
	} row[] = {
		{ { .pid = 10, .ppid = 1, .session = 10, .start = 100 }, true },	/* the leader */
		{ { .pid = 11, .ppid = 10, .session = 10, .start = 101 }, true },	/* its worker */
		{ { .pid = 12, .ppid = 11, .session = 12, .start = 102 }, true },	/* a child with a session of its own */
		{ { .pid = 13, .ppid = 12, .session = 12, .start = 103 }, true },	/* and what that started */
		{ { .pid = 20, .ppid = 1, .session = 20, .start = 999 }, false },	/* the number is another's now */
		{ { .pid = 21, .ppid = 20, .session = 20, .start = 999 }, false },
		{ { .pid = 31, .ppid = 1, .session = 30, .start = 301 }, true },	/* the leader is gone, its session is not */
		{ { .pid = 32, .ppid = 1, .session = 30, .start = 299 }, false },	/* older than the leader was */
		{ { .pid = 40, .ppid = 1, .session = 40, .start = 100 }, false },
		{ { .pid = 1, .ppid = 0, .session = 1, .start = 0 }, false },
	};
	struct proc all[LEN(row)];

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		all[i] = row[i].p;
	assert_int_equal(run_list_pick(&list, all, LEN(all)), 5);
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, all[i].picked == row[i].picked);
}

static void
socket_lines(void **unused)
{
	struct socket_info s;

	(void)unused;
	assert_true(socket_parse_inet(SLICE("   0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x"), "tcp", &s));
	assert_int_equal(s.inode, 4711);
	assert_string_equal(s.text, "tcp 127.0.0.1:25 listening");
	assert_true(socket_parse_inet(SLICE("1: 00000000000000000000000001000000:0050 00000000000000000000000001000000:1234 01 0:0 00:0 0 0 0 7 1"), "tcp6", &s));
	assert_string_equal(s.text, "tcp6 [::1]:80 - [::1]:4660");
	assert_false(socket_parse_inet(SLICE("  sl  local_address rem_address   st tx_queue rx_queue"), "tcp", &s));
	assert_true(socket_parse_unix(SLICE("0000000000000000: 00000002 00000000 00010000 0005 01 99 /run/x/queue-submit"), &s));
	assert_int_equal(s.inode, 99);
	assert_string_equal(s.text, "unix /run/x/queue-submit (packets) listening");
	assert_true(socket_parse_unix(SLICE("0000000000000000: 00000003 00000000 00000000 0001 03 100"), &s));
	assert_string_equal(s.text, "unix (stream)");
	assert_false(socket_parse_unix(SLICE("Num       RefCount Protocol Flags    Type St Inode Path"), &s));
}

/* ---- the log ---- */

static void
log_lines(void **unused)
{
	static const char line[] = "Nov 23 16:47:27 mail pennypost/smtp[12]: 00000000Abc: to=<r@example.com>, relay=x, dsn=2.0.0, status=sent (to=<no@x>)";
	static const char client[] = "Nov  3 16:47:27 mail t/smtpd[9]: 00000000Abc: client=mx.x[192.0.2.1], sasl_username=u@x";
	struct log_line l;
	struct buf out;

	(void)unused;
	buf_init(&out, 4096);
	assert_true(log_line_parse(slice_of(line), &l));
	assert_true(slice_is(l.tag, "pennypost/smtp") && slice_is(l.pid, "12") && l.level == 6);
	log_line_syslog(&l, "pennypost", &out);
	assert_memory_equal(out.ptr, "<22>Nov 23 16:47:27 pennypost/smtp[12]: 00000000Abc: to=", 56);
	buf_reset(&out);
	log_line_journal(&l, "pennypost", &out);
	assert_non_null(strstr(buf_cstr(&out), "\nQUEUE_ID=00000000Abc\n"));
	assert_non_null(strstr(buf_cstr(&out), "\nRECIPIENT=r@example.com\n"));
	assert_non_null(strstr(buf_cstr(&out), "\nDSN_STATUS=2.0.0\n"));
	assert_null(strstr(buf_cstr(&out), "CLIENT_ADDRESS"));
	buf_reset(&out);
	assert_true(log_line_parse(slice_of(client), &l));
	log_line_journal(&l, "pennypost", &out);
	assert_non_null(strstr(buf_cstr(&out), "\nCLIENT_ADDRESS=192.0.2.1\n"));
	assert_non_null(strstr(buf_cstr(&out), "\nSASL_USERNAME=u@x\n"));
	assert_true(log_line_parse(SLICE("Nov 23 16:47:27 mail t/x[1]: error: no"), &l) && l.level == 3);
	assert_true(log_line_parse(SLICE("Nov 23 16:47:27 mail t/x[1]: warning: w"), &l) && l.level == 4);
	assert_false(log_line_parse(SLICE("{\"time\":\"x\"}"), &l));
	buf_reset(&out);
	log_line_syslog(&l, "tag", &out);
	assert_string_equal(buf_cstr(&out), "<22>tag: {\"time\":\"x\"}");
	buf_clear(&out);
}

/* ---- mailq ---- */

static void
add_item(struct queue_printer *p, uint64_t qid, uint8_t state, uint64_t size, const char *sender,
    const struct ipc_queue_rcpt *rcpts, size_t n)
{
	struct ipc_queue_item item = { .qid = qid, .state = state, .arrival_usec = 1795366047000000, .size = size, .sender = slice_of(sender) };
	struct buf list;

	buf_init(&list, 65536);
	for (size_t i = 0; i < n; i++)
		assert_true(ipc_add_queue_rcpt(&list, &rcpts[i]));
	item.rcpts = buf_slice_of(&list);
	assert_true(queue_print_item(p, &item));
	buf_clear(&list);
}

static char *
printed(bool json, bool full)
{
	const struct ipc_queue_rcpt rcpts[] = {
		{ .addr = SLICE("rcpt@example.net"), .reason = SLICE("connect to mx.example.net[192.0.2.1]:25: Connection timed out") },
		{ .addr = SLICE("two@example.net"), .reason = SLICE("connect to mx.example.net[192.0.2.1]:25: Connection timed out") },
		{ .addr = SLICE("three@example.net"), .orig_to = SLICE("o@x") },
	};
	struct queue_printer p;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)setenv("TZ", "UTC", 1);
	tzset();
	queue_print_begin(&p, f, json);
	if (full) {
		add_item(&p, 1000, STATE_ACTIVE, 812, "sender@example.org", rcpts, 2);
		add_item(&p, 1000, STATE_ACTIVE, 812, "sender@example.org", rcpts + 2, 1);	/* the rest of a long list */
		add_item(&p, 1001, STATE_HELD, 2048, "", rcpts + 2, 1);
	}
	queue_print_end(&p);
	(void)fclose(f);
	return text;
}

static void
mailq_text(void **unused)
{
	char *text = printed(false, true);

	(void)unused;
	assert_string_equal(text,
	    "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n"
	    "000000000G8*           812 Sun Nov 22 16:47:27 sender@example.org\n"
	    "               (connect to mx.example.net[192.0.2.1]:25: Connection timed out)\n"
	    "                                               rcpt@example.net\n"
	    "                                               two@example.net\n"
	    "                                               three@example.net\n"
	    "\n"
	    "000000000G9!          2048 Sun Nov 22 16:47:27 MAILER-DAEMON\n"
	    "                                               three@example.net\n"
	    "\n"
	    "-- 2 Kbytes in 2 Requests.\n");
	free(text);
	text = printed(false, false);
	assert_string_equal(text, "Mail queue is empty\n");
	free(text);
}

static void
mailq_json(void **unused)
{
	char *text = printed(true, true), *second = strchr(text, '\n') + 1;
	json_t *one;

	(void)unused;
	second[-1] = '\0';
	one = json_loads(text, 0, NULL);
	assert_non_null(one);
	assert_string_equal(json_string_value(json_object_get(one, "queue_name")), "active");
	assert_string_equal(json_string_value(json_object_get(one, "queue_id")), "000000000G8");
	assert_int_equal(json_integer_value(json_object_get(one, "arrival_time")), 1795366047);
	assert_int_equal(json_array_size(json_object_get(one, "recipients")), 3);
	json_decref(one);
	one = json_loads(second, 0, NULL);
	assert_non_null(one);
	assert_string_equal(json_string_value(json_object_get(one, "queue_name")), "hold");
	assert_string_equal(json_string_value(json_object_get(one, "sender")), "MAILER-DAEMON");
	json_decref(one);
	free(text);
	text = printed(true, false);
	assert_string_equal(text, "");
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_with_continuation_lines), cmocka_unit_test(only_the_entry_changes),
		cmocka_unit_test(password_fields), cmocka_unit_test(names_in_aliases),
		cmocka_unit_test(process_lines), cmocka_unit_test(process_lists),
		cmocka_unit_test(leftovers_are_picked_precisely), cmocka_unit_test(socket_lines),
		cmocka_unit_test(log_lines), cmocka_unit_test(mailq_text), cmocka_unit_test(mailq_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
