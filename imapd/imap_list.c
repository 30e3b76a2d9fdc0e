#include "imap_list.h"

#include <string.h>

static bool
is_wild(char c)
{
	return c == '*' || c == '%';
}

static void
add(struct imap_pattern *p, struct slice text)
{
	for (size_t i = 0; i < text.len && !p->none; i++) {
		char c = text.ptr[i];

		if (is_wild(c) && p->len > 0 && is_wild(p->text[p->len - 1])) {
			if (c == '*')
				p->text[p->len - 1] = c;
		} else if (p->len == sizeof(p->text))
			p->none = true;
		else
			p->text[p->len++] = c;
	}
}

void
imap_pattern_init(struct imap_pattern *p, struct slice reference, struct slice mailbox)
{
	*p = (struct imap_pattern){ 0 };
	add(p, reference);
	add(p, mailbox);
}

static char
upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/*
 * All places of the pattern that the name may have come to: at[i] is, that
 * text[0..i) has matched.  A wildcard may be stepped over at any time.
 */
static void
step_over(const struct imap_pattern *p, bool *at)
{
	for (size_t i = 0; i < p->len; i++)
		if (at[i] && is_wild(p->text[i]))
			at[i + 1] = true;
}

bool
imap_pattern_match(const struct imap_pattern *p, struct slice name)
{
	bool at[IMAP_PATTERN_MAX + 1] = { true }, next[IMAP_PATTERN_MAX + 1];
	bool inbox = slice_is(name, "INBOX");

	if (p->none)
		return false;
	step_over(p, at);
	for (size_t n = 0; n < name.len; n++) {
		char c = name.ptr[n];

		memset(next, 0, sizeof(next));
		for (size_t i = 0; i < p->len; i++) {
			char want = inbox ? upper(p->text[i]) : p->text[i];

			if (!at[i])
				continue;
			if (want == '*' || (want == '%' && c != STORE_SEPARATOR))
				next[i] = true;
			else if (want == c)
				next[i + 1] = true;
		}
		step_over(p, next);
		memcpy(at, next, sizeof(at));
	}
	return at[p->len];
}
