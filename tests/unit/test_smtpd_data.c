/* smtpd/smtp_data.c: the end of data, what is refused, and what is done to headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "smtpd/smtp_data.h"

#define S(literal) { literal, sizeof(literal) - 1 }

static const struct smtp_data_rules strict = {
	.size_max = 10000, .header_max = 1000, .line_max = 998, .hops_max = 3, .refuse_bare = true,
};

/* What comes out of in, given in pieces of `step` octets. */
struct outcome {
	enum smtp_fault	 fault;
	bool		 done;
	size_t		 left;		/* octets behind the end */
	char		 out[2000];
	char		 message_id[200];
	bool		 eight_bit;
	unsigned	 hops;
};

static struct outcome
feed(const struct smtp_data_rules *rules, struct slice in, size_t step)
{
	struct outcome o = { 0 };
	struct smtp_data d;
	size_t at = 0, n;

	smtp_data_init(&d, rules, 20000);
	while (at < in.len && !d.done) {
		struct slice piece = slice_sub(in, at, step);

		n = smtp_data_feed(&d, piece);
		if (!d.done)
			assert_int_equal(n, piece.len);
		at += n;
	}
	o.fault = d.fault;
	o.done = d.done;
	o.left = in.len - at;
	o.eight_bit = d.eight_bit;
	o.hops = d.hops;
	assert_true(d.out.len < sizeof(o.out));
	if (d.out.len > 0)
		memcpy(o.out, d.out.ptr, d.out.len);
	memcpy(o.message_id, d.message_id, d.message_id_len);
	smtp_data_clear(&d);
	return o;
}

