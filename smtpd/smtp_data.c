#include "smtp_data.h"

#include <string.h>

void
smtp_data_init(struct smtp_data *d, const struct smtp_data_rules *rules, size_t out_cap)
{
	*d = (struct smtp_data){ .rules = *rules, .bol = true, .in_header = true };
	buf_init(&d->out, out_cap);
}

void
smtp_data_clear(struct smtp_data *d)
{
	buf_clear(&d->out);
}

void
smtp_data_fail(struct smtp_data *d, enum smtp_fault fault)
{
	if (d->fault != FAULT_NONE)
		return;
	d->fault = fault;
	buf_clear(&d->out);
	d->in_header = false;
}

static void
put(struct smtp_data *d, const char *ptr, size_t len)
{
	if (d->fault == FAULT_NONE && !buf_put(&d->out, ptr, len))
		smtp_data_fail(d, FAULT_MEMORY);
}

void
smtp_data_prefix(struct smtp_data *d, struct slice lines)
{
	put(d, lines.ptr, lines.len);
	d->line_at = d->out.len;
}

/* ---- the header ---- */

/* Put text before the present line. */
static void
insert(struct smtp_data *d, struct slice text)
{
	size_t tail = d->out.len - d->line_at;
	char *at;

	if (d->fault != FAULT_NONE || text.len == 0)
		return;
	if (buf_room(&d->out, text.len) == NULL) {
		smtp_data_fail(d, FAULT_MEMORY);
		return;
	}
	at = d->out.ptr + d->line_at;
	memmove(at + text.len, at, tail);
	memcpy(at, text.ptr, text.len);
	buf_add(&d->out, text.len);
	d->line_at += text.len;
}

/* The header has ended before the present line.  blank: that line is the empty one. */
static void
header_end(struct smtp_data *d, bool blank)
{
	d->in_header = false;
	if (!d->rules.fix)
		return;
	if (!d->has_date)
		insert(d, d->rules.date);
	if (!d->has_id) {
		insert(d, d->rules.message_id);
		if (d->fault == FAULT_NONE) {
			struct slice id = d->rules.message_id;

			(void)slice_cut(&id, ':');
			id = slice_trim(id);
			d->message_id_len = id.len < sizeof(d->message_id) ? id.len : 0;
			memcpy(d->message_id, id.ptr, d->message_id_len);
		}
	}
	if (!blank)
		insert(d, SLICE("\r\n"));
}

/* Octets of the field name in front of ':', 0 if the line is no header field. */
static size_t
field_name(struct slice line)
{
	size_t colon = slice_find(line, ':'), len = colon;

	if (colon == line.len)
		return 0;
	while (len > 0 && (line.ptr[len - 1] == ' ' || line.ptr[len - 1] == '\t'))
		len--;		/* obs-optional, RFC 5322 section 4.5 */
	for (size_t i = 0; i < len; i++)
		if (line.ptr[i] <= ' ' || line.ptr[i] > '~')
			return 0;
	return len;
}

/* The first <...> in a line of the Message-ID field. */
static void
keep_message_id(struct smtp_data *d, struct slice line)
{
	size_t from = slice_find(line, '<'), to;

	line = slice_sub(line, from, line.len);
	to = slice_find(line, '>');
	if (to == line.len || to + 1 > sizeof(d->message_id))
		return;
	memcpy(d->message_id, line.ptr, to + 1);
	d->message_id_len = to + 1;
	d->wants_id = false;
}

static void
new_field(struct smtp_data *d, struct slice name)
{
	d->dropping = d->rules.fix && (slice_ieq(name, "Bcc") || slice_ieq(name, "Resent-Bcc"));
	d->wants_id = false;
	if (slice_ieq(name, "Received")) {
		if (++d->hops > d->rules.hops_max)
			smtp_data_fail(d, FAULT_HOPS);
	} else if (slice_ieq(name, "Date")) {
		d->has_date = true;
	} else if (slice_ieq(name, "Message-ID") && !d->has_id) {
		d->has_id = true;
		d->wants_id = true;
	}
}

/* A whole line of the header stands at line_at, with CRLF. */
static void
header_line(struct smtp_data *d)
{
	struct slice line = slice_sub(buf_slice_of(&d->out), d->line_at, d->out.len);
	size_t name;

	if (line.len == 2) {
		header_end(d, true);
		return;
	}
	if (line.ptr[0] != ' ' && line.ptr[0] != '\t') {
		name = field_name(line);
		if (name == 0) {
			header_end(d, false);
			return;
		}
		new_field(d, slice_sub(line, 0, name));
	}
	if (d->wants_id)
		keep_message_id(d, line);
	if (d->dropping && d->fault == FAULT_NONE)
		d->out.len = d->line_at;
}

/* ---- lines ---- */

static void
look_for_eight_bit(struct smtp_data *d, const char *ptr, size_t len)
{
	uint64_t bits = 0, word;

	for (; len >= sizeof(word); ptr += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, ptr, sizeof(word));
		bits |= word;
	}
	for (; len > 0; len--)
		bits |= (unsigned char)*ptr++;
	d->eight_bit |= (bits & UINT64_C(0x8080808080808080)) != 0;
}

