#include "queue_intern.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct intern_entry {
	char		*text;		/* owned; NULL: free */
	uint32_t	 len;
	uint32_t	 users;		/* or, when free, the next free entry */
	uint64_t	 hash;
};

/* ---- SipHash-2-4 ---- */

static inline uint64_t
rotate(uint64_t x, unsigned bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

static void
sip_word(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	sip_round(v);
	sip_round(v);
	v[0] ^= m;
}

uint64_t
queue_hash(struct slice text)
{
	static uint64_t key[2];
	static bool drawn;
	uint64_t v[4], m = (uint64_t)text.len << 56;
	size_t whole = text.len & ~(size_t)7;

	if (!drawn) {
		/* Where there are no random octets, the place of the program in memory must do. */
		if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
			key[0] = (uint64_t)(uintptr_t)&drawn;
		drawn = true;
	}
	v[0] = key[0] ^ UINT64_C(0x736f6d6570736575);
	v[1] = key[1] ^ UINT64_C(0x646f72616e646f6d);
	v[2] = key[0] ^ UINT64_C(0x6c7967656e657261);
	v[3] = key[1] ^ UINT64_C(0x7465646279746573);
	for (size_t i = 0; i < whole; i += 8) {
		uint64_t word;

		memcpy(&word, text.ptr + i, 8);
		sip_word(v, word);
	}
	for (size_t i = whole; i < text.len; i++)
		m |= (uint64_t)(unsigned char)text.ptr[i] << (8 * (i - whole));
	sip_word(v, m);
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- the table: linear probing, ids in the slots ---- */

static bool
grow_slots(struct intern *t)
{
	uint32_t n = t->slot_n == 0 ? 64 : t->slot_n * 2;
	uint32_t *slot;

	if (t->slot_n > 0 && t->used < t->slot_n / 2)
		return true;
	slot = calloc(n, sizeof(*slot));
	if (slot == NULL)
		return t->slot_n > 0 && t->used < t->slot_n - 1;
	for (uint32_t id = 1; id < t->entry_n; id++) {
		uint32_t i = (uint32_t)t->entry[id].hash & (n - 1);

		if (t->entry[id].text == NULL)
			continue;
		while (slot[i] != 0)
			i = (i + 1) & (n - 1);
		slot[i] = id;
	}
	free(t->slot);
	t->slot = slot;
	t->slot_n = n;
	return true;
}

static uint32_t
take_entry(struct intern *t)
{
	uint32_t id = t->free_first, size;
	struct intern_entry *entry;

	if (id != 0) {
		t->free_first = t->entry[id].users;
		return id;
	}
	if (t->entry_n == t->entry_size) {
		size = t->entry_size == 0 ? 32 : t->entry_size * 2;
		entry = size > UINT32_MAX / 4 ? NULL : realloc(t->entry, size * sizeof(*entry));
		if (entry == NULL)
			return 0;
		t->entry = entry;
		t->entry_size = size;
		if (t->entry_n == 0)
			t->entry[t->entry_n++] = (struct intern_entry){ 0 };
	}
	t->entry[t->entry_n] = (struct intern_entry){ 0 };
	return t->entry_n++;
}

static void
free_entry(struct intern *t, uint32_t id)
{
	free(t->entry[id].text);
	t->entry[id] = (struct intern_entry){ .users = t->free_first };
	t->free_first = id;
}

uint32_t
intern_get(struct intern *t, struct slice text)
{
	uint64_t hash = queue_hash(text);
	uint32_t i, id;

	if (text.len == 0 || text.len > UINT32_MAX || !grow_slots(t))
		return 0;
	for (i = (uint32_t)hash & (t->slot_n - 1); t->slot[i] != 0; i = (i + 1) & (t->slot_n - 1)) {
		struct intern_entry *e = &t->entry[t->slot[i]];

		if (e->hash == hash && slice_eq(slice_make(e->text, e->len), text)) {
			e->users++;
			return t->slot[i];
		}
	}
	id = take_entry(t);
	if (id == 0)
		return 0;
	t->entry[id].text = malloc(text.len);
	if (t->entry[id].text == NULL) {
		free_entry(t, id);
		return 0;
	}
	memcpy(t->entry[id].text, text.ptr, text.len);
	t->entry[id].len = (uint32_t)text.len;
	t->entry[id].users = 1;
	t->entry[id].hash = hash;
	t->slot[i] = id;
	t->used++;
	return id;
}

/* Take id out of the slots; those behind it that it stood in the way of move up. */
static void
free_slot(struct intern *t, uint32_t id)
{
	uint32_t mask = t->slot_n - 1, hole = (uint32_t)t->entry[id].hash & mask;

	while (t->slot[hole] != id)
		hole = (hole + 1) & mask;
	for (uint32_t i = (hole + 1) & mask; t->slot[i] != 0; i = (i + 1) & mask) {
		uint32_t home = (uint32_t)t->entry[t->slot[i]].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			t->slot[hole] = t->slot[i];
			hole = i;
		}
	}
	t->slot[hole] = 0;
	t->used--;
}

void
intern_drop(struct intern *t, uint32_t id)
{
	if (id == 0 || --t->entry[id].users > 0)
		return;
	free_slot(t, id);
	free_entry(t, id);
}

uint32_t
intern_again(struct intern *t, uint32_t id)
{
	if (id != 0)
		t->entry[id].users++;
	return id;
}

struct slice
intern_text(const struct intern *t, uint32_t id)
{
	return id == 0 ? slice_make("", 0) : slice_make(t->entry[id].text, t->entry[id].len);
}

void
intern_clear(struct intern *t)
{
	for (uint32_t id = 1; id < t->entry_n; id++)
		free(t->entry[id].text);
	free(t->entry);
	free(t->slot);
	*t = (struct intern){ 0 };
}
