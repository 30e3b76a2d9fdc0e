#include "imap_session.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "imap_cmd.h"
#include "mime/imap_write.h"

#define PROGRESS_MS 10000	/* RFC 9585 section 4: not more often than in 10 seconds */

static const struct imap_input_limits limits = {
	.line = IMAP_COMMAND_MAX,
	.literal = IMAP_COMMAND_MAX,
	.command = IMAP_COMMAND_MAX,
	.skip = UINT32_MAX,
};

struct imap_session *
imap_session_alloc(const struct imap_setup *setup)
{
	struct imap_session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->setup = *setup;
	s->state = STATE_LOGGED_IN;
	s->progress_ms = PROGRESS_MS;
	imap_input_init(&s->input, &limits);
	imap_pool_init(&s->pool, IMAP_POOL_MAX);
	buf_init(&s->reply, IMAP_REPLY_MAX);
	buf_init(&s->out, IMAP_OUT_MAX);
	return s;
}

struct imap_session *
imap_session_new(const struct imap_setup *setup, struct slice greeting)
{
	struct imap_session *s = imap_session_alloc(setup);

	if (s == NULL)
		return NULL;
	(void)buf_slice(&s->out, greeting);
	(void)buf_text(&s->out, " OK [CAPABILITY ");
	imap_put_capabilities(s, &s->out);
	(void)buf_text(&s->out, "] Logged in\r\n");
	return s;
}

/* The command is over, or the session is. */
static void
run_clear(struct imap_session *s)
{
	if (s->run.end != NULL)
		s->run.end(s);
	s->run = (struct imap_run){ 0 };
	imap_pool_clear(&s->pool);
	imap_input_reset(&s->input);
	buf_clear(&s->reply);
}

void
imap_session_free(struct imap_session *s)
{
	if (s == NULL)
		return;
	run_clear(s);
	imap_unselect(s);
	imap_input_clear(&s->input);
	imap_pool_clear(&s->pool);
	buf_clear(&s->reply);
	buf_clear(&s->out);
	free(s);
}

void
imap_unselect(struct imap_session *s)
{
	imap_message_close(&s->message);
	store_folder_close(s->folder);
	s->folder = NULL;
	imap_saved_clear(s);
	s->readonly = false;
	s->lost = false;
	s->state = STATE_LOGGED_IN;
}

struct slice
imap_session_output(const struct imap_session *s)
{
	return slice_sub(buf_slice_of(&s->out), s->out_at, s->out.len);
}

void
imap_session_taken(struct imap_session *s, size_t n)
{
	s->out_at += n;
	if (s->out_at < s->out.len)
		return;
	s->out_at = 0;
	if (s->run.cmd == NULL || s->out.size > 4 * IMAP_OUT_HIGH)
		buf_clear(&s->out);
	else
		buf_reset(&s->out);
}

bool
imap_out_high(const struct imap_session *s)
{
	return s->out.len - s->out_at >= IMAP_OUT_HIGH;
}

void
imap_session_bye(struct imap_session *s, const char *text)
{
	/* In the middle of a response there is no place for words. */
	if (s->run.step == NULL)
		(void)buf_fmt(&s->out, "* BYE %s\r\n", text);
	s->closing = true;
}

static void
put_reply(struct imap_session *s)
{
	struct slice reply = buf_slice_of(&s->reply);

	if (s->run.modseq && (s->enabled & ENABLED_QRESYNC) != 0 && s->folder != NULL && slice_prefix(&reply, "OK "))
		(void)buf_fmt(&s->out, "OK [HIGHESTMODSEQ %llu] ", (unsigned long long)store_folder_highestmodseq(s->folder));
	(void)buf_slice(&s->out, reply);
}

/* Changes, then the tagged answer; then the command is forgotten. */
static void
finish(struct imap_session *s)
{
	enum imap_tell tell = s->run.cmd == NULL ? TELL_NOTHING : s->run.cmd->tell;
	struct slice reply = buf_slice_of(&s->reply);

	if (slice_prefix(&reply, "BAD ")) {
		tell = TELL_NOTHING;
		s->errors++;
	} else
		s->errors = 0;
	if (tell != TELL_NOTHING)
		imap_sync(s, tell == TELL_ALL);
	(void)buf_fmt(&s->out, "%s ", s->run.tag[0] == '\0' ? "*" : s->run.tag);
	if (s->reply.full)
		(void)buf_text(&s->out, "NO [UNAVAILABLE] Out of memory");
	else
		put_reply(s);
	(void)buf_text(&s->out, "\r\n");
	run_clear(s);
	if (s->lost)
		imap_session_bye(s, "Selected mailbox was deleted");
	else if (s->errors >= IMAP_ERRORS_MAX)
		imap_session_bye(s, "Too many invalid commands");
}

static void
step_result(struct imap_session *s, enum imap_step step)
{
	if (step == STEP_DONE)
		finish(s);
	else if (step == STEP_INPUT)
		imap_input_reset(&s->input);
}

/* The verb, and for "UID" the one behind it. */
static bool
parse_verb(struct imap_session *s, struct imap_in *in)
{
	struct slice verb;

	if (!imap_parse_space(in) || !imap_parse_atom(in, &verb)) {
		(void)imap_bad(s, "Missing command");
		return false;
	}
	if (slice_ieq(verb, "UID")) {
		s->run.uid = true;
		if (!imap_parse_space(in) || !imap_parse_atom(in, &verb)) {
			(void)imap_bad(s, "Missing command behind UID");
			return false;
		}
	}
	s->run.cmd = imap_cmd_find(verb, s->run.uid);
	if (s->run.cmd == NULL) {
		(void)imap_bad(s, "Unknown command");
		return false;
	}
	if ((s->run.cmd->allowed & s->state) == 0) {
		(void)imap_bad(s, "No mailbox is selected");
		s->run.cmd = NULL;
		return false;
	}
	return true;
}

