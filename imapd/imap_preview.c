#include "imap_preview.h"

#include <string.h>
#include <strings.h>

#define SOURCE_MAX	(32 * 1024)	/* octets of a part that are looked at; style sheets come first in HTML */

/* The first text part that is shown with the message; plain text before HTML. */
static const struct mime_part *
find_text(const struct mime *m)
{
	const struct mime_part *html = NULL;

	for (uint32_t i = 0; i < m->n; i++) {
		const struct mime_part *p = &m->part[i];

		if (p->kind != MIME_LEAF || !slice_ieq(p->type, "text") || p->encoding == MIME_OTHER ||
		    (p->disposition.ptr != NULL && slice_ieq(p->disposition, "attachment")))
			continue;
		if (slice_ieq(p->subtype, "plain"))
			return p;
		if (html == NULL && slice_ieq(p->subtype, "html"))
			html = p;
	}
	return html;
}

static const struct {
	const char	*name;
	const char	*text;
} entities[] = {
	{ "amp;", "&" }, { "lt;", "<" }, { "gt;", ">" }, { "quot;", "\"" }, { "apos;", "'" }, { "#39;", "'" },
	{ "nbsp;", " " }, { "#160;", " " }, { "zwnj;", "" }, { "#8203;", "" }, { "shy;", "" }, { "#847;", "" },
};

/* Behind '&': what it stands for; an unknown one stays. */
static void
put_entity(struct slice *html, struct buf *out)
{
	for (size_t i = 0; i < LEN(entities); i++) {
		if (slice_iprefix(html, entities[i].name)) {
			(void)buf_text(out, entities[i].text);
			return;
		}
	}
	(void)buf_char(out, '&');
}

/* Up to and with "</style" and the like, or the end. */
static void
skip_element(struct slice *html, const char *end)
{
	size_t n = strlen(end);

	for (size_t i = 0; i + n <= html->len; i++) {
		if (strncasecmp(html->ptr + i, end, n) == 0) {
			*html = slice_sub(*html, i + n, html->len);
			(void)slice_cut(html, '>');
			return;
		}
	}
	*html = (struct slice){ 0 };
}

/* Behind '<'. */
static void
skip_tag(struct slice *html)
{
	if (slice_iprefix(html, "style"))
		skip_element(html, "</style");
	else if (slice_iprefix(html, "script"))
		skip_element(html, "</script");
	else if (slice_iprefix(html, "head") && html->len > 0 && (html->ptr[0] == '>' || html->ptr[0] == ' '))
		skip_element(html, "</head");
	else if (slice_prefix(html, "!--"))
		skip_element(html, "--");
	else
		(void)slice_cut(html, '>');
}

static void
put_html(struct slice html, struct buf *out)
{
	while (html.len > 0) {
		char c = html.ptr[0];

		html = slice_sub(html, 1, html.len);
		if (c == '<') {
			skip_tag(&html);
			(void)buf_char(out, ' ');
		} else if (c == '&')
			put_entity(&html, out);
		else
			(void)buf_char(out, c);
	}
}

/* Blanks and controls become one space; the last character is whole. */
static void
put_squeezed(struct slice text, struct buf *out)
{
	size_t characters = 0, begin = out->len;
	bool space = false;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c <= ' ' || c == 0x7f || (c == 0xc2 && i + 1 < text.len && (unsigned char)text.ptr[i + 1] == 0xa0)) {
			i += c == 0xc2;
			space = true;
			continue;
		}
		if ((c & 0xc0) != 0x80) {
			bool blank = space && out->len > begin;

			if (characters + (blank ? 2 : 1) > IMAP_PREVIEW_CHARACTERS)
				return;
			if (blank)
				(void)buf_char(out, ' ');
			characters += blank ? 2 : 1;
			space = false;
		}
		(void)buf_char(out, (char)c);
	}
}

void
imap_preview(const struct mime *m, struct buf *out)
{
	const struct mime_part *p = find_text(m);
	struct buf octets, charset, utf8, text;

	if (p == NULL)
		return;
	buf_init(&octets, 4 * SOURCE_MAX);
	buf_init(&charset, 256);
	buf_init(&utf8, 16 * SOURCE_MAX);
	buf_init(&text, 16 * SOURCE_MAX);
	(void)mime_decode(p->encoding, slice_sub(p->body, 0, SOURCE_MAX), &octets);
	if (!mime_param_utf8(p->type_params, "charset", &charset) || slice_ieq(buf_slice_of(&charset), "us-ascii") ||
	    !mime_to_utf8(buf_slice_of(&charset), buf_slice_of(&octets), &utf8))
		(void)mime_to_utf8(SLICE("UTF-8"), buf_slice_of(&octets), &utf8);
	if (slice_ieq(p->subtype, "html")) {
		put_html(buf_slice_of(&utf8), &text);
		put_squeezed(buf_slice_of(&text), out);
	} else
		put_squeezed(buf_slice_of(&utf8), out);
	buf_clear(&octets);
	buf_clear(&charset);
	buf_clear(&utf8);
	buf_clear(&text);
}
