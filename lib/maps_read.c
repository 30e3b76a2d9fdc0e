/* Texts to entries: domains/<domain>/{accounts,aliases}, the machine's alias file, passwd. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "accounts_file.h"
#include "aliases.h"
#include "maps_table.h"
#include "routes_record.h"

#define FILE_MAX	(256 * 1024 * 1024)	/* octets of one text */
#define SYSTEM_UID_MIN	1000
#define SYSTEM_UID_MAX	60000

enum read_result { READ_OK, READ_NONE, READ_FAILED };

/* The whole of a regular file; NONE: there is no such file. */
static enum read_result
read_file(struct maps_table *t, int dirfd, const char *name, const char *path, struct buf *out)
{
	struct stat st;
	ssize_t got;
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		if (errno == ENOENT)
			return READ_NONE;
		maps_fail(t, EX_NOINPUT, "%s: %s", path, strerror(errno));
		return READ_FAILED;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		maps_fail(t, EX_NOINPUT, "%s: not a regular file, or larger than %d octets", path, FILE_MAX);
		(void)close(fd);
		return READ_FAILED;
	}
	do {
		char *room = buf_room(out, 65536);

		if (room == NULL) {
			t->no_memory = true;
			got = 0;
			break;
		}
		got = read(fd, room, 65536);
		if (got > 0)
			buf_add(out, (size_t)got);
	} while (got > 0 || (got < 0 && errno == EINTR));
	if (got < 0)
		maps_fail(t, EX_NOINPUT, "%s: %s", path, strerror(errno));
	(void)close(fd);
	return got < 0 || t->no_memory ? READ_FAILED : READ_OK;
}

/* ---- accounts ---- */

static void
add_account(struct maps_table *t, size_t domain, uint32_t file, const struct account *a)
{
	struct maps_entry *e = maps_entry_add(t, addr_text(&a->addr));
	struct slice local = addr_local(&a->addr);
	struct maps_domain *d = &t->domain[domain];

	if (e == NULL)
		return;
	e->source = FROM_ACCOUNTS;
	e->file = file;
	e->line = a->line;
	e->has_mailbox = true;
	e->quota = a->quota;
	e->disabled = a->disabled;
	e->hash = slice_dup(a->hash);
	if (asprintf(&e->home, "%s/%.*s", d->name, (int)local.len, local.ptr) < 0)
		e->home = NULL;
	if (d->first_mailbox == NULL)
		d->first_mailbox = strdup(e->key);
	if (e->hash == NULL || e->home == NULL || d->first_mailbox == NULL)
		t->no_memory = true;
	t->report->mailboxes++;
}

static void
read_accounts(struct maps_table *t, size_t domain, int dirfd, const char *path)
{
	uint32_t file = maps_file_add(t, path);
	struct accounts_file f;
	struct account_error error;
	struct account a;
	struct buf text;
	enum account_next next;

	buf_init(&text, FILE_MAX + 65536);
	if (read_file(t, dirfd, "accounts", path, &text) == READ_OK) {
		accounts_file_init(&f, buf_slice_of(&text), slice_of(t->domain[domain].name));
		while ((next = accounts_file_next(&f, &a, &error)) != ACCOUNT_END && !t->no_memory) {
			if (next != ACCOUNT_GOT)
				maps_problem(t, next == ACCOUNT_WARNING, path, error.line, "%s", error.text);
			if (next != ACCOUNT_ERROR)
				add_account(t, domain, file, &a);
		}
	}
	if (text.ptr != NULL)
		explicit_bzero(text.ptr, text.len);
	buf_clear(&text);
}

/* ---- aliases ---- */

/* One value of an alias of `domain`, checked, added to the entry's list. */
static void
add_target(struct maps_table *t, struct maps_entry *e, const char *path, struct slice domain,
    const struct alias_value *v, bool machine)
{
	struct slice text = buf_slice_of(&v->text);
	struct addr addr;
	bool ok;

	if (v->kind == TARGET_ADDRESS || v->kind == TARGET_LOCAL_FINAL) {
		if (!alias_address(text, domain, &addr) || slice_is(addr_local(&addr), "*")) {
			maps_problem(t, false, path, v->line, "'%.*s' is no mail address; write user or user@domain",
			    (int)(text.len < 100 ? text.len : 100), text.ptr);
			return;
		}
		ok = route_target_put(&e->targets, v->kind, addr_text(&addr));
	} else if (!machine) {
		maps_problem(t, false, path, v->line, "files, commands and :include: are only for the machine's own "
		    "aliases (%s); write the address of a mailbox", t->conf->aliases);
		return;
	} else {
		struct buf action;

		buf_init(&action, ALIAS_VALUE_MAX + 1);
		if (v->kind == TARGET_COMMAND)
			(void)buf_char(&action, '|');
		(void)buf_slice(&action, text);
		ok = !action.full && route_target_put(&e->targets, v->kind, buf_slice_of(&action));
		buf_clear(&action);
	}
	if (!ok)
		t->no_memory = true;
}

