#include "deliver_header.h"

/* The next header line with its continuation lines; false at the end of the header. */
static bool
next_field(struct slice *rest, struct slice *field)
{
	size_t end = 0;

	if (rest->len == 0 || rest->ptr[0] == '\n' || (rest->ptr[0] == '\r' && rest->len > 1 && rest->ptr[1] == '\n'))
		return false;
	do {
		struct slice tail = slice_sub(*rest, end, rest->len);
		size_t line = slice_find(tail, '\n');

		end += line < tail.len ? line + 1 : line;
	} while (end < rest->len && (rest->ptr[end] == ' ' || rest->ptr[end] == '\t'));
	*field = slice_sub(*rest, 0, end);
	*rest = slice_sub(*rest, end, rest->len);
	return true;
}

/* Is it the field of this name (with its colon)?  Then it is cut to the value. */
static bool
take_name(struct slice *field, const char *name)
{
	struct slice value = *field;

	if (!slice_iprefix(&value, name))
		return false;
	while (value.len > 0 && (value.ptr[0] == ' ' || value.ptr[0] == '\t'))
		value = slice_sub(value, 1, value.len);
	if (value.len == 0 || value.ptr[0] != ':')
		return false;
	*field = slice_trim(slice_sub(value, 1, value.len));
	return true;
}

void
header_scan(struct slice message, struct header_facts *out)
{
	struct slice field;

	out->received = 0;
	out->delivered_n = 0;
	while (next_field(&message, &field)) {
		if (take_name(&field, "Received"))
			out->received++;
		else if (out->delivered_n < HEADER_SEEN_MAX && take_name(&field, "Delivered-To"))
			out->delivered[out->delivered_n++] = field;
	}
}

bool
header_was_delivered_to(const struct header_facts *h, const struct addr *to)
{
	for (size_t i = 0; i < h->delivered_n; i++) {
		struct slice value = h->delivered[i];
		struct addr a;

		if (value.len > 2 && value.ptr[0] == '<' && value.ptr[value.len - 1] == '>')
			value = slice_sub(value, 1, value.len - 2);
		if (addr_parse(value, &a) && addr_same(&a, to))
			return true;
	}
	return false;
}

static void
put_clean(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c >= ' ' && c != 0x7f)
			(void)buf_char(out, text.ptr[i]);
	}
}

bool
header_put_trace(struct buf *out, struct slice sender, struct slice orig_to, struct slice to)
{
	(void)buf_text(out, "Return-Path: <");
	put_clean(out, sender);
	(void)buf_text(out, ">\r\n");
	if (orig_to.len > 0) {
		(void)buf_text(out, "X-Original-To: ");
		put_clean(out, orig_to);
		(void)buf_text(out, "\r\n");
	}
	if (to.len > 0) {
		(void)buf_text(out, "Delivered-To: ");
		put_clean(out, to);
		(void)buf_text(out, "\r\n");
	}
	return !out->full;
}
