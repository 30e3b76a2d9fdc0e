/*
 * FETCH, UID FETCH: RFC 3501 sections 6.4.5 and 7.4.2, with MODSEQ, CHANGEDSINCE
 * and VANISHED (RFC 7162), PARTIAL (RFC 9394), EMAILID (RFC 8474), SAVEDATE (RFC
 * 8514) and PREVIEW (RFC 8970).
 *
 * A response is begun when everything that can fail has been done, and sent in
 * pieces: bodies are views into the mapped file, and the command stops while
 * the client has not read what was written.
 */
#include <string.h>

#include "imap_cmd.h"
#include "imap_message.h"
#include "imap_preview.h"
#include "mime/imap_envelope.h"
#include "mime/imap_write.h"

#define PIECE		(32 * 1024)	/* octets of a body written at once */
#define WORK_MAX	(8 * 1024 * 1024)	/* octets read before others have their turn */
#define WORK_MESSAGE	4096		/* what a message costs besides */
#define FIELDS_MAX	(16 * 1024 * 1024)	/* octets of HEADER.FIELDS */
#define STRUCTURE_MAX	(8 * 1024 * 1024)	/* octets of ENVELOPE, BODYSTRUCTURE */

#define ATTS_CONTENT	(ATT_ENVELOPE | ATT_BODY | ATT_BODYSTRUCTURE | ATT_PREVIEW)

struct fetch {
	struct imap_fetch	 what;
	struct imap_walk	 walk;
	bool			 mark;		/* sets \Seen */
	enum store_error	 error;		/* the worst that happened to a message */

	struct imap_set		 vanished;	/* the set once more, its "*" being all that ever was */
	uint32_t		 skip, left;	/* PARTIAL: messages to be passed over, and to be told */

	uint32_t		 seq;		/* response begun; 0: none */
	size_t			 section;	/* of it, to be sent next */
	struct slice		 rest;		/* octets of a section still to be sent */
	struct buf		 fields, text;	/* put together here */
	size_t			 work;
};

static void
fetch_end(struct imap_session *s)
{
	struct fetch *f = s->run.state;

	buf_clear(&f->fields);
	buf_clear(&f->text);
	/* A client that fetches by <partial> comes back for more of the same. */
	if (f->what.section_n != 1 || !f->what.section[0].partial)
		imap_message_close(&s->message);
}

/* What has to be there before the response is begun. */
struct facts {
	int64_t		date;
	uint64_t	size;
	bool		seen;		/* \Seen was set just now */
};

static const struct {
	unsigned	 att;
	enum store_cached kind;
} cached_atts[] = {
	{ ATT_ENVELOPE,		STORE_CACHED_ENVELOPE },
	{ ATT_BODY,		STORE_CACHED_BODY },
	{ ATT_BODYSTRUCTURE,	STORE_CACHED_STRUCTURE },
};

/* Is all that is wanted of the content in the cache?  Then the message need not be opened. */
static bool
all_cached(struct imap_session *s, struct fetch *f, uint32_t seq)
{
	unsigned atts = f->what.atts & ATTS_CONTENT;
	struct slice unused;
	size_t octets;

	for (size_t i = 0; i < f->what.section_n; i++) {
		if (!imap_message_is_cached(&f->what.section[i]))
			return false;
		atts |= f->what.section[i].part == PART_FIELDS ? ATT_ENVELOPE : 0;	/* they are kept together */
	}
	for (size_t i = 0; i < LEN(cached_atts); i++) {
		if ((atts & cached_atts[i].att) == 0)
			continue;
		if (!store_message_cached(s->folder, seq, cached_atts[i].kind, &unused, &octets))
			return false;
		f->work += octets;
		atts &= ~cached_atts[i].att;
	}
	return atts == 0 && (f->what.section_n == 0 ||
	    store_message_cached(s->folder, seq, STORE_CACHED_HEADERS, &unused, NULL));
}

