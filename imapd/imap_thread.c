#include <stdlib.h>

#include "imap_thread_int.h"
#include "mime/imap_write.h"

struct imap_threads *
imap_threads_new(uint64_t seed)
{
	struct imap_threads *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	thread_texts_init(&t->ids, seed);
	thread_texts_init(&t->subjects, seed);
	return t;
}

void
imap_threads_free(struct imap_threads *t)
{
	if (t == NULL)
		return;
	thread_texts_clear(&t->ids);
	thread_texts_clear(&t->subjects);
	free(t->message);
	free(t->ref);
	free(t->id_taken);
	free(t);
}

/* Room for one more of size octets in *at. */
static bool
grow(void **at, size_t n, size_t *room, size_t size)
{
	size_t more = *room == 0 ? 256 : 2 * *room;
	void *bigger;

	if (n < *room)
		return true;
	bigger = reallocarray(*at, more, size);
	if (bigger == NULL)
		return false;
	*at = bigger;
	*room = more;
	return true;
}

static bool
add_ref(struct imap_threads *t, struct thread_message *m, uint32_t id)
{
	void *at = t->ref;

	if (m->ref_n >= IMAP_THREAD_REFERENCES) {	/* the last one is the parent */
		t->ref[m->ref + m->ref_n - 1] = id;
		return true;
	}
	if (t->ref_n >= UINT32_MAX || !grow(&at, t->ref_n, &t->ref_room, sizeof(*t->ref)))
		return false;
	t->ref = at;
	t->ref[t->ref_n++] = id;
	m->ref_n++;
	return true;
}

/* Those of References, or the first of In-Reply-To (section 4, step 1). */
static bool
add_refs(struct imap_threads *t, struct thread_message *m, const struct imap_thread_message *in, struct buf *id)
{
	struct slice refs = in->references, reply = in->in_reply_to;
	uint32_t text;

	m->ref = (uint32_t)t->ref_n;
	while (thread_next_id(&refs, id)) {
		text = thread_text(&t->ids, buf_slice_of(id));
		if (text == 0 || !add_ref(t, m, text))
			return false;
	}
	if (m->ref_n > 0 || !thread_next_id(&reply, id))
		return true;
	text = thread_text(&t->ids, buf_slice_of(id));
	return text != 0 && add_ref(t, m, text);
}

/* An id that another message has is as good as none. */
static bool
add_id(struct imap_threads *t, struct thread_message *m, struct slice value, struct buf *id)
{
	if (thread_next_id(&value, id)) {
		m->id = thread_text(&t->ids, buf_slice_of(id));
		if (m->id == 0)
			return false;
	}
	while (t->ids.n >= t->id_room) {
		size_t room = t->id_room == 0 ? 1024 : 2 * t->id_room;
		bool *more = reallocarray(t->id_taken, room, sizeof(bool));

		if (more == NULL)
			return false;
		for (size_t i = t->id_room; i < room; i++)
			more[i] = false;
		t->id_taken = more;
		t->id_room = room;
	}
	if (m->id != 0 && t->id_taken[m->id])
		m->id = 0;
	if (m->id != 0)
		t->id_taken[m->id] = true;
	return true;
}

bool
imap_threads_add(struct imap_threads *t, const struct imap_thread_message *in)
{
	struct thread_message m = { .number = in->number, .sent = in->sent, .reply = in->reply };
	void *at = t->message;
	struct buf id;
	bool ok;

	if (!grow(&at, t->n, &t->room, sizeof(m)))
		return false;
	t->message = at;
	if (in->subject.len > 0) {
		m.subject = thread_text(&t->subjects, in->subject);
		if (m.subject == 0)
			return false;
	}
	buf_init(&id, 4096);
	ok = add_refs(t, &m, in, &id) && add_id(t, &m, in->message_id, &id);
	buf_clear(&id);
	if (ok)
		t->message[t->n++] = m;
	return ok;
}

/* ---- ORDEREDSUBJECT ---- */

static int
by_subject(const void *a, const void *b)
{
	const struct thread_message *x = a, *y = b;

	if (x->subject != y->subject)
		return x->subject < y->subject ? -1 : 1;
	if (x->sent != y->sent)
		return x->sent < y->sent ? -1 : 1;
	return (x->number > y->number) - (x->number < y->number);
}

struct group {
	const struct thread_message	*first;
	size_t				 n;
};

static int
by_first(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->first->sent != y->first->sent)
		return x->first->sent < y->first->sent ? -1 : 1;
	return (x->first->number > y->first->number) - (x->first->number < y->first->number);
}

/* "(1)", "(1 2)", "(1 (2)(3))": the second and all others are children of the first. */
static void
put_group(struct buf *out, const struct group *g)
{
	(void)buf_char(out, '(');
	imap_put_number(out, g->first->number);
	if (g->n > 1)
		(void)buf_char(out, ' ');
	for (size_t i = 1; i < g->n; i++) {
		if (g->n > 2)
			(void)buf_char(out, '(');
		imap_put_number(out, g->first[i].number);
		if (g->n > 2)
			(void)buf_char(out, ')');
	}
	(void)buf_char(out, ')');
}

bool
imap_threads_by_subject(struct imap_threads *t, struct buf *out)
{
	struct group *group = calloc(t->n + 1, sizeof(*group));
	size_t n = 0;

	if (group == NULL)
		return false;
	/* Which subject comes first does not matter: threads are in the order of their dates. */
	if (t->n > 0)
		qsort(t->message, t->n, sizeof(*t->message), by_subject);
	for (size_t i = 0; i < t->n; i++) {
		if (n == 0 || group[n - 1].first->subject != t->message[i].subject)
			group[n++].first = &t->message[i];
		group[n - 1].n++;
	}
	qsort(group, n, sizeof(*group), by_first);
	for (size_t i = 0; i < n; i++)
		put_group(out, &group[i]);
	free(group);
	return true;
}
