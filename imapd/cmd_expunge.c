/* EXPUNGE, UID EXPUNGE.  What is gone is told by the sync behind the command. */
#include <stdlib.h>

#include "imap_cmd.h"

static enum imap_step
expunge(struct imap_session *s, const uint32_t *uid, size_t n)
{
	enum store_error error = store_folder_expunge(s->folder, uid, n);

	if (error != STORE_OK)
		return imap_no_store(s, error, "expunge");
	s->run.modseq = true;
	return imap_ok(s, "Expunged");
}

/* RFC 3501 section 6.4.3. */
enum imap_step
cmd_expunge(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	if (s->readonly)
		return imap_no(s, "[READ-ONLY] Mailbox is read-only");
	return expunge(s, NULL, 0);
}

/* RFC 4315 section 2.1. */
enum imap_step
cmd_uid_expunge(struct imap_session *s, struct imap_in *in)
{
	struct imap_walk walk;
	struct imap_set set;
	enum imap_step step;
	uint32_t *uid;
	size_t n;
	bool gone;

	if (!imap_parse_space(in) || !imap_parse_set(in, &set) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	if (s->readonly)
		return imap_no(s, "[READ-ONLY] Mailbox is read-only");
	(void)imap_walk_init(&walk, s, &set, true);
	if (!imap_walk_uids(&walk, s->folder, &uid, &n, &gone))
		return imap_no(s, "[UNAVAILABLE] Out of memory");
	step = n == 0 ? imap_ok(s, "Expunged") : expunge(s, uid, n);
	free(uid);
	return step;
}
