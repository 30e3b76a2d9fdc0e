/*
 * LIST and LSUB: RFC 3501 sections 6.3.8 and 6.3.9, with the attributes of
 * RFC 3348 (children) and RFC 6154 (special use), the options of RFC 5258, and
 * STATUS of what is listed (RFC 5819).
 */
#include <stdlib.h>
#include <string.h>

#include "imap_cmd.h"
#include "imap_list.h"
#include "imap_name.h"
#include "imap_status.h"
#include "mime/imap_write.h"

#define PATTERNS_MAX	64
#define AT_ONCE		16	/* STATUS of so many, then others have their turn */

enum list_option {	/* bits */
	SELECT_SUBSCRIBED	= 1,
	SELECT_SPECIAL_USE	= 2,
	SELECT_REMOTE		= 4,	/* there are none elsewhere */
	SELECT_RECURSIVE	= 8,
	RETURN_SUBSCRIBED	= 16,
	RETURN_CHILDREN		= 32,	/* given anyway */
	RETURN_SPECIAL_USE	= 64,	/* given anyway */
	RETURN_STATUS		= 128,
};

struct list_word {
	const char		*name;
	enum list_option	 option;
};

static const struct list_word select_words[] = {
	{ "SUBSCRIBED",		SELECT_SUBSCRIBED },
	{ "SPECIAL-USE",	SELECT_SPECIAL_USE },
	{ "REMOTE",		SELECT_REMOTE },
	{ "RECURSIVEMATCH",	SELECT_RECURSIVE },
	{ NULL },
}, return_words[] = {
	{ "SUBSCRIBED",		RETURN_SUBSCRIBED },
	{ "CHILDREN",		RETURN_CHILDREN },
	{ "SPECIAL-USE",	RETURN_SPECIAL_USE },
	{ "STATUS",		RETURN_STATUS },
	{ NULL },
};

struct listing {
	unsigned		 options;	/* enum list_option */
	bool			 extended;	/* RFC 5258 syntax */
	struct slice		 reference;
	struct imap_pattern	*pattern;
	size_t			 pattern_n, room;
	bool			 root;		/* the pattern is "": what is the separator */
	bool			 utf8;		/* patterns are */
	unsigned		 status;	/* items of RETURN (STATUS (...)) */
	struct store_list	*list;		/* owned */
	size_t			 at;		/* in the list */
};

/* "(SUBSCRIBED SPECIAL-USE)", behind the '('. */
static bool
parse_options(struct imap_in *in, const struct list_word *words, struct listing *l)
{
	struct slice name;

	if (imap_take_char(in, ')'))
		return true;
	do {
		const struct list_word *w = words;

		if (!imap_parse_atom(in, &name))
			return false;
		while (w->name != NULL && !slice_ieq(name, w->name))
			w++;
		if (w->name == NULL)
			return imap_in_error(in, "Unknown LIST option");
		l->options |= w->option;
		if (w->option == RETURN_STATUS && (!imap_parse_space(in) || !imap_parse_status_items(in, &l->status)))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')');
}

static bool
parse_pattern(struct imap_in *in, struct listing *l)
{
	void *at = l->pattern;
	struct slice text;

	if (!imap_parse_list_mailbox(in, &text))
		return false;
	if (text.len == 0)
		l->root = true;
	if (l->utf8 && !imap_name_normal(in->pool, text, &text))
		text = SLICE("&");	/* no name is that */
	if (l->pattern_n >= PATTERNS_MAX ||
	    !imap_pool_grow(in->pool, &at, l->pattern_n, &l->room, sizeof(*l->pattern)))
		return imap_in_error(in, "Too many patterns");
	l->pattern = at;
	imap_pattern_init(&l->pattern[l->pattern_n++], l->reference, text);
	return true;
}

static bool
parse_patterns(struct imap_in *in, struct listing *l)
{
	if (!imap_take_char(in, '('))
		return parse_pattern(in, l);
	l->extended = true;
	do {
		if (!parse_pattern(in, l))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')');
}

