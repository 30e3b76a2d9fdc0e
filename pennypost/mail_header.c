#include "mail_header.h"

#include <string.h>

#include "header_addrs.h"

static struct slice
line_of(struct slice text)
{
	return slice_sub(text, 0, slice_find(text, '\n') + 1);
}

/* Length of a field's name with the blanks before its colon (RFC 5322 section 4.5); 0: no field. */
static size_t
name_length(struct slice line)
{
	size_t n = 0, end;

	while (n < line.len && line.ptr[n] > ' ' && line.ptr[n] != ':' && line.ptr[n] != 0x7f)
		n++;
	for (end = n; end < line.len && (line.ptr[end] == ' ' || line.ptr[end] == '\t'); end++)
		;
	return n > 0 && end < line.len && line.ptr[end] == ':' ? n : 0;
}

static bool
is_mbox_from(struct slice line)
{
	return slice_prefix(&line, "From ") || slice_prefix(&line, ">From ");
}

static bool
continues(struct slice line)
{
	return line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t');
}

size_t
mail_header_end(struct slice text, size_t from, bool *ended, bool *blank)
{
	struct slice rest = slice_sub(text, from, text.len), line;

	*ended = *blank = false;
	for (; rest.len > 0; rest = slice_sub(rest, line.len, rest.len)) {
		bool first = rest.len == text.len;

		line = line_of(rest);
		if (line.ptr[line.len - 1] != '\n')	/* not whole yet */
			break;
		if (slice_trim(line).len == 0 && !(continues(line) && !first)) {
			*ended = *blank = true;
			break;
		}
		if (first ? name_length(line) == 0 && !is_mbox_from(line) :
		    !continues(line) && name_length(line) == 0) {
			*ended = true;
			break;
		}
	}
	return text.len - rest.len;
}

/* The next field with its continuation lines off *rest. */
static struct slice
next_field(struct slice *rest)
{
	struct slice field = line_of(*rest), line;

	while (line = line_of(slice_sub(*rest, field.len, rest->len)), continues(line))
		field.len += line.len;
	*rest = slice_sub(*rest, field.len, rest->len);
	return field;
}

/* Is this field of that name?  body gets what is behind the colon. */
static bool
is_field(struct slice field, const char *name, struct slice *body)
{
	size_t n = name_length(field);

	if (n == 0 || !slice_ieq(slice_sub(field, 0, n), name))
		return false;
	*body = slice_sub(field, slice_find(field, ':') + 1, field.len);
	return true;
}

static bool
is_resent(struct slice header)
{
	while (header.len > 0) {
		struct slice field = next_field(&header), name = slice_sub(field, 0, name_length(field));

		if (slice_iprefix(&name, "Resent-") && name.len > 0)
			return true;
	}
	return false;
}

bool
mail_header_scan(struct slice header, bool drop_bcc, struct mail_header *out, struct buf *kept)
{
	struct slice body;

	*out = (struct mail_header){ .resent = is_resent(header) };
	while (header.len > 0) {
		struct slice field = next_field(&header);

		if (is_mbox_from(field) && name_length(field) == 0)
			continue;
		if (drop_bcc && (is_field(field, "Bcc", &body) || is_field(field, "Resent-Bcc", &body)))
			continue;
		if (is_field(field, "Message-ID", &body) && out->id.len == 0)
			out->id = slice_trim(body);
		out->from |= is_field(field, out->resent ? "Resent-From" : "From", &body);
		out->date |= is_field(field, out->resent ? "Resent-Date" : "Date", &body);
		out->message_id |= is_field(field, out->resent ? "Resent-Message-ID" : "Message-ID", &body);
		(void)buf_slice(kept, field);
	}
	return !kept->full;
}

bool
mail_header_rcpts(struct slice header, bool resent, bool (*take)(void *ctx, struct slice addr), void *ctx, bool *bad)
{
	static const char *const names[2][3] = {
		{ "To", "Cc", "Bcc" }, { "Resent-To", "Resent-Cc", "Resent-Bcc" },
	};
	struct buf addr;
	bool more = true;

	buf_init(&addr, 1024);
	while (more && header.len > 0) {
		struct slice field = next_field(&header), body;

		for (size_t i = 0; more && i < LEN(names[0]); i++) {
			if (!is_field(field, names[resent][i], &body))
				continue;
			while (more && header_addr_next(&body, &addr, bad))
				more = take(ctx, buf_slice_of(&addr));
		}
	}
	buf_clear(&addr);
	return more;
}

/* ---- From: ---- */

static void
put_base64(struct buf *out, struct slice s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < s.len; i += 3) {
		unsigned v = 0;
		size_t n = s.len - i < 3 ? s.len - i : 3;

		for (size_t k = 0; k < 3; k++)
			v = v << 8 | (k < n ? (unsigned char)s.ptr[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			(void)buf_char(out, k <= n ? digits[v >> (18 - 6 * k) & 63] : '=');
	}
}

/* RFC 2047: words of at most 75 characters, none cut inside a UTF-8 sequence. */
static void
put_encoded(struct buf *out, struct slice name)
{
	const char *space = "";

	while (name.len > 0) {
		size_t n = name.len < 45 ? name.len : 45;

		while (n > 1 && n < name.len && ((unsigned char)name.ptr[n] & 0xc0) == 0x80)
			n--;
		(void)buf_fmt(out, "%s=?UTF-8?B?", space);
		put_base64(out, slice_sub(name, 0, n));
		(void)buf_text(out, "?=");
		name = slice_sub(name, n, name.len);
		space = " ";
	}
}

void
mail_header_from(struct buf *out, struct slice name, struct slice addr)
{
	bool plain = true, ascii = true;

	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		ascii = ascii && c >= ' ' && c <= '~';
		plain = plain && (c == ' ' || strchr("()<>[]:;@\\,.\"", c) == NULL);
	}
	if (name.len > 0 && !ascii) {
		put_encoded(out, name);
	} else if (name.len > 0 && plain) {
		(void)buf_slice(out, name);
	} else if (name.len > 0) {
		(void)buf_char(out, '"');
		for (size_t i = 0; i < name.len; i++) {
			if (name.ptr[i] == '"' || name.ptr[i] == '\\')
				(void)buf_char(out, '\\');
			(void)buf_char(out, name.ptr[i]);
		}
		(void)buf_char(out, '"');
	}
	(void)buf_fmt(out, name.len > 0 ? " <%.*s>" : "%.*s", (int)addr.len, addr.ptr);
}
