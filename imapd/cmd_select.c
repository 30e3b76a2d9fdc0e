/* SELECT, EXAMINE, CLOSE, UNSELECT. */
#include "imap_cmd.h"

static void
put_selected(struct imap_session *s)
{
	const struct store_folder *f = s->folder;
	uint32_t unseen = store_folder_unseen(f);

	imap_put_folder_flags(s);
	(void)buf_fmt(&s->out, "* %u EXISTS\r\n", store_folder_count(f));
	if ((s->enabled & ENABLED_REV2) == 0)
		(void)buf_fmt(&s->out, "* %u RECENT\r\n", store_folder_recent(f));
	if (unseen != 0 && (s->enabled & ENABLED_REV2) == 0)
		(void)buf_fmt(&s->out, "* OK [UNSEEN %u] First unseen\r\n", unseen);
	(void)buf_fmt(&s->out, "* OK [UIDVALIDITY %u] UIDs valid\r\n", store_folder_uidvalidity(f));
	(void)buf_fmt(&s->out, "* OK [UIDNEXT %u] Predicted next UID\r\n", store_folder_uidnext(f));
}

/* RFC 3501 sections 6.3.1 and 6.3.2: whatever comes of it, the old folder is no longer selected. */
static enum imap_step
select_folder(struct imap_session *s, struct imap_in *in, bool readonly)
{
	enum store_error error;
	struct slice name;

	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &name) || !imap_parse_end(in))
		return imap_bad_args(s, in);
	if (s->folder != NULL && (s->enabled & ENABLED_REV2) != 0)
		(void)buf_text(&s->out, "* OK [CLOSED] Previous mailbox closed\r\n");
	imap_unselect(s);
	s->folder = store_folder_open(s->setup.store, name, readonly, &error);
	if (s->folder == NULL)
		return imap_no_store(s, error, "select");
	s->readonly = readonly;
	s->state = STATE_SELECTED;
	put_selected(s);
	imap_put_opened(s, slice_of(store_folder_name(s->folder)), in->said, true);
	return imap_ok(s, readonly ? "[READ-ONLY] Mailbox examined" : "[READ-WRITE] Mailbox selected");
}

enum imap_step
cmd_select(struct imap_session *s, struct imap_in *in)
{
	return select_folder(s, in, false);
}

enum imap_step
cmd_examine(struct imap_session *s, struct imap_in *in)
{
	return select_folder(s, in, true);
}

/* RFC 3501 section 6.4.2: what is \Deleted goes, without a word. */
enum imap_step
cmd_close(struct imap_session *s, struct imap_in *in)
{
	enum store_error error = STORE_OK;

	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	if (!s->readonly && !s->lost)
		error = store_folder_expunge(s->folder, NULL, 0);
	imap_unselect(s);
	if (error != STORE_OK && error != STORE_NONEXISTENT)
		return imap_no_store(s, error, "close");
	return imap_ok(s, "Mailbox closed");
}

/* RFC 3691. */
enum imap_step
cmd_unselect(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	imap_unselect(s);
	return imap_ok(s, "Mailbox unselected");
}
