/* GETQUOTA, GETQUOTAROOT: RFC 9208, resource STORAGE.  One root for all mailboxes, if there is a limit. */
#include "imap_cmd.h"

#define ROOT "User"

static uint64_t
kilobytes(uint64_t octets)
{
	return octets / 1024 + (octets % 1024 != 0);
}

static void
put_quota(struct imap_session *s, const struct store_quota *q)
{
	(void)buf_fmt(&s->out, "* QUOTA \"" ROOT "\" (STORAGE %llu %llu)\r\n",
	    (unsigned long long)kilobytes(q->used), (unsigned long long)(q->limit / 1024));
}

enum imap_step
cmd_getquota(struct imap_session *s, struct imap_in *in)
{
	struct store_quota q;
	enum store_error error;
	struct slice root;

	if (!imap_parse_space(in) || !imap_parse_astring(in, &root) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	error = store_quota(s->setup.store, &q);
	if (error != STORE_OK)
		return imap_no_store(s, error, "quota");
	if (!slice_is(root, ROOT) || q.limit == 0)
		return imap_no(s, "[NONEXISTENT] No such quota root");
	put_quota(s, &q);
	return imap_ok(s, "Quota given");
}

enum imap_step
cmd_getquotaroot(struct imap_session *s, struct imap_in *in)
{
	struct store_quota q;
	enum store_error error;
	struct slice name;

	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &name) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	if (!store_exists(s->setup.store, name))
		return imap_no_store(s, STORE_NONEXISTENT, "quota");
	error = store_quota(s->setup.store, &q);
	if (error != STORE_OK)
		return imap_no_store(s, error, "quota");
	(void)buf_text(&s->out, "* QUOTAROOT ");
	imap_put_mailbox(s, name);
	(void)buf_text(&s->out, q.limit == 0 ? "\r\n" : " \"" ROOT "\"\r\n");
	if (q.limit != 0)
		put_quota(s, &q);
	return imap_ok(s, "Quota given");
}
