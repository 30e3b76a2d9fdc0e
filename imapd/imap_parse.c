#include "imap_parse.h"

#include <string.h>
#include <strings.h>

#include "imap_name.h"

#define TAG_MAX		255
#define ID_PAIRS_MAX	30	/* RFC 2971 section 3.3 */

void
imap_in_init(struct imap_in *in, struct slice command, struct imap_pool *pool)
{
	*in = (struct imap_in){ .rest = command, .pool = pool };
}

bool
imap_in_error(struct imap_in *in, const char *text)
{
	if (in->error == NULL)
		in->error = text;
	return false;
}

bool
imap_at_end(const struct imap_in *in)
{
	return slice_trim(in->rest).len == 0;
}

bool
imap_parse_end(struct imap_in *in)
{
	if (!imap_at_end(in))
		return imap_in_error(in, "Unexpected arguments");
	return true;
}

bool
imap_take_char(struct imap_in *in, char c)
{
	if (in->rest.len == 0 || in->rest.ptr[0] != c)
		return false;
	in->rest = slice_sub(in->rest, 1, in->rest.len);
	return true;
}

bool
imap_parse_char(struct imap_in *in, char c)
{
	if (!imap_take_char(in, c))
		return imap_in_error(in, c == ')' ? "Missing ')'" : c == '(' ? "Missing '('" : "Syntax error");
	return true;
}

bool
imap_parse_space(struct imap_in *in)
{
	if (!imap_take_char(in, ' '))
		return imap_in_error(in, "Missing argument");
	return true;
}

/* ATOM-CHAR: any CHAR except atom-specials. */
static bool
is_atom_char(char c)
{
	unsigned char u = (unsigned char)c;

	return u > 0x20 && u < 0x7f && strchr("(){%*\"\\]", c) == NULL;
}

static bool
is_astring_char(char c)
{
	return is_atom_char(c) || c == ']';
}

static bool
is_list_char(char c)
{
	return is_astring_char(c) || c == '%' || c == '*';
}

static bool
is_tag_char(char c)
{
	return is_astring_char(c) && c != '+';
}

/* The longest run of such octets; false if there is none. */
static bool
take_run(struct imap_in *in, bool (*is)(char), struct slice *out)
{
	size_t n = 0;

	while (n < in->rest.len && is(in->rest.ptr[n]))
		n++;
	*out = slice_sub(in->rest, 0, n);
	in->rest = slice_sub(in->rest, n, in->rest.len);
	return n > 0;
}

bool
imap_parse_tag(struct imap_in *in, struct slice *out)
{
	if (!take_run(in, is_tag_char, out) || out->len > TAG_MAX)
		return imap_in_error(in, "Invalid tag");
	return true;
}

bool
imap_parse_atom(struct imap_in *in, struct slice *out)
{
	if (!take_run(in, is_atom_char, out))
		return imap_in_error(in, "Syntax error");
	return true;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
imap_parse_number(struct imap_in *in, uint64_t max, uint64_t *out)
{
	struct slice digits;

	if (!take_run(in, is_digit, &digits) || !slice_number(digits, max, out))
		return imap_in_error(in, "Invalid number");
	return true;
}

bool
imap_parse_nz_number(struct imap_in *in, uint32_t *out)
{
	uint64_t n;

	if (!imap_parse_number(in, UINT32_MAX, &n) || n == 0)
		return imap_in_error(in, "Invalid number");
	*out = (uint32_t)n;
	return true;
}

/* Behind the opening quote. */
static bool
parse_quoted(struct imap_in *in, struct slice *out)
{
	const char *p = in->rest.ptr;
	size_t n = 0, escapes = 0, to = 0;
	char *copy;

	for (; n < in->rest.len && p[n] != '"'; n++) {
		if (p[n] == '\\') {
			n++;
			escapes++;
			if (n >= in->rest.len || (p[n] != '"' && p[n] != '\\'))
				return imap_in_error(in, "Invalid quoted string");
		} else if (p[n] == '\0' || p[n] == '\r' || p[n] == '\n')
			return imap_in_error(in, "Invalid quoted string");
	}
	if (n >= in->rest.len)
		return imap_in_error(in, "Missing '\"'");
	*out = slice_sub(in->rest, 0, n);
	in->rest = slice_sub(in->rest, n + 1, in->rest.len);
	if (escapes == 0)
		return true;
	copy = imap_pool_alloc(in->pool, n - escapes);
	if (copy == NULL)
		return imap_in_error(in, "Command too large");
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\\')
			i++;
		copy[to++] = p[i];
	}
	*out = slice_make(copy, to);
	return true;
}

