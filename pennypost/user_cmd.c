/* user: add, passwd, del, list, show.  The text is domains/<domain>/accounts. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "accounts_file.h"
#include "aliases.h"
#include "cli.h"
#include "client.h"
#include "edit.h"
#include "folders.h"
#include "password.h"
#include "purge.h"
#include "text_edit.h"
#include "user_cmd.h"

#define USAGE "pennypost user add ADDRESS [--password-stdin] [--quota 500M]\n" \
	"       pennypost user passwd ADDRESS [--password-stdin]\n" \
	"       pennypost user del ADDRESS [--purge]\n" \
	"       pennypost user list [DOMAIN]\n" \
	"       pennypost user show ADDRESS"

/* ---- looking things up in the texts ---- */

bool
user_find(struct slice text, const struct addr *a, struct account *out)
{
	struct accounts_file f;
	struct account_error error;
	enum account_next next;

	accounts_file_init(&f, text, addr_domain(a));
	while ((next = accounts_file_next(&f, out, &error)) != ACCOUNT_END)
		if (next != ACCOUNT_ERROR && addr_same(&out->addr, a))
			return true;
	return false;
}

bool
alias_find(struct slice text, struct slice name, struct slice domain, unsigned *line)
{
	struct aliases file;
	struct alias_entry entry;
	struct alias_error error;
	enum alias_next next;
	bool found = false;

	aliases_init(&file, text);
	while (!found && (next = aliases_next(&file, &entry, &error)) != ALIAS_END) {
		struct slice key = slice_of(entry.name);
		size_t at = slice_rfind(key, '@');

		if (next == ALIAS_ERROR)
			continue;
		if (at < key.len && slice_sub(key, at + 1, key.len).len == domain.len &&
		    slice_eq(slice_sub(key, at + 1, key.len), domain))
			key = slice_sub(key, 0, at);
		if (key.len == name.len && strncasecmp(key.ptr, name.ptr, name.len) == 0) {
			*line = entry.line;
			found = true;
		}
	}
	aliases_clear(&file);
	return found;
}

/* ---- add ---- */

/* A mailbox wins over an alias, which would go silent without a word. */
static int
refuse_alias(const struct edit *e, const struct addr *a)
{
	struct buf aliases;
	unsigned line;
	int rc = EX_OK;

	if (!edit_read(e, "aliases", &aliases))
		return EX_IOERR;
	if (alias_find(buf_slice_of(&aliases), addr_local(a), addr_domain(a), &line)) {
		cli_say(e->cli, "%s is an alias (line %u of %.*s/aliases); first: pennypost alias del %s",
		    a->text, line, (int)(strlen(e->path) - strlen("/accounts")), e->path, a->text);
		rc = EX_CANTCREAT;
	}
	buf_clear(&aliases);
	return rc;
}

/* Does `root` or `postmaster` lead anywhere yet? */
static bool
has_keeper(struct slice text)
{
	unsigned line;

	return alias_find(text, SLICE("root"), SLICE(""), &line) ||
	    alias_find(text, SLICE("postmaster"), SLICE(""), &line);
}

/*
 * The first mailbox of a suite with an alias file of its own gets what is for
 * root, and so for postmaster of every domain (RFC 5321 section 4.5.1).
 */
static void
give_root(const struct cli *c, const struct addr *a)
{
	const struct conf *conf = &c->conf;
	struct edit e = { .domain_dirfd = -1 };
	char line[ADDR_MAX + 16], why[600];
	struct buf text, out;

	if (strncmp(conf->aliases, conf->dir, strlen(conf->dir)) != 0)
		return;
	e.dirfd = folder_open(conf->dir, why, sizeof(why));
	if (e.dirfd < 0)
		return;
	(void)snprintf(e.path, sizeof(e.path), "%s", conf->aliases);
	buf_init(&out, 1024 * 1024);
	(void)snprintf(line, sizeof(line), "root: %s", a->text);
	if (edit_read(&e, strrchr(conf->aliases, '/') + 1, &text) && !has_keeper(buf_slice_of(&text)) &&
	    text_append(buf_slice_of(&text), slice_of(line), &out) &&
	    file_replace(e.dirfd, strrchr(conf->aliases, '/') + 1, out.ptr, out.len, 0644, (uid_t)-1, (gid_t)-1) &&
	    !c->json)
		(void)printf("mail for root and postmaster goes to %s (%s)\n", a->text, conf->aliases);
	buf_clear(&text);
	buf_clear(&out);
	(void)close(e.dirfd);
}

