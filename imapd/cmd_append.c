/*
 * APPEND, RFC 3501 section 6.3.11, with APPENDUID of RFC 4315.
 *
 * The message is never in memory: it goes into a file of the store as it comes.
 * OK means that it is durable.
 */
#include "imap_cmd.h"

struct append {
	struct store_group	*group;
	struct store_item	*item;
	bool			 empty;
};

static void
append_end(struct imap_session *s)
{
	struct append *a = s->run.state;

	store_group_free(a->group);
	s->run.state = NULL;
}

static bool
begin(struct imap_session *s, struct append *a, const struct imap_append *args, uint64_t octets)
{
	const struct store_new what = {
		.folder = args->mailbox,
		.date = args->has_date ? args->date : 0,
		.flags = args->flags.system,
		.keyword = args->flags.keyword,
		.keyword_n = args->flags.keyword_n,
		.size = octets,
	};

	a->empty = octets == 0;
	a->group = store_group_new(STORE_ALL);
	if (a->group != NULL)
		a->item = store_group_add(a->group, s->setup.store, &what);
	if (a->item == NULL) {
		(void)imap_no(s, "[UNAVAILABLE] Out of memory");
		return false;
	}
	if (a->item->error != STORE_OK) {
		(void)imap_no_target(s, a->item->error, "append");
		return false;
	}
	return true;
}

bool
cmd_append_begin(struct imap_session *s, struct imap_in *in, uint64_t octets)
{
	struct imap_append args;
	struct append *a;

	if (!imap_parse_append(in, &args)) {
		(void)imap_bad_args(s, in);
		return false;
	}
	if (octets > s->setup.message_size) {
		(void)imap_no(s, "[TOOBIG] Message is too large");
		return false;
	}
	a = imap_pool_alloc(&s->pool, sizeof(*a));
	if (a == NULL) {
		(void)imap_no(s, "[UNAVAILABLE] Out of memory");
		return false;
	}
	s->run.state = a;
	s->run.end = append_end;
	return begin(s, a, &args, octets);
}

void
cmd_append_chunk(struct imap_session *s, struct slice octets)
{
	struct append *a = s->run.state;

	store_group_write(a->group, a->item, octets);
}

/* The line is whole, and with it the message. */
enum imap_step
cmd_append(struct imap_session *s, struct imap_in *in)
{
	struct append *a = s->run.state;
	struct slice text = buf_slice_of(&s->input.text);
	enum store_error error;

	(void)in;
	if (a == NULL)
		return imap_bad(s, "Message literal expected");
	if (slice_trim(slice_sub(text, s->input.line_at, text.len)).len > 0)
		return imap_bad(s, "Unexpected arguments behind the message");
	if (a->empty)
		return imap_no(s, "[CANNOT] A message cannot be empty");
	error = store_group_commit(a->group);
	if (error != STORE_OK)
		return imap_no_target(s, error, "append");
	(void)buf_fmt(&s->reply, "OK [APPENDUID %u %u] Message appended", a->item->uidvalidity, a->item->uid);
	return STEP_DONE;
}
