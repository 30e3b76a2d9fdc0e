#include "imap_search.h"

#include <stdlib.h>
#include <time.h>

#define WORK_MAX	(4 * 1024 * 1024)	/* octets looked at before others have their turn */
#define WORK_MESSAGE	256			/* what a message costs without opening it */
#define WORK_OPEN	8192			/* and what opening it costs */
#define KEY_TEXT_MAX	IMAP_COMMAND_MAX

enum cost { COST_INDEX, COST_FILE, COST_HEADER, COST_BODY, COST_COUNT };

void
imap_search_clear(struct imap_searching *x)
{
	for (size_t i = 0; i < x->match_n; i++)
		mime_key_clear(&x->match[i]);
	free(x->match);
	free(x->found.seq);
	*x = (struct imap_searching){ 0 };
}

bool
imap_found_add(struct imap_found *f, uint32_t seq)
{
	if (f->n == f->room) {
		size_t room = f->room == 0 ? 256 : f->room * 2;
		uint32_t *more = reallocarray(f->seq, room, sizeof(*more));

		if (more == NULL)
			return false;
		f->seq = more;
		f->room = room;
	}
	f->seq[f->n++] = seq;
	return true;
}

/* ---- before the first message ---- */

static bool
has_text(enum imap_key key)
{
	return key == KEY_HEADER || key == KEY_BODY || key == KEY_TEXT;
}

static size_t
count_texts(const struct imap_search *k)
{
	size_t n = 0;

	for (; k != NULL; k = k->next)
		n += (has_text(k->key) ? 1 : 0) + count_texts(k->child);
	return n;
}

/* The text in UTF-8, ready for comparison.  False: it is not what the charset says. */
static bool
prepare_text(struct imap_searching *x, struct imap_search *k, struct slice charset)
{
	struct slice utf8 = k->text;
	struct buf text;
	bool ok = true;

	buf_init(&text, KEY_TEXT_MAX);
	if (charset.len > 0 && k->text.len > 0) {
		ok = mime_to_utf8(charset, k->text, &text);
		utf8 = buf_slice_of(&text);
	}
	ok = ok && mime_key_init(&x->match[x->match_n], utf8);
	if (ok)
		k->match = &x->match[x->match_n++];
	buf_clear(&text);
	return ok;
}

static unsigned
own_cost(enum imap_key key)
{
	switch (key) {
	case KEY_BODY: case KEY_TEXT:
		return COST_BODY;
	case KEY_HEADER: case KEY_SENTBEFORE: case KEY_SENTON: case KEY_SENTSINCE:
		return COST_HEADER;
	case KEY_BEFORE: case KEY_ON: case KEY_SINCE: case KEY_LARGER: case KEY_SMALLER:
	case KEY_OLDER: case KEY_YOUNGER: case KEY_SAVEDBEFORE: case KEY_SAVEDON: case KEY_SAVEDSINCE:
		return COST_FILE;
	default:
		return COST_INDEX;
	}
}

/* Brothers by ascending cost: what is cheap decides first. */
static void
sort_children(struct imap_search *k)
{
	struct imap_search *first[COST_COUNT] = { NULL }, **last[COST_COUNT], **to = &k->child;

	for (size_t i = 0; i < COST_COUNT; i++)
		last[i] = &first[i];
	for (struct imap_search *c = k->child, *next; c != NULL; c = next) {
		next = c->next;
		c->next = NULL;
		*last[c->cost] = c;
		last[c->cost] = &c->next;
	}
	for (size_t i = 0; i < COST_COUNT; i++) {
		*to = first[i];
		if (first[i] != NULL)
			to = last[i];
	}
}

/* Depth is bounded by the parser. */
static bool
prepare(struct imap_session *s, struct imap_searching *x, struct imap_search *k, struct slice charset)
{
	uint32_t count = store_folder_count(s->folder);

	k->cost = own_cost(k->key);
	if (k->key == KEY_SEQUENCE || k->key == KEY_UID) {
		if (k->set.saved) {
			k->key = KEY_UID;
			k->set = s->saved;
		} else
			imap_set_resolve(&k->set, k->key == KEY_SEQUENCE ? count :
			    count == 0 ? 0 : store_folder_at(s->folder, count)->uid);
	} else if (k->key == KEY_MODSEQ)
		x->modseq = true;
	else if (k->key == KEY_KEYWORD)
		k->keyword = store_folder_keyword_bit(s->folder, k->text);
	else if (has_text(k->key) && !prepare_text(x, k, charset))
		return false;
	for (struct imap_search *c = k->child; c != NULL; c = c->next) {
		if (!prepare(s, x, c, charset))
			return false;
		if (c->cost > k->cost)
			k->cost = c->cost;
	}
	sort_children(k);
	return true;
}

