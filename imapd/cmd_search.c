/* SEARCH, UID SEARCH: RFC 3501 section 6.4.4, with the results of RFC 4731, 5182 and 9394. */
#include "imap_cmd.h"
#include "imap_result.h"

struct search {
	struct imap_searching	searching;
	struct imap_result	result;
};

static void
search_end(struct imap_session *s)
{
	struct search *x = s->run.state;

	imap_search_clear(&x->searching);
	imap_message_close(&s->message);
}

static enum imap_step
told_step(struct imap_session *s)
{
	struct search *x = s->run.state;

	return imap_result_step(s, &x->result, "Searched");
}

static enum imap_step
search_step(struct imap_session *s)
{
	struct search *x = s->run.state;

	if (imap_search_step(s, &x->searching) == STEP_AGAIN)
		return STEP_AGAIN;
	if (x->searching.no_memory) {
		imap_result_failed(s, &x->result.returns);
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	}
	x->result.found = &x->searching.found;
	x->result.modseq = x->searching.modseq;
	s->run.step = told_step;
	return told_step(s);
}

enum imap_step
cmd_search(struct imap_session *s, struct imap_in *in)
{
	struct search *x = imap_pool_alloc(&s->pool, sizeof(*x));
	struct imap_search_command cmd;

	if (x == NULL)
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	if (!imap_parse_space(in) || !imap_parse_search(in, &cmd))
		return imap_bad_args(s, in);
	/* RFC 6855 section 3: no charset where all is UTF-8. */
	if ((s->enabled & ENABLED_UTF8) != 0 && cmd.charset.len > 0)
		return imap_bad(s, "No CHARSET after ENABLE UTF8=ACCEPT");
	/* RFC 9051 section 6.4.4: always ESEARCH. */
	if ((s->enabled & ENABLED_REV2) != 0 && (cmd.returns.bits & RESULT_GIVEN) == 0)
		cmd.returns.bits = RESULT_GIVEN | RESULT_ALL;
	x->result = (struct imap_result){ .name = "SEARCH", .returns = cmd.returns };
	s->run.state = x;
	s->run.end = search_end;
	if (!imap_search_init(s, &x->searching, &cmd)) {
		imap_result_failed(s, &cmd.returns);
		return STEP_DONE;
	}
	s->run.step = search_step;
	return search_step(s);
}
