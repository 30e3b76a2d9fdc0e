/* STATUS, RFC 3501 section 6.3.10. */
#include "imap_cmd.h"
#include "imap_write.h"

enum item { ITEM_MESSAGES, ITEM_RECENT, ITEM_UIDNEXT, ITEM_UIDVALIDITY, ITEM_UNSEEN, ITEM_COUNT };

static const char *const names[ITEM_COUNT] = { "MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN" };

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

static bool
parse_items(struct imap_in *in, unsigned *items)
{
	*items = 0;
	if (!imap_parse_space(in) || !imap_parse_char(in, '('))
		return false;
	do {
		if (!parse_item(in, items))
			return false;
	} while (imap_take_char(in, ' '));
	return imap_parse_char(in, ')') && imap_parse_end(in);
}

static void
put_status(struct imap_session *s, struct slice name, unsigned items, const struct store_status *st)
{
	const uint32_t values[ITEM_COUNT] = { st->messages, st->recent, st->uidnext, st->uidvalidity, st->unseen };
	const char *space = "";

	(void)buf_text(&s->out, "* STATUS ");
	imap_put_string(&s->out, name);
	(void)buf_text(&s->out, " (");
	for (unsigned i = 0; i < ITEM_COUNT; i++) {
		if ((items >> i & 1) == 0)
			continue;
		(void)buf_fmt(&s->out, "%s%s %u", space, names[i], values[i]);
		space = " ";
	}
	(void)buf_text(&s->out, ")\r\n");
}

enum imap_step
cmd_status(struct imap_session *s, struct imap_in *in)
{
	struct store_status status;
	enum store_error error;
	struct slice name;
	unsigned items;

	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &name) || !parse_items(in, &items))
		return imap_bad_args(s, in);
	error = store_status(s->setup.store, name, 0, &status);
	if (error != STORE_OK)
		return imap_no_store(s, error, "status");
	put_status(s, name, items, &status);
	return imap_ok(s, "Status given");
}
