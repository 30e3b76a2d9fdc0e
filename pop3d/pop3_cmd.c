/* pop3_cmd: the verbs after login (RFC 1939 sections 5 to 7).  No sockets, no files, no clock. */
#include "pop3d/pop3_cmd.h"

#include <inttypes.h>
#include <stdlib.h>

#include "pop3d/pop3_login.h"
#include "pop3d/pop3_parse.h"

static enum pop3_want
reply(struct buf *out, const char *text)
{
	(void)buf_text(out, text);
	(void)buf_text(out, "\r\n");
	return POP3_WANT_LINE;
}

/* A message number that is there and not marked; else says why not. */
static bool
take_message(const struct pop3_session *s, struct slice *args, uint32_t *n, struct buf *out)
{
	if (!pop3_parse_number(args, n)) {
		(void)reply(out, "-ERR A message number is needed");
		return false;
	}
	if (*n == 0 || *n > s->count) {
		(void)reply(out, "-ERR No such message");
		return false;
	}
	if (s->message[*n - 1].deleted) {
		(void)reply(out, "-ERR Message is marked as deleted");
		return false;
	}
	return true;
}

/* Behind the arguments there is nothing more. */
static bool
take_end(struct slice args, struct buf *out)
{
	if (args.len == 0)
		return true;
	(void)reply(out, "-ERR Too many arguments");
	return false;
}

/* How many are not marked, and their octets. */
static void
sum_up(const struct pop3_session *s, uint32_t *count, uint64_t *octets)
{
	*count = 0;
	*octets = 0;
	for (uint32_t i = 0; i < s->count; i++) {
		if (s->message[i].deleted)
			continue;
		++*count;
		*octets += s->message[i].size;
	}
}

/* Section 5. */
static enum pop3_want
cmd_stat(struct pop3_session *s, struct slice args, struct buf *out)
{
	uint32_t count;
	uint64_t octets;

	if (!take_end(args, out))
		return POP3_WANT_LINE;
	sum_up(s, &count, &octets);
	(void)buf_fmt(out, "+OK %" PRIu32 " %" PRIu64 "\r\n", count, octets);
	return POP3_WANT_LINE;
}

void
pop3_cmd_list_line(const struct pop3_session *s, uint32_t n, bool uidl, struct buf *out)
{
	char id[POP3_UIDL_MAX + 2];

	if (!uidl) {
		(void)buf_fmt(out, "%" PRIu32 " %" PRIu64 "\r\n", n, s->message[n - 1].size);
		return;
	}
	s->ops->uidl(s->ctx, n, id);
	(void)buf_fmt(out, "%" PRIu32 " %s\r\n", n, id);
}

/* LIST and UIDL: one message, or all in pieces. */
static enum pop3_want
list(struct pop3_session *s, struct slice args, bool uidl, struct buf *out)
{
	uint32_t n, count;
	uint64_t octets;

	if (args.len != 0) {
		if (take_message(s, &args, &n, out) && take_end(args, out)) {
			(void)buf_text(out, "+OK ");
			pop3_cmd_list_line(s, n, uidl, out);
		}
		return POP3_WANT_LINE;
	}
	sum_up(s, &count, &octets);
	(void)buf_fmt(out, "+OK %" PRIu32 " messages (%" PRIu64 " octets)\r\n", count, octets);
	s->sending = uidl ? SENDING_UIDL : SENDING_LIST;
	s->next = 1;
	return POP3_WANT_MORE;
}

/* Section 5. */
static enum pop3_want
cmd_list(struct pop3_session *s, struct slice args, struct buf *out)
{
	return list(s, args, false, out);
}

/* Section 7. */
static enum pop3_want
cmd_uidl(struct pop3_session *s, struct slice args, struct buf *out)
{
	return list(s, args, true, out);
}

/* Open the text of a message, or say why not. */
static bool
open_text(struct pop3_session *s, uint32_t n, struct slice *text, struct buf *out)
{
	switch (s->ops->text_open(s->ctx, n, text)) {
	case POP3_DONE:
		return true;
	case POP3_GONE:
		(void)reply(out, "-ERR Message was removed by another session");
		break;
	case POP3_FAILED:
		(void)reply(out, "-ERR [SYS/TEMP] Cannot read the message now");
		break;
	}
	return false;
}

static enum pop3_want
send_text(struct pop3_session *s, struct slice text)
{
	pop3_text_begin(&s->text, text);
	s->sending = SENDING_TEXT;
	return POP3_WANT_MORE;
}