static enum store_error
gather(struct imap_session *s, struct fetch *f, uint32_t seq, struct facts *facts)
{
	const struct store_message *m = store_folder_at(s->folder, seq);
	enum store_error error = STORE_OK;

	*facts = (struct facts){ 0 };
	if (f->what.section_n > 0 || (f->what.atts & ATTS_CONTENT) != 0)
		error = m->gone ? STORE_GONE : all_cached(s, f, seq) ? STORE_OK : imap_message_open(&s->message, s->folder, seq);
	for (size_t i = 0; error == STORE_OK && i < f->what.section_n; i++)
		if (f->what.section[i].spelling >= SPELL_BINARY && !imap_message_decodable(&s->message, &f->what.section[i]))
			error = STORE_CANNOT;
	if (error == STORE_OK && (f->what.atts & ATT_INTERNALDATE) != 0)
		error = store_message_date(s->folder, seq, &facts->date);
	if (error == STORE_OK && (f->what.atts & ATT_RFC822_SIZE) != 0)
		error = store_message_size(s->folder, seq, &facts->size);
	return error;
}

/* RFC 3501 section 6.4.5: reading sets \Seen.  When that fails it is read nevertheless. */
static bool
mark_seen(struct imap_session *s, uint32_t seq)
{
	const struct store_flags change = { .change = STORE_ADD, .flags = STORE_SEEN, .how = STORE_UNSYNCED };
	const struct store_message *m = store_folder_at(s->folder, seq);
	uint32_t uid = m->uid;

	if ((m->flags & STORE_SEEN) != 0)
		return false;
	return store_folder_flags(s->folder, &uid, 1, &change) == STORE_OK;
}

/* The next item of a response. */
static struct buf *
item(struct imap_session *s, bool *any)
{
	if (*any)
		(void)buf_char(&s->out, ' ');
	*any = true;
	return &s->out;
}

/* From the cache; false: of the message, which is open then (all_cached()). */
static bool
put_cached(struct imap_session *s, const struct fetch *f, const char *name, enum store_cached kind)
{
	struct slice text;

	if (!store_message_cached(s->folder, f->seq, kind, &text, NULL))
		return false;
	(void)buf_text(&s->out, name);
	(void)buf_slice(&s->out, text);
	return true;
}

static void
put_envelope(struct imap_session *s, struct fetch *f)
{
	if (put_cached(s, f, "ENVELOPE ", STORE_CACHED_ENVELOPE))
		return;
	buf_reset(&f->text);
	imap_put_envelope(&f->text, s->message.header);
	(void)buf_text(&s->out, "ENVELOPE ");
	if (f->text.full)
		imap_put_no_envelope(&s->out);
	else
		(void)buf_slice(&s->out, buf_slice_of(&f->text));
}

static void
put_structure(struct imap_session *s, struct fetch *f, bool extended)
{
	const struct mime *mime;

	if (put_cached(s, f, extended ? "BODYSTRUCTURE " : "BODY ", extended ? STORE_CACHED_STRUCTURE : STORE_CACHED_BODY))
		return;
	mime = imap_message_mime(&s->message);
	buf_reset(&f->text);
	if (mime != NULL)
		imap_put_structure(&f->text, mime, extended);
	(void)buf_text(&s->out, extended ? "BODYSTRUCTURE " : "BODY ");
	if (mime == NULL || f->text.full)
		imap_put_opaque_body(&s->out, mime_measure(s->message.body));
	else
		(void)buf_slice(&s->out, buf_slice_of(&f->text));
}

static void
put_preview(struct imap_session *s, struct fetch *f)
{
	const struct mime *mime = imap_message_mime(&s->message);

	buf_reset(&f->text);
	if (mime != NULL)
		imap_preview(mime, &f->text);
	(void)buf_text(&s->out, "PREVIEW ");
	/* Of clients that have not said so nobody knows whether they read quoted UTF-8. */
	if ((s->enabled & (ENABLED_REV2 | ENABLED_UTF8)) != 0)
		imap_put_utf8(&s->out, buf_slice_of(&f->text));
	else
		imap_put_string(&s->out, buf_slice_of(&f->text));
}

