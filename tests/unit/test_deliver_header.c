/* deliver: headers, line ends and mbox quoting, environments, exit codes. */
#include "check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"
#include "deliver/deliver_command.h"
#include "deliver/deliver_header.h"
#include "deliver/deliver_text.h"

static void
delivered_to(void **unused)
{
	static const struct { const char *head; bool was; } row[] = {
		{ "Delivered-To: bob@d.example\r\n\r\n", true },
		{ "Delivered-To: bob@d.example\n\n", true },
		{ "delivered-to:BOB@D.EXAMPLE\r\n\r\n", true },
		{ "Delivered-To : bob@d.example\r\n\r\n", true },
		{ "Delivered-To:\r\n \tbob@d.example \r\n\r\n", true },
		{ "Delivered-To: <bob@d.example>\r\n\r\n", true },
		{ "A: b\r\nDelivered-To: carol@d.example\r\nDelivered-To: bob@d.example\r\n\r\n", true },
		{ "Delivered-To: bob@d.example", true },
		{ "Delivered-To: bob+x@d.example\r\n\r\n", false },
		{ "Delivered-To: xbob@d.example\r\n\r\n", false },
		{ "Delivered-To: bob@d.example, x\r\n\r\n", false },
		{ "X-Delivered-To: bob@d.example\r\n\r\n", false },
		{ "Delivered-Too: bob@d.example\r\n\r\n", false },
		{ "A: b\r\n\r\nDelivered-To: bob@d.example\r\n", false },
		{ "A: b\n\nDelivered-To: bob@d.example\n", false },
		{ "A: b\r\n Delivered-To: bob@d.example\r\n\r\n", false },
		{ "\r\nDelivered-To: bob@d.example\r\n", false },
		{ "Delivered-To:", false }, { "Delivered-To", false }, { "", false },
	};
	struct header_facts h;
	struct addr bob;

	(void)unused;
	assert_true(addr_parse(SLICE("bob@d.example"), &bob));
	for (size_t i = 0; i < LEN(row); i++) {
		/* Behind the last octet there is nothing: a copy of the exact size. */
		size_t len = strlen(row[i].head);
		char *copy = malloc(len + (len == 0));

		memcpy(copy, row[i].head, len);
		header_scan(slice_make(copy, len), &h);
		check_row(i, header_was_delivered_to(&h, &bob) == row[i].was);
		free(copy);
	}
}

static void
hops(void **unused)
{
	struct header_facts h;
	struct buf b;

	(void)unused;
	buf_init(&b, 100000);
	for (int i = 0; i < 60; i++)
		(void)buf_fmt(&b, "%s: from a\r\n\tby b; date\r\n", i % 2 ? "Received" : "RECEIVED");
	(void)buf_text(&b, "Received-SPF: pass\r\n\r\nReceived: in the body\r\n");
	header_scan(buf_slice_of(&b), &h);
	assert_int_equal(h.received, 60);
	buf_reset(&b);
	for (int i = 0; i < 200; i++)
		(void)buf_text(&b, "Delivered-To: x@y.example\r\n");
	header_scan(buf_slice_of(&b), &h);
	assert_int_equal(h.delivered_n, HEADER_SEEN_MAX);
	buf_clear(&b);
}

/* V20: nothing that queue hands over can end a header line. */
static void
trace(void **unused)
{
	struct buf b;

	(void)unused;
	buf_init(&b, 1000);
	assert_true(header_put_trace(&b, SLICE(""), SLICE(""), SLICE("bob@d.example")));
	assert_string_equal(buf_cstr(&b), "Return-Path: <>\r\nDelivered-To: bob@d.example\r\n");
	buf_reset(&b);
	assert_true(header_put_trace(&b, SLICE("a\r\nX: y@z"), SLICE("o\nX: 1"), SLICE("t\rX@y")));
	assert_string_equal(buf_cstr(&b), "Return-Path: <aX: y@z>\r\nX-Original-To: oX: 1\r\nDelivered-To: tX@y\r\n");
	buf_clear(&b);
}

