#include "imap_input.h"

#include <string.h>

#define KEEP_TAG	300	/* octets of a refused command that are kept: its tag */
#define KEEP_BUFFER	4096	/* a larger buffer is freed between commands */

void
imap_input_init(struct imap_input *in, const struct imap_input_limits *limits)
{
	*in = (struct imap_input){ .limits = *limits };
	buf_init(&in->text, limits->command);
}

void
imap_input_clear(struct imap_input *in)
{
	if (in->text.ptr != NULL)
		explicit_bzero(in->text.ptr, in->text.size);
	buf_clear(&in->text);
}

void
imap_input_reset(struct imap_input *in)
{
	if (in->text.ptr != NULL)
		explicit_bzero(in->text.ptr, in->text.len);
	if (in->text.size > KEEP_BUFFER)
		buf_clear(&in->text);
	buf_reset(&in->text);
	in->line_at = in->literals = 0;
	in->error = NULL;
	if (in->state != READ_CLOSED)
		in->state = READ_LINE;
}

bool
imap_input_begun(const struct imap_input *in)
{
	return in->text.len > 0 || in->state != READ_LINE;
}

bool
imap_input_skipping(const struct imap_input *in)
{
	return in->state == SKIP_LINE || in->state == SKIP_LITERAL;
}

uint64_t
imap_input_left(const struct imap_input *in)
{
	return in->state == READ_STREAM ? in->left : 0;
}

static enum imap_input_event
close_input(struct imap_input *in, const char *error)
{
	in->state = READ_CLOSED;
	in->error = error;
	return INPUT_CLOSE;
}

/* Of a refused command only the tag is kept. */
static void
keep_tag(struct imap_input *in, struct slice more)
{
	if (in->text.len >= KEEP_TAG)
		in->text.len = KEEP_TAG;
	else
		(void)buf_slice(&in->text, slice_sub(more, 0, KEEP_TAG - in->text.len));
}

/* Go on without collecting. */
static void
skip_line(struct imap_input *in, struct slice line, const char *error)
{
	if (in->error == NULL)
		in->error = error;
	keep_tag(in, line);
	in->tail_len = 0;
	in->state = SKIP_LINE;
}

