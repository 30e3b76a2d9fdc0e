/* uidlist_vanished.c: which UIDs are gone since when (QRESYNC, RFC 7162 section 3.2.10). */
#include <stdlib.h>

#include "uidlist.h"
#include "uidlist_int.h"

void
vanished_put(struct vanished_list *v, uint32_t from, uint32_t n, uint64_t modseq)
{
	struct uidlist_vanished *last = v->n == 0 ? NULL : &v->at[v->n - 1];

	if (modseq <= v->since || from == 0 || n == 0 || n > UINT32_MAX - from)
		return;
	if (last != NULL && last->modseq == modseq && last->from + last->n == from) {
		last->n += n;
		return;
	}
	if (v->n == v->cap) {
		size_t cap = v->cap == 0 ? 64 : v->cap * 2;
		struct uidlist_vanished *at = reallocarray(v->at, cap, sizeof(*at));

		if (at == NULL) {
			v->failed = true;
			return;
		}
		v->at = at;
		v->cap = cap;
	}
	v->at[v->n++] = (struct uidlist_vanished){ from, n, modseq };
}

void
vanished_take(struct vanished_list *v, const struct uidlist_record *r)
{
	struct slice packed = r->past;
	struct uidlist_vanished e;

	if (r->type == UIDLIST_GONE)
		vanished_put(v, r->uid, 1, r->modseq);
	while (r->type == UIDLIST_VANISHED && uidlist_vanished_next(&packed, &e)) {
		if (e.n == 0 && e.modseq > v->floor)
			v->floor = e.modseq;
		vanished_put(v, e.from, e.n, e.modseq);
	}
}

static int
by_uid(const void *a, const void *b)
{
	const struct uidlist_vanished *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->modseq > y->modseq) - (x->modseq < y->modseq);
}

static int
by_modseq(const void *a, const void *b)
{
	const struct uidlist_vanished *x = a, *y = b;

	return (x->modseq < y->modseq) - (x->modseq > y->modseq);
}

void
vanished_join(struct vanished_list *v, bool any_modseq)
{
	size_t to = 0;

	if (v->n == 0)
		return;
	qsort(v->at, v->n, sizeof(*v->at), by_uid);
	for (size_t i = 1; i < v->n; i++) {
		struct uidlist_vanished *last = &v->at[to];
		const struct uidlist_vanished *e = &v->at[i];
		uint64_t end = (uint64_t)last->from + last->n, e_end = (uint64_t)e->from + e->n;

		if (e->from <= end && (any_modseq || e->modseq == last->modseq)) {
			last->n = (uint32_t)((e_end > end ? e_end : end) - last->from);
			last->modseq = e->modseq > last->modseq ? e->modseq : last->modseq;
		} else {
			v->at[++to] = *e;
		}
	}
	v->n = to + 1;
}

void
vanished_trim(struct vanished_list *v)
{
	if (v->n <= VANISHED_KEEP)
		return;
	qsort(v->at, v->n, sizeof(*v->at), by_modseq);
	if (v->at[VANISHED_KEEP].modseq > v->floor)
		v->floor = v->at[VANISHED_KEEP].modseq;
	v->n = VANISHED_KEEP;
}

static void
take_record(void *ctx, const struct uidlist_record *r)
{
	vanished_take(ctx, r);
}

enum store_error
uidlist_vanished(const struct uidlist *u, uint64_t since, struct uidlist_vanished **out, size_t *n, uint64_t *floor)
{
	struct vanished_list v = { .since = since };
	struct uidlist all = *u;	/* its place in the file stays */
	enum store_error error;

	all.end = UIDLIST_HEADER;
	error = uidlist_read(&all, take_record, &v);
	if (error == STORE_OK && v.failed)
		error = STORE_MEMORY;
	if (error != STORE_OK) {
		free(v.at);
		return error;
	}
	vanished_join(&v, true);
	*out = v.at;
	*n = v.n;
	*floor = v.floor;
	return STORE_OK;
}
