#include "mail_lines.h"

/* One octet that is no line end. */
static void
put_octet(struct mail_lines *m, char c, struct buf *out)
{
	if (!m->mid_line && !m->dot && c == '.' && (m->dot_ends || m->stuffed)) {
		m->dot = true;	/* the end, one that was doubled, or just a dot: the next octet tells */
		return;
	}
	if (m->dot && !m->stuffed)
		(void)buf_char(out, '.');
	m->dot = false;
	m->mid_line = true;
	if (c == '\0' || c == '\r' || c == '\n')
		c = ' ';
	if ((c & 0x80) != 0)
		m->eight_bit = true;
	(void)buf_char(out, c);
}

static void
end_line(struct mail_lines *m, struct buf *out)
{
	if (m->dot && m->dot_ends) {
		m->ended = true;
		return;
	}
	if (m->dot && !m->stuffed)
		(void)buf_char(out, '.');
	m->dot = false;
	m->mid_line = false;
	(void)buf_put(out, "\r\n", 2);
}

size_t
mail_lines_feed(struct mail_lines *m, struct slice piece, struct buf *out)
{
	size_t i;

	for (i = 0; i < piece.len && !m->ended; i++) {
		char c = piece.ptr[i];

		if (c == '\n' && (m->cr || !m->crlf_only)) {
			m->cr = false;
			end_line(m, out);
			continue;
		}
		if (m->cr) {
			m->cr = false;
			put_octet(m, '\r', out);
		}
		if (c == '\r')
			m->cr = true;
		else
			put_octet(m, c, out);
	}
	return i;
}

void
mail_lines_end(struct mail_lines *m, struct buf *out)
{
	if (m->ended)
		return;
	if (m->cr)
		put_octet(m, '\r', out);
	m->cr = false;
	if (m->mid_line || m->dot)
		end_line(m, out);
}
