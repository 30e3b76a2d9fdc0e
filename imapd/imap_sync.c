/* What changed in the selected folder, told where RFC 3501 section 7.4 allows it. */
#include <stdlib.h>

#include "imap_session.h"
#include "mime/imap_write.h"

static const struct {
	unsigned	 bit;
	const char	*name;
} flag_names[] = {
	{ STORE_ANSWERED,	"\\Answered" },
	{ STORE_FLAGGED,	"\\Flagged" },
	{ STORE_DELETED,	"\\Deleted" },
	{ STORE_SEEN,		"\\Seen" },
	{ STORE_DRAFT,		"\\Draft" },
	{ STORE_RECENT,		"\\Recent" },
};

/* A list of flags: bits, and those keywords of the folder. */
static void
put_flag_list(struct buf *out, const struct store_folder *f, unsigned flags, uint32_t keywords, const char *last)
{
	const char *space = "";

	(void)buf_char(out, '(');
	for (size_t i = 0; i < LEN(flag_names); i++) {
		if ((flags & flag_names[i].bit) == 0)
			continue;
		(void)buf_text(out, space);
		(void)buf_text(out, flag_names[i].name);
		space = " ";
	}
	for (unsigned bit = 0; bit < STORE_KEYWORDS; bit++) {
		const char *name = (keywords >> bit & 1) != 0 ? store_folder_keyword(f, bit) : NULL;

		if (name == NULL)
			continue;
		(void)buf_text(out, space);
		(void)buf_text(out, name);
		space = " ";
	}
	if (last != NULL) {
		(void)buf_text(out, space);
		(void)buf_text(out, last);
	}
	(void)buf_char(out, ')');
}

void
imap_put_flags(struct imap_session *s, const struct store_message *m)
{
	/* IMAP4rev2 has no \Recent. */
	unsigned hidden = (s->enabled & ENABLED_REV2) != 0 ? STORE_RECENT : 0;

	(void)buf_text(&s->out, "FLAGS ");
	put_flag_list(&s->out, s->folder, m->flags & ~hidden, m->keywords, NULL);
}

static uint32_t
folder_keywords(const struct store_folder *f)
{
	uint32_t bits = 0;

	for (unsigned bit = 0; bit < STORE_KEYWORDS; bit++)
		if (store_folder_keyword(f, bit) != NULL)
			bits |= UINT32_C(1) << bit;
	return bits;
}

void
imap_put_folder_flags(struct imap_session *s)
{
	const char *more = store_folder_keyword_room(s->folder) ? "\\*" : NULL;

	s->keywords = folder_keywords(s->folder);
	(void)buf_text(&s->out, "* FLAGS ");
	put_flag_list(&s->out, s->folder, STORE_FLAGS_IMAP, s->keywords, NULL);
	(void)buf_text(&s->out, "\r\n* OK [PERMANENTFLAGS ");
	if (s->readonly)
		(void)buf_text(&s->out, "()] Read-only mailbox\r\n");
	else {
		put_flag_list(&s->out, s->folder, STORE_FLAGS_IMAP, s->keywords, more);
		(void)buf_text(&s->out, "] Flags permitted\r\n");
	}
}

void
imap_put_new_keywords(struct imap_session *s)
{
	if ((folder_keywords(s->folder) & ~s->keywords) != 0)
		imap_put_folder_flags(s);
}

void
imap_put_fetch_flags(struct imap_session *s, uint32_t seq, bool flags)
{
	const struct store_message *m = store_folder_at(s->folder, seq);
	bool uid = s->run.uid || (s->enabled & (ENABLED_REV2 | ENABLED_QRESYNC)) != 0;
	bool modseq = (s->enabled & ENABLED_CONDSTORE) != 0;

	(void)buf_text(&s->out, "* ");
	imap_put_number(&s->out, seq);
	(void)buf_text(&s->out, " FETCH (");
	if (uid) {
		(void)buf_text(&s->out, "UID ");
		imap_put_number(&s->out, m->uid);
		(void)buf_text(&s->out, flags || modseq ? " " : "");
	}
	if (flags)
		imap_put_flags(s, m);
	if (modseq) {
		(void)buf_text(&s->out, flags ? " MODSEQ (" : "MODSEQ (");
		imap_put_number(&s->out, m->modseq);
		(void)buf_char(&s->out, ')');
	}
	(void)buf_text(&s->out, ")\r\n");
}

/* ---- changes ---- */

struct sync {
	struct imap_session	*s;
	uint32_t		*vanished;	/* UIDs, descending; owned */
	size_t			 n, room;
};

/* "* VANISHED 405,407:410" takes the place of EXPUNGE in QRESYNC. */
static void
put_collected(struct sync *y)
{
	struct imap_set_writer w = { .out = &y->s->out };

	if (y->n == 0)
		return;
	(void)buf_text(&y->s->out, "* VANISHED ");
	while (y->n > 0)
		imap_set_put(&w, y->vanished[--y->n]);
	imap_set_end(&w);
	(void)buf_text(&y->s->out, "\r\n");
}

static bool
collect(struct sync *y, uint32_t uid)
{
	if (y->n == y->room) {
		size_t room = y->room == 0 ? 64 : 2 * y->room;
		uint32_t *more = reallocarray(y->vanished, room, sizeof(*more));

		if (more == NULL)
			return false;
		y->vanished = more;
		y->room = room;
	}
	y->vanished[y->n++] = uid;
	return true;
}

