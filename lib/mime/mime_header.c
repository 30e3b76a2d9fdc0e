/* mime_header: header fields: cutting a message and its header, unfolding. */
#include "mime.h"

#include <string.h>

/* The line at the front of s, with its end. */
static struct slice
line_of(struct slice s)
{
	return slice_sub(s, 0, slice_find(s, '\n') + 1);
}

static bool
is_empty_line(struct slice line)
{
	return slice_is(line, "\n") || slice_is(line, "\r\n");
}

/* field-name, RFC 5322 section 2.2; blanks before the colon are obsolete, and met. */
static bool
field_name(struct slice line, struct slice *name, size_t *after)
{
	size_t n = 0, end;

	while (n < line.len && line.ptr[n] > ' ' && line.ptr[n] < 127 && line.ptr[n] != ':')
		n++;
	end = n;
	while (n < line.len && (line.ptr[n] == ' ' || line.ptr[n] == '\t'))
		n++;
	if (end == 0 || n == line.len || line.ptr[n] != ':')
		return false;
	*name = slice_sub(line, 0, end);
	*after = n + 1;
	return true;
}

/* Octets of the field that begins at the front of s: its line and all that continue it. */
static size_t
field_length(struct slice s)
{
	size_t n = line_of(s).len;

	while (n < s.len && (s.ptr[n] == ' ' || s.ptr[n] == '\t'))
		n += line_of(slice_sub(s, n, s.len)).len;
	return n;
}

static struct slice
without_end(struct slice s)
{
	if (s.len > 0 && s.ptr[s.len - 1] == '\n')
		s.len--;
	if (s.len > 0 && s.ptr[s.len - 1] == '\r')
		s.len--;
	return s;
}

bool
mime_field_next(struct slice *header, bool bad, struct mime_field *out)
{
	while (header->len > 0 && !is_empty_line(line_of(*header))) {
		struct slice raw = slice_sub(*header, 0, field_length(*header));
		size_t after;

		*out = (struct mime_field){ .raw = raw };
		*header = slice_sub(*header, raw.len, header->len);
		if (field_name(raw, &out->name, &after)) {
			out->value = without_end(slice_sub(raw, after, raw.len));
			return true;
		}
		if (bad)
			return true;
	}
	return false;
}

bool
mime_field_find(struct slice header, const char *name, struct mime_field *out)
{
	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (int i = 0; i < MIME_FIELDS_MAX && mime_field_next(&header, false, out); i++)
		if (slice_ieq(out->name, name))
			return true;
	return false;
}

bool
mime_unfold(struct slice value, struct buf *out)
{
	while (value.len > 0) {
		size_t n = 0;

		while (n < value.len && value.ptr[n] != '\r' && value.ptr[n] != '\n' && value.ptr[n] != '\0')
			n++;
		(void)buf_slice(out, slice_sub(value, 0, n));
		value = slice_sub(value, n, value.len);
		if (value.len == 0)
			break;
		/* A line end goes: the blank that follows it stays (RFC 5322 section 2.2.3). */
		if (value.ptr[0] == '\0' || (value.ptr[0] == '\r' && (value.len == 1 || value.ptr[1] != '\n')))
			(void)buf_char(out, ' ');
		value = slice_sub(value, 1, value.len);
	}
	return !out->full;
}

void
mime_split(struct slice message, struct slice *header, struct slice *body)
{
	struct slice rest = message;

	while (rest.len > 0) {
		struct slice line = line_of(rest);

		rest = slice_sub(rest, line.len, rest.len);
		if (is_empty_line(line))
			break;
	}
	*header = slice_sub(message, 0, message.len - rest.len);
	*body = rest;
}

struct mime_size
mime_measure(struct slice text)
{
	struct mime_size size = { .octets = text.len };
	const char *p = text.ptr, *end = text.ptr + text.len;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		size.lines++;
		if (lf == NULL)
			break;
		if (lf == text.ptr || lf[-1] != '\r')
			size.octets++;
		p = lf + 1;
	}
	return size;
}

void
mime_envelope(struct slice header, struct mime_envelope *out)
{
	static const struct { const char *name; size_t at; } fields[] = {
		{ "Date", offsetof(struct mime_envelope, date) },
		{ "Subject", offsetof(struct mime_envelope, subject) },
		{ "From", offsetof(struct mime_envelope, from) },
		{ "Sender", offsetof(struct mime_envelope, sender) },
		{ "Reply-To", offsetof(struct mime_envelope, reply_to) },
		{ "To", offsetof(struct mime_envelope, to) },
		{ "Cc", offsetof(struct mime_envelope, cc) },
		{ "Bcc", offsetof(struct mime_envelope, bcc) },
		{ "In-Reply-To", offsetof(struct mime_envelope, in_reply_to) },
		{ "Message-ID", offsetof(struct mime_envelope, message_id) },
	};
	struct mime_field f;

	*out = (struct mime_envelope){ 0 };
	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (int n = 0; n < MIME_FIELDS_MAX && mime_field_next(&header, false, &f); n++) {
		for (size_t i = 0; i < LEN(fields); i++) {
			struct slice *to = (struct slice *)(void *)((char *)out + fields[i].at);

			if (to->ptr == NULL && slice_ieq(f.name, fields[i].name))
				*to = slice_trim(f.value);
		}
	}
}
