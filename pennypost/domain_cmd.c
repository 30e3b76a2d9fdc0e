/* domain: add, del, list.  A domain is a folder of domain-dir. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aliases.h"
#include "edit.h"
#include "init.h"
#include "purge.h"
#include "user_cmd.h"

#define USAGE "pennypost domain add DOMAIN\n" \
	"       pennypost domain del DOMAIN [--force] [--purge]\n" \
	"       pennypost domain list"

static bool
is_domain(int dirfd, const char *name)
{
	struct stat st;

	return name[0] != '.' && addr_domain_valid(slice_of(name)) &&
	    fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names, sorted; malloc'd each and as a whole. */
static char **
domain_names(struct cli *c, size_t *n)
{
	DIR *dir = opendir(c->conf.domain_dir);
	char **names = NULL, **grown;
	const struct dirent *e;

	*n = 0;
	if (dir == NULL) {
		cli_errno(c, "%s", c->conf.domain_dir);
		return NULL;
	}
	while ((e = readdir(dir)) != NULL) {
		if (!is_domain(dirfd(dir), e->d_name))
			continue;
		grown = reallocarray(names, *n + 1, sizeof(*names));
		if (grown == NULL)
			break;
		names = grown;
		names[*n] = strdup(e->d_name);
		if (names[*n] == NULL)
			break;
		(*n)++;
	}
	(void)closedir(dir);
	if (names != NULL)
		qsort(names, *n, sizeof(*names), compare);
	return names;
}

int
domain_each(struct cli *c, int (*run)(struct cli *c, const char *domain, void *arg), void *arg)
{
	size_t n;
	char **names = domain_names(c, &n);
	int rc = EX_OK;

	for (size_t i = 0; i < n; i++) {
		if (rc == EX_OK)
			rc = run(c, names[i], arg);
		free(names[i]);
	}
	free(names);
	return rc;
}

/* As it is in addresses: folded, and valid. */
static bool
fold(const struct cli *c, const char *text, struct addr *out)
{
	char any[ADDR_MAX + 8];

	(void)snprintf(any, sizeof(any), "x@%s", text);
	if (text[0] != '[' && strchr(text, '@') == NULL && addr_domain_valid(slice_of(text)) &&
	    edit_address(c, any, out))
		return true;
	cli_say(c, "'%s' is no domain; write for example example.org", text);
	return false;
}

static int
domain_add(struct cli *c, int argc, char **argv)
{
	struct addr a;
	struct edit e;
	const char *name;
	int rc;

	if (argc != 2)
		return cli_usage(c, USAGE);
	if (!fold(c, argv[1], &a))
		return EX_DATAERR;
	name = addr_domain(&a).ptr;
	rc = edit_lock(&e, c);
	if (rc == EX_OK && is_domain(e.domain_dirfd, name)) {
		cli_say(c, "%s is one of our domains already", name);
		rc = EX_CANTCREAT;
	}
	if (rc == EX_OK && !init_domain_files(c, e.domain_dirfd, name))
		rc = EX_CANTCREAT;
	if (rc == EX_OK)
		rc = edit_compile(c);
	edit_close(&e);
	if (rc == EX_OK && !c->json)
		(void)printf("%s added\n", name);
	return rc;
}

static size_t
count_accounts(struct slice text, const char *domain)
{
	struct accounts_file f;
	struct account_error error;
	struct account u;
	enum account_next next;
	size_t n = 0;

	accounts_file_init(&f, text, slice_of(domain));
	while ((next = accounts_file_next(&f, &u, &error)) != ACCOUNT_END)
		n += next != ACCOUNT_ERROR;
	return n;
}

/* Moved away in one step, then removed: the maps never see half a domain. */
static int
remove_folder(struct edit *e, const char *name)
{
	char aside[ADDR_DOMAIN_MAX + 16];
	bool ok;

	(void)snprintf(aside, sizeof(aside), ".%s.deleted", name);
	if (renameat(e->domain_dirfd, name, e->domain_dirfd, aside) != 0 || fsync(e->domain_dirfd) != 0) {
		cli_errno(e->cli, "%s/%s", e->cli->conf.domain_dir, name);
		return EX_CANTCREAT;
	}
	(void)close(e->dirfd);
	e->dirfd = openat(e->domain_dirfd, aside, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	ok = e->dirfd >= 0;
	ok = ok && (unlinkat(e->dirfd, "accounts", 0) == 0 || errno == ENOENT);
	ok = ok && (unlinkat(e->dirfd, "aliases", 0) == 0 || errno == ENOENT);
	if (!ok || unlinkat(e->domain_dirfd, aside, AT_REMOVEDIR) != 0)
		cli_say(e->cli, "files of others are left in %s/%s", e->cli->conf.domain_dir, aside);
	return edit_compile(e->cli);
}

static int
domain_del(struct cli *c, int argc, char **argv)
{
	bool purge = false, force = false;
	const struct cli_option options[] = {
		{ "--purge", NULL, &purge }, { "--force", NULL, &force }, { NULL, NULL, NULL },
	};
	const char *name;
	struct addr a;
	struct edit e;
	size_t n;
	int rc;

	if (!cli_options(c, options, &argc, argv))
		return EX_USAGE;
	if (argc != 2)
		return cli_usage(c, USAGE);
	if (!fold(c, argv[1], &a))
		return EX_DATAERR;
	name = addr_domain(&a).ptr;
	rc = edit_lock(&e, c);
	if (rc == EX_OK && !is_domain(e.domain_dirfd, name)) {
		cli_say(c, "%s is none of our domains; 'pennypost domain list' shows them", name);
		rc = EX_NOHOST;
	}
	if (rc == EX_OK)
		rc = edit_domain(&e, addr_domain(&a), "accounts");
	n = rc == EX_OK ? count_accounts(buf_slice_of(&e.text), name) : 0;
	if (n > 0 && !force) {
		cli_say(c, "%s has %zu mailboxes; delete them first, or write --force", name, n);
		rc = EX_CANTCREAT;
	}
	if (rc == EX_OK)
		rc = remove_folder(&e, name);
	edit_close(&e);
	if (rc == EX_OK && purge && !purge_mail(c, name))
		rc = EX_IOERR;
	if (rc == EX_OK && !c->json)
		(void)printf("%s deleted%s%s/%s\n", name, purge ? ", and the mail in " : "; its mail stays in ",
		    c->conf.mail_root, name);
	return rc;
}

static int
list_one(struct cli *c, const char *domain, void *arg)
{
	json_t *all = arg;
	struct edit e;
	size_t n;
	int rc;

	if (!c->json) {
		(void)puts(domain);
		return EX_OK;
	}
	rc = edit_open(&e, c, slice_of(domain), "accounts");
	n = rc == EX_OK ? count_accounts(buf_slice_of(&e.text), domain) : 0;
	edit_close(&e);
	if (rc == EX_OK)
		(void)json_array_append_new(all, json_pack("{s:s, s:i}", "domain", domain, "mailboxes", (int)n));
	return rc;
}

static int
domain_list(struct cli *c, int argc, char **argv)
{
	json_t *all = json_array();
	int rc;

	(void)argv;
	if (argc != 1) {
		json_decref(all);
		return cli_usage(c, USAGE);
	}
	rc = domain_each(c, list_one, all);
	if (rc == EX_OK && c->json)
		cli_json(json_incref(all));
	json_decref(all);
	return rc;
}

int
cmd_domain(struct cli *c, int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{ "add", domain_add }, { "del", domain_del }, { "list", domain_list }, { NULL, NULL },
	};

	return cli_verb(c, verbs, argc, argv, USAGE);
}