static bool
parse_list(struct imap_in *in, struct listing *l)
{
	if (!imap_parse_space(in))
		return false;
	if (imap_take_char(in, '(')) {
		l->extended = true;
		if (!parse_options(in, select_words, l) || !imap_parse_space(in))
			return false;
	}
	if (!imap_parse_astring(in, &l->reference) || !imap_parse_space(in) || !parse_patterns(in, l))
		return false;
	if (slice_iprefix(&in->rest, " RETURN (")) {
		l->extended = true;
		if (!parse_options(in, return_words, l))
			return false;
	}
	if (l->extended)
		l->root = false;
	/* RFC 5258 section 3: RECURSIVEMATCH needs something to match by. */
	if ((l->options & SELECT_RECURSIVE) != 0 && (l->options & (SELECT_SUBSCRIBED | SELECT_SPECIAL_USE)) == 0)
		return imap_in_error(in, "RECURSIVEMATCH needs another option");
	return imap_parse_end(in);
}

static bool
matches_text(const struct listing *l, struct slice name)
{
	for (size_t i = 0; i < l->pattern_n; i++)
		if (imap_pattern_match(&l->pattern[i], name))
			return true;
	return false;
}

static bool
matches(const struct listing *l, struct slice name)
{
	struct buf utf8;
	bool found;

	if (!l->utf8 || slice_find(name, '&') == name.len)
		return matches_text(l, name);
	buf_init(&utf8, 4 * STORE_NAME_MAX);
	found = store_name_utf8(name, &utf8) && matches_text(l, buf_slice_of(&utf8));
	buf_clear(&utf8);
	return found;
}

/* Is it one that the selection options ask for? */
static bool
is_selected(const struct listing *l, const struct store_folder_info *info)
{
	if ((l->options & SELECT_SUBSCRIBED) != 0 && !info->subscribed)
		return false;
	if ((l->options & SELECT_SPECIAL_USE) != 0 && info->special == STORE_SPECIAL_NONE)
		return false;
	return info->exists || info->children || (l->options & SELECT_SUBSCRIBED) != 0;
}

static bool
is_below(const char *name, const char *parent)
{
	size_t n = strlen(parent);

	return strncmp(name, parent, n) == 0 && name[n] == STORE_SEPARATOR;
}

/* Is one that was asked for somewhere below it?  (RECURSIVEMATCH) */
static bool
holds_selected(const struct listing *l, const struct store_folder_info *info)
{
	for (size_t i = 0; i < l->list->n; i++)
		if (is_below(l->list->at[i].name, info->name) && is_selected(l, &l->list->at[i]))
			return true;
	return false;
}

static void
put_attributes(struct buf *out, const struct listing *l, const struct store_folder_info *info)
{
	const char *special = store_special_name(info->special);

	if (!info->exists)
		(void)buf_text(out, l->extended ? "\\NonExistent " : "\\Noselect ");
	(void)buf_text(out, info->children ? "\\HasChildren" : "\\HasNoChildren");
	if (info->subscribed && (l->options & (SELECT_SUBSCRIBED | RETURN_SUBSCRIBED)) != 0)
		(void)buf_text(out, " \\Subscribed");
	if (special != NULL)
		(void)buf_fmt(out, " %s", special);
}

/* What of those asked for is below it (RFC 5258 section 3.5). */
static void
put_childinfo(struct buf *out, const struct listing *l)
{
	const char *space = "";

	(void)buf_text(out, " (\"CHILDINFO\" (");
	if ((l->options & SELECT_SUBSCRIBED) != 0) {
		(void)buf_text(out, "\"SUBSCRIBED\"");
		space = " ";
	}
	if ((l->options & SELECT_SPECIAL_USE) != 0)
		(void)buf_fmt(out, "%s\"SPECIAL-USE\"", space);
	(void)buf_text(out, "))");
}

static void
put_folder(struct imap_session *s, const struct listing *l, const struct store_folder_info *info, bool below)
{
	(void)buf_text(&s->out, "* LIST (");
	put_attributes(&s->out, l, info);
	(void)buf_text(&s->out, ") \".\" ");
	imap_put_mailbox(s, slice_of(info->name));
	if (below)
		put_childinfo(&s->out, l);
	(void)buf_text(&s->out, "\r\n");
}

/* One folder; true: its STATUS was told too. */
static bool
put_one(struct imap_session *s, const struct listing *l, const struct store_folder_info *info)
{
	bool below = false, selected = is_selected(l, info);

	if (!matches(l, slice_of(info->name)))
		return false;
	if ((l->options & SELECT_RECURSIVE) != 0)
		below = holds_selected(l, info);
	if (!below && !selected)
		return false;
	put_folder(s, l, info, below);
	/* RFC 5819 section 2: not of those that are told for their children alone.  One that cannot be told is left out. */
	if ((l->options & RETURN_STATUS) == 0 || !selected || !info->exists)
		return false;
	(void)imap_put_status(s, slice_of(info->name), l->status);
	return true;
}

