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

enum imap_step
cmd_idle(struct imap_session *s, struct imap_in *in)
{
	if (!imap_parse_end(in))
		return imap_bad_args(s, in);
	imap_message_close(&s->message);
	s->idle = true;
	s->run.end = idle_end;
	s->run.line = idle_line;
	(void)buf_text(&s->out, "+ idling\r\n");
	/* Watch first, then look: nothing can slip through between. */
	if (s->folder != NULL)
		(void)store_folder_watch(s->folder, true);
	imap_sync(s, true);
	return STEP_INPUT;
}
