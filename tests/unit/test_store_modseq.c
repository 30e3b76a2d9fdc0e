/* store: mod-sequences (RFC 7162), what is gone since when, object ids and save dates. */
#include "store_fixture.h"

#include <time.h>

#include "crc32c.h"
#include "store/uidlist.h"

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

static void
quiet_refresh(struct store_folder *f)
{
	assert_int_equal(store_folder_refresh(f, STORE_REFRESH_EXPUNGE, &(struct store_changes){ 0 }), STORE_OK);
}

static uint64_t
modseq_of(const struct store_folder *f, uint32_t uid)
{
	const struct store_message *m = store_folder_at(f, store_folder_seq(f, uid));

	assert_int_equal(m->uid, uid);
	return m->modseq;
}

static void
every_change_gets_a_higher_one_that_all_see(void **state)
{
	struct fixture *x = *state;
	struct store *other = fixture_store(x);
	struct store_folder *f = open_view(x->s, "INBOX", false), *g = open_view(other, "INBOX", false);
	uint64_t last = store_folder_highestmodseq(f), now;

	for (uint32_t uid = 1; uid <= 3; uid++) {
		assert_int_equal(add_message(x->s, "INBOX", "a\r\n"), uid);
		quiet_refresh(f);
		quiet_refresh(g);
		now = store_folder_highestmodseq(f);
		check_row(uid, now > last && store_folder_highestmodseq(g) == now);
		check_row(uid, modseq_of(f, uid) == now && modseq_of(g, uid) == now);
		last = now;
	}
	/* One of ours; one that the other makes; the same again, which changes nothing. */
	assert_int_equal(set_flags(f, STORE_ADD, 2, STORE_SEEN, NULL), STORE_OK);
	assert_true(modseq_of(f, 2) > last);
	check_refresh(g, 0, "f2 ");
	check_refresh(f, 0, "");
	assert_true(modseq_of(g, 2) == modseq_of(f, 2));
	last = modseq_of(f, 2);
	assert_int_equal(set_flags(g, STORE_ADD, 1, 0, "word"), STORE_OK);
	quiet_refresh(f);
	assert_true(modseq_of(f, 1) > last && modseq_of(g, 1) == modseq_of(f, 1));
	last = store_folder_highestmodseq(f);
	assert_int_equal(set_flags(f, STORE_ADD, 1, 0, "word"), STORE_OK);
	assert_true(store_folder_highestmodseq(f) == last && modseq_of(f, 3) < last);
	store_folder_close(f);
	store_folder_close(g);
	store_close(other);
}

static void
what_another_tool_renames_is_numbered_once(void **state)
{
	struct fixture *x = *state;
	struct store *other = fixture_store(x);
	struct store_folder *f = open_view(x->s, "INBOX", false), *g = open_view(other, "INBOX", false);
	char to[700];
	uint64_t before;

	(void)add_message(x->s, "INBOX", "a\r\n");
	quiet_refresh(f);
	quiet_refresh(g);
	before = modseq_of(f, 1);
	(void)snprintf(to, sizeof(to), "%s", find_file(x, "cur", ":2,"));
	(void)strcat(to, "FS");
	assert_int_equal(renameat(x->dir, find_file(x, "cur", ":2,"), x->dir, to), 0);
	check_refresh(f, 0, "f1 ");
	check_refresh(g, 0, "f1 ");
	assert_true(modseq_of(f, 1) > before && modseq_of(g, 1) == modseq_of(f, 1));
	before = modseq_of(f, 1);
	store_folder_close(g);
	g = open_view(other, "INBOX", true);
	assert_true(modseq_of(g, 1) == before && store_folder_highestmodseq(g) == before);
	store_folder_close(f);
	store_folder_close(g);
	store_close(other);
}

