/* pop3_session: see the header.  The verbs are in pop3_cmd.c. */
#include "pop3d/pop3_session.h"

#include <stdlib.h>

#include "pop3d/pop3_cmd.h"
#include "pop3d/pop3_parse.h"

void
pop3_session_init(struct pop3_session *s, const struct pop3_ops *ops, void *ctx,
    struct pop3_message *message, uint32_t count, bool tls)
{
	*s = (struct pop3_session){ .ops = ops, .ctx = ctx, .message = message, .count = count, .tls = tls };
}

static void
stop_sending(struct pop3_session *s)
{
	if (s->sending == SENDING_TEXT)
		s->ops->text_close(s->ctx);
	s->sending = SENDING_NOTHING;
}

void
pop3_session_clear(struct pop3_session *s)
{
	stop_sending(s);
	free(s->message);
	s->message = NULL;
	s->count = 0;
}

void
pop3_session_greeting(const struct pop3_session *s, struct buf *out)
{
	(void)buf_fmt(out, "+OK Logged in, %u messages\r\n", s->count);
}

/* The session is over after too many of these. */
static enum pop3_want
one_more_error(struct pop3_session *s, struct buf *out)
{
	if (++s->errors < POP3_ERRORS_MAX)
		return POP3_WANT_LINE;
	(void)buf_text(out, "-ERR Too many errors\r\n");
	return POP3_WANT_CLOSE;
}

enum pop3_want
pop3_session_line(struct pop3_session *s, struct slice line, struct buf *out)
{
	struct slice verb, args;
	enum pop3_want want = POP3_WANT_LINE;

	if (!pop3_parse_command(line, &verb, &args) ||
	    !pop3_cmd_run(s, verb, args, out, &want)) {
		(void)buf_text(out, "-ERR Unknown command\r\n");
		return one_more_error(s, out);
	}
	return want;
}

enum pop3_want
pop3_session_too_long(struct pop3_session *s, struct buf *out)
{
	(void)s;
	(void)buf_text(out, "-ERR Line too long\r\n");
	return POP3_WANT_CLOSE;
}

/* Append lines of LIST or UIDL until the piece is full; true at the end. */
static bool
list_piece(struct pop3_session *s, struct buf *out)
{
	size_t before = out->len;

	while (s->next <= s->count && out->len - before < POP3_PIECE && !out->full) {
		if (!s->message[s->next - 1].deleted)
			pop3_cmd_list_line(s, s->next, s->sending == SENDING_UIDL, out);
		s->next++;
	}
	if (s->next <= s->count)
		return false;
	return buf_text(out, ".\r\n");
}

enum pop3_want
pop3_session_more(struct pop3_session *s, struct buf *out)
{
	bool ended = false;

	switch (s->sending) {
	case SENDING_NOTHING:
		return POP3_WANT_LINE;
	case SENDING_LIST:
	case SENDING_UIDL:
		ended = list_piece(s, out);
		break;
	case SENDING_TEXT:
		ended = pop3_text_piece(&s->text, POP3_PIECE, out);
		break;
	}
	if (out->full)		/* half a line may be in it: no way to go on */
		return POP3_WANT_CLOSE;
	if (!ended)
		return POP3_WANT_MORE;
	stop_sending(s);
	return POP3_WANT_LINE;
}
