/* Arguments of SORT and THREAD: RFC 5256 sections 3 and 5, RFC 5957, RFC 5267 section 3. */
#include "imap_parse.h"

static const struct {
	const char		*name;
	enum imap_sort_by	 by;
} names[] = {
	{ "ARRIVAL",		SORT_ARRIVAL },
	{ "CC",			SORT_CC },
	{ "DATE",		SORT_DATE },
	{ "DISPLAYFROM",	SORT_DISPLAYFROM },
	{ "DISPLAYTO",		SORT_DISPLAYTO },
	{ "FROM",		SORT_FROM },
	{ "SIZE",		SORT_SIZE },
	{ "SUBJECT",		SORT_SUBJECT },
	{ "TO",			SORT_TO },
};

/* A key that was there already decides nothing the second time. */
static void
add_key(struct imap_sort_command *out, enum imap_sort_by by, bool reverse)
{
	for (size_t i = 0; i < out->n; i++)
		if (out->key[i].by == by)
			return;
	out->key[out->n++] = (struct imap_sort_key){ by, reverse };
}

static bool
parse_key(struct imap_in *in, struct imap_sort_command *out)
{
	bool reverse = slice_iprefix(&in->rest, "REVERSE ");
	struct slice name;

	if (!imap_parse_atom(in, &name))
		return imap_in_error(in, "Sort key expected");
	for (size_t i = 0; i < LEN(names); i++) {
		if (slice_ieq(name, names[i].name)) {
			add_key(out, names[i].by, reverse);
			return true;
		}
	}
	return imap_in_error(in, "Unknown sort key");
}

bool
imap_parse_sort(struct imap_in *in, struct imap_sort_command *out)
{
	*out = (struct imap_sort_command){ 0 };
	if (!imap_parse_returns(in, &out->search.returns) || !imap_parse_char(in, '('))
		return false;
	do {
		if (!parse_key(in, out))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')') && imap_parse_space(in) && imap_parse_astring(in, &out->search.charset) &&
	    imap_parse_space(in) && imap_parse_search_keys(in, &out->search.root);
}

bool
imap_parse_thread(struct imap_in *in, struct imap_thread_command *out)
{
	struct slice name;

	*out = (struct imap_thread_command){ 0 };
	if (!imap_parse_atom(in, &name) || !imap_parse_space(in))
		return false;
	if (slice_ieq(name, "REFERENCES"))
		out->by_references = true;
	else if (!slice_ieq(name, "ORDEREDSUBJECT"))
		return imap_in_error(in, "Unknown threading algorithm");
	return imap_parse_astring(in, &out->search.charset) && imap_parse_space(in) &&
	    imap_parse_search_keys(in, &out->search.root);
}
