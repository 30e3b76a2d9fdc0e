/* imapd: threads of messages that refer to each other in any way: each is told once, and the parentheses are even. */
#include <stdint.h>
#include <stdlib.h>

#include "imapd/imap_thread.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES_MAX 200

static void
check_text(struct slice text, uint32_t n)
{
	unsigned seen[MESSAGES_MAX + 1] = { 0 };
	size_t depth = 0;

	while (text.len > 0) {
		uint32_t number = 0;

		for (; text.len > 0 && text.ptr[0] >= '0' && text.ptr[0] <= '9'; text = slice_sub(text, 1, text.len))
			number = number * 10 + (uint32_t)(text.ptr[0] - '0');
		if (number > n || (number > 0 && seen[number]++ > 0))
			abort();
		if (text.len == 0)
			abort();
		if (text.ptr[0] == '(')
			depth++;
		else if (text.ptr[0] == ')' && depth-- == 0)
			abort();
		text = slice_sub(text, 1, text.len);
	}
	for (uint32_t i = 1; i <= n; i++)
		if (seen[i] != 1)
			abort();
	if (depth != 0)
		abort();
}

/* A line is a message: date and flags in the first octet, then id, references, in-reply-to and subject between tabs. */
static void
run(struct slice text, bool by_references)
{
	struct imap_threads *t = imap_threads_new(1);
	struct buf out;
	uint32_t n = 0;

	while (t != NULL && text.len > 0 && n < MESSAGES_MAX) {
		struct slice line = slice_cut(&text, '\n');
		struct imap_thread_message m = { .number = ++n };

		if (line.len > 0) {
			m.sent = line.ptr[0] & 7;
			m.reply = (line.ptr[0] & 8) != 0;
			line = slice_sub(line, 1, line.len);
		}
		m.message_id = slice_cut(&line, '\t');
		m.references = slice_cut(&line, '\t');
		m.in_reply_to = slice_cut(&line, '\t');
		m.subject = line;
		if (!imap_threads_add(t, &m))
			abort();
	}
	buf_init(&out, 1 << 20);
	if (t != NULL && (by_references ? imap_threads_by_references(t, &out) : imap_threads_by_subject(t, &out)))
		check_text(buf_slice_of(&out), n);
	buf_clear(&out);
	imap_threads_free(t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run(slice_make(data, size), true);
	run(slice_make(data, size), false);
	return 0;
}
