#include "smtp_parse.h"

#include <string.h>

static bool
is_control(char c)
{
	return (unsigned char)c < ' ' || c == 127;
}

bool
smtp_has_control(struct slice line)
{
	for (size_t i = 0; i < line.len; i++)
		if (is_control(line.ptr[i]) && line.ptr[i] != '\t')
			return true;
	return false;
}

static void
skip_blanks(struct slice *s)
{
	while (s->len > 0 && (*s->ptr == ' ' || *s->ptr == '\t'))
		*s = slice_sub(*s, 1, s->len - 1);
}

/* Octets up to the '>' that closes the path; those inside quotes do not.  s.len: none. */
static size_t
find_close(struct slice s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.len; i++) {
		if (is_control(s.ptr[i]))
			return s.len;
		if (quoted && s.ptr[i] == '\\') {
			if (++i == s.len || is_control(s.ptr[i]))
				return s.len;
		} else if (s.ptr[i] == '"') {
			quoted = !quoted;
		} else if (s.ptr[i] == '>' && !quoted) {
			return i;
		}
	}
	return s.len;
}

/* "@a.example,@b.example:" before the mailbox; false if one begins and does not end. */
static bool
skip_route(struct slice *path)
{
	size_t colon;

	if (path->len == 0 || *path->ptr != '@')
		return true;
	colon = slice_find(*path, ':');
	if (colon + 1 >= path->len)
		return false;
	*path = slice_sub(*path, colon + 1, path->len);
	return true;
}

bool
smtp_parse_path(struct slice *args, struct slice *path)
{
	size_t len;

	skip_blanks(args);
	if (args->len == 0 || *args->ptr != '<')
		return false;
	*args = slice_sub(*args, 1, args->len - 1);
	len = find_close(*args);
	if (len == args->len || len > SMTP_PATH_MAX - 2)
		return false;
	*path = slice_sub(*args, 0, len);
	*args = slice_sub(*args, len + 1, args->len);
	if (args->len > 0 && *args->ptr != ' ' && *args->ptr != '\t')
		return false;
	skip_blanks(args);
	return skip_route(path);
}

/* esmtp-keyword: letters, digits, '-'; not first a '-'. */
static bool
is_keyword(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c == '-' && i > 0)))
			return false;
	}
	return s.len > 0;
}

/* esmtp-value: printable ASCII but '=' and blank. */
static bool
is_value(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == '=')
			return false;
	return s.len > 0;
}

bool
smtp_parse_param(struct slice *args, struct smtp_param *out, bool *bad)
{
	struct slice word;
	bool valued;

	*bad = false;
	skip_blanks(args);
	if (args->len == 0)
		return false;
	word = slice_cut(args, ' ');
	valued = slice_find(word, '=') < word.len;
	out->keyword = slice_cut(&word, '=');
	out->value = valued ? word : (struct slice){ NULL, 0 };
	*bad = !is_keyword(out->keyword) || (valued && !is_value(word));
	return !*bad;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
smtp_parse_xtext(struct slice text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		int c = (unsigned char)text.ptr[i], high, low;

		if (c == '=' || c <= ' ' || c > '~')
			return false;
		if (c == '+') {
			if (text.len - i < 3)
				return false;
			high = hex_digit(text.ptr[i + 1]);
			low = hex_digit(text.ptr[i + 2]);
			if (high < 0 || low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
			if (c < ' ' || c > '~')
				return false;
		}
		if (!buf_char(out, (char)c))
			return false;
	}
	return true;
}

bool
smtp_parse_helo(struct slice text)
{
	if (text.len == 0 || text.len > SMTP_HELO_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
			return false;
	return true;
}

bool
smtp_is_http(struct slice verb)
{
	static const char *const verbs[] = {
		"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI",
		"Host:", "User-Agent:", "Content-Type:", "Content-Length:", "Connection:",
	};

	for (size_t i = 0; i < LEN(verbs); i++)
		if (slice_ieq(verb, verbs[i]))
			return true;
	return false;
}
