#include "conf_text.h"

#include <string.h>

#include "slice.h"

/* ---- comments, quotes, braces ---- */

struct scan {
	char	*p;
	int	 line;
	int	 brace;		/* line of the one that is open, 0 none */
};

/* From '/' and '*' to behind the end; newlines stay, for the lines behind it. */
static void
blank_block(struct scan *s)
{
	*s->p++ = ' ';
	*s->p++ = ' ';
	for (; *s->p != '\0'; s->p++) {
		bool end = s->p[0] == '*' && s->p[1] == '/';

		if (*s->p == '\n')
			s->line++;
		else
			*s->p = ' ';
		if (end) {
			s->p[1] = ' ';
			s->p += 2;
			return;
		}
	}
}

static void
blank_line(struct scan *s)
{
	for (; *s->p != '\0' && *s->p != '\n'; s->p++)
		*s->p = ' ';
}

/* At an opening quote; left behind the closing one.  False: the line ends first. */
static bool
pass_quoted(struct scan *s)
{
	char quote = *s->p++;

	for (; *s->p != '\0' && *s->p != '\n'; s->p++) {
		if (*s->p == quote) {
			s->p++;
			return true;
		}
		if (*s->p == '\\' && s->p[1] != '\0' && s->p[1] != '\n')
			s->p++;
	}
	return false;
}

static bool
fault_at(struct conf_text_fault *fault, int line, const char *text)
{
	*fault = (struct conf_text_fault){ line, text };
	return false;
}

#define QUOTE_OPEN "the quote that opens here is not closed in this line; write: name = \"value\""
#define BRACE_OPEN "the brace that opens here is not closed; write: name = {\"value\", \"value\"}"

bool
conf_text_prepare(char *text, struct conf_text_fault *fault)
{
	struct scan s = { .p = text, .line = 1 };

	while (*s.p != '\0') {
		if (*s.p == '#' || (s.p[0] == '/' && s.p[1] == '/')) {
			blank_line(&s);
			continue;
		}
		if (s.p[0] == '/' && s.p[1] == '*') {
			blank_block(&s);
			continue;
		}
		if (*s.p == '"' || *s.p == '\'') {
			if (!pass_quoted(&s))
				return fault_at(fault, s.line, QUOTE_OPEN);
			continue;
		}
		if (*s.p == '{' && s.brace == 0)
			s.brace = s.line;
		else if (*s.p == '}')
			s.brace = 0;
		else if (*s.p == '=' && s.brace != 0)	/* the next option has begun */
			return fault_at(fault, s.brace, BRACE_OPEN);
		s.line += *s.p++ == '\n';
	}
	return s.brace == 0 || fault_at(fault, s.brace, BRACE_OPEN);
}

/* ---- single options ---- */

/* Behind `name` and blanks at the start of this line, where '=' or "+=" or '{' is; or NULL. */
static const char *
behind_name(const char *line, const char *name)
{
	size_t n = strlen(name);

	line += strspn(line, " \t");
	if (strncmp(line, name, n) != 0 || line[n] == '\0' || strchr(" \t=+{", line[n]) == NULL)
		return NULL;
	return line + n + strspn(line + n, " \t");
}

static const char *
next_line(const char *p)
{
	p = strchrnul(p, '\n');
	return *p == '\0' ? p : p + 1;
}

int
conf_text_line(const char *text, const char *name)
{
	int line = 1;

	for (const char *p = text; *p != '\0'; p = next_line(p), line++)
		if (behind_name(p, name) != NULL)
			return line;
	return 0;
}

/* "value", 'value' or value; without escapes, which paths have no use for. */
static struct slice
one_value(const char *p)
{
	size_t n;

	if (*p == '"' || *p == '\'') {
		n = strcspn(p + 1, *p == '"' ? "\"\\$\n" : "'\\\n");
		return p[1 + n] == *p ? slice_make(p + 1, n) : slice_make("", 0);
	}
	return slice_make(p, strcspn(p, " \t\r\n\"'\\$={}(),#"));
}

bool
conf_text_value(const char *text, const char *name, char *out, size_t size)
{
	bool found = false;

	for (const char *p = text; *p != '\0'; p = next_line(p)) {
		const char *at = behind_name(p, name);
		struct slice value;

		if (at == NULL || *at != '=')
			continue;
		value = one_value(at + 1 + strspn(at + 1, " \t"));
		if (value.len > 0 && value.len < size)
			found = slice_text(value, out, size);
	}
	return found;
}
