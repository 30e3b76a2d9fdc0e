/* mime_search: is a text in a message, after all encodings are undone (RFC 3501 section 6.4.4). */
#include <stdlib.h>
#include <string.h>
#include <unicase.h>
#include <unistr.h>

#include "mime.h"

#define WINDOW		(256 * 1024)	/* octets of a body decoded at a time */
#define VALUE_MAX	(4 * MIME_HEADER_MAX)

bool
mime_key_init(struct mime_key *key, struct slice utf8)
{
	*key = (struct mime_key){ 0 };
	if (u8_check((const uint8_t *)utf8.ptr, utf8.len) != NULL)
		return false;
	key->text = (char *)u8_casefold((const uint8_t *)utf8.ptr, utf8.len, NULL, NULL, NULL, &key->len);
	return key->text != NULL;
}

void
mime_key_clear(struct mime_key *key)
{
	free(key->text);
	*key = (struct mime_key){ 0 };
}

/* Folded text holds the key. */
static bool
found(const struct mime_key *key, const char *text, size_t len)
{
	return key->len == 0 || (len >= key->len && memmem(text, len, key->text, key->len) != NULL);
}

bool
mime_match(const struct mime_key *key, struct slice utf8)
{
	size_t len = 0;
	uint8_t *folded;
	bool yes;

	if (key->len == 0)
		return true;
	if (utf8.len == 0)
		return false;
	folded = u8_casefold((const uint8_t *)utf8.ptr, utf8.len, NULL, NULL, NULL, &len);
	yes = folded != NULL && found(key, (const char *)folded, len);
	free(folded);
	return yes;
}

static bool
match_value(const struct mime_key *key, const struct mime_field *f, bool with_name)
{
	struct buf text;
	bool yes;

	buf_init(&text, VALUE_MAX);
	if (with_name) {
		(void)mime_to_utf8(SLICE("UTF-8"), f->name, &text);
		(void)buf_text(&text, ": ");
	}
	(void)mime_value_utf8(slice_trim(f->value), &text);
	yes = mime_match(key, buf_slice_of(&text));
	buf_clear(&text);
	return yes;
}

bool
mime_match_field(const struct mime_key *key, struct slice header, struct slice name)
{
	struct mime_field f;

	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (int i = 0; i < MIME_FIELDS_MAX && mime_field_next(&header, false, &f); i++)
		if (f.name.len == name.len && strncasecmp(f.name.ptr, name.ptr, name.len) == 0 &&
		    (key->len == 0 || match_value(key, &f, false)))
			return true;
	return false;
}

bool
mime_match_header(const struct mime_key *key, struct slice header)
{
	struct mime_field f;

	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (int i = 0; i < MIME_FIELDS_MAX && mime_field_next(&header, false, &f); i++)
		if (match_value(key, &f, true))
			return true;
	return false;
}

/* Octets of text to decode next: whole lines, and for base64 whole quanta. */
static size_t
window(enum mime_encoding encoding, struct slice text)
{
	size_t n = text.len < WINDOW ? text.len : WINDOW, letters = 0;

	if (n == text.len)
		return n;
	if (encoding != MIME_BASE64) {
		size_t end = slice_rfind(slice_sub(text, 0, n), '\n');

		return end == n ? n : end + 1;
	}
	for (size_t i = 0; i < n; i++)
		letters += text.ptr[i] != '\r' && text.ptr[i] != '\n' && text.ptr[i] != ' ';
	while (n > 1 && letters % 4 != 0) {
		n--;
		letters -= text.ptr[n] != '\r' && text.ptr[n] != '\n' && text.ptr[n] != ' ';
	}
	return n;
}

/* The end of what was searched that the key may begin in: so much goes before the next window. */
static void
keep_tail(struct buf *text, size_t most)
{
	if (text->len > most)
		buf_skip(text, text->len - most);
	while (text->len > 0 && ((unsigned char)text->ptr[0] & 0xc0) == 0x80)
		buf_skip(text, 1);	/* not in the middle of a character */
}

static bool
match_text_part(const struct mime_key *key, const struct mime_part *p)
{
	struct buf charset, octets, text;
	struct slice rest = p->body;
	bool yes = false;

	buf_init(&charset, 100);
	buf_init(&octets, 2 * WINDOW);
	buf_init(&text, 16 * WINDOW + 8 * key->len);
	if (!mime_param_utf8(p->type_params, "charset", &charset) || !mime_charset_known(buf_slice_of(&charset))) {
		buf_reset(&charset);
		(void)buf_text(&charset, "UTF-8");
	}
	while (rest.len > 0 && !yes) {
		size_t n = window(p->encoding, rest);

		buf_reset(&octets);
		(void)mime_decode(p->encoding, slice_sub(rest, 0, n), &octets);
		rest = slice_sub(rest, n, rest.len);
		(void)mime_to_utf8(buf_slice_of(&charset), buf_slice_of(&octets), &text);
		text.full = false;
		yes = mime_match(key, buf_slice_of(&text));
		/* Folding may make it shorter: four octets for each of the key are enough. */
		keep_tail(&text, 4 * key->len);
	}
	buf_clear(&charset);
	buf_clear(&octets);
	buf_clear(&text);
	return yes;
}

bool
mime_match_body(const struct mime_key *key, const struct mime *m)
{
	if (key->len == 0)
		return true;
	for (uint32_t i = 0; i < m->n; i++) {
		const struct mime_part *p = &m->part[i];

		if (i > 0 && mime_match_header(key, p->header))
			return true;
		if (p->kind == MIME_LEAF && (slice_ieq(p->type, "text") || slice_ieq(p->type, "message")) && match_text_part(key, p))
			return true;
	}
	return false;
}
