/*
 * SORT, UID SORT: RFC 5256 section 3, with the keys of RFC 5957 and the results of
 * RFC 5267 section 3.  Search, learn what each message is compared by, sort, tell.
 */
#include <stdlib.h>
#include <string.h>

#include "imap_cmd.h"
#include "imap_facts.h"
#include "imap_result.h"

#define TEXT_MAX	(256 * 1024 * 1024)	/* octets of all texts compared by */
#define AT_ONCE		500			/* messages opened before others have their turn */

/* What one message is compared by; a text is a place in sort.text, which moves while it grows. */
struct value {
	int64_t		number;
	size_t		at;
	uint32_t	len;
};

struct sort {
	struct imap_searching	 searching;
	struct imap_result	 result;
	struct imap_sort_command cmd;
	struct value		*value;		/* cmd.n for each message found; owned */
	size_t			 n;		/* messages that have theirs */
	struct buf		 text;
	uint32_t		*place;		/* of each in searching.found, sorted; owned */
	struct imap_found	 sorted;	/* owned */
};

static void
sort_end(struct imap_session *s)
{
	struct sort *x = s->run.state;

	imap_search_clear(&x->searching);
	imap_message_close(&s->message);
	buf_clear(&x->text);
	free(x->value);
	free(x->place);
	free(x->sorted.seq);
}

static int
compare_texts(const struct sort *x, const struct value *a, const struct value *b)
{
	size_t n = a->len < b->len ? a->len : b->len;
	int order = n == 0 ? 0 : memcmp(x->text.ptr + a->at, x->text.ptr + b->at, n);

	return order != 0 ? order : (a->len > b->len) - (a->len < b->len);
}

static int
by_keys(const void *a, const void *b, void *ctx)
{
	const struct sort *x = ctx;
	uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;

	for (size_t n = 0; n < x->cmd.n; n++) {
		const struct value *v = &x->value[i * x->cmd.n + n], *w = &x->value[k * x->cmd.n + n];
		int order = (v->number > w->number) - (v->number < w->number);

		if (order == 0)
			order = compare_texts(x, v, w);
		if (order != 0)
			return x->cmd.key[n].reverse ? -order : order;
	}
	return (i > k) - (i < k);	/* by number, whatever is reversed */
}

static enum imap_step
failed(struct imap_session *s, const struct sort *x, const char *why)
{
	imap_result_failed(s, &x->result.returns);
	return imap_no(s, why);
}

static enum imap_step
told_step(struct imap_session *s)
{
	struct sort *x = s->run.state;

	return imap_result_step(s, &x->result, "Sorted");
}

static enum imap_step
sort_all(struct imap_session *s, struct sort *x)
{
	size_t n = x->searching.found.n;

	x->place = calloc(n + 1, sizeof(*x->place));
	if (x->place == NULL)
		return failed(s, x, "[UNAVAILABLE] Out of memory");
	for (size_t i = 0; i < n; i++)
		x->place[i] = (uint32_t)i;
	qsort_r(x->place, n, sizeof(*x->place), by_keys, x);
	for (size_t i = 0; i < n; i++)
		if (!imap_found_add(&x->sorted, x->searching.found.seq[x->place[i]]))
			return failed(s, x, "[UNAVAILABLE] Out of memory");
	x->result.found = &x->sorted;
	x->result.modseq = x->searching.modseq;
	s->run.step = told_step;
	return told_step(s);
}

static bool
learn(struct imap_session *s, struct sort *x, size_t i)
{
	for (size_t k = 0; k < x->cmd.n; k++) {
		struct value *v = &x->value[i * x->cmd.n + k];
		struct imap_fact fact;

		if (!imap_fact(s, x->searching.found.seq[i], x->cmd.key[k].by, &x->text, &fact))
			return false;
		v->number = fact.number;
		v->len = (uint32_t)fact.text.len;
		v->at = x->text.len - fact.text.len;
	}
	return true;
}

static enum imap_step
learn_step(struct imap_session *s)
{
	struct sort *x = s->run.state;

	if (x->n > 0)
		imap_progress(s, x->n, x->searching.found.n);
	for (size_t done = 0; x->n < x->searching.found.n; x->n++, done++) {
		if (done >= AT_ONCE)
			return STEP_AGAIN;
		if (!learn(s, x, x->n))
			return failed(s, x, "[LIMIT] Too many messages to sort at once");
	}
	imap_message_close(&s->message);
	return sort_all(s, x);
}

static enum imap_step
search_step(struct imap_session *s)
{
	struct sort *x = s->run.state;

	if (imap_search_step(s, &x->searching) == STEP_AGAIN)
		return STEP_AGAIN;
	if (!x->searching.no_memory)
		x->value = calloc(x->searching.found.n * x->cmd.n + 1, sizeof(*x->value));
	if (x->value == NULL)
		return failed(s, x, "[UNAVAILABLE] Out of memory");
	s->run.step = learn_step;
	return learn_step(s);
}

enum imap_step
cmd_sort(struct imap_session *s, struct imap_in *in)
{
	struct sort *x = imap_pool_alloc(&s->pool, sizeof(*x));

	if (x == NULL)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (!imap_parse_space(in) || !imap_parse_sort(in, &x->cmd))
		return imap_bad_args(s, in);
	buf_init(&x->text, TEXT_MAX);
	x->result = (struct imap_result){ .name = "SORT", .returns = x->cmd.search.returns };
	s->run.state = x;
	s->run.end = sort_end;
	if (!imap_search_init(s, &x->searching, &x->cmd.search)) {
		imap_result_failed(s, &x->result.returns);
		return STEP_DONE;
	}
	s->run.step = search_step;
	return search_step(s);
}