static void
put_ids(struct imap_session *s, const struct fetch *f, bool *any)
{
	char id[STORE_ID_MAX];
	int64_t saved;

	if ((f->what.atts & ATT_EMAILID) != 0) {
		store_message_id(s->folder, f->seq, id);
		(void)buf_fmt(item(s, any), "EMAILID (%s)", id);
	}
	if ((f->what.atts & ATT_THREADID) != 0)
		(void)buf_text(item(s, any), "THREADID NIL");
	if ((f->what.atts & ATT_SAVEDATE) == 0)
		return;
	(void)buf_text(item(s, any), "SAVEDATE ");
	if (store_message_saved(s->folder, f->seq, &saved))
		imap_put_date_time(&s->out, saved);
	else
		(void)buf_text(&s->out, "NIL");
}

static void
put_items(struct imap_session *s, struct fetch *f, const struct facts *facts, bool *any)
{
	const struct store_message *m = store_folder_at(s->folder, f->seq);
	unsigned atts = f->what.atts;

	if ((atts & ATT_UID) != 0 || s->run.uid) {
		(void)buf_text(item(s, any), "UID ");
		imap_put_number(&s->out, m->uid);
	}
	if ((atts & ATT_FLAGS) != 0 || facts->seen)
		{
		(void)item(s, any);
		imap_put_flags(s, m);
	}
	if ((atts & ATT_MODSEQ) != 0 || (facts->seen && (s->enabled & ENABLED_CONDSTORE) != 0)) {
		(void)buf_text(item(s, any), "MODSEQ (");
		imap_put_number(&s->out, m->modseq);
		(void)buf_char(&s->out, ')');
	}
	if ((atts & (ATT_EMAILID | ATT_THREADID | ATT_SAVEDATE)) != 0)
		put_ids(s, f, any);
	if ((atts & ATT_INTERNALDATE) != 0) {
		(void)buf_text(item(s, any), "INTERNALDATE ");
		imap_put_date_time(&s->out, facts->date);
	}
	if ((atts & ATT_RFC822_SIZE) != 0) {
		(void)buf_text(item(s, any), "RFC822.SIZE ");
		imap_put_number(&s->out, facts->size);
	}
	if ((atts & ATT_ENVELOPE) != 0) {
		(void)item(s, any);
		put_envelope(s, f);
	}
	if ((atts & ATT_PREVIEW) != 0) {
		(void)item(s, any);
		put_preview(s, f);
	}
	if ((atts & ATT_BODY) != 0) {
		(void)item(s, any);
		put_structure(s, f, false);
	}
	if ((atts & ATT_BODYSTRUCTURE) != 0) {
		(void)item(s, any);
		put_structure(s, f, true);
	}
}

/* Begin the response of the next message; false: there is none. */
static bool
next_message(struct imap_session *s, struct fetch *f)
{
	struct facts facts;
	enum store_error error;
	bool any = false;
	uint32_t seq;

	if (f->left == 0 || !imap_walk_next(&f->walk, s->folder, &seq))
		return false;
	if (f->what.since && store_folder_at(s->folder, seq)->modseq <= f->what.changedsince) {
		f->work += 16;
		return true;
	}
	if (f->skip > 0) {
		f->skip--;
		return true;
	}
	f->left--;
	f->work += WORK_MESSAGE;
	error = gather(s, f, seq, &facts);
	if (error != STORE_OK) {
		if (f->error == STORE_OK || f->error == STORE_GONE)
			f->error = error;
		return true;
	}
	if ((f->what.atts & (ATT_BODY | ATT_BODYSTRUCTURE | ATT_PREVIEW)) != 0)
		f->work += s->message.text.len;
	facts.seen = f->mark && mark_seen(s, seq);
	f->seq = seq;
	f->section = 0;
	(void)buf_text(&s->out, "* ");
	imap_put_number(&s->out, seq);
	(void)buf_text(&s->out, " FETCH (");
	put_items(s, f, &facts, &any);
	if (any && f->what.section_n > 0)
		(void)buf_char(&s->out, ' ');
	return true;
}

