/* STORE, UID STORE: RFC 3501 section 6.4.6, with UNCHANGEDSINCE of RFC 7162 section 3.1.3. */
#include <stdlib.h>

#include "imap_cmd.h"

#define STORE_AT_ONCE 2000	/* messages between two looks at the other sessions */

struct store_cmd {
	struct store_flags	 flags;
	bool			 silent;
	bool			 gone;		/* some were expunged meanwhile, and that is an error */
	uint32_t		*uid;		/* owned */
	size_t			 n, at;
	/* UNCHANGEDSINCE: those that were changed since, in the order of uid. */
	uint32_t		*failed;	/* owned */
	size_t			 failed_n;
};

static void
store_end(struct imap_session *s)
{
	struct store_cmd *c = s->run.state;

	free(c->uid);
	free(c->failed);
}

/* "(UNCHANGEDSINCE 12121230045) " */
static bool
parse_modifier(struct imap_in *in, struct store_cmd *c)
{
	if (!imap_take_char(in, '('))
		return true;
	if (!slice_iprefix(&in->rest, "UNCHANGEDSINCE "))
		return imap_in_error(in, "Unknown store modifier");
	c->flags.conditional = true;
	return imap_parse_modseq(in, &c->flags.unchangedsince) && imap_parse_char(in, ')') && imap_parse_space(in);
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

/* What the flags of those that were changed are now; with .SILENT only their mod-sequences, if those are told at all. */
static void
tell(struct imap_session *s, const struct store_cmd *c, size_t n, size_t failed)
{
	imap_put_new_keywords(s);
	if (c->silent && (s->enabled & ENABLED_CONDSTORE) == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		uint32_t uid = c->uid[c->at + i], seq = store_folder_seq(s->folder, uid);

		while (failed < c->failed_n && c->failed[failed] < uid)
			failed++;
		if (failed < c->failed_n && c->failed[failed] == uid)
			continue;
		if (seq <= store_folder_count(s->folder) && store_folder_at(s->folder, seq)->uid == uid &&
		    !store_folder_at(s->folder, seq)->gone)
			imap_put_fetch_flags(s, seq, !c->silent);
	}
}

/* "OK [MODIFIED 7,9] text", "NO ..." if some of them are not there any more. */
static enum imap_step
modified(struct imap_session *s, const struct store_cmd *c)
{
	struct imap_set_writer w = { .out = &s->reply };

	buf_reset(&s->reply);
	(void)buf_text(&s->reply, c->gone ? "NO [MODIFIED " : "OK [MODIFIED ");
	for (size_t i = 0; i < c->failed_n; i++)
		imap_set_put(&w, s->run.uid ? c->failed[i] : store_folder_seq(s->folder, c->failed[i]));
	imap_set_end(&w);
	(void)buf_text(&s->reply, "] Some were changed meanwhile");
	return STEP_DONE;
}

/* The next n of them. */
static enum store_error
change(struct imap_session *s, struct store_cmd *c, size_t n)
{
	size_t before = c->failed_n, failed = 0;
	enum store_error error;

	c->flags.failed = c->failed == NULL ? NULL : c->failed + c->failed_n;
	c->flags.failed_n = &failed;
	error = store_folder_flags(s->folder, c->uid + c->at, n, &c->flags);
	if (error != STORE_OK)
		return error;
	c->failed_n += failed;
	tell(s, c, n, before);
	c->at += n;
	return STORE_OK;
}

static enum imap_step
store_step(struct imap_session *s)
{
	struct store_cmd *c = s->run.state;
	size_t n = c->n - c->at < STORE_AT_ONCE ? c->n - c->at : STORE_AT_ONCE;
	enum store_error error;

	if (imap_out_high(s))
		return STEP_DRAIN;
	if (c->at > 0)
		imap_progress(s, c->at, c->n);
	if (n > 0) {
		error = change(s, c, n);
		if (error != STORE_OK)
			return imap_no_store(s, error, "store");
	}
	if (c->at < c->n)
		return STEP_AGAIN;
	if (c->failed_n > 0)
		return modified(s, c);
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
	if (!imap_parse_space(in) || !imap_parse_set(in, &set) || !imap_parse_space(in) || !parse_modifier(in, c) ||
	    !parse_change(in, c))
		return imap_bad_args(s, in);
	if (s->readonly)
		return imap_no(s, "[READ-ONLY] Mailbox is read-only");
	if (!imap_walk_init(&walk, s, &set, s->run.uid))
		return imap_bad(s, "No such message");
	s->run.state = c;
	s->run.end = store_end;
	if (!imap_walk_uids(&walk, s->folder, &c->uid, &c->n, &c->gone))
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	c->gone = c->gone && !walk.uid;
	if (c->flags.conditional) {
		imap_condstore(s);
		c->failed = calloc(c->n + 1, sizeof(*c->failed));
		if (c->failed == NULL)
			return imap_no(s, "[UNAVAILABLE] Out of memory");
	}
	s->run.step = store_step;
	return store_step(s);
}