static void
filter(void **unused)
{
	static const struct { bool mbox; const char *in, *out; } row[] = {
		{ false, "a\r\nb\r\n", "a\nb\n" },		{ false, "a\r\nb", "a\nb\n" },
		{ false, "a\rb\r\r\n", "a\rb\r\n" },		{ false, "a\r", "a\r\n" },
		{ false, "From x\r\n", "From x\n" },		{ false, "", "" },
		{ true, "From x\r\n", ">From x\n" },		{ true, ">From x\r\n", ">>From x\n" },
		{ true, ">>>From x\r\n", ">>>>From x\n" },	{ true, "a\r\nFrom x\r\n", "a\n>From x\n" },
		{ true, "aFrom x\r\n", "aFrom x\n" },		{ true, "From\r\n", "From\n" },
		{ true, "Fro", "Fro\n" },			{ true, "> From x\r\n", "> From x\n" },
		{ true, "From: x\r\n", "From: x\n" },		{ true, "FFrom x\r\n", "FFrom x\n" },
		{ true, ">\r\nFrom y", ">\n>From y\n" },	{ true, "\r\n\r\nFrom y\r\n", "\n\n>From y\n" },
		{ true, ">", ">\n" },				{ true, "From ", ">From \n" },
	};
	struct buf b;

	(void)unused;
	buf_init(&b, 1000);
	for (size_t i = 0; i < LEN(row); i++) {
		size_t len = strlen(row[i].in);

		/* Cut at every octet: pieces make no difference. */
		for (size_t cut = 0; cut <= len; cut++) {
			struct text_filter f;

			buf_reset(&b);
			text_filter_init(&f, row[i].mbox);
			(void)text_filter_put(&f, slice_make(row[i].in, cut), &b);
			(void)text_filter_put(&f, slice_make(row[i].in + cut, len - cut), &b);
			(void)text_filter_end(&f, &b);
			if (strcmp(buf_cstr(&b), row[i].out) != 0)
				fail_msg("row %zu cut %zu: '%s'", i, cut, buf_cstr(&b));
		}
	}
	buf_clear(&b);
}

