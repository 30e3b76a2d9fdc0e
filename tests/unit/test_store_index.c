/* store: what the index says of the directories spares reading them; and what others do is noticed. */
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

static void
quiet_refresh(struct store_folder *f)
{
	assert_int_equal(store_folder_refresh(f, STORE_REFRESH_EXPUNGE, &(struct store_changes){ 0 }), STORE_OK);
}

/* Can the kernel tell two changes apart here?  Else nothing is spared, and nothing shown. */
static bool
fine(struct fixture *x)
{
	struct store_folder *f = open_view(x->s, "Drafts", false);
	struct uidlist_stamp now[2];
	bool settled;

	(void)add_message(x->s, "Drafts", "x\r\n");
	assert_true(own_stamps(f, now, &settled));
	store_folder_close(f);
	return settled;
}

static struct store_folder *
open_three(struct fixture *x, struct store *s)
{
	struct store_folder *f;

	for (int i = 0; i < 3; i++)
		(void)add_message(x->s, "INBOX", "Subject: x\r\n\r\nx\r\n");
	f = open_view(s, "INBOX", false);
	quiet_refresh(f);
	return f;
}

/* Opened anew: everything is known from the records. */
static void
check_settled(struct store *s, uint32_t count)
{
	enum store_error error;
	struct store_folder *f = store_folder_open(s, SLICE("INBOX"), true, &error);

	assert_non_null(f);
	assert_false(scan_needed(f));
	assert_false(f->hashed);	/* no file name was looked for */
	assert_int_equal(store_folder_count(f), count);
	store_folder_close(f);
}

static void
our_own_changes_need_no_look(void **state)
{
	struct fixture *x = *state;
	struct store *other = fixture_store(x);
	struct store_folder *f, *g;
	struct store_pair pair;
	uint32_t uid = 2, uidvalidity;
	size_t moved;

	if (!fine(x))
		skip();
	f = open_three(x, x->s);
	check_settled(other, 3);
	assert_int_equal(set_flags(f, STORE_ADD, 1, STORE_FLAGGED, NULL), STORE_OK);
	assert_false(scan_needed(f));
	check_settled(other, 3);
	assert_int_equal(set_flags(f, STORE_ADD, 3, STORE_DELETED, NULL), STORE_OK);
	assert_int_equal(store_folder_expunge(f, NULL, 0), STORE_OK);
	assert_false(scan_needed(f));
	assert_int_equal(store_folder_move(f, &uid, 1, SLICE("Sent"), &pair, &moved, &uidvalidity), STORE_OK);
	assert_false(scan_needed(f));
	quiet_refresh(f);
	check_settled(other, 1);
	/* Another view, in another process, learns it from the records. */
	g = open_view(other, "INBOX", false);
	assert_int_equal(store_folder_at(g, 1)->flags & STORE_FLAGGED, STORE_FLAGGED);
	assert_int_equal(set_flags(g, STORE_ADD, 1, STORE_ANSWERED, "word"), STORE_OK);
	assert_false(scan_needed(f));
	check_refresh(f, 0, "k f1 ");
	assert_int_equal(store_folder_keyword_bit(f, SLICE("word")), 0);
	store_folder_close(g);
	store_folder_close(f);
	store_close(other);
}

static void
new_mail_needs_a_look_into_new_alone(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;

	if (!fine(x))
		skip();
	f = open_three(x, x->s);
	put_file(x, "new/1800000000.foreign.h", "Subject: y\r\n\r\ny\r\n");
	(void)add_message(x->s, "INBOX", "Subject: x\r\n\r\nx\r\n");
	assert_true(scan_needed(f));
	check_refresh(f, 0, "+5/5 ");
	assert_false(scan_needed(f));
	check_settled(x->s, 5);
	store_folder_close(f);
}

/* Whatever another tool does while we are at it is found at the next look. */
static void
others_are_noticed_meanwhile(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	char from[700], to[710];

	if (!fine(x))
		skip();
	f = open_three(x, x->s);
	for (int i = 0; i < 3; i++) {
		const struct store_flags c = { .change = i % 2 == 0 ? STORE_ADD : STORE_REMOVE, .flags = STORE_SEEN };
		uint32_t uid = 2;

		own_begin(f);
		assert_true(f->own_active);
		if (i == 0) {
			put_file(x, "cur/1800000001.foreign.h:2,", "Subject: y\r\n\r\ny\r\n");
		} else if (i == 1) {
			(void)snprintf(from, sizeof(from), "%s", find_file(x, "cur", "foreign"));
			(void)snprintf(to, sizeof(to), "%sR", from);
			assert_int_equal(renameat(x->dir, from, x->dir, to), 0);
		} else {
			assert_int_equal(unlinkat(x->dir, find_file(x, "cur", "foreign"), 0), 0);
		}
		own_did(f, 0, 0);
		own_end(f);
		assert_true(scan_needed(f));
		assert_int_equal(store_folder_flags(f, &uid, 1, &c), STORE_OK);
		assert_true(scan_needed(f));	/* the stamps are not those of before the foreign change */
		quiet_refresh(f);
		assert_int_equal(store_folder_count(f), i == 2 ? 3 : 4);
		if (i == 1)
			assert_int_equal(store_folder_at(f, 4)->flags & STORE_ANSWERED, STORE_ANSWERED);
		assert_false(scan_needed(f));
	}
	store_folder_close(f);
}

/* A directory put back from elsewhere, with times as they were, is another one. */
static void
a_restored_folder_is_read(void **state)
{
	struct fixture *x = *state;
	struct timespec times[2];
	struct stat st;

	store_folder_close(open_three(x, x->s));
	assert_int_equal(fstatat(x->dir, "cur", &st, 0), 0);
	times[0] = times[1] = st.st_mtim;
	put_file(x, "cur/1800000002.foreign.h:2,", "Subject: y\r\n\r\ny\r\n");
	assert_int_equal(utimensat(x->dir, "cur", times, 0), 0);	/* as rsync -t does */
	assert_int_equal(count_in(x->s, "INBOX"), 4);
	assert_int_equal(renameat(x->dir, "cur", x->dir, "old"), 0);
	assert_int_equal(mkdirat(x->dir, "cur", 0700), 0);
	assert_int_equal(count_in(x->s, "INBOX"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(our_own_changes_need_no_look, setup, teardown),
		cmocka_unit_test_setup_teardown(new_mail_needs_a_look_into_new_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(others_are_noticed_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restored_folder_is_read, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
