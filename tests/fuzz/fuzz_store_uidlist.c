/* The index file: whatever it holds, it is read, mended, appended to and compacted, and
 * UIDs go on growing. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/uidlist.h"
#include "store/uidlist_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int dir = -1;
static char path[] = "/dev/shm/pp-fuzz-uidlist.XXXXXX";

static void
clean_up(void)
{
	(void)unlinkat(dir, UIDLIST_FILE, 0);
	(void)rmdir(path);
}

struct state {
	uint32_t	highest;	/* UID seen */
	uint64_t	modseq;		/* highest seen */
};

static void
take(void *ctx, const struct uidlist_record *r)
{
	struct state *s = ctx;
	struct slice past = r->past;
	struct uidlist_past p;

	if (r->type == UIDLIST_ADD && r->uid > s->highest)
		s->highest = r->uid;
	if (r->type == UIDLIST_ADD && (r->name.len == 0 || r->name.len > 255))
		abort();
	if (r->modseq == 0 || r->modseq > INT64_MAX)
		abort();
	if (r->modseq > s->modseq)
		s->modseq = r->modseq;
	while (uidlist_past_next(&past, &p))
		;
}

/* The input behind a good header and, so that the fuzzer gets past the checksums, with right
 * ones where an octet asks for it. */
static void
write_file(const uint8_t *data, size_t size)
{
	struct uidlist u = { .uidvalidity = 1, .uidnext = 1, .recent = 1, .seed = 7 };
	struct buf b;
	char header[UIDLIST_HEADER];
	int fd = openat(dir, UIDLIST_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	buf_init(&b, 1 << 20);
	uidlist_put_header(&u, header);
	(void)buf_put(&b, header, sizeof(header));
	while (size > 2) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;
		struct uidlist_record r = {
			.type = data[0] % 10 == 0 ? UIDLIST_ADD : (enum uidlist_type)(data[0] % 10),
			.uid = data[0] >> 3, .name = slice_make(data + 2, len), .crlf_size = len,
		};

		u.uidnext += data[0] & 1;
		if (r.type == UIDLIST_PAST || r.type == UIDLIST_VANISHED || r.type == UIDLIST_SYNC)
			r.past = r.name;
		else if (len >= 8)
			memcpy(&r.modseq, data + 2, 8);
		if (data[0] == 255 || len == 0)
			(void)buf_put(&b, data + 2, len);
		else
			uidlist_put_record(&u, &b, &r);
		data += 2 + len;
		size -= 2 + len;
	}
	(void)buf_put(&b, data, size);
	if (write(fd, b.ptr, b.len) != (ssize_t)b.len)
		abort();
	(void)close(fd);
	buf_clear(&b);
}

static void
mend(struct uidlist *u, struct state *s)
{
	bool replaced;

	if (uidlist_lock(u, &replaced) != STORE_OK || uidlist_repair(u, &replaced) != STORE_OK)
		abort();
	if (uidlist_read(u, take, s) != STORE_OK || u->damaged)
		abort();
	uidlist_unlock(u);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct state s = { 0 }, again = { 0 };
	struct uidlist_vanished *gone;
	uint64_t floor;
	size_t n;
	struct uidlist u;
	struct buf b;
	bool replaced, known;
	uint32_t uid;

	if (dir < 0) {
		if (mkdtemp(path) == NULL)
			abort();
		dir = open(path, O_RDONLY | O_DIRECTORY);
		(void)atexit(clean_up);
	}
	write_file(data, size);
	if (uidlist_open(&u, dir) != STORE_OK || uidlist_read(&u, take, &s) != STORE_OK)
		abort();
	if (u.damaged)
		mend(&u, &s);
	(void)uidlist_knows(&u, (struct qid){ 1 }, 1, &known);
	buf_init(&b, 1000);
	if (uidlist_lock(&u, &replaced) != STORE_OK || !uidlist_tail(&u))
		abort();
	if (u.uidnext < UINT32_MAX) {
		uid = uidlist_put_add(&u, &b, SLICE("name"), 0, 0, 0, false);
		if (uid <= s.highest && s.highest < UINT32_MAX)
			abort();
	}
	if (uidlist_append(&u, &b) != STORE_OK || uidlist_rewrite(&u) != STORE_OK)
		abort();
	buf_clear(&b);
	uidlist_close(&u);
	if (uidlist_open(&u, dir) != STORE_OK || uidlist_read(&u, take, &again) != STORE_OK || u.damaged)
		abort();
	if (u.modseq < s.modseq || uidlist_vanished(&u, 0, &gone, &n, &floor) != STORE_OK)
		abort();
	for (size_t i = 1; i < n; i++) {
		if (gone[i].from <= gone[i - 1].from + (gone[i - 1].n - 1))
			abort();
	}
	free(gone);
	if (u.uidnext <= again.highest && u.uidnext != UINT32_MAX)
		abort();
	uidlist_close(&u);
	return 0;
}