/* P18, V1: fixed names, cleaned values; Shellshock finds nothing to read. */
static void
environment(void **unused)
{
	static const char *const hostile[] = {
		"() { :;}; echo x", "$(id)", "`id`", "a\nPATH=/tmp", "a=b\tc", "\"';|&<>*?[]\\", "x\x80\xff",
	};
	struct buf b;
	size_t strings;

	(void)unused;
	buf_init(&b, 100000);
	for (size_t i = 0; i < LEN(hostile); i++) {
		struct slice h = slice_of(hostile[i]);
		const struct command_env e = {
			.home = h, .user = h, .shell = h, .recipient = h, .original_recipient = h, .sender = h,
			.local = h, .domain = h, .extension = h, .envid = h, .client_address = h,
		};

		buf_reset(&b);
		check_row(i, command_environment(&b, &e));
		strings = 0;
		for (size_t at = 0; at < b.len; at += strlen(b.ptr + at) + 1) {
			const char *value = strchr(b.ptr + at, '=');

			strings++;
			check_row(i, value != NULL);
			check_row(i, strspn(b.ptr + at, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == (size_t)(value - b.ptr) - at);
			check_row(i, value[1 + strspn(value + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789!@%-_=+:,./")] == '\0');
		}
		check_row(i, strings == 14);
	}
	buf_clear(&b);
}

/* CONVENTIONS.md section 1, the table at its end. */
static void
exit_codes(void **unused)
{
	static const struct {
		enum command_end end; int code; const char *output; enum ipc_outcome outcome; const char *dsn;
	} row[] = {
		{ COMMAND_EXITED, 0, "", OUTCOME_DONE, "2.0.0" },
		{ COMMAND_EXITED, 0, "5.7.1 no", OUTCOME_DONE, "2.0.0" },
		{ COMMAND_EXITED, 64, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 65, "", OUTCOME_FAILED, "5.6.0" },
		{ COMMAND_EXITED, 66, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 67, "", OUTCOME_FAILED, "5.1.1" },
		{ COMMAND_EXITED, 68, "", OUTCOME_FAILED, "5.1.2" },	{ COMMAND_EXITED, 69, "", OUTCOME_FAILED, "5.3.0" },
		{ COMMAND_EXITED, 70, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 71, "", OUTCOME_DEFERRED, "4.3.0" },
		{ COMMAND_EXITED, 72, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 73, "", OUTCOME_FAILED, "5.2.0" },
		{ COMMAND_EXITED, 74, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 75, "", OUTCOME_DEFERRED, "4.3.0" },
		{ COMMAND_EXITED, 76, "", OUTCOME_FAILED, "5.5.0" },	{ COMMAND_EXITED, 77, "", OUTCOME_FAILED, "5.7.0" },
		{ COMMAND_EXITED, 78, "", OUTCOME_FAILED, "5.3.5" },
		{ COMMAND_EXITED, 1, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 63, "", OUTCOME_FAILED, "5.3.0" },
		{ COMMAND_EXITED, 79, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 99, "", OUTCOME_FAILED, "5.3.0" },
		{ COMMAND_EXITED, 111, "", OUTCOME_FAILED, "5.3.0" },	{ COMMAND_EXITED, 255, "", OUTCOME_FAILED, "5.3.0" },
		{ COMMAND_EXITED, 1, "4.2.2 full", OUTCOME_DEFERRED, "4.2.2" },
		{ COMMAND_EXITED, 75, " \n5.7.1\nx", OUTCOME_FAILED, "5.7.1" },
		{ COMMAND_EXITED, 75, "5.7.1", OUTCOME_FAILED, "5.7.1" },
		{ COMMAND_EXITED, 75, "2.0.0 ok", OUTCOME_DEFERRED, "4.3.0" },
		{ COMMAND_EXITED, 67, "5.7 x", OUTCOME_FAILED, "5.1.1" },
		{ COMMAND_EXITED, 67, "4.2.2x", OUTCOME_FAILED, "5.1.1" },
		{ COMMAND_EXITED, 67, "4.2.9999", OUTCOME_FAILED, "5.1.1" },
		{ COMMAND_EXITED, 67, "word 4.2.2", OUTCOME_FAILED, "5.1.1" },
		{ COMMAND_SIGNALLED, SIGSEGV, "", OUTCOME_DEFERRED, "4.3.0" },
		{ COMMAND_TIMED_OUT, 0, "5.1.1 x", OUTCOME_DEFERRED, "4.3.0" },
		{ COMMAND_NOT_RUN, 2, "", OUTCOME_DEFERRED, "4.3.5" },
	};
	struct buf text;

	(void)unused;
	buf_init(&text, 2000);
	for (size_t i = 0; i < LEN(row); i++) {
		struct command_result c = { .end = row[i].end, .code = row[i].code };
		enum ipc_outcome outcome;
		char dsn[16];

		buf_init(&c.output, COMMAND_OUTPUT_MAX);
		(void)buf_text(&c.output, row[i].output);
		buf_reset(&text);
		command_outcome(&c, &outcome, dsn, &text);
		if (outcome != row[i].outcome || strcmp(dsn, row[i].dsn) != 0)
			fail_msg("row %zu: %d %s", i, (int)outcome, dsn);
		check_row(i, text.len > 0);
		buf_clear(&c.output);
	}
	buf_clear(&text);
}

/* Our own time limit: the command goes, and what it started in its group. */
static void
time_limit(void **unused)
{
	static const char *const argv[] = { "/bin/sh", "-c", "sleep 100 & sleep 100", NULL };
	struct ipc_job_rcpt rcpt = { .addr = SLICE("x@y.example"), .orig_to = SLICE("") };
	struct ipc_job m = { .job = 1, .qid = 1, .content = SLICE("Subject: x\r\n\r\n") };
	struct command_result c;
	struct buf list, frame;
	struct job *job;
	uint64_t start;
	bool bad;

	(void)unused;
	buf_init(&list, 4096);
	buf_init(&frame, IPC_FRAME_MAX);
	assert_true(ipc_add_job_rcpt(&list, &rcpt));
	m.rcpts = buf_slice_of(&list);
	assert_true(ipc_put_job(&frame, &m));
	job = job_new(buf_slice_of(&frame), -1, &bad);
	assert_non_null(job);
	start = now_mono_usec();
	command_run(argv, SLICE("PATH=/bin\0"), job, SLICE(""), 1, &c);
	assert_int_equal(c.end, COMMAND_TIMED_OUT);
	assert_true(now_mono_usec() - start < 5000000);
	buf_clear(&c.output);
	job_free(job);
	buf_clear(&frame);
	buf_clear(&list);
}

/* Every job frame cut at every octet: refused, never read past its end. */
static void
cut_jobs(void **unused)
{
	struct ipc_job_rcpt rcpt = { .index = 7, .addr = SLICE("x@y.example"), .orig_to = SLICE("z@y.example") };
	struct ipc_job m = { .job = 1, .qid = 1, .content = SLICE("Subject: x\r\n\r\n"), .sender = SLICE("s@y.example") };
	struct buf list, frame;
	struct job *job;
	bool bad;

	(void)unused;
	buf_init(&list, 4096);
	buf_init(&frame, IPC_FRAME_MAX);
	(void)ipc_add_job_rcpt(&list, &rcpt);
	(void)ipc_add_job_rcpt(&list, &rcpt);
	m.rcpts = buf_slice_of(&list);
	assert_true(ipc_put_job(&frame, &m));
	for (size_t i = 0; i < frame.len; i++) {
		job = job_new(slice_make(frame.ptr, i), -1, &bad);
		check_row(i, job == NULL && bad);
	}
	job = job_new(buf_slice_of(&frame), -1, &bad);
	assert_non_null(job);
	assert_int_equal(job->rcpt_n, 2);
	job_free(job);
	/* In a file, and no descriptor; no recipients. */
	m.in_file = 1;
	buf_reset(&frame);
	assert_true(ipc_put_job(&frame, &m));
	assert_null(job_new(buf_slice_of(&frame), -1, &bad));
	assert_true(bad);
	m.in_file = 0;
	m.rcpts = SLICE("");
	buf_reset(&frame);
	assert_true(ipc_put_job(&frame, &m));
	assert_null(job_new(buf_slice_of(&frame), -1, &bad));
	assert_true(bad);
	buf_clear(&frame);
	buf_clear(&list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delivered_to), cmocka_unit_test(hops), cmocka_unit_test(trace), cmocka_unit_test(filter),
		cmocka_unit_test(environment), cmocka_unit_test(exit_codes), cmocka_unit_test(time_limit),
		cmocka_unit_test(cut_jobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
