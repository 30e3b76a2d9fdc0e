/* IDLE, RFC 2177. */
#include "imap_cmd.h"

static void
idle_end(struct imap_session *s)
{
	s->idle = false;
	if (s->folder != NULL)
		(void)store_folder_watch(s->folder, false);
}

static enum imap_step
idle_line(struct imap_session *s, struct slice line)
{
	if (!slice_ieq(slice_trim(line), "DONE"))
		return imap_bad(s, "DONE expected");
	return imap_ok(s, "Idle done");
}

void
cmd_idle_begin(struct imap_session *s)
{
	s->idle = true;
	s->run.end = idle_end;
	s->run.line = idle_line;
	if (s->folder != NULL)
		(void)store_folder_watch(s->folder, true);
}

enum imap_step
cmd_idle(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	imap_message_close(&s->message);
	(void)buf_text(&s->out, "+ idling\r\n");
	/* Watch first, then look: nothing can slip through between. */
	cmd_idle_begin(s);
	imap_sync(s, true);
	return STEP_INPUT;
}
