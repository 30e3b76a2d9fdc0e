/*
 * pennypost: the command that sets up, starts, stops and steers a mail suite.
 * Called as sendmail, mailq or newaliases it is that command (sendmail.c).
 *
 * Read next: cli.h (what commands share), master.c (the process that starts
 * and watches the daemons), accounts_cmd.c (user, domain, alias).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "log.h"

enum wants {	/* which configuration is loaded first */
	NONE,		/* none: the command does it */
	FILE_CONF,	/* the file's */
	RUNNING,	/* the file's, or, when it has mistakes, the one in force */
};

struct command {
	const char	*name;
	int		(*run)(struct cli *, int, char **);
	enum wants	 wants;
	const char	*synopsis;
	const char	*what;
	bool		 tells;		/* without arguments it prints a usage of its own, which says more */
};

static int cmd_help(struct cli *c, int argc, char **argv);
static int cmd_version(struct cli *c, int argc, char **argv);

static const struct command commands[] = {
	{ "init",     cmd_init,     NONE,      "[--domain D] [--hostname H] [--port-base P] DIR", "write a new, self-contained suite into DIR", true },
	{ "start",    cmd_start,    FILE_CONF, "[--foreground]", "start the daemons; returns when every port is listening", false },
	{ "stop",     cmd_stop,     RUNNING,   "", "end every process of this suite", false },
	{ "reload",   cmd_reload,   NONE,      "", "take over a changed configuration without dropping a session", false },
	{ "reopen-logs", cmd_reopen,   RUNNING,   "", "open the log file anew (after it was rotated)", false },
	{ "status",   cmd_status,   RUNNING,   "", "the daemons, and the books of the queue", false },
	{ "check",    cmd_check,    NONE,      "", "look for mistakes in the configuration and the maps", false },
	{ "user",     cmd_user,     FILE_CONF, "add|passwd|del|list|show ...", "mailboxes", true },
	{ "domain",   cmd_domain,   FILE_CONF, "add|del|list ...", "domains", true },
	{ "alias",    cmd_alias,    FILE_CONF, "add|del|list ...", "aliases; *@domain is the catch-all", true },
	{ "queue",    cmd_queue,    RUNNING,   "list|show|hold|release|retry|delete|export ...", "messages on their way", true },
	{ "trace",    cmd_trace,    RUNNING,   "ID|MESSAGE-ID|ADDRESS", "what became of a message", true },
	{ "explain",  cmd_explain,  FILE_CONF, "RCPT [--from S] [--ip A] [--auth U] [--size N]", "what would happen to a message, and by which rule", true },
	{ "privs",    cmd_privs,    RUNNING,   "", "what each running process may do, as the kernel says", false },
	{ "selftest", cmd_selftest, NONE,      "crash [--dir DIR] [--rounds N] [--seed S] [--wait SECONDS] [--keep]", "kill a scratch suite again and again, and look for lost mail", true },
	{ "store",    cmd_store,    FILE_CONF, "check|repair|rebuild ADDRESS [FOLDER]", "the index of a user's mail against the files", true },
	{ "takeover", cmd_takeover, FILE_CONF, "--check|--back ADDRESS [FOLDER]", "UIDs that Dovecot or Courier gave", true },
	{ "version",  cmd_version,  NONE,      "", "print the version", false },
	{ "help",     cmd_help,     NONE,      "", "this text", false },
};

static int
cmd_help(struct cli *c, int argc, char **argv)
{
	(void)c; (void)argc; (void)argv;
	(void)printf("usage: pennypost [-C FILE] [--json] COMMAND ...\n\n");
	for (size_t i = 0; i < LEN(commands); i++)
		(void)printf("  %s%s%s\n      %s\n", commands[i].name,
		    commands[i].synopsis[0] == '\0' ? "" : " ", commands[i].synopsis, commands[i].what);
	(void)printf("\n-C FILE  the configuration (%s)\n--json   data as JSON\n"
	    "pennypost(8) says more.\n", conf_default_file());
	return EX_OK;
}

static int
cmd_version(struct cli *c, int argc, char **argv)
{
	(void)argc; (void)argv;
	if (c->json)
		cli_json(json_pack("{s:s}", "version", PP_VERSION));
	else
		(void)printf("pennypost %s\n", PP_VERSION);
	return EX_OK;
}

/*
 * -C, --json, --help and --version may stand anywhere before "--"; take them
 * out of argv, so that commands see only what is theirs.
 */
static bool
take_common(struct cli *c, int *argc, char **argv, const char **instead)
{
	int kept = 1;
	bool words = false;

	for (int i = 1; i < *argc; i++) {
		char *a = argv[i];

		words |= strcmp(a, "--") == 0;
		if (!words && strncmp(a, "-C", 2) == 0) {
			c->conf_given = true;
			c->conf_file = a[2] != '\0' ? a + 2 : argv[++i];
			if (c->conf_file == NULL)
				return false;
		} else if (!words && strcmp(a, "--json") == 0) {
			c->json = true;
		} else if (!words && (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)) {
			c->help = true;
		} else if (!words && (strcmp(a, "--version") == 0 || strcmp(a, "-V") == 0)) {
			*instead = "version";
		} else {
			argv[kept++] = a;
		}
	}
	*argc = kept;
	argv[kept] = NULL;
	return true;
}

/* --help of a command. */
static int
help_on(struct cli *c, const struct command *m, char **argv)
{
	if (m->tells)
		return m->run(c, 1, argv);
	(void)printf("usage: pennypost %s%s%s\n%s\n", m->name, m->synopsis[0] == '\0' ? "" : " ", m->synopsis, m->what);
	return EX_OK;
}

static int
run_command(struct cli *c, const char *name, int argc, char **argv)
{
	for (size_t i = 0; i < LEN(commands); i++) {
		if (strcmp(commands[i].name, name) != 0)
			continue;
		if (c->help)
			return help_on(c, &commands[i], argv);
		if ((commands[i].wants == FILE_CONF && !cli_load(c)) ||
		    (commands[i].wants == RUNNING && !cli_load_running(c, false)))
			return EX_CONFIG;
		return commands[i].run(c, argc, argv);
	}
	cli_say(c, "unknown command '%s'; 'pennypost help' lists them", name);
	return EX_USAGE;
}

int
main(int argc, char **argv)
{
	struct cli c = { .program = "pennypost", .conf_file = conf_default_file() };
	const char *base = argc > 0 ? strrchr(argv[0], '/') : NULL, *instead = NULL;
	int rc;

	base = base != NULL ? base + 1 : argc > 0 ? argv[0] : "";
	if (strcmp(base, "sendmail") == 0 || strcmp(base, "mailq") == 0 || strcmp(base, "newaliases") == 0)
		return sendmail_main(argc, argv);
	/* What library functions say goes to the person, not to a log. */
	log_setup(&(struct log_setup){ .tag = "pennypost", .program = "pennypost", .hostname = "localhost", .fd = 2 });
	if (!take_common(&c, &argc, argv, &instead)) {
		cli_say(&c, "-C needs a file");
		return EX_USAGE;
	}
	if (instead == NULL && argc < 2)
		return cmd_help(&c, argc, argv), c.help ? EX_OK : EX_USAGE;
	rc = instead != NULL ? run_command(&c, instead, argc, argv) :
	    run_command(&c, argv[1], argc - 1, argv + 1);
	conf_clear(&c.conf);
	if (fflush(stdout) != 0 || ferror(stdout) != 0)
		return rc == EX_OK ? EX_IOERR : rc;
	return rc;
}