/* Section 5. */
static enum pop3_want
cmd_retr(struct pop3_session *s, struct slice args, struct buf *out)
{
	struct slice text;
	uint32_t n;

	if (!take_message(s, &args, &n, out) || !take_end(args, out) || !open_text(s, n, &text, out))
		return POP3_WANT_LINE;
	(void)buf_fmt(out, "+OK %zu octets\r\n", text.len);
	s->retr_n++;
	s->retr_octets += text.len;
	return send_text(s, text);
}

/* Section 7. */
static enum pop3_want
cmd_top(struct pop3_session *s, struct slice args, struct buf *out)
{
	struct slice text;
	uint32_t n, lines;

	if (!take_message(s, &args, &n, out))
		return POP3_WANT_LINE;
	if (!pop3_parse_number(&args, &lines))
		return reply(out, "-ERR A number of lines is needed");
	if (!take_end(args, out) || !open_text(s, n, &text, out))
		return POP3_WANT_LINE;
	text = pop3_text_top(text, lines);
	(void)reply(out, "+OK");
	s->top_n++;
	s->top_octets += text.len;
	return send_text(s, text);
}

/* Section 5.  Only a mark: QUIT removes. */
static enum pop3_want
cmd_dele(struct pop3_session *s, struct slice args, struct buf *out)
{
	uint32_t n;

	if (!take_message(s, &args, &n, out) || !take_end(args, out))
		return POP3_WANT_LINE;
	s->message[n - 1].deleted = true;
	return reply(out, "+OK Marked as deleted");
}

static enum pop3_want
cmd_noop(struct pop3_session *s, struct slice args, struct buf *out)
{
	(void)s;
	(void)args;
	return reply(out, "+OK");
}

/* Section 5. */
static enum pop3_want
cmd_rset(struct pop3_session *s, struct slice args, struct buf *out)
{
	(void)args;
	for (uint32_t i = 0; i < s->count; i++)
		s->message[i].deleted = false;
	return reply(out, "+OK No message is marked");
}

/* RFC 2449 section 5. */
static enum pop3_want
cmd_capa(struct pop3_session *s, struct slice args, struct buf *out)
{
	(void)args;
	(void)pop3_capabilities(out, s->tls, false);
	return POP3_WANT_LINE;
}

/* Remove what is marked; POP3_DONE when nothing is. */
static enum pop3_result
remove_marked(struct pop3_session *s)
{
	enum pop3_result result = POP3_DONE;
	uint32_t *number, n = 0;

	for (uint32_t i = 0; i < s->count; i++)
		n += s->message[i].deleted;
	if (n == 0)
		return POP3_DONE;
	number = malloc(n * sizeof(*number));
	if (number == NULL)
		return POP3_FAILED;
	n = 0;
	for (uint32_t i = 0; i < s->count; i++)
		if (s->message[i].deleted)
			number[n++] = i + 1;
	result = s->ops->remove(s->ctx, number, n);
	if (result != POP3_FAILED)
		s->removed_n = n;
	free(number);
	return result;
}

/*
 * Section 6: the UPDATE state.  +OK only when the removal is durable; that a
 * message was removed by another session meanwhile is as good.
 */
static enum pop3_want
cmd_quit(struct pop3_session *s, struct slice args, struct buf *out)
{
	(void)args;
	s->quit = true;
	if (remove_marked(s) == POP3_FAILED)
		(void)reply(out, "-ERR [SYS/TEMP] Some deleted messages not removed");
	else
		(void)reply(out, "+OK Bye");
	return POP3_WANT_CLOSE;
}

static const struct pop3_cmd {
	const char	*verb;
	enum pop3_want	(*run)(struct pop3_session *, struct slice, struct buf *);
} commands[] = {
	{ "STAT", cmd_stat },
	{ "LIST", cmd_list },
	{ "RETR", cmd_retr },
	{ "DELE", cmd_dele },
	{ "NOOP", cmd_noop },
	{ "RSET", cmd_rset },
	{ "TOP", cmd_top },
	{ "UIDL", cmd_uidl },
	{ "CAPA", cmd_capa },
	{ "QUIT", cmd_quit },
};

bool
pop3_cmd_run(struct pop3_session *s, struct slice verb, struct slice args, struct buf *out,
    enum pop3_want *want)
{
	for (size_t i = 0; i < LEN(commands); i++) {
		if (slice_ieq(verb, commands[i].verb)) {
			*want = commands[i].run(s, args, out);
			return true;
		}
	}
	return false;
}
