#include "queue_expand.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "ipc.h"

#define ADDR_OCTETS 320

bool
expand_is_action(struct slice target)
{
	return target.len > 0 && (target.ptr[0] == '/' || target.ptr[0] == '|' || target.ptr[0] == '~');
}

/*
 * The hash of what a recipient leads to.  Mailboxes and domains are compared
 * without case; actions (a file, a command) and local parts elsewhere are not.
 */
static uint64_t
hash_of(struct slice addr, bool remote)
{
	char text[1 + ADDR_OCTETS];
	bool action = expand_is_action(addr);
	size_t fold = action ? addr.len : remote ? slice_rfind(addr, '@') : 0, n = 1;
	uint64_t hash;

	text[0] = remote ? 'r' : 'l';
	for (size_t i = 0; i < addr.len && n < sizeof(text); i++)
		text[n++] = i < fold ? addr.ptr[i] : (char)tolower((unsigned char)addr.ptr[i]);
	hash = queue_hash(slice_make(text, n));
	return hash == 0 ? 1 : hash;
}

static bool
has(const struct expand_set *s, uint64_t hash, uint32_t *at)
{
	for (*at = (uint32_t)hash & (s->slot_n - 1); s->slot[*at] != 0; *at = (*at + 1) & (s->slot_n - 1))
		if (s->slot[*at] == hash)
			return true;
	return false;
}

static bool
grow(struct expand_set *s, uint32_t want)
{
	struct expand_set bigger = *s;
	uint32_t at;

	bigger.slot_n = 64;
	while (bigger.slot_n / 2 <= want)
		bigger.slot_n *= 2;
	if (bigger.slot_n <= s->slot_n)
		return true;
	bigger.slot = calloc(bigger.slot_n, sizeof(*bigger.slot));
	if (bigger.slot == NULL)
		return false;
	for (uint32_t i = 0; i < s->slot_n; i++)
		if (s->slot[i] != 0 && !has(&bigger, s->slot[i], &at))
			bigger.slot[at] = s->slot[i];
	free(s->slot);
	*s = bigger;
	return true;
}

/* True if it is new. */
static bool
add(struct expand_set *s, uint64_t hash)
{
	uint32_t at;

	if (has(s, hash, &at))
		return false;
	s->slot[at] = hash;
	s->n++;
	return true;
}

/* One that is still to be expanded leads nowhere yet; its own name may well be among its targets. */
static bool
leads_to_itself(const struct rcpt *r)
{
	return r->addr_len > 0 && r->stage != STAGE_EXPANDED &&
	    ((r->flags & (RCPT_FINAL | RCPT_REMOTE)) != 0 || r->stage == STAGE_DONE);
}

bool
expand_begin(struct expand_set *s, const struct message *m, const uint32_t *done, uint32_t done_n)
{
	*s = (struct expand_set){ .message = m };
	if (!grow(s, m->rcpt_n))
		return false;
	for (uint32_t i = 0; i < m->rcpt_n; i++)
		if (leads_to_itself(&m->rcpt[i]))
			(void)add(s, hash_of(message_addr(m, i), (m->rcpt[i].flags & RCPT_REMOTE) != 0));
	for (uint32_t i = 0; i < done_n; i++)
		(void)add(s, hash_of(message_addr(m, done[i]), false));
	return true;
}

void
expand_end(struct expand_set *s)
{
	free(s->slot);
	*s = (struct expand_set){ 0 };
}

enum verdict
expand_targets(struct expand_set *s, struct slice ipc_targets, uint32_t *next, struct buf *record_targets,
    uint32_t *n)
{
	struct ipc_target t;
	bool bad = false;

	*n = 0;
	while (ipc_next_target(&ipc_targets, &t, &bad)) {
		struct record_target r = { .index = *next, .addr = t.addr, .remote = t.remote,
		    .new_sender = t.new_sender, .sender = t.sender };

		if (t.addr.len == 0)
			return PERM;
		if (!grow(s, s->n + 1))
			return TEMP;
		if (!add(s, hash_of(t.addr, t.remote == 1)))
			continue;
		if (*next >= RECORD_RCPTS_MAX)
			return PERM;
		if (!record_add_target(record_targets, &r))
			return TEMP;
		++*next;
		++*n;
	}
	return bad ? PERM : OK;
}
