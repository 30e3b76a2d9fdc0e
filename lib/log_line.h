/*
 * log_line: take a line of the suite's log apart again, for syslog and the
 * journal, which want time, host, tag and pid in their own way.  Pure.
 */
#ifndef PP_LOG_LINE_H
#define PP_LOG_LINE_H

#include <stdbool.h>

#include "buf.h"
#include "slice.h"

#define LOG_SYSLOG_PATH		"/dev/log"
#define LOG_JOURNAL_PATH	"/run/systemd/journal/socket"

struct log_line {
	struct slice	time;	/* "Nov 23 16:47:27"; empty for JSON */
	struct slice	tag;	/* "pennypost/smtpd" */
	struct slice	pid;	/* digits */
	struct slice	text;	/* what follows "]: ", or the whole line */
	int		level;	/* syslog's: 3 error, 4 warning, 6 info, 7 debug */
};

/* A line without its newline.  False if it is not framed like ours; text is then the line. */
bool log_line_parse(struct slice line, struct log_line *out);

/* Append what goes to /dev/log: "<22>Nov 23 16:47:27 pennypost/smtpd[1]: text"; tag is for lines that have none. */
void log_line_syslog(const struct log_line *l, const char *tag, struct buf *out);

/* Append an entry of the journal's native protocol: MESSAGE, PRIORITY ..., QUEUE_ID, CLIENT_ADDRESS and the like. */
void log_line_journal(const struct log_line *l, const char *tag, struct buf *out);

#endif
