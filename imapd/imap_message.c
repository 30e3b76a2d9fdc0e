#include "imap_message.h"

#include <strings.h>

enum store_error
imap_message_open(struct imap_message *m, struct store_folder *f, uint32_t seq)
{
	uint32_t uid = store_folder_at(f, seq)->uid;
	enum store_error error;

	if (m->uid == uid)
		return STORE_OK;
	imap_message_close(m);
	error = store_content_open(f, seq, &m->content);
	if (error == STORE_OK)
		error = store_content_text(&m->content, &m->text);
	if (error != STORE_OK) {
		store_content_close(&m->content);
		*m = (struct imap_message){ 0 };
		return error;
	}
	mime_split(m->text, &m->header, &m->body);
	m->uid = uid;
	return STORE_OK;
}

void
imap_message_close(struct imap_message *m)
{
	if (m->parsed)
		mime_clear(&m->mime);
	if (m->uid != 0)
		store_content_close(&m->content);
	buf_clear(&m->binary);
	*m = (struct imap_message){ 0 };
}

const struct mime *
imap_message_mime(struct imap_message *m)
{
	if (!m->parsed)
		m->parsed = mime_parse(m->text, &m->mime);
	return m->parsed ? &m->mime : NULL;
}

static bool
is_listed(const struct imap_section *s, struct slice name)
{
	for (size_t i = 0; i < s->field_n; i++)
		if (s->field[i].len == name.len && strncasecmp(s->field[i].ptr, name.ptr, name.len) == 0)
			return true;
	return false;
}

/* HEADER.FIELDS, HEADER.FIELDS.NOT; the empty line belongs to them. */
static struct slice
pick_fields(const struct imap_section *s, struct slice header, struct buf *fields)
{
	struct mime_field field;
	bool not = s->part == PART_FIELDS_NOT;

	buf_reset(fields);
	for (size_t n = 0; n < MIME_FIELDS_MAX && mime_field_next(&header, true, &field); n++)
		if (is_listed(s, field.name) != not)
			(void)buf_slice(fields, field.raw);
	/* A last line without its end (there is no body) gets one. */
	if (fields->len > 0 && fields->ptr[fields->len - 1] != '\n')
		(void)buf_text(fields, "\r\n");
	(void)buf_text(fields, "\r\n");
	return buf_slice_of(fields);
}

/* Header and body that HEADER, TEXT and the like of this part are about. */
static bool
find_part(struct imap_message *m, const struct imap_section *s, struct slice *header, struct slice *body)
{
	const struct mime *mime;
	uint32_t at;

	if (s->number_n == 0) {
		*header = m->header;
		*body = m->body;
		return true;
	}
	mime = imap_message_mime(m);
	if (mime == NULL)
		return false;
	at = mime_part_at(mime, s->number, s->number_n);
	if (at == MIME_NONE)
		return false;
	if (s->part != PART_ALL && s->part != PART_MIME) {
		if (mime->part[at].kind != MIME_MESSAGE || mime->part[at].child == MIME_NONE)
			return false;
		at = mime->part[at].child;
	}
	*header = mime->part[at].header;
	*body = mime->part[at].body;
	return true;
}

bool
imap_message_section(struct imap_message *m, const struct imap_section *s, struct buf *fields, struct slice *out)
{
	struct slice header, body;

	if (!find_part(m, s, &header, &body))
		return false;
	switch (s->part) {
	case PART_ALL:
		*out = s->number_n == 0 ? m->text : body;
		break;
	case PART_HEADER:
	case PART_MIME:
		*out = header;
		break;
	case PART_TEXT:
		*out = body;
		break;
	case PART_FIELDS:
	case PART_FIELDS_NOT:
		*out = pick_fields(s, header, fields);
		break;
	}
	return true;
}

static const struct mime_part *
binary_part(struct imap_message *m, const struct imap_section *s, uint32_t *at)
{
	const struct mime *mime = imap_message_mime(m);

	*at = mime == NULL ? MIME_NONE : mime_part_at(mime, s->number, s->number_n);
	return *at == MIME_NONE ? NULL : &mime->part[*at];
}

bool
imap_message_decodable(struct imap_message *m, const struct imap_section *s)
{
	const struct mime_part *p;
	uint32_t at;

	if (s->number_n == 0)
		return true;
	p = binary_part(m, s, &at);
	return p == NULL || p->kind != MIME_LEAF || p->encoding != MIME_OTHER;
}

enum store_error
imap_message_binary(struct imap_message *m, const struct imap_section *s, struct slice *out)
{
	const struct mime_part *p;
	uint32_t at;

	if (s->number_n == 0) {
		*out = m->text;
		return STORE_OK;
	}
	p = binary_part(m, s, &at);
	if (p == NULL)
		return STORE_NONEXISTENT;
	*out = p->body;
	if (p->kind != MIME_LEAF || (p->encoding != MIME_BASE64 && p->encoding != MIME_QUOTED_PRINTABLE))
		return p->kind == MIME_LEAF && p->encoding == MIME_OTHER ? STORE_CANNOT : STORE_OK;
	if (m->binary_part != at + 1) {
		m->binary_part = 0;
		buf_clear(&m->binary);
		buf_init(&m->binary, p->body.len + 64);
		if (!mime_decode(p->encoding, p->body, &m->binary))
			return STORE_MEMORY;
		m->binary_part = at + 1;
	}
	*out = buf_slice_of(&m->binary);
	return STORE_OK;
}

/* ---- from the cache ---- */

bool
imap_message_is_cached(const struct imap_section *s)
{
	if (s->number_n > 0 || s->part != PART_FIELDS || s->spelling != SPELL_BODY)
		return false;
	for (size_t i = 0; i < s->field_n; i++)
		if (!store_header_cached(s->field[i]))
			return false;
	return true;
}

bool
imap_message_cached_section(struct imap_message *m, struct store_folder *f, uint32_t seq,
    const struct imap_section *s, struct buf *fields, struct slice *out)
{
	struct slice header;

	if (imap_message_is_cached(s) && store_message_cached(f, seq, STORE_CACHED_HEADERS, &header, NULL)) {
		*out = pick_fields(s, header, fields);
		return true;
	}
	return imap_message_open(m, f, seq) == STORE_OK && imap_message_section(m, s, fields, out);
}

enum store_error
imap_message_header(struct imap_message *m, struct store_folder *f, uint32_t seq, struct slice name,
    struct slice *header, size_t *octets)
{
	enum store_error error;

	if (octets != NULL)
		*octets = 0;
	if (m->uid != store_folder_at(f, seq)->uid && store_header_cached(name) &&
	    store_message_cached(f, seq, STORE_CACHED_HEADERS, header, octets))
		return STORE_OK;
	error = imap_message_open(m, f, seq);
	*header = m->header;
	return error;
}