static void
put_field_names(struct buf *out, const struct imap_section *sec)
{
	(void)buf_text(out, sec->part == PART_FIELDS ? "HEADER.FIELDS (" : "HEADER.FIELDS.NOT (");
	for (size_t i = 0; i < sec->field_n; i++) {
		if (i > 0)
			(void)buf_char(out, ' ');
		imap_put_astring(out, sec->field[i]);
	}
	(void)buf_char(out, ')');
}

/* "BODY[1.2.HEADER]<0> ", as the client named it. */
static void
put_section_name(struct buf *out, const struct imap_section *sec)
{
	static const char *const words[] = {
		[PART_HEADER] = "HEADER", [PART_TEXT] = "TEXT", [PART_MIME] = "MIME",
	};
	static const char *const spellings[] = {
		[SPELL_BODY] = "BODY[", [SPELL_BINARY] = "BINARY[", [SPELL_BINARY_SIZE] = "BINARY.SIZE[",
		[SPELL_RFC822] = "RFC822 ", [SPELL_RFC822_HEADER] = "RFC822.HEADER ", [SPELL_RFC822_TEXT] = "RFC822.TEXT ",
	};

	(void)buf_text(out, spellings[sec->spelling]);
	if (sec->spelling >= SPELL_RFC822 && sec->spelling <= SPELL_RFC822_TEXT)
		return;
	for (size_t i = 0; i < sec->number_n; i++) {
		if (i > 0)
			(void)buf_char(out, '.');
		imap_put_number(out, sec->number[i]);
	}
	if (sec->number_n > 0 && sec->part != PART_ALL)
		(void)buf_char(out, '.');
	if (sec->part == PART_FIELDS || sec->part == PART_FIELDS_NOT)
		put_field_names(out, sec);
	else if (sec->part != PART_ALL)
		(void)buf_text(out, words[sec->part]);
	(void)buf_char(out, ']');
	if (sec->partial) {
		(void)buf_char(out, '<');
		imap_put_number(out, sec->offset);
		(void)buf_char(out, '>');
	}
	(void)buf_char(out, ' ');
}

/* Name and announcement of the next section; its octets follow as f->rest. */
static void
begin_section(struct imap_session *s, struct fetch *f)
{
	const struct imap_section *sec = &f->what.section[f->section];
	struct slice octets = { 0 };
	bool there;

	if (f->section++ > 0)
		(void)buf_char(&s->out, ' ');
	put_section_name(&s->out, sec);
	if (sec->spelling >= SPELL_BINARY) {
		there = imap_message_binary(&s->message, sec, &octets) == STORE_OK;
		f->work += octets.len;
	} else
		there = imap_message_cached_section(&s->message, s->folder, f->seq, sec, &f->fields, &octets);
	if (sec->spelling == SPELL_BINARY_SIZE) {
		imap_put_number(&s->out, octets.len);
		return;
	}
	if (!there) {
		(void)buf_text(&s->out, "NIL");
		return;
	}
	if (sec->partial)
		octets = slice_sub(octets, sec->offset, sec->count);
	/* literal8, where a literal may not say it. */
	if (sec->spelling == SPELL_BINARY && slice_find(octets, '\0') != octets.len)
		(void)buf_char(&s->out, '~');
	(void)buf_char(&s->out, '{');
	imap_put_number(&s->out, octets.len);
	(void)buf_text(&s->out, "}\r\n");
	f->rest = octets;
}

static void
put_piece(struct imap_session *s, struct fetch *f)
{
	struct slice piece = slice_sub(f->rest, 0, PIECE);

	(void)buf_slice(&s->out, piece);
	f->rest = slice_sub(f->rest, piece.len, f->rest.len);
	f->work += piece.len;
}

static enum imap_step
finished(struct imap_session *s, const struct fetch *f)
{
	/* A UID that is not there is passed over (section 6.4.8). */
	if (f->error == STORE_OK || (f->error == STORE_GONE && f->walk.uid))
		return imap_ok(s, "Fetched");
	if (f->error == STORE_CANNOT)
		return imap_no(s, "[UNKNOWN-CTE] A part is in an encoding that is not known");
	return imap_no_store(s, f->error, "fetch");
}

