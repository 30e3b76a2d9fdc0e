/* store: check finds what is not as the files say, repair and rebuild make it good; a rebuilt index
 * says what the live one said, whatever was done before. */
#include "store_fixture.h"

#include "store/store_int.h"

static int
setup(void **state)
{
	struct fixture *x = malloc(sizeof(*x));

	fixture_open(x, 0);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	fixture_close(*state);
	free(*state);
	return 0;
}

static struct store_check
check(struct fixture *x)
{
	struct store_check c;

	assert_int_equal(store_check(x->s, SLICE("INBOX"), &c), STORE_OK);
	return c;
}

static void
what_is_wrong_is_found_and_mended(void **state)
{
	struct fixture *x = *state;
	struct store_check c;
	char to[700];
	int fd;

	c = check(x);
	assert_true(c.no_index && !store_check_good(&c));
	for (int i = 0; i < 4; i++)
		(void)add_message(x->s, "INBOX", "Subject: x\r\n\r\nx\r\n");
	store_folder_close(open_view(x->s, "INBOX", false));
	c = check(x);
	assert_true(store_check_good(&c));
	assert_int_equal(c.files, 4);
	assert_int_equal(c.cached, 4);
	put_file(x, "cur/1.foreign.h:2,", "Subject: y\r\n\r\ny\r\n");
	(void)snprintf(to, sizeof(to), "%s", find_file(x, "cur", "S="));
	(void)strcat(to, "F");
	assert_int_equal(renameat(x->dir, find_file(x, "cur", "S="), x->dir, to), 0);
	c = check(x);
	assert_int_equal(c.unknown, 1);
	assert_int_equal(c.letters, 1);
	assert_int_equal(c.missing, 0);
	assert_int_equal(unlinkat(x->dir, to, 0), 0);
	c = check(x);
	assert_int_equal(c.missing, 1);
	assert_int_equal(c.letters, 0);
	fd = openat(x->dir, CACHE_FILE, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 100), 1);
	(void)close(fd);
	assert_true(check(x).cache_damaged);
	fd = openat(x->dir, UIDLIST_FILE, O_WRONLY);
	assert_int_equal(pwrite(fd, "damage", 6, UIDLIST_HEADER + 40), 6);
	(void)close(fd);
	assert_true(check(x).damaged);
	assert_int_equal(store_repair(x->s, SLICE("INBOX"), false), STORE_OK);
	c = check(x);
	assert_true(store_check_good(&c));
	assert_int_equal(c.files, 4);
	assert_int_equal(c.cached, 4);
}

/* ---- rebuilt equals live ---- */

static void
print_view(struct store *s, struct buf *out)
{
	struct store_folder *f = open_view(s, "INBOX", true);
	struct store_range *gone;
	size_t n;
	bool exact;

	(void)buf_fmt(out, "%u %u %llu\n", store_folder_uidvalidity(f), store_folder_uidnext(f),
	    (unsigned long long)store_folder_highestmodseq(f));
	for (uint32_t seq = 1; seq <= store_folder_count(f); seq++) {
		const struct store_message *m = store_folder_at(f, seq);
		char id[STORE_ID_MAX];
		struct slice text;
		uint64_t size;
		int64_t date, saved = 0;

		store_message_id(f, seq, id);
		(void)store_message_saved(f, seq, &saved);
		assert_int_equal(store_message_size(f, seq, &size), STORE_OK);
		assert_int_equal(store_message_date(f, seq, &date), STORE_OK);
		(void)buf_fmt(out, "%u %x %x %llu %s %llu %lld %lld ", m->uid, m->flags & STORE_FLAGS_IMAP, m->keywords,
		    (unsigned long long)m->modseq, id, (unsigned long long)size, (long long)date, (long long)saved);
		for (int kind = 0; kind < STORE_CACHED_KINDS; kind++) {
			assert_true(store_message_cached(f, seq, (enum store_cached)kind, &text, NULL));
			(void)buf_slice(out, text);
		}
		(void)buf_char(out, '\n');
	}
	assert_int_equal(store_folder_vanished(f, 1, &gone, &n, &exact), STORE_OK);
	for (size_t i = 0; i < n; i++)
		(void)buf_fmt(out, "%u:%u ", gone[i].from, gone[i].to);
	(void)buf_fmt(out, "%d\n", exact);
	free(gone);
	store_folder_close(f);
}

static void
random_step(struct store *s, struct store_folder *f, unsigned n)
{
	uint32_t seq = store_folder_count(f) == 0 ? 0 : 1 + (uint32_t)rand() % store_folder_count(f);
	uint32_t uid = seq == 0 ? 0 : store_folder_at(f, seq)->uid, uidvalidity;
	struct store_pair pair;
	struct store_group *g;
	char text[200];
	size_t moved;

	switch (seq == 0 ? 0 : rand() % 7) {
	case 0: case 1:
		(void)snprintf(text, sizeof(text), "Subject: number %u\r\nFrom: a@b\r\n\r\ntext %u\r\n", n, n);
		(void)add_message(s, "INBOX", text);
		break;
	case 2: case 3:
		assert_int_equal(set_flags(f, rand() % 2 ? STORE_ADD : STORE_REPLACE, uid, 1u << (rand() % 5),
		    rand() % 3 ? NULL : "word"), STORE_OK);
		break;
	case 4:
		assert_int_equal(store_folder_remove(f, &uid, 1), STORE_OK);
		break;
	case 5:
		g = store_group_new(STORE_ALL);
		(void)store_group_copy(g, f, uid, SLICE("INBOX"));
		assert_int_equal(store_group_commit(g), STORE_OK);
		store_group_free(g);
		break;
	case 6:
		assert_int_equal(store_folder_move(f, &uid, 1, SLICE("Trash"), &pair, &moved, &uidvalidity), STORE_OK);
		break;
	}
	assert_int_equal(store_folder_refresh(f, STORE_REFRESH_EXPUNGE, &(struct store_changes){ 0 }), STORE_OK);
}

static void
a_rebuilt_index_equals_the_live_one(void **state)
{
	struct fixture *x = *state;

	srand(7);
	for (unsigned round = 0; round < 6; round++) {
		struct store_folder *f = open_view(x->s, "INBOX", false);
		struct store_check c;
		struct buf live, rebuilt;

		for (unsigned i = 0; i < 40; i++)
			random_step(x->s, f, round * 100 + i);
		store_folder_close(f);
		buf_init(&live, 1 << 20);
		buf_init(&rebuilt, 1 << 20);
		print_view(x->s, &live);
		c = check(x);
		assert_true(store_check_good(&c));
		assert_int_equal(store_repair(x->s, SLICE("INBOX"), true), STORE_OK);
		c = check(x);
		assert_true(store_check_good(&c));
		print_view(x->s, &rebuilt);
		if (strcmp(buf_cstr(&live), buf_cstr(&rebuilt)) != 0)
			fail_msg("live:\n%srebuilt:\n%s", buf_cstr(&live), buf_cstr(&rebuilt));
		buf_clear(&live);
		buf_clear(&rebuilt);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_wrong_is_found_and_mended, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rebuilt_index_equals_the_live_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
