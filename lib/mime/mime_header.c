/* mime_header.c: header fields (RFC 5322 section 2.2; broken ones made the best of). */
#include <string.h>
#include <strings.h>

#include "mime_int.h"

/* From the front of s, the end of its first line, behind the LF. */
static size_t
line_len(struct slice s)
{
	const char *lf = s.len == 0 ? NULL : memchr(s.ptr, '\n', s.len);

	return lf == NULL ? s.len : (size_t)(lf - s.ptr) + 1;
}

/* Does an empty line stand at the front?  Its length, or 0. */
static size_t
empty_line(struct slice s)
{
	if (s.len > 0 && s.ptr[0] == '\n')
		return 1;
	return s.len > 1 && s.ptr[0] == '\r' && s.ptr[1] == '\n' ? 2 : 0;
}

/* A line and those that continue it. */
static size_t
field_len(struct slice s)
{
	size_t len = line_len(s);

	while (len < s.len && (s.ptr[len] == ' ' || s.ptr[len] == '\t'))
		len += line_len(slice_sub(s, len, s.len));
	return len;
}

/* Name and value of a field; false if it has no name. */
static bool
parse_field(struct slice raw, struct mime_field *out)
{
	size_t colon = slice_find(raw, ':');
	struct slice name = slice_sub(raw, 0, colon);

	*out = (struct mime_field){ .name = { raw.ptr, 0 }, .value = { raw.ptr, 0 }, .raw = raw };
	while (name.len > 0 && (name.ptr[name.len - 1] == ' ' || name.ptr[name.len - 1] == '\t'))
		name.len--;
	if (colon == raw.len || name.len == 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)	/* 8-bit octets too, where char is signed */
			return false;
	}
	out->name = name;
	out->value = slice_trim(slice_sub(raw, colon + 1, raw.len));
	return true;
}

bool
mime_field_next(struct slice *header, bool bad, struct mime_field *out)
{
	while (header->len > 0 && empty_line(*header) == 0) {
		struct slice raw = slice_sub(*header, 0, field_len(*header));

		*header = slice_sub(*header, raw.len, header->len);
		if (parse_field(raw, out) || bad)
			return true;
	}
	return false;
}

bool
mime_field_find(struct slice header, const char *name, struct mime_field *out)
{
	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (size_t n = 0; n < MIME_FIELDS_MAX && mime_field_next(&header, true, out); n++) {
		if (slice_ieq(out->name, name))
			return true;
	}
	return false;
}

bool
mime_unfold(struct slice value, struct buf *out)
{
	size_t from = 0;

	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i], next = i + 1 < value.len ? value.ptr[i + 1] : ' ';

		if (c != '\0' && c != '\r' && c != '\n')
			continue;
		(void)buf_put(out, value.ptr + from, i - from);
		from = i + 1;
		/* The end of a line that is continued, or of the value, leaves nothing. */
		if (c == '\r' && next == '\n')
			continue;
		if (c != '\n' || (next != ' ' && next != '\t'))
			(void)buf_char(out, ' ');
	}
	return buf_slice(out, slice_sub(value, from, value.len));
}

void
mime_split(struct slice message, struct slice *header, struct slice *body)
{
	size_t at = 0, empty = 0;

	while (at < message.len) {
		struct slice rest = slice_sub(message, at, message.len);

		empty = empty_line(rest);
		if (empty > 0)
			break;
		at += line_len(rest);
	}
	*header = slice_sub(message, 0, at + empty);
	*body = slice_sub(message, at + empty, message.len);
}

struct mime_size
mime_measure(struct slice text)
{
	struct mime_size size = { .octets = text.len };
	const char *p = text.ptr, *end;

	if (text.len == 0)
		return size;
	end = text.ptr + text.len;
	while (p < end && (p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		size.lines++;
		size.octets += p == text.ptr || p[-1] != '\r';
		p++;
	}
	if (end[-1] != '\n')
		size.lines++;
	return size;
}

void
mime_envelope(struct slice header, struct mime_envelope *out)
{
	const struct { const char *name; struct slice *to; } want[] = {
		{ "Date", &out->date }, { "Subject", &out->subject }, { "From", &out->from },
		{ "Sender", &out->sender }, { "Reply-To", &out->reply_to }, { "To", &out->to },
		{ "Cc", &out->cc }, { "Bcc", &out->bcc }, { "In-Reply-To", &out->in_reply_to },
		{ "Message-ID", &out->message_id },
	};
	struct mime_field field;

	*out = (struct mime_envelope){ 0 };
	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (size_t n = 0; n < MIME_FIELDS_MAX && mime_field_next(&header, true, &field); n++) {
		for (size_t i = 0; i < LEN(want); i++) {
			if (want[i].to->ptr == NULL && slice_ieq(field.name, want[i].name))
				*want[i].to = field.value;
		}
	}
}

/* ---- what the structured fields have in common ---- */

bool
mime_is_token(unsigned char c)
{
	return c > ' ' && c < 0x7f && strchr("()<>@,;:\\\"/[]?=", c) == NULL;
}

/* s begins with '('. */
static void
skip_comment(struct slice *s, struct slice *comment)
{
	size_t depth = 0, i = 0;

	for (; i < s->len; i++) {
		char c = s->ptr[i];

		if (c == '\\' && i + 1 < s->len)
			i++;
		else if (c == '(')
			depth++;
		else if (c == ')' && --depth == 0)
			break;
	}
	if (comment != NULL)
		*comment = slice_sub(*s, 1, i - 1);
	*s = slice_sub(*s, i + 1, s->len);
}

void
mime_skip_cfws(struct slice *s, struct slice *comment)
{
	while (s->len > 0) {
		char c = s->ptr[0];

		if (c == '(')
			skip_comment(s, comment);
		else if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0')
			*s = slice_sub(*s, 1, s->len);
		else
			break;
	}
}

struct slice
mime_take_token(struct slice *s)
{
	size_t n = 0;
	struct slice token;

	while (n < s->len && mime_is_token((unsigned char)s->ptr[n]))
		n++;
	token = slice_sub(*s, 0, n);
	*s = slice_sub(*s, n, s->len);
	return token;
}
