/* What changed in the selected folder, told where RFC 3501 section 7.4 allows it. */
#include "imap_session.h"
#include "imap_write.h"

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
imap_put_fetch_flags(struct imap_session *s, uint32_t seq)
{
	const struct store_message *m = store_folder_at(s->folder, seq);

	(void)buf_text(&s->out, "* ");
	imap_put_number(&s->out, seq);
	(void)buf_text(&s->out, " FETCH (");
	if (s->run.uid || (s->enabled & ENABLED_REV2) != 0) {
		(void)buf_text(&s->out, "UID ");
		imap_put_number(&s->out, m->uid);
		(void)buf_char(&s->out, ' ');
	}
	imap_put_flags(s, m);
	(void)buf_text(&s->out, ")\r\n");
}

static void
tell_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
	struct imap_session *s = ctx;

	(void)uid;
	(void)buf_text(&s->out, "* ");
	imap_put_number(&s->out, seq);
	(void)buf_text(&s->out, " EXPUNGE\r\n");
}

static void
tell_added(void *ctx, uint32_t count, uint32_t recent)
{
	struct imap_session *s = ctx;

	(void)buf_fmt(&s->out, "* %u EXISTS\r\n", count);
	if ((s->enabled & ENABLED_REV2) == 0)
		(void)buf_fmt(&s->out, "* %u RECENT\r\n", recent);
}

static void
tell_keywords(void *ctx)
{
	imap_put_new_keywords(ctx);
}

static void
tell_flags(void *ctx, uint32_t seq)
{
	imap_put_fetch_flags(ctx, seq);
}

void
imap_sync(struct imap_session *s, bool expunge)
{
	const struct store_changes changes = {
		.expunged = tell_expunged,
		.added = tell_added,
		.keywords = tell_keywords,
		.flags = tell_flags,
		.ctx = s,
	};

	if (s->folder == NULL || s->lost)
		return;
	if (store_folder_refresh(s->folder, expunge ? STORE_REFRESH_EXPUNGE : 0, &changes) == STORE_NONEXISTENT)
		s->lost = true;
}