static int
add_line(struct edit *e, const struct addr *a, const char *hash, uint64_t quota)
{
	struct buf line, out;
	int rc = EX_SOFTWARE;

	buf_init(&line, ACCOUNT_LINE_MAX);
	buf_init(&out, e->text.len + ACCOUNT_LINE_MAX + 2);
	if (account_line_print(&line, addr_local(a), slice_of(hash), quota, false) &&
	    text_append(buf_slice_of(&e->text), slice_trim(buf_slice_of(&line)), &out)) {
		give_root(e->cli, a);
		rc = edit_commit(e, buf_slice_of(&out));
	}
	buf_clear(&line);
	buf_clear(&out);
	return rc;
}

static int
may_add(const struct edit *e, const struct addr *a)
{
	struct account found;

	if (!account_local_valid(addr_local(a))) {
		cli_say(e->cli, "%s cannot be a mailbox: its name becomes a folder's, so it may hold letters, digits and -._+ only "
		    "and not begin with a dot", a->text);
		return EX_DATAERR;
	}
	if (user_find(buf_slice_of(&e->text), a, &found)) {
		cli_say(e->cli, "%s is there already (%s:%u); for another password: pennypost user passwd %s",
		    a->text, e->path, found.line, a->text);
		return EX_CANTCREAT;
	}
	return refuse_alias(e, a);
}

static int
user_add(struct cli *c, int argc, char **argv)
{
	char password[PASSWORD_MAX + 1], hash[HASH_MAX];
	const char *quota_text = NULL;
	bool from_stdin = false;
	const struct cli_option options[] = {
		{ "--password-stdin", NULL, &from_stdin }, { "--quota", &quota_text, NULL }, { NULL, NULL, NULL },
	};
	uint64_t quota = 0;
	struct addr a;
	struct edit e;
	int rc;

	if (!cli_options(c, options, &argc, argv))
		return EX_USAGE;
	if (argc != 2)
		return cli_usage(c, USAGE);
	if (!edit_address(c, argv[1], &a))
		return EX_DATAERR;
	if (quota_text != NULL && !account_quota_parse(slice_of(quota_text), &quota)) {
		cli_say(c, "--quota %s: write a size like 500M or 2G; 0 is no limit", quota_text);
		return EX_USAGE;
	}
	rc = edit_open(&e, c, addr_domain(&a), "accounts");
	if (rc == EX_OK)
		rc = may_add(&e, &a);
	if (rc == EX_OK && !password_read(c, from_stdin, password))
		rc = EX_DATAERR;
	else if (rc == EX_OK && !password_hash(password, hash))
		rc = EX_SOFTWARE;
	explicit_bzero(password, sizeof(password));
	if (rc == EX_OK)
		rc = add_line(&e, &a, hash, quota);
	edit_close(&e);
	if (rc == EX_OK && c->json)
		cli_json(json_pack("{s:s, s:I}", "address", a.text, "quota", (json_int_t)quota));
	else if (rc == EX_OK)
		(void)printf("%s added\n", a.text);
	return rc;
}

/* ---- passwd, del ---- */

/* Open the accounts of an address that must be there; entry is its line in e->text. */
static int
open_user(struct edit *e, struct cli *c, const char *text, struct addr *a, struct account *found, struct slice *entry)
{
	int rc;

	e->dirfd = e->domain_dirfd = -1;
	buf_init(&e->text, 0);
	if (!edit_address(c, text, a))
		return EX_DATAERR;
	rc = edit_open(e, c, addr_domain(a), "accounts");
	if (rc != EX_OK)
		return rc;
	if (!user_find(buf_slice_of(&e->text), a, found)) {
		cli_say(c, "there is no mailbox %s", a->text);
		return EX_NOUSER;
	}
	*entry = text_entry(buf_slice_of(&e->text), found->line, false);
	return EX_OK;
}

