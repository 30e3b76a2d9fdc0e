/* SELECT, EXAMINE, CLOSE, UNSELECT; with CONDSTORE and QRESYNC (RFC 7162). */
#include "imap_cmd.h"

static void
put_selected(struct imap_session *s)
{
	const struct store_folder *f = s->folder;
	bool rev2 = (s->enabled & ENABLED_REV2) != 0;
	uint32_t unseen = store_folder_unseen(f);
	char id[STORE_ID_MAX];

	imap_put_folder_flags(s);
	(void)buf_fmt(&s->out, "* %u EXISTS\r\n", store_folder_count(f));
	if (!rev2)
		(void)buf_fmt(&s->out, "* %u RECENT\r\n", store_folder_recent(f));
	if (unseen != 0 && !rev2)
		(void)buf_fmt(&s->out, "* OK [UNSEEN %u] First unseen\r\n", unseen);
	(void)buf_fmt(&s->out, "* OK [UIDVALIDITY %u] UIDs valid\r\n", store_folder_uidvalidity(f));
	(void)buf_fmt(&s->out, "* OK [UIDNEXT %u] Predicted next UID\r\n", store_folder_uidnext(f));
	imap_put_highestmodseq(s);
	store_folder_id(f, id);
	(void)buf_fmt(&s->out, "* OK [MAILBOXID (%s)] Mailbox id\r\n", id);
}

/* ---- QRESYNC ---- */

/* The next number of a resolved set, in *at; false at its end. */
struct set_walk {
	const struct imap_set	*set;
	size_t			 range;
	uint32_t		 last;	/* given; 0: none of this range */
};

static bool
set_next(struct set_walk *w, uint32_t *n)
{
	for (; w->range < w->set->n; w->range++, w->last = 0) {
		const struct imap_range *r = &w->set->at[w->range];

		if (w->last == 0)
			w->last = r->first;
		else if (w->last < r->last)
			w->last++;
		else
			continue;
		*n = w->last;
		return true;
	}
	return false;
}

/*
 * RFC 7162 section 3.2.5.2: up to the last message that still has the number the
 * client knew it by nothing was removed.  The lowest UID that may have been.
 */
static uint32_t
lowest_gone(const struct imap_session *s, struct imap_select *p)
{
	struct set_walk seqs = { .set = &p->match_seqs }, uids = { .set = &p->match_uids };
	uint32_t seq, uid, lowest = 1;

	if (!p->matched)
		return lowest;
	imap_set_resolve(&p->match_seqs, UINT32_MAX);
	imap_set_resolve(&p->match_uids, UINT32_MAX);
	while (set_next(&seqs, &seq) && set_next(&uids, &uid)) {
		if (seq > store_folder_count(s->folder) || store_folder_at(s->folder, seq)->uid != uid || uid == UINT32_MAX)
			break;
		lowest = uid + 1;
	}
	return lowest;
}

struct resync {
	struct imap_select	 select;
	uint32_t		 seq;	/* told last */
	const char		*done;
};

/* "* 49 FETCH (UID 117 FLAGS (\Seen) MODSEQ (90060115194045001))" of what changed. */
static enum imap_step
resync_step(struct imap_session *s)
{
	struct resync *r = s->run.state;

	while (r->seq < store_folder_count(s->folder)) {
		const struct store_message *m;

		if (imap_out_high(s))
			return STEP_DRAIN;
		m = store_folder_at(s->folder, ++r->seq);
		if (m->modseq > r->select.modseq && !m->gone &&
		    (!r->select.known || imap_set_has(&r->select.known_uids, m->uid)))
			imap_put_fetch_flags(s, r->seq, true);
	}
	return imap_ok(s, r->done);
}

static enum imap_step
resync(struct imap_session *s, struct imap_select *p, const char *done)
{
	struct resync *r = imap_pool_alloc(&s->pool, sizeof(*r));
	enum store_error error;

	if (r == NULL)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (p->known)
		imap_set_resolve(&p->known_uids, UINT32_MAX);
	error = imap_put_vanished(s, p->modseq, p->known ? &p->known_uids : NULL, lowest_gone(s, p));
	if (error != STORE_OK) {
		imap_unselect(s);
		return imap_no_store(s, error, "select");
	}
	*r = (struct resync){ .select = *p, .done = done };
	s->run.state = r;
	s->run.step = resync_step;
	return resync_step(s);
}

/* ---- the verbs ---- */

/* RFC 3501 sections 6.3.1 and 6.3.2: whatever comes of it, the old folder is no longer selected. */
static enum imap_step
select_folder(struct imap_session *s, struct imap_in *in, bool readonly)
{
	const char *done = readonly ? "[READ-ONLY] Mailbox examined" : "[READ-WRITE] Mailbox selected";
	struct imap_select p;
	enum store_error error;
	struct slice name;

	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &name) || !imap_parse_select(in, &p))
		return imap_bad_args(s, in);
	if (p.qresync && (s->enabled & ENABLED_QRESYNC) == 0)
		return imap_bad(s, "ENABLE QRESYNC first");
	if (s->folder != NULL && (s->enabled & (ENABLED_REV2 | ENABLED_QRESYNC)) != 0)
		(void)buf_text(&s->out, "* OK [CLOSED] Previous mailbox closed\r\n");
	imap_unselect(s);
	if (p.condstore)
		s->enabled |= ENABLED_CONDSTORE;
	s->folder = store_folder_open(s->setup.store, name, readonly, &error);
	if (s->folder == NULL)
		return imap_no_store(s, error, "select");
	s->readonly = readonly;
	s->state = STATE_SELECTED;
	put_selected(s);
	imap_put_opened(s, slice_of(store_folder_name(s->folder)), in->said, true);
	if (p.qresync && p.uidvalidity == store_folder_uidvalidity(s->folder))
		return resync(s, &p, done);
	return imap_ok(s, done);
}

enum imap_step
cmd_select(struct imap_session *s, struct imap_in *in)
{
	return select_folder(s, in, false);
}

enum imap_step
cmd_examine(struct imap_session *s, struct imap_in *in)
{
	return select_folder(s, in, true);
}

/* RFC 3501 section 6.4.2: what is \Deleted goes, without a word. */
enum imap_step
cmd_close(struct imap_session *s, struct imap_in *in)
{
	enum store_error error = STORE_OK;

	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	if (!s->readonly && !s->lost)
		error = store_folder_expunge(s->folder, NULL, 0);
	imap_unselect(s);
	if (error != STORE_OK && error != STORE_NONEXISTENT)
		return imap_no_store(s, error, "close");
	return imap_ok(s, "Mailbox closed");
}

/* RFC 3691. */
enum imap_step
cmd_unselect(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	imap_unselect(s);
	return imap_ok(s, "Mailbox unselected");
}
