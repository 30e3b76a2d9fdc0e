/* store: the index of a folder survives torn and damaged files without using a UID twice (P8). */
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/uidlist.h"

struct index {
	char		path[64];
	int		dir;
	struct uidlist	u;
};

static int
setup(void **state)
{
	struct index *x = calloc(1, sizeof(*x));

	(void)snprintf(x->path, sizeof(x->path), "/tmp/pp-uidlist.XXXXXX");
	assert_non_null(mkdtemp(x->path));
	x->dir = open(x->path, O_RDONLY | O_DIRECTORY);
	assert_int_equal(uidlist_create(x->dir, 77, false), STORE_OK);
	assert_int_equal(uidlist_open(&x->u, x->dir), STORE_OK);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct index *x = *state;

	uidlist_close(&x->u);
	(void)unlinkat(x->dir, UIDLIST_FILE, 0);
	(void)close(x->dir);
	(void)rmdir(x->path);
	free(x);
	return 0;
}

/* ---- what is in it ---- */

struct content {
	uint32_t	uid[5000];
	char		name[5000][64];
	bool		gone[5000];
	size_t		n;
	size_t		past;
};

static void
take(void *ctx, const struct uidlist_record *r)
{
	struct content *c = ctx;
	struct slice past = r->past;
	struct uidlist_past p;

	if (r->type == UIDLIST_ADD) {
		c->uid[c->n] = r->uid;
		assert_true(slice_text(r->name, c->name[c->n++], 64));
	}
	for (size_t i = 0; r->type == UIDLIST_GONE && i < c->n; i++)
		c->gone[i] |= c->uid[i] == r->uid;
	while (r->type == UIDLIST_PAST && uidlist_past_next(&past, &p))
		c->past++;
}

/* As a process does that comes anew: read; if that stops, lock and repair. */
static struct content *
read_index(struct index *x)
{
	struct content *c = calloc(1, sizeof(*c));
	bool replaced = false;

	uidlist_close(&x->u);
	assert_int_equal(uidlist_open(&x->u, x->dir), STORE_OK);
	assert_int_equal(uidlist_read(&x->u, take, c), STORE_OK);
	if (x->u.damaged) {
		assert_int_equal(uidlist_lock(&x->u, &replaced), STORE_OK);
		assert_int_equal(uidlist_repair(&x->u, &replaced), STORE_OK);
		uidlist_unlock(&x->u);
		memset(c, 0, sizeof(*c));
		uidlist_close(&x->u);
		assert_int_equal(uidlist_open(&x->u, x->dir), STORE_OK);
		assert_int_equal(uidlist_read(&x->u, take, c), STORE_OK);
	}
	assert_false(x->u.damaged);
	return c;
}

static uint32_t
append(struct index *x, const char *name)
{
	struct buf b;
	bool replaced;
	uint32_t uid;

	buf_init(&b, 1000);
	assert_int_equal(uidlist_lock(&x->u, &replaced), STORE_OK);
	assert_true(uidlist_tail(&x->u));
	uid = uidlist_put_add(&x->u, &b, slice_of(name), 5, 6, 7, true);
	assert_int_equal(uidlist_append(&x->u, &b), STORE_OK);
	uidlist_unlock(&x->u);
	buf_clear(&b);
	return uid;
}

static void
fill(struct index *x, size_t n)
{
	for (size_t i = 1; i <= n; i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%zu.M1P2Q3.host", i);
		assert_int_equal(append(x, name), i);
	}
}

static void
gone(struct index *x, uint32_t uid)
{
	struct buf b;
	bool replaced;

	buf_init(&b, 1000);
	assert_int_equal(uidlist_lock(&x->u, &replaced), STORE_OK);
	assert_true(uidlist_tail(&x->u));
	uidlist_put_gone(&x->u, &b, uid, time(NULL));
	assert_int_equal(uidlist_append(&x->u, &b), STORE_OK);
	uidlist_unlock(&x->u);
	buf_clear(&b);
}

static struct buf
file_octets(struct index *x)
{
	struct stat st;
	struct buf b;

	assert_int_equal(fstat(x->u.fd, &st), 0);
	buf_init(&b, (size_t)st.st_size);
	assert_int_equal(pread(x->u.fd, buf_room(&b, (size_t)st.st_size), (size_t)st.st_size, 0), st.st_size);
	buf_add(&b, (size_t)st.st_size);
	return b;
}

