/* Entries to routes.cdb and private/accounts.cdb: written beside, synced, renamed. */
#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "accounts.h"
#include "daemon.h"
#include "maps_table.h"
#include "routes_record.h"

#define RECORD_MAX	(17 * 1024 * 1024)

/* One map being written. */
struct output {
	const char	*name, *fresh;	/* its name, and that of the file beside it */
	int		 dirfd;
	int		 fd;		/* -1: not begun */
	struct cdb_make	 make;
	bool		 ok;
};

/* mode and, when we are root, owner are set on the descriptor: nothing is changed by path. */
static bool
output_begin(struct output *o, mode_t mode, uid_t uid, gid_t gid)
{
	if (unlinkat(o->dirfd, o->fresh, 0) != 0 && errno != ENOENT)
		return false;
	o->fd = openat(o->dirfd, o->fresh, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (o->fd < 0)
		return false;
	if (fchmod(o->fd, mode) != 0 || (uid != (uid_t)-1 && fchown(o->fd, uid, gid) != 0))
		return false;
	o->ok = cdb_make_start(&o->make, o->fd) == 0;
	return o->ok;
}

static void
output_put(struct output *o, struct slice key, struct slice value)
{
	if (o->ok && (key.len > UINT32_MAX || value.len > UINT32_MAX ||
	    cdb_make_add(&o->make, key.ptr, (unsigned)key.len, value.len == 0 ? "" : value.ptr, (unsigned)value.len) != 0))
		o->ok = false;
}

/* All on disk, not yet under its name.  cdb_make_finish() also frees, so it is called in any case. */
static bool
output_sync(struct output *o)
{
	if (o->fd < 0)
		return false;
	if (cdb_make_finish(&o->make) != 0)
		o->ok = false;
	return o->ok && fsync(o->fd) == 0;
}

static bool
output_publish(struct output *o)
{
	return renameat(o->dirfd, o->fresh, o->dirfd, o->name) == 0 && fsync(o->dirfd) == 0;
}

static void
output_end(struct output *o)
{
	if (o->fd < 0)
		return;
	(void)close(o->fd);
	(void)unlinkat(o->dirfd, o->fresh, 0);	/* gone already when it was published */
}

/* ---- routes.cdb ---- */

static void
put_key(struct output *o, char kind, struct slice key, struct slice value)
{
	char text[1 + 1024];

	if (key.len > sizeof(text) - 1) {
		o->ok = false;
		errno = ENAMETOOLONG;
		return;
	}
	text[0] = kind;
	if (key.len > 0)
		memcpy(text + 1, key.ptr, key.len);
	output_put(o, slice_make(text, key.len + 1), value);
}

static void
put_route(struct maps_table *t, struct output *o, const struct maps_entry *e, struct buf *record)
{
	struct slice key = slice_of(e->key);
	const struct route_record rec = {
		.flags = (uint8_t)((e->has_mailbox ? ROUTE_HAS_MAILBOX : 0) | (e->has_alias ? ROUTE_HAS_ALIAS : 0) |
		    (e->system ? ROUTE_SYSTEM : 0)),
		.uid = e->uid,
		.gid = e->gid,
		.quota = e->quota,
		.home = slice_of(e->home == NULL ? "" : e->home),
		.mailbox_file = e->file,
		.mailbox_line = e->line,
		.owner = slice_of(e->owner == NULL ? "" : e->owner),
		.targets = buf_slice_of(&e->targets),
		.alias_file = e->alias_file,
		.alias_line = e->alias_line,
	};

	buf_reset(record);
	if (!route_record_put(record, &rec)) {
		t->no_memory = true;
		return;
	}
	if (slice_prefix(&key, "*@"))
		put_key(o, '*', key, buf_slice_of(record));
	else
		put_key(o, 'A', key, buf_slice_of(record));
}

/* The files, commands and :include: files that deliver may be told to use. */
static void
put_actions(struct output *o, const struct maps_entry *e)
{
	struct slice rest = buf_slice_of(&e->targets);
	struct target target;
	struct buf b;

	buf_init(&b, ROUTES_KEY_MAX);
	while (routes_next_target(&rest, &target)) {
		if (target.kind != TARGET_FILE && target.kind != TARGET_COMMAND && target.kind != TARGET_INCLUDE)
			continue;
		buf_reset(&b);
		if (target.kind == TARGET_INCLUDE)
			(void)buf_text(&b, ":include:");
		(void)buf_slice(&b, target.text);
		put_key(o, 'X', buf_slice_of(&b), SLICE(""));
	}
	buf_clear(&b);
}

static void
put_routes(struct maps_table *t, struct output *o)
{
	struct buf record;
	char number[4];

	buf_init(&record, RECORD_MAX);
	put_key(o, 'V', SLICE(""), SLICE(ROUTES_VERSION));
	put_key(o, 'H', SLICE(""), slice_of(t->host));
	for (size_t i = 0; i < t->domain_n; i++) {
		const struct maps_domain *d = &t->domain[i];

		put_key(o, 'D', slice_of(d->name), slice_of(d->means == NULL ? d->name : d->means));
	}
	for (size_t i = 0; i < t->file_n; i++) {
		route_put_u32(number, (uint32_t)i);
		put_key(o, 'F', slice_make(number, sizeof(number)), slice_of(t->file[i]));
	}
	for (size_t i = 0; i < t->n; i++) {
		put_route(t, o, &t->at[i], &record);
		put_actions(o, &t->at[i]);
	}
	buf_clear(&record);
}

/* ---- private/accounts.cdb ---- */

static void
put_accounts(struct maps_table *t, struct output *o)
{
	struct buf key, value;

	buf_init(&key, 1024);
	buf_init(&value, 4096);
	output_put(o, SLICE("V"), SLICE(ACCOUNTS_VERSION));
	for (size_t i = 0; i < t->n; i++) {
		const struct maps_entry *e = &t->at[i];
		const struct account_record rec = {
			.disabled = e->disabled,
			.hash = slice_of(e->hash == NULL ? "" : e->hash),
		};
		struct addr addr;

		if (e->source != FROM_ACCOUNTS)
			continue;
		buf_reset(&key);
		buf_reset(&value);
		if (!addr_parse(slice_of(e->key), &addr) || !account_key_put(&key, &addr) ||
		    !account_record_put(&value, &rec))
			t->no_memory = true;
		output_put(o, buf_slice_of(&key), buf_slice_of(&value));
	}
	if (value.ptr != NULL)
		explicit_bzero(value.ptr, value.size);
	buf_clear(&key);
	buf_clear(&value);
}

/* map_dir/private: 0700, of the account "auth".  A descriptor, or -1. */
static int
open_private(int map_dir, uid_t uid, gid_t gid)
{
	struct stat st;
	int fd;

	if (mkdirat(map_dir, ACCOUNTS_FOLDER, 0700) != 0 && errno != EEXIST)
		return -1;
	fd = openat(map_dir, ACCOUNTS_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0 || ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) != 0) ||
	    (uid != (uid_t)-1 && st.st_uid != uid && fchown(fd, uid, gid) != 0)) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

