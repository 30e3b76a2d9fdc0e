/*
 * mime_parse: the tree of parts, in one pass over the lines.
 *
 * The open parts form a chain from the message to the innermost.  Only lines
 * that begin with "--" are compared with the boundaries of the chain, so the
 * time is linear in the size of the message whatever is nested in it.
 */
#include <stdlib.h>
#include <string.h>

#include "mime.h"
#include "mime_token.h"

/* Where the scan is: octets, and line ends before it (for sizes as CRLF without counting twice). */
struct at {
	size_t		pos;
	uint64_t	lines, bare;	/* LFs so far; those of them without CR */
};

struct open_part {
	uint32_t	part;
	struct at	body;		/* its start */
	size_t		boundary_len;	/* 0: no multipart, or its last boundary has been met */
	char		boundary[MIME_BOUNDARY_MAX];
};

struct parse {
	struct mime		*m;
	uint32_t		 size;		/* of m->part, allocated */
	struct open_part	*chain;		/* MIME_DEPTH_MAX + 1 of them */
	size_t			 n;
	struct at		 at;
	bool			 no_memory;
};

/* ---- fields of a part ---- */

static enum mime_encoding
encoding_of(struct slice token)
{
	static const struct { const char *name; enum mime_encoding encoding; } known[] = {
		{ "7bit", MIME_7BIT }, { "8bit", MIME_8BIT }, { "binary", MIME_BINARY },
		{ "quoted-printable", MIME_QUOTED_PRINTABLE }, { "base64", MIME_BASE64 },
	};

	for (size_t i = 0; i < LEN(known); i++)
		if (slice_ieq(token, known[i].name))
			return known[i].encoding;
	return MIME_OTHER;
}

static void
content_type(struct mime_part *p, struct slice value)
{
	struct slice type, subtype;

	mime_skip_cfws(&value);
	type = mime_token(&value);
	mime_skip_cfws(&value);
	if (type.len == 0 || value.len == 0 || value.ptr[0] != '/')
		return;
	value = slice_sub(value, 1, value.len);
	mime_skip_cfws(&value);
	subtype = mime_token(&value);
	if (subtype.len == 0)
		return;
	p->type = type;
	p->subtype = subtype;
	p->type_params = value;
}

static void
take_field(struct mime_part *p, const struct mime_field *f, unsigned *seen)
{
	static const char *const names[] = { "Content-Type", "Content-Transfer-Encoding", "Content-Disposition",
	    "Content-ID", "Content-Description", "Content-MD5", "Content-Location", "Content-Language" };
	struct slice value = slice_trim(f->value), token, *plain[] = { &p->id, &p->description, &p->md5, &p->location, &p->language };
	size_t i = 0;

	if (f->name.len < 8 || (f->name.ptr[0] | 0x20) != 'c')
		return;
	while (i < LEN(names) && !slice_ieq(f->name, names[i]))
		i++;
	if (i == LEN(names) || (*seen & (1u << i)) != 0)
		return;
	*seen |= 1u << i;	/* the first of each name counts */
	if (i >= 3) {
		*plain[i - 3] = value;
		return;
	}
	if (i == 0) {
		content_type(p, value);
		return;
	}
	mime_skip_cfws(&value);
	token = mime_token(&value);
	if (token.len == 0)
		return;
	if (i == 1) {
		p->transfer_encoding = token;
		p->encoding = encoding_of(token);
	} else {
		p->disposition = token;
		p->disposition_params = value;
	}
}

static void
read_fields(struct mime_part *p, bool in_digest)
{
	struct slice rest = slice_sub(p->header, 0, MIME_HEADER_MAX);
	struct mime_field f;
	unsigned seen = 0;

	p->type = in_digest ? SLICE("message") : SLICE("text");
	p->subtype = in_digest ? SLICE("rfc822") : SLICE("plain");
	p->transfer_encoding = SLICE("7BIT");
	for (int i = 0; i < MIME_FIELDS_MAX && mime_field_next(&rest, false, &f); i++)
		take_field(p, &f, &seen);
}

/* ---- lines ---- */

static struct slice
next_line(const struct parse *p)
{
	struct slice rest = slice_sub(p->m->message, p->at.pos, SIZE_MAX);

	return slice_sub(rest, 0, slice_find(rest, '\n') + 1);
}

static void
pass_line(struct parse *p, struct slice line)
{
	p->at.pos += line.len;
	if (line.len > 0 && line.ptr[line.len - 1] == '\n') {
		p->at.lines++;
		if (line.len < 2 || line.ptr[line.len - 2] != '\r')
			p->at.bare++;
	}
}

