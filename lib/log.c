#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "log_line.h"

#define LINE_MAX_OCTETS 4000	/* below PIPE_BUF: lines of several processes never mix */

/* The one global of the suite: a process has one log. */
static struct {
	struct log_setup	setup;
	char			host[64];	/* short host name */
	uint64_t		dropped;	/* lines that found no room */
	long			utc_offset;	/* seconds east of UTC when the log was set up */
	pid_t			pid;		/* 0: to be asked for */
	bool			fork_watched;	/* then pid can be kept */
	struct buf		batch;		/* lines that wait for log_flush() */
	void			(*soon)(void *ctx);	/* NULL: no batch is made */
	void			*soon_ctx;
} state = { .setup = { .tag = "pennypost", .program = "pennypost", .fd = 2 } };

/* In a forked child: what waits is the parent's. */
static void
after_fork(void)
{
	state.pid = 0;
	state.soon = NULL;
	buf_reset(&state.batch);
}

static long
own_pid(void)
{
	if (state.pid == 0 || !state.fork_watched)
		state.pid = getpid();
	return (long)state.pid;
}

void
log_setup(const struct log_setup *setup)
{
	struct slice host = slice_of(setup->hostname == NULL ? "localhost" : setup->hostname);
	struct slice name = slice_cut(&host, '.');

	time_t now = time(NULL);
	struct tm tm;

	if (!state.fork_watched)
		state.fork_watched = pthread_atfork(NULL, NULL, after_fork) == 0;
	tzset();	/* the zone file is out of reach after confinement */
	state.setup = *setup;
	state.utc_offset = localtime_r(&now, &tm) == NULL ? 0 : tm.tm_gmtoff;
	(void)slice_text(slice_sub(name, 0, sizeof(state.host) - 1), state.host, sizeof(state.host));
}

/* ---- opening, where there is no logger ---- */

static int
open_socket(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	if (fd != -1 && connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	if (fd != -1)
		(void)close(fd);
	return -1;
}

static int
open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
	struct stat st;

	if (fd == -1 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
		return fd;
	(void)close(fd);
	return -1;
}

int
log_open(const char *log_to, enum log_sink *sink)
{
	int fd = -1;

	if (log_to[0] == '/') {
		*sink = LOG_SINK_LINES;
		fd = open_file(log_to);
	} else if (strcmp(log_to, "journal") == 0) {
		*sink = LOG_SINK_JOURNAL;
		fd = open_socket(LOG_JOURNAL_PATH);
	}
	if (fd == -1) {
		*sink = LOG_SINK_SYSLOG;
		fd = open_socket(LOG_SYSLOG_PATH);
	}
	return fd;
}

/* ---- lines ---- */

/* Printable ASCII, everything else '?': one event is one line, whatever a peer said. */
static void
put_clean(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		(void)buf_char(out, s.ptr[i] >= ' ' && s.ptr[i] <= '~' ? s.ptr[i] : '?');
}

static void
put_json_text(struct buf *out, struct slice s)
{
	(void)buf_char(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i] >= ' ' && s.ptr[i] <= '~' ? s.ptr[i] : '?';

		if (c == '"' || c == '\\')
			(void)buf_char(out, '\\');
		(void)buf_char(out, c);
	}
	(void)buf_char(out, '"');
}

static void
put_frame(struct buf *out, const char *program)
{
	time_t now = time(NULL);
	struct tm tm;
	char stamp[32];

	/* UTC if the zone file is out of reach; localtime_r reads it once, before confinement. */
	if (localtime_r(&now, &tm) == NULL || strftime(stamp, sizeof(stamp), "%b %e %H:%M:%S", &tm) == 0)
		stamp[0] = '\0';
	(void)buf_fmt(out, "%s %s %s/%s[%ld]: ", stamp, state.host, state.setup.tag, program, own_pid());
}

