#include "queue_message.h"

#include <stdlib.h>
#include <string.h>

#include "ipc.h"

#define CHUNK 256

struct message_chunk {
	struct message_chunk	*next;
	struct message		 message[CHUNK];
};

/* ---- the table: linear probing by qid ---- */

static uint32_t
home_of(const struct messages *t, uint64_t qid)
{
	return (uint32_t)((qid * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (t->slot_n - 1);
}

static uint32_t
place_of(const struct messages *t, uint64_t qid)
{
	uint32_t i = home_of(t, qid);

	while (t->slot[i] != NULL && t->slot[i]->qid != qid)
		i = (i + 1) & (t->slot_n - 1);
	return i;
}

struct message *
messages_find(const struct messages *t, uint64_t qid)
{
	return t->slot_n == 0 ? NULL : t->slot[place_of(t, qid)];
}

/* For one that is not there yet. */
static uint32_t
free_place(const struct messages *t, uint64_t qid)
{
	uint32_t i = home_of(t, qid);

	while (t->slot[i] != NULL)
		i = (i + 1) & (t->slot_n - 1);
	return i;
}

/* At most four fifths full. */
static bool
grow_table(struct messages *t)
{
	struct messages bigger = *t;

	if (t->slot_n > 0 && t->n < t->slot_n / 5 * 4)
		return true;
	bigger.slot_n = t->slot_n == 0 ? 256 : t->slot_n * 2;
	bigger.slot = calloc(bigger.slot_n, sizeof(*bigger.slot));
	if (bigger.slot == NULL)
		return t->slot_n > 0 && t->n < t->slot_n - 1;
	/* In the order in which they lie in memory, which is far quicker than that of the slots. */
	for (struct message_chunk *c = t->chunk; c != NULL; c = c->next)
		for (size_t k = 0; k < CHUNK; k++)
			if (c->message[k].qid != 0)
				bigger.slot[free_place(&bigger, c->message[k].qid)] = &c->message[k];
	free(t->slot);
	*t = bigger;
	return true;
}

static void
free_slot(struct messages *t, uint64_t qid)
{
	uint32_t mask = t->slot_n - 1, hole = place_of(t, qid);

	for (uint32_t i = (hole + 1) & mask; t->slot[i] != NULL; i = (i + 1) & mask) {
		uint32_t home = home_of(t, t->slot[i]->qid);

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			t->slot[hole] = t->slot[i];
			hole = i;
		}
	}
	t->slot[hole] = NULL;
}

/* ---- all ids, the smallest first: a binary heap, so that nobody waits until hundreds of thousands are sorted ---- */

static void
sink(struct message_ids *ids, size_t i)
{
	uint64_t qid = ids->at[i];
	size_t child;

	while ((child = 2 * i + 1) < ids->n) {
		if (child + 1 < ids->n && ids->at[child + 1] < ids->at[child])
			child++;
		if (qid <= ids->at[child])
			break;
		ids->at[i] = ids->at[child];
		i = child;
	}
	ids->at[i] = qid;
}

bool
messages_ids(const struct messages *t, struct message_ids *ids)
{
	*ids = (struct message_ids){ .at = malloc((t->n + 1) * sizeof(*ids->at)) };
	if (ids->at == NULL)
		return false;
	for (const struct message_chunk *c = t->chunk; c != NULL; c = c->next)
		for (size_t k = 0; k < CHUNK; k++)
			if (c->message[k].qid != 0)
				ids->at[ids->n++] = c->message[k].qid;
	for (size_t i = ids->n / 2; i-- > 0;)
		sink(ids, i);
	return true;
}

uint64_t
messages_next_id(struct message_ids *ids)
{
	uint64_t qid = ids->at[0];

	ids->at[0] = ids->at[--ids->n];
	sink(ids, 0);
	return qid;
}

/* ---- memory of messages: chunks, so that each costs no more than its size ---- */

static struct message *
take(struct messages *t)
{
	struct message *m = t->free;
	struct message_chunk *chunk;

	if (m == NULL) {
		chunk = calloc(1, sizeof(*chunk));
		if (chunk == NULL)
			return NULL;
		chunk->next = t->chunk;
		t->chunk = chunk;
		for (size_t i = 0; i < CHUNK; i++) {
			chunk->message[i].segment = (struct segment *)(void *)t->free;
			t->free = &chunk->message[i];
		}
		m = t->free;
	}
	t->free = (struct message *)(void *)m->segment;
	return m;
}

static void
give_back(struct messages *t, struct message *m)
{
	*m = (struct message){ .segment = (struct segment *)(void *)t->free };
	t->free = m;
}

/* ---- making one ---- */

static char *
text_of(const struct message *m)
{
	return (char *)(m->rcpt + m->rcpt_n);
}

/* Count recipients and the octets of their addresses; false: malformed. */
static bool
measure(struct slice list, uint32_t *n, uint32_t *text)
{
	struct record_rcpt r;
	bool bad = false;

	*n = 0;
	*text = 0;
	while (record_next_rcpt(&list, &r, &bad)) {
		if (r.addr.len == 0 || ++*n > RECORD_RCPTS_MAX)
			return false;
		*text += (uint32_t)r.addr.len;
	}
	return !bad;
}

static void
fill(struct message *m, const struct record_message *r)
{
	struct slice list = r->rcpts;
	struct record_rcpt from;
	bool bad = false;
	uint32_t at = (uint32_t)r->sender.len;

	if (r->sender.len > 0)
		memcpy(text_of(m), r->sender.ptr, r->sender.len);
	for (uint32_t i = 0; record_next_rcpt(&list, &from, &bad); i++) {
		memcpy(text_of(m) + at, from.addr.ptr, from.addr.len);
		m->rcpt[i] = (struct rcpt){ .addr = at, .addr_len = (uint16_t)from.addr.len, .from = i,
		    .link = RCPT_NONE, .notify = from.notify, .flags = RCPT_LIVE };
		if (from.hint == HINT_REMOTE)
			m->rcpt[i].flags |= RCPT_REMOTE;
		at += (uint32_t)from.addr.len;
	}
}

struct message *
messages_add(struct messages *t, const struct record_message *r, bool *no_memory)
{
	struct message *m;
	uint32_t n, text;

	*no_memory = false;
	if (r->qid == 0 || !measure(r->rcpts, &n, &text) || n == 0 || messages_find(t, r->qid) != NULL)
		return NULL;
	*no_memory = true;
	if (!grow_table(t) || (m = take(t)) == NULL)
		return NULL;
	text += (uint32_t)r->sender.len;
	*m = (struct message){ .qid = r->qid, .arrival_usec = r->arrival_usec, .size = r->size, .rcpt_n = n, .next_index = n,
	    .live = n, .text_len = text, .heap_at = RCPT_NONE, .sender_len = (uint16_t)r->sender.len,
	    .origin = r->origin };
	m->rcpt = malloc(n * sizeof(*m->rcpt) + text);
	if (m->rcpt == NULL) {
		give_back(t, m);
		return NULL;
	}
	if ((r->flags & MESSAGE_IN_FILE) != 0)
		m->flags |= MESSAGE_LARGE;
	if ((r->flags & MESSAGE_8BIT) != 0)
		m->flags |= MESSAGE_8BIT_BODY;
	fill(m, r);
	t->slot[place_of(t, r->qid)] = m;
	t->n++;
	*no_memory = false;
	return m;
}

void
messages_remove(struct messages *t, struct message *m)
{
	for (uint32_t i = 0; i < m->rcpt_n; i++) {
		intern_drop(&t->texts, m->rcpt[i].reason);
		intern_drop(&t->texts, m->rcpt[i].sender);
	}
	if ((m->flags & MESSAGE_HELD) != 0)
		t->held--;
	free_slot(t, m->qid);
	t->n--;
	free(m->rcpt);
	give_back(t, m);
}

void
messages_clear(struct messages *t)
{
	struct message_chunk *next;

	for (uint32_t i = 0; i < t->slot_n; i++)
		if (t->slot[i] != NULL)
			free(t->slot[i]->rcpt);
	for (struct message_chunk *c = t->chunk; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	free(t->slot);
	intern_clear(&t->texts);
	*t = (struct messages){ 0 };
}

bool
message_add_rcpts(struct message *m, const struct message_new_rcpt *add, uint32_t n)
{
	size_t more = 0;
	struct rcpt *rcpt;
	char *text;
	uint32_t at = m->text_len;

	if (n > RECORD_RCPTS_MAX || m->rcpt_n > RECORD_RCPTS_MAX - n)
		return false;
	for (uint32_t i = 0; i < n; i++)
		more += add[i].addr.len;
	rcpt = malloc(((size_t)m->rcpt_n + n) * sizeof(*rcpt) + m->text_len + more);
	if (rcpt == NULL)
		return false;
	memcpy(rcpt, m->rcpt, m->rcpt_n * sizeof(*rcpt));
	text = (char *)(rcpt + m->rcpt_n + n);
	memcpy(text, text_of(m), m->text_len);
	for (uint32_t i = 0; i < n; i++) {
		struct rcpt *r = &rcpt[m->rcpt_n + i];

		*r = add[i].rcpt;
		r->addr = at;
		r->addr_len = (uint16_t)add[i].addr.len;
		if (add[i].addr.len > 0)
			memcpy(text + at, add[i].addr.ptr, add[i].addr.len);
		at += (uint32_t)add[i].addr.len;
		if (r->stage < STAGE_DONE)
			m->live++;
		if ((r->flags & (RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS)) != 0)
			m->tell++;
	}
	free(m->rcpt);
	m->rcpt = rcpt;
	m->rcpt_n += n;
	if (m->next_index < m->rcpt_n)
		m->next_index = m->rcpt_n;
	m->text_len = at;
	return true;
}

/* ---- looking ---- */

struct slice
message_sender(const struct message *m)
{
	return slice_make(text_of(m), m->sender_len);
}

struct slice
message_addr(const struct message *m, uint32_t index)
{
	return slice_make(text_of(m) + m->rcpt[index].addr, m->rcpt[index].addr_len);
}

struct slice
message_orig_to(const struct message *m, uint32_t index)
{
	return message_addr(m, m->rcpt[index].from);
}

struct slice
message_rcpt_sender(const struct messages *t, const struct message *m, uint32_t index)
{
	uint32_t id = m->rcpt[index].sender;

	return id == 0 ? message_sender(m) : slice_sub(intern_text(&t->texts, id), 1, SIZE_MAX);
}

void
message_set_sender(struct messages *t, struct rcpt *r, struct slice sender)
{
	char text[1 + 320];

	if (sender.len > 320)
		return;
	text[0] = '=';
	if (sender.len > 0)
		memcpy(text + 1, sender.ptr, sender.len);
	intern_drop(&t->texts, r->sender);
	r->sender = intern_get(&t->texts, slice_make(text, 1 + sender.len));
}

void
message_set_reason(struct messages *t, struct rcpt *r, const struct reason *why)
{
	struct buf b;

	buf_init(&b, 1400);
	(void)buf_slice(&b, why->dsn);
	(void)buf_char(&b, '\n');
	(void)buf_slice(&b, why->remote);
	(void)buf_char(&b, '\n');
	(void)buf_slice(&b, why->text);
	(void)buf_char(&b, '\n');
	intern_drop(&t->texts, r->reason);
	r->reason = b.full ? 0 : intern_get(&t->texts, buf_slice_of(&b));
	buf_clear(&b);
}

struct reason
message_reason(const struct messages *t, const struct rcpt *r)
{
	struct slice all = intern_text(&t->texts, r->reason);
	struct reason why;

	why.dsn = slice_cut(&all, '\n');
	why.remote = slice_cut(&all, '\n');
	why.text = slice_cut(&all, '\n');
	return why;
}

/* ---- changing ---- */

void
message_rcpt_done(struct message *m, uint32_t index, enum stage stage)
{
	struct rcpt *r = &m->rcpt[index];

	if (r->stage < STAGE_DONE) {
		r->stage = (uint8_t)stage;
		r->flags &= (uint8_t)~RCPT_LIVE;
		m->live--;
	}
}

void
message_tell(struct message *m, uint32_t index, uint8_t tell)
{
	struct rcpt *r = &m->rcpt[index];
	const uint8_t both = RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS;
	bool before = (r->flags & both) != 0;

	r->flags = (uint8_t)((r->flags & ~both) | tell);
	if (before && tell == 0)
		m->tell--;
	else if (!before && tell != 0)
		m->tell++;
}

bool
message_finished(const struct message *m)
{
	return m->live == 0 && m->tell == 0 && m->busy == 0;
}

size_t
messages_memory(const struct messages *t)
{
	size_t sum = t->slot_n * sizeof(*t->slot);

	for (const struct message_chunk *c = t->chunk; c != NULL; c = c->next)
		sum += sizeof(*c);
	for (uint32_t i = 0; i < t->slot_n; i++)
		if (t->slot[i] != NULL)
			sum += t->slot[i]->rcpt_n * sizeof(struct rcpt) + t->slot[i]->text_len;
	return sum;
}
