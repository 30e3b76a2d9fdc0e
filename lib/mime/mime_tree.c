/*
 * mime_tree.c: the parts of a message (RFC 2046), in one pass over its lines.
 *
 * A chain of open parts, from the message down to the one whose lines are being
 * read.  A line that begins with "--" is compared with the boundaries of the
 * chain, innermost first; a match closes all below that multipart.  Sizes as
 * CRLF are differences of two running counts, so that depth costs nothing.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mime_int.h"

/* Counts up to a place in the text. */
struct mark {
	size_t		at;
	uint64_t	lines;		/* LF */
	uint64_t	bare;		/* of them without CR */
};

struct open_part {
	uint32_t	part;
	bool		multipart;	/* and its boundary is looked for */
	struct slice	boundary;	/* unquoted, in boundaries */
	size_t		boundary_from;	/* place in boundaries, to give it back */
	struct mark	body;
};

struct walker {
	struct mime	*m;
	uint32_t	 cap;
	struct mark	 now;		/* begin of the line that is looked at */
	struct open_part open[MIME_DEPTH_MAX + 1];
	size_t		 open_n;
	char		 boundaries[(MIME_DEPTH_MAX + 1) * MIME_BOUNDARY_MAX];
	size_t		 boundaries_n;
};

static struct slice
line_at(const struct walker *w)
{
	struct slice rest = slice_sub(w->m->message, w->now.at, w->m->message.len);

	return slice_sub(rest, 0, slice_find(rest, '\n') + 1);
}

static void
step(struct walker *w, struct slice line)
{
	if (line.ptr[line.len - 1] == '\n') {
		w->now.lines++;
		w->now.bare += line.len < 2 || line.ptr[line.len - 2] != '\r';
	}
	w->now.at += line.len;
}

static bool
is_empty(struct slice line)
{
	return slice_is(line, "\n") || slice_is(line, "\r\n");
}

/* ---- parts ---- */

static uint32_t
new_part(struct walker *w, uint32_t parent)
{
	struct mime *m = w->m;
	struct mime_part *p;

	if (m->n == w->cap) {
		uint32_t cap = w->cap == 0 ? 8 : w->cap * 2;

		p = reallocarray(m->part, cap, sizeof(*p));
		if (p == NULL)
			return MIME_NONE;
		m->part = p;
		w->cap = cap;
	}
	m->part[m->n] = (struct mime_part){
		.parent = parent, .child = MIME_NONE, .next = MIME_NONE,
		.depth = (uint16_t)w->open_n,
		.type = SLICE("text"), .subtype = SLICE("plain"), .transfer_encoding = SLICE("7BIT"),
	};
	return m->n++;
}

/* Behind the last child; last is that, or MIME_NONE. */
static void
link_part(struct walker *w, uint32_t parent, uint32_t part, uint32_t last)
{
	if (last != MIME_NONE)
		w->m->part[last].next = part;
	else if (parent != MIME_NONE)
		w->m->part[parent].child = part;
}

/* ---- the fields that describe a part ---- */

static void
parse_type(struct mime_part *p, struct slice value)
{
	struct slice rest = value, type, subtype;

	mime_skip_cfws(&rest, NULL);
	type = mime_take_token(&rest);
	mime_skip_cfws(&rest, NULL);
	if (type.len == 0 || rest.len == 0 || rest.ptr[0] != '/')
		return;		/* RFC 2045 section 5.2: what cannot be read is text/plain */
	rest = slice_sub(rest, 1, rest.len);
	mime_skip_cfws(&rest, NULL);
	subtype = mime_take_token(&rest);
	if (subtype.len == 0)
		return;
	p->type = type;
	p->subtype = subtype;
	p->type_params = rest;
}

static void
parse_encoding(struct mime_part *p, struct slice value)
{
	static const struct { const char *name; enum mime_encoding encoding; } names[] = {
		{ "7bit", MIME_7BIT }, { "8bit", MIME_8BIT }, { "binary", MIME_BINARY },
		{ "quoted-printable", MIME_QUOTED_PRINTABLE }, { "base64", MIME_BASE64 },
	};
	struct slice token;

	mime_skip_cfws(&value, NULL);
	token = mime_take_token(&value);
	if (token.len == 0)
		return;
	p->transfer_encoding = token;
	p->encoding = MIME_OTHER;
	for (size_t i = 0; i < LEN(names); i++) {
		if (slice_ieq(token, names[i].name))
			p->encoding = names[i].encoding;
	}
}

static void
parse_disposition(struct mime_part *p, struct slice value)
{
	struct slice token;

	mime_skip_cfws(&value, NULL);
	token = mime_take_token(&value);
	if (token.len == 0)
		return;
	p->disposition = token;
	p->disposition_params = value;
}