static int
change_entry(struct edit *e, struct slice entry, struct slice with)
{
	struct buf out;
	int rc;

	buf_init(&out, e->text.len + with.len + 1);
	rc = text_replace(buf_slice_of(&e->text), entry, with, &out) ? edit_commit(e, buf_slice_of(&out)) : EX_SOFTWARE;
	buf_clear(&out);
	return rc;
}

static int
user_passwd(struct cli *c, int argc, char **argv)
{
	char password[PASSWORD_MAX + 1], hash[HASH_MAX];
	bool from_stdin = false;
	const struct cli_option options[] = {
		{ "--password-stdin", NULL, &from_stdin }, { NULL, NULL, NULL },
	};
	struct account found;
	struct slice entry;
	struct addr a;
	struct edit e;
	struct buf line;
	int rc;

	if (!cli_options(c, options, &argc, argv))
		return EX_USAGE;
	if (argc != 2)
		return cli_usage(c, USAGE);
	buf_init(&line, ACCOUNT_LINE_MAX + HASH_MAX);
	rc = open_user(&e, c, argv[1], &a, &found, &entry);
	if (rc == EX_OK && !password_read(c, from_stdin, password))
		rc = EX_DATAERR;
	else if (rc == EX_OK && (!password_hash(password, hash) || !text_account_hash(entry, slice_of(hash), &line)))
		rc = EX_SOFTWARE;
	explicit_bzero(password, sizeof(password));
	if (rc == EX_OK)
		rc = change_entry(&e, entry, buf_slice_of(&line));
	buf_clear(&line);
	edit_close(&e);
	if (rc == EX_OK && !c->json)
		(void)printf("%s has a new password\n", a.text);
	return rc;
}

static int
user_del(struct cli *c, int argc, char **argv)
{
	bool purge = false;
	const struct cli_option options[] = { { "--purge", NULL, &purge }, { NULL, NULL, NULL } };
	char below[ADDR_MAX + 2];
	struct account found;
	struct slice entry, domain, local;
	struct addr a;
	struct edit e;
	int rc;

	if (!cli_options(c, options, &argc, argv))
		return EX_USAGE;
	if (argc != 2)
		return cli_usage(c, USAGE);
	rc = open_user(&e, c, argv[1], &a, &found, &entry);
	if (rc == EX_OK)
		rc = change_entry(&e, entry, SLICE(""));
	edit_close(&e);
	if (rc != EX_OK)
		return rc;
	domain = addr_domain(&a);
	local = addr_local(&a);
	(void)snprintf(below, sizeof(below), "%.*s/%.*s", (int)domain.len, domain.ptr, (int)local.len, local.ptr);
	if (purge && !purge_mail(c, below))
		return EX_IOERR;
	if (!c->json)
		(void)printf("%s deleted%s%s/%s\n", a.text, purge ? ", and its mail in " : "; its mail stays in ",
		    c->conf.mail_root, below);
	return EX_OK;
}

/* ---- list, show ---- */

static json_t *
user_json(const struct account *u)
{
	return json_pack("{s:s, s:o, s:b, s:b}", "address", u->addr.text,
	    "quota", u->quota == 0 ? json_null() : json_integer((json_int_t)u->quota),
	    "password", u->hash.len > 0, "disabled", (int)u->disabled);
}

static int
list_domain(struct cli *c, const char *domain, json_t *all)
{
	struct accounts_file f;
	struct account_error error;
	struct account u;
	enum account_next next;
	struct edit e;
	int rc = edit_open(&e, c, slice_of(domain), "accounts");

	if (rc == EX_OK) {
		accounts_file_init(&f, buf_slice_of(&e.text), slice_of(domain));
		while ((next = accounts_file_next(&f, &u, &error)) != ACCOUNT_END) {
			if (next == ACCOUNT_ERROR)
				cli_say(c, "%s:%u: %s", e.path, error.line, error.text);
			else if (c->json)
				(void)json_array_append_new(all, user_json(&u));
			else
				(void)puts(u.addr.text);
		}
	}
	edit_close(&e);
	return rc;
}

static int
list_one(struct cli *c, const char *domain, void *arg)
{
	return list_domain(c, domain, arg);
}

