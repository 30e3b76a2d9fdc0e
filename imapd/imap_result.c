#include "imap_result.h"

#include <stdlib.h>

#include "mime/imap_write.h"

static uint32_t
number_of(const struct imap_session *s, uint32_t seq)
{
	return s->run.uid ? store_folder_at(s->folder, seq)->uid : seq;
}

/* Of those at the places from..to. */
static uint64_t
highest_modseq(const struct imap_session *s, const struct imap_result *r, size_t from, size_t to)
{
	uint64_t highest = 0;

	for (size_t i = from; i < to; i++) {
		uint64_t modseq = store_folder_at(s->folder, r->found->seq[i])->modseq;

		if (modseq > highest)
			highest = modseq;
	}
	return highest;
}

/* RFC 7162 section 3.1.10: of the first, the last, those two, or else all. */
static uint64_t
esearch_modseq(const struct imap_session *s, const struct imap_result *r)
{
	unsigned what = r->returns.bits & (RESULT_MIN | RESULT_MAX | RESULT_COUNT | RESULT_ALL | RESULT_PARTIAL);
	size_t n = r->found->n;
	uint64_t first = highest_modseq(s, r, 0, 1), last = highest_modseq(s, r, n - 1, n);

	if (what == RESULT_MIN)
		return first;
	if (what == RESULT_MAX)
		return last;
	if (what == (RESULT_MIN | RESULT_MAX))
		return first > last ? first : last;
	return highest_modseq(s, r, 0, n);
}

/* "* SEARCH 2 3 6": in pieces. */
static enum imap_step
put_plain(struct imap_session *s, struct imap_result *r)
{
	if (!r->begun)
		(void)buf_fmt(&s->out, "* %s", r->name);
	r->begun = true;
	for (; r->at < r->found->n; r->at++) {
		if (imap_out_high(s))
			return STEP_DRAIN;
		(void)buf_char(&s->out, ' ');
		imap_put_number(&s->out, number_of(s, r->found->seq[r->at]));
	}
	if (r->modseq && r->found->n > 0)
		(void)buf_fmt(&s->out, " (MODSEQ %llu)", (unsigned long long)highest_modseq(s, r, 0, r->found->n));
	(void)buf_text(&s->out, "\r\n");
	return STEP_DONE;
}

/* Places [from, to) of what was found. */
struct places {
	size_t	from, to;
};

/* Those that PARTIAL asks for: 1:100 from the begin, -1:-100 from the end. */
static struct places
partial_places(const struct imap_result *r)
{
	const struct imap_returns *o = &r->returns;
	size_t n = r->found->n;
	size_t first = o->partial_first - 1, last = o->partial_last < n ? o->partial_last : n;

	if (first >= last)
		return (struct places){ 0, 0 };
	if (o->partial_back)
		return (struct places){ n - last, n - first };
	return (struct places){ first, last };
}

static void
put_set(struct imap_session *s, const struct imap_result *r, struct places p)
{
	struct imap_set_writer w = { .out = &s->out };

	for (size_t i = p.from; i < p.to; i++)
		imap_set_put(&w, number_of(s, r->found->seq[i]));
	imap_set_end(&w);
}

static void
put_partial(struct imap_session *s, const struct imap_result *r)
{
	const struct imap_returns *o = &r->returns;
	const char *minus = o->partial_back ? "-" : "";
	struct places p = partial_places(r);

	(void)buf_fmt(&s->out, " PARTIAL (%s%u:%s%u ", minus, o->partial_first, minus, o->partial_last);
	if (p.from < p.to)
		put_set(s, r, p);
	else
		(void)buf_text(&s->out, "NIL");
	(void)buf_char(&s->out, ')');
}

