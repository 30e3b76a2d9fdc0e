/* CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE. */
#include <stdlib.h>
#include <string.h>

#include "imap_cmd.h"
#include "imap_status.h"

static bool
parse_one(struct imap_in *in, struct slice *name)
{
	return imap_parse_space(in) && imap_parse_mailbox(in, name) && imap_parse_end(in);
}

/* A separator at the end says that folders will come below it: all folders can have them. */
static void
drop_separator(struct slice *name)
{
	if (name->len > 1 && name->ptr[name->len - 1] == STORE_SEPARATOR)
		name->len--;
}

static enum imap_step
result(struct imap_session *s, enum store_error error, const char *what, const char *done)
{
	return error == STORE_OK ? imap_ok(s, done) : imap_no_store(s, error, what);
}

/* The same for a name that is to be. */
static enum imap_step
result_new(struct imap_session *s, enum store_error error, const char *what, const char *done)
{
	if (error == STORE_NAME)
		return imap_no(s, "[CANNOT] Invalid mailbox name");
	return result(s, error, what, done);
}

/* IMAP4rev2: what a new mailbox is called, if that is not what the client said (RFC 9051 section 6.3.4). */
static void
tell_name(struct imap_session *s, struct slice name, struct slice said)
{
	char canonical[STORE_NAME_MAX + 1];

	drop_separator(&said);
	if (store_name_check(name, false, canonical))
		imap_put_opened(s, slice_of(canonical), said, false);
}

/* " (USE (\\Sent))", RFC 6154 section 3; *special stays NONE without it.  *known: we know all that is named. */
static bool
parse_use(struct imap_in *in, enum store_special *special, bool *known)
{
	struct slice rest, name;
	size_t n = 0;

	*special = STORE_SPECIAL_NONE;
	*known = true;
	if (!slice_iprefix(&in->rest, " (USE ("))
		return imap_parse_end(in);
	if (!imap_take_char(in, ')')) {
		do {
			rest = in->rest;
			if (!imap_parse_char(in, '\\') || !imap_parse_atom(in, &name))
				return false;
			*special = store_special_parse(slice_sub(rest, 0, name.len + 1));
			*known = *known && *special != STORE_SPECIAL_NONE && ++n == 1;
		} while (imap_take_char(in, ' '));
		if (!imap_parse_char(in, ')'))
			return false;
	}
	return imap_parse_char(in, ')') && imap_parse_end(in);
}

/* A use has one mailbox. */
static bool
is_taken(struct imap_session *s, enum store_special special)
{
	struct store_list *list;
	bool taken = false;

	if (special == STORE_SPECIAL_NONE || store_list(s->setup.store, 0, &list) != STORE_OK)
		return false;
	for (size_t i = 0; i < list->n; i++)
		taken = taken || (list->at[i].exists && list->at[i].special == special);
	free(list);
	return taken;
}

static enum imap_step
created(struct imap_session *s, struct slice name, struct slice said)
{
	char id[STORE_ID_MAX];

	tell_name(s, name, said);
	if (imap_mailbox_id(s, name, id) != STORE_OK)
		return imap_ok(s, "Mailbox created");
	(void)buf_fmt(&s->reply, "OK [MAILBOXID (%s)] Mailbox created", id);
	return STEP_DONE;
}

/* RFC 3501 section 6.3.3. */
enum imap_step
cmd_create(struct imap_session *s, struct imap_in *in)
{
	enum store_special special;
	enum store_error error;
	struct slice name;
	bool known;

	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &name) || !parse_use(in, &special, &known))
		return imap_bad_args(s, in);
	drop_separator(&name);
	if (!known || is_taken(s, special))
		return imap_no(s, "[USEATTR] No mailbox can have that use, or one has it already");
	error = store_create(s->setup.store, name);
	if (error == STORE_OK && special != STORE_SPECIAL_NONE) {
		error = store_set_special(s->setup.store, name, special);
		if (error != STORE_OK)
			(void)store_delete(s->setup.store, name);
	}
	if (error != STORE_OK)
		return result_new(s, error, "create", "");
	return created(s, name, in->said);
}

/* Is name the selected folder, or a level above it? */
static bool
holds_selected(const struct imap_session *s, struct slice name)
{
	char canonical[STORE_NAME_MAX + 1];
	struct slice selected;

	if (s->folder == NULL || !store_name_check(name, false, canonical))
		return false;
	selected = slice_of(store_folder_name(s->folder));
	return slice_prefix(&selected, canonical) &&
	    (selected.len == 0 || selected.ptr[0] == STORE_SEPARATOR);
}

/* RFC 3501 section 6.3.4.  Deleting the selected mailbox leaves none selected. */
enum imap_step
cmd_delete(struct imap_session *s, struct imap_in *in)
{
	enum store_error error;
	struct slice name;
	bool selected;

	if (!parse_one(in, &name))
		return imap_bad_args(s, in);
	selected = holds_selected(s, name) && strlen(store_folder_name(s->folder)) == name.len;
	error = store_delete(s->setup.store, name);
	if (error == STORE_OK && selected)
		imap_unselect(s);
	return result(s, error, "delete", "Mailbox deleted");
}

/* RFC 3501 section 6.3.5.  A selected mailbox that gets another name is no longer selected. */
enum imap_step
cmd_rename(struct imap_session *s, struct imap_in *in)
{
	enum store_error error;
	struct slice from, to;
	bool selected;

	if (!imap_parse_space(in) || !imap_parse_mailbox(in, &from) || !parse_one(in, &to))
		return imap_bad_args(s, in);
	drop_separator(&to);
	selected = holds_selected(s, from) && !slice_is(from, "INBOX");
	error = store_rename(s->setup.store, from, to);
	if (error == STORE_OK)
		tell_name(s, to, in->said);
	if (error == STORE_OK && selected)
		imap_unselect(s);
	return result_new(s, error, "rename", "Mailbox renamed");
}

/* RFC 3501 section 6.3.6: a name need not exist to be subscribed. */
static enum imap_step
subscribe(struct imap_session *s, struct imap_in *in, bool on)
{
	struct slice name;

	if (!parse_one(in, &name))
		return imap_bad_args(s, in);
	drop_separator(&name);
	return result_new(s, store_subscribe(s->setup.store, name, on), "subscribe",
	    on ? "Mailbox subscribed" : "Mailbox unsubscribed");
}

enum imap_step
cmd_subscribe(struct imap_session *s, struct imap_in *in)
{
	return subscribe(s, in, true);
}

enum imap_step
cmd_unsubscribe(struct imap_session *s, struct imap_in *in)
{
	return subscribe(s, in, false);
}
