#include "queue_dsn.h"

#include <string.h>
#include <time.h>

#include "queue_expand.h"

#define FOLD 72		/* columns of text lines */

void
dsn_date(uint64_t usec, struct buf *out)
{
	static const char *const day[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const month[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep",
	    "Oct", "Nov", "Dec" };
	time_t when = (time_t)(usec / 1000000);
	struct tm tm = { .tm_mday = 1 };

	(void)gmtime_r(&when, &tm);
	(void)buf_fmt(out, "%s, %02d %s %d %02d:%02d:%02d +0000", day[tm.tm_wday], tm.tm_mday,
	    month[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

struct slice
dsn_header_of(struct slice content)
{
	size_t from = 0;

	while (from < content.len) {
		struct slice rest = slice_sub(content, from, SIZE_MAX);
		size_t line = slice_find(rest, '\n');

		if (line == 0 || (line == 1 && rest.ptr[0] == '\r'))
			break;
		from += line == rest.len ? line : line + 1;
	}
	return slice_sub(content, 0, from);
}

/* ---- text ---- */

static char
clean(char c)
{
	return c >= ' ' && c <= '~' ? c : '?';
}

static void
put_clean(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		(void)buf_char(out, clean(s.ptr[i]));
}

/* Words over several lines, each further one begun by `indent`; words too long for a line are cut. */
static void
put_folded(struct buf *out, struct slice s, const char *indent, size_t column)
{
	while (s.len > 0) {
		size_t word = slice_find(s, ' '), room = FOLD - strlen(indent);

		if (column > strlen(indent) && column + 1 + word > FOLD) {
			(void)buf_fmt(out, "\r\n%s", indent);
			column = strlen(indent);
		}
		if (word > room)
			word = room;
		put_clean(out, slice_sub(s, 0, word));
		column += word;
		s = slice_sub(s, word, SIZE_MAX);
		if (s.len > 0 && s.ptr[0] == ' ') {
			s = slice_sub(s, 1, SIZE_MAX);
			if (s.len > 0 && column + 1 + slice_find(s, ' ') <= FOLD) {
				(void)buf_char(out, ' ');
				column++;
				continue;
			}
		}
		if (s.len > 0) {
			(void)buf_fmt(out, "\r\n%s", indent);
			column = strlen(indent);
		}
	}
}

/* ---- the parts ---- */

static const char *
subject(enum record_notice notice)
{
	switch (notice) {
	case NOTICE_DELAY:
		return "Delayed Mail (still being retried)";
	case NOTICE_SUCCESS:
		return "Successful Mail Delivery Report";
	case NOTICE_FAILURE:
	case NOTICE_NONE:
		break;
	}
	return "Undelivered Mail Returned to Sender";
}

static void
print_header(const struct dsn *d, struct buf *out)
{
	(void)buf_fmt(out, "Received: by %s (Pennypost) id %s; ", d->hostname, d->own_id);
	dsn_date(d->now_usec, out);
	(void)buf_text(out, " (UTC)\r\nDate: ");
	dsn_date(d->now_usec, out);
	(void)buf_fmt(out, "\r\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\r\nTo: ", d->hostname);
	put_clean(out, d->sender);
	(void)buf_fmt(out, "\r\nSubject: %s\r\nMessage-ID: <%s@%s>\r\nAuto-Submitted: auto-replied\r\n",
	    subject(d->notice), d->own_id, d->hostname);
	(void)buf_fmt(out, "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n"
	    "\tboundary=\"=_%016llx.%s\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
	    "This is a MIME-encapsulated message.\r\n",
	    (unsigned long long)d->boundary, d->own_id);
}

static void
print_boundary(const struct dsn *d, const char *end, struct buf *out)
{
	(void)buf_fmt(out, "\r\n--=_%016llx.%s%s\r\n", (unsigned long long)d->boundary, d->own_id, end);
}

static void
print_intro(const struct dsn *d, struct buf *out)
{
	(void)buf_fmt(out, "This is the mail system at %s.\r\n\r\n", d->hostname);
	switch (d->notice) {
	case NOTICE_DELAY:
		(void)buf_text(out, "Your message could not be delivered yet to the recipients below.\r\n"
		    "It will be retried until ");
		dsn_date(d->retry_until_utc * 1000000, out);
		(void)buf_text(out, ".\r\nYou do not need to send it again.\r\n\r\n");
		break;
	case NOTICE_SUCCESS:
		(void)buf_text(out, "Your message was successfully delivered to the recipients below, or\r\n"
		    "handed on to a system that does not report delivery.\r\n\r\n");
		break;
	case NOTICE_FAILURE:
	case NOTICE_NONE:
		(void)buf_text(out, "Your message could not be delivered to one or more recipients.\r\n"
		    "What can be returned of it is attached below.\r\n\r\n"
		    "If you need help, write to postmaster and include this report.\r\n\r\n");
		break;
	}
}

static struct slice
shown(const struct dsn_rcpt *r)
{
	return expand_is_action(r->addr) ? r->orig_to : r->addr;
}

static void
print_human(const struct dsn *d, struct buf *out)
{
	(void)buf_text(out, "Content-Description: Notification\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n");
	print_intro(d, out);
	for (size_t i = 0; i < d->rcpt_n; i++) {
		const struct dsn_rcpt *r = &d->rcpt[i];

		(void)buf_char(out, '<');
		put_clean(out, shown(r));
		(void)buf_char(out, '>');
		if (!slice_eq(shown(r), r->orig_to)) {
			(void)buf_text(out, " (written to as <");
			put_clean(out, r->orig_to);
			(void)buf_text(out, ">)");
		}
		(void)buf_text(out, ":\r\n    ");
		if (r->remote.len > 0) {
			(void)buf_text(out, "host ");
			put_clean(out, r->remote);
			(void)buf_text(out, " said:\r\n    ");
		}
		put_folded(out, r->text.len > 0 ? r->text : slice_of("no reason was given"), "    ", 4);
		(void)buf_text(out, "\r\n\r\n");
	}
}

static void
print_status_rcpt(const struct dsn *d, const struct dsn_rcpt *r, struct buf *out)
{
	(void)buf_text(out, "\r\n");
	if (r->orcpt.len > 0) {
		(void)buf_text(out, "Original-Recipient: ");
		put_clean(out, r->orcpt);
		(void)buf_text(out, "\r\n");
	} else if (!slice_eq(shown(r), r->orig_to)) {
		(void)buf_text(out, "Original-Recipient: rfc822;");
		put_clean(out, r->orig_to);
		(void)buf_text(out, "\r\n");
	}
	(void)buf_text(out, "Final-Recipient: rfc822; ");
	put_clean(out, shown(r));
	(void)buf_fmt(out, "\r\nAction: %s\r\nStatus: ", r->action);
	put_clean(out, r->status);
	(void)buf_text(out, "\r\n");
	if (r->remote.len > 0) {
		(void)buf_text(out, "Remote-MTA: dns; ");
		put_clean(out, r->remote);
		(void)buf_text(out, "\r\n");
	}
	if (r->text.len > 0) {
		(void)buf_text(out, r->remote.len > 0 ? "Diagnostic-Code: smtp; " : "Diagnostic-Code: X-Pennypost; ");
		put_folded(out, r->text, "    ", 30);
		(void)buf_text(out, "\r\n");
	}
	if (d->notice == NOTICE_DELAY) {
		(void)buf_text(out, "Will-Retry-Until: ");
		dsn_date(d->retry_until_utc * 1000000, out);
		(void)buf_text(out, "\r\n");
	}
}

static void
print_status(const struct dsn *d, struct buf *out)
{
	(void)buf_text(out, "Content-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n");
	(void)buf_fmt(out, "Reporting-MTA: dns; %s\r\n", d->hostname);
	if (d->envid.len > 0) {
		(void)buf_text(out, "Original-Envelope-Id: ");
		put_clean(out, d->envid);
		(void)buf_text(out, "\r\n");
	}
	(void)buf_fmt(out, "X-Pennypost-Queue-ID: %s\r\nArrival-Date: ", d->queue_id);
	dsn_date(d->arrival_usec, out);
	(void)buf_text(out, "\r\n");
	for (size_t i = 0; i < d->rcpt_n; i++)
		print_status_rcpt(d, &d->rcpt[i], out);
}

/* Lines that end in CRLF, without control octets; 8-bit octets are gone. */
static void
put_lines(struct buf *out, struct slice s)
{
	while (s.len > 0) {
		struct slice line = slice_cut(&s, '\n');

		if (line.len > 0 && line.ptr[line.len - 1] == '\r')
			line.len--;
		for (size_t i = 0; i < line.len; i++) {
			if (i > 0 && i % 990 == 0)
				(void)buf_text(out, "\r\n ");
			(void)buf_char(out, line.ptr[i] == '\t' ? '\t' : clean(line.ptr[i]));
		}
		(void)buf_text(out, "\r\n");
	}
}

/* May it be returned as it is: 7-bit lines of a length that everybody takes? */
static bool
plain(struct slice s)
{
	size_t column = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		column = c == '\n' ? 0 : column + 1;
		if (c >= 0x7f || c == 0 || column > 999)
			return false;
		if ((c == '\r') != (i + 1 < s.len && s.ptr[i + 1] == '\n'))
			return false;
	}
	return true;
}

static void
print_returned(const struct dsn *d, struct buf *out)
{
	struct slice header = dsn_header_of(d->content);

	if (d->whole && plain(d->content)) {
		(void)buf_text(out, "Content-Description: Undelivered Message\r\nContent-Type: message/rfc822\r\n\r\n");
		(void)buf_slice(out, d->content);
		return;
	}
	(void)buf_text(out, "Content-Description: Undelivered Message Headers\r\n"
	    "Content-Type: text/rfc822-headers\r\n\r\n");
	put_lines(out, header);
}

bool
dsn_print(const struct dsn *d, struct buf *out)
{
	print_header(d, out);
	print_boundary(d, "", out);
	print_human(d, out);
	print_boundary(d, "", out);
	print_status(d, out);
	print_boundary(d, "", out);
	print_returned(d, out);
	print_boundary(d, "--", out);
	return !out->full;
}