static void
add_alias(struct maps_table *t, uint32_t file, const char *path, struct slice domain, struct alias_entry *entry,
    bool machine)
{
	struct alias_error error;
	struct alias_value value;
	struct maps_entry *e;
	enum alias_next next;
	struct addr key;

	if (!alias_address(slice_of(entry->name), domain, &key)) {
		maps_problem(t, false, path, entry->line, "'%s' cannot be the name of an alias; write a local part", entry->name);
		return;
	}
	if (!slice_eq(addr_domain(&key), domain)) {
		maps_problem(t, false, path, entry->line, "'%s' is of another domain; it belongs in %s/%.*s/aliases",
		    entry->name, t->conf->domain_dir, (int)addr_domain(&key).len, addr_domain(&key).ptr);
		return;
	}
	e = maps_entry_add(t, addr_text(&key));
	if (e == NULL)
		return;
	e->source = machine ? FROM_MACHINE_ALIASES : FROM_DOMAIN_ALIASES;
	e->has_alias = true;
	e->file = e->alias_file = file;
	e->line = e->alias_line = entry->line;
	buf_init(&value.text, ALIAS_VALUE_MAX + 1);
	while ((next = alias_list_next(&entry->values, &value, &error)) != ALIAS_END) {
		if (next == ALIAS_ERROR)
			maps_problem(t, false, path, error.line, "%s", error.text);
		else
			add_target(t, e, path, domain, &value, machine);
	}
	buf_clear(&value.text);
	if (e->targets.full)
		t->no_memory = true;
}

static void
count_alias(struct maps_table *t, const struct alias_entry *entry, bool machine)
{
	if (!machine) {
		t->report->domain_aliases++;
		return;
	}
	t->report->aliases++;
	t->report->total += entry->octets;
	if (entry->octets > t->report->longest)
		t->report->longest = entry->octets;
}

static enum read_result
read_aliases(struct maps_table *t, struct slice domain, int dirfd, const char *name, const char *path, uint32_t *file)
{
	bool machine = dirfd == AT_FDCWD;
	struct alias_entry entry;
	struct alias_error error;
	struct aliases a;
	struct buf text;
	enum alias_next next;
	enum read_result result;

	*file = maps_file_add(t, path);
	buf_init(&text, FILE_MAX + 65536);
	result = read_file(t, dirfd, name, path, &text);
	if (result == READ_OK) {
		aliases_init(&a, buf_slice_of(&text));
		while ((next = aliases_next(&a, &entry, &error)) != ALIAS_END && !t->no_memory) {
			if (next == ALIAS_ERROR) {
				maps_problem(t, false, path, error.line, "%s", error.text);
				continue;
			}
			count_alias(t, &entry, machine);
			add_alias(t, *file, path, domain, &entry, machine);
		}
		aliases_clear(&a);
	}
	buf_clear(&text);
	return result;
}

/* ---- domains ---- */

static void
read_domain(struct maps_table *t, size_t domain, int parent, const char *folder)
{
	char path[4096];
	uint32_t file;
	int fd = openat(parent, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		maps_fail(t, EX_NOINPUT, "%s/%s: %s", t->conf->domain_dir, folder, strerror(errno));
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/%s/accounts", t->conf->domain_dir, folder);
	read_accounts(t, domain, fd, path);
	(void)snprintf(path, sizeof(path), "%s/%s/aliases", t->conf->domain_dir, folder);
	(void)read_aliases(t, slice_of(t->domain[domain].name), fd, "aliases", path, &file);
	t->domain[domain].alias_file = file;
	(void)close(fd);
	t->report->domains++;
}

/* Is this folder's name that of a domain?  Says so if it is nearly one. */
static bool
is_domain_name(struct maps_table *t, const char *name)
{
	if (name[0] == '.')
		return false;
	for (const char *p = name; *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z') {
			maps_problem(t, false, NULL, 0, "%s/%s: write the name of the folder in lower case",
			    t->conf->domain_dir, name);
			return false;
		}
	}
	if (addr_domain_valid(slice_of(name)))
		return true;
	maps_problem(t, true, NULL, 0, "%s/%s: not the name of a domain; passed over", t->conf->domain_dir, name);
	return false;
}

