/* store: what sessions see: messages by number, changes of others, flags, content. */
#include "store_fixture.h"

#include <poll.h>
#include <time.h>

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

static void
add_n(struct store *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		(void)add_message(s, "INBOX", "Subject: x\r\n\r\nx\r\n");
}

static void
numbers_and_uids(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;

	add_n(x->s, 5);
	f = open_view(x->s, "inbox", false);
	assert_string_equal(store_folder_name(f), "INBOX");
	assert_int_equal(store_folder_count(f), 5);
	assert_int_equal(store_folder_recent(f), 5);
	assert_int_equal(store_folder_unseen(f), 1);
	assert_int_equal(store_folder_uidnext(f), 6);
	assert_int_equal(set_flags(f, STORE_ADD, 2, STORE_DELETED, NULL), STORE_OK);
	assert_int_equal(store_folder_expunge(f, NULL, 0), STORE_OK);
	assert_int_equal(store_folder_count(f), 5);	/* not told yet */
	assert_true(store_folder_at(f, 2)->gone);
	check_refresh(f, 0, "");
	check_refresh(f, STORE_REFRESH_EXPUNGE, "x2 ");
	assert_int_equal(store_folder_at(f, 2)->uid, 3);
	assert_int_equal(store_folder_seq(f, 2), 2);	/* the next higher */
	assert_int_equal(store_folder_seq(f, 5), 4);
	assert_int_equal(store_folder_seq(f, 6), 5);
	assert_int_equal(store_folder_seq(f, 0), 1);
	assert_int_equal(add_message(x->s, "INBOX", "y\r\n"), 6);
	check_refresh(f, 0, "+5/5 ");
	store_folder_close(f);
}

static void
two_sessions(void **state)
{
	struct fixture *x = *state;
	struct store *other = fixture_store(x);
	struct store_folder *a, *b;
	const uint32_t two[] = { 1, 3 };

	add_n(x->s, 3);
	a = open_view(x->s, "INBOX", false);
	b = open_view(other, "INBOX", false);
	assert_int_equal(store_folder_recent(b), 0);	/* a had them first */
	assert_int_equal(set_flags(a, STORE_ADD, 2, STORE_SEEN | STORE_FLAGGED, "$Label1"), STORE_OK);
	check_refresh(a, 0, "k ");			/* its own changes are not reported to it */
	check_refresh(b, 0, "k f2 ");
	assert_int_equal(store_folder_at(b, 2)->flags, STORE_SEEN | STORE_FLAGGED);
	assert_int_equal(store_folder_at(b, 2)->keywords, 1u << store_folder_keyword_bit(b, SLICE("$label1")));
	assert_int_equal(set_flags(b, STORE_REMOVE, 2, STORE_SEEN, NULL), STORE_OK);
	check_refresh(a, 0, "f2 ");
	assert_int_equal(store_folder_remove(a, two, 2), STORE_OK);
	assert_int_equal(add_message(x->s, "INBOX", "y\r\n"), 4);
	check_refresh(b, 0, "+4/1 ");			/* gone ones stay until they may be told */
	assert_true(store_folder_at(b, 1)->gone && store_folder_at(b, 3)->gone);
	check_refresh(b, STORE_REFRESH_EXPUNGE, "x3 x1 ");
	check_refresh(a, STORE_REFRESH_EXPUNGE, "x3 x1 +2/1 ");
	check_refresh(a, STORE_REFRESH_EXPUNGE, "");
	store_folder_close(a);
	store_folder_close(b);
	store_close(other);
}

