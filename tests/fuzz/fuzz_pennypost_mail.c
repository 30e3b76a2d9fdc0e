/*
 * What sendmail is given: whatever comes in, lines go out strict (CRLF alone,
 * no NUL), however it is cut; headers and address lists end.
 */
#include <stdint.h>
#include <stdlib.h>

#include "dropfile.h"
#include "pennypost/header_addrs.h"
#include "pennypost/mail_header.h"
#include "pennypost/mail_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
count(void *ctx, struct slice addr)
{
	(void)addr;
	return ++*(size_t *)ctx < 100000;
}

static void
lines(struct slice in, uint8_t mode, size_t step, struct buf *out)
{
	struct mail_lines m = { .dot_ends = mode & 1, .stuffed = mode & 2, .crlf_only = mode & 4 };
	struct dropfile_lines strict = { '\n' };

	for (size_t at = 0; at < in.len; at += step)
		(void)mail_lines_feed(&m, slice_sub(in, at, step), out);
	mail_lines_end(&m, out);
	if (out->full || !dropfile_lines_feed(&strict, buf_slice_of(out)) || !dropfile_lines_end(&strict))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in;
	struct buf whole, cut, kept;
	struct mail_header h;
	bool ended, blank, bad = false;
	size_t n = 0, end;

	if (size < 2)
		return 0;
	in = slice_make(data + 2, size - 2);
	buf_init(&whole, size * 3 + 8);
	buf_init(&cut, size * 3 + 8);
	buf_init(&kept, size * 3 + 8);
	lines(in, data[0], in.len + 1, &whole);
	lines(in, data[0], data[1] % 7u + 1, &cut);
	if (!slice_eq(buf_slice_of(&whole), buf_slice_of(&cut)))
		abort();
	end = mail_header_end(buf_slice_of(&whole), 0, &ended, &blank);
	if (end > whole.len || !mail_header_scan(slice_sub(buf_slice_of(&whole), 0, end), true, &h, &kept) || kept.len > end)
		abort();
	(void)mail_header_rcpts(slice_sub(buf_slice_of(&whole), 0, end), h.resent, count, &n, &bad);
	(void)header_addr_next(&in, &kept, &bad);
	buf_clear(&whole);
	buf_clear(&cut);
	buf_clear(&kept);
	return 0;
}
