#include "queue_record.h"

#include <string.h>

#include "crc32c.h"

#define SEGMENT_MAGIC		"PPSPOOL\n"
#define HEADER_IS_TRACE		1u

/* ---- numbers and slices ---- */

static void
store(char *at, uint64_t n, size_t octets)
{
	for (size_t i = 0; i < octets; i++)
		at[i] = (char)(unsigned char)(n >> (8 * i));
}

static uint64_t
fetch(const char *at, size_t octets)
{
	uint64_t n = 0;

	for (size_t i = 0; i < octets; i++)
		n |= (uint64_t)(unsigned char)at[i] << (8 * i);
	return n;
}

static bool
put_number(struct buf *out, uint64_t n, size_t octets, uint64_t max)
{
	char raw[8];

	if (n > max)
		return false;
	store(raw, n, octets);
	return buf_put(out, raw, octets);
}

static bool
get_number(struct slice *in, uint64_t *n, size_t octets, uint64_t max)
{
	if (in->len < octets)
		return false;
	*n = fetch(in->ptr, octets);
	in->ptr += octets;
	in->len -= octets;
	return *n <= max;
}

static bool
put_slice(struct buf *out, struct slice s, uint64_t max)
{
	return s.len <= max && put_number(out, s.len, 4, UINT32_MAX) && buf_slice(out, s);
}

static bool
get_slice(struct slice *in, struct slice *s, uint64_t max)
{
	uint64_t len;

	if (!get_number(in, &len, 4, max) || len > in->len)
		return false;
	*s = slice_make(in->ptr, (size_t)len);
	in->ptr += len;
	in->len -= (size_t)len;
	return true;
}

#define NUMBER(type, ctype, octets)						\
	static bool								\
	put_##type(struct buf *out, ctype v, uint64_t max)			\
	{									\
		return put_number(out, v, octets, max);				\
	}									\
	static bool								\
	get_##type(struct slice *in, ctype *v, uint64_t max)			\
	{									\
		uint64_t n = 0;							\
		bool ok = get_number(in, &n, octets, max);			\
										\
		*v = (ctype)n;							\
		return ok;							\
	}
NUMBER(u8, uint8_t, 1)
NUMBER(u16, uint16_t, 2)
NUMBER(u32, uint32_t, 4)
NUMBER(u64, uint64_t, 8)

/* ---- bodies and elements ---- */

