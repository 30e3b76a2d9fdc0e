#include "imap_status.h"

#include "mime/imap_write.h"

enum item {
	ITEM_MESSAGES, ITEM_RECENT, ITEM_UIDNEXT, ITEM_UIDVALIDITY, ITEM_UNSEEN, ITEM_DELETED,
	ITEM_HIGHESTMODSEQ, ITEM_SIZE, ITEM_DELETED_STORAGE, ITEM_APPENDLIMIT, ITEM_MAILBOXID, ITEM_COUNT,
};

#define ITEMS_SIZE (1u << ITEM_SIZE | 1u << ITEM_DELETED_STORAGE)

static const char *const names[ITEM_COUNT] = {
	"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED",
	"HIGHESTMODSEQ", "SIZE", "DELETED-STORAGE", "APPENDLIMIT", "MAILBOXID",
};

static bool
parse_item(struct imap_in *in, unsigned *items)
{
	struct slice name;

	if (!imap_parse_atom(in, &name))
		return false;
	for (unsigned i = 0; i < ITEM_COUNT; i++) {
		if (slice_ieq(name, names[i])) {
			*items |= 1u << i;
			return true;
		}
	}
	return imap_in_error(in, "Unknown status item");
}

bool
imap_parse_status_items(struct imap_in *in, unsigned *items)
{
	*items = 0;
	if (!imap_parse_char(in, '('))
		return false;
	do {
		if (!parse_item(in, items))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')');
}

enum store_error
imap_mailbox_id(struct imap_session *s, struct slice name, char out[STORE_ID_MAX])
{
	enum store_error error;
	struct store_folder *f = store_folder_open(s->setup.store, name, true, &error);

	if (f == NULL)
		return error;
	store_folder_id(f, out);
	store_folder_close(f);
	return STORE_OK;
}

enum store_error
imap_put_status(struct imap_session *s, struct slice name, unsigned items)
{
	struct store_status st;
	enum store_error error = store_status(s->setup.store, name, (items & ITEMS_SIZE) != 0 ? STORE_STATUS_SIZE : 0, &st);
	const uint64_t values[ITEM_COUNT] = {
		st.messages, st.recent, st.uidnext, st.uidvalidity, st.unseen, st.deleted,
		st.highestmodseq, st.size, st.deleted_size, s->setup.message_size,
	};
	const char *space = "";
	char id[STORE_ID_MAX] = "";

	if (error == STORE_OK && (items & 1u << ITEM_MAILBOXID) != 0)
		error = imap_mailbox_id(s, name, id);
	if (error != STORE_OK)
		return error;
	if ((items & 1u << ITEM_HIGHESTMODSEQ) != 0)
		imap_condstore(s);
	(void)buf_text(&s->out, "* STATUS ");
	imap_put_mailbox(s, name);
	(void)buf_text(&s->out, " (");
	for (unsigned i = 0; i < ITEM_COUNT; i++) {
		if ((items >> i & 1) == 0)
			continue;
		(void)buf_fmt(&s->out, "%s%s ", space, names[i]);
		if (i == ITEM_MAILBOXID)
			(void)buf_fmt(&s->out, "(%s)", id);
		else
			imap_put_number(&s->out, values[i]);
		space = " ";
	}
	(void)buf_text(&s->out, ")\r\n");
	return STORE_OK;
}
