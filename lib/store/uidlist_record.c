/* uidlist_record.c: the records of an index, bytes to values and back.  Pure; numbers are little-endian.
 *
 *	0  u32  CRC-32C of octets 4 and up, begun with the file's seed
 *	4  u16  length of the record, a multiple of 8
 *	6  u8   type
 *	7  u8   bit 0: content was synced by us; bit 1: it is tagged
 *	8  u32  uid
 *	12 u32  UIDNEXT after this record
 *	16      payload, then zeros
 *	-36     if tagged and an ADD: i64 saved, u64 object
 *	-20     if tagged: u32 upper, u32 lower, u64 modseq
 *	-4 u16  length again, u16 0x5050: to find the last record from the end
 */
#include <endian.h>
#include <string.h>

#include "crc32c.h"
#include "uidlist.h"
#include "uidlist_int.h"

#define MARK 0x5050

static uint64_t
get64(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

uint32_t
uidlist_get32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint16_t
get16(const char *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static void
set64(char *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

void
uidlist_set32(char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void
set16(char *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

/* The length that a record's trailer (its last 4 octets) claims, or 0. */
size_t
uidlist_trailer(const char *p)
{
	size_t len = get16(p);

	if (get16(p + 2) != MARK || len < UIDLIST_RECORD_MIN || len > UIDLIST_RECORD_MAX || len % 8 != 0)
		return 0;
	return len;
}

#define STAMP_OCTETS 24

static bool
parse_stamps(struct slice p, struct uidlist_stamp stamp[2])
{
	if (p.len < 2 * STAMP_OCTETS)
		return false;
	for (size_t i = 0; i < 2; i++, p.ptr += STAMP_OCTETS) {
		stamp[i].sec = (int64_t)get64(p.ptr);
		stamp[i].nsec = uidlist_get32(p.ptr + 8);
		stamp[i].ino = get64(p.ptr + 16);
	}
	return true;
}

static bool
parse_payload(struct slice p, struct uidlist_record *r)
{
	size_t name_len;

	switch (r->type) {
	case UIDLIST_ADD:
		if (p.len < 25)
			return false;
		r->when = (int64_t)get64(p.ptr);
		r->size = get64(p.ptr + 8);
		r->crlf_size = get64(p.ptr + 16);
		name_len = (unsigned char)p.ptr[24];
		r->name = slice_sub(p, 25, name_len);
		return name_len > 0 && r->name.len == name_len;
	case UIDLIST_GONE:
		if (p.len < 8)
			return false;
		r->when = (int64_t)get64(p.ptr);
		return true;
	case UIDLIST_SIZE:
		if (p.len < 8)
			return false;
		r->crlf_size = get64(p.ptr);
		return true;
	case UIDLIST_UIDL:
		name_len = p.len > 0 ? (unsigned char)p.ptr[0] : 0;
		r->past = slice_sub(p, 1, name_len);
		return name_len > 0 && r->past.len == name_len;
	case UIDLIST_PAST:
	case UIDLIST_VANISHED:
		r->past = p;
		return true;
	case UIDLIST_SYNC:
		return parse_stamps(p, r->stamp);
	case UIDLIST_FLAGS:
	case UIDLIST_RECENT:
	case UIDLIST_NEXT:
		return true;
	}
	return true;	/* of a newer version: known to be whole, passed over */
}

#define SYNCED		1
#define TAGGED		2
#define TAGS		16	/* octets */
#define TAGS_ADD	32

/* Take them off the payload's end. */
static bool
parse_tags(struct slice *payload, struct uidlist_record *r)
{
	size_t len = r->type == UIDLIST_ADD ? TAGS_ADD : TAGS;
	const char *p;

	if (payload->len < len)
		return false;
	payload->len -= len;
	p = payload->ptr + payload->len;
	if (r->type == UIDLIST_ADD) {
		r->saved = (int64_t)get64(p);
		r->object = get64(p + 8);
		p += TAGS_ADD - TAGS;
	}
	r->upper = uidlist_get32(p);
	r->lower = uidlist_get32(p + 4) & UIDLIST_LETTERS;
	r->modseq = get64(p + 8);
	return r->modseq != 0 && r->modseq <= INT64_MAX;
}

size_t
uidlist_parse(uint32_t seed, struct slice bytes, struct uidlist_record *out)
{
	struct slice payload;
	size_t len;

	*out = (struct uidlist_record){ .modseq = 1 };
	if (bytes.len < UIDLIST_RECORD_MIN)
		return 0;
	len = get16(bytes.ptr + 4);
	if (len < UIDLIST_RECORD_MIN || len > UIDLIST_RECORD_MAX || len % 8 != 0 || len > bytes.len)
		return 0;
	if (uidlist_trailer(bytes.ptr + len - 4) != len ||
	    crc32c(seed, bytes.ptr + 4, len - 4) != uidlist_get32(bytes.ptr))
		return 0;
	out->type = (unsigned char)bytes.ptr[6];
	out->synced = (bytes.ptr[7] & SYNCED) != 0;
	out->tagged = (bytes.ptr[7] & TAGGED) != 0;
	out->uid = uidlist_get32(bytes.ptr + 8);
	out->uidnext = uidlist_get32(bytes.ptr + 12);
	payload = slice_sub(bytes, 16, len - 20);
	if ((out->tagged && !parse_tags(&payload, out)) || !parse_payload(payload, out))
		return 0;
	return len;
}

/* Append a record with payload_len octets of payload, to be filled in at the pointer
 * returned (NULL: b is full); then uidlist_seal(). */
static char *
begin(struct buf *b, const struct uidlist *u, enum uidlist_type type, uint32_t uid, size_t payload_len)
{
	size_t len = (16 + payload_len + 4 + 7) / 8 * 8;
	char *p = buf_room(b, len);

	if (p == NULL)
		return NULL;
	memset(p, 0, len);
	set16(p + 4, (uint16_t)len);
	p[6] = (char)type;
	uidlist_set32(p + 8, uid);
	uidlist_set32(p + 12, u->uidnext);
	set16(p + len - 4, (uint16_t)len);
	set16(p + len - 2, MARK);
	buf_add(b, len);
	return p;
}

static void
seal(const struct uidlist *u, char *record)
{
	size_t len = get16(record + 4);

	uidlist_set32(record, crc32c(u->seed, record + 4, len - 4));
}

void
uidlist_put_record(const struct uidlist *u, struct buf *b, const struct uidlist_record *r)
{
	bool add = r->type == UIDLIST_ADD, uidl = r->type == UIDLIST_UIDL;
	size_t len = add ? 25 + r->name.len + TAGS_ADD : (r->past.len > 0 ? uidl + r->past.len : 8) + TAGS;
	char *p = begin(b, u, r->type, r->uid, len), *tags;

	if (p == NULL)
		return;
	p[7] = (char)((r->synced ? SYNCED : 0) | TAGGED);
	tags = b->ptr + b->len - 4 - TAGS;
	uidlist_set32(tags, r->upper);
	uidlist_set32(tags + 4, r->lower);
	set64(tags + 8, r->modseq != 0 ? r->modseq : u->modseq);
	if (add) {
		set64(tags - 16, (uint64_t)r->saved);
		set64(tags - 8, r->object);
		set64(p + 16, (uint64_t)r->when);
		set64(p + 24, r->size);
		set64(p + 32, r->crlf_size);
		p[40] = (char)r->name.len;
		memcpy(p + 41, r->name.ptr, r->name.len);
	} else if (r->past.len > 0) {
		p[16] = (char)(uidl ? r->past.len : 0);
		memcpy(p + 16 + uidl, r->past.ptr, r->past.len);
	} else {
		set64(p + 16, r->type == UIDLIST_SIZE ? r->crlf_size : (uint64_t)r->when);
	}
	seal(u, p);
}

uint32_t
uidlist_put_new(struct uidlist *u, struct buf *b, const struct uidlist_record *r)
{
	struct uidlist_record add = *r;

	add.type = UIDLIST_ADD;
	add.uid = u->uidnext++;
	uidlist_put_record(u, b, &add);
	return add.uid;
}

void
uidlist_put_flags(struct uidlist *u, struct buf *b, uint32_t uid, uint32_t upper, uint32_t lower, uint64_t modseq)
{
	uidlist_put_record(u, b, &(struct uidlist_record){
	    .type = UIDLIST_FLAGS, .uid = uid, .upper = upper, .lower = lower, .modseq = modseq });
}

void
uidlist_put_sync(struct uidlist *u, struct buf *b, const struct uidlist_stamp stamp[2])
{
	char octets[2 * STAMP_OCTETS] = { 0 }, *p = octets;

	for (size_t i = 0; i < 2; i++, p += STAMP_OCTETS) {
		set64(p, (uint64_t)stamp[i].sec);
		uidlist_set32(p + 8, stamp[i].nsec);
		set64(p + 16, stamp[i].ino);
	}
	uidlist_put_record(u, b, &(struct uidlist_record){
	    .type = UIDLIST_SYNC, .past = slice_make(octets, sizeof(octets)) });
}

uint32_t
uidlist_put_add(struct uidlist *u, struct buf *b, struct slice base, int64_t date,
    uint64_t size, uint64_t crlf_size, bool synced)
{
	return uidlist_put_new(u, b, &(struct uidlist_record){
	    .synced = synced, .when = date, .size = size, .crlf_size = crlf_size, .name = base });
}

void
uidlist_put_gone(struct uidlist *u, struct buf *b, uint32_t uid, int64_t when)
{
	uidlist_put_record(u, b, &(struct uidlist_record){ .type = UIDLIST_GONE, .uid = uid, .when = when });
}

void
uidlist_put_recent(struct uidlist *u, struct buf *b, uint32_t uid)
{
	uidlist_put_record(u, b, &(struct uidlist_record){ .type = UIDLIST_RECENT, .uid = uid });
}

void
uidlist_put_size(struct uidlist *u, struct buf *b, uint32_t uid, uint64_t crlf_size)
{
	uidlist_put_record(u, b, &(struct uidlist_record){
	    .type = UIDLIST_SIZE, .uid = uid, .crlf_size = crlf_size });
}

/* Elements of PAST and of VANISHED. */
#define PAST_OCTETS 16

bool
uidlist_past_next(struct slice *past, struct uidlist_past *out)
{
	if (past->len < PAST_OCTETS)
		return false;
	out->qid = get64(past->ptr);
	out->rcpt = uidlist_get32(past->ptr + 8);
	out->day = uidlist_get32(past->ptr + 12);
	*past = slice_sub(*past, PAST_OCTETS, past->len);
	return out->qid != 0;
}

void
uidlist_put_past(struct buf *packed, const struct uidlist_past *p)
{
	char octets[PAST_OCTETS];

	set64(octets, p->qid);
	uidlist_set32(octets + 8, p->rcpt);
	uidlist_set32(octets + 12, p->day);
	(void)buf_put(packed, octets, sizeof(octets));
}

bool
uidlist_vanished_next(struct slice *packed, struct uidlist_vanished *out)
{
	if (packed->len < PAST_OCTETS)
		return false;
	out->from = uidlist_get32(packed->ptr);
	out->n = uidlist_get32(packed->ptr + 4);
	out->modseq = get64(packed->ptr + 8);
	*packed = slice_sub(*packed, PAST_OCTETS, packed->len);
	return out->modseq != 0;
}

void
uidlist_put_vanished(struct buf *packed, const struct uidlist_vanished *v)
{
	char octets[PAST_OCTETS];

	uidlist_set32(octets, v->from);
	uidlist_set32(octets + 4, v->n);
	set64(octets + 8, v->modseq);
	(void)buf_put(packed, octets, sizeof(octets));
}

void
uidlist_put_header(const struct uidlist *u, char out[UIDLIST_HEADER])
{
	memset(out, 0, UIDLIST_HEADER);
	memcpy(out, UIDLIST_MAGIC, 8);
	uidlist_set32(out + 8, u->uidvalidity);
	uidlist_set32(out + 12, u->uidnext);
	uidlist_set32(out + 16, u->seed);
	uidlist_set32(out + 20, u->recent);
	uidlist_set32(out + 24, u->id);
	uidlist_set32(out + 28, crc32c(0, out, 28));
}

bool
uidlist_get_header(struct uidlist *u, const char in[UIDLIST_HEADER])
{
	if (memcmp(in, UIDLIST_MAGIC, 8) != 0 || uidlist_get32(in + 28) != crc32c(0, in, 28))
		return false;
	u->uidvalidity = uidlist_get32(in + 8);
	u->uidnext = uidlist_get32(in + 12);
	u->seed = uidlist_get32(in + 16);
	u->recent = uidlist_get32(in + 20);
	u->id = uidlist_get32(in + 24);
	return u->uidvalidity != 0 && u->uidnext != 0;
}