/* A line is whole: does a literal follow? */
static enum imap_input_event
line_end(struct imap_input *in)
{
	struct slice line = slice_sub(buf_slice_of(&in->text), in->line_at, in->text.len);

	while (line.len > 0 && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r'))
		line.len--;
	switch (imap_parse_literal_end(line, &in->literal)) {
	case LITERAL_NONE:
		in->text.len = in->line_at + line.len;
		return INPUT_COMMAND;
	case LITERAL_OVERFLOW:
		if (in->literal.nonsync)
			return close_input(in, "Literal too large");
		in->error = "Literal too large";
		return INPUT_BAD;
	case LITERAL_OK:
		break;
	}
	in->state = READ_ASKED;
	return INPUT_LITERAL;
}

/* Collect up to the end of the line. */
static bool
read_line(struct imap_input *in, struct slice *data, enum imap_input_event *event)
{
	size_t lf = slice_find(*data, '\n');
	size_t n = lf < data->len ? lf + 1 : data->len;

	if (n > in->limits.line || in->text.len - in->literals > in->limits.line - n ||
	    !buf_put(&in->text, data->ptr, n)) {
		skip_line(in, slice_sub(*data, 0, n), "Command line too long");
		return false;
	}
	*data = slice_sub(*data, n, data->len);
	if (lf + 1 != n) {
		*event = INPUT_MORE;
		return true;
	}
	*event = line_end(in);
	return true;
}

bool
imap_input_take(struct imap_input *in)
{
	if (in->literal.octets > in->limits.literal ||
	    in->literal.octets > in->limits.command - in->text.len) {
		imap_input_refuse(in, "Literal too large");
		return false;
	}
	in->left = in->literal.octets;
	in->state = READ_LITERAL;
	return true;
}

void
imap_input_stream(struct imap_input *in)
{
	in->left = in->literal.octets;
	in->state = READ_STREAM;
	in->line_at = in->text.len;
}

void
imap_input_refuse(struct imap_input *in, const char *error)
{
	if (in->error == NULL)
		in->error = error;
	keep_tag(in, SLICE(""));
	if (!in->literal.nonsync) {
		in->state = READ_REFUSED;
	} else if (in->literal.octets > in->limits.skip) {
		in->state = READ_CLOSED;
	} else {
		in->left = in->literal.octets;
		in->state = SKIP_LITERAL;
	}
}

static void
read_literal(struct imap_input *in, struct slice *data)
{
	size_t n = data->len < in->left ? data->len : (size_t)in->left;

	if (!buf_put(&in->text, data->ptr, n)) {	/* no memory */
		in->error = "Out of memory";
		in->state = SKIP_LITERAL;
		return;
	}
	*data = slice_sub(*data, n, data->len);
	in->left -= n;
	in->literals += n;
	if (in->left == 0) {
		in->line_at = in->text.len;
		in->state = READ_LINE;
	}
}

static bool
read_stream(struct imap_input *in, struct slice *data)
{
	size_t n = data->len < in->left ? data->len : (size_t)in->left;

	in->chunk = slice_sub(*data, 0, n);
	*data = slice_sub(*data, n, data->len);
	in->left -= n;
	if (in->left == 0)
		in->state = READ_LINE;
	return n > 0;
}

static void
skip_literal(struct imap_input *in, struct slice *data)
{
	size_t n = data->len < in->left ? data->len : (size_t)in->left;

	*data = slice_sub(*data, n, data->len);
	in->left -= n;
	if (in->left == 0) {
		in->tail_len = 0;
		in->state = SKIP_LINE;
	}
}

/* Remember the last octets of a skipped line: a literal may be announced there. */
static void
keep_tail(struct imap_input *in, struct slice part)
{
	size_t keep;

	if (part.len >= sizeof(in->tail)) {
		part = slice_sub(part, part.len - sizeof(in->tail), sizeof(in->tail));
		in->tail_len = 0;
	}
	keep = sizeof(in->tail) - part.len;
	if (in->tail_len > keep) {
		memmove(in->tail, in->tail + in->tail_len - keep, keep);
		in->tail_len = keep;
	}
	if (part.len > 0)
		memcpy(in->tail + in->tail_len, part.ptr, part.len);
	in->tail_len += part.len;
}

static enum imap_input_event
skipped_line_end(struct imap_input *in)
{
	struct slice tail = slice_trim(slice_make(in->tail, in->tail_len));

	switch (imap_parse_literal_end(tail, &in->literal)) {
	case LITERAL_OK:
		if (!in->literal.nonsync)
			return INPUT_BAD;
		if (in->literal.octets > in->limits.skip)
			return close_input(in, in->error);
		in->left = in->literal.octets;
		in->state = SKIP_LITERAL;
		return INPUT_MORE;
	case LITERAL_OVERFLOW:
		return in->literal.nonsync ? close_input(in, in->error) : INPUT_BAD;
	case LITERAL_NONE:
		break;
	}
	return INPUT_BAD;
}

static bool
read_skipped_line(struct imap_input *in, struct slice *data, enum imap_input_event *event)
{
	size_t lf = slice_find(*data, '\n');
	size_t n = lf < data->len ? lf + 1 : data->len;
	bool whole = lf < data->len;

	keep_tail(in, slice_sub(*data, 0, n));
	*data = slice_sub(*data, n, data->len);
	if (!whole)
		return false;
	*event = skipped_line_end(in);
	return *event != INPUT_MORE;
}

enum imap_input_event
imap_input_next(struct imap_input *in, struct slice *data)
{
	enum imap_input_event event = INPUT_MORE;

	for (;;) {
		if (in->state == READ_CLOSED)
			return INPUT_CLOSE;
		if (in->state == READ_REFUSED)
			return INPUT_BAD;
		if (in->state == READ_STREAM && in->left == 0)
			in->state = READ_LINE;
		if (in->state == READ_LITERAL && in->left == 0) {
			in->line_at = in->text.len;
			in->state = READ_LINE;
		}
		if (data->len == 0 || in->state == READ_ASKED)
			return INPUT_MORE;
		switch (in->state) {
		case READ_LINE:
			if (read_line(in, data, &event))
				return event;
			break;
		case READ_LITERAL:
			read_literal(in, data);
			break;
		case READ_STREAM:
			if (read_stream(in, data))
				return INPUT_CHUNK;
			break;
		case SKIP_LINE:
			if (read_skipped_line(in, data, &event))
				return event;
			break;
		case SKIP_LITERAL:
			skip_literal(in, data);
			break;
		case READ_ASKED: case READ_REFUSED: case READ_CLOSED:
			break;
		}
	}
}
