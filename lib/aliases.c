#include "aliases.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum alias_next __attribute__((format(printf, 3, 4)))
mistake(struct alias_error *e, unsigned line, const char *fmt, ...)
{
	va_list ap;

	e->line = line;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	/* It goes to a terminal and into a log. */
	for (char *p = e->text; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return ALIAS_ERROR;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool
has_control(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return true;
	return false;
}

/* For messages: at most 60 octets of s. */
#define SHOWN(s) (int)((s).len < 60 ? (s).len : 60), (s).ptr

/* ---- lists of values ---- */

void
alias_list_init(struct alias_list *l, struct slice text, unsigned line, bool lines)
{
	*l = (struct alias_list){ .rest = text, .line = line, .lines = lines };
}

static void
list_skip(struct alias_list *l, size_t n)
{
	for (size_t i = 0; i < n && i < l->rest.len; i++)
		if (l->rest.ptr[i] == '\n')
			l->line++;
	l->rest = slice_sub(l->rest, n, l->rest.len);
}

/* Blanks, commas and comment lines before a value.  at_line_start: nothing but blanks so far. */
static void
list_skip_between(struct alias_list *l, bool at_line_start)
{
	while (l->rest.len > 0) {
		char c = l->rest.ptr[0];

		if (c == '\n')
			at_line_start = true;
		if (l->lines && c == '#' && at_line_start) {
			list_skip(l, slice_find(l->rest, '\n'));
			continue;
		}
		if (!is_blank(c) && c != ',')
			return;
		if (c == ',')
			at_line_start = false;
		list_skip(l, 1);
	}
}

/* The raw text up to the comma (or the end of the line), quotes respected; false: a quote is open. */
static bool
list_take_raw(struct alias_list *l, struct slice *raw)
{
	const char *s = l->rest.ptr;
	size_t n = l->rest.len, i = 0;
	bool quoted = false;

	for (; i < n; i++) {
		if (s[i] == '\\' && i + 1 < n && s[i + 1] != '\n') {
			i++;
		} else if (s[i] == '"') {
			quoted = !quoted;
		} else if (s[i] == '\n' && (l->lines || quoted)) {
			break;		/* a quote never spans lines */
		} else if (s[i] == ',' && !quoted) {
			break;
		}
	}
	*raw = slice_sub(l->rest, 0, i);
	list_skip(l, i);
	return !quoted;
}

/*
 * Unquote the quoted string that s begins with into out.  Returns what follows
 * it, which is s itself if it is not closed.
 */
static struct slice
unquote(struct slice s, struct buf *out)
{
	for (size_t i = 1; i < s.len; i++) {
		if (s.ptr[i] == '\\' && i + 1 < s.len) {
			i++;
			(void)buf_char(out, s.ptr[i]);
		} else if (s.ptr[i] == '"') {
			return slice_sub(s, i + 1, s.len);
		} else {
			(void)buf_char(out, s.ptr[i]);
		}
	}
	return s;
}

static enum alias_next
value_command(struct slice command, struct alias_value *v, struct alias_error *e)
{
	const char *argv[ALIAS_ARGV_MAX + 1];
	struct buf words;
	bool ok;

	buf_init(&words, 2 * ALIAS_VALUE_MAX + ALIAS_ARGV_MAX);
	command = slice_trim(command);
	ok = alias_command_split(command, &words, argv);
	buf_clear(&words);
	if (!ok)
		return mistake(e, v->line, "command '%.*s' cannot be run: there is no shell; write the "
		    "full path of a program and its arguments, \"|/usr/bin/program -x arg\"", SHOWN(command));
	v->kind = TARGET_COMMAND;
	memmove(v->text.ptr, command.ptr, command.len);	/* without blanks behind the '|' */
	v->text.len = command.len;
	return ALIAS_GOT;
}

/* ":include:/path" and the words of other mailers that begin with ':'. */
static enum alias_next
value_colon(struct slice text, struct alias_value *v, struct alias_error *e)
{
	struct slice path = text;

	if (slice_iprefix(&path, ":include:")) {
		path = slice_trim(path);
		if (path.len == 0 || path.ptr[0] != '/')
			return mistake(e, v->line, "'%.*s': write the full path, :include:/path/to/file", SHOWN(text));
		v->kind = TARGET_INCLUDE;
		memmove(v->text.ptr, path.ptr, path.len);
		v->text.len = path.len;
		return ALIAS_GOT;
	}
	if (slice_iprefix(&path, ":blackhole:"))
		return mistake(e, v->line, "':blackhole:' is Exim's; to throw mail away write /dev/null");
	if (slice_iprefix(&path, ":fail:") || slice_iprefix(&path, ":defer:") || slice_iprefix(&path, ":unknown:"))
		return mistake(e, v->line, "'%.*s' is Exim's and not taken; remove the alias: "
		    "an address that does not exist is refused", SHOWN(text));
	return mistake(e, v->line, "'%.*s' is no target; write user, user@domain, /file, "
	    "\"|command\" or :include:/path", SHOWN(text));
}

/* Words of other mailers: said before anything else is found fault with. */
static bool
is_foreign_word(struct slice raw)
{
	struct slice s = raw;

	return slice_iprefix(&s, "error:") || (raw.ptr[0] == ':' && !slice_iprefix(&s, ":include:"));
}

static enum alias_next
value_error_word(struct alias_value *v, struct alias_error *e)
{
	return mistake(e, v->line, "'error:' is Sendmail's and not taken; remove the alias: "
	    "an address that does not exist is refused");
}

/* v->text holds the unquoted value: which kind is it? */
static enum alias_next
value_classify(struct alias_value *v, bool was_quoted, struct alias_error *e)
{
	struct slice text = buf_slice_of(&v->text), word = text;

	if (text.len == 0)
		return mistake(e, v->line, "an empty target \"\"; remove it");
	switch (text.ptr[0]) {
	case '|':
		buf_skip(&v->text, 1);
		return value_command(buf_slice_of(&v->text), v, e);
	case '/':
		v->kind = TARGET_FILE;
		break;
	case ':':
		return value_colon(text, v, e);
	case '\\':
		v->kind = TARGET_LOCAL_FINAL;
		buf_skip(&v->text, 1);
		text = buf_slice_of(&v->text);
		break;
	default:
		v->kind = TARGET_ADDRESS;
		break;
	}
	if (slice_iprefix(&word, "error:"))
		return value_error_word(v, e);
	if (v->kind == TARGET_FILE)
		return ALIAS_GOT;
	if (slice_find(text, '<') < text.len && !was_quoted)
		return mistake(e, v->line, "'%.*s': write the address alone, without name and <>", SHOWN(text));
	return ALIAS_GOT;
}

/* Blanks outside quotes mean that a comma or quotes were forgotten. */
static bool
has_open_blank(struct slice raw)
{
	bool quoted = false;

	for (size_t i = 0; i < raw.len; i++) {
		if (raw.ptr[i] == '\\')
			i++;
		else if (raw.ptr[i] == '"')
			quoted = !quoted;
		else if (!quoted && is_blank(raw.ptr[i]))
			return true;
	}
	return false;
}

static enum alias_next
value_blank(struct slice raw, const struct alias_value *v, struct alias_error *e)
{
	if (raw.ptr[0] == '|' || raw.ptr[0] == '/')
		return mistake(e, v->line, "'%.*s' holds blanks; put all of it in quotes, \"%.*s\"",
		    SHOWN(raw), SHOWN(raw));
	return mistake(e, v->line, "'%.*s' holds blanks; put a comma between targets, "
	    "and quotes around a name with blanks", SHOWN(raw));
}

/* Turn the raw text of a value into v. */
static enum alias_next
value_parse(struct slice raw, struct alias_value *v, struct alias_error *e)
{
	struct slice after, inner = raw;

	if (raw.len > ALIAS_VALUE_MAX)
		return mistake(e, v->line, "a target of %zu octets; the limit is %d", raw.len, ALIAS_VALUE_MAX);
	if (is_foreign_word(raw))
		return raw.ptr[0] == ':' ? value_colon(raw, v, e) : value_error_word(v, e);
	if (has_open_blank(raw))
		return value_blank(raw, v, e);
	if (has_control(raw))
		return mistake(e, v->line, "a control character in '%.*s'; remove it", SHOWN(raw));
	if (raw.ptr[0] == '"') {
		after = unquote(raw, &v->text);
		if (after.len == 0)
			return value_classify(v, true, e);
		buf_reset(&v->text);	/* "a b"@domain: the quotes belong to the address */
	} else if (raw.len > 1 && raw.ptr[0] == '|' && raw.ptr[1] == '"') {
		(void)buf_char(&v->text, '|');
		inner = slice_sub(raw, 1, raw.len);
		after = unquote(inner, &v->text);
		if (after.len == 0)
			return value_classify(v, true, e);
		buf_reset(&v->text);
	}
	(void)buf_slice(&v->text, raw);
	return value_classify(v, raw.ptr[0] == '"' || slice_find(raw, '"') < raw.len, e);
}

enum alias_next
alias_list_next(struct alias_list *l, struct alias_value *out, struct alias_error *e)
{
	struct slice raw;
	enum alias_next next;
	bool closed;

	list_skip_between(l, true);
	if (l->rest.len == 0)
		return ALIAS_END;
	buf_reset(&out->text);
	out->line = l->line;
	closed = list_take_raw(l, &raw);
	raw = slice_trim(raw);
	if (!closed)
		return mistake(e, out->line, "'%.*s': the quote is not closed; write \" at its end", SHOWN(raw));
	next = value_parse(raw, out, e);
	if (next == ALIAS_GOT && out->text.full)
		return mistake(e, out->line, "no memory for '%.*s'", SHOWN(raw));
	return next;
}

/* ---- files of entries ---- */

void
aliases_init(struct aliases *a, struct slice text)
{
	*a = (struct aliases){ .rest = text, .line = 1 };
	buf_init(&a->logical, ALIAS_LINE_MAX);
}

void
aliases_clear(struct aliases *a)
{
	buf_clear(&a->logical);
}

static bool
is_comment(struct slice line)
{
	line = slice_trim(line);
	return line.len == 0 || line.ptr[0] == '#';
}

/* The next line and how many octets it takes with its end. */
static struct slice
peek_line(struct slice text, size_t *octets)
{
	size_t end = slice_find(text, '\n');
	struct slice line = slice_sub(text, 0, end);

	*octets = end < text.len ? end + 1 : end;
	return line;
}

static void
take_line(struct aliases *a, size_t octets)
{
	a->rest = slice_sub(a->rest, octets, a->rest.len);
	a->line++;
}

/* Collect an entry and its continuation lines in a->logical; false at the end of the file. */
static bool
take_logical(struct aliases *a, unsigned *line)
{
	struct slice text;
	size_t octets;
	unsigned empty = 0;

	while (a->rest.len > 0) {
		text = peek_line(a->rest, &octets);
		if (!is_comment(text))
			break;
		take_line(a, octets);
	}
	if (a->rest.len == 0)
		return false;
	buf_reset(&a->logical);
	*line = a->line;
	text = peek_line(a->rest, &octets);
	(void)buf_slice(&a->logical, text);
	take_line(a, octets);
	while (a->rest.len > 0) {
		text = peek_line(a->rest, &octets);
		if (is_comment(text)) {
			empty++;	/* counts as a line, ends nothing */
		} else if (is_blank(text.ptr[0])) {
			for (; empty > 0; empty--)
				(void)buf_char(&a->logical, '\n');
			(void)buf_char(&a->logical, '\n');
			(void)buf_slice(&a->logical, text);
		} else {
			break;
		}
		take_line(a, octets);
	}
	return true;
}

/* The name before the colon; *rest is left behind it. */
static enum alias_next
entry_name(struct slice *rest, struct alias_entry *out, struct alias_error *e)
{
	char space[sizeof(out->name) + 2];
	struct buf name;
	struct slice text = *rest, word;
	bool ok;

	if (text.ptr[0] == '"') {
		buf_init(&name, sizeof(space));
		word = unquote(text, &name);
		if (word.ptr == text.ptr) {
			buf_clear(&name);
			return mistake(e, out->line, "the quote of the name is not closed");
		}
		ok = !name.full && slice_text(buf_slice_of(&name), out->name, sizeof(out->name));
		buf_clear(&name);
		text = word;
		while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
			text = slice_sub(text, 1, text.len);
		if (text.len == 0 || text.ptr[0] != ':')
			return mistake(e, out->line, "no ':' after the name; write name: target");
		*rest = slice_sub(text, 1, text.len);
	} else {
		if (slice_find(text, ':') > slice_find(text, '\n') || slice_find(text, ':') == text.len)
			return mistake(e, out->line, "no ':' in '%.*s'; write name: target", SHOWN(text));
		word = slice_trim(slice_cut(&text, ':'));
		if (has_open_blank(word))
			return mistake(e, out->line, "the name '%.*s' holds blanks; put it in quotes", SHOWN(word));
		ok = slice_text(word, out->name, sizeof(out->name));
		*rest = text;
	}
	if (!ok || has_control(slice_of(out->name)))
		return mistake(e, out->line, "the name is too long or holds a control character; "
		    "the limit is %d octets", ALIAS_NAME_MAX);
	if (out->name[0] == '\0')
		return mistake(e, out->line, "no name before the ':'; write name: target");
	return ALIAS_GOT;
}

enum alias_next
aliases_next(struct aliases *a, struct alias_entry *out, struct alias_error *e)
{
	struct slice rest, trimmed;
	enum alias_next next;
	unsigned line;

	if (!take_logical(a, &line))
		return ALIAS_END;
	*out = (struct alias_entry){ .line = line };
	rest = buf_slice_of(&a->logical);
	if (a->logical.full)
		return mistake(e, line, "an entry of more than %d octets; use :include:/path", ALIAS_LINE_MAX);
	if (is_blank(rest.ptr[0]))
		return mistake(e, line, "a line that begins with a blank continues the one above, "
		    "and there is none; remove the blanks");
	next = entry_name(&rest, out, e);
	if (next != ALIAS_GOT)
		return next;
	trimmed = slice_trim(rest);
	if (trimmed.len == 0)
		return mistake(e, line, "'%s' has no target; write %s: target", out->name, out->name);
	out->octets = trimmed.len;
	alias_list_init(&out->values, rest, line, false);
	return ALIAS_GOT;
}

/* ---- addresses and commands ---- */

static bool
is_atext(char c)
{
	unsigned char u = (unsigned char)c;

	return (u >= 'a' && u <= 'z') || (u >= 'A' && u <= 'Z') || (u >= '0' && u <= '9') ||
	    u >= 0x80 || (u != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/* Dot-string of RFC 5321 section 4.1.2. */
static bool
is_dot_string(struct slice s)
{
	bool dot = true;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '.' ? dot : !is_atext(s.ptr[i]))
			return false;
		dot = s.ptr[i] == '.';
	}
	return !dot;
}

bool
alias_address(struct slice text, struct slice domain, struct addr *out)
{
	struct addr parsed;
	struct buf b;
	bool ok;

	if (addr_parse(text, &parsed)) {
		addr_canonical(&parsed, out);
		return true;
	}
	if (text.len == 0 || domain.len == 0 || (slice_find(text, '@') < text.len && text.ptr[0] != '"'))
		return false;	/* with an '@' it was to be an address, and is none */
	buf_init(&b, ADDR_MAX);
	if (is_dot_string(text) || text.ptr[0] == '"') {
		(void)buf_slice(&b, text);
	} else {
		(void)buf_char(&b, '"');
		for (size_t i = 0; i < text.len; i++) {
			if (text.ptr[i] == '"' || text.ptr[i] == '\\')
				(void)buf_char(&b, '\\');
			(void)buf_char(&b, text.ptr[i]);
		}
		(void)buf_char(&b, '"');
	}
	(void)buf_char(&b, '@');
	(void)buf_slice(&b, domain);
	ok = !b.full && addr_parse(buf_slice_of(&b), &parsed);
	buf_clear(&b);
	if (ok)
		addr_canonical(&parsed, out);
	return ok;
}

bool
alias_detail_safe(struct slice detail)
{
	for (size_t i = 0; i < detail.len; i++) {
		char c = detail.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '-' || c == '_' || c == '=' || (c == '.' && i > 0)))
			return false;
	}
	return detail.len > 0;
}

