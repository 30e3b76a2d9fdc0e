/* SEARCH keys: RFC 3501 section 6.4.4. */
#include "imap_parse.h"

#include <string.h>

/* What stands behind the word. */
enum args { ARGS_NONE, ARGS_TEXT, ARGS_FIELD_TEXT, ARGS_DATE, ARGS_NUMBER, ARGS_SECONDS, ARGS_MODSEQ, ARGS_OBJECT, ARGS_KEYWORD, ARGS_UID, ARGS_KEY, ARGS_TWO_KEYS };

static const struct search_word {
	const char	*name;
	enum args	 args;
	enum imap_key	 key;
	bool		 negate;
	unsigned	 flag;		/* of KEY_FLAG */
	const char	*field;		/* of KEY_HEADER without a name of its own */
} words[] = {
	{ "ALL",	ARGS_NONE,	KEY_ALL },
	{ "ANSWERED",	ARGS_NONE,	KEY_FLAG,	false,	IMAP_ANSWERED },
	{ "BCC",	ARGS_TEXT,	KEY_HEADER,	.field = "Bcc" },
	{ "BEFORE",	ARGS_DATE,	KEY_BEFORE },
	{ "BODY",	ARGS_TEXT,	KEY_BODY },
	{ "CC",		ARGS_TEXT,	KEY_HEADER,	.field = "Cc" },
	{ "DELETED",	ARGS_NONE,	KEY_FLAG,	false,	IMAP_DELETED },
	{ "DRAFT",	ARGS_NONE,	KEY_FLAG,	false,	IMAP_DRAFT },
	{ "EMAILID",	ARGS_OBJECT,	KEY_EMAILID },
	{ "FLAGGED",	ARGS_NONE,	KEY_FLAG,	false,	IMAP_FLAGGED },
	{ "FROM",	ARGS_TEXT,	KEY_HEADER,	.field = "From" },
	{ "HEADER",	ARGS_FIELD_TEXT, KEY_HEADER },
	{ "KEYWORD",	ARGS_KEYWORD,	KEY_KEYWORD },
	{ "LARGER",	ARGS_NUMBER,	KEY_LARGER },
	{ "MODSEQ",	ARGS_MODSEQ,	KEY_MODSEQ },
	{ "NOT",	ARGS_KEY,	KEY_NOT },
	{ "OLD",	ARGS_NONE,	KEY_RECENT,	true },
	{ "OLDER",	ARGS_SECONDS,	KEY_OLDER },
	{ "ON",		ARGS_DATE,	KEY_ON },
	{ "OR",		ARGS_TWO_KEYS,	KEY_OR },
	{ "RECENT",	ARGS_NONE,	KEY_RECENT },
	{ "SAVEDATESUPPORTED", ARGS_NONE, KEY_ALL },
	{ "SAVEDBEFORE", ARGS_DATE,	KEY_SAVEDBEFORE },
	{ "SAVEDON",	ARGS_DATE,	KEY_SAVEDON },
	{ "SAVEDSINCE",	ARGS_DATE,	KEY_SAVEDSINCE },
	{ "SEEN",	ARGS_NONE,	KEY_FLAG,	false,	IMAP_SEEN },
	{ "SENTBEFORE",	ARGS_DATE,	KEY_SENTBEFORE },
	{ "SENTON",	ARGS_DATE,	KEY_SENTON },
	{ "SENTSINCE",	ARGS_DATE,	KEY_SENTSINCE },
	{ "SINCE",	ARGS_DATE,	KEY_SINCE },
	{ "SMALLER",	ARGS_NUMBER,	KEY_SMALLER },
	{ "SUBJECT",	ARGS_TEXT,	KEY_HEADER,	.field = "Subject" },
	{ "TEXT",	ARGS_TEXT,	KEY_TEXT },
	{ "THREADID",	ARGS_OBJECT,	KEY_NONE },
	{ "TO",		ARGS_TEXT,	KEY_HEADER,	.field = "To" },
	{ "UID",	ARGS_UID,	KEY_UID },
	{ "UNANSWERED",	ARGS_NONE,	KEY_FLAG,	true,	IMAP_ANSWERED },
	{ "UNDELETED",	ARGS_NONE,	KEY_FLAG,	true,	IMAP_DELETED },
	{ "UNDRAFT",	ARGS_NONE,	KEY_FLAG,	true,	IMAP_DRAFT },
	{ "UNFLAGGED",	ARGS_NONE,	KEY_FLAG,	true,	IMAP_FLAGGED },
	{ "UNKEYWORD",	ARGS_KEYWORD,	KEY_KEYWORD,	true },
	{ "UNSEEN",	ARGS_NONE,	KEY_FLAG,	true,	IMAP_SEEN },
	{ "YOUNGER",	ARGS_SECONDS,	KEY_YOUNGER },
};

struct search_parse {
	struct imap_in	*in;
	size_t		 keys;		/* made so far */
};

static bool parse_key(struct search_parse *p, unsigned depth, struct imap_search **out);

static struct imap_search *
key_new(struct search_parse *p, enum imap_key key)
{
	struct imap_search *s = NULL;

	if (++p->keys <= IMAP_SEARCH_KEYS)
		s = imap_pool_alloc(p->in->pool, sizeof(*s));
	if (s == NULL)
		(void)imap_in_error(p->in, "Search too complex");
	else
		s->key = key;
	return s;
}