static bool
write_both(struct maps_table *t, struct output *routes, struct output *accounts, uid_t uid, gid_t gid)
{
	if (!output_begin(accounts, 0600, uid, gid))
		return false;
	put_accounts(t, accounts);
	if (!output_sync(accounts) || !output_begin(routes, 0644, (uid_t)-1, (gid_t)-1))
		return false;
	put_routes(t, routes);
	return output_sync(routes) && !t->no_memory;
}

void
maps_write(struct maps_table *t)
{
	struct output routes = { .name = ROUTES_FILE, .fresh = ROUTES_FILE ".new", .dirfd = -1, .fd = -1 };
	struct output accounts = { .name = ACCOUNTS_FILE, .fresh = ACCOUNTS_FILE ".new", .dirfd = -1, .fd = -1 };
	uid_t uid;
	gid_t gid;

	daemon_account(t->conf, "auth", &uid, &gid);
	routes.dirfd = open(t->conf->map_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	accounts.dirfd = routes.dirfd < 0 ? -1 : open_private(routes.dirfd, uid, gid);
	if (accounts.dirfd < 0 || !write_both(t, &routes, &accounts, uid, gid) ||
	    !output_publish(&accounts) || !output_publish(&routes)) {
		if (!t->no_memory)
			maps_fail(t, EX_CANTCREAT, "%s: cannot write the maps: %s; the old ones stay",
			    t->conf->map_dir, strerror(errno));
	}
	output_end(&routes);
	output_end(&accounts);
	if (accounts.dirfd >= 0)
		(void)close(accounts.dirfd);
	if (routes.dirfd >= 0)
		(void)close(routes.dirfd);
}