/* Tag and verb; false: s->reply says what is wrong. */
static bool
parse_start(struct imap_session *s, struct imap_in *in)
{
	struct slice tag;

	imap_in_init(in, buf_slice_of(&s->input.text), &s->pool);
	in->utf8 = imap_names_utf8(s);
	if (!imap_parse_tag(in, &tag)) {
		(void)imap_bad(s, "Invalid tag");
		return false;
	}
	(void)slice_text(tag, s->run.tag, sizeof(s->run.tag));
	return parse_verb(s, in);
}

static int64_t
now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
imap_progress(struct imap_session *s, uint64_t done, uint64_t all)
{
	int64_t now = now_ms();

	if (now - s->run.told_ms < s->progress_ms)
		return;
	s->run.told_ms = now;
	(void)buf_text(&s->out, "* OK [INPROGRESS (");
	imap_put_string(&s->out, slice_of(s->run.tag));
	(void)buf_fmt(&s->out, " %llu %llu)] Still working\r\n", (unsigned long long)done, (unsigned long long)all);
}

static void
command(struct imap_session *s)
{
	struct imap_in in;

	s->commands++;
	s->run.told_ms = now_ms();
	if (!parse_start(s, &in))
		finish(s);
	else
		step_result(s, s->run.cmd->run(s, &in));
}

/* Is the literal that was announced the first argument (a mailbox name)? */
static bool
is_first_argument(struct slice args)
{
	struct slice rest = slice_trim(args);

	return rest.len > 0 && rest.ptr[0] == '{' && slice_find(rest, '}') + 1 == rest.len;
}

/* APPEND's message: to the verb, not into memory. */
static void
append_literal(struct imap_session *s, struct imap_in *in)
{
	struct imap_in args = *in;

	if (s->run.state != NULL)
		in->rest = slice_sub(buf_slice_of(&s->input.text), s->input.line_at, s->input.text.len);
	else if (s->run.cmd->run == cmd_replace) {	/* the mailbox comes behind the message's number */
		(void)imap_take_char(&args, ' ');
		args.rest = slice_sub(args.rest, slice_find(args.rest, ' '), args.rest.len);
	}
	if (s->run.state == NULL && is_first_argument(args.rest))
		(void)imap_input_take(&s->input);
	else if (cmd_append_begin(s, in, s->input.literal.octets))
		imap_input_stream(&s->input);
	else
		imap_input_refuse(&s->input, "");
}

static void
literal(struct imap_session *s)
{
	struct imap_in in;

	if (s->run.line != NULL) {
		imap_input_refuse(&s->input, "DONE expected");
		return;
	}
	if (parse_start(s, &in) && (s->run.cmd->run == cmd_append || s->run.cmd->run == cmd_replace))
		append_literal(s, &in);
	else
		(void)imap_input_take(&s->input);
	if (s->input.state != READ_LITERAL && s->input.state != READ_STREAM)
		return;
	buf_reset(&s->reply);
	if (!s->input.literal.nonsync)
		(void)buf_text(&s->out, "+ OK\r\n");
}

/* A command that was refused while it was read. */
static void
refused(struct imap_session *s)
{
	struct imap_in in;

	if (s->reply.len == 0) {
		if (s->run.tag[0] == '\0')
			(void)parse_start(s, &in);
		(void)imap_bad(s, s->input.error == NULL ? "Invalid command" : s->input.error);
	}
	finish(s);
}

static void
event(struct imap_session *s, enum imap_input_event what)
{
	switch (what) {
	case INPUT_COMMAND:
		if (s->run.line != NULL)
			step_result(s, s->run.line(s, buf_slice_of(&s->input.text)));
		else
			command(s);
		break;
	case INPUT_LITERAL:
		literal(s);
		break;
	case INPUT_CHUNK:
		cmd_append_chunk(s, s->input.chunk);
		break;
	case INPUT_BAD:
		refused(s);
		break;
	case INPUT_CLOSE:
		imap_session_bye(s, s->input.error == NULL || s->input.error[0] == '\0' ?
		    "Command too large" : s->input.error);
		break;
	case INPUT_MORE:
		break;
	}
}

enum imap_want
imap_session_step(struct imap_session *s, struct slice *data)
{
	enum imap_input_event what;
	enum imap_step step;

	while (!s->closing && !s->out.full) {
		if (s->run.step != NULL) {
			step = s->run.step(s);
			step_result(s, step);
			if (step == STEP_AGAIN)
				return IMAP_WANT_AGAIN;
			if (step == STEP_DRAIN)
				return IMAP_WANT_DRAIN;
			continue;
		}
		if (imap_out_high(s))
			return IMAP_WANT_DRAIN;
		what = imap_input_next(&s->input, data);
		if (what == INPUT_MORE)
			return IMAP_WANT_INPUT;
		event(s, what);
		if (s->switching && !s->closing) {
			s->switching = false;
			return IMAP_WANT_DEFLATE;
		}
	}
	return IMAP_WANT_CLOSE;
}

bool
imap_session_changed(struct imap_session *s)
{
	if (!s->idle || s->closing)
		return false;
	/* Who does not read does not need to know yet. */
	s->missed = imap_out_high(s);
	if (s->missed)
		return false;
	imap_sync(s, true);
	if (s->lost)
		imap_session_bye(s, "Selected mailbox was deleted");
	return imap_session_output(s).len > 0;
}
