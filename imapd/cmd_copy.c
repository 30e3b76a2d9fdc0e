/* COPY and MOVE (RFC 3501 section 6.4.7, RFC 6851), with COPYUID of RFC 4315. */
#include <stdlib.h>

#include "imap_cmd.h"

/* "OK [COPYUID 38505 304,319:320 3956:3958] text", as far as there is anything to tell. */
static void
put_copyuid(struct buf *out, uint32_t uidvalidity, const struct store_pair *pairs, size_t n, const char *text)
{
	struct imap_set_writer from = { .out = out }, to = { .out = out };

	(void)buf_text(out, "OK ");
	if (n > 0) {
		(void)buf_fmt(out, "[COPYUID %u ", uidvalidity);
		for (size_t i = 0; i < n; i++)
			imap_set_put(&from, pairs[i].from);
		imap_set_end(&from);
		(void)buf_char(out, ' ');
		for (size_t i = 0; i < n; i++)
			imap_set_put(&to, pairs[i].to);
		imap_set_end(&to);
		(void)buf_text(out, "] ");
	}
	(void)buf_text(out, text);
}

/* What both have to do. */
struct transfer {
	struct slice		 to;
	uint32_t		*uid;		/* owned */
	struct store_pair	*pair;		/* owned */
	size_t			 n;
	bool			 passes;	/* over those that are gone */
};

static void
transfer_clear(struct transfer *t)
{
	free(t->uid);
	free(t->pair);
}

/* Arguments and messages; false: s->reply says what is wrong, or that there is nothing to do. */
static bool
transfer_init(struct imap_session *s, struct imap_in *in, struct transfer *t)
{
	struct imap_walk walk;
	struct imap_set set;
	bool gone, ok;

	*t = (struct transfer){ 0 };
	if (!imap_parse_space(in) || !imap_parse_set(in, &set) || !imap_parse_space(in) ||
	    !imap_parse_mailbox(in, &t->to) || !imap_parse_end(in)) {
		(void)imap_bad_args(s, in);
		return false;
	}
	if (!imap_walk_init(&walk, s, &set, s->run.uid)) {
		(void)imap_bad(s, "No such message");
		return false;
	}
	t->passes = walk.uid;
	ok = imap_walk_uids(&walk, s->folder, &t->uid, &t->n, &gone);
	if (ok && t->n > 0)
		t->pair = calloc(t->n, sizeof(*t->pair));
	if (!ok || (t->n > 0 && t->pair == NULL))
		(void)imap_no(s, "[UNAVAILABLE] Out of memory");
	else if (gone && !t->passes)
		(void)imap_no_store(s, STORE_GONE, "copy");
	else if (t->n == 0)
		(void)imap_ok(s, "No messages");
	else
		return true;
	transfer_clear(t);
	return false;
}

/* One after the other into the group; those of a UID COPY that are gone are passed over. */
static enum store_error
copy_all(struct imap_session *s, struct transfer *t, struct store_group *g, struct store_item **items)
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		struct store_item *item = store_group_copy(g, s->folder, t->uid[i], t->to);

		if (item == NULL)
			return STORE_MEMORY;
		if (item->error == STORE_GONE && t->passes) {
			store_group_cancel(g, item);
			continue;
		}
		if (item->error != STORE_OK)
			return item->error;
		t->pair[n].from = t->uid[i];
		items[n++] = item;
	}
	t->n = n;
	return n == 0 ? STORE_OK : store_group_commit(g);
}

static enum imap_step
copy(struct imap_session *s, struct transfer *t)
{
	struct store_group *g = store_group_new(STORE_ALL);
	struct store_item **items = calloc(t->n, sizeof(*items));
	enum store_error error = STORE_MEMORY;

	if (g != NULL && items != NULL)
		error = copy_all(s, t, g, items);
	if (error == STORE_OK) {
		for (size_t i = 0; i < t->n; i++)
			t->pair[i].to = items[i]->uid;
		put_copyuid(&s->reply, t->n == 0 ? 0 : items[0]->uidvalidity, t->pair, t->n, "Messages copied");
		if (s->reply.full)
			(void)imap_ok(s, "Messages copied");
	} else
		(void)imap_no_target(s, error, "copy");
	free(items);
	store_group_free(g);
	return STEP_DONE;
}

enum imap_step
cmd_copy(struct imap_session *s, struct imap_in *in)
{
	struct transfer t;

	if (!transfer_init(s, in, &t))
		return STEP_DONE;
	(void)copy(s, &t);
	transfer_clear(&t);
	return STEP_DONE;
}

/*
 * As many as go.  Those of a UID MOVE that someone expunged meanwhile are
 * passed over; *moved pairs are at the front of t->pair.
 */
static enum store_error
move_all(struct imap_session *s, struct transfer *t, size_t *moved, uint32_t *uidvalidity)
{
	enum store_error error = STORE_OK;
	size_t at = 0, n;

	*moved = 0;
	while (at < t->n) {
		error = store_folder_move(s->folder, t->uid + at, t->n - at, t->to, t->pair + *moved, &n, uidvalidity);
		*moved += n;
		at += n;
		if (error != STORE_GONE || !t->passes)
			break;
		error = STORE_OK;
		at++;
	}
	return error;
}

/*
 * RFC 6851 section 4.3: COPYUID comes in an untagged OK before the EXPUNGEs,
 * which the sync behind the command tells.  What was moved before an error
 * stays moved, and is told.
 */
enum imap_step
cmd_move(struct imap_session *s, struct imap_in *in)
{
	enum store_error error;
	uint32_t uidvalidity = 0;
	struct transfer t;
	size_t moved;

	if (!transfer_init(s, in, &t))
		return STEP_DONE;
	if (s->readonly) {
		transfer_clear(&t);
		return imap_no(s, "[READ-ONLY] Mailbox is read-only");
	}
	error = move_all(s, &t, &moved, &uidvalidity);
	if (moved > 0) {
		(void)buf_text(&s->out, "* ");
		put_copyuid(&s->out, uidvalidity, t.pair, moved, "Messages moved\r\n");
	}
	transfer_clear(&t);
	s->run.modseq = true;
	if (error == STORE_OK)
		return imap_ok(s, "Moved");
	return imap_no_target(s, error, "move");
}
