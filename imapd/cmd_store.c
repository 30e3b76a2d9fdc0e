/* STORE, UID STORE: RFC 3501 section 6.4.6. */
#include <stdlib.h>

#include "imap_cmd.h"

#define STORE_AT_ONCE 2000	/* messages between two looks at the other sessions */

struct store_cmd {
	struct store_flags	 flags;
	bool			 silent;
	bool			 gone;		/* some were expunged meanwhile, and that is an error */
	uint32_t		*uid;		/* owned */
	size_t			 n, at;
};

static void
store_end(struct imap_session *s)
{
	struct store_cmd *c = s->run.state;

	free(c->uid);
}

/* "FLAGS", "+FLAGS.SILENT" ... and the flags. */
static bool
parse_change(struct imap_in *in, struct store_cmd *c)
{
	struct imap_flags flags;

	c->flags.change = STORE_REPLACE;
	if (imap_take_char(in, '+'))
		c->flags.change = STORE_ADD;
	else if (imap_take_char(in, '-'))
		c->flags.change = STORE_REMOVE;
	if (!slice_iprefix(&in->rest, "FLAGS"))
		return imap_in_error(in, "Unknown store item");
	c->silent = slice_iprefix(&in->rest, ".SILENT");
	if (!imap_parse_space(in) || !imap_parse_store_flags(in, &flags) || !imap_parse_end(in))
		return false;
	c->flags.flags = flags.system;
	c->flags.keyword = flags.keyword;
	c->flags.keyword_n = flags.keyword_n;
	return true;
}

/* What the flags of those that were changed are now. */
static void
tell(struct imap_session *s, const struct store_cmd *c, size_t n)
{
	imap_put_new_keywords(s);
	if (c->silent)
		return;
	for (size_t i = 0; i < n; i++) {
		uint32_t seq = store_folder_seq(s->folder, c->uid[c->at + i]);

		if (seq <= store_folder_count(s->folder) && store_folder_at(s->folder, seq)->uid == c->uid[c->at + i] &&
		    !store_folder_at(s->folder, seq)->gone)
			imap_put_fetch_flags(s, seq);
	}
}

static enum imap_step
store_step(struct imap_session *s)
{
	struct store_cmd *c = s->run.state;
	size_t n = c->n - c->at < STORE_AT_ONCE ? c->n - c->at : STORE_AT_ONCE;
	enum store_error error;

	if (imap_out_high(s))
		return STEP_DRAIN;
	if (n > 0) {
		error = store_folder_flags(s->folder, c->uid + c->at, n, &c->flags);
		if (error != STORE_OK)
			return imap_no_store(s, error, "store");
		tell(s, c, n);
		c->at += n;
	}
	if (c->at < c->n)
		return STEP_AGAIN;
	if (c->gone)
		return imap_no_store(s, STORE_GONE, "store");
	return imap_ok(s, "Flags stored");
}

enum imap_step
cmd_store(struct imap_session *s, struct imap_in *in)
{
	struct store_cmd *c = imap_pool_alloc(&s->pool, sizeof(*c));
	struct imap_walk walk;
	struct imap_set set;

	if (c == NULL)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (!imap_parse_space(in) || !imap_parse_set(in, &set) || !imap_parse_space(in) || !parse_change(in, c))
		return imap_bad_args(s, in);
	if (s->readonly)
		return imap_no(s, "[READ-ONLY] Mailbox is read-only");
	if (!imap_walk_init(&walk, s, &set, s->run.uid))
		return imap_bad(s, "No such message");
	if (!imap_walk_uids(&walk, s->folder, &c->uid, &c->n, &c->gone))
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	c->gone = c->gone && !walk.uid;
	s->run.state = c;
	s->run.end = store_end;
	s->run.step = store_step;
	return store_step(s);
}