/* ---- tests ---- */

static void
appended_and_read(void **state)
{
	struct index *x = *state;
	struct content *c;

	fill(x, 300);
	gone(x, 17);
	c = read_index(x);
	assert_int_equal(c->n, 300);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(c->uid[i], i + 1);
	assert_string_equal(c->name[16], "17.M1P2Q3.host");
	assert_true(c->gone[16] && !c->gone[15]);
	assert_int_equal(x->u.uidnext, 301);
	assert_int_equal(x->u.uidvalidity, 77);
	free(c);
}

/* A write that was cut anywhere: the whole records stay, UIDNEXT is above what the rest may have held. */
static void
torn_at_every_octet(void **state)
{
	struct index *x = *state;
	struct buf whole;

	fill(x, 6);
	whole = file_octets(x);
	for (size_t cut = UIDLIST_HEADER + 1; cut < whole.len; cut++) {
		struct content *c;
		size_t had;
		uint32_t next;

		assert_int_equal(ftruncate(x->u.fd, (off_t)cut), 0);
		c = read_index(x);
		had = c->n;
		for (size_t i = 0; i < had; i++)
			assert_int_equal(c->uid[i], i + 1);
		free(c);
		next = append(x, "new");
		check_row(cut, next > had && next >= x->u.uidnext - 1);
		c = read_index(x);
		check_row(cut, c->n == had + 1 && c->uid[had] == next);
		free(c);
		assert_int_equal(pwrite(x->u.fd, whole.ptr, whole.len, 0), whole.len);
		assert_int_equal(ftruncate(x->u.fd, (off_t)whole.len), 0);
	}
	buf_clear(&whole);
}

/* One octet wrong anywhere: at most the record it is in is lost, no UID is given again. */
static void
damaged_at_every_octet(void **state)
{
	struct index *x = *state;
	struct buf whole;

	fill(x, 6);
	whole = file_octets(x);
	for (size_t at = UIDLIST_HEADER; at < whole.len; at++) {
		char wrong = (char)(whole.ptr[at] ^ 0x20);
		struct content *c;

		assert_int_equal(pwrite(x->u.fd, &wrong, 1, (off_t)at), 1);
		c = read_index(x);
		check_row(at, c->n == 5);
		check_row(at, x->u.uidnext >= 7 && x->u.uidvalidity == 77);
		free(c);
		/* all of it back; the file may be another by now */
		uidlist_close(&x->u);
		assert_int_equal(uidlist_open(&x->u, x->dir), STORE_OK);
		assert_int_equal(pwrite(x->u.fd, whole.ptr, whole.len, 0), whole.len);
		assert_int_equal(ftruncate(x->u.fd, (off_t)whole.len), 0);
		uidlist_close(&x->u);
		assert_int_equal(uidlist_open(&x->u, x->dir), STORE_OK);
	}
	buf_clear(&whole);
}

static void
header_damaged(void **state)
{
	struct index *x = *state;
	struct uidlist u;

	for (off_t at = 0; at < UIDLIST_HEADER; at++) {
		char was, wrong;

		assert_int_equal(pread(x->u.fd, &was, 1, at), 1);
		wrong = (char)(was ^ 1);
		assert_int_equal(pwrite(x->u.fd, &wrong, 1, at), 1);
		check_row(at, uidlist_open(&u, x->dir) == STORE_EXISTS);
		assert_int_equal(pwrite(x->u.fd, &was, 1, at), 1);
	}
	assert_int_equal(uidlist_create(x->dir, 78, true), STORE_OK);
	assert_int_equal(uidlist_open(&u, x->dir), STORE_OK);
	assert_int_equal(u.uidvalidity, 78);
	uidlist_close(&u);
	assert_int_equal(uidlist_changed(&x->u), UIDLIST_REPLACED);
	assert_int_equal(uidlist_create(x->dir, 79, false), STORE_OK);	/* another was quicker */
	assert_int_equal(uidlist_open(&u, x->dir), STORE_OK);
	assert_int_equal(u.uidvalidity, 78);
	uidlist_close(&u);
}