/* ---- one message ---- */

static bool
open_message(struct imap_session *s, struct imap_searching *x)
{
	if (x->unreadable)
		return false;
	if (s->message.uid != store_folder_at(s->folder, x->seq)->uid) {
		x->unreadable = imap_message_open(&s->message, s->folder, x->seq) != STORE_OK;
		x->work += WORK_OPEN;
	}
	return !x->unreadable;
}

/* A header that has the fields of that name. */
static bool
open_header(struct imap_session *s, struct imap_searching *x, struct slice name, struct slice *header)
{
	size_t octets = 0;

	if (x->unreadable)
		return false;
	x->unreadable = store_folder_at(s->folder, x->seq)->gone ||
	    imap_message_header(&s->message, s->folder, x->seq, name, header, &octets) != STORE_OK;
	x->work += octets > 0 ? WORK_OPEN + octets : WORK_MESSAGE;
	return !x->unreadable;
}

static bool
match_text(struct imap_session *s, struct imap_searching *x, const struct imap_search *k)
{
	const struct mime *mime;
	struct slice header;

	if (k->key == KEY_HEADER)
		return open_header(s, x, k->field, &header) && mime_match_field(k->match, header, k->field);
	if (!open_message(s, x))
		return false;
	if (k->key == KEY_TEXT && mime_match_header(k->match, s->message.header))
		return true;
	x->work += s->message.text.len;
	mime = imap_message_mime(&s->message);
	return mime != NULL && mime_match_body(k->match, mime);
}

static int64_t
floor_day(int64_t seconds)
{
	return seconds >= 0 ? seconds / 86400 : -((86399 - seconds) / 86400);
}

/* Day of the Date: field, as it is written there. */
static bool
sent_day(struct imap_session *s, struct imap_searching *x, int64_t *day)
{
	struct mime_field field;
	struct mime_date date;
	struct slice header;

	if (!open_header(s, x, SLICE("Date"), &header) || !mime_field_find(header, "Date", &field) ||
	    !mime_date(field.value, &date))
		return false;
	*day = floor_day(date.utc + date.zone_min * 60);
	return true;
}

static bool
received_day(struct imap_session *s, struct imap_searching *x, int64_t *day)
{
	int64_t date;

	if (store_message_date(s->folder, x->seq, &date) != STORE_OK) {
		x->unreadable = true;
		return false;
	}
	*day = floor_day(date);
	return true;
}

/* RFC 8514 section 4.3: where it is not known when it was saved, when it came counts. */
static bool
saved_day(struct imap_session *s, struct imap_searching *x, int64_t *day)
{
	int64_t date;

	if (!store_message_saved(s->folder, x->seq, &date))
		return received_day(s, x, day);
	*day = floor_day(date);
	return true;
}

/* RFC 5032: seconds before now, that very second in both. */
static bool
match_age(struct imap_session *s, struct imap_searching *x, const struct imap_search *k)
{
	int64_t date, edge = x->now - (int64_t)k->number;

	if (store_message_date(s->folder, x->seq, &date) != STORE_OK) {
		x->unreadable = true;
		return false;
	}
	return k->key == KEY_OLDER ? date <= edge : date >= edge;
}

static bool
match_size(struct imap_session *s, struct imap_searching *x, const struct imap_search *k)
{
	uint64_t size;

	if (store_message_size(s->folder, x->seq, &size) != STORE_OK) {
		x->unreadable = true;
		return false;
	}
	return k->key == KEY_LARGER ? size > k->number : size < k->number;
}

