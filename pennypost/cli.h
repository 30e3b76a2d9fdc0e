/*
 * cli: what the commands of pennypost share: the options before and behind the
 * command's name, the configuration, words on stderr, JSON on stdout.
 *
 * A command is a function that gets its own arguments (argv[0] is its name)
 * and returns the exit code.  Read next: main.c has the table of commands.
 */
#ifndef PP_CLI_H
#define PP_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <sysexits.h>

#include <jansson.h>

#include "conf.h"

struct cli {
	const char	*program;	/* "pennypost", "sendmail" ...: in front of every message */
	const char	*conf_file;	/* -C, or the default */
	bool		 conf_given;	/* by -C */
	bool		 json;		/* --json */
	bool		 help;		/* --help: usage is what was asked for */
	struct conf	 conf;
	bool		 loaded;	/* conf is filled */
	bool		 in_force;	/* by what the suite runs by, since the file has mistakes */
};

/* "pennypost: words" and a newline, to stderr. */
void cli_say(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with strerror(errno) behind it. */
void cli_errno(const struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "usage: pennypost ..." of the command; returns EX_USAGE, or EX_OK where it was asked for. */
int cli_usage(const struct cli *c, const char *usage);

/* Load the configuration; says what is wrong and returns false if that fails (EX_CONFIG). */
bool cli_load(struct cli *c);
/*
 * For commands that speak with a suite that may run: when the file has
 * mistakes, by the configuration in force (conf_load_in_force()), with a
 * warning unless quiet.
 */
bool cli_load_running(struct cli *c, bool quiet);
/* "FILE:LINE: words" for each; returns how many are no warnings. */
size_t cli_problems(const char *file, const struct conf_problems *problems);

/* Print (indented) and free. */
void cli_json(json_t *value);
/* A JSON string of bytes that need not be UTF-8: what is not becomes U+FFFD. */
json_t *cli_json_text(const void *ptr, size_t len);

/*
 * Options of a command: a NULL-terminated table.  cli_options() takes them out
 * of argv wherever they stand (up to "--"), leaves the other arguments in
 * place, puts their number into *argc, and returns false after saying what is
 * wrong.  value: NULL for a flag (*flag becomes true).
 */
struct cli_option {
	const char	 *name;		/* "--from" */
	const char	**value;	/* or NULL */
	bool		 *flag;		/* or NULL */
};
bool cli_options(const struct cli *c, const struct cli_option *table, int *argc, char **argv);

/* Commands of two words: `user add`.  verbs ends with a NULL name. */
struct cli_verb {
	const char	*name;
	int		(*run)(struct cli *, int, char **);
};
int cli_verb(struct cli *c, const struct cli_verb *verbs, int argc, char **argv, const char *usage);

/* The commands, one or several a file. */
int cmd_init(struct cli *c, int argc, char **argv);
int cmd_start(struct cli *c, int argc, char **argv);
int cmd_stop(struct cli *c, int argc, char **argv);
int cmd_reload(struct cli *c, int argc, char **argv);
int cmd_reopen(struct cli *c, int argc, char **argv);
int cmd_status(struct cli *c, int argc, char **argv);
int cmd_check(struct cli *c, int argc, char **argv);
int cmd_user(struct cli *c, int argc, char **argv);
int cmd_domain(struct cli *c, int argc, char **argv);
int cmd_alias(struct cli *c, int argc, char **argv);
int cmd_explain(struct cli *c, int argc, char **argv);
int cmd_trace(struct cli *c, int argc, char **argv);
int cmd_queue(struct cli *c, int argc, char **argv);
int cmd_privs(struct cli *c, int argc, char **argv);
int cmd_selftest(struct cli *c, int argc, char **argv);
int cmd_store(struct cli *c, int argc, char **argv);
int cmd_takeover(struct cli *c, int argc, char **argv);

/* Called by other names (argv[0]). */
int sendmail_main(int argc, char **argv);

#endif