#define PUT_FIELD(type, name, limit, meaning)	ok = ok && put_##type(out, m->name, limit);
#define GET_FIELD(type, name, limit, meaning)	ok = ok && get_##type(&body, &m->name, limit);
#define DEFINE_RECORD(name, number, FIELDS)					\
	bool									\
	record_put_##name(struct buf *out, const struct record_##name *m)	\
	{									\
		bool ok = true;							\
										\
		FIELDS(PUT_FIELD)						\
		return ok && !out->full && out->len <= RECORD_BODY_MAX;		\
	}									\
	bool									\
	record_get_##name(struct slice body, struct record_##name *m)		\
	{									\
		bool ok = true;							\
										\
		*m = (struct record_##name){ 0 };				\
		FIELDS(GET_FIELD)						\
		return ok && body.len == 0;					\
	}
RECORD_TYPES(DEFINE_RECORD)

#define NEXT_FIELD(type, name, limit, meaning)	ok = ok && get_##type(list, &m->name, limit);
#define DEFINE_ELEMENT(name, FIELDS)						\
	bool									\
	record_add_##name(struct buf *out, const struct record_##name *m)	\
	{									\
		size_t before = out->len;					\
		bool ok = true;							\
										\
		FIELDS(PUT_FIELD)						\
		if (ok && !out->full)						\
			return true;						\
		out->len = before;						\
		return false;							\
	}									\
	bool									\
	record_next_##name(struct slice *list, struct record_##name *m, bool *bad) \
	{									\
		bool ok = true;							\
										\
		*m = (struct record_##name){ 0 };				\
		if (list->len == 0)						\
			return false;						\
		FIELDS(NEXT_FIELD)						\
		if (!ok)							\
			*bad = true;						\
		return ok;							\
	}
RECORD_ELEMENTS(DEFINE_ELEMENT)

bool
record_add_u32(struct buf *list, uint32_t n)
{
	return put_number(list, n, 4, UINT32_MAX);
}

bool
record_next_u32(struct slice *list, uint32_t *n)
{
	return get_u32(list, n, UINT32_MAX);
}

bool
record_add_u64(struct buf *list, uint64_t n)
{
	return put_number(list, n, 8, UINT64_MAX);
}

bool
record_next_u64(struct slice *list, uint64_t *n)
{
	return get_u64(list, n, UINT64_MAX);
}

const char *
record_name(uint16_t type)
{
#define NAME_CASE(name, number, FIELDS)	case number: return #name;
	switch (type) {
	RECORD_TYPES(NAME_CASE)
	default:
		return "unknown";
	}
}

/* ---- the segment's header ---- */

/*
 *	0	"PPSPOOL\n"
 *	8	u32 version, u32 flags (1: trace)
 *	16	u64 seq, u64 salt, u64 first lsn, u64 made
 *	56	u32 0, u32 checksum of octets 0 to 59
 */
void
segment_header_put(const struct segment_header *h, char out[SEGMENT_HEADER])
{
	memset(out, 0, SEGMENT_HEADER);
	memcpy(out, SEGMENT_MAGIC, 8);
	store(out + 8, h->version, 4);
	store(out + 12, h->trace ? HEADER_IS_TRACE : 0, 4);
	store(out + 16, h->seq, 8);
	store(out + 24, h->salt, 8);
	store(out + 32, h->first_lsn, 8);
	store(out + 40, h->made_usec, 8);
	store(out + 60, crc32c(0, out, 60), 4);
}

bool
segment_header_get(struct slice raw, struct segment_header *h)
{
	if (raw.len < SEGMENT_HEADER || memcmp(raw.ptr, SEGMENT_MAGIC, 8) != 0 ||
	    fetch(raw.ptr + 60, 4) != crc32c(0, raw.ptr, 60))
		return false;
	*h = (struct segment_header){
		.version = (uint32_t)fetch(raw.ptr + 8, 4),
		.trace = (fetch(raw.ptr + 12, 4) & HEADER_IS_TRACE) != 0,
		.seq = fetch(raw.ptr + 16, 8),
		.salt = fetch(raw.ptr + 24, 8),
		.first_lsn = fetch(raw.ptr + 32, 8),
		.made_usec = fetch(raw.ptr + 40, 8),
	};
	return h->version != 0;
}

/* ---- the record's head ---- */

uint32_t
record_crc_start(uint64_t salt)
{
	char raw[8];

	store(raw, salt, 8);
	return crc32c(0, raw, sizeof(raw));
}

uint32_t
record_crc(uint64_t salt, struct slice part)
{
	return crc32c(record_crc_start(salt), part.ptr, part.len);
}

uint64_t
record_size(const struct record_head *h)
{
	return ((uint64_t)RECORD_HEAD + h->body_len + h->content_len + 7) & ~UINT64_C(7);
}

bool
record_head_get(struct slice raw, uint64_t salt, struct record_head *h)
{
	if (raw.len < RECORD_HEAD || fetch(raw.ptr, 4) != RECORD_MAGIC ||
	    fetch(raw.ptr + 32, 4) != record_crc(salt, slice_sub(raw, 0, 32)))
		return false;
	*h = (struct record_head){
		.type = (uint16_t)fetch(raw.ptr + 4, 2),
		.lsn = fetch(raw.ptr + 8, 8),
		.body_len = (uint32_t)fetch(raw.ptr + 16, 4),
		.content_len = (uint32_t)fetch(raw.ptr + 20, 4),
		.body_crc = (uint32_t)fetch(raw.ptr + 24, 4),
		.content_crc = (uint32_t)fetch(raw.ptr + 28, 4),
	};
	return h->body_len <= RECORD_BODY_MAX && h->content_len <= RECORD_CONTENT_MAX;
}

void
record_head_put(const struct record_head *h, uint64_t salt, char out[RECORD_HEAD])
{
	memset(out, 0, RECORD_HEAD);
	store(out, RECORD_MAGIC, 4);
	store(out + 4, h->type, 2);
	store(out + 8, h->lsn, 8);
	store(out + 16, h->body_len, 4);
	store(out + 20, h->content_len, 4);
	store(out + 24, h->body_crc, 4);
	store(out + 28, h->content_crc, 4);
	store(out + 32, record_crc(salt, slice_make(out, 32)), 4);
}

bool
record_frame(struct buf *out, uint64_t salt, uint16_t type, uint64_t lsn, struct slice body,
    struct slice content)
{
	size_t before = out->len;
	struct record_head h = { .type = type, .lsn = lsn };
	char raw[RECORD_HEAD];

	if (body.len > RECORD_BODY_MAX || content.len > RECORD_CONTENT_MAX)
		return false;
	h.body_len = (uint32_t)body.len;
	h.content_len = (uint32_t)content.len;
	h.body_crc = record_crc(salt, body);
	h.content_crc = record_crc(salt, content);
	record_head_put(&h, salt, raw);
	(void)buf_put(out, raw, sizeof(raw));
	(void)buf_slice(out, body);
	(void)buf_slice(out, content);
	if (buf_put(out, "\0\0\0\0\0\0\0", (size_t)record_size(&h) - RECORD_HEAD - body.len - content.len))
		return true;
	out->len = before;
	return false;
}