/* Behind the '{'. */
static bool
parse_octets(struct imap_in *in, struct slice *out)
{
	uint64_t n;

	if (!imap_parse_number(in, UINT32_MAX, &n))
		return imap_in_error(in, "Invalid literal");
	(void)imap_take_char(in, '+');
	if (!imap_take_char(in, '}'))
		return imap_in_error(in, "Invalid literal");
	(void)imap_take_char(in, '\r');
	if (!imap_take_char(in, '\n') || n > in->rest.len)
		return imap_in_error(in, "Invalid literal");
	*out = slice_sub(in->rest, 0, (size_t)n);
	in->rest = slice_sub(in->rest, (size_t)n, in->rest.len);
	return true;
}

static bool
parse_literal(struct imap_in *in, struct slice *out)
{
	if (!parse_octets(in, out))
		return false;
	if (slice_find(*out, '\0') != out->len)
		return imap_in_error(in, "NUL in a literal");
	return true;
}

bool
imap_parse_string(struct imap_in *in, struct slice *out)
{
	if (imap_take_char(in, '"'))
		return parse_quoted(in, out);
	if (imap_take_char(in, '{'))
		return parse_literal(in, out);
	return imap_in_error(in, "String expected");
}

static bool
at_string(const struct imap_in *in)
{
	return in->rest.len > 0 && (in->rest.ptr[0] == '"' || in->rest.ptr[0] == '{');
}

bool
imap_parse_astring(struct imap_in *in, struct slice *out)
{
	if (at_string(in))
		return imap_parse_string(in, out);
	if (!take_run(in, is_astring_char, out))
		return imap_in_error(in, "Missing argument");
	return true;
}

bool
imap_parse_nstring(struct imap_in *in, struct slice *out)
{
	struct slice word;

	if (at_string(in))
		return imap_parse_string(in, out);
	if (!take_run(in, is_atom_char, &word) || !slice_ieq(word, "NIL"))
		return imap_in_error(in, "String expected");
	*out = (struct slice){ 0 };
	return true;
}

bool
imap_parse_nstring8(struct imap_in *in, struct slice *out)
{
	if (slice_prefix(&in->rest, "~{"))
		return parse_octets(in, out);
	return imap_parse_nstring(in, out);
}

bool
imap_parse_mailbox(struct imap_in *in, struct slice *out)
{
	if (!imap_parse_astring(in, out))
		return false;
	in->said = *out;
	if (slice_ieq(*out, "INBOX"))
		*out = SLICE("INBOX");
	if (in->utf8 && !imap_name_in(in->pool, *out, out))
		return imap_in_error(in, "Command too large");
	return true;
}

bool
imap_parse_list_mailbox(struct imap_in *in, struct slice *out)
{
	if (at_string(in))
		return imap_parse_string(in, out);
	if (!take_run(in, is_list_char, out))
		return imap_in_error(in, "Missing argument");
	return true;
}

bool
imap_parse_set(struct imap_in *in, struct imap_set *out)
{
	if (!imap_set_parse(&in->rest, in->pool, out))
		return imap_in_error(in, "Invalid message set");
	return true;
}

static const struct {
	const char	*name;
	unsigned	 bit;
} system_flags[] = {
	{ "Seen",	IMAP_SEEN },
	{ "Answered",	IMAP_ANSWERED },
	{ "Flagged",	IMAP_FLAGGED },
	{ "Deleted",	IMAP_DELETED },
	{ "Draft",	IMAP_DRAFT },
};

static bool
parse_flag(struct imap_in *in, struct imap_flags *out, size_t *room)
{
	bool system = imap_take_char(in, '\\');
	struct slice name;
	void *at = out->keyword;

	if (!imap_parse_atom(in, &name))
		return imap_in_error(in, "Invalid flag");
	if (system) {
		for (size_t i = 0; i < LEN(system_flags); i++) {
			if (slice_ieq(name, system_flags[i].name)) {
				out->system |= system_flags[i].bit;
				return true;
			}
		}
		return imap_in_error(in, "Unknown system flag");
	}
	for (size_t i = 0; i < out->keyword_n; i++)
		if (out->keyword[i].len == name.len && strncasecmp(out->keyword[i].ptr, name.ptr, name.len) == 0)
			return true;
	if (out->keyword_n >= IMAP_KEYWORDS_MAX)
		return imap_in_error(in, "Too many keywords");
	if (!imap_pool_grow(in->pool, &at, out->keyword_n, room, sizeof(name)))
		return imap_in_error(in, "Command too large");
	out->keyword = at;
	out->keyword[out->keyword_n++] = name;
	return true;
}

