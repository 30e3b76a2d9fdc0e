/* GETMETADATA, SETMETADATA: RFC 5464.  /private and /shared are both this user's alone. */
#include <strings.h>

#include "imap_cmd.h"
#include "mime/imap_write.h"

#define ENTRIES_MAX	100		/* named in one command */
#define TEXT_MAX	(8 * 1024 * 1024)	/* octets of all annotations of a mailbox */
#define DEPTH_INFINITY	2

struct query {
	struct slice	 mailbox;
	unsigned	 depth;		/* 0, 1, DEPTH_INFINITY */
	bool		 limited;
	uint64_t	 maxsize;
	struct slice	*entry;
	size_t		 n, room;
	uint64_t	 longest;	/* value that was left out for its size */
};

/* ---- arguments ---- */

/* "/private/..." or "/shared/...", as RFC 5464 section 6.1 wants it. */
static bool
parse_entry(struct imap_in *in, struct slice *out)
{
	struct slice rest;

	if (!imap_parse_astring(in, out))
		return false;
	rest = *out;
	if (!store_entry_valid(*out) || (!slice_iprefix(&rest, "/private/") && !slice_iprefix(&rest, "/shared/")))
		return imap_in_error(in, "Invalid entry name");
	return true;
}

static bool
add_entry(struct imap_in *in, struct query *q)
{
	void *at = q->entry;

	if (q->n >= ENTRIES_MAX || !imap_pool_grow(in->pool, &at, q->n, &q->room, sizeof(*q->entry)))
		return imap_in_error(in, "Too many entries");
	q->entry = at;
	return parse_entry(in, &q->entry[q->n++]);
}

static bool
parse_option(struct imap_in *in, struct query *q)
{
	struct slice name, depth;

	if (!imap_parse_atom(in, &name) || !imap_parse_space(in))
		return false;
	if (slice_ieq(name, "MAXSIZE")) {
		q->limited = true;
		return imap_parse_number(in, UINT32_MAX, &q->maxsize);
	}
	if (!slice_ieq(name, "DEPTH") || !imap_parse_atom(in, &depth))
		return imap_in_error(in, "Unknown option");
	q->depth = slice_is(depth, "0") ? 0 : slice_is(depth, "1") ? 1 : DEPTH_INFINITY;
	if (q->depth == DEPTH_INFINITY && !slice_ieq(depth, "infinity"))
		return imap_in_error(in, "Invalid depth");
	return true;
}

/* "(MAXSIZE 1024 DEPTH 1) ", before the mailbox, or (as many clients have it) behind. */
static bool
parse_options(struct imap_in *in, struct query *q)
{
	do {
		if (!parse_option(in, q))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')') && imap_parse_space(in);
}

static bool
is_option(struct slice rest)
{
	return slice_iprefix(&rest, "(MAXSIZE ") || slice_iprefix(&rest, "(DEPTH ");
}

static bool
parse_query(struct imap_in *in, struct query *q)
{
	if (!imap_parse_space(in))
		return false;
	if (imap_take_char(in, '(') && !parse_options(in, q))
		return false;
	if (!imap_parse_mailbox(in, &q->mailbox) || !imap_parse_space(in))
		return false;
	if (is_option(in->rest) && (!imap_parse_char(in, '(') || !parse_options(in, q)))
		return false;
	if (!imap_take_char(in, '('))
		return add_entry(in, q) && imap_parse_end(in);
	do {
		if (!add_entry(in, q))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')') && imap_parse_end(in);
}

/* ---- GETMETADATA ---- */

/* Is name the entry itself, or as far below it as was asked for? */
static bool
is_asked(const struct query *q, struct slice entry, struct slice name)
{
	struct slice below;

	if (name.len < entry.len || strncasecmp(name.ptr, entry.ptr, entry.len) != 0)
		return false;
	if (name.len == entry.len)
		return true;
	below = slice_sub(name, entry.len, name.len);
	if (q->depth == 0 || !slice_prefix(&below, "/"))
		return false;
	return q->depth == DEPTH_INFINITY || slice_find(below, '/') == below.len;
}

struct telling {
	struct imap_session	*s;
	struct query		*q;
	size_t			 n;	/* told */
};

