/*
 * store: check, repair, rebuild a user's folders; takeover: what Dovecot or Courier left.
 *
 * The mail is touched as the account that owns it, in a child, whatever the caller is.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "addr.h"
#include "cli.h"
#include "daemon.h"
#include "store/store.h"

#define USAGE_STORE "pennypost store check|repair|rebuild ADDRESS [FOLDER]"
#define USAGE_TAKEOVER "pennypost takeover --check|--back ADDRESS [FOLDER]"

struct work {
	struct cli	*cli;
	const char	*what;		/* "check", "repair", "rebuild", "takeover", "back" */
	const char	*folder;	/* or NULL: all */
	struct store	*store;
	json_t		*list;		/* --json */
	bool		 good;		/* nothing to be said */
};

static void
say(void *ctx, const char *text)
{
	cli_say(ctx, "%s", text);
}

static void
put_count(struct work *w, json_t *o, const char *name, uint64_t n, const char *words)
{
	(void)json_object_set_new(o, name, json_integer((json_int_t)n));
	if (n > 0 && words != NULL && !w->cli->json)
		(void)printf("  %llu %s\n", (unsigned long long)n, words);
}

static bool
check(struct work *w, const char *name, json_t *o)
{
	struct store_check c;

	if (store_check(w->store, slice_of(name), &c) != STORE_OK)
		return false;
	w->good &= store_check_good(&c);
	if (!w->cli->json)
		(void)printf("%s: %s, %u messages, UIDVALIDITY %u, UIDNEXT %u\n", name,
		    store_check_good(&c) ? "good" : "not as the files say", c.files, c.uidvalidity, c.uidnext);
	put_count(w, o, "messages", c.files, NULL);
	put_count(w, o, "uidvalidity", c.uidvalidity, NULL);
	put_count(w, o, "uidnext", c.uidnext, NULL);
	put_count(w, o, "highestmodseq", c.highestmodseq, NULL);
	put_count(w, o, "cached", c.cached, NULL);
	put_count(w, o, "no_index", c.no_index, "index is missing: it is made at the next login");
	put_count(w, o, "damaged", c.damaged, "index is damaged");
	put_count(w, o, "cache_damaged", c.cache_damaged, "cache is damaged: it is made again as it is needed");
	put_count(w, o, "unknown", c.unknown, "files have no UID yet");
	put_count(w, o, "missing", c.missing, "messages have no file any more");
	put_count(w, o, "letters", c.letters, "files have other flags than the index says");
	put_count(w, o, "doubles", c.doubles, "files have a name that another has, too");
	put_count(w, o, "disorder", c.disorder, "UIDs or names come twice");
	return true;
}

static bool
takeover(struct work *w, const char *name, json_t *o)
{
	static const char *const origins[] = { "nobody", "Dovecot", "Courier" };
	struct store_takeover t;

	if (store_takeover_check(w->store, slice_of(name), &t) != STORE_OK)
		return false;
	w->good &= t.bad == 0;
	(void)json_object_set_new(o, "from", json_string(origins[t.origin]));
	if (!w->cli->json && t.origin == STORE_FROM_NOBODY)
		(void)printf("%s: nothing of Dovecot or Courier to take over\n", name);
	else if (!w->cli->json)
		(void)printf("%s: %s %s, UIDVALIDITY %u, UIDNEXT %u, %u messages keep their UIDs\n", name,
		    t.taken ? "was taken over from" : "will be taken over from", origins[t.origin], t.uidvalidity, t.uidnext, t.listed);
	put_count(w, o, "taken", t.taken, NULL);
	put_count(w, o, "uidvalidity", t.uidvalidity, NULL);
	put_count(w, o, "uidnext", t.uidnext, NULL);
	put_count(w, o, "listed", t.listed, NULL);
	put_count(w, o, "unlisted", t.unlisted, t.origin == STORE_FROM_NOBODY ? NULL :
	    "messages that it had not seen get the next UIDs");
	put_count(w, o, "uidls", t.uidls, "POP3 UIDLs of their own are kept");
	put_count(w, o, "bad", t.bad, "lines of its list are no entries");
	return true;
}