static enum imap_step
fetch_step(struct imap_session *s)
{
	struct fetch *f = s->run.state;

	for (f->work = 0; f->work < WORK_MAX; ) {
		if (imap_out_high(s))
			return STEP_DRAIN;
		if (f->rest.len > 0)
			put_piece(s, f);
		else if (f->seq == 0) {
			if (!next_message(s, f))
				return finished(s, f);
		} else if (f->section < f->what.section_n)
			begin_section(s, f);
		else {
			(void)buf_text(&s->out, ")\r\n");
			f->seq = 0;
		}
	}
	return STEP_AGAIN;
}

static bool
reads(const struct imap_fetch *what)
{
	for (size_t i = 0; i < what->section_n; i++)
		if (!what->section[i].peek)
			return true;
	return false;
}

/* RFC 9394 section 3.4: of the messages that are there and meant, those of these places. */
static void
choose_partial(const struct imap_session *s, struct fetch *f)
{
	struct imap_walk walk = f->walk;
	uint32_t n = 0, seq, first = f->what.partial_first, last = f->what.partial_last;

	while (imap_walk_next(&walk, s->folder, &seq))
		n += !f->what.since || store_folder_at(s->folder, seq)->modseq > f->what.changedsince;
	if (last > n)
		last = n;
	f->left = first > last ? 0 : last - first + 1;
	f->skip = f->what.partial_back ? n - last : first - 1;
}

static bool
keep_set(struct imap_session *s, struct fetch *f, const struct imap_set *set)
{
	const struct imap_set *from = set->saved ? &s->saved : set;

	f->vanished = (struct imap_set){ .at = imap_pool_array(&s->pool, from->n + 1, sizeof(*from->at)), .n = from->n };
	if (f->vanished.at == NULL)
		return false;
	if (from->n > 0)
		memcpy(f->vanished.at, from->at, from->n * sizeof(*from->at));
	imap_set_resolve(&f->vanished, UINT32_MAX);
	return true;
}

/* What the modifiers want before the first message.  False: s->reply says why not. */
static bool
apply_modifiers(struct imap_session *s, struct fetch *f)
{
	enum store_error error;

	if ((f->what.vanished && (!s->run.uid || (s->enabled & ENABLED_QRESYNC) == 0)) || (f->what.partial && !s->run.uid)) {
		(void)imap_bad(s, f->what.partial ? "PARTIAL is for UID FETCH" : "VANISHED is for UID FETCH after ENABLE QRESYNC");
		return false;
	}
	if (f->what.since)
		f->what.atts |= ATT_MODSEQ;
	if ((f->what.atts & ATT_MODSEQ) != 0)
		imap_condstore(s);
	if (f->what.vanished) {
		error = imap_put_vanished(s, f->what.changedsince, &f->vanished, 1);
		if (error != STORE_OK) {
			(void)imap_no_store(s, error, "fetch");
			return false;
		}
	}
	f->left = UINT32_MAX;
	if (f->what.partial)
		choose_partial(s, f);
	return true;
}

enum imap_step
cmd_fetch(struct imap_session *s, struct imap_in *in)
{
	struct fetch *f = imap_pool_alloc(&s->pool, sizeof(*f));
	struct imap_set set;

	if (f == NULL)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (!imap_parse_space(in) || !imap_parse_set(in, &set) || !imap_parse_space(in) ||
	    !imap_parse_fetch(in, &f->what) || !imap_parse_fetch_modifiers(in, &f->what) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	if (f->what.vanished && !keep_set(s, f, &set))
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (!imap_walk_init(&f->walk, s, &set, s->run.uid))
		return imap_bad(s, "No such message");
	if (!apply_modifiers(s, f))
		return STEP_DONE;
	f->mark = !s->readonly && reads(&f->what);
	buf_init(&f->fields, FIELDS_MAX);
	buf_init(&f->text, STRUCTURE_MAX);
	s->run.state = f;
	s->run.end = fetch_end;
	s->run.step = fetch_step;
	return fetch_step(s);
}
