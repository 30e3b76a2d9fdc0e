/*
 * sendmail_options: the command line of sendmail(1), mailq(1) and
 * newaliases(1), CONVENTIONS.md section 1.  Pure: words in, values out.
 *
 * Flags may be clustered (-ti, -oitm), values attached or apart (-fuser@x,
 * -f user@x), and options may stand behind recipients, up to "--".
 */
#ifndef PP_SENDMAIL_OPTIONS_H
#define PP_SENDMAIL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum sendmail_mode {
	MODE_SUBMIT,	/* -bm: a message on standard input */
	MODE_SMTP,	/* -bs */
	MODE_LIST,	/* -bp, mailq */
	MODE_ALIASES,	/* -bi, -I, newaliases */
	MODE_VERIFY,	/* -bv */
	MODE_DAEMON,	/* -bd, -bl, -bD: not ours */
	MODE_FLUSH,	/* -q */
	MODE_IGNORE,	/* -q30m, -qf: nothing to do */
};

struct sendmail_options {
	enum sendmail_mode mode;
	const char	*conf_file;	/* -C, or NULL */
	bool		 json;		/* mailq --json */
	bool		 from_header;	/* -t */
	bool		 dots;		/* -i: a single dot is a line like others */
	const char	*sender;	/* -f, -r; NULL: not given; "" or "<>": null sender */
	const char	*full_name;	/* -F, or NULL */
	unsigned	 notify;	/* NOTIFY_* bits of ipc_messages.h; 0 not given */
	unsigned	 ret;		/* 0 not given, 1 full, 2 hdrs */
	const char	*envid;		/* -V, or NULL */
	int		 body;		/* 0 not given, 7, 8 */
	bool		 requiretls, smtputf8;
	bool		 relayed;	/* -G */
	bool		 verbose;	/* -v */
	/* MODE_FLUSH: at most one of these; none: all. */
	const char	*flush_id, *flush_rcpt, *flush_sender;
	const char	**rcpts;	/* into argv, reordered */
	size_t		 rcpt_n;
};

/*
 * name: how we were called ("sendmail", "mailq", "newaliases").  argv is
 * reordered: out->rcpts are its first words.  False: why says what is wrong (EX_USAGE).
 */
bool sendmail_options(const char *name, int argc, char **argv, struct sendmail_options *out, char *why, size_t why_size);

#endif