static enum imap_step
list_step(struct imap_session *s)
{
	struct listing *l = s->run.state;
	unsigned looked = 0;

	for (; l->at < l->list->n; l->at++) {
		if (imap_out_high(s))
			return STEP_DRAIN;
		if (looked >= AT_ONCE)
			return STEP_AGAIN;
		looked += put_one(s, l, &l->list->at[l->at]);
	}
	return imap_ok(s, "Mailboxes listed");
}

static void
list_end(struct imap_session *s)
{
	struct listing *l = s->run.state;

	free(l->list);
}

/* All folders there are, into run.state; NULL: s->reply says why not. */
static struct listing *
listing_new(struct imap_session *s)
{
	struct listing *l = imap_pool_alloc(&s->pool, sizeof(*l));

	if (l == NULL) {
		(void)imap_no(s, "[UNAVAILABLE] Out of memory");
		return NULL;
	}
	l->utf8 = imap_names_utf8(s);
	s->run.state = l;
	s->run.end = list_end;
	return l;
}

enum imap_step
cmd_list(struct imap_session *s, struct imap_in *in)
{
	struct listing *l = listing_new(s);
	enum store_error error;

	if (l == NULL)
		return STEP_DONE;
	if (!parse_list(in, l))
		return imap_bad_args(s, in);
	if (l->root) {
		(void)buf_text(&s->out, "* LIST (\\Noselect) \".\" \"\"\r\n");
		return imap_ok(s, "Mailboxes listed");
	}
	error = store_list(s->setup.store, 0, &l->list);
	if (error != STORE_OK)
		return imap_no_store(s, error, "list");
	s->run.step = list_step;
	return list_step(s);
}

static void
put_lsub(struct imap_session *s, struct slice name, bool noselect)
{
	(void)buf_fmt(&s->out, "* LSUB (%s) \".\" ", noselect ? "\\Noselect" : "");
	imap_put_mailbox(s, name);
	(void)buf_text(&s->out, "\r\n");
}

/* Was this level told for an earlier name already, or will it be told by itself? */
static bool
is_told(const struct listing *l, size_t before, struct slice level)
{
	for (size_t i = 0; i < l->list->n; i++) {
		const struct store_folder_info *info = &l->list->at[i];
		struct slice name = slice_of(info->name);

		if (!info->subscribed)
			continue;
		if (slice_eq(name, level))
			return true;
		if (i < before && name.len > level.len && name.ptr[level.len] == STORE_SEPARATOR &&
		    slice_eq(slice_sub(name, 0, level.len), level))
			return true;
	}
	return false;
}

/*
 * RFC 3501 section 6.3.9: with '%', a level that is not subscribed is told, as
 * \Noselect, for what is subscribed below it.
 */
static void
put_levels(struct imap_session *s, const struct listing *l, size_t at)
{
	struct slice name = slice_of(l->list->at[at].name);

	for (size_t i = 1; i < name.len; i++) {
		struct slice level = slice_sub(name, 0, i);

		if (name.ptr[i] == STORE_SEPARATOR && matches(l, level) && !is_told(l, at, level))
			put_lsub(s, level, true);
	}
}

enum imap_step
cmd_lsub(struct imap_session *s, struct imap_in *in)
{
	struct listing *l = listing_new(s);
	enum store_error error;

	if (l == NULL)
		return STEP_DONE;
	if (!imap_parse_space(in) || !imap_parse_astring(in, &l->reference) || !imap_parse_space(in) ||
	    !parse_pattern(in, l) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	error = store_list(s->setup.store, 0, &l->list);
	if (error != STORE_OK)
		return imap_no_store(s, error, "lsub");
	for (size_t i = 0; i < l->list->n; i++) {
		const struct store_folder_info *info = &l->list->at[i];

		if (!info->subscribed)
			continue;
		if (matches(l, slice_of(info->name)))
			put_lsub(s, slice_of(info->name), !info->exists);
		else
			put_levels(s, l, i);
	}
	return imap_ok(s, "Subscriptions listed");
}
