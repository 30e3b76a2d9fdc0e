#include "smtp_reply.h"

#include <stdio.h>
#include <string.h>

void
smtp_reply_init(struct smtp_reply *r)
{
	r->code = 0;
	r->lines = 0;
	r->len = 0;
	r->text[0] = '\0';
}

static void
keep(struct smtp_reply *r, struct slice s)
{
	for (size_t i = 0; i < s.len && r->len < REPLY_TEXT_MAX; i++)
		r->text[r->len++] = s.ptr[i] >= ' ' && s.ptr[i] <= '~' ? s.ptr[i] : '?';
	r->text[r->len] = '\0';
}

enum reply_step
smtp_reply_line(struct smtp_reply *r, struct slice line, struct slice *keyword)
{
	uint64_t code;
	bool more;

	if (line.len < 3 || !slice_number(slice_sub(line, 0, 3), 599, &code) || code < 200 ||
	    (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-'))
		return REPLY_BROKEN;
	if (r->lines > 0 && code != r->code)
		return REPLY_BROKEN;
	if (++r->lines > REPLY_LINES_MAX)
		return REPLY_BROKEN;
	more = line.len > 3 && line.ptr[3] == '-';
	*keyword = slice_trim(slice_sub(line, 4, line.len));
	if (r->lines == 1) {
		r->code = (unsigned)code;
		r->len = 0;
		keep(r, slice_sub(line, 0, 3));
	}
	if (keyword->len > 0) {
		keep(r, SLICE(" "));
		keep(r, *keyword);
	}
	return more ? REPLY_MORE : REPLY_DONE;
}

/* class "." subject "." detail, RFC 3463 section 2: digits 1, 1-3, 1-3. */
static size_t
enhanced(const char *s, unsigned class)
{
	size_t i = 2;

	if (s[0] != (char)('0' + class) || s[1] != '.')
		return 0;
	for (int part = 0; part < 2; part++) {
		size_t from = i;

		while (s[i] >= '0' && s[i] <= '9' && i - from < 3)
			i++;
		if (i == from)
			return 0;
		if (part == 0 && s[i++] != '.')
			return 0;
	}
	return s[i] == ' ' || s[i] == '\0' ? i : 0;
}

void
smtp_reply_dsn(const struct smtp_reply *r, char out[16])
{
	unsigned class = r->code / 100;
	size_t n = r->len > 4 ? enhanced(r->text + 4, class == 3 ? 2 : class) : 0;

	if (n > 0 && n < 16)
		(void)snprintf(out, 16, "%.*s", (int)n, r->text + 4);
	else
		(void)snprintf(out, 16, "%u.0.0", class == 3 ? 2 : class);
}
