/* smtpd/smtp_envelope.c and smtp_received.c. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/smtp_envelope.h"
#include "smtpd/smtp_received.h"

static bool
add(struct smtp_envelope *e, const char *text)
{
	struct addr a;

	assert_true(addr_parse(slice_of(text), &a));
	return smtp_envelope_add(e, &a, HINT_LOCAL);
}

static void
each_address_once(void **unused)
{
	struct smtp_envelope e;
	char text[100];

	(void)unused;
	smtp_envelope_init(&e, 5000);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2000; i++) {
			(void)snprintf(text, sizeof(text), "user%d@b.example", i);
			assert_true(add(&e, text));
		}
	}
	assert_int_equal(e.accepted, 4000);
	assert_int_equal(e.rcpt_n, 2000);
	smtp_envelope_clear(&e);
	assert_int_equal(e.rcpt_n, 0);
	assert_true(add(&e, "user1@b.example"));
	assert_int_equal(e.rcpt_n, 1);
	smtp_envelope_clear(&e);
}

static void
parts_fit_frames_and_lose_nobody(void **unused)
{
	struct smtp_envelope e;
	struct slice rest, part;
	struct ipc_rcpt rcpt;
	size_t parts = 0, n = 0;
	bool bad = false;
	char text[300];

	(void)unused;
	smtp_envelope_init(&e, 1000);
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(text, sizeof(text), "%060d@%0*d.%0*d.%0*d.example", i, 50, 1, 50, 2, 50, 3);
		assert_true(add(&e, text));
	}
	rest = buf_slice_of(&e.rcpts);
	while ((part = smtp_envelope_part(&rest)).len > 0) {
		assert_true(part.len <= IPC_RCPTS_MAX);
		for (parts++; ipc_next_rcpt(&part, &rcpt, &bad); n++)
			assert_int_equal(atoi(rcpt.addr.ptr), (int)n);
		assert_false(bad);
	}
	assert_int_equal(n, 1000);
	assert_true(parts > 3);
	smtp_envelope_clear(&e);
}

static void
too_many_are_refused_and_leave_no_trace(void **unused)
{
	struct smtp_envelope e;
	size_t before;
	char text[300];
	int i = 0;

	(void)unused;
	smtp_envelope_init(&e, 2);
	do {
		before = e.rcpts.len;
		(void)snprintf(text, sizeof(text), "%060d@%0*d.%0*d.%0*d.example", i++, 50, 1, 50, 2, 50, 3);
	} while (add(&e, text));
	assert_true(i > 2);
	assert_int_equal(e.rcpts.len, before);
	assert_int_equal(e.accepted, e.rcpt_n);
	assert_true(add(&e, "a@b.example") || true);
	smtp_envelope_clear(&e);
}

static void
received_lines(void **unused)
{
	struct smtp_received r = {
		.helo = SLICE("c.example"), .name = SLICE("unknown"), .address = SLICE("192.0.2.1"),
		.hostname = "mx.b.example", .with = "ESMTP", .qid = { 1 }, .when_utc = 1795366047,
	};
	struct buf out;

	(void)unused;
	buf_init(&out, 2000);
	smtp_received_print(&r, &out);
	assert_string_equal(buf_cstr(&out), "Received: from c.example (unknown [192.0.2.1])\r\n"
	    "\tby mx.b.example (Pennypost) with ESMTP id 00000000001; Sun, 22 Nov 2026 16:47:27 +0000 (UTC)\r\n");
	buf_reset(&out);
	r.address = slice_of("2001:db8::1");
	r.helo = slice_of("a)(\\\"b;c");	/* V1, V20: nothing of it gets out of its place */
	r.tls_protocol = "TLSv1.3";
	r.tls_cipher = "TLS_AES_256_GCM_SHA384";
	r.tls_bits = 256;
	r.login = slice_of("u@b.example");
	r.rcpt = slice_of("x@y.example");
	r.with = "ESMTPSA";
	smtp_received_print(&r, &out);
	assert_string_equal(buf_cstr(&out), "Received: from a????b?c (unknown [IPv6:2001:db8::1])\r\n"
	    "\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits))\r\n"
	    "\t(Authenticated sender: u@b.example)\r\n"
	    "\tby mx.b.example (Pennypost) with ESMTPSA id 00000000001\r\n"
	    "\tfor <x@y.example>; Sun, 22 Nov 2026 16:47:27 +0000 (UTC)\r\n");
	buf_reset(&out);
	smtp_date_line(1795366047, &out);
	smtp_message_id_line(1795366047, (struct qid){ 1 }, "h", &out);
	assert_string_equal(buf_cstr(&out), "Date: Sun, 22 Nov 2026 16:47:27 +0000\r\n"
	    "Message-ID: <20261122164727.00000000001@h>\r\n");
	buf_clear(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_address_once),
		cmocka_unit_test(parts_fit_frames_and_lose_nobody),
		cmocka_unit_test(too_many_are_refused_and_leave_no_trace),
		cmocka_unit_test(received_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