/* Keys, separated by SP, up to ')' or the end: AND, unless it is one alone. */
static bool
parse_keys(struct search_parse *p, unsigned depth, struct imap_search **out)
{
	struct imap_search *and = key_new(p, KEY_AND);
	struct imap_search **next;

	if (and == NULL)
		return false;
	next = &and->child;
	do {
		if (!parse_key(p, depth, next))
			return false;
		next = &(*next)->next;
		/* Blanks at the end are let pass, as everywhere. */
	} while (imap_take_char(p->in, ' ') && !(depth == 0 && imap_at_end(p->in)));
	*out = and->child->next == NULL ? and->child : and;
	return true;
}

/* ["/flags/\\seen" SP ("priv" / "shared" / "all") SP] mod-sequence: there is one for all flags of a message. */
static bool
parse_modseq_key(struct imap_in *in, uint64_t *modseq)
{
	struct slice entry, type;

	if (in->rest.len > 0 && in->rest.ptr[0] == '"') {
		if (!imap_parse_string(in, &entry) || !imap_parse_space(in) || !imap_parse_atom(in, &type) || !imap_parse_space(in))
			return false;
		if (!slice_iprefix(&entry, "/flags/"))
			return imap_in_error(in, "Unknown entry");
		if (!slice_ieq(type, "priv") && !slice_ieq(type, "shared") && !slice_ieq(type, "all"))
			return imap_in_error(in, "Unknown entry type");
	}
	return imap_parse_modseq(in, modseq);
}

static bool
parse_args(struct search_parse *p, const struct search_word *w, unsigned depth, struct imap_search *s)
{
	struct imap_in *in = p->in;
	uint32_t seconds;

	s->number = w->flag;
	s->field = slice_of(w->field);
	if (w->args == ARGS_NONE)
		return true;
	if (!imap_parse_space(in))
		return false;
	switch (w->args) {
	case ARGS_NONE:
		return true;
	case ARGS_TEXT:
		return imap_parse_astring(in, &s->text);
	case ARGS_FIELD_TEXT:
		return imap_parse_astring(in, &s->field) && imap_parse_space(in) &&
		    imap_parse_astring(in, &s->text);
	case ARGS_DATE:
		return imap_parse_date(in, &s->day);
	case ARGS_NUMBER:
		return imap_parse_number(in, INT64_MAX, &s->number);
	case ARGS_SECONDS:
		if (!imap_parse_nz_number(in, &seconds))
			return false;
		s->number = seconds;
		return true;
	case ARGS_MODSEQ:
		return parse_modseq_key(in, &s->number);
	case ARGS_OBJECT:
	case ARGS_KEYWORD:
		return imap_parse_atom(in, &s->text);
	case ARGS_UID:
		return imap_parse_set(in, &s->set);
	case ARGS_KEY:
		return parse_key(p, depth, &s->child);
	case ARGS_TWO_KEYS:
		return parse_key(p, depth, &s->child) && imap_parse_space(in) &&
		    parse_key(p, depth, &s->child->next);
	}
	return false;
}

static bool
negate(struct search_parse *p, struct imap_search **s)
{
	struct imap_search *not = key_new(p, KEY_NOT);

	if (not == NULL)
		return false;
	not->child = *s;
	*s = not;
	return true;
}

/* NEW is "RECENT UNSEEN". */
static bool
parse_new(struct search_parse *p, struct imap_search **out)
{
	struct imap_search *and = key_new(p, KEY_AND), *recent = key_new(p, KEY_RECENT);
	struct imap_search *seen = key_new(p, KEY_FLAG);

	if (and == NULL || recent == NULL || seen == NULL)
		return false;
	seen->number = IMAP_SEEN;
	and->child = recent;
	recent->next = seen;
	*out = and;
	return negate(p, &recent->next);
}

static bool
parse_word(struct search_parse *p, unsigned depth, struct imap_search **out)
{
	struct slice name;

	if (!imap_parse_atom(p->in, &name))
		return imap_in_error(p->in, "Unknown search key");
	if (slice_ieq(name, "NEW"))
		return parse_new(p, out);
	for (size_t i = 0; i < LEN(words); i++) {
		if (!slice_ieq(name, words[i].name))
			continue;
		*out = key_new(p, words[i].key);
		if (*out == NULL || !parse_args(p, &words[i], depth, *out))
			return false;
		return !words[i].negate || negate(p, out);
	}
	return imap_in_error(p->in, "Unknown search key");
}

static bool
at_set(const struct imap_in *in)
{
	return in->rest.len > 0 &&
	    (in->rest.ptr[0] == '*' || in->rest.ptr[0] == '$' || (in->rest.ptr[0] >= '0' && in->rest.ptr[0] <= '9'));
}

static bool
parse_key(struct search_parse *p, unsigned depth, struct imap_search **out)
{
	if (depth >= IMAP_SEARCH_DEPTH)
		return imap_in_error(p->in, "Search too deep");
	if (imap_take_char(p->in, '('))
		return parse_keys(p, depth + 1, out) && imap_parse_char(p->in, ')');
	if (at_set(p->in)) {
		*out = key_new(p, KEY_SEQUENCE);
		return *out != NULL && imap_parse_set(p->in, &(*out)->set);
	}
	return parse_word(p, depth + 1, out);
}

bool
imap_parse_search_keys(struct imap_in *in, struct imap_search **out)
{
	struct search_parse p = { .in = in };

	return parse_keys(&p, 0, out) && imap_parse_end(in);
}

bool
imap_parse_search(struct imap_in *in, struct imap_search_command *out)
{
	*out = (struct imap_search_command){ 0 };
	if (!imap_parse_returns(in, &out->returns))
		return false;
	if (slice_iprefix(&in->rest, "CHARSET ") &&
	    (!imap_parse_astring(in, &out->charset) || !imap_parse_space(in)))
		return false;
	return imap_parse_search_keys(in, &out->root);
}