static void
put_json_frame(struct buf *out, const char *program, const char *event)
{
	struct timespec now;
	struct tm tm;
	char stamp[32];

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (gmtime_r(&now.tv_sec, &tm) == NULL || strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		stamp[0] = '\0';
	(void)buf_fmt(out, "{\"time\":\"%s.%06ldZ\",\"host\":\"%s\",\"program\":\"%s\",\"pid\":%ld,\"event\":\"%s\"",
	    stamp, now.tv_nsec / 1000, state.host, program, own_pid(), event);
}

/* A line that finds no room is counted, not waited for: the log must not stop the mail. */
static bool
write_out(const struct buf *line)
{
	ssize_t n;

	do
		n = write(state.setup.fd, line->ptr, line->len);
	while (n == -1 && errno == EINTR);
	return n == (ssize_t)line->len;
}

/* As syslogd or the journal want it. */
static bool
write_datagram(const struct buf *line)
{
	struct log_line parsed;
	struct buf entry;
	bool ok;

	(void)log_line_parse(buf_slice_of(line), &parsed);
	buf_init(&entry, LINE_MAX_OCTETS * 3);
	if (state.setup.sink == LOG_SINK_SYSLOG)
		log_line_syslog(&parsed, state.setup.tag, &entry);
	else
		log_line_journal(&parsed, state.setup.tag, &entry);
	ok = !entry.full && write_out(&entry);
	buf_clear(&entry);
	return ok;
}

/* ---- many lines at once ---- */

static bool
add_to_batch(const struct buf *line)
{
	if (state.batch.len + line->len > LOG_KEPT)
		return false;
	if (state.batch.len == 0)
		state.soon(state.soon_ctx);
	if (buf_slice(&state.batch, buf_slice_of(line)))
		return true;
	state.batch.full = false;	/* no memory: the earlier ones are there */
	return false;
}

/* Whole lines from `from` on, as many as a pipe takes in one piece. */
static size_t
piece(size_t from)
{
	size_t most = state.batch.len - from, n;

	if (most <= PIPE_BUF)
		return most;
	for (n = PIPE_BUF; n > 0 && state.batch.ptr[from + n - 1] != '\n'; n--)
		continue;
	return n == 0 ? most : n;
}

static void
drop_batch(size_t from)
{
	for (; from < state.batch.len; from++)
		state.dropped += state.batch.ptr[from] == '\n';
	buf_reset(&state.batch);
}

bool
log_flush(void)
{
	size_t at = 0;

	while (at < state.batch.len) {
		ssize_t n = write(state.setup.fd, state.batch.ptr + at, piece(at));

		if (n > 0) {
			at += (size_t)n;
		} else if (errno == EAGAIN) {
			buf_skip(&state.batch, at);
			return false;
		} else if (errno != EINTR) {
			drop_batch(at);
			return true;
		}
	}
	buf_reset(&state.batch);
	return true;
}

static void
flush_at_exit(void)
{
	(void)log_flush();
}

void
log_batch(void (*soon)(void *ctx), void *ctx)
{
	static bool at_exit;

	(void)log_flush();
	if (soon != NULL && !at_exit)
		at_exit = atexit(flush_at_exit) == 0;
	if (state.batch.cap == 0)
		buf_init(&state.batch, LOG_KEPT);
	state.soon = at_exit ? soon : NULL;
	state.soon_ctx = ctx;
}

static bool
write_line(struct buf *line)
{
	if (line->full)		/* too long: cut, so that the newline has room */
		line->full = false;
	if (state.setup.sink != LOG_SINK_LINES)
		return write_datagram(line);
	line->cap++;
	(void)buf_char(line, '\n');
	return state.soon == NULL ? write_out(line) : add_to_batch(line);
}

static void
emit(struct buf *line)
{
	if (state.dropped > 0) {
		struct buf note;

		buf_init(&note, LINE_MAX_OCTETS);
		if (state.setup.json) {
			put_json_frame(&note, state.setup.program, "log-dropped");
			(void)buf_fmt(&note, ",\"lines\":%llu}", (unsigned long long)state.dropped);
		} else {
			put_frame(&note, state.setup.program);
			(void)buf_fmt(&note, "warning: %llu log lines were dropped: the log could not be written",
			    (unsigned long long)state.dropped);
		}
		if (write_line(&note))
			state.dropped = 0;
		buf_clear(&note);
	}
	if (!write_line(line))
		state.dropped++;
}

static void __attribute__((format(printf, 2, 0)))
say(enum log_level level, const char *fmt, va_list ap)
{
	static const char *const prefix[] = { "debug: ", "", "warning: ", "error: " };
	static const char *const name[] = { "debug", "info", "warning", "error" };
	struct buf text, line;

	if (state.setup.fd == -1 || (level == LOG_LEVEL_DEBUG && !state.setup.debug))
		return;
	buf_init(&text, LINE_MAX_OCTETS / 2);
	buf_init(&line, LINE_MAX_OCTETS);
	(void)buf_vfmt(&text, fmt, ap);
	if (state.setup.json) {
		put_json_frame(&line, state.setup.program, "say");
		(void)buf_fmt(&line, ",\"level\":\"%s\",\"text\":", name[level]);
		put_json_text(&line, buf_slice_of(&text));
		(void)buf_char(&line, '}');
	} else {
		put_frame(&line, state.setup.program);
		(void)buf_text(&line, prefix[level]);
		put_clean(&line, buf_slice_of(&text));
	}
	emit(&line);
	if (level >= LOG_LEVEL_WARNING)
		(void)log_flush();
	buf_clear(&text);
	buf_clear(&line);
}

void
log_say(enum log_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	say(level, fmt, ap);
	va_end(ap);
	errno = saved;
}

/* A line made by hand: what printf() and friends do is not allowed in signal handlers. */
struct plain {
	char	text[512];
	size_t	len;
};

static void
plain_text(struct plain *p, const char *text)
{
	while (*text != '\0' && p->len < sizeof(p->text))
		p->text[p->len++] = *text++;
}

static void
plain_number(struct plain *p, uint64_t n, unsigned width, char pad)
{
	char digits[20];
	size_t i = sizeof(digits);

	do
		digits[--i] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	for (size_t have = sizeof(digits) - i; have < width; have++)
		plain_text(p, (char[]){ pad, '\0' });
	while (i < sizeof(digits) && p->len < sizeof(p->text))
		p->text[p->len++] = digits[i++];
}

/* "Nov 23 16:47:27"; month and day by the days since 0000-03-01, in cycles of 400 years. */
static void
plain_stamp(struct plain *p, int64_t seconds)
{
	static const char *const months[] = {
		"Mar ", "Apr ", "May ", "Jun ", "Jul ", "Aug ", "Sep ", "Oct ", "Nov ", "Dec ", "Jan ", "Feb ",
	};
	const uint64_t time_of_day = (uint64_t)(seconds % 86400);
	const uint64_t cycle = (uint64_t)(seconds / 86400 + 719468) % 146097;
	const uint64_t year = (cycle - cycle / 1460 + cycle / 36524 - cycle / 146096) / 365;
	const uint64_t day = cycle - (365 * year + year / 4 - year / 100);
	const uint64_t month = (5 * day + 2) / 153;

	plain_text(p, months[month]);
	plain_number(p, day - (153 * month + 2) / 5 + 1, 2, ' ');
	plain_text(p, " ");
	plain_number(p, time_of_day / 3600, 2, '0');
	plain_text(p, ":");
	plain_number(p, time_of_day / 60 % 60, 2, '0');
	plain_text(p, ":");
	plain_number(p, time_of_day % 60, 2, '0');
}

void
log_signal_safe(const char *text)
{
	struct plain p = { .len = 0 };
	struct timespec now = { 0, 0 };
	ssize_t n;

	if (state.setup.fd == -1)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (state.setup.json) {
		plain_text(&p, "{\"time_s\":");
		plain_number(&p, (uint64_t)now.tv_sec, 1, '0');
		plain_text(&p, ",\"host\":\"");
		plain_text(&p, state.host);
		plain_text(&p, "\",\"program\":\"");
		plain_text(&p, state.setup.program);
		plain_text(&p, "\",\"pid\":");
		plain_number(&p, (uint64_t)getpid(), 1, '0');
		plain_text(&p, ",\"event\":\"say\",\"level\":\"error\",\"text\":\"");
		plain_text(&p, text);
		plain_text(&p, "\"}\n");
	} else {
		plain_stamp(&p, now.tv_sec + state.utc_offset);
		plain_text(&p, " ");
		plain_text(&p, state.host);
		plain_text(&p, " ");
		plain_text(&p, state.setup.tag);
		plain_text(&p, "/");
		plain_text(&p, state.setup.program);
		plain_text(&p, "[");
		plain_number(&p, (uint64_t)getpid(), 1, '0');
		plain_text(&p, "]: error: ");
		plain_text(&p, text);
		plain_text(&p, "\n");
	}
	do
		n = write(state.setup.fd, p.text, p.len);
	while (n == -1 && errno == EINTR);
}

_Noreturn void
log_fatal(int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
	exit(code);
}

void
log_event(const char *program, const char *event, struct slice text,
    const struct log_field *fields, size_t n)
{
	struct buf line;

	if (state.setup.fd == -1)
		return;
	buf_init(&line, LINE_MAX_OCTETS);
	if (state.setup.json) {
		put_json_frame(&line, program, event);
		for (size_t i = 0; i < n; i++) {
			if (fields[i].name == NULL)
				continue;
			(void)buf_fmt(&line, ",\"%s\":", fields[i].name);
			if (fields[i].text.ptr == NULL)
				(void)buf_fmt(&line, "%lld", (long long)fields[i].number);
			else
				put_json_text(&line, slice_sub(fields[i].text, 0, 1000));
		}
		(void)buf_char(&line, '}');
	} else {
		put_frame(&line, program);
		put_clean(&line, slice_sub(text, 0, LINE_MAX_OCTETS - 200));
	}
	emit(&line);
	buf_clear(&line);
}
