/* store: a user's folders: made, listed, renamed, deleted, subscribed. */
#include "store_fixture.h"

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

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

/* "INBOX* Archive5*": '*' subscribed, a digit special use, '-' does not exist, '+' children. */
static void
check_list(struct fixture *x, const char *want)
{
	struct store_list *l;
	struct buf b;

	buf_init(&b, 100000);
	assert_int_equal(store_list(x->s, 0, &l), STORE_OK);
	for (size_t i = 0; i < l->n; i++) {
		const struct store_folder_info *f = &l->at[i];

		(void)buf_fmt(&b, "%s%s", i == 0 ? "" : " ", f->name);
		if (f->special != STORE_SPECIAL_NONE)
			(void)buf_fmt(&b, "%d", (int)f->special);
		(void)buf_fmt(&b, "%s%s%s", f->exists ? "" : "-", f->children ? "+" : "", f->subscribed ? "*" : "");
	}
	free(l);
	assert_string_equal(buf_cstr(&b), want);
	buf_clear(&b);
}

#define DEFAULTS "INBOX* Archive5* Drafts2* Junk4* Sent1* Trash3*"

static void
made_with_defaults(void **state)
{
	struct fixture *x = *state;
	struct stat st;

	check_list(x, DEFAULTS);
	assert_int_equal(fstatat(x->dir, ".Sent/maildirfolder", &st, 0), 0);
	assert_int_equal(fstatat(x->dir, ".Sent/cur", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	/* What the user deletes does not come back. */
	assert_int_equal(store_delete(x->s, SLICE("Junk")), STORE_OK);
	store_close(x->s);
	x->s = fixture_store(x);
	check_list(x, "INBOX* Archive5* Drafts2* Junk4-* Sent1* Trash3*");
}

static void
created(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(store_create(x->s, SLICE("a.b.c")), STORE_OK);
	assert_int_equal(store_create(x->s, SLICE("a.b.c")), STORE_EXISTS);
	assert_int_equal(store_create(x->s, SLICE("inbox")), STORE_EXISTS);
	assert_int_equal(store_create(x->s, SLICE("InBox.kid")), STORE_OK);
	assert_int_equal(store_create(x->s, SLICE("a..b")), STORE_NAME);
	assert_int_equal(store_create(x->s, SLICE("../x")), STORE_NAME);
	check_list(x, "INBOX+* Archive5* Drafts2* INBOX.kid Junk4* Sent1* Trash3* a+ a.b+ a.b.c");
	assert_true(store_exists(x->s, SLICE("a.b")));
	assert_false(store_exists(x->s, SLICE("a.x")));
}

static void
deleted(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	enum store_error error;

	assert_int_equal(store_create(x->s, SLICE("a.b")), STORE_OK);
	(void)add_message(x->s, "a", "x\r\n");
	f = open_view(x->s, "a", false);
	assert_int_equal(store_delete(x->s, SLICE("a")), STORE_OK);
	assert_int_equal(store_delete(x->s, SLICE("a")), STORE_NONEXISTENT);
	assert_int_equal(store_delete(x->s, SLICE("INBOX")), STORE_CANNOT);
	check_list(x, DEFAULTS " a-+ a.b");	/* the folder below stays */
	assert_int_equal(store_folder_refresh(f, 0, &(struct store_changes){ 0 }), STORE_NONEXISTENT);
	store_folder_close(f);
	assert_null(store_folder_open(x->s, SLICE("a"), false, &error));
	assert_int_equal(error, STORE_NONEXISTENT);
	assert_string_equal(find_file(x, ".", "pennypost-gone"), "");
}

/* The same name is another folder afterwards: it must not look like the old one (RFC 3501 section 6.3.4). */
static void
uidvalidity_grows(void **state)
{
	struct fixture *x = *state;
	uint32_t last = 0;

	for (int i = 0; i < 5; i++) {
		struct store_folder *f;

		assert_int_equal(store_create(x->s, SLICE("a")), STORE_OK);
		f = open_view(x->s, "a", false);
		assert_true(store_folder_uidvalidity(f) > last);
		last = store_folder_uidvalidity(f);
		store_folder_close(f);
		assert_int_equal(store_delete(x->s, SLICE("a")), STORE_OK);
	}
}

static void
renamed(void **state)
{
	struct fixture *x = *state;
	struct store_status before, after;

	assert_int_equal(store_create(x->s, SLICE("a.b.c")), STORE_OK);
	assert_int_equal(store_create(x->s, SLICE("ab")), STORE_OK);
	(void)add_message(x->s, "a.b", "x\r\n");
	assert_int_equal(store_status(x->s, SLICE("a.b"), 0, &before), STORE_OK);
	assert_int_equal(store_rename(x->s, SLICE("a"), SLICE("z.y")), STORE_OK);
	check_list(x, DEFAULTS " ab z+ z.y+ z.y.b+ z.y.b.c");
	assert_int_equal(store_status(x->s, SLICE("z.y.b"), 0, &after), STORE_OK);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(store_rename(x->s, SLICE("a"), SLICE("q")), STORE_NONEXISTENT);
	assert_int_equal(store_rename(x->s, SLICE("ab"), SLICE("z")), STORE_EXISTS);
	assert_int_equal(store_rename(x->s, SLICE("z"), SLICE("z.deeper")), STORE_CANNOT);
	assert_int_equal(store_rename(x->s, SLICE("z"), SLICE("a/b")), STORE_NAME);
	assert_false(store_exists(x->s, SLICE("q")));
}

static void
inbox_renamed(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(store_create(x->s, SLICE("INBOX.kid")), STORE_OK);
	(void)add_message(x->s, "INBOX", "1\r\n");
	(void)add_message(x->s, "INBOX", "2\r\n");
	assert_int_equal(store_rename(x->s, SLICE("INBOX"), SLICE("old.mail")), STORE_OK);
	assert_int_equal(count_in(x->s, "INBOX"), 0);
	assert_int_equal(count_in(x->s, "old.mail"), 2);
	assert_true(store_exists(x->s, SLICE("INBOX.kid")));
	assert_int_equal(add_message(x->s, "INBOX", "3\r\n"), 3);	/* its UIDs go on */
}

/* A crash between two directories: the note that was left is acted upon. */
static void
interrupted_rename_is_finished(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(store_create(x->s, SLICE("a.b.c")), STORE_OK);
	assert_int_equal(renameat(x->dir, ".a.b", x->dir, ".z.b"), 0);
	put_file(x, "pennypost-rename", "a\nz\n");
	store_close(x->s);
	x->s = fixture_store(x);
	check_list(x, DEFAULTS " z+ z.b+ z.b.c");
	assert_string_equal(x->said, "finished the interrupted rename of folder a to z");
	assert_string_equal(find_file(x, ".", "pennypost-rename"), "");
}

static void
subscribed(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(store_subscribe(x->s, SLICE("inbox"), false), STORE_OK);
	assert_int_equal(store_subscribe(x->s, SLICE("not.there"), true), STORE_OK);
	assert_int_equal(store_subscribe(x->s, SLICE("not.there"), true), STORE_OK);
	assert_int_equal(store_subscribe(x->s, SLICE("Junk"), false), STORE_OK);
	assert_int_equal(store_subscribe(x->s, SLICE("a\r\nb"), true), STORE_NAME);
	check_list(x, "INBOX Archive5* Drafts2* Junk4 Sent1* Trash3* not.there-*");
}

/* Version 2 has tabs between levels. */
static void
dovecot_subscriptions(void **state)
{
	struct fixture *x = *state;

	put_file(x, "subscriptions", "V\t2\n\nINBOX\nSent\na\tb\n../../etc\n");
	check_list(x, "INBOX* Archive5 Drafts2 Junk4 Sent1* Trash3 a.b-*");
	assert_int_equal(store_subscribe(x->s, SLICE("Sent"), false), STORE_OK);
	check_list(x, "INBOX* Archive5 Drafts2 Junk4 Sent1 Trash3 a.b-*");
}

/* V10, V11: nothing leads out of the Maildir. */
static void
links_are_not_followed(void **state)
{
	struct fixture *x = *state;
	enum store_error error;

	assert_int_equal(symlinkat("/tmp", x->dir, ".link"), 0);
	assert_null(store_folder_open(x->s, SLICE("link"), true, &error));
	assert_int_equal(error, STORE_NOPERM);
	check_list(x, DEFAULTS);
	assert_int_equal(store_create(x->s, SLICE("b")), STORE_OK);
	assert_int_equal(unlinkat(x->dir, ".b/cur", AT_REMOVEDIR), 0);
	assert_int_equal(symlinkat("/etc", x->dir, ".b/cur"), 0);
	assert_null(store_folder_open(x->s, SLICE("b"), true, &error));
	assert_int_equal(error, STORE_NOPERM);
	assert_int_equal(store_dir(x->dir, "../..", true), -1);
	assert_int_equal(store_dir(x->dir, ".link", true), -1);
	assert_int_equal(store_dir(x->dir, ".b/cur/x", true), -1);
}

static void
left_overs_are_cleaned(void **state)
{
	struct fixture *x = *state;
	const struct timespec old[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };

	put_file(x, "tmp/fresh", "x");
	put_file(x, "tmp/stale", "x");
	assert_int_equal(utimensat(x->dir, "tmp/stale", old, 0), 0);
	store_clean(x->s);
	/* Its ctime is now: a file is only stale when both are old, for a copy may carry an old mtime. */
	assert_string_not_equal(find_file(x, "tmp", "stale"), "");
	assert_string_not_equal(find_file(x, "tmp", "fresh"), "");
}

static void
pop3_has_it_alone(void **state)
{
	struct fixture *x = *state;
	struct store *other = fixture_store(x);

	assert_true(store_pop3_lock(x->s));
	assert_true(store_pop3_lock(x->s));
	assert_false(store_pop3_lock(other));
	store_close(x->s);
	x->s = other;
	assert_true(store_pop3_lock(other));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(made_with_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(created, setup, teardown),
		cmocka_unit_test_setup_teardown(deleted, setup, teardown),
		cmocka_unit_test_setup_teardown(uidvalidity_grows, setup, teardown),
		cmocka_unit_test_setup_teardown(renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(inbox_renamed, setup, teardown),
		cmocka_unit_test_setup_teardown(interrupted_rename_is_finished, setup, teardown),
		cmocka_unit_test_setup_teardown(subscribed, setup, teardown),
		cmocka_unit_test_setup_teardown(dovecot_subscriptions, setup, teardown),
		cmocka_unit_test_setup_teardown(links_are_not_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(left_overs_are_cleaned, setup, teardown),
		cmocka_unit_test_setup_teardown(pop3_has_it_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