/* The lowest and the highest of what was found; of SORT: the first and the last (RFC 5267 section 3.1). */
static void
put_esearch(struct imap_session *s, const struct imap_result *r)
{
	unsigned bits = r->returns.bits;
	size_t n = r->found->n;

	(void)buf_text(&s->out, "* ESEARCH (TAG ");
	imap_put_string(&s->out, slice_of(s->run.tag));
	(void)buf_text(&s->out, s->run.uid ? ") UID" : ")");
	if ((bits & RESULT_MIN) != 0 && n > 0)
		(void)buf_fmt(&s->out, " MIN %u", number_of(s, r->found->seq[0]));
	if ((bits & RESULT_MAX) != 0 && n > 0)
		(void)buf_fmt(&s->out, " MAX %u", number_of(s, r->found->seq[n - 1]));
	if ((bits & RESULT_COUNT) != 0)
		(void)buf_fmt(&s->out, " COUNT %zu", n);
	if ((bits & RESULT_PARTIAL) != 0)
		put_partial(s, r);
	if ((bits & RESULT_ALL) != 0 && n > 0) {
		(void)buf_text(&s->out, " ALL ");
		put_set(s, r, (struct places){ 0, n });
	}
	if (r->modseq && n > 0)
		(void)buf_fmt(&s->out, " MODSEQ %llu", (unsigned long long)esearch_modseq(s, r));
	(void)buf_text(&s->out, "\r\n");
}

/* ---- "$" ---- */

static int
by_uid(const void *a, const void *b)
{
	const struct imap_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

struct saving {
	struct imap_range	*at;
	size_t			 n;
};

static void
save_places(struct imap_session *s, const struct imap_result *r, struct saving *to, struct places p)
{
	for (size_t i = p.from; i < p.to; i++) {
		uint32_t uid = store_folder_at(s->folder, r->found->seq[i])->uid;

		to->at[to->n++] = (struct imap_range){ uid, uid };
	}
}

/*
 * What is saved depends on what else was asked for (RFC 5182 section 2.1, RFC
 * 9394 section 3.3): everything, unless MIN, MAX or PARTIAL stand alone.
 */
static void
save(struct imap_session *s, const struct imap_result *r)
{
	unsigned bits = r->returns.bits;
	size_t n = r->found->n;
	struct saving to = { .at = reallocarray(NULL, n + 3, sizeof(struct imap_range)) };

	imap_saved_clear(s);
	if (to.at == NULL)
		return;
	if ((bits & (RESULT_ALL | RESULT_COUNT)) != 0 || (bits & (RESULT_MIN | RESULT_MAX | RESULT_PARTIAL)) == 0)
		save_places(s, r, &to, (struct places){ 0, n });
	else if (n > 0) {
		if ((bits & RESULT_PARTIAL) != 0)
			save_places(s, r, &to, partial_places(r));
		if ((bits & RESULT_MIN) != 0)
			save_places(s, r, &to, (struct places){ 0, 1 });
		if ((bits & RESULT_MAX) != 0)
			save_places(s, r, &to, (struct places){ n - 1, n });
	}
	qsort(to.at, to.n, sizeof(*to.at), by_uid);
	s->saved = (struct imap_set){ .at = to.at, .n = to.n };
	imap_set_resolve(&s->saved, UINT32_MAX);
}

void
imap_saved_clear(struct imap_session *s)
{
	free(s->saved.at);
	s->saved = (struct imap_set){ 0 };
}

void
imap_result_failed(struct imap_session *s, const struct imap_returns *returns)
{
	if ((returns->bits & RESULT_SAVE) != 0)
		imap_saved_clear(s);
}

enum imap_step
imap_result_step(struct imap_session *s, struct imap_result *r, const char *done)
{
	if ((r->returns.bits & RESULT_GIVEN) == 0) {
		if (put_plain(s, r) == STEP_DRAIN)
			return STEP_DRAIN;
		return imap_ok(s, done);
	}
	if ((r->returns.bits & RESULT_SAVE) != 0)
		save(s, r);
	/* SAVE alone is told nothing. */
	if ((r->returns.bits & (RESULT_MIN | RESULT_MAX | RESULT_COUNT | RESULT_ALL | RESULT_PARTIAL)) != 0)
		put_esearch(s, r);
	return imap_ok(s, done);
}
