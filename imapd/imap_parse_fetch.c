/* What FETCH asks for: RFC 3501 section 6.4.5. */
#include "imap_parse.h"

#include <string.h>

static const struct {
	const char	*name;
	unsigned	 atts;
} macros[] = {
	{ "ALL",	ATT_FLAGS | ATT_INTERNALDATE | ATT_RFC822_SIZE | ATT_ENVELOPE },
	{ "FAST",	ATT_FLAGS | ATT_INTERNALDATE | ATT_RFC822_SIZE },
	{ "FULL",	ATT_FLAGS | ATT_INTERNALDATE | ATT_RFC822_SIZE | ATT_ENVELOPE | ATT_BODY },
}, plain[] = {
	{ "UID",		ATT_UID },
	{ "FLAGS",		ATT_FLAGS },
	{ "INTERNALDATE",	ATT_INTERNALDATE },
	{ "RFC822.SIZE",	ATT_RFC822_SIZE },
	{ "ENVELOPE",		ATT_ENVELOPE },
	{ "BODY",		ATT_BODY },
	{ "BODYSTRUCTURE",	ATT_BODYSTRUCTURE },
	{ "MODSEQ",		ATT_MODSEQ },
	{ "EMAILID",		ATT_EMAILID },
	{ "THREADID",		ATT_THREADID },
	{ "SAVEDATE",		ATT_SAVEDATE },
	{ "PREVIEW",		ATT_PREVIEW },
};

static const struct {
	const char		*name;
	enum imap_spelling	 spelling;
	enum imap_part		 part;
	bool			 peek;
} old_names[] = {
	{ "RFC822",		SPELL_RFC822,		PART_ALL,	false },
	{ "RFC822.HEADER",	SPELL_RFC822_HEADER,	PART_HEADER,	true },
	{ "RFC822.TEXT",	SPELL_RFC822_TEXT,	PART_TEXT,	false },
};

static const struct {
	const char	*name;
	enum imap_part	 part;
} parts[] = {
	{ "HEADER.FIELDS.NOT",	PART_FIELDS_NOT },
	{ "HEADER.FIELDS",	PART_FIELDS },
	{ "HEADER",		PART_HEADER },
	{ "TEXT",		PART_TEXT },
	{ "MIME",		PART_MIME },
};

static bool
is_digit(const struct imap_in *in)
{
	return in->rest.len > 0 && in->rest.ptr[0] >= '0' && in->rest.ptr[0] <= '9';
}

/* "1.2.3", and the '.' in front of a word if one follows. */
static bool
parse_numbers(struct imap_in *in, struct imap_section *s, bool *word)
{
	size_t room = 0;

	*word = true;
	while (is_digit(in)) {
		void *at = s->number;

		if (s->number_n >= IMAP_SECTION_DEPTH)
			return imap_in_error(in, "Section too deep");
		if (!imap_pool_grow(in->pool, &at, s->number_n, &room, sizeof(uint32_t)))
			return imap_in_error(in, "Command too large");
		s->number = at;
		if (!imap_parse_nz_number(in, &s->number[s->number_n++]))
			return false;
		*word = imap_take_char(in, '.');
		if (!*word)
			return true;
	}
	return true;
}

/* The names behind HEADER.FIELDS. */
static bool
parse_fields(struct imap_in *in, struct imap_section *s)
{
	size_t room = 0;

	if (!imap_parse_space(in) || !imap_parse_char(in, '('))
		return false;
	do {
		void *at = s->field;

		if (s->field_n >= IMAP_FIELDS_MAX)
			return imap_in_error(in, "Too many header fields");
		if (!imap_pool_grow(in->pool, &at, s->field_n, &room, sizeof(struct slice)))
			return imap_in_error(in, "Command too large");
		s->field = at;
		if (!imap_parse_astring(in, &s->field[s->field_n]))
			return false;
		if (s->field[s->field_n++].len == 0)
			return imap_in_error(in, "Empty header field name");
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')');
}

static bool
parse_part(struct imap_in *in, struct imap_section *s)
{
	for (size_t i = 0; i < LEN(parts); i++) {
		if (!slice_iprefix(&in->rest, parts[i].name))
			continue;
		s->part = parts[i].part;
		if (s->part == PART_MIME && s->number_n == 0)
			return imap_in_error(in, "MIME needs a part number");
		if (s->part == PART_FIELDS || s->part == PART_FIELDS_NOT)
			return parse_fields(in, s);
		return true;
	}
	return imap_in_error(in, "Unknown section");
}

/* "<0.1024>" */
static bool
parse_partial(struct imap_in *in, struct imap_section *s)
{
	if (!imap_take_char(in, '<'))
		return true;
	if (!imap_parse_number(in, INT64_MAX, &s->offset) || !imap_parse_char(in, '.') ||
	    !imap_parse_number(in, INT64_MAX, &s->count) || s->count == 0 || !imap_parse_char(in, '>'))
		return imap_in_error(in, "Invalid partial range");
	s->partial = true;
	return true;
}

