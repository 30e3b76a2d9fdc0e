/*
 * Content: given at once or in pieces it comes out the same; what comes out is
 * CRLF lines without NUL, and ends at the first CRLF.CRLF and nowhere else.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd/smtp_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The octet behind the end of data, or in.len + 1 if there is none. */
static size_t
true_end(struct slice in)
{
	if (in.len >= 3 && memcmp(in.ptr, ".\r\n", 3) == 0)
		return 3;
	for (size_t i = 0; i + 5 <= in.len; i++)
		if (memcmp(in.ptr + i, "\r\n.\r\n", 5) == 0)
			return i + 5;
	return in.len + 1;
}

static size_t
take(struct smtp_data *d, struct slice in, size_t step, struct buf *stored)
{
	size_t at = 0;

	while (at < in.len && !d->done) {
		at += smtp_data_feed(d, slice_sub(in, at, step));
		if (d->fault != FAULT_NONE)
			buf_reset(stored);
		else if (!buf_slice(stored, smtp_data_ready(d)))
			abort();
		smtp_data_taken(d, smtp_data_ready(d).len);
	}
	return d->done ? at : in.len + 1;
}

static void
check_lines(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\0' || (s.ptr[i] == '\n' && (i == 0 || s.ptr[i - 1] != '\r')) ||
		    (s.ptr[i] == '\r' && (i + 1 == s.len || s.ptr[i + 1] != '\n')))
			abort();
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_data_rules rules = { 2000, 500, 200, 3, true, false, SLICE("Date: x\r\n"), SLICE("Message-ID: <x>\r\n") };
	struct slice in = slice_make(data, size);
	struct smtp_data one, two;
	struct buf a, b;
	size_t end;

	if (size < 2)
		return 0;
	rules.refuse_bare = (data[0] & 1) == 0;
	rules.fix = (data[0] & 2) == 0;
	in = slice_sub(in, 2, in.len);
	smtp_data_init(&one, &rules, 1000000);
	smtp_data_init(&two, &rules, 1000000);
	buf_init(&a, 1000000);
	buf_init(&b, 1000000);
	end = take(&one, in, in.len, &a);
	/* Which of several limits is met first may depend on the pieces; that one is met may not. */
	if (end != true_end(in) || take(&two, in, 1u + data[1], &b) != end ||
	    (one.fault != FAULT_NONE) != (two.fault != FAULT_NONE))
		abort();
	if (one.done && one.fault == FAULT_NONE) {
		if (!slice_eq(buf_slice_of(&a), buf_slice_of(&b)))
			abort();
		check_lines(buf_slice_of(&a));
	}
	smtp_data_clear(&one);
	smtp_data_clear(&two);
	buf_clear(&a);
	buf_clear(&b);
	return 0;
}
