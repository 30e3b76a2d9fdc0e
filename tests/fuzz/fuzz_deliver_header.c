/* deliver: jobs, headers, and text for programs: no octet outside, no header line that is not ours. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/deliver_header.h"
#include "deliver/deliver_job.h"
#include "deliver/deliver_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_trace(struct slice text)
{
	struct buf b;
	size_t lines = 0;

	buf_init(&b, 4 * text.len + 200);
	if (!header_put_trace(&b, text, text, text))
		abort();
	for (size_t i = 0; i < b.len; i++)
		lines += b.ptr[i] == '\n';
	if (lines > 3 || memchr(b.ptr, '\0', b.len) != NULL)
		abort();
	buf_clear(&b);
}

/* Cut in two or not, the outcome is the same; in an mbox no line but ours begins with "From ". */
static void
check_text(struct slice text, bool mbox)
{
	struct text_filter f;
	struct buf whole, cut;
	size_t half = text.len / 2;

	buf_init(&whole, 2 * text.len + 100);
	buf_init(&cut, 2 * text.len + 100);
	text_filter_init(&f, mbox);
	if (!text_filter_put(&f, text, &whole) || !text_filter_end(&f, &whole))
		abort();
	text_filter_init(&f, mbox);
	(void)text_filter_put(&f, slice_sub(text, 0, half), &cut);
	(void)text_filter_put(&f, slice_sub(text, half, text.len), &cut);
	(void)text_filter_end(&f, &cut);
	if (!slice_eq(buf_slice_of(&whole), buf_slice_of(&cut)))
		abort();
	if (mbox && whole.len >= 5 && (memcmp(whole.ptr, "From ", 5) == 0 || memmem(whole.ptr, whole.len, "\nFrom ", 6) != NULL))
		abort();
	if (memmem(whole.ptr, whole.len, "\r\n", 2) != NULL && memmem(text.ptr, text.len, "\r\r\n", 3) == NULL &&
	    text.ptr[text.len - 1] != '\r')
		abort();
	buf_clear(&whole);
	buf_clear(&cut);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_make(data, size);
	struct header_facts h;
	struct addr a;
	struct job *job;
	bool bad;

	header_scan(text, &h);
	if (addr_parse(SLICE("bob@d.example"), &a))
		(void)header_was_delivered_to(&h, &a);
	if (size > 0) {
		check_trace(text);
		check_text(text, false);
		check_text(text, true);
	}
	job = job_new(text, -1, &bad);
	if (job != NULL)
		(void)job_header(job);
	job_free(job);
	return 0;
}