/* Behind "BODY[" or "BODY.PEEK[". */
static bool
parse_section(struct imap_in *in, struct imap_section *s)
{
	bool word;

	if (!imap_take_char(in, ']')) {
		if (!parse_numbers(in, s, &word))
			return false;
		if (word && !parse_part(in, s))
			return false;
		if (!imap_parse_char(in, ']'))
			return false;
	}
	return parse_partial(in, s);
}

struct sections {
	struct imap_fetch	*fetch;
	size_t			 room;
};

static struct imap_section *
section_new(struct imap_in *in, struct sections *to)
{
	void *at = to->fetch->section;

	if (to->fetch->section_n >= IMAP_SECTIONS_MAX) {
		(void)imap_in_error(in, "Too many sections");
		return NULL;
	}
	if (!imap_pool_grow(in->pool, &at, to->fetch->section_n, &to->room, sizeof(struct imap_section))) {
		(void)imap_in_error(in, "Command too large");
		return NULL;
	}
	to->fetch->section = at;
	to->fetch->section[to->fetch->section_n] = (struct imap_section){ 0 };
	return &to->fetch->section[to->fetch->section_n++];
}

static bool
parse_body(struct imap_in *in, struct sections *to, bool *taken)
{
	struct slice start = in->rest;
	struct imap_section *s;
	bool peek;

	*taken = false;
	if (!slice_iprefix(&in->rest, "BODY"))
		return true;
	peek = slice_iprefix(&in->rest, ".PEEK");
	if (!imap_take_char(in, '[')) {
		in->rest = start;
		return true;
	}
	*taken = true;
	s = section_new(in, to);
	if (s == NULL)
		return false;
	s->peek = peek;
	return parse_section(in, s);
}

/* BINARY[1.2]<0.100>, BINARY.PEEK[1.2], BINARY.SIZE[1.2]: part numbers alone (RFC 3516 section 4.3). */
static bool
parse_binary(struct imap_in *in, struct sections *to, bool *taken)
{
	struct slice start = in->rest;
	enum imap_spelling spelling = SPELL_BINARY;
	struct imap_section *s;
	bool peek, word;

	*taken = false;
	if (!slice_iprefix(&in->rest, "BINARY"))
		return true;
	peek = slice_iprefix(&in->rest, ".PEEK");
	if (!peek && slice_iprefix(&in->rest, ".SIZE"))
		spelling = SPELL_BINARY_SIZE;
	if (!imap_take_char(in, '[')) {
		in->rest = start;
		return true;
	}
	*taken = true;
	s = section_new(in, to);
	if (s == NULL || !parse_numbers(in, s, &word))
		return false;
	if (word && s->number_n > 0)
		return imap_in_error(in, "Part number expected");
	s->spelling = spelling;
	s->peek = peek || spelling == SPELL_BINARY_SIZE;
	if (!imap_parse_char(in, ']'))
		return false;
	return spelling == SPELL_BINARY_SIZE || parse_partial(in, s);
}

/* One fetch-att. */
static bool
parse_att(struct imap_in *in, struct sections *to)
{
	struct imap_section *s;
	struct slice name;
	bool taken;

	if (!parse_body(in, to, &taken))
		return false;
	if (!taken && !parse_binary(in, to, &taken))
		return false;
	if (taken)
		return true;
	if (!imap_parse_atom(in, &name))
		return false;
	for (size_t i = 0; i < LEN(plain); i++) {
		if (slice_ieq(name, plain[i].name)) {
			to->fetch->atts |= plain[i].atts;
			if (plain[i].atts == ATT_PREVIEW)
				(void)slice_iprefix(&in->rest, " (LAZY)");
			return true;
		}
	}
	for (size_t i = 0; i < LEN(old_names); i++) {
		if (!slice_ieq(name, old_names[i].name))
			continue;
		s = section_new(in, to);
		if (s == NULL)
			return false;
		s->spelling = old_names[i].spelling;
		s->part = old_names[i].part;
		s->peek = old_names[i].peek;
		return true;
	}
	return imap_in_error(in, "Unknown fetch item");
}

static bool
parse_macro(struct imap_in *in, struct imap_fetch *out)
{
	struct slice start = in->rest, word;

	if (!imap_parse_atom(in, &word)) {
		in->error = NULL;
		in->rest = start;
		return false;
	}
	for (size_t i = 0; i < LEN(macros); i++) {
		if (slice_ieq(word, macros[i].name)) {
			out->atts = macros[i].atts;
			return true;
		}
	}
	in->rest = start;
	return false;
}

bool
imap_parse_fetch(struct imap_in *in, struct imap_fetch *out)
{
	struct sections to = { .fetch = out };

	*out = (struct imap_fetch){ 0 };
	if (parse_macro(in, out))
		return true;
	if (!imap_take_char(in, '('))
		return parse_att(in, &to);
	do {
		if (!parse_att(in, &to))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')');
}
