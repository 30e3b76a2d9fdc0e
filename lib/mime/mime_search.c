/* mime_search.c: a text in a header or a body, without regard to case and encoding. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistr.h>

#include "mime_int.h"

#define PIECE		(128 * 1024)	/* octets of a body that are decoded at a time */
#define WORK_MAX	(8 * PIECE)

#define GROWTH		12	/* octets that one octet becomes at most: U+FDFA, 3 octets, becomes 33 */

/* ---- keys ---- */

bool
mime_key_init(struct mime_key *key, struct slice utf8)
{
	struct buf folded;

	*key = (struct mime_key){ 0 };
	if (u8_check((const uint8_t *)utf8.ptr, utf8.len) != NULL)
		return false;
	buf_init(&folded, GROWTH * utf8.len + 16);
	if (!mime_casemap(utf8, true, &folded)) {
		buf_clear(&folded);
		return false;
	}
	key->text = folded.ptr;
	key->len = folded.len;
	return true;
}

void
mime_key_clear(struct mime_key *key)
{
	free(key->text);
	*key = (struct mime_key){ 0 };
}

static bool
is_in(const struct mime_key *key, const struct buf *folded)
{
	return key->len == 0 || (folded->len >= key->len && memmem(folded->ptr, folded->len, key->text, key->len) != NULL);
}

bool
mime_match(const struct mime_key *key, struct slice utf8)
{
	struct buf folded;
	bool found;

	buf_init(&folded, GROWTH * utf8.len + 16);
	found = key->len == 0 || (mime_casemap(utf8, true, &folded) && is_in(key, &folded));
	buf_clear(&folded);
	return found;
}

/* ---- headers ---- */

static bool
match_value(const struct mime_key *key, struct slice value, struct buf *text)
{
	buf_reset(text);
	return mime_value_utf8(value, text) && mime_match(key, buf_slice_of(text));
}

bool
mime_match_field(const struct mime_key *key, struct slice header, struct slice name)
{
	struct mime_field field;
	struct buf text;
	char wanted[256];
	bool found = false;

	if (!slice_text(name, wanted, sizeof(wanted)))
		return false;
	buf_init(&text, 4 * MIME_HEADER_MAX);
	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (size_t n = 0; n < MIME_FIELDS_MAX && !found && mime_field_next(&header, true, &field); n++)
		found = slice_ieq(field.name, wanted) && (key->len == 0 || match_value(key, field.value, &text));
	buf_clear(&text);
	return found;
}

bool
mime_match_header(const struct mime_key *key, struct slice header)
{
	struct mime_field field;
	struct buf text;
	bool found = key->len == 0;

	buf_init(&text, 4 * MIME_HEADER_MAX);
	header = slice_sub(header, 0, MIME_HEADER_MAX);
	for (size_t n = 0; n < MIME_FIELDS_MAX && !found && mime_field_next(&header, true, &field); n++) {
		buf_reset(&text);
		(void)buf_slice(&text, field.name);
		(void)buf_text(&text, ": ");
		found = mime_value_utf8(field.value, &text) && mime_match(key, buf_slice_of(&text));
	}
	buf_clear(&text);
	return found;
}

/* ---- bodies ---- */

struct body_search {
	const struct mime_key	*key;
	struct mime_base64	 base64;
	struct mime_converter	 converter;
	struct buf		 octets, utf8, folded;
};

/* The front of *rest, up to a line end where there is one in reach. */
static struct slice
take_piece(struct slice *rest)
{
	struct slice piece = slice_sub(*rest, 0, PIECE);
	size_t lf = piece.len == rest->len ? piece.len : slice_rfind(piece, '\n');

	piece = slice_sub(piece, 0, lf + 1);
	*rest = slice_sub(*rest, piece.len, rest->len);
	return piece;
}

static bool
search_piece(struct body_search *b, enum mime_encoding encoding, struct slice piece, bool last)
{
	size_t keep = b->key->len - 1;

	buf_reset(&b->octets);
	buf_reset(&b->utf8);
	if (encoding == MIME_BASE64)
		(void)mime_base64_put(&b->base64, piece, &b->octets);
	else if (encoding == MIME_QUOTED_PRINTABLE)
		(void)mime_qp_put(piece, false, &b->octets);
	if (encoding == MIME_BASE64 || encoding == MIME_QUOTED_PRINTABLE)
		piece = buf_slice_of(&b->octets);
	(void)mime_converter_put(&b->converter, piece, last, &b->utf8);
	/* What may be the begin of a match that ends in this piece. */
	if (b->folded.len > keep)
		buf_skip(&b->folded, b->folded.len - keep);
	return mime_casemap(buf_slice_of(&b->utf8), true, &b->folded) && is_in(b->key, &b->folded);
}

static bool
match_part(struct body_search *b, const struct mime_part *p)
{
	struct slice rest = p->body;
	struct buf charset;
	bool found = false;

	buf_init(&charset, 256);
	if (!mime_param_utf8(p->type_params, "charset", &charset) ||
	    !mime_converter_init(&b->converter, buf_slice_of(&charset)) ||
	    slice_ieq(buf_slice_of(&charset), "us-ascii"))
		(void)mime_converter_init(&b->converter, SLICE("UTF-8"));	/* what it most likely is */
	buf_clear(&charset);
	b->base64 = (struct mime_base64){ 0 };
	buf_reset(&b->folded);
	while (rest.len > 0 && !found) {
		struct slice piece = take_piece(&rest);

		found = search_piece(b, p->encoding, piece, rest.len == 0);
	}
	return found;
}

bool
mime_match_body(const struct mime_key *key, const struct mime *m)
{
	struct body_search b = { .key = key };
	bool found = key->len == 0;

	buf_init(&b.octets, WORK_MAX);
	buf_init(&b.utf8, WORK_MAX);
	buf_init(&b.folded, GROWTH * WORK_MAX + 2 * key->len);
	for (uint32_t i = 0; i < m->n && !found; i++) {
		const struct mime_part *p = &m->part[i];

		if (i > 0)
			found = mime_match_header(key, p->header);
		if (!found && p->kind == MIME_LEAF && (slice_ieq(p->type, "text") || slice_ieq(p->type, "message")))
			found = match_part(&b, p);
	}
	buf_clear(&b.octets);
	buf_clear(&b.utf8);
	buf_clear(&b.folded);
	return found;
}