static void
flags_are_letters(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;

	add_n(x->s, 1);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(set_flags(f, STORE_ADD, 1, STORE_FLAGS_IMAP, "one"), STORE_OK);
	assert_string_not_equal(find_file(x, "cur", ":2,DFRSTa"), "");
	assert_int_equal(set_flags(f, STORE_REPLACE, 1, STORE_SEEN, "two"), STORE_OK);
	assert_string_not_equal(find_file(x, "cur", ":2,Sb"), "");
	assert_int_equal(set_flags(f, STORE_REMOVE, 1, STORE_SEEN, "never"), STORE_OK);
	assert_string_not_equal(find_file(x, "cur", ":2,b"), "");
	assert_int_equal(set_flags(f, STORE_REPLACE, 1, 0, NULL), STORE_OK);
	assert_int_equal(store_folder_at(f, 1)->keywords, 0);
	assert_string_equal(store_folder_keyword(f, 1), "two");
	assert_null(store_folder_keyword(f, 2));
	assert_int_equal(set_flags(f, STORE_ADD, 99, STORE_SEEN, NULL), STORE_OK);	/* no such message: nothing */
	store_folder_close(f);
	f = open_view(x->s, "INBOX", true);
	assert_int_equal(set_flags(f, STORE_ADD, 1, STORE_SEEN, NULL), STORE_READONLY);
	store_folder_close(f);
}

static void
keywords_have_a_limit(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	char name[16];

	add_n(x->s, 1);
	f = open_view(x->s, "INBOX", false);
	for (unsigned i = 0; i < STORE_KEYWORDS; i++) {
		assert_true(store_folder_keyword_room(f));
		(void)snprintf(name, sizeof(name), "kw%u", i);
		assert_int_equal(set_flags(f, STORE_ADD, 1, 0, name), STORE_OK);
	}
	assert_false(store_folder_keyword_room(f));
	assert_int_equal(set_flags(f, STORE_ADD, 1, STORE_SEEN, "onemore"), STORE_LIMIT);
	assert_int_equal(store_folder_at(f, 1)->flags & STORE_SEEN, 0);	/* nothing was changed */
	assert_int_equal(set_flags(f, STORE_REMOVE, 1, 0, "KW7"), STORE_OK);
	assert_int_equal(store_folder_at(f, 1)->keywords, 0x3ffffff & ~(1u << 7));
	assert_false(store_keyword_valid(SLICE("a b")));
	assert_false(store_keyword_valid(SLICE("a\\")));
	assert_false(store_keyword_valid(SLICE("a]")));
	assert_true(store_keyword_valid(SLICE("$Forwarded")));
	store_folder_close(f);
}

/* ---- other tools ---- */

static void
files_of_other_tools(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f = open_view(x->s, "INBOX", false);
	char name[600];

	put_file(x, "new/1000000001.x", "Subject: lf\n\nbody\n");
	put_file(x, "cur/1000000000.y:2,S", "Subject: crlf\r\n\r\nbody\r\n");
	check_refresh(f, 0, "+2/1 ");	/* what lies in cur/ when the first mail is found is not \\Recent */
	assert_int_equal(store_folder_at(f, 1)->flags & STORE_SEEN, STORE_SEEN);	/* by time in the name */
	assert_string_not_equal(find_file(x, "cur", "1000000001.x:2,"), "");	/* seen: out of new/ */
	/* mutt reads, flags, deletes */
	assert_int_equal(renameat(x->dir, "cur/1000000001.x:2,", x->dir, "cur/1000000001.x:2,FRS"), 0);
	check_refresh(f, 0, "f2 ");
	assert_int_equal(store_folder_at(f, 2)->flags, STORE_FLAGGED | STORE_ANSWERED | STORE_SEEN | STORE_RECENT);
	assert_int_equal(unlinkat(x->dir, "cur/1000000000.y:2,S", 0), 0);
	check_refresh(f, 0, "");
	check_refresh(f, STORE_REFRESH_EXPUNGE, "x1 ");
	/* between look and change the file was renamed: the change is made on what it is now */
	assert_int_equal(renameat(x->dir, "cur/1000000001.x:2,FRS", x->dir, "cur/1000000001.x:2,FT"), 0);
	assert_int_equal(set_flags(f, STORE_ADD, 2, STORE_DRAFT, NULL), STORE_OK);
	(void)snprintf(name, sizeof(name), "%s", find_file(x, "cur", "1000000001.x"));
	assert_string_equal(name, "cur/1000000001.x:2,DFT");
	check_refresh(f, 0, "f1 ");
	/* unknown letters stay */
	assert_int_equal(renameat(x->dir, name, x->dir, "cur/1000000001.x:2,DFTZ"), 0);
	check_refresh(f, 0, "");
	assert_int_equal(set_flags(f, STORE_REPLACE, 2, STORE_SEEN, NULL), STORE_OK);
	assert_string_equal(find_file(x, "cur", "1000000001.x"), "cur/1000000001.x:2,SZ");
	store_folder_close(f);
}

