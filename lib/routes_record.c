#include "routes_record.h"

static bool
put_number(struct buf *out, uint64_t n, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		(void)buf_char(out, (char)((n >> (8 * i)) & 0xff));
	return !out->full;
}

static bool
get_number(struct slice *from, unsigned octets, uint64_t *n)
{
	*n = 0;
	if (from->len < octets)
		return false;
	for (unsigned i = 0; i < octets; i++)
		*n |= (uint64_t)(unsigned char)from->ptr[i] << (8 * i);
	*from = slice_sub(*from, octets, from->len);
	return true;
}

static bool
get_u32(struct slice *from, uint32_t *n)
{
	uint64_t wide;

	if (!get_number(from, 4, &wide))
		return false;
	*n = (uint32_t)wide;
	return true;
}

static bool
put_text(struct buf *out, struct slice text)
{
	if (text.len > UINT32_MAX)
		return false;
	return put_number(out, text.len, 4) && buf_slice(out, text);
}

static bool
get_text(struct slice *from, struct slice *text)
{
	uint32_t len;

	if (!get_u32(from, &len) || len > from->len)
		return false;
	*text = slice_sub(*from, 0, len);
	*from = slice_sub(*from, len, from->len);
	return true;
}

void
route_put_u32(char out[4], uint32_t n)
{
	for (unsigned i = 0; i < 4; i++)
		out[i] = (char)((n >> (8 * i)) & 0xff);
}

bool
route_record_put(struct buf *out, const struct route_record *r)
{
	bool ok = put_number(out, r->flags, 1);

	if (r->flags & ROUTE_HAS_MAILBOX)
		ok = ok && put_number(out, r->uid, 4) && put_number(out, r->gid, 4) &&
		    put_number(out, r->quota, 8) && put_text(out, r->home) &&
		    put_number(out, r->mailbox_file, 4) && put_number(out, r->mailbox_line, 4);
	if (r->flags & ROUTE_HAS_ALIAS)
		ok = ok && put_text(out, r->owner) && put_text(out, r->targets) &&
		    put_number(out, r->alias_file, 4) && put_number(out, r->alias_line, 4);
	return ok;
}

bool
route_record_get(struct slice data, struct route_record *out)
{
	uint64_t flags;

	*out = (struct route_record){ 0 };
	if (!get_number(&data, 1, &flags) || flags == 0 || (flags & ~(uint64_t)ROUTE_FLAGS) != 0)
		return false;
	out->flags = (uint8_t)flags;
	if ((flags & ROUTE_HAS_MAILBOX) &&
	    !(get_u32(&data, &out->uid) && get_u32(&data, &out->gid) && get_number(&data, 8, &out->quota) &&
	    get_text(&data, &out->home) && get_u32(&data, &out->mailbox_file) && get_u32(&data, &out->mailbox_line)))
		return false;
	if ((flags & ROUTE_HAS_ALIAS) &&
	    !(get_text(&data, &out->owner) && get_text(&data, &out->targets) &&
	    get_u32(&data, &out->alias_file) && get_u32(&data, &out->alias_line)))
		return false;
	return data.len == 0 && (flags & (ROUTE_HAS_MAILBOX | ROUTE_HAS_ALIAS)) != 0;
}

bool
route_target_put(struct buf *targets, enum target_kind kind, struct slice text)
{
	return text.len > 0 && put_number(targets, (uint64_t)kind, 1) && put_text(targets, text);
}

bool
routes_next_target(struct slice *targets, struct target *out)
{
	uint64_t kind;

	if (!get_number(targets, 1, &kind) || kind > TARGET_INCLUDE ||
	    !get_text(targets, &out->text) || out->text.len == 0) {
		*targets = slice_sub(*targets, targets->len, 0);
		return false;
	}
	out->kind = (enum target_kind)kind;
	return true;
}
