/* A session that waits, in a few octets: see imap_session.h. */
#include <stdlib.h>
#include <string.h>

#include "imap_cmd.h"

#define ENABLED_KNOWN	(ENABLED_REV2 | ENABLED_UTF8 | ENABLED_CONDSTORE | ENABLED_QRESYNC)	/* what is restored below */

/* Written and read by the same program: as it lies in memory. */
struct parked {
	uint64_t	modseq, commands;
	uint32_t	enabled, keywords;
	uint32_t	uidvalidity, uidnext, count;	/* of the selected folder, as last told */
	uint16_t	tag_len, name_len;		/* IDLE's tag; the folder's name; they follow */
	bool		idle, readonly;
};

bool
imap_session_parkable(const struct imap_session *s)
{
	if (s->closing || s->lost || s->missed || s->deflate || s->switching || imap_session_output(s).len > 0 ||
	    imap_input_begun(&s->input) || imap_input_skipping(&s->input) || (s->enabled & ~(unsigned)ENABLED_KNOWN) != 0 || s->saved.n != 0)
		return false;
	/* Without IDLE a change of the folder could not be told when it happens, nor when it wakes up. */
	return s->idle || (s->run.cmd == NULL && s->folder == NULL);
}

bool
imap_session_park(struct imap_session *s, struct buf *out)
{
	struct slice tag = slice_of(s->idle ? s->run.tag : ""), name = slice_of("");
	struct parked p = {
		.commands = s->commands, .enabled = s->enabled, .keywords = s->keywords,
		.idle = s->idle, .readonly = s->readonly,
	};

	if (s->idle)
		imap_sync(s, true);
	if (!imap_session_parkable(s))
		return false;
	if (s->folder != NULL) {
		name = slice_of(store_folder_name(s->folder));
		p.modseq = store_folder_highestmodseq(s->folder);
		p.uidvalidity = store_folder_uidvalidity(s->folder);
		p.uidnext = store_folder_uidnext(s->folder);
		p.count = store_folder_count(s->folder);
	}
	p.tag_len = (uint16_t)tag.len;
	p.name_len = (uint16_t)name.len;
	return buf_put(out, &p, sizeof(p)) && buf_slice(out, tag) && buf_slice(out, name);
}

/* The folder as it is now, and how it differs from what the client knows. */
static bool
reopen(struct imap_session *s, const struct parked *p, struct slice name, const char **bye)
{
	enum store_error error;

	s->folder = store_folder_open(s->setup.store, name, p->readonly, &error);
	*bye = "Selected mailbox cannot be opened";
	if (s->folder == NULL)
		return false;
	s->state = STATE_SELECTED;
	s->readonly = p->readonly;
	s->keywords = p->keywords;
	*bye = "Selected mailbox was made anew";
	if (store_folder_uidvalidity(s->folder) != p->uidvalidity)
		return false;
	*bye = "Too much has changed meanwhile";
	if (p->idle)
		cmd_idle_begin(s);	/* watch first, then look */
	return imap_sync_since(s, p->count, p->uidnext, p->modseq);
}

struct imap_session *
imap_session_unpark(const struct imap_setup *setup, struct slice state, const char **bye)
{
	struct imap_session *s;
	struct slice tag, name;
	struct parked p;

	*bye = "Out of memory";
	if (state.len < sizeof(p))
		return NULL;
	memcpy(&p, state.ptr, sizeof(p));
	tag = slice_sub(state, sizeof(p), p.tag_len);
	name = slice_sub(state, sizeof(p) + p.tag_len, p.name_len);
	s = imap_session_alloc(setup);
	if (s == NULL)
		return NULL;
	s->commands = p.commands;
	s->enabled = p.enabled;
	if (p.idle) {
		s->run.cmd = imap_cmd_find(slice_of("IDLE"), false);
		(void)slice_text(tag, s->run.tag, sizeof(s->run.tag));
	}
	if (name.len > 0 && !reopen(s, &p, name, bye)) {
		imap_session_free(s);
		return NULL;
	}
	if (p.idle && name.len == 0)
		cmd_idle_begin(s);
	return s;
}
