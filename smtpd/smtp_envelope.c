#include "smtp_envelope.h"

#include <stdlib.h>

#define RCPT_OCTETS	352	/* one packed element at most, our fields */
#define SEEN_FIRST	16

void
smtp_envelope_init(struct smtp_envelope *e, size_t rcpts_max)
{
	*e = (struct smtp_envelope){ 0 };
	buf_init(&e->rcpts, rcpts_max * RCPT_OCTETS);
}

void
smtp_envelope_clear(struct smtp_envelope *e)
{
	size_t cap = e->rcpts.cap;

	buf_clear(&e->rcpts);
	free(e->seen);
	*e = (struct smtp_envelope){ 0 };
	buf_init(&e->rcpts, cap);
}

/* FNV-1a; equal hashes are compared, so it need not withstand anybody. */
static uint64_t
hash(struct slice s)
{
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
	return h;
}

static struct slice
address_at(const struct smtp_envelope *e, size_t offset)
{
	struct slice list = slice_sub(buf_slice_of(&e->rcpts), offset, e->rcpts.len);
	struct ipc_rcpt rcpt;
	bool bad = false;

	return ipc_next_rcpt(&list, &rcpt, &bad) ? rcpt.addr : SLICE("");
}

/* The slot of this address: the one that holds it, or the free one where it would go. */
static uint32_t *
slot_of(struct smtp_envelope *e, struct slice address)
{
	size_t at = (size_t)hash(address) & (e->seen_size - 1);

	while (e->seen[at] != 0 && !slice_eq(address_at(e, e->seen[at] - 1), address))
		at = (at + 1) & (e->seen_size - 1);
	return &e->seen[at];
}

/* Make room for one more, at most half full. */
static bool
grow(struct smtp_envelope *e)
{
	uint32_t *old = e->seen, *fresh;
	size_t old_size = e->seen_size, size = old_size == 0 ? SEEN_FIRST : old_size * 2;

	if (e->rcpt_n * 2 < old_size)
		return true;
	fresh = calloc(size, sizeof(*fresh));
	if (fresh == NULL)
		return false;
	e->seen = fresh;
	e->seen_size = size;
	for (size_t i = 0; i < old_size; i++)
		if (old[i] != 0)
			*slot_of(e, address_at(e, old[i] - 1)) = old[i];
	free(old);
	return true;
}

bool
smtp_envelope_add(struct smtp_envelope *e, const struct addr *rcpt, enum ipc_hint hint)
{
	const struct ipc_rcpt element = { .addr = addr_text(rcpt), .hint = (uint8_t)hint };
	size_t at = e->rcpts.len;
	uint32_t *slot;

	if (!grow(e))
		return false;
	slot = slot_of(e, element.addr);
	if (*slot == 0) {
		if (!ipc_add_rcpt(&e->rcpts, &element)) {
			e->rcpts.full = false;
			return false;
		}
		*slot = (uint32_t)at + 1;
		e->rcpt_n++;
	}
	e->accepted++;
	return true;
}

struct slice
smtp_envelope_part(struct slice *rest)
{
	struct slice part = *rest, left = *rest;
	struct ipc_rcpt rcpt;
	size_t fits = 0;
	bool bad = false;

	while (ipc_next_rcpt(&left, &rcpt, &bad) && part.len - left.len <= IPC_RCPTS_MAX)
		fits = part.len - left.len;
	*rest = slice_sub(part, fits, part.len);
	return slice_sub(part, 0, fits);
}