static void
parse_fields(struct walker *w, struct mime_part *p)
{
	struct { const char *name; struct slice value; } want[] = {
		{ "Content-Type", { 0 } }, { "Content-Transfer-Encoding", { 0 } },
		{ "Content-Disposition", { 0 } }, { "Content-ID", { 0 } }, { "Content-Description", { 0 } },
		{ "Content-MD5", { 0 } }, { "Content-Location", { 0 } }, { "Content-Language", { 0 } },
	};
	struct slice header = slice_sub(p->header, 0, MIME_HEADER_MAX);
	struct mime_field field;
	size_t n = 0;

	for (; n < MIME_FIELDS_MAX && mime_field_next(&header, true, &field); n++) {
		if (field.name.len < 8 || (field.name.ptr[0] | 32) != 'c')
			continue;
		for (size_t i = 0; i < LEN(want); i++) {
			if (want[i].value.ptr == NULL && slice_ieq(field.name, want[i].name))
				want[i].value = field.value;
		}
	}
	w->m->limited |= p->header.len > MIME_HEADER_MAX || n == MIME_FIELDS_MAX;
	parse_type(p, want[0].value);
	parse_encoding(p, want[1].value);
	parse_disposition(p, want[2].value);
	p->id = want[3].value;
	p->description = want[4].value;
	p->md5 = want[5].value;
	p->location = want[6].value;
	p->language = want[7].value;
}

/* The boundary parameter, unquoted into w->boundaries; false if there is none to look for. */
static bool
find_boundary(struct walker *w, const struct mime_part *p, struct slice *out)
{
	struct slice rest = p->type_params, name, value;
	struct buf text;
	bool found = false;

	for (size_t n = 0; n < MIME_PARAMS_MAX && !found && mime_param_next(&rest, &name, &value); n++)
		found = slice_ieq(name, "boundary");
	if (!found || value.len > 2 * MIME_BOUNDARY_MAX)
		return false;
	buf_init(&text, 2 * MIME_BOUNDARY_MAX);
	found = mime_unquote(value, &text);
	*out = slice_trim(buf_slice_of(&text));
	found = found && out->len > 0 && out->len <= MIME_BOUNDARY_MAX;
	if (found) {
		memcpy(w->boundaries + w->boundaries_n, out->ptr, out->len);
		out->ptr = w->boundaries + w->boundaries_n;
		w->boundaries_n += out->len;
	}
	buf_clear(&text);
	return found;
}

/* ---- open and close ---- */

/* Does its content have parts?  Then it is one of the chain with those below it. */
static void
decide_kind(struct walker *w, struct open_part *o)
{
	struct mime_part *p = &w->m->part[o->part];
	bool identity = p->encoding == MIME_7BIT || p->encoding == MIME_8BIT || p->encoding == MIME_BINARY;
	bool multipart = slice_ieq(p->type, "multipart");
	bool message = slice_ieq(p->type, "message") &&
	    (slice_ieq(p->subtype, "rfc822") || slice_ieq(p->subtype, "global"));

	if (!multipart && !(message && identity))
		return;
	if (w->open_n >= MIME_DEPTH_MAX || w->m->n >= MIME_PARTS_MAX) {
		w->m->limited = true;
		return;
	}
	if (message) {
		p->kind = MIME_MESSAGE;
	} else if (find_boundary(w, p, &o->boundary)) {
		p->kind = MIME_MULTIPART;
		o->multipart = true;
	}
}

/* Close the open parts from the chain's place `from` on: their bodies end here.
 * at_boundary: the line end before belongs to the boundary. */
static void
close_parts(struct walker *w, size_t from, bool at_boundary)
{
	const char *text = w->m->message.ptr;

	for (size_t i = w->open_n; i > from; i--) {
		struct open_part *o = &w->open[i - 1];
		struct mime_part *p = &w->m->part[o->part];
		struct mark end = w->now;

		if (at_boundary && end.at > o->body.at) {
			end.lines--;
			end.at--;
			if (end.at > o->body.at && text[end.at - 1] == '\r')
				end.at--;
			else
				end.bare--;
		}
		p->body = slice_sub(w->m->message, o->body.at, end.at - o->body.at);
		p->body_size.octets = p->body.len + (end.bare - o->body.bare);
		p->body_size.lines = end.lines - o->body.lines +
		    (p->body.len > 0 && p->body.ptr[p->body.len - 1] != '\n');
		w->boundaries_n = o->boundary_from;
	}
	w->open_n = from;
}

/* The multipart of the chain whose delimiter this line is, and whether it is the last
 * one ("--" behind it); open_n if there is none. */
static size_t
match_boundary(const struct walker *w, struct slice line, bool *last)
{
	if (line.len < 3 || line.ptr[0] != '-' || line.ptr[1] != '-')
		return w->open_n;
	line = slice_sub(line, 2, line.len);
	while (line.len > 0 && memchr(" \t\r\n", line.ptr[line.len - 1], 4) != NULL)
		line.len--;
	for (size_t i = w->open_n; i > 0; i--) {
		const struct open_part *o = &w->open[i - 1];

		if (!o->multipart || line.len < o->boundary.len || memcmp(line.ptr, o->boundary.ptr, o->boundary.len) != 0)
			continue;
		*last = line.len == o->boundary.len + 2 && memcmp(line.ptr + o->boundary.len, "--", 2) == 0;
		if (*last || line.len == o->boundary.len)
			return i - 1;
	}
	return w->open_n;
}

