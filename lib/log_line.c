#include "log_line.h"

#include <string.h>

#include "qid.h"

#define FACILITY_MAIL 2

static int
level_of(struct slice text)
{
	static const struct { const char *prefix; int level; } row[] = {
		{ "error: ", 3 }, { "warning: ", 4 }, { "debug: ", 7 },
	};

	for (size_t i = 0; i < LEN(row); i++) {
		struct slice s = text;

		if (slice_prefix(&s, row[i].prefix))
			return row[i].level;
	}
	return 6;
}

/* "smtpd[12]:" becomes tag and pid. */
static bool
split_tag(struct slice word, struct log_line *out)
{
	size_t open = slice_find(word, '['), close = slice_find(word, ']');

	if (open == 0 || close >= word.len || open >= close || close + 2 != word.len || word.ptr[close + 1] != ':')
		return false;
	out->tag = slice_sub(word, 0, open);
	out->pid = slice_sub(word, open + 1, close - open - 1);
	return true;
}

bool
log_line_parse(struct slice line, struct log_line *out)
{
	struct slice rest;

	*out = (struct log_line){ .text = line, .level = 6 };
	/* "Nov 23 16:47:27" is always 15 octets. */
	if (line.len < 17 || line.ptr[3] != ' ' || line.ptr[6] != ' ' || line.ptr[9] != ':' ||
	    line.ptr[12] != ':' || line.ptr[15] != ' ')
		return false;
	rest = slice_sub(line, 16, line.len);
	(void)slice_cut(&rest, ' ');	/* host */
	if (!split_tag(slice_cut(&rest, ' '), out))
		return false;
	out->time = slice_sub(line, 0, 15);
	out->text = rest;
	out->level = level_of(rest);
	return true;
}

void
log_line_syslog(const struct log_line *l, const char *tag, struct buf *out)
{
	(void)buf_fmt(out, "<%d>", FACILITY_MAIL * 8 + l->level);
	if (l->tag.len == 0) {
		(void)buf_fmt(out, "%s: ", tag);
	} else {
		(void)buf_slice(out, l->time);
		(void)buf_char(out, ' ');
		(void)buf_slice(out, l->tag);
		(void)buf_fmt(out, "[%.*s]: ", (int)l->pid.len, l->pid.ptr);
	}
	(void)buf_slice(out, l->text);
}

static void
put_field(struct buf *out, const char *name, struct slice value)
{
	if (value.len == 0 || slice_find(value, '\n') != value.len)
		return;
	(void)buf_fmt(out, "%s=", name);
	(void)buf_slice(out, value);
	(void)buf_char(out, '\n');
}

/* The value of "name=" in a list "a=b, c=<d>, e=f (words)", without its brackets. */
static struct slice
value_of(struct slice text, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i + n <= text.len; i++) {
		struct slice s = slice_sub(text, i, text.len);
		size_t end = 0;

		if (i > 0 && text.ptr[i - 1] != ' ')
			continue;
		if (!slice_prefix(&s, name))
			continue;
		if (s.len > 0 && s.ptr[0] == '<') {
			s = slice_sub(s, 1, s.len);
			return slice_sub(s, 0, slice_find(s, '>'));
		}
		while (end < s.len && s.ptr[end] != ',' && s.ptr[end] != ' ')
			end++;
		return slice_sub(s, 0, end);
	}
	return slice_sub(text, 0, 0);
}

void
log_line_journal(const struct log_line *l, const char *tag, struct buf *out)
{
	struct slice rest = l->text, id = slice_cut(&rest, ':'), client = value_of(l->text, "client="), rip;
	struct qid q;

	put_field(out, "MESSAGE", l->text);
	(void)buf_fmt(out, "PRIORITY=%d\nSYSLOG_FACILITY=%d\n", l->level, FACILITY_MAIL);
	put_field(out, "SYSLOG_IDENTIFIER", l->tag.len > 0 ? l->tag : slice_of(tag));
	put_field(out, "SYSLOG_PID", l->pid);
	if (qid_parse(id, &q))
		put_field(out, "QUEUE_ID", id);
	put_field(out, "MESSAGE_ID_HDR", value_of(l->text, "message-id="));
	(void)slice_cut(&client, '[');	/* name[address] */
	rip = value_of(l->text, "rip=");
	put_field(out, "CLIENT_ADDRESS", client.len > 0 ? slice_sub(client, 0, slice_find(client, ']')) : rip);
	put_field(out, "SASL_USERNAME", value_of(l->text, "sasl_username="));
	put_field(out, "RECIPIENT", value_of(l->text, "to="));
	put_field(out, "DSN_STATUS", value_of(l->text, "dsn="));
}