/* A record of another file of the same name, left on the disk, is no record of this. */
static void
records_belong_to_their_file(void **state)
{
	struct index *x = *state;
	struct uidlist_record r;
	struct buf whole;

	fill(x, 1);
	whole = file_octets(x);
	assert_true(uidlist_parse(x->u.seed, slice_sub(buf_slice_of(&whole), UIDLIST_HEADER, whole.len), &r) > 0);
	assert_int_equal(uidlist_parse(x->u.seed + 1, slice_sub(buf_slice_of(&whole), UIDLIST_HEADER, whole.len), &r), 0);
	buf_clear(&whole);
}

static void
compacted(void **state)
{
	struct index *x = *state;
	struct content *c;
	struct buf queued;
	char name[64];
	bool replaced, known;
	const struct qid qid = { UINT64_C(1700000000) * 1000000 * QID_PER_USEC };

	fill(x, 2000);
	buf_init(&queued, 200);
	(void)buf_text(&queued, "1700000000.Q");
	(void)buf_text(&queued, qid_print(qid, name));
	(void)buf_text(&queued, "R5.host");
	assert_int_equal(append(x, buf_cstr(&queued)), 2001);
	buf_clear(&queued);
	for (uint32_t uid = 1; uid <= 2001; uid++) {
		if (uid % 10 != 0)
			gone(x, uid);
	}
	free(read_index(x));
	assert_int_equal(uidlist_compact(&x->u, &replaced), STORE_OK);
	assert_true(replaced);
	c = read_index(x);
	assert_int_equal(c->n, 200);
	assert_int_equal(c->uid[0], 10);
	assert_int_equal(c->past, 1);		/* of the dead only the queue id is worth keeping */
	assert_int_equal(x->u.uidnext, 2002);
	assert_int_equal(uidlist_knows(&x->u, qid, 5, &known), STORE_OK);
	assert_true(known);
	assert_int_equal(uidlist_knows(&x->u, qid, 6, &known), STORE_OK);
	assert_false(known);
	assert_int_equal(append(x, "next"), 2002);
	free(c);
	assert_int_equal(uidlist_compact(&x->u, &replaced), STORE_OK);
	assert_false(replaced);
}

/* A second process that had the old file open goes over to the new one. */
static void
lock_follows(void **state)
{
	struct index *x = *state;
	struct uidlist other;
	bool replaced;

	fill(x, 600);
	for (uint32_t uid = 1; uid <= 600; uid++)
		gone(x, uid);
	assert_int_equal(uidlist_open(&other, x->dir), STORE_OK);
	assert_int_equal(uidlist_lock(&other, &replaced), STORE_OK);
	assert_false(replaced);
	uidlist_unlock(&other);
	free(read_index(x));
	assert_int_equal(uidlist_compact(&x->u, &replaced), STORE_OK);
	assert_true(replaced);
	assert_int_equal(uidlist_lock(&other, &replaced), STORE_OK);
	assert_true(replaced);
	assert_true(uidlist_tail(&other));
	assert_int_equal(other.uidnext, 601);
	uidlist_close(&other);
}

static void
records_have_limits(void **state)
{
	struct index *x = *state;
	char name[256];
	struct uidlist_record r;
	struct buf b;

	memset(name, 'n', 255);
	name[255] = '\0';
	buf_init(&b, 10000);
	(void)uidlist_put_add(&x->u, &b, slice_of(name), -1, UINT64_MAX, UINT64_MAX, false);
	assert_int_equal(uidlist_parse(x->u.seed, buf_slice_of(&b), &r), b.len);
	assert_int_equal(r.name.len, 255);
	assert_int_equal(r.when, -1);
	assert_true(r.size == UINT64_MAX && !r.synced);
	for (size_t cut = 0; cut < b.len; cut++)
		check_row(cut, uidlist_parse(x->u.seed, slice_make(b.ptr, cut), &r) == 0);
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(appended_and_read, setup, teardown),
		cmocka_unit_test_setup_teardown(torn_at_every_octet, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged_at_every_octet, setup, teardown),
		cmocka_unit_test_setup_teardown(header_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(records_belong_to_their_file, setup, teardown),
		cmocka_unit_test_setup_teardown(compacted, setup, teardown),
		cmocka_unit_test_setup_teardown(lock_follows, setup, teardown),
		cmocka_unit_test_setup_teardown(records_have_limits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
