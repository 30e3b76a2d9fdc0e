/*
 * APPEND, RFC 3501 section 6.3.11, with APPENDUID of RFC 4315, of several messages
 * at once (RFC 3502), with literal8 (RFC 3516, RFC 9051) and UTF8 (RFC 6855); and
 * REPLACE (RFC 8508), which is APPEND of one message in the place of another.
 *
 * A message is never in memory: it goes into a file of the store as it comes.
 * OK means that all of them are durable; otherwise none is there.
 */
#include <stdlib.h>

#include "imap_cmd.h"

struct append {
	struct store_group	*group;
	struct store_item	**item;		/* owned; item[n - 1] is being written */
	size_t			 n, room;
	char			 mailbox[STORE_NAME_MAX + 2];	/* too long a name stays one */
	bool			 empty;		/* one of them is */
	bool			 binary;	/* the one being written: a literal8 */
	bool			 utf8;		/* and within UTF8 (...) */
	char			 last;		/* its last octet so far */
	uint32_t		 replaces;	/* REPLACE: UID of the message that goes; else 0 */
	bool			 unstorable;	/* octets came that we do not keep as they are */
};

static void
append_end(struct imap_session *s)
{
	struct append *a = s->run.state;

	store_group_free(a->group);
	free(a->item);
	s->run.state = NULL;
}

static bool
out_of_memory(struct imap_session *s)
{
	(void)imap_no(s, "[UNAVAILABLE] Out of memory");
	return false;
}

static struct append *
append_new(struct imap_session *s, struct slice mailbox)
{
	struct append *a = imap_pool_alloc(&s->pool, sizeof(*a));

	if (a == NULL)
		return NULL;
	(void)slice_text(slice_sub(mailbox, 0, STORE_NAME_MAX + 1), a->mailbox, sizeof(a->mailbox));
	a->group = store_group_new(STORE_ALL);
	s->run.state = a;
	s->run.end = append_end;
	return a->group == NULL ? NULL : a;
}

static bool
add_message(struct imap_session *s, struct append *a, const struct imap_append *args, uint64_t octets)
{
	const struct store_new what = {
		.folder = slice_of(a->mailbox),
		.date = args->has_date ? args->date : 0,
		.flags = args->flags.system,
		.keyword = args->flags.keyword,
		.keyword_n = args->flags.keyword_n,
		.size = octets,
	};

	if (a->n == a->room) {
		size_t room = a->room == 0 ? 4 : 2 * a->room;
		struct store_item **more = reallocarray(a->item, room, sizeof(struct store_item *));

		if (more == NULL)
			return out_of_memory(s);
		a->item = more;
		a->room = room;
	}
	a->item[a->n] = store_group_add(a->group, s->setup.store, &what);
	if (a->item[a->n] == NULL)
		return out_of_memory(s);
	if (a->item[a->n]->error != STORE_OK) {
		(void)imap_no_target(s, a->item[a->n]->error, "append");
		return false;
	}
	a->n++;
	a->empty = a->empty || octets == 0;
	a->binary = args->binary;
	a->utf8 = args->utf8;
	a->last = '\0';
	return true;
}

/* " 4" of REPLACE, " 217" of UID REPLACE; 0: s->reply says why not. */
static uint32_t
parse_replaced(struct imap_session *s, struct imap_in *in)
{
	struct imap_walk walk;
	struct imap_set set;
	uint32_t seq;

	if (!imap_parse_space(in) || !imap_parse_set(in, &set) ||
	    set.saved || set.n != 1 || set.at[0].first != set.at[0].last) {
		(void)imap_bad(s, "One message number expected");
		return 0;
	}
	if (s->readonly)
		(void)imap_no(s, "[READ-ONLY] Mailbox is read-only");
	else if (!imap_walk_init(&walk, s, &set, s->run.uid))
		(void)imap_bad(s, "No such message");
	else if (!imap_walk_next(&walk, s->folder, &seq))
		(void)imap_no(s, "[NONEXISTENT] No such message");
	else if (store_folder_at(s->folder, seq)->gone)
		(void)imap_no_store(s, STORE_GONE, "replace");
	else
		return store_folder_at(s->folder, seq)->uid;
	return 0;
}