static int
user_list(struct cli *c, int argc, char **argv)
{
	json_t *all = json_array();
	struct addr a;
	char any[ADDR_MAX + 1];
	int rc;

	if (argc > 2) {
		json_decref(all);
		return cli_usage(c, USAGE);
	}
	if (argc == 2) {
		/* Fold the domain as an address's. */
		(void)snprintf(any, sizeof(any), "x@%s", argv[1]);
		rc = edit_address(c, any, &a) ? list_domain(c, addr_domain(&a).ptr, all) : EX_DATAERR;
	} else {
		rc = domain_each(c, list_one, all);
	}
	if (rc == EX_OK && c->json)
		cli_json(json_incref(all));
	json_decref(all);
	return rc;
}

/* From auth, if the suite runs and we may ask. */
static json_t *
last_logins(struct cli *c, const struct addr *a)
{
	const struct ipc_last_login_ask ask = { .user = addr_text(a) };
	json_t *all = json_array();
	struct ipc_last_login l;
	struct client client;
	struct slice frame;
	struct buf out;
	uint16_t code;

	if (!client_open(&client, &c->conf, "auth-control"))
		return all;
	buf_init(&out, IPC_FRAME_MAX);
	if (client_send(&client, &out, ipc_put_last_login_ask(&out, &ask), -1))
		while (client_recv(&client, 5000, &frame, &code, NULL) && code == IPC_last_login &&
		    ipc_get_last_login(frame, &l))
			(void)json_array_append_new(all, json_pack("{s:o, s:f, s:I, s:o}",
			    "service", cli_json_text(l.service.ptr, l.service.len), "time", (double)l.usec / 1e6,
			    "count", (json_int_t)l.count,
			    "address", cli_json_text(l.client_address.ptr, l.client_address.len)));
	client_close(&client);
	return all;
}

static void
show_text(const struct cli *c, const struct account *u, json_t *logins)
{
	struct slice d = addr_domain(&u->addr), l = addr_local(&u->addr);
	const json_t *login;
	size_t i;

	(void)printf("address   %s\nmailbox   %s/%.*s/%.*s/Maildir\n", u->addr.text, c->conf.mail_root,
	    (int)d.len, d.ptr, (int)l.len, l.ptr);
	if (u->quota == 0)
		(void)printf("quota     none\n");
	else
		(void)printf("quota     %llu octets\n", (unsigned long long)u->quota);
	(void)printf("login     %s\n", u->disabled ? "disabled" : u->hash.len > 0 ? "with password" : "no password set");
	json_array_foreach(logins, i, login) {
		time_t when = (time_t)json_number_value(json_object_get(login, "time"));
		char text[32] = "";
		struct tm tm;

		if (localtime_r(&when, &tm) != NULL)
			(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
		(void)printf("last      %s %s from %s\n", json_string_value(json_object_get(login, "service")), text,
		    json_string_value(json_object_get(login, "address")));
	}
}

static int
user_show(struct cli *c, int argc, char **argv)
{
	struct account found;
	struct slice entry, d, l;
	char path[5000];
	json_t *logins, *out;
	struct addr a;
	struct edit e;
	int rc;

	if (argc != 2)
		return cli_usage(c, USAGE);
	rc = open_user(&e, c, argv[1], &a, &found, &entry);
	if (rc == EX_OK) {
		logins = last_logins(c, &a);
		d = addr_domain(&a);
		l = addr_local(&a);
		(void)snprintf(path, sizeof(path), "%s/%.*s/%.*s/Maildir", c->conf.mail_root,
		    (int)d.len, d.ptr, (int)l.len, l.ptr);
		if (c->json) {
			out = user_json(&found);
			(void)json_object_set_new(out, "mailbox", json_string(path));
			(void)json_object_set(out, "last_logins", logins);
			cli_json(out);
		} else {
			show_text(c, &found, logins);
		}
		json_decref(logins);
	}
	edit_close(&e);
	return rc;
}

int
cmd_user(struct cli *c, int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{ "add", user_add }, { "passwd", user_passwd }, { "del", user_del },
		{ "list", user_list }, { "show", user_show }, { NULL, NULL },
	};

	return cli_verb(c, verbs, argc, argv, USAGE);
}