static void
content(void **unused)
{
	static const struct { struct slice in; const char *out; size_t left; } row[] = {
		{ S(".\r\n"), "", 0 },
		{ S("\r\n.\r\n"), "\r\n", 0 },
		{ S("A: b\r\n\r\nhello\r\n.\r\nMAIL"), "A: b\r\n\r\nhello\r\n", 4 },
		{ S("A: b\r\n\r\n..\r\n...\r\n..x\r\n.y\r\n.\r\n"), "A: b\r\n\r\n.\r\n..\r\n.x\r\ny\r\n", 0 },
		{ S("A: b\r\n\r\na.\r\n.a.\r\n.\r\n"), "A: b\r\n\r\na.\r\na.\r\n", 0 },
		{ S("A: b\r\n.\r\n"), "A: b\r\n", 0 },
		{ S("no header\r\n.\r\n"), "no header\r\n", 0 },
		{ S("A: b\r\n\r\n\xff\xfe\t\x01\r\n.\r\n"), "A: b\r\n\r\n\xff\xfe\t\x01\r\n", 0 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		for (size_t step = 1; step <= row[i].in.len; step++) {
			struct outcome o = feed(&strict, row[i].in, step);

			assert_int_equal(o.fault, FAULT_NONE);
			assert_true(o.done);
			assert_string_equal(o.out, row[i].out);
			if (step == row[i].in.len)
				assert_int_equal(o.left, row[i].left);
		}
	}
}

/* V6: every way to write "end of line, dot, end of line" but the right one. */
static void
only_crlf_dot_crlf_ends_it(void **unused)
{
	static const struct slice ends[] = { S("\r\n"), S("\n"), S("\r"), S("\0"), S("") };

	(void)unused;
	for (size_t a = 0; a < LEN(ends); a++) {
		for (size_t b = 0; b < LEN(ends); b++) {
			char text[100] = "A: b\r\n\r\nfirst";
			size_t len = strlen(text);
			struct outcome o;

			memcpy(text + len, ends[a].ptr, ends[a].len);
			len += ends[a].len;
			text[len++] = '.';
			memcpy(text + len, ends[b].ptr, ends[b].len);
			len += ends[b].len;
			memcpy(text + len, "MAIL FROM:<smuggled@example.net>\r\n", 34);
			len += 34;
			for (size_t step = 1; step <= len; step++) {
				o = feed(&strict, slice_make(text, len), step);
				assert_int_equal(o.done, a == 0 && b == 0);
				if (a == 0 && b == 0)
					assert_int_equal(o.fault, FAULT_NONE);
				/* What has a bare CR, LF or NUL is refused, what has none is text. */
				else
					assert_int_equal(o.fault != FAULT_NONE,
					    (a != 0 && a != 4) || (b != 0 && b != 4));
			}
			/* And the true end is still found, once. */
			memcpy(text + len, "\r\n.\r\nQUIT\r\n", 11);
			if (a == 0 && b == 0)
				continue;
			o = feed(&strict, slice_make(text, len + 11), 7);
			assert_true(o.done);
		}
	}
}

static void
faults(void **unused)
{
	static const struct { struct slice in; enum smtp_fault fault; } row[] = {
		{ S("a\nb\r\n.\r\n"), FAULT_BARE_LF },
		{ S("\n.\r\n\r\n.\r\n"), FAULT_BARE_LF },
		{ S("a\rb\r\n.\r\n"), FAULT_BARE_CR },
		{ S("a\r\r\n.\r\n"), FAULT_BARE_CR },
		{ S(".\r.\r\n\r\n.\r\n"), FAULT_BARE_CR },
		{ S("a\0b\r\n.\r\n"), FAULT_NUL },
		{ S(".\0\r\n.\r\n"), FAULT_NUL },
		{ S("Received: a\r\nReceived: b\r\nreceived : c\r\n\r\n.\r\n"), FAULT_NONE },
		{ S("Received: a\r\nReceived: b\r\nreceived: c\r\nRECEIVED: d\r\n\r\n.\r\n"), FAULT_HOPS },
		{ S("A: b\r\n\r\nReceived: a\r\nReceived: b\r\nReceived: c\r\nReceived: d\r\n.\r\n"), FAULT_NONE },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		for (size_t step = 1; step <= row[i].in.len; step++) {
			struct outcome o = feed(&strict, row[i].in, step);

			if (o.fault != row[i].fault || !o.done)
				fail_msg("row %zu step %zu: fault %d done %d", i, step, (int)o.fault, o.done);
			if (o.fault != FAULT_NONE)
				assert_string_equal(o.out, "");
		}
	}
}

/* A run of n octets c, with what stands before and behind. */
static enum smtp_fault
fault_of_run(const struct smtp_data_rules *rules, const char *before, char c, size_t n, const char *behind)
{
	struct smtp_data d;
	char *run = malloc(n);
	enum smtp_fault fault;

	assert_non_null(run);
	memset(run, c, n);
	smtp_data_init(&d, rules, 1000000);
	(void)smtp_data_feed(&d, slice_of(before));
	(void)smtp_data_feed(&d, slice_make(run, n));
	(void)smtp_data_feed(&d, slice_of(behind));
	assert_true(d.done);
	fault = d.fault;
	smtp_data_clear(&d);
	free(run);
	return fault;
}

static void
limits(void **unused)
{
	static const char end[] = "\r\n.\r\n", body[] = "A: b\r\n\r\n";
	struct smtp_data_rules wide = strict;

	(void)unused;
	assert_int_equal(fault_of_run(&strict, body, 'x', 998, end), FAULT_NONE);
	assert_int_equal(fault_of_run(&strict, body, 'x', 999, end), FAULT_LINE);
	wide.line_max = 100000;
	/* 8 octets of body[], the run, CRLF. */
	assert_int_equal(fault_of_run(&wide, body, 'x', 10000 - 10, end), FAULT_NONE);
	assert_int_equal(fault_of_run(&wide, body, 'x', 10000 - 9, end), FAULT_SIZE);
	assert_int_equal(fault_of_run(&wide, "A: b", 'x', 996, end), FAULT_NONE);
	assert_int_equal(fault_of_run(&wide, "A: b", 'x', 997, end), FAULT_HEADER);
}

static void
submissions_are_completed(void **unused)
{
	struct smtp_data_rules fix = strict;
	static const struct { struct slice in; const char *out, *id; } row[] = {
		{ S("A: b\r\n\r\nx\r\n.\r\n"), "A: b\r\nDate: d\r\nMessage-ID: <i@h>\r\n\r\nx\r\n", "<i@h>" },
		{ S("A: b\r\n.\r\n"), "A: b\r\nDate: d\r\nMessage-ID: <i@h>\r\n", "<i@h>" },
		{ S("just text\r\n.\r\n"), "Date: d\r\nMessage-ID: <i@h>\r\n\r\njust text\r\n", "<i@h>" },
		{ S("dATE: now\r\nMessage-id: <own@x>\r\n\r\nx\r\n.\r\n"), "dATE: now\r\nMessage-id: <own@x>\r\n\r\nx\r\n", "<own@x>" },
		{ S("Date: now\r\nBcc: a@x,\r\n b@x\r\n\tc@x\r\nMessage-ID:\r\n <own@x>\r\nbcc:y\r\nResent-Bcc: z\r\nTo: q\r\n\r\nBcc: stays\r\n.\r\n"),
		  "Date: now\r\nMessage-ID:\r\n <own@x>\r\nTo: q\r\n\r\nBcc: stays\r\n", "<own@x>" },
	};

	(void)unused;
	fix.fix = true;
	fix.date = slice_of("Date: d\r\n");
	fix.message_id = slice_of("Message-ID: <i@h>\r\n");
	for (size_t i = 0; i < LEN(row); i++) {
		for (size_t step = 1; step <= row[i].in.len; step++) {
			struct outcome o = feed(&fix, row[i].in, step);

			assert_int_equal(o.fault, FAULT_NONE);
			assert_string_equal(o.out, row[i].out);
			assert_string_equal(o.message_id, row[i].id);
		}
	}
}

/* In relay nothing is taken out or added. */
static void
relayed_mail_stays_as_it_is(void **unused)
{
	static const char text[] = "Bcc: a@x\r\nMessage-ID: <m@x>\r\n\r\n\xc3\xa4\r\n";
	char in[100];
	struct outcome o;

	(void)unused;
	(void)strcpy(in, text);
	(void)strcat(in, ".\r\n");
	o = feed(&strict, slice_of(in), 5);
	assert_string_equal(o.out, text);
	assert_string_equal(o.message_id, "<m@x>");
	assert_true(o.eight_bit);
}

/* smtp-refuse-bare-newline = false: mended, and still no other end of data. */
static void
bare_newlines_are_mended_if_so_configured(void **unused)
{
	static const struct { struct slice in; const char *out; } row[] = {
		{ S("a\nb\rc\r\n.\r\n"), "a\r\nb c\r\n" },
		{ S("a\n.\nb\r\n.\r\n"), "a\r\n.\r\nb\r\n" },
		{ S("a\r\n.\nb\r\n.\r\n"), "a\r\n.\r\nb\r\n" },
		{ S("a\r\n.\rb\r\n.\r\n"), "a\r\n. b\r\n" },
		{ S("a\n.\r\nb\r\n.\r\n"), "a\r\n.\r\nb\r\n" },
	};
	struct smtp_data_rules rules = strict;

	(void)unused;
	rules.refuse_bare = false;
	for (size_t i = 0; i < LEN(row); i++) {
		struct outcome o = feed(&rules, row[i].in, 3);

		assert_true(o.done);
		assert_int_equal(o.fault, FAULT_NONE);
		assert_string_equal(o.out, row[i].out);
	}
	/* NUL never. */
	assert_int_equal(feed(&rules, slice_make("a\0\r\n.\r\n", 7), 3).fault, FAULT_NUL);
}

/* What is stored piecemeal is what is stored at once. */
static void
spilling_changes_nothing(void **unused)
{
	static const char in[] = "Bcc: x\r\nTo: a\r\n b\r\n\r\nline\r\n..dot\r\nend\r\n.\r\n";
	struct smtp_data_rules fix = strict;
	struct smtp_data d;
	struct buf stored;

	(void)unused;
	fix.fix = true;
	fix.date = slice_of("Date: d\r\n");
	fix.message_id = slice_of("Message-ID: <i@h>\r\n");
	smtp_data_init(&d, &fix, 20000);
	smtp_data_prefix(&d, SLICE("Received: us\r\n"));
	buf_init(&stored, 10000);
	for (size_t i = 0; i < sizeof(in) - 1; i++) {
		assert_int_equal(smtp_data_feed(&d, slice_make(in + i, 1)), 1);
		assert_true(buf_slice(&stored, smtp_data_ready(&d)));
		smtp_data_taken(&d, smtp_data_ready(&d).len);
	}
	assert_true(d.done);
	assert_int_equal(d.hops, 0);
	assert_string_equal(buf_cstr(&stored), "Received: us\r\nTo: a\r\n b\r\nDate: d\r\nMessage-ID: <i@h>\r\n"
	    "\r\nline\r\n.dot\r\nend\r\n");
	buf_clear(&stored);
	smtp_data_clear(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content),
		cmocka_unit_test(only_crlf_dot_crlf_ends_it),
		cmocka_unit_test(faults),
		cmocka_unit_test(limits),
		cmocka_unit_test(submissions_are_completed),
		cmocka_unit_test(relayed_mail_stays_as_it_is),
		cmocka_unit_test(bare_newlines_are_mended_if_so_configured),
		cmocka_unit_test(spilling_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
