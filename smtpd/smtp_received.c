#include "smtp_received.h"

#include <string.h>
#include <time.h>

/* "Sun, 22 Nov 2026 16:47:27 +0000", RFC 5322 section 3.3; always UTC. */
static void
print_date(int64_t when_utc, struct buf *out)
{
	static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char months[][4] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
	};
	time_t when = (time_t)when_utc;
	struct tm tm = { 0 };

	(void)gmtime_r(&when, &tm);
	(void)buf_fmt(out, "%s, %02d %s %04d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
	    months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* What a client says of itself may hold anything printable: nothing of it ends a comment or a line. */
static void
print_helo(struct slice helo, struct buf *out)
{
	if (helo.len == 0)
		(void)buf_text(out, "unknown");
	for (size_t i = 0; i < helo.len; i++) {
		char c = helo.ptr[i];

		(void)buf_char(out, (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || (c != '\0' && strchr(".-_:[]", c) != NULL) ? c : '?');
	}
}

void
smtp_received_print(const struct smtp_received *r, struct buf *out)
{
	bool six = slice_find(r->address, ':') < r->address.len;
	char id[QID_TEXT];

	(void)buf_text(out, "Received: from ");
	print_helo(r->helo, out);
	if (slice_is(r->address, "unix"))
		(void)buf_text(out, " (local connection)\r\n");
	else
		(void)buf_fmt(out, " (%.*s [%s%.*s])\r\n", (int)r->name.len, r->name.ptr,
		    six ? "IPv6:" : "", (int)r->address.len, r->address.ptr);
	if (r->tls_protocol != NULL)
		(void)buf_fmt(out, "\t(using %s with cipher %s (%d/%d bits))\r\n", r->tls_protocol,
		    r->tls_cipher, r->tls_bits, r->tls_bits);
	if (r->login.len > 0)
		(void)buf_fmt(out, "\t(Authenticated sender: %.*s)\r\n", (int)r->login.len, r->login.ptr);
	(void)buf_fmt(out, "\tby %s (Pennypost) with %s id %s", r->hostname, r->with,
	    qid_print(r->qid, id));
	if (r->rcpt.len > 0)
		(void)buf_fmt(out, "\r\n\tfor <%.*s>", (int)r->rcpt.len, r->rcpt.ptr);
	(void)buf_text(out, "; ");
	print_date(r->when_utc, out);
	(void)buf_text(out, " (UTC)\r\n");
}

void
smtp_date_line(int64_t when_utc, struct buf *out)
{
	(void)buf_text(out, "Date: ");
	print_date(when_utc, out);
	(void)buf_text(out, "\r\n");
}

void
smtp_message_id_line(int64_t when_utc, struct qid qid, const char *hostname, struct buf *out)
{
	time_t when = (time_t)when_utc;
	struct tm tm = { 0 };
	char id[QID_TEXT];

	(void)gmtime_r(&when, &tm);
	(void)buf_fmt(out, "Message-ID: <%04d%02d%02d%02d%02d%02d.%s@%s>\r\n", tm.tm_year + 1900,
	    tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, qid_print(qid, id), hostname);
}
