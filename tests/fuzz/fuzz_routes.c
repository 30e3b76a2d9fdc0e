/*
 * A routes.cdb that somebody damaged (V21): look-ups end, and read nothing
 * outside of it.  The first octet chooses: the input is the map itself, or
 * changes to a good one (place, octet).
 */
#include <cdb.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "expand.h"
#include "routes_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char good[16384];
static size_t good_len;

static void
put(struct cdb_make *make, const char *key, size_t key_len, const struct buf *value)
{
	if (cdb_make_add(make, key, (unsigned)key_len, value->len == 0 ? "" : value->ptr, (unsigned)value->len) != 0)
		abort();
}

static void
put_alias(struct cdb_make *make, const char *key, const char *to, const char *owner)
{
	struct route_record rec = { .flags = ROUTE_HAS_ALIAS, .owner = slice_of(owner) };
	struct buf targets, record;

	buf_init(&targets, 1000);
	buf_init(&record, 1000);
	(void)route_target_put(&targets, TARGET_ADDRESS, slice_of(to));
	(void)route_target_put(&targets, TARGET_INCLUDE, SLICE("/etc/list"));
	rec.targets = buf_slice_of(&targets);
	(void)route_record_put(&record, &rec);
	put(make, key, strlen(key), &record);
	buf_clear(&targets);
	buf_clear(&record);
}

static void
make_good(void)
{
	struct route_record rec = { .flags = ROUTE_HAS_MAILBOX, .home = SLICE("d.example/bob"), .uid = 1, .quota = 5 };
	struct cdb_make make;
	struct buf b;
	int fd = memfd_create("good", MFD_CLOEXEC);

	if (fd < 0 || cdb_make_start(&make, fd) != 0)
		abort();
	buf_init(&b, 1000);
	(void)buf_text(&b, ROUTES_VERSION);
	put(&make, "V", 1, &b);
	buf_reset(&b);
	(void)buf_text(&b, "d.example");
	put(&make, "H", 1, &b);
	put(&make, "Dd.example", 10, &b);
	put(&make, "Dlocalhost", 10, &b);
	buf_reset(&b);
	(void)route_record_put(&b, &rec);
	put(&make, "Abob@d.example", 14, &b);
	put_alias(&make, "Alist@d.example", "bob@d.example", "owner-list@d.example");
	put_alias(&make, "Aloop@d.example", "loop2@d.example", "");
	put_alias(&make, "Aloop2@d.example", "loop@d.example", "");
	put_alias(&make, "*d.example", "bob@d.example", "");
	if (cdb_make_finish(&make) != 0)
		abort();
	good_len = (size_t)lseek(fd, 0, SEEK_END);
	if (good_len > sizeof(good) || pread(fd, good, good_len, 0) != (ssize_t)good_len)
		abort();
	(void)close(fd);
	buf_clear(&b);
}

static enum verdict
include(void *ctx, const struct route *user, struct slice path, struct buf *out)
{
	(void)ctx;
	(void)user;
	(void)path;
	return buf_text(out, "x@else.example\n") ? OK : TEMP;
}

static void
ask(struct routes *r, const char *text)
{
	const struct expand_ops ops = { .include = include };
	struct expansion e;
	struct target t;
	struct route route;
	struct addr a;

	if (!addr_parse(slice_of(text), &a))
		abort();
	(void)routes_domain(r, addr_domain(&a));
	if (routes_find(r, &a, &route) == OK)
		while (routes_next_target(&route.targets, &t))
			if (t.text.len == 0)
				abort();
	(void)routes_find_mailbox(r, &a, &route);
	(void)routes_may_send(r, SLICE("bob@d.example"), &a);
	if (expand_address(r, &a, &ops, &e) != OK && e.why[0] == '\0')
		abort();
	expansion_clear(&e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const addrs[] = {
		"bob@d.example", "bob+x@d.example", "list@d.example", "loop@d.example", "any@localhost", "x@else.example",
	};
	char map[sizeof(good)];
	struct routes *r;
	size_t len;
	int fd;

	if (good_len == 0)
		make_good();
	if (size == 0)
		return 0;
	if (data[0] & 1) {
		len = size - 1 < sizeof(map) ? size - 1 : sizeof(map);
		memcpy(map, data + 1, len);
	} else {
		len = good_len;
		memcpy(map, good, len);
		for (size_t i = 1; i + 2 < size; i += 3)
			map[(data[i] | (size_t)data[i + 1] << 8) % len] = (char)data[i + 2];
		if (data[0] & 2)
			len -= data[0] >> 2;
	}
	fd = memfd_create("map", MFD_CLOEXEC);
	if (fd < 0 || write(fd, map, len) != (ssize_t)len)
		abort();
	r = routes_open(-1);
	if (r == NULL)
		abort();
	(void)routes_take(r, fd);
	for (size_t i = 0; i < LEN(addrs); i++)
		ask(r, addrs[i]);
	routes_close(r);
	return 0;
}
