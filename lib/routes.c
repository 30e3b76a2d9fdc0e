#include "routes.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdb_check.h"
#include "routes_record.h"

struct routes {
	int		dirfd;		/* not owned */
	struct cdb	cdb;
	bool		ready;		/* cdb is open; cdb_fileno() is ours */
	struct stat	st;		/* of the file that is open, or that was refused */
	uint64_t	looked_usec;	/* when routes_refresh() last looked; 0 never */
};

struct routes *
routes_open(int map_dirfd)
{
	struct routes *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->dirfd = map_dirfd;
	routes_refresh(r, 1);
	r->looked_usec = 0;
	return r;
}

static void
close_map(struct routes *r)
{
	if (!r->ready)
		return;
	(void)close(cdb_fileno(&r->cdb));
	cdb_free(&r->cdb);
	r->ready = false;
}

void
routes_close(struct routes *r)
{
	if (r == NULL)
		return;
	close_map(r);
	free(r);
}

bool
routes_ready(const struct routes *r)
{
	return r->ready;
}

/* Look a key up.  OK, PERM: not there; TEMP: no map, or it is damaged. */
static enum verdict
look_up(struct routes *r, char kind, struct slice key, struct slice *value)
{
	char text[ROUTES_KEY_MAX];
	const void *data;
	int found;

	if (!r->ready)
		return TEMP;
	if (key.len > sizeof(text) - 1)
		return PERM;
	text[0] = kind;
	if (key.len > 0)
		memcpy(text + 1, key.ptr, key.len);
	found = cdb_find(&r->cdb, text, (unsigned)key.len + 1);
	if (found == 0)
		return PERM;
	if (found < 0)
		return TEMP;
	data = cdb_getdata(&r->cdb);
	if (data == NULL)
		return TEMP;
	*value = slice_make(data, cdb_datalen(&r->cdb));
	return OK;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

bool
routes_take(struct routes *r, int fd)
{
	struct slice version;

	close_map(r);
	if (!cdb_stat(fd, &r->st) || !cdb_check(fd) || cdb_init(&r->cdb, fd) != 0) {
		(void)close(fd);
		return false;
	}
	r->ready = true;
	if (look_up(r, 'V', SLICE(""), &version) == OK && slice_is(version, ROUTES_VERSION))
		return true;
	close_map(r);
	return false;
}

void
routes_refresh(struct routes *r, uint64_t now_usec)
{
	struct stat st;
	int fd;

	if (r->looked_usec != 0 && now_usec >= r->looked_usec && now_usec - r->looked_usec < 1000000)
		return;
	r->looked_usec = now_usec;
	if (fstatat(r->dirfd, ROUTES_FILE, &st, 0) != 0) {
		return;		/* gone: what we have is still good */
	}
	if (same_file(&st, &r->st))
		return;
	fd = openat(r->dirfd, ROUTES_FILE, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0)
		(void)routes_take(r, fd);
}

/* ---- looking up ---- */

/* Is there a map that may be touched?  One that was cut short under us may not: SIGBUS. */
static bool
map_whole(struct routes *r)
{
	if (r->ready && !cdb_check_size(cdb_fileno(&r->cdb), &r->st))
		close_map(r);
	return r->ready;
}

enum verdict
routes_domain(struct routes *r, struct slice domain)
{
	char folded[ADDR_DOMAIN_MAX];
	struct slice value;

	if (!map_whole(r))
		return TEMP;
	if (domain.len > sizeof(folded))
		return PERM;
	for (size_t i = 0; i < domain.len; i++) {
		char c = domain.ptr[i];

		folded[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	return look_up(r, 'D', slice_make(folded, domain.len), &value);
}

bool
routes_default_domain(struct routes *r, struct slice *domain)
{
	return map_whole(r) && look_up(r, 'H', SLICE(""), domain) == OK;
}

/* Fold, and put the domain that it is short for in its place ("localhost"). */
static enum verdict
canonical(struct routes *r, const struct addr *a, struct addr *out)
{
	struct addr folded;
	struct slice domain;
	struct buf b;
	enum verdict v;

	addr_canonical(a, &folded);
	v = look_up(r, 'D', addr_domain(&folded), &domain);
	if (v != OK)
		return v;
	if (slice_eq(domain, addr_domain(&folded))) {
		*out = folded;
		return OK;
	}
	buf_init(&b, ADDR_MAX);
	(void)buf_slice(&b, addr_local(&folded));
	(void)buf_char(&b, '@');
	(void)buf_slice(&b, domain);
	v = !b.full && addr_parse(buf_slice_of(&b), out) ? OK : PERM;
	buf_clear(&b);
	return v;
}

static struct slice
file_name(struct routes *r, uint32_t number)
{
	struct slice name;
	char key[4];

	route_put_u32(key, number);
	if (look_up(r, 'F', slice_make(key, sizeof(key)), &name) != OK)
		return SLICE("");
	return name;
}

static void
fill_mailbox(struct routes *r, const struct route_record *rec, struct route *out)
{
	out->kind = ROUTE_MAILBOX;
	out->system = (rec->flags & ROUTE_SYSTEM) != 0;
	out->home = rec->home;
	out->uid = rec->uid;
	out->gid = rec->gid;
	out->quota = rec->quota;
	out->file = file_name(r, rec->mailbox_file);
	out->line = rec->mailbox_line;
}

static void
fill_alias(struct routes *r, const struct route_record *rec, struct route *out)
{
	out->kind = ROUTE_ALIAS;
	out->targets = rec->targets;
	out->owner = rec->owner;
	out->uid = out->gid = UINT32_MAX;
	out->file = file_name(r, rec->alias_file);
	out->line = rec->alias_line;
}

/* The record of one address, nothing else tried. */
static enum verdict
find_exact(struct routes *r, const struct addr *key, bool mailbox_only, struct route *out)
{
	struct route_record rec;
	struct slice data;
	enum verdict v = look_up(r, 'A', addr_text(key), &data);
	bool mailbox, alias;

	if (v != OK)
		return v;
	if (!route_record_get(data, &rec))
		return TEMP;
	mailbox = (rec.flags & ROUTE_HAS_MAILBOX) != 0;
	alias = (rec.flags & ROUTE_HAS_ALIAS) != 0 && !mailbox_only;
	out->key = *key;
	if (mailbox && !(alias && (rec.flags & ROUTE_SYSTEM) != 0))
		fill_mailbox(r, &rec, out);
	else if (alias)
		fill_alias(r, &rec, out);
	else
		return PERM;
	return OK;
}

static enum verdict
find_catchall(struct routes *r, const struct addr *a, struct route *out)
{
	struct route_record rec;
	struct slice data;
	struct buf b;
	enum verdict v = look_up(r, '*', addr_domain(a), &data);

	if (v != OK)
		return v;
	if (!route_record_get(data, &rec) || (rec.flags & ROUTE_HAS_ALIAS) == 0)
		return TEMP;
	fill_alias(r, &rec, out);
	out->kind = ROUTE_CATCHALL;
	buf_init(&b, ADDR_MAX);
	(void)buf_text(&b, "*@");
	(void)buf_slice(&b, addr_domain(a));
	v = !b.full && addr_parse(buf_slice_of(&b), &out->key) ? OK : TEMP;
	buf_clear(&b);
	return v;
}

/* The last len octets of the local part as given: folding keeps lengths, taking off quotes does not. */
static struct slice
detail_as_given(struct slice local, size_t len)
{
	if (local.len > 1 && local.ptr[0] == '"')
		local.len--;
	return len <= local.len ? slice_sub(local, local.len - len, len) : SLICE("");
}

static enum verdict
find(struct routes *r, const struct addr *a, bool mailbox_only, struct route *out)
{
	struct addr key, base;
	struct slice detail;
	enum verdict v;

	*out = (struct route){ 0 };
	if (!map_whole(r))
		return TEMP;
	v = canonical(r, a, &key);
	if (v != OK)
		return v;
	v = find_exact(r, &key, mailbox_only, out);
	if (v == PERM && addr_detail(&key, &base, &detail)) {
		v = find_exact(r, &base, mailbox_only, out);
		if (v == OK)
			out->detail = detail_as_given(addr_local(a), detail.len);
	}
	if (v == PERM && !mailbox_only)
		v = find_catchall(r, &key, out);
	return v;
}

enum verdict
routes_find(struct routes *r, const struct addr *a, struct route *out)
{
	return find(r, a, false, out);
}

enum verdict
routes_find_mailbox(struct routes *r, const struct addr *a, struct route *out)
{
	return find(r, a, true, out);
}

enum verdict
routes_action(struct routes *r, struct slice action)
{
	struct slice value;

	return map_whole(r) ? look_up(r, 'X', action, &value) : TEMP;
}