static void
tell_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
	struct sync *y = ctx;
	struct buf *out = &y->s->out;

	if ((y->s->enabled & ENABLED_QRESYNC) != 0) {
		if (!collect(y, uid))
			(void)buf_fmt(out, "* VANISHED %u\r\n", uid);
		return;
	}
	(void)buf_text(out, "* ");
	imap_put_number(out, seq);
	(void)buf_text(out, " EXPUNGE\r\n");
}

static void
tell_added(void *ctx, uint32_t count, uint32_t recent)
{
	struct sync *y = ctx;

	put_collected(y);
	(void)buf_fmt(&y->s->out, "* %u EXISTS\r\n", count);
	if ((y->s->enabled & ENABLED_REV2) == 0)
		(void)buf_fmt(&y->s->out, "* %u RECENT\r\n", recent);
}

static void
tell_keywords(void *ctx)
{
	struct sync *y = ctx;

	put_collected(y);
	imap_put_new_keywords(y->s);
}

static void
tell_flags(void *ctx, uint32_t seq)
{
	struct sync *y = ctx;

	put_collected(y);
	imap_put_fetch_flags(y->s, seq, true);
}

void
imap_sync(struct imap_session *s, bool expunge)
{
	struct sync y = { .s = s };
	const struct store_changes changes = {
		.expunged = tell_expunged,
		.added = tell_added,
		.keywords = tell_keywords,
		.flags = tell_flags,
		.ctx = &y,
	};

	if (s->folder == NULL || s->lost)
		return;
	if (store_folder_refresh(s->folder, expunge ? STORE_REFRESH_EXPUNGE : 0, &changes) == STORE_NONEXISTENT)
		s->lost = true;
	put_collected(&y);
	free(y.vanished);
}

/* Messages below uidnext that are there no more, in descending order; each number counts those that are left below it. */
static void
tell_vanished(struct sync *y, const struct store_range *range, size_t n, uint32_t uidnext)
{
	uint32_t before = 0;

	for (size_t i = 0; i < n; i++)
		for (uint32_t uid = range[i].from; uid <= range[i].to && uid < uidnext; uid++)
			before++;
	for (size_t i = n; i-- > 0; )
		for (uint32_t uid = range[i].to; uid >= range[i].from; uid--)
			if (uid < uidnext)
				tell_expunged(y, store_folder_seq(y->s->folder, uid) + --before, uid);
}

static uint64_t
count_below(const struct store_range *range, size_t n, uint32_t uidnext)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
		if (range[i].from < uidnext)
			count += (range[i].to < uidnext ? range[i].to : uidnext - 1) - range[i].from + UINT64_C(1);
	return count;
}

bool
imap_sync_since(struct imap_session *s, uint32_t count, uint32_t uidnext, uint64_t modseq)
{
	uint32_t below = store_folder_seq(s->folder, uidnext) - 1;
	struct store_range *gone = NULL;
	struct sync y = { .s = s };
	bool exact = false;
	size_t n = 0;

	if (store_folder_vanished(s->folder, modseq, &gone, &n, &exact) != STORE_OK || !exact ||
	    below + count_below(gone, n, uidnext) != count) {
		free(gone);
		return false;
	}
	tell_vanished(&y, gone, n, uidnext);
	free(gone);
	if (store_folder_count(s->folder) != below)
		tell_added(&y, store_folder_count(s->folder), store_folder_recent(s->folder));
	tell_keywords(&y);
	for (uint32_t seq = 1; seq <= below; seq++)
		if (store_folder_at(s->folder, seq)->modseq > modseq)
			tell_flags(&y, seq);
	put_collected(&y);
	free(y.vanished);
	return true;
}

/* ---- mod-sequences ---- */

void
imap_put_highestmodseq(struct imap_session *s)
{
	(void)buf_fmt(&s->out, "* OK [HIGHESTMODSEQ %llu] Highest\r\n",
	    (unsigned long long)store_folder_highestmodseq(s->folder));
}

void
imap_condstore(struct imap_session *s)
{
	if ((s->enabled & ENABLED_CONDSTORE) != 0)
		return;
	s->enabled |= ENABLED_CONDSTORE;
	if (s->folder != NULL)
		imap_put_highestmodseq(s);
}

/* UIDs from..to, as far as they are in the set (resolved, ascending). */
static void
put_within(struct imap_set_writer *w, const struct imap_set *uids, uint32_t from, uint32_t to)
{
	for (size_t i = 0; uids != NULL && i < uids->n; i++) {
		const struct imap_range *r = &uids->at[i];
		uint32_t first = r->first > from ? r->first : from, last = r->last < to ? r->last : to;

		if (first <= last)
			imap_set_put_range(w, first, last);
	}
	if (uids == NULL)
		imap_set_put_range(w, from, to);
}

enum store_error
imap_put_vanished(struct imap_session *s, uint64_t since, const struct imap_set *uids, uint32_t lowest)
{
	struct imap_set_writer w = { .out = &s->reply };
	struct store_range *range;
	enum store_error error;
	bool exact;
	size_t n;

	error = store_folder_vanished(s->folder, since, &range, &n, &exact);
	if (error != STORE_OK)
		return error;
	buf_reset(&s->reply);
	for (size_t i = 0; i < n; i++) {
		uint32_t from = exact || range[i].from > lowest ? range[i].from : lowest;

		if (from <= range[i].to)
			put_within(&w, uids, from, range[i].to);
	}
	imap_set_end(&w);
	if (s->reply.len > 0 && !s->reply.full) {
		(void)buf_text(&s->out, "* VANISHED (EARLIER) ");
		(void)buf_slice(&s->out, buf_slice_of(&s->reply));
		(void)buf_text(&s->out, "\r\n");
	}
	error = s->reply.full ? STORE_MEMORY : STORE_OK;
	buf_reset(&s->reply);
	free(range);
	return error;
}
