/* store: the cache of what clients ask for says what the messages say, whatever becomes of its file. */
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

#define TEXT "From: A B <a@x.example>\r\nX-Other: no\r\nSubject: about %u\r\nReceived: x\r\nMessage-ID: <%u@x>\r\n\r\nbody\r\n"

static void
add_numbered(struct store *s, const char *folder, unsigned n)
{
	char text[300];

	(void)snprintf(text, sizeof(text), TEXT, n, n);
	(void)add_message(s, folder, text);
}

static void
check_message(struct store_folder *f, uint32_t seq, unsigned n, bool was_there)
{
	char want[300];
	struct slice out;
	size_t octets;

	assert_true(store_message_cached(f, seq, STORE_CACHED_ENVELOPE, &out, &octets));
	assert_int_equal(octets == 0, was_there);
	(void)snprintf(want, sizeof(want), "(NIL \"about %u\" ((\"A B\" NIL \"a\" \"x.example\")) ((\"A B\" NIL \"a\" \"x.example\")) "
	    "((\"A B\" NIL \"a\" \"x.example\")) NIL NIL NIL NIL \"<%u@x>\")", n, n);
	check_row(n, slice_is(out, want));
	assert_true(store_message_cached(f, seq, STORE_CACHED_HEADERS, &out, NULL));
	(void)snprintf(want, sizeof(want), "From: A B <a@x.example>\r\nSubject: about %u\r\nMessage-ID: <%u@x>\r\n\r\n", n, n);
	check_row(n, slice_is(out, want));
	assert_true(store_message_cached(f, seq, STORE_CACHED_BODY, &out, NULL));
	check_row(n, slice_is(out, "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 6 1)"));
	assert_true(store_message_cached(f, seq, STORE_CACHED_STRUCTURE, &out, NULL));
	check_row(n, slice_is(out, "(\"text\" \"plain\" NIL NIL NIL \"7BIT\" 6 1 NIL NIL NIL NIL)"));
}

static void
who_adds_fills_it(void **state)
{
	struct fixture *x = *state;
	struct store_group *g = store_group_new(STORE_ALL);
	struct store_pair pair;
	uint32_t uid = 2, uidvalidity;
	struct store_folder *f;
	size_t moved;

	for (unsigned n = 1; n <= 3; n++)
		add_numbered(x->s, "INBOX", n);
	f = open_view(x->s, "INBOX", false);
	for (unsigned n = 3; n >= 1; n--)
		check_message(f, n, n, true);
	(void)store_group_copy(g, f, 1, SLICE("Sent"));
	assert_int_equal(store_group_commit(g), STORE_OK);
	store_group_free(g);
	assert_int_equal(store_folder_move(f, &uid, 1, SLICE("Sent"), &pair, &moved, &uidvalidity), STORE_OK);
	store_folder_close(f);
	f = open_view(x->s, "Sent", true);
	check_message(f, 1, 1, true);
	check_message(f, 2, 2, true);
	store_folder_close(f);
}

static void
what_is_missing_is_made(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f, *g;
	char text[300];

	for (unsigned n = 1; n <= 3; n++) {
		char name[40];

		(void)snprintf(name, sizeof(name), "cur/100%u.x.h:2,", n);
		(void)snprintf(text, sizeof(text), TEXT, n, n);
		put_file(x, name, text);
	}
	f = open_view(x->s, "INBOX", false);
	g = open_view(x->s, "INBOX", true);
	check_message(f, 2, 2, false);
	check_message(f, 1, 1, false);
	store_folder_close(f);
	check_message(g, 1, 1, true);		/* the other view finds what was appended meanwhile */
	check_message(g, 2, 2, true);
	check_message(g, 3, 3, false);
	store_folder_close(g);
	f = open_view(x->s, "INBOX", false);
	check_message(f, 3, 3, true);
	store_folder_close(f);
}

static int
open_cache(struct fixture *x)
{
	int fd = openat(x->dir, CACHE_FILE, O_RDWR);

	assert_true(fd >= 0);
	return fd;
}