static bool
is_folder(int parent, const struct dirent *d)
{
	struct stat st;

	if (d->d_type == DT_DIR)
		return true;
	if (d->d_type != DT_LNK && d->d_type != DT_UNKNOWN)
		return false;
	return fstatat(parent, d->d_name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static int
compare_name(const void *a, const void *b)
{
	const struct dirent *const *x = a, *const *y = b;

	return strcmp((*x)->d_name, (*y)->d_name);
}

static void
read_domains(struct maps_table *t)
{
	struct dirent **list = NULL;
	struct maps_domain *d;
	int parent = open(t->conf->domain_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;

	if (parent < 0 && errno == ENOENT)
		return;		/* a machine with its own users alone */
	n = parent < 0 ? -1 : scandirat(parent, ".", &list, NULL, NULL);
	if (n < 0)
		maps_fail(t, EX_NOINPUT, "%s: %s", t->conf->domain_dir, strerror(errno));
	else
		qsort(list, (size_t)n, sizeof(*list), compare_name);
	for (int i = 0; i < n; i++) {
		if (is_folder(parent, list[i]) && is_domain_name(t, list[i]->d_name) && !t->no_memory) {
			d = maps_domain_find(t, slice_of(list[i]->d_name));
			if (d == NULL)
				d = maps_domain_add(t, list[i]->d_name);
			if (d != NULL) {
				free(d->means);		/* a folder "localhost" makes it a domain of its own */
				d->means = NULL;
				read_domain(t, (size_t)(d - t->domain), parent, list[i]->d_name);
			}
		}
		free(list[i]);
	}
	free(list);
	if (parent >= 0)
		(void)close(parent);
}

/* ---- the machine ---- */

static void
add_system_user(struct maps_table *t, uint32_t file, const struct passwd *pw)
{
	struct maps_entry *e;
	struct addr key;

	/* root has no mailbox: nothing is delivered as root.  maps_link.c finds somebody for him. */
	if (pw->pw_uid < SYSTEM_UID_MIN || pw->pw_uid > SYSTEM_UID_MAX)
		return;
	if (pw->pw_dir == NULL || pw->pw_dir[0] != '/' || pw->pw_dir[1] == '\0' ||
	    strcmp(pw->pw_dir, "/nonexistent") == 0 || strlen(pw->pw_dir) > 1000)
		return;
	if (!alias_address(slice_of(pw->pw_name), slice_of(t->host), &key) || !account_local_valid(addr_local(&key)) ||
	    !slice_eq(addr_domain(&key), slice_of(t->host)))
		return;
	e = maps_entry_add(t, addr_text(&key));
	if (e == NULL)
		return;
	e->source = FROM_SYSTEM;
	e->file = file;
	e->has_mailbox = e->system = true;
	e->uid = pw->pw_uid;
	e->gid = pw->pw_gid;
	e->home = strdup(pw->pw_dir);
	if (t->first_user == NULL)
		t->first_user = strdup(e->key);
	if (e->home == NULL || t->first_user == NULL)
		t->no_memory = true;
	t->report->mailboxes++;
}

static void
read_system_users(struct maps_table *t)
{
	uint32_t file = maps_file_add(t, "passwd");
	struct passwd *pw;

	setpwent();
	while ((pw = getpwent()) != NULL && !t->no_memory)
		add_system_user(t, file, pw);
	endpwent();
}

void
maps_read(struct maps_table *t)
{
	uint32_t file;

	read_domains(t);
	if (read_aliases(t, slice_of(t->host), AT_FDCWD, t->conf->aliases, t->conf->aliases, &file) == READ_NONE) {
		maps_problem(t, true, t->conf->aliases, 0, "no such file");
		t->no_aliases = true;
	}
	if (t->conf->system_users)
		read_system_users(t);
}
