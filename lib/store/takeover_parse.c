#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "takeover.h"

#define BASE_MAX 255

/* What stands before ":2,". */
static struct slice
base_of(struct slice file)
{
	return slice_sub(file, 0, slice_find(file, ':'));
}

static bool
valid_base(struct slice base)
{
	return base.len > 0 && base.len <= BASE_MAX && base.ptr[0] != '.' && slice_find(base, '/') == base.len &&
	    slice_find(base, '\0') == base.len;
}

static bool
valid_uidl(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.ptr[i] < 0x21 || (unsigned char)s.ptr[i] > 0x7e)
			return false;
	}
	return s.len > 0 && s.len <= TAKEOVER_UIDL_MAX;
}

static bool
get_uid(struct slice text, uint32_t *out)
{
	uint64_t n;

	if (!slice_number(text, UINT32_MAX, &n) || n == 0)
		return false;
	*out = (uint32_t)n;
	return true;
}

/* ---- the first line ---- */

static bool
parse_header(struct slice line, struct takeover *out)
{
	uint64_t version;

	if (!slice_number(slice_cut(&line, ' '), 3, &version) || version == 0)
		return false;
	if (version < 3)
		return get_uid(slice_cut(&line, ' '), &out->uidvalidity) && get_uid(slice_cut(&line, ' '), &out->uidnext);
	while (line.len > 0) {
		struct slice word = slice_cut(&line, ' '), value = slice_sub(word, 1, word.len);

		if (word.len > 0 && word.ptr[0] == 'V' && !get_uid(value, &out->uidvalidity))
			return false;
		if (word.len > 0 && word.ptr[0] == 'N' && !get_uid(value, &out->uidnext))
			return false;
	}
	return out->uidvalidity != 0 && out->uidnext != 0;
}

/* ---- entries ---- */

static void
parse_field(struct slice word, struct takeover_entry *e, bool *own_name)
{
	struct slice value = slice_sub(word, 1, word.len);

	if (word.len == 0)
		return;
	if (word.ptr[0] == 'S')
		(void)slice_number(value, INT64_MAX, &e->size);
	else if (word.ptr[0] == 'W')
		(void)slice_number(value, INT64_MAX, &e->crlf_size);
	else if (word.ptr[0] == 'P' && value.len == 0)
		*own_name = true;
	else if (word.ptr[0] == 'P' && valid_uidl(value))
		e->uidl = value;
}

static bool
parse_entry(struct slice line, struct takeover_entry *e)
{
	bool own_name = false;

	*e = (struct takeover_entry){ 0 };
	if (!get_uid(slice_cut(&line, ' '), &e->uid))
		return false;
	/* Fields are a capital and a value; the name follows a colon, or (version 1) nothing. */
	while (line.len > 0 && line.ptr[0] >= 'A' && line.ptr[0] <= 'Z' && slice_find(line, ' ') < line.len)
		parse_field(slice_cut(&line, ' '), e, &own_name);
	(void)slice_prefix(&line, ":");
	e->base = base_of(line);
	if (own_name && valid_uidl(e->base))
		e->uidl = e->base;
	return valid_base(e->base);
}

static bool
put_entry(struct takeover *t, const struct takeover_entry *e)
{
	if (t->n == t->cap) {
		size_t cap = t->cap == 0 ? 256 : t->cap * 2;
		struct takeover_entry *at = reallocarray(t->at, cap, sizeof(*at));

		if (at == NULL)
			return false;
		t->at = at;
		t->cap = cap;
	}
	t->at[t->n++] = *e;
	return true;
}

static int
by_uid(const void *a, const void *b)
{
	const struct takeover_entry *x = a, *y = b;

	return (x->uid > y->uid) - (x->uid < y->uid);
}

static int
by_base(const void *a, const void *b)
{
	const struct takeover_entry *const *x = a, *const *y = b;
	size_t len = (*x)->base.len < (*y)->base.len ? (*x)->base.len : (*y)->base.len;
	int c = memcmp((*x)->base.ptr, (*y)->base.ptr, len);

	return c != 0 ? c : ((*x)->base.len > (*y)->base.len) - ((*x)->base.len < (*y)->base.len);
}

static int
by_base_and_uid(const void *a, const void *b)
{
	const struct takeover_entry *const *x = a, *const *y = b;
	int c = by_base(a, b);

	return c != 0 ? c : by_uid(*x, *y);
}

/* Pointers to the entries, by base name, then UID; NULL: no memory. */
static struct takeover_entry **
sorted_by_base(struct takeover *t)
{
	struct takeover_entry **by = reallocarray(NULL, t->n + 1, sizeof(*by));

	for (size_t i = 0; by != NULL && i < t->n; i++)
		by[i] = &t->at[i];
	if (by != NULL)
		qsort(by, t->n, sizeof(*by), by_base_and_uid);
	return by;
}