static void
put_entry(struct telling *t, struct slice entry, struct slice value)
{
	struct buf *out = &t->s->out;

	if (t->q->limited && value.len > t->q->maxsize) {
		if (value.len > t->q->longest)
			t->q->longest = value.len;
		return;
	}
	if (t->n++ == 0) {
		(void)buf_text(out, "* METADATA ");
		imap_put_mailbox(t->s, t->q->mailbox);
		(void)buf_text(out, " (");
	} else
		(void)buf_char(out, ' ');
	imap_put_astring(out, entry);
	(void)buf_char(out, ' ');
	imap_put_nstring8(out, value);
}

static void
put_entries(struct imap_session *s, struct query *q, struct slice text)
{
	struct telling t = { .s = s, .q = q };
	struct store_annotation a;

	for (size_t i = 0; i < q->n; i++) {
		struct slice rest = text;
		bool found = false;

		while (store_annotation_next(&rest, &a)) {
			if (!is_asked(q, q->entry[i], a.entry))
				continue;
			found = true;
			put_entry(&t, a.entry, a.value);
		}
		if (!found && q->depth == 0)
			put_entry(&t, q->entry[i], (struct slice){ 0 });
	}
	if (t.n > 0)
		(void)buf_text(&s->out, ")\r\n");
}

enum imap_step
cmd_getmetadata(struct imap_session *s, struct imap_in *in)
{
	struct query q = { 0 };
	enum store_error error;
	struct buf text;

	if (!parse_query(in, &q))
		return imap_bad_args(s, in);
	buf_init(&text, TEXT_MAX);
	error = store_annotations(s->setup.store, q.mailbox, &text);
	if (error == STORE_OK)
		put_entries(s, &q, buf_slice_of(&text));
	buf_clear(&text);
	if (error != STORE_OK)
		return imap_no_store(s, error, "metadata");
	if (q.longest == 0)
		return imap_ok(s, "Metadata given");
	(void)buf_fmt(&s->reply, "OK [METADATA LONGENTRIES %llu] Metadata given", (unsigned long long)q.longest);
	return STEP_DONE;
}

/* ---- SETMETADATA ---- */

struct setting {
	struct slice		 mailbox;
	struct store_annotation	*at;
	size_t			 n, room;
};

static bool
parse_setting(struct imap_in *in, struct setting *set)
{
	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &set->mailbox) || !imap_parse_space(in) || !imap_parse_char(in, '('))
		return false;
	do {
		void *at = set->at;

		if (set->n >= ENTRIES_MAX || !imap_pool_grow(in->pool, &at, set->n, &set->room, sizeof(*set->at)))
			return imap_in_error(in, "Too many entries");
		set->at = at;
		if (!parse_entry(in, &set->at[set->n].entry) || !imap_parse_space(in) ||
		    !imap_parse_nstring8(in, &set->at[set->n].value))
			return false;
		set->n++;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')') && imap_parse_end(in);
}

enum imap_step
cmd_setmetadata(struct imap_session *s, struct imap_in *in)
{
	struct setting set = { 0 };
	enum store_error error;

	if (!parse_setting(in, &set))
		return imap_bad_args(s, in);
	for (size_t i = 0; i < set.n; i++) {
		const struct store_annotation *a = &set.at[i];

		if (a->value.len > STORE_ANNOTATION_MAX) {
			(void)buf_fmt(&s->reply, "NO [METADATA MAXSIZE %u] Value is too long", STORE_ANNOTATION_MAX);
			return STEP_DONE;
		}
		if (slice_ieq(a->entry, STORE_ENTRY_SPECIAL) && a->value.ptr != NULL &&
		    (set.mailbox.len == 0 || store_special_parse(a->value) == STORE_SPECIAL_NONE))
			return imap_no(s, "[USEATTR] No mailbox can have that use");
	}
	error = store_annotate(s->setup.store, set.mailbox, set.at, set.n);
	if (error == STORE_LIMIT)
		return imap_no(s, "[METADATA TOOMANY] Too many annotations");
	if (error != STORE_OK)
		return imap_no_store(s, error, "metadata");
	return imap_ok(s, "Metadata set");
}