static void
text(struct smtp_data *d, const char *ptr, size_t len)
{
	d->line_len += len;
	d->size += len;
	if (d->fault != FAULT_NONE)
		return;
	if (d->line_len > d->rules.line_max)
		smtp_data_fail(d, FAULT_LINE);
	else if (d->size > d->rules.size_max)
		smtp_data_fail(d, FAULT_SIZE);
	else if (d->in_header && (d->header_len += len) > d->rules.header_max)
		smtp_data_fail(d, FAULT_HEADER);
	look_for_eight_bit(d, ptr, len);
	put(d, ptr, len);
}

static void
line_end(struct smtp_data *d)
{
	d->size += 2;
	if (d->size > d->rules.size_max)
		smtp_data_fail(d, FAULT_SIZE);
	put(d, "\r\n", 2);
	if (d->in_header && d->fault == FAULT_NONE)
		header_line(d);
	d->line_at = d->out.len;
	d->line_len = 0;
	d->bol = true;
	d->lone_dot = false;
}

static void
data_end(struct smtp_data *d)
{
	d->done = true;
	d->line_at = d->out.len;
	if (d->in_header && d->fault == FAULT_NONE)
		header_end(d, true);
	d->line_at = d->out.len;
}

/* Octets before the first CR, LF or NUL. */
static size_t
plain_run(const char *ptr, size_t len)
{
	const char *p;

	if ((p = memchr(ptr, '\n', len)) != NULL)
		len = (size_t)(p - ptr);
	if ((p = memchr(ptr, '\r', len)) != NULL)
		len = (size_t)(p - ptr);
	if ((p = memchr(ptr, '\0', len)) != NULL)
		len = (size_t)(p - ptr);
	return len;
}

/* The octet after a CR: LF ends the line, anything else makes it a bare CR. */
static bool
after_cr(struct smtp_data *d, char c)
{
	d->cr = false;
	if (c == '\n' && d->lone_dot) {
		data_end(d);
		return true;
	}
	if (c == '\n') {
		line_end(d);
		return true;
	}
	if (d->rules.refuse_bare)
		smtp_data_fail(d, FAULT_BARE_CR);
	if (d->lone_dot)
		text(d, ".", 1);	/* it was no end of data and no stuffing */
	d->lone_dot = false;
	text(d, " ", 1);
	return false;
}

static void
bare_lf(struct smtp_data *d)
{
	if (d->rules.refuse_bare)
		smtp_data_fail(d, FAULT_BARE_LF);
	if (d->lone_dot)
		text(d, ".", 1);
	line_end(d);
	d->bol = false;		/* a dot here neither ends the data nor was it stuffed */
}

/* An octet that is not text: CR, LF or NUL. */
static void
special(struct smtp_data *d, char c)
{
	d->bol = false;
	if (c == '\r') {
		d->cr = true;
	} else if (c == '\n') {
		bare_lf(d);
	} else {
		smtp_data_fail(d, FAULT_NUL);
		d->lone_dot = false;
	}
}

/* Octets of whole lines at the front of in, of a body and without anything special:
 * most of the mail of this world is that, and is taken in one piece. */
static size_t
clean_lines(const struct smtp_data *d, struct slice in)
{
	const char *at = in.ptr, *end = in.ptr + in.len, *p;
	bool usual = d->bol && !d->in_header && d->fault == FAULT_NONE && in.len <= d->rules.size_max - d->size;

	while (usual && at < end && *at != '.' && (p = memchr(at, '\r', (size_t)(end - at))) != NULL &&
	    end - p > 1 && p[1] == '\n' && (size_t)(p - at) <= d->rules.line_max &&
	    memchr(at, '\n', (size_t)(p - at)) == NULL)
		at = p + 2;
	p = memchr(in.ptr, '\0', (size_t)(at - in.ptr));
	if (p != NULL) {	/* up to its line */
		at = memrchr(in.ptr, '\n', (size_t)(p - in.ptr));
		at = at == NULL ? in.ptr : at + 1;
	}
	return (size_t)(at - in.ptr);
}

static void
take_lines(struct smtp_data *d, const char *ptr, size_t len)
{
	d->size += len;
	look_for_eight_bit(d, ptr, len);
	put(d, ptr, len);
	d->line_at = d->out.len;
}

size_t
smtp_data_feed(struct smtp_data *d, struct slice in)
{
	size_t at = 0, run;

	while (at < in.len && !d->done) {
		if (d->cr) {
			at += after_cr(d, in.ptr[at]) ? 1 : 0;
			continue;
		}
		if (d->bol && in.ptr[at] == '.') {
			/* The end of data, or a stuffed line: either way it is no content. */
			d->bol = false;
			d->lone_dot = true;
			at++;
			continue;
		}
		run = clean_lines(d, slice_sub(in, at, in.len));
		if (run > 0) {
			take_lines(d, in.ptr + at, run);
			at += run;
			continue;
		}
		run = plain_run(in.ptr + at, in.len - at);
		if (run > 0) {
			d->bol = false;
			d->lone_dot = false;
			text(d, in.ptr + at, run);
			at += run;
		} else {
			special(d, in.ptr[at++]);
		}
	}
	return at;
}

struct slice
smtp_data_ready(const struct smtp_data *d)
{
	return slice_sub(buf_slice_of(&d->out), 0, d->in_header ? d->line_at : d->out.len);
}

void
smtp_data_taken(struct smtp_data *d, size_t len)
{
	buf_skip(&d->out, len);
	d->line_at = d->line_at > len ? d->line_at - len : 0;
}
