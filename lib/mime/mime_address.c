/* mime_address: address lists, RFC 5322 section 3.4, and what is written in their place. */
#include <string.h>

#include "mime.h"

#define TEXT_MAX	65536	/* octets of one element that are kept */

void
mime_addresses_init(struct mime_addresses *it, struct slice value)
{
	*it = (struct mime_addresses){ .rest = value };
	buf_init(&it->text, TEXT_MAX);
	buf_init(&it->comment, TEXT_MAX);
}

void
mime_addresses_clear(struct mime_addresses *it)
{
	buf_clear(&it->text);
	buf_clear(&it->comment);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char
peek(const struct mime_addresses *it)
{
	return it->rest.len == 0 ? '\0' : it->rest.ptr[0];
}

static void
skip(struct mime_addresses *it)
{
	it->rest = slice_sub(it->rest, 1, it->rest.len);
}

/* A comment: its text, without the outer parentheses and backslashes, is kept. */
static void
take_comment(struct mime_addresses *it)
{
	unsigned depth = 0;

	buf_reset(&it->comment);
	while (it->rest.len > 0) {
		char c = peek(it);

		skip(it);
		if (c == '(' && depth++ == 0)
			continue;
		if (c == ')' && --depth == 0)
			return;
		if (c == '\\' && it->rest.len > 0) {
			c = peek(it);
			skip(it);
		}
		if (c != '\r' && c != '\n' && c != '\0')
			(void)buf_char(&it->comment, c);
	}
}

/* Past blanks and comments; true if there were any. */
static bool
skip_cfws(struct mime_addresses *it)
{
	size_t before = it->rest.len;

	for (;;) {
		if (peek(it) == '(')
			take_comment(it);
		else if (it->rest.len > 0 && is_blank(peek(it)))
			skip(it);
		else
			return it->rest.len != before;
	}
}

static void
take_quoted(struct mime_addresses *it)
{
	skip(it);
	while (it->rest.len > 0) {
		char c = peek(it);

		skip(it);
		if (c == '"')
			return;
		if (c == '\\' && it->rest.len > 0) {
			c = peek(it);
			skip(it);
		}
		if (c != '\r' && c != '\n' && c != '\0')
			(void)buf_char(&it->text, c);
	}
}

static void
take_literal(struct mime_addresses *it)
{
	while (it->rest.len > 0) {
		char c = peek(it);

		skip(it);
		if (!is_blank(c) && c != '\0')
			(void)buf_char(&it->text, c);
		if (c == ']')
			return;
	}
}

/*
 * Words up to one of the signs in `until` (or the end), appended to text:
 * atoms and quoted strings, with one blank where blanks or comments stood
 * between them if `blanks`.
 */
static void
take_words(struct mime_addresses *it, const char *until, bool blanks)
{
	size_t from = it->text.len;

	for (;;) {
		bool gap = skip_cfws(it);
		char c = peek(it);

		if (it->rest.len == 0 || (c != '\0' && strchr(until, c) != NULL))
			return;
		if (gap && blanks && it->text.len > from)
			(void)buf_char(&it->text, ' ');
		if (c == '"') {
			take_quoted(it);
		} else if (c == '[') {
			take_literal(it);
		} else {
			do {
				if (c != '\0')
					(void)buf_char(&it->text, c);
				skip(it);
				c = peek(it);
			} while (it->rest.len > 0 && !is_blank(c) && (c == '\0' || strchr("(\"[", c) == NULL) &&
			    (c == '\0' || strchr(until, c) == NULL));
		}
	}
}

/* Offsets into text: it may move while it grows. */
struct span {
	bool	there;
	size_t	from, to;
};

static struct slice
view(const struct mime_addresses *it, struct span s)
{
	if (!s.there)
		return slice_make(NULL, 0);
	return slice_make(s.to == s.from ? "" : it->text.ptr + s.from, s.to - s.from);
}

static struct span
words(struct mime_addresses *it, const char *until, bool blanks)
{
	struct span s = { .there = true, .from = it->text.len };

	take_words(it, until, blanks);
	s.to = it->text.len;
	return s;
}

/* What stands in < >: an obsolete route, local part and domain. */
static void
angle(struct mime_addresses *it, struct span *route, struct span *local, struct span *domain)
{
	skip(it);
	(void)skip_cfws(it);
	if (peek(it) == '@') {
		*route = words(it, ":>", false);
		if (peek(it) == ':')
			skip(it);
	}
	*local = words(it, "@>", false);
	*domain = (struct span){ .there = true, .from = it->text.len, .to = it->text.len };
	if (peek(it) == '@') {
		skip(it);
		*domain = words(it, ">", false);
	}
	if (peek(it) == '>')
		skip(it);
	/* Whatever follows up to the next element belongs to nobody. */
	while (it->rest.len > 0 && strchr(",;", peek(it)) == NULL) {
		if (!skip_cfws(it))
			skip(it);
	}
}

static bool
group_end(struct mime_addresses *it, struct mime_address *out)
{
	it->in_group = false;
	it->count++;
	*out = (struct mime_address){ .kind = MIME_GROUP_END };
	return true;
}

bool
mime_addresses_next(struct mime_addresses *it, struct mime_address *out)
{
	struct span name = { 0 }, route = { 0 }, local = { 0 }, domain = { 0 };
	char sign;

	buf_reset(&it->text);
	buf_reset(&it->comment);
	for (;;) {
		(void)skip_cfws(it);
		if (it->rest.len == 0 || it->count >= MIME_ADDRESSES_MAX)
			return it->in_group ? group_end(it, out) : false;
		sign = peek(it);
		if (sign == ';' && it->in_group) {
			skip(it);
			return group_end(it, out);
		}
		if (sign != ',' && sign != ';')
			break;
		skip(it);
	}
	it->count++;
	buf_reset(&it->comment);
	*out = (struct mime_address){ .kind = MIME_MAILBOX };
	name = words(it, it->in_group ? "<@,;" : "<@,:;", true);
	sign = peek(it);
	if (sign == ':' && it->rest.len > 0) {
		skip(it);
		it->in_group = true;
		out->kind = MIME_GROUP;
		out->name = view(it, name);
		return true;
	}
	if (sign == '<' && it->rest.len > 0) {
		name.there = name.to > name.from;
		angle(it, &route, &local, &domain);
	} else {	/* no angle: the words were the local part */
		local = name;
		name.there = false;
		domain = (struct span){ .there = true, .from = it->text.len, .to = it->text.len };
		if (sign == '@' && it->rest.len > 0) {
			skip(it);
			domain = words(it, ",;<", false);
			while (it->rest.len > 0 && strchr(",;", peek(it)) == NULL)
				skip(it);
		}
	}
	out->name = view(it, name);
	out->route = view(it, route);
	out->local = view(it, local);
	out->domain = view(it, domain);
	if (out->name.ptr == NULL && it->comment.len > 0)
		out->name = buf_slice_of(&it->comment);
	return true;
}