/* Append one word of *s (no blank in front) and a NUL to words; false: a quote is open. */
static bool
command_word(struct slice *s, struct buf *words)
{
	char quote = '\0';
	size_t i;

	for (i = 0; i < s->len; i++) {
		char c = s->ptr[i];

		if (quote == '\0' && (c == ' ' || c == '\t'))
			break;
		if (c == '\\' && quote != '\'' && i + 1 < s->len)
			(void)buf_char(words, s->ptr[++i]);
		else if (quote == '\0' && (c == '"' || c == '\''))
			quote = c;
		else if (quote != '\0' && c == quote)
			quote = '\0';
		else
			(void)buf_char(words, c);
	}
	*s = slice_sub(*s, i, s->len);
	return quote == '\0' && buf_char(words, '\0');
}

bool
alias_command_split(struct slice command, struct buf *words, const char *argv[ALIAS_ARGV_MAX + 1])
{
	size_t at[ALIAS_ARGV_MAX], n = 0;

	buf_reset(words);
	argv[0] = NULL;
	if (has_control(command))
		return false;
	for (;;) {
		while (command.len > 0 && (command.ptr[0] == ' ' || command.ptr[0] == '\t'))
			command = slice_sub(command, 1, command.len);
		if (command.len == 0)
			break;
		if (n == ALIAS_ARGV_MAX)
			return false;
		at[n++] = words->len;
		if (!command_word(&command, words))
			return false;
	}
	if (n == 0 || words->full || words->ptr[at[0]] != '/')
		return false;
	for (size_t i = 0; i < n; i++)
		argv[i] = words->ptr + at[i];
	argv[n] = NULL;
	return true;
}
