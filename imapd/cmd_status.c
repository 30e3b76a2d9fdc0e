/* STATUS, RFC 3501 section 6.3.10. */
#include "imap_cmd.h"
#include "imap_status.h"

enum imap_step
cmd_status(struct imap_session *s, struct imap_in *in)
{
	enum store_error error;
	struct slice name;
	unsigned items;

	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &name) || !imap_parse_space(in) ||
	    !imap_parse_status_items(in, &items) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	error = imap_put_status(s, name, items);
	if (error != STORE_OK)
		return imap_no_store(s, error, "status");
	return imap_ok(s, "Status given");
}
