/* Modifiers of FETCH and parameters of SELECT: RFC 4466, RFC 7162, RFC 9394. */
#include "imap_parse.h"

bool
imap_parse_modseq(struct imap_in *in, uint64_t *out)
{
	return imap_parse_number(in, INT64_MAX, out);
}

static bool
parse_fetch_modifier(struct imap_in *in, struct imap_fetch *out)
{
	struct slice name;

	if (!imap_parse_atom(in, &name))
		return false;
	if (slice_ieq(name, "CHANGEDSINCE")) {
		out->since = true;
		return imap_parse_space(in) && imap_parse_modseq(in, &out->changedsince);
	}
	if (slice_ieq(name, "PARTIAL")) {
		out->partial = true;
		return imap_parse_space(in) &&
		    imap_parse_partial(in, &out->partial_back, &out->partial_first, &out->partial_last);
	}
	if (!slice_ieq(name, "VANISHED"))
		return imap_in_error(in, "Unknown fetch modifier");
	out->vanished = true;
	return true;
}

bool
imap_parse_fetch_modifiers(struct imap_in *in, struct imap_fetch *out)
{
	if (!slice_prefix(&in->rest, " ("))
		return true;
	do {
		if (!parse_fetch_modifier(in, out))
			return false;
	} while (imap_take_char(in, ' '));
	/* RFC 7162 section 3.2.6. */
	if (out->vanished && !out->since)
		return imap_in_error(in, "VANISHED needs CHANGEDSINCE");
	return imap_parse_char(in, ')');
}

/* "(67890007 90060115194045000 41:211,214:541 (1,2,3 5,6,7))" */
static bool
parse_qresync(struct imap_in *in, struct imap_select *out)
{
	if (!imap_parse_space(in) || !imap_parse_char(in, '(') || !imap_parse_nz_number(in, &out->uidvalidity) ||
	    !imap_parse_space(in) || !imap_parse_modseq(in, &out->modseq))
		return false;
	out->qresync = true;
	if (imap_take_char(in, ' ') && in->rest.len > 0 && in->rest.ptr[0] != '(') {
		out->known = true;
		if (!imap_parse_set(in, &out->known_uids))
			return false;
		(void)imap_take_char(in, ' ');
	}
	if (imap_take_char(in, '(')) {
		out->matched = true;
		if (!imap_parse_set(in, &out->match_seqs) || !imap_parse_space(in) ||
		    !imap_parse_set(in, &out->match_uids) || !imap_parse_char(in, ')'))
			return false;
	}
	if (out->known_uids.saved || out->match_seqs.saved || out->match_uids.saved)
		return imap_in_error(in, "Invalid message set");
	return imap_parse_char(in, ')');
}

bool
imap_parse_select(struct imap_in *in, struct imap_select *out)
{
	struct slice name;

	*out = (struct imap_select){ 0 };
	if (!slice_prefix(&in->rest, " ("))
		return imap_parse_end(in);
	do {
		if (!imap_parse_atom(in, &name))
			return false;
		if (slice_ieq(name, "CONDSTORE"))
			out->condstore = true;
		else if (!slice_ieq(name, "QRESYNC"))
			return imap_in_error(in, "Unknown parameter");
		else if (out->qresync || !parse_qresync(in, out))
			return imap_in_error(in, "Invalid QRESYNC parameters");
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')') && imap_parse_end(in);
}
