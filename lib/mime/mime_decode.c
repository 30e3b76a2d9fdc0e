/* mime_decode.c: base64 and quoted-printable (RFC 2045 section 6). */
#include <string.h>

#include "mime_int.h"

/* 1 more than the value; 65: '='; 0: anything else, passed over. */
static const unsigned char base64[256] = {
	['='] = 65, ['+'] = 63, ['/'] = 64,
	['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
	['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
	['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62,
};

bool
mime_base64_put(struct mime_base64 *state, struct slice text, struct buf *out)
{
	char *to = buf_room(out, text.len / 4 * 3 + 4), *p = to;

	if (to == NULL)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		unsigned char v = base64[(unsigned char)text.ptr[i]];

		if (v == 0)
			continue;
		if (v == 65) {		/* padding: what follows is another piece of base64 */
			state->bit_n = 0;
			continue;
		}
		state->bits = state->bits << 6 | (v - 1u);
		state->bit_n += 6;
		if (state->bit_n >= 8) {
			state->bit_n -= 8;
			*p++ = (char)(state->bits >> state->bit_n);
		}
	}
	buf_add(out, (size_t)(p - to));
	return true;
}

int
mime_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Where the line at the front ends, its end and the blanks before that not counted. */
static size_t
visible_len(struct slice line)
{
	size_t n = line.len;

	while (n > 0 && (line.ptr[n - 1] == '\n' || line.ptr[n - 1] == '\r' ||
	    line.ptr[n - 1] == ' ' || line.ptr[n - 1] == '\t'))
		n--;
	return n;
}

/* One line with its end. */
static char *
put_line(struct slice line, bool header, char *p)
{
	size_t n = header ? line.len : visible_len(line);
	bool lf = line.len > 0 && line.ptr[line.len - 1] == '\n';

	for (size_t i = 0; i < n; i++) {
		char c = line.ptr[i];

		if (c == '=' && i + 2 < n && mime_hex(line.ptr[i + 1]) >= 0 && mime_hex(line.ptr[i + 2]) >= 0) {
			c = (char)(mime_hex(line.ptr[i + 1]) << 4 | mime_hex(line.ptr[i + 2]));
			i += 2;
		} else if (c == '=' && i + 1 == n && !header) {
			return p;	/* a soft line end */
		} else if (c == '_' && header) {
			c = ' ';
		}
		*p++ = c;
	}
	if (lf && !header) {
		if (line.len > 1 && line.ptr[line.len - 2] == '\r')
			*p++ = '\r';
		*p++ = '\n';
	}
	return p;
}

bool
mime_qp_put(struct slice text, bool header, struct buf *out)
{
	char *to = buf_room(out, text.len + 1), *p = to;

	if (to == NULL)
		return false;
	while (text.len > 0) {
		size_t lf = header ? text.len : slice_find(text, '\n');
		struct slice line = slice_sub(text, 0, lf + 1);

		p = put_line(line, header, p);
		text = slice_sub(text, line.len, text.len);
	}
	buf_add(out, (size_t)(p - to));
	return true;
}

bool
mime_decode(enum mime_encoding encoding, struct slice text, struct buf *out)
{
	struct mime_base64 state = { 0 };

	switch (encoding) {
	case MIME_BASE64:
		return mime_base64_put(&state, text, out);
	case MIME_QUOTED_PRINTABLE:
		return mime_qp_put(text, false, out);
	case MIME_7BIT:
	case MIME_8BIT:
	case MIME_BINARY:
	case MIME_OTHER:
		break;
	}
	return buf_slice(out, text);
}
