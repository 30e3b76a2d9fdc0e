#include "imap_set.h"

#include <stdlib.h>
#include <string.h>

/* nz-number or '*'. */
static bool
parse_end(struct slice *text, uint32_t *out)
{
	uint64_t n = 0;
	size_t digits = 0;

	if (slice_prefix(text, "*")) {
		*out = IMAP_STAR;
		return true;
	}
	while (digits < text->len && text->ptr[digits] >= '0' && text->ptr[digits] <= '9') {
		n = n * 10 + (uint64_t)(text->ptr[digits] - '0');
		if (n > UINT32_MAX)
			return false;
		digits++;
	}
	if (digits == 0 || n == 0 || text->ptr[0] == '0')
		return false;
	*text = slice_sub(*text, digits, text->len);
	*out = (uint32_t)n;
	return true;
}

bool
imap_set_parse(struct slice *text, struct imap_pool *pool, struct imap_set *out)
{
	size_t room = 0;

	*out = (struct imap_set){ 0 };
	if (slice_prefix(text, "$")) {
		out->saved = true;
		return true;
	}
	do {
		struct imap_range r;
		void *at = out->at;

		if (!parse_end(text, &r.first))
			return false;
		r.last = r.first;
		if (slice_prefix(text, ":") && !parse_end(text, &r.last))
			return false;
		if (!imap_pool_grow(pool, &at, out->n, &room, sizeof(r)))
			return false;
		out->at = at;
		out->at[out->n++] = r;
	} while (slice_prefix(text, ","));
	return true;
}

static int
by_first(const void *a, const void *b)
{
	const struct imap_range *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return (x->last > y->last) - (x->last < y->last);
}

void
imap_set_resolve(struct imap_set *set, uint32_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct imap_range r = set->at[i];

		if ((r.first == IMAP_STAR || r.last == IMAP_STAR) && max == 0)
			continue;
		if (r.first == IMAP_STAR)
			r.first = max;
		if (r.last == IMAP_STAR)
			r.last = max;
		if (r.first > r.last)
			r = (struct imap_range){ r.last, r.first };
		set->at[n++] = r;
	}
	set->n = n;
	if (n == 0)
		return;
	qsort(set->at, n, sizeof(set->at[0]), by_first);
	n = 0;
	for (size_t i = 1; i < set->n; i++) {
		struct imap_range *last = &set->at[n];

		if (last->last == UINT32_MAX || set->at[i].first <= last->last + 1) {
			if (set->at[i].last > last->last)
				last->last = set->at[i].last;
		} else
			set->at[++n] = set->at[i];
	}
	set->n = n + 1;
}

bool
imap_set_beyond(const struct imap_set *set, uint32_t max)
{
	for (size_t i = 0; i < set->n; i++) {
		const struct imap_range *r = &set->at[i];

		if (r->first > max || r->last > max)
			return true;
		if (max == 0 && (r->first == IMAP_STAR || r->last == IMAP_STAR))
			return true;
	}
	return false;
}

bool
imap_set_has(const struct imap_set *set, uint32_t n)
{
	size_t low = 0, high = set->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (n < set->at[mid].first)
			high = mid;
		else if (n > set->at[mid].last)
			low = mid + 1;
		else
			return true;
	}
	return false;
}

static void
flush_range(struct imap_set_writer *w)
{
	if (w->first == 0)
		return;
	(void)buf_fmt(w->out, "%s%u", w->comma ? "," : "", w->first);
	if (w->last != w->first)
		(void)buf_fmt(w->out, ":%u", w->last);
	w->comma = true;
	w->first = 0;
}

void
imap_set_put_range(struct imap_set_writer *w, uint32_t first, uint32_t last)
{
	if (w->first == 0 || w->last == UINT32_MAX || first != w->last + 1) {
		flush_range(w);
		w->first = first;
	}
	w->last = last;
}

void
imap_set_put(struct imap_set_writer *w, uint32_t n)
{
	imap_set_put_range(w, n, n);
}

void
imap_set_end(struct imap_set_writer *w)
{
	flush_range(w);
}