/* Out and in again: to clients that were told it is a new message. */
static void
moved_away_and_back(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;

	put_file(x, "cur/1000000000.y:2,", "y\r\n");
	put_file(x, "cur/1000000001.y:2,", "y\r\n");
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(renameat(x->dir, "cur/1000000000.y:2,", x->dir, ".Sent/cur/1000000000.y:2,"), 0);
	check_refresh(f, STORE_REFRESH_EXPUNGE, "x1 ");
	assert_int_equal(renameat(x->dir, ".Sent/cur/1000000000.y:2,", x->dir, "cur/1000000000.y:2,"), 0);
	check_refresh(f, STORE_REFRESH_EXPUNGE, "+2/1 ");
	assert_int_equal(store_folder_at(f, 2)->uid, 3);
	store_folder_close(f);
}

static void
doubles_become_two(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;

	put_file(x, "cur/1000000000.y:2,S", "one\r\n");
	put_file(x, "cur/1000000000.y:2,F", "two\r\n");
	f = open_view(x->s, "INBOX", false);
	for (int i = 0; i < 3 && store_folder_count(f) < 2; i++)
		assert_int_equal(store_folder_refresh(f, 0, &(struct store_changes){ 0 }), STORE_OK);
	assert_int_equal(store_folder_count(f), 2);
	store_folder_close(f);
}

static void
not_every_entry_is_a_message(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(mkdirat(x->dir, "cur/folder", 0700), 0);
	assert_int_equal(symlinkat("/etc/passwd", x->dir, "cur/1.link:2,S"), 0);
	assert_int_equal(mknodat(x->dir, "new/1.fifo", S_IFIFO | 0600, 0), 0);
	put_file(x, "cur/.hidden", "x");
	assert_int_equal(count_in(x->s, "INBOX"), 0);
}

/* ---- content ---- */

static void
check_content(struct store_folder *f, uint32_t seq, const char *want)
{
	struct store_content c;
	struct slice text;
	uint64_t size;

	assert_int_equal(store_message_size(f, seq, &size), STORE_OK);
	assert_int_equal(store_content_open(f, seq, &c), STORE_OK);
	assert_int_equal(store_content_text(&c, &text), STORE_OK);
	assert_true(slice_is(text, want));
	assert_int_equal(size, text.len);
	store_content_close(&c);
	assert_int_equal(store_message_size(f, seq, &size), STORE_OK);
	assert_int_equal(size, strlen(want));
}

static void
content_is_crlf(void **state)
{
	static const struct { const char *in, *out; } row[] = {
		{ "a\r\nb\r\n", "a\r\nb\r\n" }, { "a\nb\n", "a\r\nb\r\n" }, { "a\r\nb\nc", "a\r\nb\r\nc" },
		{ "\n\n\r\n", "\r\n\r\n\r\n" }, { "", "" }, { "\r", "\r" }, { "a\rb\r\r\n", "a\rb\r\r\n" },
	};
	struct fixture *x = *state;
	struct store_folder *f;
	uint32_t n = 0;

	/* As another tool leaves it; as we write it. */
	for (size_t i = 0; i < LEN(row); i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "new/100000000%zu.x", i);
		put_file(x, name, row[i].in);
	}
	assert_int_equal(count_in(x->s, "INBOX"), LEN(row));
	for (size_t i = 0; i < LEN(row); i++)
		(void)add_message(x->s, "INBOX", row[i].in);
	f = open_view(x->s, "INBOX", false);
	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < LEN(row); i++)
			check_content(f, ++n, row[i].out);
	}
	store_folder_close(f);
}

static void
learnt_sizes_are_kept(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	uint64_t size;
	int fd;

	put_file(x, "cur/1000000000.y,S=4:2,", "a\nb\n");
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_message_size(f, 1, &size), STORE_OK);
	assert_int_equal(size, 6);
	store_folder_close(f);
	fd = openat(x->dir, "cur/1000000000.y,S=4:2,", O_WRONLY | O_TRUNC);	/* it is not read again */
	(void)close(fd);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_message_size(f, 1, &size), STORE_OK);
	assert_int_equal(size, 6);
	store_folder_close(f);
}