static void
changes_can_be_conditional(void **state)
{
	struct fixture *x = *state;
	struct store *other = fixture_store(x);
	struct store_folder *f, *g;
	uint32_t uid[3] = { 1, 2, 3 }, failed[3];
	size_t failed_n = 99;
	struct store_flags c = { .change = STORE_ADD, .flags = STORE_FLAGGED, .conditional = true,
	    .failed = failed, .failed_n = &failed_n };

	for (int i = 0; i < 3; i++)
		(void)add_message(x->s, "INBOX", "a\r\n");
	f = open_view(x->s, "INBOX", false);
	g = open_view(other, "INBOX", false);
	c.unchangedsince = store_folder_highestmodseq(f);
	assert_int_equal(set_flags(g, STORE_ADD, 2, STORE_SEEN, NULL), STORE_OK);	/* f was not told */
	assert_int_equal(store_folder_flags(f, uid, 3, &c), STORE_OK);
	assert_int_equal(failed_n, 1);
	assert_int_equal(failed[0], 2);
	quiet_refresh(f);
	assert_int_equal(store_folder_at(f, 1)->flags & STORE_FLAGGED, STORE_FLAGGED);
	assert_int_equal(store_folder_at(f, 2)->flags & STORE_FLAGGED, 0);
	assert_int_equal(store_folder_at(f, 3)->flags & STORE_FLAGGED, STORE_FLAGGED);
	c.unchangedsince = 0;
	assert_int_equal(store_folder_flags(f, uid, 3, &c), STORE_OK);
	assert_int_equal(failed_n, 3);
	c.unchangedsince = store_folder_highestmodseq(f);
	assert_int_equal(store_folder_flags(f, uid, 3, &c), STORE_OK);
	assert_int_equal(failed_n, 0);
	store_folder_close(f);
	store_folder_close(g);
	store_close(other);
}

/* ---- gone ---- */

static void
check_vanished(struct store_folder *f, uint64_t since, bool exact, const char *want)
{
	struct store_range *r;
	struct buf text;
	bool told;
	size_t n;

	buf_init(&text, 10000);
	assert_int_equal(store_folder_vanished(f, since, &r, &n, &told), STORE_OK);
	for (size_t i = 0; i < n; i++)
		(void)buf_fmt(&text, "%u:%u ", r[i].from, r[i].to);
	if (told != exact || strcmp(buf_cstr(&text), want) != 0)
		fail_msg("vanished \"%s\" (%d), not \"%s\"", buf_cstr(&text), told, want);
	free(r);
	buf_clear(&text);
}

static void
remove_range(struct store_folder *f, uint32_t from, uint32_t to)
{
	uint32_t uid[2000];
	size_t n = 0;

	for (; from <= to; from++)
		uid[n++] = from;
	assert_int_equal(store_folder_remove(f, uid, n), STORE_OK);
}

static void
what_is_gone_is_remembered(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	struct store_group *g = store_group_new(STORE_ALL);
	const struct store_new what = { .folder = SLICE("INBOX"), .date = 1000000000 };
	uint64_t start, middle, end;
	struct stat before, after;

	for (int i = 0; i < 1200; i++)
		store_group_write(g, store_group_add(g, x->s, &what), SLICE("x\r\n"));
	assert_int_equal(store_group_commit(g), STORE_OK);
	store_group_free(g);
	f = open_view(x->s, "INBOX", false);
	start = store_folder_highestmodseq(f);
	check_vanished(f, start, true, "");
	remove_range(f, 3, 5);
	assert_true(store_folder_highestmodseq(f) == start);	/* not told yet */
	quiet_refresh(f);
	middle = store_folder_highestmodseq(f);
	assert_true(middle > start);
	remove_range(f, 6, 6);
	remove_range(f, 100, 1100);
	quiet_refresh(f);
	check_vanished(f, start, true, "3:6 100:1100 ");
	check_vanished(f, middle, true, "6:6 100:1100 ");
	end = store_folder_highestmodseq(f);
	check_vanished(f, end, true, "");
	/* Compaction forgets the messages, not that they are gone. */
	assert_int_equal(fstatat(x->dir, UIDLIST_FILE, &before, 0), 0);
	store_folder_close(f);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(fstatat(x->dir, UIDLIST_FILE, &after, 0), 0);
	assert_true(after.st_ino != before.st_ino && after.st_size < before.st_size);
	assert_true(store_folder_highestmodseq(f) == end);
	check_vanished(f, start, true, "3:6 100:1100 ");
	check_vanished(f, middle, true, "6:6 100:1100 ");
	store_folder_close(f);
}

/* Octets in the middle of the index are overwritten: what was there is not known. */
static void
after_damage_all_missing_are_said_to_be_gone(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	uint64_t since;
	int fd;

	for (int i = 0; i < 4; i++)
		(void)add_message(x->s, "INBOX", "a\r\n");
	f = open_view(x->s, "INBOX", false);
	remove_range(f, 1, 1);
	quiet_refresh(f);
	since = store_folder_highestmodseq(f);
	store_folder_close(f);
	fd = openat(x->dir, UIDLIST_FILE, O_WRONLY);
	assert_int_equal(pwrite(fd, "damage", 6, UIDLIST_HEADER + 200), 6);
	(void)close(fd);
	f = open_view(x->s, "INBOX", false);
	assert_true(store_folder_highestmodseq(f) >= since);
	check_vanished(f, since, false, "1:2 ");		/* its message is number 5 now */
	assert_int_equal(store_folder_uidnext(f), 6);
	store_folder_close(f);
}

