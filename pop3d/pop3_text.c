/* pop3_text: see the header. */
#include "pop3d/pop3_text.h"

#include <string.h>

void
pop3_text_begin(struct pop3_text *t, struct slice text)
{
	*t = (struct pop3_text){ .left = text, .at_line_start = true };
}

/* Octets of the line at the front, its LF included. */
static size_t
line_len(struct slice text)
{
	size_t end = slice_find(text, '\n');

	return end == text.len ? text.len : end + 1;
}

static bool
is_empty_line(struct slice line)
{
	return slice_is(line, "\r\n") || slice_is(line, "\n");
}

struct slice
pop3_text_top(struct slice text, uint32_t lines)
{
	struct slice rest = text;
	bool body = false;

	while (rest.len != 0 && (!body || lines != 0)) {
		size_t n = line_len(rest);

		if (body)
			lines--;
		else
			body = is_empty_line(slice_sub(rest, 0, n));
		rest = slice_sub(rest, n, rest.len);
	}
	return slice_sub(text, 0, text.len - rest.len);
}

/* Append up to the next place where a dot is due, or octets octets. */
static void
put_some(struct pop3_text *t, size_t octets, struct buf *out)
{
	struct slice part = slice_sub(t->left, 0, octets);
	const char *dot;

	if (t->at_line_start && part.ptr[0] == '.')
		(void)buf_char(out, '.');
	dot = memmem(part.ptr, part.len, "\n.", 2);
	if (dot != NULL)
		part.len = (size_t)(dot - part.ptr) + 1;
	(void)buf_slice(out, part);
	t->at_line_start = part.ptr[part.len - 1] == '\n';
	t->left = slice_sub(t->left, part.len, t->left.len);
}

bool
pop3_text_piece(struct pop3_text *t, size_t octets, struct buf *out)
{
	size_t before = out->len;

	while (t->left.len != 0 && out->len - before < octets && !out->full)
		put_some(t, octets - (out->len - before), out);
	if (t->left.len != 0 || out->full)
		return false;
	if (!t->at_line_start)
		(void)buf_text(out, "\r\n");
	t->at_line_start = true;
	t->ended = true;
	return buf_text(out, ".\r\n");
}