static void
date_is_the_mtime(void **state)
{
	const struct timespec times[2] = { { .tv_sec = 5 }, { .tv_sec = 1234567890 } };
	struct fixture *x = *state;
	struct store_folder *f;
	int64_t date;

	(void)add_message(x->s, "INBOX", "x\r\n");
	put_file(x, "cur/1000000000.y:2,", "y\r\n");
	assert_int_equal(utimensat(x->dir, "cur/1000000000.y:2,", times, 0), 0);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_message_date(f, 1, &date), STORE_OK);
	assert_int_equal(date, 1000000000);
	assert_int_equal(store_message_date(f, 2, &date), STORE_OK);
	assert_int_equal(date, 1234567890);
	store_folder_close(f);
}

static void
content_of_gone(void **state)
{
	struct fixture *x = *state;
	struct store_folder *a, *b;
	struct store_content c;
	const uint32_t uid = 1;

	add_n(x->s, 1);
	a = open_view(x->s, "INBOX", false);
	b = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_remove(a, &uid, 1), STORE_OK);
	assert_int_equal(store_content_open(b, 1, &c), STORE_GONE);
	assert_int_equal(store_folder_remove(b, &uid, 1), STORE_OK);	/* no error */
	store_folder_close(a);
	store_folder_close(b);
}

/* ---- UIDL, STATUS, watch ---- */

static void
uidl_stays(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	char one[72], two[72], again[72];

	add_n(x->s, 2);
	f = open_view(x->s, "INBOX", true);
	store_message_uidl(f, 1, one);
	store_message_uidl(f, 2, two);
	store_folder_close(f);
	assert_string_not_equal(one, two);
	f = open_view(x->s, "INBOX", true);
	store_message_uidl(f, 2, again);
	assert_string_equal(two, again);
	store_folder_close(f);
}

static void
status_without_taking(void **state)
{
	struct fixture *x = *state;
	struct store_status st;
	struct store_folder *f;

	add_n(x->s, 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_status(x->s, SLICE("inbox"), STORE_STATUS_SIZE, &st), STORE_OK);
		assert_int_equal(st.messages, 3);
		assert_int_equal(st.recent, 3);
		assert_int_equal(st.unseen, 3);
		assert_int_equal(st.uidnext, 4);
		assert_int_equal(st.size, 3 * 17);
	}
	assert_string_not_equal(find_file(x, "new", "host"), "");
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_recent(f), 3);
	assert_int_equal(set_flags(f, STORE_ADD, 1, STORE_SEEN, NULL), STORE_OK);
	assert_int_equal(store_status(x->s, SLICE("INBOX"), 0, &st), STORE_OK);
	assert_int_equal(st.recent, 0);
	assert_int_equal(st.unseen, 2);
	assert_int_equal(store_status(x->s, SLICE("nope"), 0, &st), STORE_NONEXISTENT);
	store_folder_close(f);
}

/* Remembered after some seconds of quiet, and never wrong. */
static void
status_remembered(void **state)
{
	struct fixture *x = *state;
	struct store_status st;

	add_n(x->s, 1);
	(void)count_in(x->s, "INBOX");
	(void)sleep(3);
	assert_int_equal(store_status(x->s, SLICE("INBOX"), 0, &st), STORE_OK);
	assert_int_equal(store_status(x->s, SLICE("INBOX"), 0, &st), STORE_OK);
	assert_int_equal(st.messages, 1);
	put_file(x, "new/1000000000.z", "z");
	assert_int_equal(store_status(x->s, SLICE("INBOX"), 0, &st), STORE_OK);
	assert_int_equal(st.messages, 2);
}

static void
note(struct store_folder *f, void *ctx)
{
	(void)buf_fmt(ctx, "%s ", store_folder_name(f));
}