/*
 * Is the line a boundary of the chain?  The innermost that fits; *last: the
 * closing one.  False if it is none.
 */
static bool
boundary_line(const struct parse *p, struct slice line, size_t *level, bool *last)
{
	if (line.len < 3 || line.ptr[0] != '-' || line.ptr[1] != '-')
		return false;
	line = slice_sub(line, 2, line.len);
	for (size_t i = p->n; i-- > 0;) {
		const struct open_part *o = &p->chain[i];
		struct slice rest;

		if (o->boundary_len == 0 || line.len < o->boundary_len ||
		    memcmp(line.ptr, o->boundary, o->boundary_len) != 0)
			continue;
		rest = slice_sub(line, o->boundary_len, line.len);
		*last = slice_prefix(&rest, "--");
		if (*last || slice_trim(rest).len == 0) {
			*level = i;
			return true;
		}
	}
	return false;
}

/* ---- parts ---- */

/* The body of an open part ends at `end` (as a position in the message). */
static void
end_body(const struct parse *p, const struct open_part *o, size_t pos, uint64_t lines, uint64_t bare)
{
	struct mime_part *part = &p->m->part[o->part];
	size_t len = pos > o->body.pos ? pos - o->body.pos : 0;

	part->body = slice_sub(p->m->message, o->body.pos, len);
	if (len == 0) {
		part->body = slice_make(p->m->message.ptr + o->body.pos, 0);
		return;
	}
	part->body_size.octets = len + (bare - o->body.bare);
	part->body_size.lines = lines - o->body.lines + (part->body.ptr[len - 1] != '\n');
}

/* Close all parts above level; their bodies end before the line end in front of where we are. */
static void
close_above(struct parse *p, size_t level, bool at_boundary)
{
	struct at end = p->at;
	const char *text = p->m->message.ptr;

	if (at_boundary && end.pos > 0 && text[end.pos - 1] == '\n') {
		end.pos--;
		end.lines--;
		if (end.pos > 0 && text[end.pos - 1] == '\r')
			end.pos--;
		else
			end.bare--;
	}
	while (p->n > level) {
		p->n--;
		end_body(p, &p->chain[p->n], end.pos, end.lines, end.bare);
	}
}

static struct mime_part *
new_part(struct parse *p, uint32_t parent, uint32_t *index)
{
	struct mime *m = p->m;
	struct mime_part *part;

	if (m->n == p->size) {
		uint32_t size = p->size == 0 ? 8 : p->size * 2;
		struct mime_part *grown = reallocarray(m->part, size, sizeof(*grown));

		if (grown == NULL) {
			p->no_memory = true;
			return NULL;
		}
		m->part = grown;
		p->size = size;
	}
	*index = m->n++;
	part = &m->part[*index];
	*part = (struct mime_part){ .parent = parent, .child = MIME_NONE, .next = MIME_NONE };
	if (parent != MIME_NONE)
		part->depth = (uint16_t)(m->part[parent].depth + 1);
	return part;
}

/* Hang a part behind its elder sister; last: index of that one, or MIME_NONE. */
static void
link_part(struct mime *m, uint32_t parent, uint32_t *last_child, uint32_t index)
{
	if (parent != MIME_NONE) {
		if (m->part[parent].child == MIME_NONE)
			m->part[parent].child = index;
		else
			m->part[*last_child].next = index;
	}
	*last_child = index;
}

static void
read_header(struct parse *p, struct mime_part *part)
{
	size_t from = p->at.pos, level;
	uint64_t bare = p->at.bare;
	bool last;

	while (p->at.pos < p->m->message.len) {
		struct slice line = next_line(p);

		if (boundary_line(p, line, &level, &last))
			break;
		pass_line(p, line);
		if (line.len <= 2 && slice_trim(line).len == 0 && line.ptr[line.len - 1] == '\n' &&
		    (line.len == 1 || line.ptr[0] == '\r'))
			break;
	}
	part->header = slice_make(p->m->message.ptr + from, p->at.pos - from);
	part->header_octets = part->header.len + (p->at.bare - bare);
}