/* Of two with one name the later has it; of two with one UID the first. */
static bool
drop_doubles(struct takeover *t)
{
	struct takeover_entry **by;
	size_t to = 0;

	if (t->n == 0)
		return true;
	qsort(t->at, t->n, sizeof(*t->at), by_uid);
	by = sorted_by_base(t);
	if (by == NULL)
		return false;
	for (size_t i = 0; i + 1 < t->n; i++) {
		if (slice_eq(by[i]->base, by[i + 1]->base))
			(by[i]->uid < by[i + 1]->uid ? by[i] : by[i + 1])->base.len = 0;
	}
	free(by);
	for (size_t i = 0; i < t->n; i++) {
		if (t->at[i].base.len == 0 || (to > 0 && t->at[to - 1].uid == t->at[i].uid))
			t->bad++;
		else
			t->at[to++] = t->at[i];
	}
	t->n = to;
	if (t->n > 0 && t->at[t->n - 1].uid >= t->uidnext) {
		if (t->at[t->n - 1].uid == UINT32_MAX)
			return false;
		t->uidnext = t->at[t->n - 1].uid + 1;
	}
	return true;
}

bool
takeover_parse_uids(struct slice text, struct takeover *out)
{
	struct takeover_entry e;
	bool good;

	*out = (struct takeover){ 0 };
	good = parse_header(slice_cut(&text, '\n'), out);
	while (good && text.len > 0) {
		if (!parse_entry(slice_cut(&text, '\n'), &e))
			out->bad++;
		else
			good = put_entry(out, &e);
	}
	good = good && drop_doubles(out);
	if (!good)
		takeover_clear(out);
	return good;
}

void
takeover_clear(struct takeover *t)
{
	free(t->at);
	*t = (struct takeover){ 0 };
}

/* ---- POP3 of Courier ---- */

/* "FILENAME SIZE UID:UIDVALIDITY"; UID 0: the name is the UIDL.  Version 3 has more behind it. */
static bool
parse_pop3_line(struct slice line, struct slice *base, uint64_t *uid, uint64_t *uidvalidity)
{
	struct slice size, pair;

	*base = base_of(slice_cut(&line, ' '));
	size = slice_cut(&line, ' ');
	pair = slice_cut(&line, ' ');
	return slice_number(slice_cut(&pair, ':'), UINT32_MAX, uid) &&
	    slice_number(slice_cut(&pair, ':'), UINT32_MAX, uidvalidity) && size.len > 0;
}

void
takeover_parse_pop3(struct slice text, struct takeover *t, struct buf *store)
{
	struct slice header = slice_cut(&text, '\n');
	struct takeover_entry **by;

	if (!slice_prefix(&header, "/") || (by = sorted_by_base(t)) == NULL)
		return;
	store->cap = (TAKEOVER_UIDL_MAX + 1) * (t->n + 1);
	if (buf_room(store, store->cap - 1) == NULL)	/* once: views into it must not move */
		text.len = 0;
	while (text.len > 0) {
		struct takeover_entry key = { 0 }, *k = &key, **hit;
		uint64_t uid, uidvalidity;
		size_t had = store->len;

		if (!parse_pop3_line(slice_cut(&text, '\n'), &key.base, &uid, &uidvalidity))
			continue;
		hit = bsearch(&k, by, t->n, sizeof(*by), by_base);
		if (hit == NULL || (*hit)->uidl.ptr != NULL)
			continue;
		if (uid == 0)
			(*hit)->uidl = valid_uidl((*hit)->base) ? (*hit)->base : (struct slice){ 0 };
		else if (buf_fmt(store, "UID%u-%u", (unsigned)uid, (unsigned)uidvalidity))
			(*hit)->uidl = slice_make(store->ptr + had, store->len - had);
	}
	free(by);
}

/* ---- keywords of Courier ---- */

bool
takeover_keyword_name(struct slice *text, struct slice *name)
{
	*name = slice_cut(text, '\n');
	return name->len > 0;
}

bool
takeover_keyword_file(struct slice *text, struct slice *base, uint32_t *bits)
{
	while (text->len > 0) {
		struct slice line = slice_cut(text, '\n');
		uint64_t n;

		*base = slice_cut(&line, ':');
		*bits = 0;
		while (line.len > 0) {
			if (slice_number(slice_cut(&line, ' '), 25, &n))
				*bits |= 1u << n;
		}
		if (valid_base(*base) && *bits != 0)
			return true;
	}
	return false;
}
