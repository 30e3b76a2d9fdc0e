/* THREAD=REFERENCES, RFC 5256 section 4: its steps by their numbers. */
#include <stdlib.h>

#include "imap_thread_int.h"
#include "mime/imap_write.h"

#define NONE		0
#define CLIMB_MAX	100000000	/* steps towards roots, all in all: what is beyond is taken for a loop */

/* A message, or a place for one that is only known by references.  Node 0 is nothing. */
struct node {
	uint32_t	message;	/* its place + 1; 0: a dummy */
	uint32_t	parent;		/* only until the children are listed */
	uint32_t	child, last, next;
	uint32_t	child_n;
	int64_t		sent;		/* of a dummy: of its first child */
	uint32_t	order;		/* number of the message, likewise */
	bool		is_parent;	/* something was linked below it */
	bool		moved;		/* from the top, below another (step 5) */
};

struct forest {
	struct imap_threads	*t;
	struct node		*node;
	uint32_t		 n;		/* nodes in use, with 0 */
	uint32_t		*top;		/* children of the root */
	uint32_t		 top_n;
	uint32_t		*sorting;	/* room for siblings */
	uint64_t		 climbed;
};

/* Ids have the nodes of their numbers; messages without one, and the dummies of step 5, those behind. */
static bool
forest_init(struct forest *f, struct imap_threads *t)
{
	size_t most = (size_t)t->ids.n + 2 * t->n + 2;

	*f = (struct forest){ .t = t, .n = t->ids.n + 1 };
	f->node = calloc(most, sizeof(*f->node));
	f->top = calloc(most, sizeof(*f->top));
	f->sorting = calloc(most, sizeof(*f->sorting));
	return f->node != NULL && f->top != NULL && f->sorting != NULL;
}

static void
forest_clear(struct forest *f)
{
	free(f->node);
	free(f->top);
	free(f->sorting);
}

/* ---- step 1: who answers whom ---- */

/* Is above the node itself, or somewhere over it? */
static bool
makes_loop(struct forest *f, uint32_t above, uint32_t node)
{
	if (!f->node[node].is_parent)
		return above == node;
	for (; above != NONE; above = f->node[above].parent) {
		if (above == node || ++f->climbed > CLIMB_MAX)
			return true;
	}
	return false;
}

static void
link_nodes(struct forest *f, uint32_t parent, uint32_t child)
{
	if (makes_loop(f, parent, child))
		return;
	f->node[child].parent = parent;
	f->node[parent].is_parent = true;
}

static void
place_message(struct forest *f, size_t i)
{
	const struct thread_message *m = &f->t->message[i];
	uint32_t node = m->id != 0 ? m->id : f->n++, above = NONE;

	f->node[node].message = (uint32_t)i + 1;
	f->node[node].sent = m->sent;
	f->node[node].order = m->number;
	for (uint32_t k = 0; k < m->ref_n; k++) {	/* 1 A */
		uint32_t ref = f->t->ref[m->ref + k];

		if (above != NONE && f->node[ref].parent == NONE)
			link_nodes(f, above, ref);
		above = ref;
	}
	f->node[node].parent = NONE;			/* 1 B */
	if (above != NONE)
		link_nodes(f, above, node);
}

/* ---- children ---- */

static void
add_child(struct forest *f, uint32_t parent, uint32_t child)
{
	struct node *p = &f->node[parent];

	f->node[child].next = NONE;
	if (p->last == NONE)
		p->child = child;
	else
		f->node[p->last].next = child;
	p->last = child;
	p->child_n++;
}

/* All children of from become children of parent, behind its own. */
static void
add_children(struct forest *f, uint32_t parent, uint32_t from)
{
	struct node *p = &f->node[parent], *q = &f->node[from];

	if (q->child == NONE)
		return;
	if (p->last == NONE)
		p->child = q->child;
	else
		f->node[p->last].next = q->child;
	p->last = q->last;
	p->child_n += q->child_n;
	q->child = q->last = NONE;
	q->child_n = 0;
}

static void
list_children(struct forest *f)
{
	for (uint32_t i = 1; i < f->n; i++) {
		if (f->node[i].parent != NONE)
			add_child(f, f->node[i].parent, i);
		else
			f->top[f->top_n++] = i;		/* step 2 */
	}
}

/* All nodes below the top, parents before children; in f->sorting's place.  NULL: no memory. */
static uint32_t *
parents_first(const struct forest *f, uint32_t *n)
{
	uint32_t *list = calloc((size_t)f->n + 1, sizeof(*list));

	*n = 0;
	if (list == NULL)
		return NULL;
	for (uint32_t i = 0; i < f->top_n; i++)
		list[(*n)++] = f->top[i];
	for (uint32_t i = 0; i < *n; i++)
		for (uint32_t c = f->node[list[i]].child; c != NONE; c = f->node[c].next)
			list[(*n)++] = c;
	return list;
}

/* ---- step 3: dummies go ---- */

static void
prune_children(struct forest *f, uint32_t parent)
{
	struct node *p = &f->node[parent];
	uint32_t child = p->child, next;

	p->child = p->last = NONE;
	p->child_n = 0;
	for (; child != NONE; child = next) {
		next = f->node[child].next;
		if (f->node[child].message != 0)
			add_child(f, parent, child);
		else
			add_children(f, parent, child);
	}
}

/* At the top a dummy stays, unless it has one child or none. */
static void
prune_top(struct forest *f)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->top_n; i++) {
		uint32_t node = f->top[i];

		if (f->node[node].message == 0 && f->node[node].child_n == 0)
			continue;
		if (f->node[node].message == 0 && f->node[node].child_n == 1)
			node = f->node[node].child;
		f->top[n++] = node;
	}
	f->top_n = n;
}

