/* RETURN (...) of SEARCH and SORT: RFC 4466 section 2.6.1, RFC 4731, RFC 5182, RFC 9394. */
#include "imap_parse.h"

static const struct {
	const char			*name;
	enum imap_result_option	 bit;
} options[] = {
	{ "MIN",	RESULT_MIN },
	{ "MAX",	RESULT_MAX },
	{ "COUNT",	RESULT_COUNT },
	{ "ALL",	RESULT_ALL },
	{ "SAVE",	RESULT_SAVE },
	{ "PARTIAL",	RESULT_PARTIAL },
};

bool
imap_parse_partial(struct imap_in *in, bool *back, uint32_t *first, uint32_t *last)
{
	uint32_t other;

	*back = imap_take_char(in, '-');
	if (!imap_parse_nz_number(in, first) || !imap_parse_char(in, ':'))
		return false;
	if (*back && !imap_parse_char(in, '-'))
		return false;
	if (!imap_parse_nz_number(in, last))
		return false;
	if (*first > *last) {
		other = *first;
		*first = *last;
		*last = other;
	}
	return true;
}

static bool
parse_option(struct imap_in *in, struct imap_returns *out)
{
	struct slice name;

	if (!imap_parse_atom(in, &name))
		return false;
	for (size_t i = 0; i < LEN(options); i++) {
		if (!slice_ieq(name, options[i].name))
			continue;
		if (options[i].bit == RESULT_PARTIAL && (out->bits & RESULT_PARTIAL) != 0)
			return imap_in_error(in, "PARTIAL only once");
		out->bits |= options[i].bit;
		if (options[i].bit != RESULT_PARTIAL)
			return true;
		return imap_parse_space(in) &&
		    imap_parse_partial(in, &out->partial_back, &out->partial_first, &out->partial_last);
	}
	return imap_in_error(in, "Unknown result option");
}

bool
imap_parse_returns(struct imap_in *in, struct imap_returns *out)
{
	*out = (struct imap_returns){ 0 };
	if (!slice_iprefix(&in->rest, "RETURN ("))
		return true;
	out->bits = RESULT_GIVEN;
	if (imap_take_char(in, ')')) {
		out->bits |= RESULT_ALL;
		return imap_parse_space(in);
	}
	do {
		if (!parse_option(in, out))
			return false;
	} while (imap_take_char(in, ' '));
	/* RFC 9394 section 3.1: of two ways to list them, one. */
	if ((out->bits & RESULT_ALL) != 0 && (out->bits & RESULT_PARTIAL) != 0)
		return imap_in_error(in, "Either ALL or PARTIAL");
	return imap_parse_char(in, ')') && imap_parse_space(in);
}