bool
cmd_append_begin(struct imap_session *s, struct imap_in *in, uint64_t octets)
{
	struct imap_append args = { 0 };
	struct append *a = s->run.state;
	uint32_t replaces = 0;
	bool ok;

	if (s->run.cmd->run == cmd_replace) {
		if (a != NULL) {
			(void)imap_bad(s, "One message at a time");
			return false;
		}
		replaces = parse_replaced(s, in);
		if (replaces == 0)
			return false;
	}
	if (a == NULL)
		ok = imap_parse_append(in, &args);
	else
		ok = (!a->utf8 || imap_parse_char(in, ')')) && imap_parse_append_more(in, &args);
	if (!ok) {
		(void)imap_bad_args(s, in);
		return false;
	}
	if (args.utf8 && (s->enabled & ENABLED_UTF8) == 0) {
		(void)imap_bad(s, "ENABLE UTF8=ACCEPT first");
		return false;
	}
	if (octets > s->setup.message_size) {
		(void)imap_no(s, "[TOOBIG] Message is too large");
		return false;
	}
	if (a == NULL)
		a = append_new(s, args.mailbox);
	if (a == NULL)
		return out_of_memory(s);
	a->replaces = replaces;
	return add_message(s, a, &args, octets);
}

/*
 * We keep text: with NUL, or (not UTF8) with line ends that would be changed, a
 * literal8 cannot come back as it was.
 */
static bool
is_unstorable(const struct append *a, struct slice octets)
{
	char last = a->last;

	if (slice_find(octets, '\0') != octets.len)
		return true;
	for (size_t i = 0; i < octets.len && !a->utf8; i++) {
		if ((octets.ptr[i] == '\n') != (last == '\r'))
			return true;
		last = octets.ptr[i];
	}
	return false;
}

void
cmd_append_chunk(struct imap_session *s, struct slice octets)
{
	struct append *a = s->run.state;

	if (octets.len == 0)
		return;
	if (a->binary)
		a->unstorable = a->unstorable || is_unstorable(a, octets);
	a->last = octets.ptr[octets.len - 1];
	store_group_write(a->group, a->item[a->n - 1], octets);
}

static void
put_appenduid(struct buf *out, const struct append *a)
{
	struct imap_set_writer w = { .out = out };

	(void)buf_fmt(out, "OK [APPENDUID %u ", a->item[0]->uidvalidity);
	for (size_t i = 0; i < a->n; i++)
		imap_set_put(&w, a->item[i]->uid);
	imap_set_end(&w);
	(void)buf_text(out, a->n == 1 ? "] Message appended" : "] Messages appended");
}

/* The line is whole, and with it the messages: they are kept, or s->reply says why not. */
static bool
commit(struct imap_session *s, struct imap_in *in, struct append *a)
{
	enum store_error error;

	if (a == NULL) {
		(void)imap_bad(s, "Message literal expected");
		return false;
	}
	in->rest = slice_sub(buf_slice_of(&s->input.text), s->input.line_at, s->input.text.len);
	if ((a->utf8 && !imap_parse_char(in, ')')) || !imap_at_end(in)) {
		(void)imap_bad(s, "Unexpected arguments behind the message");
		return false;
	}
	if (a->empty || a->unstorable) {
		(void)imap_no(s, a->empty ? "[CANNOT] A message cannot be empty" : "[UNKNOWN-CTE] Binary content cannot be kept");
		return false;
	}
	error = store_group_commit(a->group);
	if (error != STORE_OK)
		(void)imap_no_target(s, error, "append");
	return error == STORE_OK;
}

enum imap_step
cmd_append(struct imap_session *s, struct imap_in *in)
{
	struct append *a = s->run.state;

	if (commit(s, in, a))
		put_appenduid(&s->reply, a);
	return STEP_DONE;
}

/* The new one is there before the old one goes; the sync behind the command tells both. */
enum imap_step
cmd_replace(struct imap_session *s, struct imap_in *in)
{
	struct append *a = s->run.state;
	enum store_error error;

	if (!commit(s, in, a))
		return STEP_DONE;
	(void)buf_text(&s->out, "* ");
	put_appenduid(&s->out, a);
	(void)buf_text(&s->out, "\r\n");
	error = store_folder_remove(s->folder, &a->replaces, 1);
	s->run.modseq = true;
	if (error != STORE_OK && error != STORE_GONE)
		return imap_no_store(s, error, "replace");
	return imap_ok(s, "Replaced");
}
