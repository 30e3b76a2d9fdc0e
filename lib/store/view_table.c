/* view_table.c: the messages of a view, by number, UID and base name. */
#include <stdlib.h>
#include <string.h>

#include "store_int.h"

#define NAMES_OCTETS	(1024u * 1024 * 1024)
#define FINDS_IN_LINE	12		/* names looked for in a view before its hash is made: a few new messages */

struct slice
view_base(const struct store_folder *f, const struct msg *m)
{
	return slice_make(f->names.ptr + m->base_at, m->base_len);
}

/* ---- hash by base name: SipHash-1-3, for names may be chosen by others (V14) ---- */

#define ROTL(x, b) ((x) << (b) | (x) >> (64 - (b)))

static void
sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = ROTL(v[1], 13) ^ v[0];
	v[0] = ROTL(v[0], 32);
	v[2] += v[3];
	v[3] = ROTL(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTL(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTL(v[1], 17) ^ v[2];
	v[2] = ROTL(v[2], 32);
}

static uint32_t
hash_name(const struct store_folder *f, struct slice name)
{
	uint64_t v[4] = {
		f->hash_key[0] ^ 0x736f6d6570736575u, f->hash_key[1] ^ 0x646f72616e646f6du,
		f->hash_key[0] ^ 0x6c7967656e657261u, f->hash_key[1] ^ 0x7465646279746573u,
	};
	uint64_t word = 0;

	for (size_t i = 0; i < name.len; i += 8) {
		size_t len = name.len - i < 8 ? name.len - i : 8;

		word = 0;
		memcpy(&word, name.ptr + i, len);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	v[2] ^= 0xff ^ name.len;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	word = v[0] ^ v[1] ^ v[2] ^ v[3];
	return (uint32_t)(word ^ word >> 32);
}

/* The slot that holds name, or the free one where it would stand. */
static uint32_t *
slot(const struct store_folder *f, struct slice name)
{
	uint32_t i = hash_name(f, name) & (f->hash_size - 1);

	while (f->hash[i] != 0 && !slice_eq(view_base(f, &f->msg[f->hash[i] - 1]), name))
		i = (i + 1) & (f->hash_size - 1);
	return &f->hash[i];
}

/* Of two messages with one name the later has the file; it does not matter to the hash
 * which it holds while the other is forgotten. */
static bool
fill_hash(struct store_folder *f)
{
	uint32_t size = f->hash_size < 128 ? 128 : f->hash_size, *hash;

	while (size < 2 * f->cap || size < 2 * f->m)
		size *= 2;
	if (size != f->hash_size) {
		hash = reallocarray(f->hash, size, sizeof(*hash));
		if (hash == NULL)
			return false;
		f->hash = hash;
		f->hash_size = size;
	}
	memset(f->hash, 0, f->hash_size * sizeof(*f->hash));
	f->hashed = false;
	for (uint32_t i = 0; i < f->m; i++) {
		uint32_t *s;

		if (f->msg[i].dead)
			continue;
		s = slot(f, view_base(f, &f->msg[i]));
		if (*s != 0)
			view_forget(f, &f->msg[*s - 1]);
		*s = i + 1;
	}
	f->hashed = true;
	return true;
}

/* Room for one more message. */
static bool
grow(struct store_folder *f)
{
	uint32_t cap = f->cap == 0 ? 64 : f->cap * 2;
	struct msg *msg;

	if (f->m < f->cap)
		return true;
	if (cap > UINT32_MAX / 8)
		return false;
	msg = reallocarray(f->msg, cap, sizeof(*msg));
	if (msg == NULL)
		return false;
	f->msg = msg;
	f->cap = cap;
	return !f->hashed || fill_hash(f);
}

/* One after the other, from the youngest: dearer than the hash, but much cheaper than making it. */
static struct msg *
find_in_line(const struct store_folder *f, struct slice base)
{
	for (uint32_t i = f->m; i > 0; i--) {
		struct msg *m = &f->msg[i - 1];

		if (m->base_len == base.len && !m->dead && slice_eq(view_base(f, m), base))
			return m;
	}
	return NULL;
}

struct msg *
view_find(struct store_folder *f, struct slice base)
{
	uint32_t *s;

	if (f->m == 0)
		return NULL;
	if (!f->hashed && f->finds++ < FINDS_IN_LINE)
		return find_in_line(f, base);
	if (!f->hashed && !fill_hash(f)) {
		f->no_memory = true;
		return NULL;
	}
	s = slot(f, base);
	return *s == 0 ? NULL : &f->msg[*s - 1];
}

static uint32_t
lower_bound(const struct store_folder *f, uint32_t end, uint32_t uid)
{
	uint32_t low = 0, high = end;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (f->msg[mid].pub.uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint32_t
store_folder_seq(const struct store_folder *f, uint32_t uid)
{
	return lower_bound(f, f->n, uid) + 1;
}

struct msg *
view_uid(const struct store_folder *f, uint32_t uid)
{
	uint32_t i = lower_bound(f, f->m, uid);

	return i < f->m && f->msg[i].pub.uid == uid ? &f->msg[i] : NULL;
}

struct msg *
view_add(struct store_folder *f, uint32_t uid, struct slice base)
{
	struct msg *m;

	if (base.len == 0 || base.len > UINT8_MAX || !grow(f) || !buf_slice(&f->names, base))
		return NULL;
	m = &f->msg[f->m++];
	*m = (struct msg){
		.pub.uid = uid, .base_at = (uint32_t)(f->names.len - base.len), .base_len = (uint8_t)base.len,
		.date = NO_DATE, .absent = true, .late = true, .pub.modseq = 1,
	};
	if (f->hashed)
		*slot(f, base) = f->m;
	return m;
}

void
view_forget(struct store_folder *f, struct msg *m)
{
	uint32_t i, j, free_slot;

	if (m->dead)
		return;
	m->dead = m->pub.gone = f->some_gone = true;
	if (m->known_modseq == 0)
		m->known_modseq = f->box.uids.seen_modseq;
	if (!f->hashed)
		return;
	free_slot = (uint32_t)(slot(f, view_base(f, m)) - f->hash);
	/* Open addressing: what stands behind may have to move up. */
	for (i = (free_slot + 1) & (f->hash_size - 1); f->hash[i] != 0; i = (i + 1) & (f->hash_size - 1)) {
		j = hash_name(f, view_base(f, &f->msg[f->hash[i] - 1])) & (f->hash_size - 1);
		if (((i - j) & (f->hash_size - 1)) >= ((i - free_slot) & (f->hash_size - 1))) {
			f->hash[free_slot] = f->hash[i];
			free_slot = i;
		}
	}
	f->hash[free_slot] = 0;
}

void
view_changes(struct store_folder *f, struct msg *m)
{
	if (m->changed || (uint32_t)(m - f->msg) >= f->n)
		return;
	m->changed = f->some_changed = true;
	m->told_flags = m->pub.flags;
	m->told_keywords = m->pub.keywords;
}

/* Names of messages that are no more take memory until this. */
static bool
pack_names(struct store_folder *f)
{
	struct buf fresh;
	size_t used = 0;

	for (uint32_t i = 0; i < f->m; i++)
		used += f->msg[i].base_len;
	if (f->names.len < 2 * used + 65536)
		return true;
	buf_init(&fresh, NAMES_OCTETS);
	if (used > 0 && buf_room(&fresh, used) == NULL)
		return false;
	for (uint32_t i = 0; i < f->m; i++) {
		struct slice base = view_base(f, &f->msg[i]);

		f->msg[i].base_at = (uint32_t)fresh.len;
		(void)buf_slice(&fresh, base);
	}
	buf_clear(&f->names);
	f->names = fresh;
	return true;
}

bool
view_remove(struct store_folder *f, uint32_t from, bool (*drop)(const struct msg *m))
{
	uint32_t to = from, visible = f->n;

	for (uint32_t i = from; i < f->m; i++) {
		if (drop(&f->msg[i])) {
			visible -= i < f->n;
			free(f->msg[i].odd);
		} else {
			f->msg[to++] = f->msg[i];
		}
	}
	if (to == f->m)
		return false;
	f->m = to;
	f->n = visible;
	f->sure = 0;
	(void)pack_names(f);
	f->hashed = false;
	return true;
}

void
view_clear(struct store_folder *f)
{
	for (uint32_t i = 0; i < f->m; i++)
		free(f->msg[i].odd);
	free(f->msg);
	free(f->hash);
	buf_clear(&f->names);
	f->msg = NULL;
	f->hash = NULL;
	f->n = f->m = f->cap = f->hash_size = 0;
	f->hashed = false;
}

/* ---- files ---- */

bool
view_file(const struct store_folder *f, const struct msg *m, char out[MAILDIR_NAME_MAX + 1])
{
	if (m->odd != NULL)
		return slice_text(slice_of(m->odd), out, MAILDIR_NAME_MAX + 1);
	if (m->where == IN_NEW)
		return slice_text(view_base(f, m), out, MAILDIR_NAME_MAX + 1);
	return maildir_print(view_base(f, m), m->upper, m->pub.keywords, out);
}

int
view_file_dir(struct store_folder *f, const struct msg *m)
{
	return box_sub(&f->box, m->where == IN_NEW ? BOX_NEW : BOX_CUR);
}

void
view_set_letters(struct store_folder *f, struct msg *m, enum msg_where where, uint32_t upper, uint32_t lower)
{
	free(m->odd);
	m->odd = NULL;
	m->where = (uint8_t)where;
	m->upper = upper;
	m->pub.flags = (uint8_t)((m->pub.flags & STORE_RECENT) | maildir_flags(upper) | m->unsaved);
	m->pub.keywords = lower;
	f->some_unnoted |= !view_is_noted(m);
}

enum store_error
view_set_file(struct store_folder *f, struct msg *m, enum msg_where where, struct slice file)
{
	struct maildir_name name;
	char *odd = NULL;

	if (!maildir_parse(file, &name))
		return STORE_NAME;
	if (where == IN_NEW ? name.base.len != file.len : !name.canonical) {
		odd = slice_dup(file);
		if (odd == NULL)
			return STORE_MEMORY;
	}
	view_set_letters(f, m, where, name.upper, name.lower);
	m->odd = odd;
	f->some_unnoted |= !view_is_noted(m);
	return STORE_OK;
}
