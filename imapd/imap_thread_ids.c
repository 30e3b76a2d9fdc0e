/* Message-IDs and subjects as small numbers. */
#include <stdlib.h>
#include <string.h>

#include "imap_thread_int.h"

#define ID_MAX 1000	/* octets of a Message-ID; longer ones are none */

void
thread_texts_init(struct thread_texts *t, uint64_t seed)
{
	*t = (struct thread_texts){ .seed = seed | 1 };
	buf_init(&t->text, TEXTS_MAX);
}

void
thread_texts_clear(struct thread_texts *t)
{
	buf_clear(&t->text);
	free(t->at);
	free(t->table);
}

struct slice
thread_text_of(const struct thread_texts *t, uint32_t n)
{
	return slice_sub(buf_slice_of(&t->text), t->at[n], t->at[n + 1] - t->at[n]);
}

/* The seed makes it hard to send messages that all fall on one place. */
static uint64_t
hash(const struct thread_texts *t, struct slice text)
{
	uint64_t h = t->seed * 0x9e3779b97f4a7c15u + text.len;

	for (size_t i = 0; i < text.len; i++) {
		h = (h ^ (unsigned char)text.ptr[i]) * (t->seed ^ 0xbf58476d1ce4e5b8u);
		h ^= h >> 29;
	}
	return h ^ h >> 32;
}

/* Where it is, or would be. */
static size_t
place(const struct thread_texts *t, struct slice text)
{
	size_t i = hash(t, text) & (t->table_n - 1);

	while (t->table[i] != 0 && !slice_eq(thread_text_of(t, t->table[i]), text))
		i = (i + 1) & (t->table_n - 1);
	return i;
}

static bool
grow(struct thread_texts *t)
{
	size_t table_n = t->table_n == 0 ? 1024 : 2 * t->table_n;
	uint32_t room = (uint32_t)(table_n / 2);
	size_t *at = reallocarray(t->at, room + 2, sizeof(*at));
	uint32_t *table;

	if (at == NULL)
		return false;
	if (t->at == NULL)
		at[0] = at[1] = 0;
	t->at = at;
	table = calloc(table_n, sizeof(*table));
	if (table == NULL)
		return false;
	free(t->table);
	t->table = table;
	t->table_n = table_n;
	t->room = room;
	for (uint32_t n = 1; n <= t->n; n++)
		t->table[place(t, thread_text_of(t, n))] = n;
	return true;
}

uint32_t
thread_text(struct thread_texts *t, struct slice text)
{
	size_t i;

	if (t->n == t->room && (t->n >= UINT32_MAX / 4 || !grow(t)))
		return 0;
	i = place(t, text);
	if (t->table[i] != 0)
		return t->table[i];
	if (!buf_slice(&t->text, text))
		return 0;
	t->table[i] = ++t->n;
	t->at[t->n + 1] = t->text.len;
	return t->n;
}

/* Behind '<': up to '>', quotes, backslashes and blanks removed, so that spellings of one id are one. */
static bool
take_id(struct slice *value, struct buf *out)
{
	bool at = false;

	for (size_t i = 0; i < value->len; i++) {
		char c = value->ptr[i];

		if (c == '>') {
			*value = slice_sub(*value, i + 1, value->len);
			return at && out->len <= ID_MAX;
		}
		if (c == '<') {		/* that was none; this may be one */
			*value = slice_sub(*value, i, value->len);
			return false;
		}
		if (c == '\\' && i + 1 < value->len)
			c = value->ptr[++i];
		else if (c == '"')
			continue;
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		at = at || c == '@';
		if (out->len <= ID_MAX)
			(void)buf_char(out, c);
	}
	*value = (struct slice){ 0 };
	return false;
}

bool
thread_next_id(struct slice *value, struct buf *out)
{
	while (value->len > 0) {
		(void)slice_cut(value, '<');
		if (value->len == 0)
			break;
		buf_reset(out);
		if (take_id(value, out))
			return true;
	}
	return false;
}