static bool
one_folder(struct work *w, const char *name)
{
	json_t *o = json_object();
	bool good;

	(void)json_object_set_new(o, "folder", cli_json_text(name, strlen(name)));
	if (strcmp(w->what, "takeover") == 0)
		good = takeover(w, name, o);
	else if (strcmp(w->what, "back") == 0)
		good = store_takeover_back(w->store, slice_of(name)) == STORE_OK;
	else
		good = (strcmp(w->what, "check") == 0 ||
		    store_repair(w->store, slice_of(name), strcmp(w->what, "rebuild") == 0) == STORE_OK) && check(w, name, o);
	if (!good)
		cli_say(w->cli, "folder %s: %s", name, strerror(store_errno(w->store)));
	if (json_array_append_new(w->list, o) != 0)
		return false;
	return good;
}

static int
all_folders(struct work *w)
{
	struct store_list *list;
	bool good = true;

	if (w->folder != NULL) {
		if (!store_exists(w->store, slice_of(w->folder))) {
			cli_say(w->cli, "no such folder: %s", w->folder);
			return EX_NOINPUT;
		}
		good = one_folder(w, w->folder);
	} else if (store_list(w->store, 0, &list) == STORE_OK) {
		for (size_t i = 0; i < list->n; i++)
			good &= !list->at[i].exists || one_folder(w, list->at[i].name);
		free(list);
	} else {
		good = false;
	}
	if (w->cli->json)
		cli_json(json_incref(w->list));
	return !good ? EX_IOERR : w->good ? 0 : 1;
}

/* As the account that the mail belongs to. */
static _Noreturn void
child(struct work *w, const char *below)
{
	const struct store_options o = { .hostname = w->cli->conf.hostname, .say = say, .say_ctx = w->cli };
	int root = open(w->cli->conf.mail_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC), dir, code;
	enum store_error error;
	uid_t uid;
	gid_t gid;

	daemon_account(&w->cli->conf, "vmail", &uid, &gid);
	if (root < 0 || (uid != (uid_t)-1 &&
	    (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0))) {
		cli_errno(w->cli, "%s", w->cli->conf.mail_root);
		_exit(EX_IOERR);
	}
	dir = store_dir(root, below, false);
	w->store = dir < 0 ? NULL : store_open(dir, &o, &error);
	if (w->store == NULL) {
		cli_errno(w->cli, "%s/%s", w->cli->conf.mail_root, below);
		_exit(EX_NOINPUT);
	}
	w->list = json_array();
	code = all_folders(w);
	json_decref(w->list);
	store_close(w->store);
	(void)fflush(stdout);
	_exit(code);
}

static int
run(struct cli *c, const char *what, const char *address, const char *folder)
{
	struct work w = { .cli = c, .what = what, .folder = folder, .good = true };
	struct addr a;
	char below[600];
	int status;
	pid_t pid;

	if (!addr_parse(slice_of(address), &a) || addr_domain(&a).len == 0) {
		cli_say(c, "not an address: %s", address);
		return EX_USAGE;
	}
	(void)snprintf(below, sizeof(below), "%.*s/%.*s/Maildir", (int)addr_domain(&a).len, addr_domain(&a).ptr,
	    (int)addr_local(&a).len, addr_local(&a).ptr);
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(&w, below);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return EX_OSERR;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
}

int
cmd_store(struct cli *c, int argc, char **argv)
{
	static const struct cli_option none[] = { { NULL, NULL, NULL } };

	if (!cli_options(c, none, &argc, argv) || argc < 3 || argc > 4 || (strcmp(argv[1], "check") != 0 &&
	    strcmp(argv[1], "repair") != 0 && strcmp(argv[1], "rebuild") != 0))
		return cli_usage(c, USAGE_STORE);
	return run(c, argv[1], argv[2], argc == 4 ? argv[3] : NULL);
}

int
cmd_takeover(struct cli *c, int argc, char **argv)
{
	bool check_only = false, back = false;
	const struct cli_option options[] = {
		{ "--check", NULL, &check_only }, { "--back", NULL, &back }, { NULL, NULL, NULL },
	};

	if (!cli_options(c, options, &argc, argv) || argc < 2 || argc > 3 || check_only == back)
		return cli_usage(c, USAGE_TAKEOVER);
	return run(c, back ? "back" : "takeover", argv[1], argc == 3 ? argv[2] : NULL);
}
