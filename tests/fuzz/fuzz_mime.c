/* MIME: any octets have a tree whose counts are right, and everything that reads it ends. */
#include <stdint.h>
#include <stdlib.h>

#include "mime/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_part(const struct mime *m, uint32_t i)
{
	const struct mime_part *p = &m->part[i];
	struct mime_size body = mime_measure(p->body);

	if (body.octets != p->body_size.octets || body.lines != p->body_size.lines ||
	    mime_measure(p->header).octets != p->header_octets)
		abort();
	if (p->header.ptr < m->message.ptr || p->body.ptr + p->body.len > m->message.ptr + m->message.len)
		abort();
	if ((p->kind == MIME_LEAF) != (p->child == MIME_NONE) || p->type.len == 0 || p->subtype.len == 0)
		abort();
	if (p->child != MIME_NONE && (p->child <= i || m->part[p->child].parent != i))
		abort();
	if (p->next != MIME_NONE && (p->next <= i || m->part[p->next].parent != p->parent))
		abort();
}

static void
read_params(struct slice rest, struct buf *out)
{
	struct slice name, value;

	for (int n = 0; n < MIME_PARAMS_MAX && mime_param_next(&rest, &name, &value); n++) {
		buf_reset(out);
		(void)mime_unquote(value, out);
		if (name.len == 0)
			abort();
	}
}

static void
read_part(const struct mime *m, uint32_t i, struct buf *out)
{
	const struct mime_part *p = &m->part[i];
	struct slice rest = p->language, tag;

	check_part(m, i);
	read_params(p->type_params, out);
	read_params(p->disposition_params, out);
	while (mime_language_next(&rest, &tag))
		;
	buf_reset(out);
	(void)mime_param_utf8(p->type_params, "name", out);
	buf_reset(out);
	(void)mime_decode(p->encoding, p->body, out);
}

static void
read_addresses(struct slice value, struct buf *out)
{
	struct mime_addresses it;
	struct mime_address a;
	int open = 0;

	mime_addresses_init(&it, value);
	while (mime_addresses_next(&it, &a)) {
		open += (a.kind == MIME_GROUP) - (a.kind == MIME_GROUP_END);
		if (open < 0 || open > 1)
			abort();
		buf_reset(out);
		(void)mime_value_utf8(a.name, out);
	}
	if (open != 0)
		abort();
	mime_addresses_clear(&it);
}

static void
read_fields(struct slice header, struct buf *out)
{
	struct mime_field f;
	struct mime_date d;
	size_t octets = 0, len = header.len;

	while (mime_field_next(&header, true, &f)) {
		octets += f.raw.len;
		buf_reset(out);
		(void)mime_value_utf8(f.value, out);
		(void)mime_date(f.value, &d);
		read_addresses(f.value, out);
	}
	if (octets + header.len != len)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct mime_envelope e;
	struct mime_key key;
	struct buf out;
	struct mime m;

	if (!ready)
		mime_charsets_open();
	ready = true;
	if (!mime_parse(slice_make(data, size), &m))
		return 0;
	buf_init(&out, 4 * size + 4096);
	for (uint32_t i = 0; i < m.n; i++)
		read_part(&m, i, &out);
	read_fields(m.part[0].header, &out);
	mime_envelope(m.part[0].header, &e);
	if (mime_key_init(&key, SLICE("n\xc3\xa9""e"))) {
		(void)mime_match_header(&key, m.part[0].header);
		(void)mime_match_body(&key, &m);
		mime_key_clear(&key);
	}
	buf_clear(&out);
	mime_clear(&m);
	return 0;
}