/* ---- steps 4 and 6: siblings by their dates ---- */

static int
by_sent(const void *a, const void *b, void *ctx)
{
	const struct forest *f = ctx;
	const struct node *x = &f->node[*(const uint32_t *)a], *y = &f->node[*(const uint32_t *)b];

	if (x->sent != y->sent)
		return x->sent < y->sent ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static void
sort_children(struct forest *f, uint32_t parent)
{
	struct node *p = &f->node[parent];
	uint32_t n = 0;

	for (uint32_t c = p->child; c != NONE; c = f->node[c].next)
		f->sorting[n++] = c;
	qsort_r(f->sorting, n, sizeof(*f->sorting), by_sent, f);
	p->child = p->last = NONE;
	p->child_n = 0;
	for (uint32_t i = 0; i < n; i++)
		add_child(f, parent, f->sorting[i]);
	if (p->message == 0 && n > 0) {
		p->sent = f->node[p->child].sent;
		p->order = f->node[p->child].order;
	}
}

static void
sort_top(struct forest *f)
{
	qsort_r(f->top, f->top_n, sizeof(*f->top), by_sent, f);
}

/* What is below first; prune: step 3 on the way. */
static bool
go_through(struct forest *f, bool prune)
{
	uint32_t n, *list = parents_first(f, &n);

	if (list == NULL)
		return false;
	while (n-- > 0) {
		if (prune)
			prune_children(f, list[n]);
		sort_children(f, list[n]);
	}
	free(list);
	if (prune)
		prune_top(f);
	sort_top(f);
	return true;
}

/* ---- step 5: threads of one subject ---- */

static const struct thread_message *
message_of(const struct forest *f, uint32_t node)
{
	return f->node[node].message == 0 ? NULL : &f->t->message[f->node[node].message - 1];
}

/* Of a dummy: of its first child. */
static uint32_t
subject_of(const struct forest *f, uint32_t node)
{
	const struct thread_message *m = message_of(f, node);

	if (m == NULL)
		m = message_of(f, f->node[node].child);
	return m == NULL ? 0 : m->subject;
}

static bool
is_reply(const struct forest *f, uint32_t node)
{
	const struct thread_message *m = message_of(f, node);

	return m != NULL && m->reply;
}

/* 5 B: the one of each subject that the others go below. */
static void
choose(const struct forest *f, uint32_t *table)
{
	for (uint32_t i = 0; i < f->top_n; i++) {
		uint32_t node = f->top[i], subject = subject_of(f, node);
		uint32_t old = table[subject];

		if (subject == 0)
			continue;
		if (old == NONE || (message_of(f, old) != NULL &&
		    (message_of(f, node) == NULL || (is_reply(f, old) && !is_reply(f, node)))))
			table[subject] = node;
	}
}

/* 5 C: node and the one in the table. */
static void
merge(struct forest *f, uint32_t *in_table, uint32_t node)
{
	uint32_t old = *in_table, dummy;

	f->node[node].moved = true;
	if (message_of(f, old) == NULL && message_of(f, node) == NULL)
		add_children(f, old, node);
	else if (message_of(f, old) == NULL || (is_reply(f, node) && !is_reply(f, old)))
		add_child(f, old, node);
	else {
		dummy = f->n++;
		f->node[old].moved = true;
		add_child(f, dummy, old);
		add_child(f, dummy, node);
		f->top[f->top_n++] = dummy;
		*in_table = dummy;
	}
}

static bool
join_subjects(struct forest *f)
{
	uint32_t *table = calloc((size_t)f->t->subjects.n + 1, sizeof(*table)), n = f->top_n, left = 0;

	if (table == NULL)
		return false;
	choose(f, table);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t subject = subject_of(f, f->top[i]);

		if (subject != 0 && table[subject] != f->top[i])
			merge(f, &table[subject], f->top[i]);
	}
	for (uint32_t i = 0; i < f->top_n; i++)
		if (!f->node[f->top[i]].moved)
			f->top[left++] = f->top[i];
	f->top_n = left;
	free(table);
	return true;
}

/* ---- the response ---- */

/*
 * One thread.  f->sorting is the stack: the brother to go on with of each node
 * on the way up that has several children.
 */
static void
put_thread(const struct forest *f, uint32_t node, struct buf *out)
{
	uint32_t depth = 0, *stack = f->sorting;

	(void)buf_char(out, '(');
	for (;;) {
		const struct node *x = &f->node[node];

		if (x->message != 0)
			imap_put_number(out, message_of(f, node)->number);
		if (x->child != NONE) {
			if (x->message != 0)
				(void)buf_char(out, ' ');
			node = x->child;
			if (x->message != 0 && x->child_n == 1)
				continue;
			stack[depth++] = f->node[node].next;
			(void)buf_char(out, '(');
			continue;
		}
		(void)buf_char(out, ')');
		while (depth > 0 && stack[depth - 1] == NONE) {
			depth--;
			(void)buf_char(out, ')');
		}
		if (depth == 0)
			return;
		node = stack[depth - 1];
		stack[depth - 1] = f->node[node].next;
		(void)buf_char(out, '(');
	}
}

bool
imap_threads_by_references(struct imap_threads *t, struct buf *out)
{
	struct forest f;
	bool ok = forest_init(&f, t);

	if (ok) {
		for (size_t i = 0; i < t->n; i++)
			place_message(&f, i);
		list_children(&f);
		ok = go_through(&f, true) && join_subjects(&f) && go_through(&f, false);
	}
	for (uint32_t i = 0; ok && i < f.top_n; i++)
		put_thread(&f, f.top[i], out);
	forest_clear(&f);
	return ok;
}
