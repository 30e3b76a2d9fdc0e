#include "mail_message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc.h"

void
mail_message_init(struct mail_message *m, uint64_t limit)
{
	*m = (struct mail_message){ .body_fd = -1, .in_header = true, .limit = limit };
	buf_init(&m->raw, MESSAGE_HEADER_MAX);
	buf_init(&m->header, MESSAGE_HEADER_MAX);
	buf_init(&m->body, IPC_INLINE_MAX);
}

void
mail_message_clear(struct mail_message *m)
{
	buf_clear(&m->raw);
	buf_clear(&m->header);
	buf_clear(&m->body);
	if (m->body_fd >= 0)
		(void)close(m->body_fd);
	m->body_fd = -1;
}

static bool
write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s = slice_sub(s, (size_t)n, s.len);
	}
	return true;
}

/* A file that has no name: gone with the last descriptor, whatever happens. */
static int
nameless_file(void)
{
	static const char *const folders[] = { "/var/tmp", "/tmp" };
	char path[] = "/tmp/pennypost.XXXXXX";
	int fd;

	for (size_t i = 0; i < LEN(folders); i++) {
		fd = open(folders[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		if (fd >= 0)
			return fd;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(path);
	return fd;
}

static bool
put_body(struct mail_message *m, struct slice s)
{
	m->body_size += s.len;
	if (m->limit != 0 && m->raw.len + m->body_size > m->limit) {
		m->too_big = true;
		errno = EMSGSIZE;
		return false;
	}
	if (m->body_fd < 0 && m->body.len + s.len <= m->body.cap)
		return buf_slice(&m->body, s);
	if (m->body_fd < 0) {
		m->body_fd = nameless_file();
		if (m->body_fd < 0 || !write_all(m->body_fd, buf_slice_of(&m->body)))
			return false;
		buf_clear(&m->body);
	}
	return write_all(m->body_fd, s);
}

/* The header is over: what is behind it is body, without the empty line between. */
static bool
begin_body(struct mail_message *m)
{
	struct slice rest = slice_sub(buf_slice_of(&m->raw), m->scanned, m->raw.len);
	bool ok;

	m->in_header = false;
	if (m->blank)
		rest = slice_sub(rest, slice_find(rest, '\n') + 1, rest.len);
	ok = put_body(m, rest);
	m->raw.len = m->scanned;
	return ok;
}

bool
mail_message_feed(struct mail_message *m, struct slice lines)
{
	bool ended;

	if (!m->in_header)
		return put_body(m, lines);
	if (!buf_slice(&m->raw, lines)) {
		m->too_big = true;
		errno = EMSGSIZE;
		return false;
	}
	m->scanned = mail_header_end(buf_slice_of(&m->raw), m->scanned, &ended, &m->blank);
	return !ended || begin_body(m);
}

bool
mail_message_end(struct mail_message *m, bool drop_bcc)
{
	if (m->in_header && !begin_body(m))
		return false;
	if (!mail_header_scan(buf_slice_of(&m->raw), drop_bcc, &m->info, &m->header)) {
		errno = ENOMEM;
		return false;
	}
	return true;
}

/* ---- the header, finished ---- */

static void
put_date(struct buf *out, time_t now)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	struct tm tm = { 0 };
	long zone;

	(void)localtime_r(&now, &tm);
	zone = tm.tm_gmtoff / 60;
	(void)buf_fmt(out, "%s, %02d %s %d %02d:%02d:%02d %c%02ld%02ld", days[tm.tm_wday % 7], tm.tm_mday,
	    months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec,
	    zone < 0 ? '-' : '+', labs(zone) / 60, labs(zone) % 60);
}

/* "<...>" of a Message-ID: field, without what may stand around it; empty if it is none. */
static struct slice
clean_id(struct slice field)
{
	size_t open = slice_find(field, '<'), close;
	struct slice id = slice_sub(field, open, field.len);

	close = slice_find(id, '>');
	if (close == id.len || close + 1 > 998)
		return slice_sub(field, 0, 0);
	id = slice_sub(id, 0, close + 1);
	for (size_t i = 0; i < id.len; i++)
		if (id.ptr[i] <= ' ' || id.ptr[i] == 0x7f)
			return slice_sub(field, 0, 0);
	return id;
}

bool
mail_message_finish(const struct mail_message *m, const struct mail_extra *extra, struct buf *out, struct buf *id)
{
	const char *prefix = m->info.resent ? "Resent-" : "";
	char stamp[16] = "";
	struct tm tm;

	(void)buf_slice(out, buf_slice_of(&m->header));
	if (!m->info.message_id) {
		if (gmtime_r(&extra->now, &tm) != NULL)
			(void)strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S", &tm);
		(void)buf_fmt(id, "<%s.%s@%s>", stamp, extra->id, extra->hostname);
		(void)buf_fmt(out, "%sMessage-ID: %s\r\n", prefix, buf_cstr(id));
	}
	if (m->info.id.len > 0) {	/* of a resent message the original's is what people know */
		buf_reset(id);
		(void)buf_slice(id, clean_id(m->info.id));
	}
	if (!m->info.date) {
		(void)buf_fmt(out, "%sDate: ", prefix);
		put_date(out, extra->now);
		(void)buf_text(out, "\r\n");
	}
	if (!m->info.from) {
		(void)buf_fmt(out, "%sFrom: ", prefix);
		mail_header_from(out, extra->name, extra->from);
		(void)buf_text(out, "\r\n");
	}
	(void)buf_text(out, "\r\n");
	return !out->full && !id->full;
}

bool
mail_message_copy_body(const struct mail_message *m, int fd)
{
	static char chunk[65536];
	off_t at = 0;
	ssize_t n;

	if (m->body_fd < 0)
		return write_all(fd, buf_slice_of(&m->body));
	while ((n = pread(m->body_fd, chunk, sizeof(chunk), at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 || !write_all(fd, slice_make(chunk, (size_t)n)))
			return false;
		at += n;
	}
	return (uint64_t)at == m->body_size;
}
