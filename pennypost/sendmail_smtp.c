/*
 * sendmail -bs: SMTP on standard input and output, for programs that want to
 * hand mail over that way.  What the caller may send with sendmail he may
 * send here, and no more: every message takes the same way (submission_send()).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "sendmail.h"

#define LINE_MAX_OCTETS	4096
#define CHUNK		65536

struct smtp {
	struct submission	*s;
	struct buf		 in;
	bool			 crlf;		/* the first line ended in CRLF: all lines do */
	bool			 greeted, mail, done;
};

static bool
fill(struct smtp *t)
{
	char *room = buf_room(&t->in, CHUNK);
	ssize_t n;

	if (room == NULL)
		return false;
	do
		n = read(0, room, CHUNK);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		buf_add(&t->in, (size_t)n);
	return n > 0;
}

/* One line without its end; false at the end of the input, or when it is too long. */
static bool
read_line(struct smtp *t, char line[LINE_MAX_OCTETS])
{
	size_t end;

	while ((end = slice_find(buf_slice_of(&t->in), '\n')) == t->in.len)
		if (t->in.len >= LINE_MAX_OCTETS || !fill(t))
			return false;
	if (!t->greeted && end > 0 && t->in.ptr[end - 1] == '\r')
		t->crlf = true;
	if (!slice_text(slice_trim(slice_sub(buf_slice_of(&t->in), 0, end)), line, LINE_MAX_OCTETS))
		return false;
	buf_skip(&t->in, end + 1);
	return true;
}

static void
reply(const char *text)
{
	(void)printf("%s\r\n", text);
	(void)fflush(stdout);
}

/* "FROM:<a@b> SIZE=1": the path without brackets, and what follows it. */
static bool
take_path(const char *args, const char *word, struct slice *path)
{
	struct slice s = slice_of(args);
	size_t end;

	if (!slice_iprefix(&s, word))
		return false;
	s = slice_trim(s);
	if (s.len == 0 || s.ptr[0] != '<')
		return false;
	end = slice_rfind(s, '>');
	*path = slice_sub(s, 1, end - 1);
	return end < s.len;
}

static void
cmd_mail(struct smtp *t, const char *args)
{
	struct slice path;

	if (t->mail)
		reply("503 5.5.1 A sender was given already");
	else if (!take_path(args, "FROM:", &path))
		reply("501 5.5.4 Syntax: MAIL FROM:<address>");
	else if (!submission_sender(t->s, path))
		reply("553 5.1.7 Bad sender address");
	else {
		t->mail = true;
		reply("250 2.1.0 Ok");
	}
}

static void
cmd_rcpt(struct smtp *t, const char *args)
{
	struct slice path;

	if (!t->mail)
		reply("503 5.5.1 MAIL first");
	else if (!take_path(args, "TO:", &path))
		reply("501 5.5.4 Syntax: RCPT TO:<address>");
	else if (!submission_add(t->s, path))
		reply("553 5.1.3 Bad recipient address");
	else
		reply("250 2.1.5 Ok");
}

static void
reset(struct smtp *t)
{
	submission_reset(t->s);
	t->mail = false;
}

/* Until the line with the dot.  False: the input ended before it. */
static bool
read_message(struct smtp *t, bool *stored)
{
	struct mail_lines lines = { .dot_ends = true, .stuffed = true, .crlf_only = t->crlf };
	struct buf out;

	*stored = true;
	buf_init(&out, CHUNK * 3);
	while (!lines.ended) {
		size_t used;

		if (t->in.len == 0 && !fill(t))
			break;
		used = mail_lines_feed(&lines, slice_sub(buf_slice_of(&t->in), 0, CHUNK), &out);
		buf_skip(&t->in, used);
		if (*stored && !mail_message_feed(&t->s->message, buf_slice_of(&out)))
			*stored = false;
		buf_reset(&out);
	}
	buf_clear(&out);
	t->s->message.eight_bit = lines.eight_bit;
	return lines.ended;
}

static void
cmd_data(struct smtp *t)
{
	char text[100];
	bool stored;
	int rc;

	if (!t->mail || t->s->rcpt_n == 0) {
		reply("503 5.5.1 MAIL and RCPT first");
		return;
	}
	reply("354 End with a line holding only a dot");
	if (!read_message(t, &stored)) {
		t->done = true;		/* cut off: nothing is sent */
		return;
	}
	if (stored)
		stored = mail_message_end(&t->s->message, false);
	rc = stored ? submission_send(t->s) : EX_TEMPFAIL;
	if (!stored && t->s->message.too_big)
		(void)snprintf(text, sizeof(text), "552 5.3.4 Message too big");
	else if (rc == EX_OK)
		(void)snprintf(text, sizeof(text), "250 2.0.0 Ok: queued as %s", t->s->dropped ? "a file until queue is back" : t->s->id);
	else
		(void)snprintf(text, sizeof(text), rc == EX_DATAERR ? "554 5.6.0 Not accepted" : "451 4.3.0 Try again later");
	reply(text);
	reset(t);
}

static void
cmd_hello(struct smtp *t, bool extended)
{
	t->greeted = true;
	reset(t);
	(void)printf("250%c%s\r\n", extended ? '-' : ' ', t->s->cli->conf.hostname);
	if (extended)
		(void)printf("250-SIZE %llu\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n",
		    (unsigned long long)t->s->cli->conf.message_size);
	(void)fflush(stdout);
}

static void
run_line(struct smtp *t, char *line)
{
	struct slice rest = slice_of(line), verb = slice_cut(&rest, ' ');
	const char *args = rest.len == 0 ? "" : rest.ptr;

	if (slice_ieq(verb, "EHLO") || slice_ieq(verb, "HELO")) {
		cmd_hello(t, slice_ieq(verb, "EHLO"));
	} else if (slice_ieq(verb, "MAIL")) {
		cmd_mail(t, args);
	} else if (slice_ieq(verb, "RCPT")) {
		cmd_rcpt(t, args);
	} else if (slice_ieq(verb, "DATA")) {
		cmd_data(t);
	} else if (slice_ieq(verb, "RSET")) {
		reset(t);
		reply("250 2.0.0 Ok");
	} else if (slice_ieq(verb, "NOOP")) {
		reply("250 2.0.0 Ok");
	} else if (slice_ieq(verb, "VRFY")) {
		reply("252 2.0.0 Send it and see");
	} else if (slice_ieq(verb, "QUIT")) {
		reply("221 2.0.0 Bye");
		t->done = true;
	} else {
		reply("500 5.5.2 Command not recognized");
	}
}

int
sendmail_smtp(struct submission *s)
{
	struct smtp t = { .s = s };
	char line[LINE_MAX_OCTETS], banner[ADDR_DOMAIN_MAX + 32];

	buf_init(&t.in, CHUNK * 2);
	(void)snprintf(banner, sizeof(banner), "220 %s ESMTP", s->cli->conf.hostname);
	reply(banner);
	while (!t.done && read_line(&t, line))
		run_line(&t, line);
	buf_clear(&t.in);
	return EX_OK;
}