/* Any octet may be another one, and the file may end anywhere: the answers stay. */
static void
damage_is_made_good(void **state)
{
	struct fixture *x = *state;
	struct stat st;

	for (unsigned n = 1; n <= 3; n++)
		add_numbered(x->s, "INBOX", n);
	assert_int_equal(fstatat(x->dir, CACHE_FILE, &st, 0), 0);
	for (off_t at = 0; at < st.st_size; at += 7) {
		struct store_folder *f = open_view(x->s, "INBOX", false);
		int fd = open_cache(x);
		struct slice out;
		char c;

		if (at % 2 == 0) {
			assert_int_equal(pread(fd, &c, 1, at), 1);
			c ^= 0x55;
			assert_int_equal(pwrite(fd, &c, 1, at), 1);
		} else {
			assert_int_equal(ftruncate(fd, at), 0);
		}
		(void)close(fd);
		for (unsigned n = 1; n <= 3; n++) {
			char want[40];

			(void)snprintf(want, sizeof(want), "Subject: about %u\r\n", n);
			assert_true(store_message_cached(f, n, STORE_CACHED_HEADERS, &out, NULL));
			assert_non_null(memmem(out.ptr, out.len, want, strlen(want)));
		}
		store_folder_close(f);
	}
}

static void
a_new_uidvalidity_has_a_new_cache(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;

	add_numbered(x->s, "INBOX", 1);
	add_numbered(x->s, "INBOX", 2);
	assert_int_equal(unlinkat(x->dir, find_file(x, "new", "S="), 0), 0);	/* one of them */
	assert_int_equal(unlinkat(x->dir, UIDLIST_FILE, 0), 0);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_count(f), 1);
	{
		struct slice out;
		size_t octets;

		assert_true(store_message_cached(f, 1, STORE_CACHED_ENVELOPE, &out, &octets));
		assert_true(octets > 0);
	}
	store_folder_close(f);
}

static void
it_is_compacted(void **state)
{
	struct fixture *x = *state;
	struct store_group *g = store_group_new(STORE_ALL);
	const struct store_new what = { .folder = SLICE("INBOX"), .date = 1000000000 };
	char text[300];
	uint32_t uid[4000];
	struct store_folder *f;
	struct stat before, after;

	for (unsigned n = 0; n < 4000; n++) {
		struct store_item *i = store_group_add(g, x->s, &what);

		(void)snprintf(text, sizeof(text), TEXT, n + 1, n + 1);
		store_group_write(g, i, slice_of(text));
		uid[n] = n + 1;
	}
	assert_int_equal(store_group_commit(g), STORE_OK);
	store_group_free(g);
	assert_int_equal(fstatat(x->dir, CACHE_FILE, &before, 0), 0);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_remove(f, uid, 3990), STORE_OK);
	assert_int_equal(store_folder_refresh(f, STORE_REFRESH_EXPUNGE, &(struct store_changes){ 0 }), STORE_OK);
	check_message(f, 1, 3991, true);
	store_folder_close(f);
	assert_int_equal(fstatat(x->dir, CACHE_FILE, &after, 0), 0);
	assert_true(after.st_size < before.st_size / 100);
	f = open_view(x->s, "INBOX", true);
	for (unsigned n = 1; n <= 10; n++)
		check_message(f, n, 3990 + n, true);
	store_folder_close(f);
}

/* What is too long to be kept is asked of the message. */
static void
limits(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	struct slice out;
	size_t octets;
	struct buf text;

	buf_init(&text, 1 << 20);
	(void)buf_text(&text, "Subject: long\r\nTo: ");
	for (int i = 0; i < 5000; i++)
		(void)buf_fmt(&text, "someone%d@example.org,\r\n ", i);
	(void)buf_text(&text, "last@example.org\r\n\r\nbody\r\n");
	(void)add_message(x->s, "INBOX", buf_cstr(&text));
	buf_clear(&text);
	f = open_view(x->s, "INBOX", true);
	assert_false(store_message_cached(f, 1, STORE_CACHED_ENVELOPE, &out, &octets));
	assert_false(store_message_cached(f, 1, STORE_CACHED_HEADERS, &out, &octets));
	assert_true(store_message_cached(f, 1, STORE_CACHED_STRUCTURE, &out, &octets));
	store_folder_close(f);
	assert_true(store_header_cached(SLICE("references")));
	assert_false(store_header_cached(SLICE("received")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_adds_fills_it, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_missing_is_made, setup, teardown),
		cmocka_unit_test_setup_teardown(damage_is_made_good, setup, teardown),
		cmocka_unit_test_setup_teardown(a_new_uidvalidity_has_a_new_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_compacted, setup, teardown),
		cmocka_unit_test_setup_teardown(limits, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