static bool
readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void
watched(void **state)
{
	struct fixture *x = *state;
	struct store_folder *a = open_view(x->s, "INBOX", false), *b = open_view(x->s, "Sent", false);
	struct buf told;
	int fd = store_watch_fd(x->s);

	buf_init(&told, 1000);
	assert_true(fd >= 0);
	assert_true(store_folder_watch(a, true) && store_folder_watch(b, true) && store_folder_watch(a, true));
	assert_false(readable(fd));
	add_n(x->s, 2);
	assert_true(readable(fd));
	store_watch_read(x->s, note, &told);
	assert_string_equal(buf_cstr(&told), "INBOX ");
	assert_false(readable(fd));
	check_refresh(a, 0, "+2/2 ");		/* moves them out of new/: an echo */
	store_watch_read(x->s, note, &told);
	assert_true(store_folder_watch(a, false));
	store_watch_read(x->s, note, &told);	/* the kernel says that it stopped watching */
	buf_reset(&told);
	add_n(x->s, 1);
	assert_false(readable(fd));
	store_folder_close(a);
	store_folder_close(b);
	buf_clear(&told);
}

/* An index that is lost: the same mail, under a new UIDVALIDITY; open views say so. */
static void
index_lost(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f, *g;
	uint32_t uidvalidity;

	add_n(x->s, 3);
	f = open_view(x->s, "INBOX", false);
	uidvalidity = store_folder_uidvalidity(f);
	put_file(x, "pennypost-uidlist", "garbage, shorter than any header");
	g = open_view(x->s, "INBOX", false);
	assert_true(store_folder_uidvalidity(g) > uidvalidity);
	assert_int_equal(store_folder_count(g), 3);
	assert_non_null(strstr(x->said, "damaged beyond repair"));
	assert_int_equal(store_folder_refresh(f, 0, &(struct store_changes){ 0 }), STORE_NONEXISTENT);
	store_folder_close(f);
	store_folder_close(g);
}

static void
many_messages(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	struct store_flags all = { .change = STORE_ADD, .flags = STORE_DELETED, .how = STORE_UNSYNCED };
	uint32_t uid[3000];

	for (uint32_t i = 0; i < LEN(uid); i++) {
		char name[64];

		(void)snprintf(name, sizeof(name), "cur/%u.x:2,", 1000000000 + i);
		put_file(x, name, "x\n");
		uid[i] = i + 1;
	}
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_count(f), LEN(uid));
	assert_int_equal(store_folder_recent(f), 0);	/* they were there before us, in cur/ */
	assert_int_equal(store_folder_flags(f, uid, LEN(uid), &all), STORE_OK);
	assert_int_equal(store_folder_expunge(f, uid, LEN(uid) - 1), STORE_OK);
	assert_int_equal(store_folder_refresh(f, STORE_REFRESH_EXPUNGE, &(struct store_changes){ 0 }), STORE_OK);
	assert_int_equal(store_folder_count(f), 1);
	assert_int_equal(store_folder_at(f, 1)->uid, LEN(uid));
	store_folder_close(f);
	f = open_view(x->s, "INBOX", false);		/* compacts the index */
	store_folder_close(f);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_count(f), 1);
	assert_int_equal(store_folder_uidnext(f), LEN(uid) + 1);
	store_folder_close(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(numbers_and_uids, setup, teardown),
		cmocka_unit_test_setup_teardown(two_sessions, setup, teardown),
		cmocka_unit_test_setup_teardown(flags_are_letters, setup, teardown),
		cmocka_unit_test_setup_teardown(keywords_have_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(files_of_other_tools, setup, teardown),
		cmocka_unit_test_setup_teardown(moved_away_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(doubles_become_two, setup, teardown),
		cmocka_unit_test_setup_teardown(not_every_entry_is_a_message, setup, teardown),
		cmocka_unit_test_setup_teardown(content_is_crlf, setup, teardown),
		cmocka_unit_test_setup_teardown(learnt_sizes_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(date_is_the_mtime, setup, teardown),
		cmocka_unit_test_setup_teardown(content_of_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(uidl_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(status_without_taking, setup, teardown),
		cmocka_unit_test_setup_teardown(status_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(watched, setup, teardown),
		cmocka_unit_test_setup_teardown(index_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(many_messages, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