/* ---- an index from before ---- */

static void
set16(char *p, unsigned v)
{
	p[0] = (char)v;
	p[1] = (char)(v >> 8);
}

static void
set32(char *p, uint32_t v)
{
	set16(p, v & 0xffff);
	set16(p + 2, v >> 16);
}

/* An ADD as it was written before there were modseqs. */
static void
put_old_add(struct buf *b, uint32_t seed, uint32_t uid, const char *name)
{
	size_t len = (16 + 25 + strlen(name) + 4 + 7) / 8 * 8;
	char *p = buf_room(b, len);

	memset(p, 0, len);
	set16(p + 4, (unsigned)len);
	p[6] = UIDLIST_ADD;
	set32(p + 8, uid);
	set32(p + 12, uid + 1);
	p[40] = (char)strlen(name);
	memcpy(p + 41, name, strlen(name));
	set16(p + len - 4, (unsigned)len);
	set16(p + len - 2, 0x5050);
	set32(p, crc32c(seed, p + 4, len - 4));
	buf_add(b, len);
}

static void
an_old_index_is_taken_over(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	struct uidlist u;
	struct buf b;
	int64_t saved;

	store_folder_close(open_view(x->s, "INBOX", false));
	assert_int_equal(uidlist_open(&u, x->dir), STORE_OK);
	buf_init(&b, 10000);
	put_old_add(&b, u.seed, 7, "1.a.h");
	put_old_add(&b, u.seed, 9, "2.b.h");
	assert_int_equal(pwrite(u.fd, b.ptr, b.len, UIDLIST_HEADER), b.len);
	assert_int_equal(ftruncate(u.fd, (off_t)(UIDLIST_HEADER + b.len)), 0);
	buf_clear(&b);
	uidlist_close(&u);
	put_file(x, "cur/1.a.h:2,S", "a\n");
	put_file(x, "cur/2.b.h:2,", "b\n");
	assert_int_equal(add_message(x->s, "INBOX", "c\r\n"), 10);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_count(f), 3);
	assert_int_equal(store_folder_at(f, 1)->uid, 7);
	assert_int_equal(store_folder_at(f, 2)->uid, 9);
	assert_true(modseq_of(f, 9) == 1);		/* its letters are those that the index supposes */
	assert_true(modseq_of(f, 7) > modseq_of(f, 10));
	assert_false(store_message_saved(f, 1, &saved));
	assert_true(store_message_saved(f, 3, &saved) && saved > time(NULL) - 100);
	store_folder_close(f);
}

/* ---- object ids ---- */

static void
ids_go_along(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f = open_view(x->s, "INBOX", false), *g;
	char one[STORE_ID_MAX], two[STORE_ID_MAX], folder[STORE_ID_MAX], other[STORE_ID_MAX];
	struct store_group *group = store_group_new(STORE_ALL);
	struct store_pair pair;
	uint32_t uid = 2, uidvalidity;
	size_t moved;

	(void)add_message(x->s, "INBOX", "a\r\n");
	(void)add_message(x->s, "INBOX", "b\r\n");
	quiet_refresh(f);
	store_message_id(f, 1, one);
	store_message_id(f, 2, two);
	assert_string_not_equal(one, two);
	(void)store_group_copy(group, f, 1, SLICE("Sent"));
	assert_int_equal(store_group_commit(group), STORE_OK);
	store_group_free(group);
	assert_int_equal(store_folder_move(f, &uid, 1, SLICE("Sent"), &pair, &moved, &uidvalidity), STORE_OK);
	g = open_view(x->s, "Sent", false);
	store_message_id(g, 1, other);
	assert_string_equal(one, other);
	store_message_id(g, 2, other);
	assert_string_equal(two, other);
	store_folder_id(f, other);
	store_folder_id(g, folder);
	assert_string_not_equal(folder, other);
	store_folder_close(g);
	assert_int_equal(store_create(x->s, SLICE("Old")), STORE_OK);
	g = open_view(x->s, "Old", false);
	store_folder_id(g, folder);
	store_folder_close(g);
	assert_int_equal(store_rename(x->s, SLICE("Old"), SLICE("New")), STORE_OK);
	g = open_view(x->s, "New", false);
	store_folder_id(g, other);
	assert_string_equal(folder, other);
	store_folder_close(g);
	store_folder_close(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_change_gets_a_higher_one_that_all_see, setup, teardown),
		cmocka_unit_test_setup_teardown(what_another_tool_renames_is_numbered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(changes_can_be_conditional, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_gone_is_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(after_damage_all_missing_are_said_to_be_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(an_old_index_is_taken_over, setup, teardown),
		cmocka_unit_test_setup_teardown(ids_go_along, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
