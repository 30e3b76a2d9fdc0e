/*
 * mime_address.c: address lists, RFC 5322 sections 3.4 and 4.4, and what is sent
 * in their place.
 *
 * Words are collected into one text.  Between two of them that had blanks or a
 * comment between them stands JOINT: a space in a name, nothing in a local part
 * ("a . b" @ c is a.b@c).
 */
#include <string.h>

#include "mime_int.h"

#define JOINT		'\x01'
#define TEXT_MAX	(64 * 1024)	/* octets of one address; the rest is left out */

void
mime_addresses_init(struct mime_addresses *it, struct slice value)
{
	*it = (struct mime_addresses){ .rest = slice_sub(value, 0, MIME_HEADER_MAX) };
	buf_init(&it->text, TEXT_MAX);
}

void
mime_addresses_clear(struct mime_addresses *it)
{
	buf_clear(&it->text);
	it->rest.len = 0;
}

/* A place in it->text: the text moves while it grows. */
struct span {
	size_t	from, len;
	bool	there;
};

static struct slice
slice_of_span(const struct mime_addresses *it, struct span s)
{
	if (!s.there)
		return (struct slice){ 0 };
	return s.len == 0 ? SLICE("") : slice_make(it->text.ptr + s.from, s.len);
}

static void
put_octet(struct mime_addresses *it, char c)
{
	if (c != '\0' && c != '\r' && c != '\n' && c != JOINT)
		(void)buf_char(&it->text, c);
}

/* ---- words ---- */

static bool
ends_word(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0' || strchr("()<>@,;:\"[", c) != NULL;
}

static void
put_quoted(struct mime_addresses *it)
{
	struct slice *s = &it->rest;
	size_t i = 1;

	for (; i < s->len && s->ptr[i] != '"'; i++) {
		if (s->ptr[i] == '\\' && i + 1 < s->len)
			i++;
		put_octet(it, s->ptr[i]);
	}
	*s = slice_sub(*s, i + 1, s->len);
}

static void
put_literal(struct mime_addresses *it)
{
	struct slice *s = &it->rest;
	size_t end = slice_find(*s, ']');

	for (size_t i = 0; i <= end && i < s->len; i++) {
		if (s->ptr[i] != ' ' && s->ptr[i] != '\t')
			put_octet(it, s->ptr[i]);
	}
	*s = slice_sub(*s, end + 1, s->len);
}

/* Words up to a character that is none of them, which is left.  The last comment goes to
 * *comment. */
static struct span
take_words(struct mime_addresses *it, struct slice *comment)
{
	struct span out = { .from = it->text.len };
	struct slice *s = &it->rest;

	for (;;) {
		const char *before = s->ptr;

		mime_skip_cfws(s, comment);
		if (s->len == 0 || (ends_word(s->ptr[0]) && s->ptr[0] != '"' && s->ptr[0] != '['))
			break;
		if (out.there && s->ptr != before)
			(void)buf_char(&it->text, JOINT);
		out.there = true;
		if (s->ptr[0] == '"') {
			put_quoted(it);
		} else if (s->ptr[0] == '[') {
			put_literal(it);
		} else {
			size_t n = 0;

			while (n < s->len && !ends_word(s->ptr[n]))
				put_octet(it, s->ptr[n++]);
			*s = slice_sub(*s, n, s->len);
		}
	}
	out.len = it->text.len - out.from;
	return out;
}

/* Joints become spaces, or nothing. */
static void
settle_joints(struct mime_addresses *it, struct span *s, bool space)
{
	size_t to = s->from;
	bool last = s->from + s->len == it->text.len;

	for (size_t i = s->from; i < s->from + s->len; i++) {
		char c = it->text.ptr[i];

		if (c == JOINT && !space)
			continue;
		it->text.ptr[to++] = c == JOINT ? ' ' : c;
	}
	s->len = to - s->from;
	if (last)
		it->text.len = to;
}

/* The inside of a comment, quoted pairs undone; NIL if it is empty. */
static struct span
put_comment(struct mime_addresses *it, struct slice comment)
{
	struct span out = { .from = it->text.len };

	comment = slice_trim(comment);
	for (size_t i = 0; i < comment.len; i++) {
		if (comment.ptr[i] == '\\' && i + 1 < comment.len)
			i++;
		put_octet(it, comment.ptr[i]);
	}
	out.len = it->text.len - out.from;
	out.there = out.len > 0;
	return out;
}

/* ---- addresses ---- */

struct parts {
	struct span	name, route, local, domain;
};

static bool
take_char(struct mime_addresses *it, char c)
{
	mime_skip_cfws(&it->rest, NULL);
	if (it->rest.len == 0 || it->rest.ptr[0] != c)
		return false;
	it->rest = slice_sub(it->rest, 1, it->rest.len);
	return true;
}