static bool
match_flag(const struct imap_session *s, const struct imap_searching *x, const struct imap_search *k)
{
	const struct store_message *m = store_folder_at(s->folder, x->seq);

	switch (k->key) {
	case KEY_SEQUENCE:
		return imap_set_has(&k->set, x->seq);
	case KEY_UID:
		return imap_set_has(&k->set, m->uid);
	case KEY_RECENT:
		return (m->flags & STORE_RECENT) != 0;
	case KEY_KEYWORD:
		return k->keyword >= 0 && (m->keywords >> k->keyword & 1) != 0;
	default:
		return (m->flags & k->number) == k->number;
	}
}

static bool
match(struct imap_session *s, struct imap_searching *x, const struct imap_search *k)
{
	char id[STORE_ID_MAX];
	int64_t day;

	switch (k->key) {
	case KEY_ALL:
		return true;
	case KEY_AND:
		for (const struct imap_search *c = k->child; c != NULL; c = c->next)
			if (!match(s, x, c))
				return false;
		return true;
	case KEY_OR:
		return match(s, x, k->child) || match(s, x, k->child->next);
	case KEY_NOT:
		return !match(s, x, k->child);
	case KEY_SEQUENCE: case KEY_UID: case KEY_FLAG: case KEY_RECENT: case KEY_KEYWORD:
		return match_flag(s, x, k);
	case KEY_BEFORE:
		return received_day(s, x, &day) && day < k->day;
	case KEY_ON:
		return received_day(s, x, &day) && day == k->day;
	case KEY_SINCE:
		return received_day(s, x, &day) && day >= k->day;
	case KEY_SENTBEFORE:
		return sent_day(s, x, &day) && day < k->day;
	case KEY_SENTON:
		return sent_day(s, x, &day) && day == k->day;
	case KEY_SENTSINCE:
		return sent_day(s, x, &day) && day >= k->day;
	case KEY_SAVEDBEFORE:
		return saved_day(s, x, &day) && day < k->day;
	case KEY_SAVEDON:
		return saved_day(s, x, &day) && day == k->day;
	case KEY_SAVEDSINCE:
		return saved_day(s, x, &day) && day >= k->day;
	case KEY_EMAILID:
		store_message_id(s->folder, x->seq, id);
		return slice_is(k->text, id);
	case KEY_MODSEQ:
		return store_folder_at(s->folder, x->seq)->modseq >= k->number;
	case KEY_NONE:
		return false;
	case KEY_OLDER: case KEY_YOUNGER:
		return match_age(s, x, k);
	case KEY_LARGER: case KEY_SMALLER:
		return match_size(s, x, k);
	case KEY_HEADER: case KEY_BODY: case KEY_TEXT:
		return match_text(s, x, k);
	}
	return false;
}

enum imap_step
imap_search_step(struct imap_session *s, struct imap_searching *x)
{
	if (x->seq > 0)
		imap_progress(s, x->seq, store_folder_count(s->folder));
	for (x->work = 0; x->work < WORK_MAX; x->work += WORK_MESSAGE) {
		if (x->seq >= store_folder_count(s->folder)) {
			imap_message_close(&s->message);
			return STEP_DONE;
		}
		x->unreadable = store_folder_at(s->folder, ++x->seq)->gone;
		if (x->unreadable || !match(s, x, x->root) || x->unreadable)
			continue;
		if (!imap_found_add(&x->found, x->seq)) {
			x->no_memory = true;
			return STEP_DONE;
		}
	}
	return STEP_AGAIN;
}

static enum imap_step
bad_charset(struct imap_session *s)
{
	return imap_no(s, "[BADCHARSET (US-ASCII UTF-8)] Unknown charset, or text that is none of it");
}

bool
imap_search_init(struct imap_session *s, struct imap_searching *x, const struct imap_search_command *cmd)
{
	*x = (struct imap_searching){ .root = cmd->root, .now = (int64_t)time(NULL) };
	if (cmd->charset.len > 0 && !mime_charset_known(cmd->charset)) {
		(void)bad_charset(s);
		return false;
	}
	x->match_room = count_texts(cmd->root);
	x->match = calloc(x->match_room + 1, sizeof(*x->match));
	if (x->match == NULL) {
		(void)imap_no(s, "[UNAVAILABLE] Out of memory");
		return false;
	}
	if (!prepare(s, x, x->root, cmd->charset)) {
		(void)bad_charset(s);
		return false;
	}
	if (x->modseq)
		imap_condstore(s);
	return true;
}