static bool
boundary_of(const struct mime_part *part, struct open_part *o)
{
	struct slice rest = part->type_params, name, value;
	struct buf text;

	for (int i = 0; i < MIME_PARAMS_MAX && mime_param_next(&rest, &name, &value); i++) {
		if (!slice_ieq(name, "boundary"))
			continue;
		buf_init(&text, MIME_BOUNDARY_MAX);
		(void)mime_unquote(value, &text);
		while (text.len > 0 && text.ptr[text.len - 1] == ' ')
			text.len--;	/* RFC 2046 section 5.1.1: none at the end */
		if (!text.full && text.len > 0) {
			memcpy(o->boundary, text.ptr, text.len);
			o->boundary_len = text.len;
		}
		buf_clear(&text);
		return o->boundary_len > 0;
	}
	return false;
}

static bool
is_message_type(const struct mime_part *part)
{
	return slice_ieq(part->type, "message") &&
	    (slice_ieq(part->subtype, "rfc822") || slice_ieq(part->subtype, "global")) &&
	    part->encoding <= MIME_BINARY;
}

/*
 * A part begins here.  Opens it, and the message in it, and the message in
 * that one ...: iteratively, within the limits.
 */
static void
begin_part(struct parse *p, uint32_t parent, uint32_t *last_child)
{
	for (;;) {
		struct mime *m = p->m;
		bool in_digest = parent != MIME_NONE && m->part[parent].kind == MIME_MULTIPART &&
		    slice_ieq(m->part[parent].subtype, "digest");
		uint32_t index, unused = MIME_NONE;
		struct mime_part *part = new_part(p, parent, &index);
		struct open_part *o;
		bool room;

		if (part == NULL)
			return;
		link_part(m, parent, last_child, index);
		part = &m->part[index];
		read_header(p, part);
		read_fields(part, in_digest);
		o = &p->chain[p->n++];
		o->part = index;
		o->body = p->at;
		o->boundary_len = 0;
		room = part->depth < MIME_DEPTH_MAX && m->n < MIME_PARTS_MAX;
		if (slice_ieq(part->type, "multipart") && boundary_of(part, o)) {
			if (!room)
				o->boundary_len = 0;
			m->limited |= !room;
			part->kind = room ? MIME_MULTIPART : MIME_LEAF;
			return;
		}
		if (!is_message_type(part))
			return;
		m->limited |= !room;
		if (!room)
			return;
		part->kind = MIME_MESSAGE;
		parent = index;
		last_child = &unused;
	}
}

static bool
run(struct parse *p)
{
	uint32_t last_child[MIME_DEPTH_MAX + 2], none = MIME_NONE;
	size_t level;
	bool last;

	begin_part(p, MIME_NONE, &none);
	while (!p->no_memory && p->at.pos < p->m->message.len) {
		struct slice line = next_line(p);

		if (!boundary_line(p, line, &level, &last)) {
			pass_line(p, line);
			continue;
		}
		close_above(p, level + 1, true);
		pass_line(p, line);
		if (last) {
			p->chain[level].boundary_len = 0;	/* what follows is its epilogue */
		} else if (p->m->n >= MIME_PARTS_MAX) {
			p->m->limited = true;
		} else {
			if (p->m->part[p->chain[level].part].child == MIME_NONE)
				last_child[level] = MIME_NONE;
			begin_part(p, p->chain[level].part, &last_child[level]);
		}
	}
	close_above(p, 0, false);
	return !p->no_memory;
}

bool
mime_parse(struct slice message, struct mime *m)
{
	struct parse p = { .m = m };
	bool ok = false;

	if (message.ptr == NULL)
		message = SLICE("");
	*m = (struct mime){ .message = message };
	p.chain = calloc(MIME_DEPTH_MAX + 2, sizeof(*p.chain));
	if (p.chain != NULL)
		ok = run(&p);
	free(p.chain);
	if (!ok)
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
	uint32_t context = 0, part = 0;

	for (size_t i = 0; i < n; i++) {
		if (i > 0) {	/* into what the last number named */
			if (m->part[part].kind == MIME_MULTIPART && part != context)
				context = part;
			else if (m->part[part].kind == MIME_MESSAGE)
				context = m->part[part].child;
			else
				return MIME_NONE;
		}
		if (path[i] == 0)
			return MIME_NONE;
		if (m->part[context].kind != MIME_MULTIPART) {
			if (path[i] != 1)
				return MIME_NONE;
			part = context;
			continue;
		}
		part = m->part[context].child;
		for (uint32_t k = 1; part != MIME_NONE && k < path[i]; k++)
			part = m->part[part].next;
		if (part == MIME_NONE)
			return MIME_NONE;
	}
	return part;
}