/* Behind '@': the domain, joints removed. */
static struct span
take_domain(struct mime_addresses *it, struct slice *comment)
{
	struct span domain = take_words(it, comment);

	settle_joints(it, &domain, false);
	domain.there = true;
	return domain;
}

/* "@a,@b:" before an address (4.4); what stands between '<' and ':'. */
static struct span
take_route(struct mime_addresses *it)
{
	struct span route = { .from = it->text.len };

	while (it->rest.len > 0 && (it->rest.ptr[0] == '@' || it->rest.ptr[0] == ',')) {
		put_octet(it, it->rest.ptr[0]);
		it->rest = slice_sub(it->rest, 1, it->rest.len);
		(void)take_domain(it, NULL);
	}
	route.len = it->text.len - route.from;
	route.there = route.len > 0;
	(void)take_char(it, ':');
	return route;
}

/* Behind '<', up to and with '>'. */
static void
take_angle(struct mime_addresses *it, struct parts *p)
{
	mime_skip_cfws(&it->rest, NULL);
	p->route = take_route(it);
	p->local = take_words(it, NULL);
	settle_joints(it, &p->local, false);
	p->local.there = p->domain.there = true;
	if (take_char(it, '@'))
		p->domain = take_domain(it, NULL);
	/* Garbage before '>', but not beyond this address. */
	while (it->rest.len > 0 && it->rest.ptr[0] != '>' && it->rest.ptr[0] != ',' && it->rest.ptr[0] != ';')
		it->rest = slice_sub(it->rest, 1, it->rest.len);
	(void)take_char(it, '>');
}

/* After an address comes a ',', or the end of a group or of the list; other things are passed over. */
static void
to_separator(struct mime_addresses *it, struct slice *comment)
{
	for (;;) {
		mime_skip_cfws(&it->rest, comment);
		if (it->rest.len == 0 || it->rest.ptr[0] == ',' || (it->rest.ptr[0] == ';' && it->in_group))
			return;
		if (it->rest.ptr[0] == '"')
			(void)take_words(it, comment);
		else
			it->rest = slice_sub(it->rest, 1, it->rest.len);
	}
}

/* "a@b.example <a@b.example>": what looked like the address is the name. */
static struct span
name_of_address(struct mime_addresses *it, const struct parts *p)
{
	struct span out = { .from = it->text.len, .there = true };

	for (size_t i = 0; i < p->local.len; i++)
		put_octet(it, it->text.ptr[p->local.from + i]);
	put_octet(it, '@');
	for (size_t i = 0; i < p->domain.len; i++)
		put_octet(it, it->text.ptr[p->domain.from + i]);
	out.len = it->text.len - out.from;
	return out;
}

static bool
take_address(struct mime_addresses *it, struct mime_address *out)
{
	struct slice comment = { 0 };
	struct parts p = { 0 };
	struct span words = take_words(it, &comment);

	out->kind = MIME_MAILBOX;
	if (take_char(it, '<')) {
		settle_joints(it, &words, true);
		p.name = words;
		take_angle(it, &p);
	} else if (take_char(it, '@')) {
		settle_joints(it, &words, false);
		p.local = words;
		p.domain = take_domain(it, &comment);
		if (take_char(it, '<')) {
			p.name = name_of_address(it, &p);
			take_angle(it, &p);
		}
	} else if (!it->in_group && take_char(it, ':')) {
		settle_joints(it, &words, true);
		p.name = words;
		p.name.there = true;
		it->in_group = true;
		out->kind = MIME_GROUP;
	} else {
		settle_joints(it, &words, true);
		p.local = words;
		p.domain.there = true;
	}
	if (out->kind == MIME_MAILBOX) {
		to_separator(it, &comment);
		if (!p.name.there)
			p.name = put_comment(it, comment);
		p.local.there = true;
	}
	out->name = slice_of_span(it, p.name);
	out->route = slice_of_span(it, p.route);
	out->local = slice_of_span(it, p.local);
	out->domain = slice_of_span(it, p.domain);
	return words.there || p.domain.len > 0 || p.local.len > 0 || out->kind == MIME_GROUP;
}

bool
mime_addresses_next(struct mime_addresses *it, struct mime_address *out)
{
	*out = (struct mime_address){ 0 };
	buf_reset(&it->text);
	for (;;) {
		const char *before;

		while (take_char(it, ','))
			;
		if (it->count >= MIME_ADDRESSES_MAX)
			it->rest.len = 0;
		if (it->in_group && (take_char(it, ';') || it->rest.len == 0)) {
			it->in_group = false;
			out->kind = MIME_GROUP_END;
			return true;
		}
		if (it->rest.len == 0)
			return false;
		before = it->rest.ptr;
		if (take_address(it, out)) {
			it->count++;
			return true;
		}
		if (it->rest.ptr == before)	/* a character that no address begins with */
			it->rest = slice_sub(it->rest, 1, it->rest.len);
		buf_reset(&it->text);
	}
}
