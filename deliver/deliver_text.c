#include "deliver_text.h"

static const char from_line[] = "From ";
#define FROM_LEN (sizeof(from_line) - 1)

void
text_filter_init(struct text_filter *f, bool mbox)
{
	*f = (struct text_filter){ .mbox = mbox, .start = true };
}

static void
put_octet(struct text_filter *f, char c, struct buf *out)
{
	if (f->mbox && f->start) {
		if (f->matched == 0 && c == '>') {
			(void)buf_char(out, c);
			f->in_line = true;
			return;
		}
		if (c == from_line[f->matched]) {
			f->matched++;
			f->in_line = true;
			if (f->matched < FROM_LEN)
				return;
			/* ">" before "From " is the same as before the ">" that are there. */
			(void)buf_char(out, '>');
			(void)buf_put(out, from_line, FROM_LEN);
			f->matched = 0;
			f->start = false;
			return;
		}
		(void)buf_put(out, from_line, f->matched);
		f->matched = 0;
	}
	(void)buf_char(out, c);
	f->start = c == '\n';
	f->in_line = c != '\n';
}

bool
text_filter_put(struct text_filter *f, struct slice in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		if (f->cr && in.ptr[i] != '\n')
			put_octet(f, '\r', out);
		f->cr = in.ptr[i] == '\r';
		if (!f->cr)
			put_octet(f, in.ptr[i], out);
	}
	return !out->full;
}

bool
text_filter_end(struct text_filter *f, struct buf *out)
{
	if (f->cr)
		put_octet(f, '\r', out);
	f->cr = false;
	(void)buf_put(out, from_line, f->matched);
	f->matched = 0;
	if (f->in_line)
		(void)buf_char(out, '\n');
	f->in_line = false;
	return !out->full;
}