/* Flags up to ')' or the end. */
static bool
parse_flags(struct imap_in *in, struct imap_flags *out)
{
	size_t room = 0;

	do {
		if (!parse_flag(in, out, &room))
			return false;
	} while (imap_take_char(in, ' '));
	return true;
}

bool
imap_parse_flag_list(struct imap_in *in, struct imap_flags *out)
{
	*out = (struct imap_flags){ 0 };
	if (!imap_parse_char(in, '('))
		return false;
	if (imap_take_char(in, ')'))
		return true;
	return parse_flags(in, out) && imap_parse_char(in, ')');
}

bool
imap_parse_store_flags(struct imap_in *in, struct imap_flags *out)
{
	if (in->rest.len > 0 && in->rest.ptr[0] == '(')
		return imap_parse_flag_list(in, out);
	*out = (struct imap_flags){ 0 };
	return parse_flags(in, out);
}

bool
imap_parse_id(struct imap_in *in)
{
	struct slice text;
	size_t n = 0;

	if (!imap_parse_space(in))
		return false;
	if (!imap_take_char(in, '('))
		return imap_parse_nstring(in, &text) && text.ptr == NULL && imap_parse_end(in);
	if (!imap_take_char(in, ')')) {
		do {
			if (++n > ID_PAIRS_MAX)
				return imap_in_error(in, "Too many ID fields");
			if (!imap_parse_string(in, &text) || !imap_parse_space(in) || !imap_parse_nstring(in, &text))
				return false;
		} while (imap_take_char(in, ' '));
		if (!imap_parse_char(in, ')'))
			return false;
	}
	return imap_parse_end(in);
}

/* append-message: SP [flags SP] [date SP] and the announcement of the literal. */
bool
imap_parse_append_more(struct imap_in *in, struct imap_append *out)
{
	struct imap_literal literal;

	*out = (struct imap_append){ .mailbox = out->mailbox };
	if (!imap_parse_space(in))
		return false;
	if (in->rest.len > 0 && in->rest.ptr[0] == '(' &&
	    (!imap_parse_flag_list(in, &out->flags) || !imap_parse_space(in)))
		return false;
	if (in->rest.len > 0 && in->rest.ptr[0] == '"') {
		if (!imap_parse_date_time(in, &out->date) || !imap_parse_space(in))
			return false;
		out->has_date = true;
	}
	out->utf8 = slice_iprefix(&in->rest, "UTF8 (");
	out->binary = imap_take_char(in, '~');
	if (out->utf8 && !out->binary)
		return imap_in_error(in, "literal8 expected");
	if (in->rest.len == 0 || in->rest.ptr[0] != '{' ||
	    imap_parse_literal_end(slice_trim(in->rest), &literal) != LITERAL_OK)
		return imap_in_error(in, "Message literal expected");
	if (slice_find(in->rest, '}') + 1 != slice_trim(in->rest).len)
		return imap_in_error(in, "Unexpected arguments");
	return true;
}

bool
imap_parse_append(struct imap_in *in, struct imap_append *out)
{
	*out = (struct imap_append){ 0 };
	return imap_parse_space(in) && imap_parse_mailbox(in, &out->mailbox) && imap_parse_append_more(in, out);
}

enum imap_literal_is
imap_parse_literal_end(struct slice line, struct imap_literal *out)
{
	size_t open = slice_rfind(line, '{');
	struct slice digits;

	if (open == line.len || line.ptr[line.len - 1] != '}')
		return LITERAL_NONE;
	digits = slice_sub(line, open + 1, line.len - open - 2);
	out->nonsync = digits.len > 0 && digits.ptr[digits.len - 1] == '+';
	if (out->nonsync)
		digits.len--;
	for (size_t i = 0; i < digits.len; i++)
		if (!is_digit(digits.ptr[i]))
			return LITERAL_NONE;
	if (digits.len == 0)
		return LITERAL_NONE;
	return slice_number(digits, UINT32_MAX, &out->octets) ? LITERAL_OK : LITERAL_OVERFLOW;
}
