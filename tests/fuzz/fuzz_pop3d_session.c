/* A client that says anything to pop3d after login, over messages that hold anything. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pop3d/pop3_parse.h"
#include "pop3d/pop3_session.h"
#include "pop3d/pop3_text.h"

#define MESSAGES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct drop {
	struct slice	content;
	bool		open;
	unsigned	removals;
	uint32_t	count;
};

static void
drop_uidl(void *ctx, uint32_t n, char id[POP3_UIDL_MAX + 2])
{
	(void)ctx;
	if (n == 0 || n > MESSAGES)
		abort();
	(void)snprintf(id, POP3_UIDL_MAX + 2, "%08x%08x", n, 1u);
}

static enum pop3_result
drop_open(void *ctx, uint32_t n, struct slice *text)
{
	struct drop *d = ctx;

	if (d->open || n == 0 || n > MESSAGES)
		abort();
	if (n == MESSAGES)
		return (d->content.len & 1) != 0 ? POP3_GONE : POP3_FAILED;
	*text = slice_sub(d->content, n - 1, d->content.len);
	d->open = true;
	return POP3_DONE;
}

static void
drop_close(void *ctx)
{
	struct drop *d = ctx;

	if (!d->open)
		abort();
	d->open = false;
}

static enum pop3_result
drop_remove(void *ctx, const uint32_t *number, size_t n)
{
	struct drop *d = ctx;

	for (size_t i = 0; i < n; i++)
		if (number[i] == 0 || number[i] > MESSAGES || (i > 0 && number[i] <= number[i - 1]))
			abort();
	d->removals++;
	return (d->content.len & 2) != 0 ? POP3_FAILED : POP3_DONE;
}

static const struct pop3_ops ops = {
	.uidl = drop_uidl, .text_open = drop_open, .text_close = drop_close, .remove = drop_remove,
};

/* A multi-line response gives the text back, whatever the pieces, and ends once. */
static void
check_text(struct slice text, size_t piece)
{
	struct pop3_text t;
	struct buf out;
	struct slice rest;
	size_t got = 0;

	buf_init(&out, 3 * text.len + 100);
	pop3_text_begin(&t, text);
	while (!pop3_text_piece(&t, piece, &out))
		if (out.full)
			abort();
	rest = buf_slice_of(&out);
	for (;;) {
		struct slice line = slice_sub(rest, 0, slice_find(rest, '\n') + 1);

		rest = slice_sub(rest, line.len, rest.len);
		if (slice_is(line, ".\r\n"))
			break;
		(void)slice_prefix(&line, ".");
		if (got > text.len || (line.len > text.len - got ? line.len - 2 > text.len - got :
		    memcmp(line.ptr, text.ptr + got, line.len) != 0))
			abort();
		got += line.len;
	}
	if (rest.len != 0 || (got != text.len && got != text.len + 2))
		abort();
	buf_clear(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct drop d = { .content = slice_make(data, size) };
	struct pop3_message *m = calloc(MESSAGES, sizeof(*m));
	struct slice rest = d.content, line;
	enum pop3_want want = POP3_WANT_LINE;
	struct pop3_session s;
	struct buf out;
	size_t taken;

	if (m == NULL)
		return 0;
	check_text(d.content, size > 0 ? 1u + data[0] : 1);
	buf_init(&out, 1 << 20);
	pop3_session_init(&s, &ops, &d, m, MESSAGES, true);
	while (want != POP3_WANT_CLOSE) {
		buf_reset(&out);
		if (want == POP3_WANT_MORE) {
			want = pop3_session_more(&s, &out);
		} else if ((taken = pop3_parse_line(rest, &line)) == 0) {
			break;
		} else {
			rest = slice_sub(rest, taken, rest.len);
			want = pop3_session_line(&s, line, &out);
			if (out.len < 5 || (out.ptr[0] != '+' && out.ptr[0] != '-'))
				abort();
		}
		if (out.full || (out.len > 0 && want != POP3_WANT_MORE && out.ptr[out.len - 1] != '\n'))
			abort();
	}
	if (d.removals > (s.quit ? 1u : 0u))
		abort();
	pop3_session_clear(&s);
	if (d.open)
		abort();
	buf_clear(&out);
	return 0;
}
