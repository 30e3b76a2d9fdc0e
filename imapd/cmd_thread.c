/* THREAD, UID THREAD: RFC 5256 section 4.  Search, learn who answers whom, tell. */
#include <sys/random.h>

#include "imap_cmd.h"
#include "imap_facts.h"
#include "imap_search.h"
#include "imap_thread.h"

#define AT_ONCE	500	/* messages opened before others have their turn */

struct thread {
	struct imap_searching	 searching;
	struct imap_threads	*threads;	/* owned */
	bool			 by_references;
	size_t			 n;		/* messages added */
	struct buf		 base, key;	/* of the subject at hand */
};

static void
thread_end(struct imap_session *s)
{
	struct thread *x = s->run.state;

	imap_search_clear(&x->searching);
	imap_message_close(&s->message);
	imap_threads_free(x->threads);
	buf_clear(&x->base);
	buf_clear(&x->key);
}

static enum imap_step
tell(struct imap_session *s, struct thread *x)
{
	bool ok;

	(void)buf_text(&s->out, x->n == 0 ? "* THREAD" : "* THREAD ");
	if (x->by_references)
		ok = imap_threads_by_references(x->threads, &s->out);
	else
		ok = imap_threads_by_subject(x->threads, &s->out);
	(void)buf_text(&s->out, "\r\n");
	return ok ? imap_ok(s, "Threaded") : imap_no(s, "[UNAVAILABLE] Out of memory");
}

static bool
add(struct imap_session *s, struct thread *x, uint32_t seq)
{
	struct imap_thread_message m = {
		.number = s->run.uid ? store_folder_at(s->folder, seq)->uid : seq, .sent = imap_fact_sent(s, seq),
	};
	struct mime_field field;
	struct slice header = { 0 };

	/* All that is wanted is kept together. */
	if (store_folder_at(s->folder, seq)->gone ||
	    imap_message_header(&s->message, s->folder, seq, SLICE("References"), &header, NULL) != STORE_OK)
		header = (struct slice){ 0 };
	buf_reset(&x->base);
	buf_reset(&x->key);
	if (mime_field_find(header, "Subject", &field) && mime_base_subject(field.value, &x->base, &m.reply))
		(void)mime_collation_key(slice_sub(buf_slice_of(&x->base), 0, IMAP_FACT_MAX), &x->key);
	m.subject = buf_slice_of(&x->key);
	if (x->by_references) {
		if (mime_field_find(header, "Message-ID", &field))
			m.message_id = field.value;
		if (mime_field_find(header, "References", &field))
			m.references = field.value;
		if (mime_field_find(header, "In-Reply-To", &field))
			m.in_reply_to = field.value;
	}
	return imap_threads_add(x->threads, &m);
}

static enum imap_step
learn_step(struct imap_session *s)
{
	struct thread *x = s->run.state;

	if (x->n > 0)
		imap_progress(s, x->n, x->searching.found.n);
	for (size_t done = 0; x->n < x->searching.found.n; x->n++, done++) {
		if (done >= AT_ONCE)
			return STEP_AGAIN;
		if (!add(s, x, x->searching.found.seq[x->n]))
			return imap_no(s, "[LIMIT] Too many messages to thread at once");
	}
	imap_message_close(&s->message);
	return tell(s, x);
}

static enum imap_step
search_step(struct imap_session *s)
{
	struct thread *x = s->run.state;

	if (imap_search_step(s, &x->searching) == STEP_AGAIN)
		return STEP_AGAIN;
	if (x->searching.no_memory)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	s->run.step = learn_step;
	return learn_step(s);
}

enum imap_step
cmd_thread(struct imap_session *s, struct imap_in *in)
{
	struct thread *x = imap_pool_alloc(&s->pool, sizeof(*x));
	struct imap_thread_command cmd;
	uint64_t seed = 0;

	if (x == NULL)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (!imap_parse_space(in) || !imap_parse_thread(in, &cmd))
		return imap_bad_args(s, in);
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed = (uint64_t)(uintptr_t)x;
	x->by_references = cmd.by_references;
	x->threads = imap_threads_new(seed);
	buf_init(&x->base, MIME_HEADER_MAX);
	buf_init(&x->key, MIME_HEADER_MAX);
	s->run.state = x;
	s->run.end = thread_end;
	if (x->threads == NULL)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (!imap_search_init(s, &x->searching, &cmd.search))
		return STEP_DONE;
	s->run.step = search_step;
	return search_step(s);
}
