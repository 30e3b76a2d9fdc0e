#include "smtp_body.h"

#define LINE_MAX_OCTETS 998	/* RFC 5321 section 4.5.3.1.6, without CRLF */

static void
line_end(struct smtp_body *b, struct buf *out)
{
	(void)buf_text(out, "\r\n");
	b->column = 0;
	b->cr = false;
}

static void
octet(struct smtp_body *b, char c, struct buf *out)
{
	if (c == '\0')
		c = '?';
	if (b->column == LINE_MAX_OCTETS) {	/* folded: a blank keeps a header one field */
		line_end(b, out);
		(void)buf_char(out, ' ');
		b->column = 1;
	}
	if (b->column == 0 && c == '.') {	/* RFC 5321 section 4.5.2 */
		(void)buf_char(out, '.');
	}
	(void)buf_char(out, c);
	b->column++;
}

/* A run of octets without CR, LF, NUL that stays within the line. */
static size_t
plain_run(const struct smtp_body *b, struct slice s)
{
	size_t most = b->column == 0 ? 0 : LINE_MAX_OCTETS - b->column, n = 0;

	while (n < s.len && n < most && s.ptr[n] != '\r' && s.ptr[n] != '\n' && s.ptr[n] != '\0')
		n++;
	return n;
}

bool
smtp_body_put(struct smtp_body *b, struct slice part, struct buf *out)
{
	while (part.len > 0 && !out->full) {
		char c = part.ptr[0];
		size_t run;

		if (b->cr) {
			b->cr = false;
			if (c != '\n')
				octet(b, ' ', out);	/* a bare CR */
		}
		run = plain_run(b, part);
		if (run > 0) {
			(void)buf_slice(out, slice_sub(part, 0, run));
			b->column += run;
			part = slice_sub(part, run, part.len);
			continue;
		}
		if (c == '\n')		/* with or without CR: a line end */
			line_end(b, out);
		else if (c == '\r')
			b->cr = true;
		else
			octet(b, c, out);
		part = slice_sub(part, 1, part.len);
	}
	return !out->full;
}

bool
smtp_body_end(struct smtp_body *b, struct buf *out)
{
	if (b->cr || b->column > 0)
		line_end(b, out);
	return buf_text(out, ".\r\n");
}