/* ---- the walk ---- */

/* The header from here to its empty line, or to a boundary that should not be there.  The
 * part is then open, its body begins. */
static bool
open_part(struct walker *w, uint32_t parent, bool digest, uint32_t last)
{
	struct open_part *o = &w->open[w->open_n];
	struct mark from = w->now;
	uint32_t part = new_part(w, parent);
	struct mime_part *p;
	bool closing;

	if (part == MIME_NONE)
		return false;
	link_part(w, parent, part, last);
	while (w->now.at < w->m->message.len) {
		struct slice line = line_at(w);

		if (match_boundary(w, line, &closing) < w->open_n)
			break;
		step(w, line);
		if (is_empty(line))
			break;
	}
	p = &w->m->part[part];
	p->header = slice_sub(w->m->message, from.at, w->now.at - from.at);
	p->header_octets = p->header.len + (w->now.bare - from.bare);
	if (digest) {
		p->type = SLICE("message");
		p->subtype = SLICE("rfc822");
	}
	parse_fields(w, p);
	*o = (struct open_part){ .part = part, .boundary_from = w->boundaries_n, .body = w->now };
	decide_kind(w, o);
	w->open_n++;
	return true;
}

/* The content of a message/rfc822 begins where its body does; it may be another such. */
static bool
open_nested(struct walker *w, uint32_t parent, bool digest, uint32_t last)
{
	if (!open_part(w, parent, digest, last))
		return false;
	while (w->m->part[w->m->n - 1].kind == MIME_MESSAGE) {
		if (!open_part(w, w->m->n - 1, false, MIME_NONE))
			return false;
	}
	return true;
}

/* A delimiter: the next part of that multipart, or no more of them. */
static bool
at_delimiter(struct walker *w, size_t at, bool last, uint32_t *last_child)
{
	struct open_part *o = &w->open[at];
	bool digest = slice_ieq(w->m->part[o->part].subtype, "digest");
	uint32_t previous = last_child[at];

	close_parts(w, at + 1, true);
	step(w, line_at(w));
	if (last || w->m->n >= MIME_PARTS_MAX) {
		w->m->limited |= !last;
		o->multipart = false;	/* the rest is its epilogue */
		return true;
	}
	last_child[at] = w->m->n;
	for (size_t i = at + 1; i <= MIME_DEPTH_MAX; i++)
		last_child[i] = MIME_NONE;
	return open_nested(w, o->part, digest, previous);
}

static bool
walk(struct walker *w)
{
	uint32_t last_child[MIME_DEPTH_MAX + 1];

	for (size_t i = 0; i <= MIME_DEPTH_MAX; i++)
		last_child[i] = MIME_NONE;
	if (!open_nested(w, MIME_NONE, false, MIME_NONE))
		return false;
	while (w->now.at < w->m->message.len) {
		struct slice line = line_at(w);
		bool last = false;
		size_t at = match_boundary(w, line, &last);

		if (at == w->open_n)
			step(w, line);
		else if (!at_delimiter(w, at, last, last_child))
			return false;
	}
	close_parts(w, 0, false);
	return true;
}

/* A multipart without any part is no multipart. */
static void
check_kinds(struct mime *m)
{
	for (uint32_t i = 0; i < m->n; i++) {
		if (m->part[i].kind != MIME_LEAF && m->part[i].child == MIME_NONE)
			m->part[i].kind = MIME_LEAF;
	}
}

bool
mime_parse(struct slice message, struct mime *m)
{
	struct walker *w = malloc(sizeof(*w));
	bool ok;

	*m = (struct mime){ .message = message };
	if (w == NULL)
		return false;
	w->m = m;
	w->cap = 0;
	w->now = (struct mark){ 0 };
	w->open_n = w->boundaries_n = 0;
	ok = walk(w);
	free(w);
	if (ok)
		check_kinds(m);
	else
		mime_clear(m);
	return ok;
}

void
mime_clear(struct mime *m)
{
	free(m->part);
	*m = (struct mime){ 0 };
}

uint32_t
mime_part_at(const struct mime *m, const uint32_t *path, size_t n)
{
	uint32_t in = 0, part = 0;	/* the body that numbers count in; what was selected */

	if (m->n == 0)
		return MIME_NONE;
	for (size_t i = 0; i < n; i++) {
		uint32_t number = path[i];

		if (in == MIME_NONE || number == 0)
			return MIME_NONE;
		if (m->part[in].kind == MIME_MULTIPART) {
			for (part = m->part[in].child; part != MIME_NONE && number > 1; number--)
				part = m->part[part].next;
			if (part == MIME_NONE)
				return MIME_NONE;
		} else if (number == 1) {
			part = in;
		} else {
			return MIME_NONE;
		}
		if (m->part[part].kind == MIME_MULTIPART)
			in = part;
		else
			in = m->part[part].kind == MIME_MESSAGE ? m->part[part].child : MIME_NONE;
	}
	return part;
}
