/*
 * log: where lines go and how they are framed.  What they say is in log_events.h.
 *
 * A daemon writes finished lines to one descriptor that was open before it
 * confined itself (fd 2: the master's logger, the journal, or a terminal), so
 * no daemon needs /dev/log or a log folder.  The line is
 *
 *	Nov 23 16:47:27 host TAG/program[pid]: text		(log-format = text)
 *	{"time":..., "program":..., "pid":..., "event":..., ...}	(log-format = json)
 *
 * A line that cannot be written (at once, or for too long: log_batch()) is dropped
 * and counted, never waited for; the count is logged when there is room again.
 */
#ifndef PP_LOG_H
#define PP_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "slice.h"

enum log_sink {
	LOG_SINK_LINES,		/* whole lines: a pipe, a file, a terminal */
	LOG_SINK_SYSLOG,	/* a datagram each, to /dev/log ... */
	LOG_SINK_JOURNAL,	/* ... or to the journal's own socket */
};

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

struct log_setup {
	const char	*tag;		/* syslog tag before the '/'; borrowed for good */
	const char	*program;	/* after the '/': smtpd, qmgr, imap-login ...; borrowed for good */
	const char	*hostname;	/* borrowed for good; short name is used */
	int		 fd;		/* where to write; -1: nothing is written */
	enum log_sink	 sink;		/* what fd is */
	bool		 json;
	bool		 debug;		/* LOG_LEVEL_DEBUG too */
};

/* The log of this process: the one global of the suite. */
void log_setup(const struct log_setup *setup);

/*
 * Open what log-to names ("syslog", "journal", a path) for a process that has
 * no logger: one that inetd started, whose fd 2 is the connection.  Where that
 * cannot be opened, or is "stderr", it is syslog.  Non-blocking; -1: there is none either.
 */
int log_open(const char *log_to, enum log_sink *sink);

/*
 * For a process with an event loop, and lines in plenty: they are collected, and
 * soon(ctx) is called for the first of them, which shall have log_flush() called
 * at the end of this turn of the loop.  Many lines then cost one write.  A
 * warning or an error takes all before it along at once; so does exit().  Lines
 * for which there is no room yet are kept for the next log_flush(), as far as
 * LOG_KEPT goes.  A child that is forked writes its own lines at once, and none of
 * its parent's.  soon NULL: every line at once again.
 */
#define LOG_KEPT	(256 * 1024)	/* octets */
void log_batch(void (*soon)(void *ctx), void *ctx);
bool log_flush(void);	/* false: some are left, try again in a moment */

/*
 * Say that something happened that is no event of mail: start-up, a broken
 * peer, a resource that is short.  Control octets and non-ASCII become '?'.
 */
void log_say(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * For signal handlers: no memory, no locks, no time zone file.  text is
 * printable ASCII without '"' and '\\', at most 200 octets.
 */
void log_signal_safe(const char *text);

/* For start-up only: log and exit with code (78 EX_CONFIG, 71 EX_OSERR ...). */
_Noreturn void log_fatal(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One field of an event; text (JSON member name and value), used by log_events.c alone. */
struct log_field {
	const char	*name;
	struct slice	 text;	/* if ptr is NULL: number */
	int64_t		 number;
};

/*
 * Write one event as program `program` (the Postfix name that log tools
 * expect: smtpd, cleanup, qmgr, smtp, virtual ...), as `text` or, with
 * log-format = json, as its fields.
 */
void log_event(const char *program, const char *event, struct slice text,
    const struct log_field *fields, size_t n);

#endif
