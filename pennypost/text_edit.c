#include "text_edit.h"

/* The first line of s with its newline. */
static struct slice
first_line(struct slice s)
{
	return slice_sub(s, 0, slice_find(s, '\n') + 1);
}

struct slice
text_entry(struct slice text, unsigned line, bool continued)
{
	struct slice rest = text, entry;

	for (unsigned i = 1; i < line && rest.len > 0; i++)
		rest = slice_sub(rest, first_line(rest).len, rest.len);
	entry = first_line(rest);
	while (continued) {
		struct slice next = first_line(slice_sub(rest, entry.len, rest.len));

		if (next.len == 0 || (next.ptr[0] != ' ' && next.ptr[0] != '\t') || slice_trim(next).len == 0)
			break;
		entry.len += next.len;
	}
	return entry;
}

bool
text_replace(struct slice text, struct slice old, struct slice with, struct buf *out)
{
	size_t at = (size_t)(old.ptr - text.ptr);

	return buf_slice(out, slice_sub(text, 0, at)) && buf_slice(out, with) &&
	    buf_slice(out, slice_sub(text, at + old.len, text.len));
}

bool
text_append(struct slice text, struct slice line, struct buf *out)
{
	(void)buf_slice(out, text);
	if (text.len > 0 && text.ptr[text.len - 1] != '\n')
		(void)buf_char(out, '\n');
	return buf_slice(out, line) && buf_char(out, '\n');
}

bool
text_account_hash(struct slice entry, struct slice hash, struct buf *out)
{
	size_t user = slice_find(entry, ':'), end = user + 1;

	if (user == entry.len)
		return false;
	while (end < entry.len && entry.ptr[end] != ':' && entry.ptr[end] != '\n' && entry.ptr[end] != '\r')
		end++;
	return buf_slice(out, slice_sub(entry, 0, user + 1)) && buf_slice(out, hash) &&
	    buf_slice(out, slice_sub(entry, end, entry.len));
}
