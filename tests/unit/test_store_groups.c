/* store: deliveries, APPEND, COPY, MOVE, and the quota. */
#include "store_fixture.h"

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
setup_quota(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	fixture_open(x, 1000);
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

static int
setup_kept(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	fixture_open(x, 0);
	store_close(x->s);
	x->keep = true;
	x->s = fixture_store(x);
	*state = x;
	return 0;
}

static size_t
files_in(struct fixture *x, const char *sub)
{
	int fd = openat(x->dir, sub, O_RDONLY | O_DIRECTORY);
	DIR *dir = fdopendir(fd);
	struct dirent *d;
	size_t n = 0;

	while ((d = readdir(dir)) != NULL)
		n += d->d_name[0] != '.';
	(void)closedir(dir);
	return n;
}

/* ---- delivery ---- */

static void
delivered_once(void **state)
{
	struct fixture *x = *state;
	char id[QID_TEXT], name[100];
	bool repeated;

	assert_int_equal(deliver(x->s, 1, false, &repeated), 1);
	assert_false(repeated);
	(void)snprintf(name, sizeof(name), "1700000000.Q%sR7.host.example,S=22,W=22", qid_print(qid_of(1), id));
	assert_string_not_equal(find_file(x, "new", name), "");
	assert_int_equal(deliver(x->s, 2, true, &repeated), 2);
	assert_false(repeated);			/* it was not there */
	assert_int_equal(deliver(x->s, 1, true, &repeated), 0);
	assert_true(repeated);
	assert_int_equal(deliver(x->s, 1, false, &repeated), 0);
	assert_true(repeated);			/* a repeat that did not say so */
	assert_int_equal(files_in(x, "new"), 2);
	assert_int_equal(files_in(x, "tmp"), 0);
}

/* P4: whatever the reader did meanwhile. */
static void
delivered_once_though_read(void **state)
{
	struct fixture *x = *state;
	const uint32_t uid[] = { 1, 2, 3 };
	struct store_folder *f;
	struct store_pair pair;
	uint32_t validity;
	size_t moved;
	bool repeated;
	char name[600], id[QID_TEXT];

	for (unsigned i = 1; i <= 5; i++)
		(void)deliver(x->s, i, false, &repeated);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_remove(f, &uid[0], 1), STORE_OK);
	assert_int_equal(store_folder_move(f, &uid[1], 1, SLICE("Trash"), &pair, &moved, &validity), STORE_OK);
	assert_int_equal(set_flags(f, STORE_ADD, 3, STORE_SEEN, "x"), STORE_OK);
	store_folder_close(f);
	(void)snprintf(name, sizeof(name), "%s", find_file(x, "cur", qid_print(qid_of(4), id)));
	assert_int_equal(unlinkat(x->dir, name, 0), 0);		/* by another tool */
	for (unsigned i = 1; i <= 5; i++) {
		(void)deliver(x->s, i, true, &repeated);
		check_row(i, repeated);
	}
}

/* A process that died after its rename: the file is there, the index does not know. */
static void
delivered_once_though_index_does_not_know(void **state)
{
	struct fixture *x = *state;
	char id[QID_TEXT], name[100];
	bool repeated;

	(void)snprintf(name, sizeof(name), "cur/1700000000.Q%sR7.host.example,S=1,W=1:2,S", qid_print(qid_of(9), id));
	put_file(x, name, "x");
	assert_int_equal(deliver(x->s, 9, true, &repeated), 0);
	assert_true(repeated);
}

/* After compaction the queue id is all that is left of it. */
static void
queue_ids_outlive_compaction(void **state)
{
	struct fixture *x = *state;
	struct store_group *g = store_group_new(STORE_EACH);
	struct store_folder *f;
	uint32_t uid[1200];
	bool repeated;

	for (unsigned i = 0; i < LEN(uid); i++) {
		const struct store_new what = { .folder = SLICE("INBOX"), .qid = qid_of(i), .rcpt = 7 };

		store_group_write(g, store_group_add(g, x->s, &what), SLICE("x\r\n"));
		uid[i] = i + 1;
	}
	assert_int_equal(store_group_commit(g), STORE_OK);
	store_group_free(g);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_remove(f, uid, LEN(uid)), STORE_OK);
	store_folder_close(f);
	store_folder_close(open_view(x->s, "INBOX", false));
	(void)deliver(x->s, 700, true, &repeated);
	assert_true(repeated);
	assert_int_equal(deliver(x->s, 5000, true, &repeated), LEN(uid) + 1);
}

/* ---- INBOX that stays open between groups ---- */

static size_t
descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return n;
}

/* Meanwhile others deliver, compact the index or remove it: nothing is lost, no UID given twice. */
static void
kept_open_while_others_work(void **state)
{
	struct fixture *x = *state;
	struct store *other;
	struct store_folder *f;
	bool repeated;
	uint32_t last;
	size_t open_now;

	assert_int_equal(deliver(x->s, 6000, false, NULL), 1);
	open_now = descriptors();
	x->keep = false;
	other = fixture_store(x);
	assert_int_equal(deliver(other, 6001, false, NULL), 2);
	assert_int_equal(deliver(x->s, 6002, false, NULL), 3);
	(void)deliver(x->s, 6001, true, &repeated);
	assert_true(repeated);
	for (uint32_t i = 0; i < 1200; i++)
		(void)deliver(x->s, 6010 + i, false, NULL);
	f = open_view(other, "INBOX", false);
	for (uint32_t uid = 1; uid < 1200; uid++)
		assert_int_equal(store_folder_remove(f, &uid, 1), STORE_OK);
	store_folder_close(f);
	store_folder_close(open_view(other, "INBOX", false));	/* compacts */
	(void)deliver(x->s, 6100, true, &repeated);
	assert_true(repeated);
	last = deliver(x->s, 9000, false, NULL);
	assert_int_equal(last, 1204);
	assert_int_equal(deliver(other, 9001, false, NULL), last + 1);
	assert_int_equal(unlinkat(x->dir, "pennypost-uidlist", 0), 0);
	assert_true(deliver(x->s, 9002, false, NULL) > 0);
	f = open_view(other, "INBOX", true);
	assert_int_equal(store_folder_count(f), 7);
	store_folder_close(f);
	store_close(other);
	assert_int_equal(descriptors(), open_now);
}

/* The place is another one now: its owner is told so, and opens it anew. */
static void
kept_open_and_moved_away(void **state)
{
	struct fixture *x = *state;
	char name[100];
	int root = open(x->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_false(store_still_at(x->s, root, "M"));	/* nothing was delivered yet */
	(void)deliver(x->s, 1, false, NULL);
	assert_true(store_still_at(x->s, root, "M") && store_still_at(x->s, x->dir, ""));
	assert_false(store_still_at(x->s, root, "M2"));
	(void)snprintf(name, sizeof(name), "%s/M", x->path);
	assert_int_equal(renameat(root, "M", root, "old"), 0);
	assert_false(store_still_at(x->s, root, "M"));
	assert_int_equal(mkdir(name, 0700), 0);
	assert_int_equal(symlinkat("../old/new", openat(root, "M", O_RDONLY | O_DIRECTORY), "new"), 0);
	assert_false(store_still_at(x->s, root, "M"));
	assert_true(store_still_at(x->s, root, "old"));
	(void)close(root);
}

/* After a failure the next group begins from the start. */
static void
not_kept_after_a_failure(void **state)
{
	const struct store_new too_large = { .folder = SLICE("INBOX"), .qid = qid_of(2), .size = UINT64_C(1) << 60 };
	struct fixture *x = *state;
	enum store_error error;

	(void)deliver(x->s, 1, false, NULL);
	assert_true(store_still_at(x->s, x->dir, ""));
	(void)add_as(x->s, &too_large, "x\r\n", &error, NULL);
	assert_int_not_equal(error, STORE_OK);
	assert_false(store_still_at(x->s, x->dir, ""));
	assert_int_equal(deliver(x->s, 3, false, NULL), 2);
	assert_true(store_still_at(x->s, x->dir, ""));
	(void)add_message(x->s, "Sent", "x\r\n");		/* only INBOX is kept */
	assert_true(store_still_at(x->s, x->dir, ""));
}

/* Several users and folders in one group, each with its own fate. */
static void
each_has_its_fate(void **state)
{
	struct fixture *x = *state, y;
	struct store_group *g = store_group_new(STORE_EACH);
	const struct store_new good = { .folder = SLICE("INBOX"), .qid = qid_of(1) };
	const struct store_new sent = { .folder = SLICE("Sent"), .flags = STORE_SEEN };
	const struct store_new nowhere = { .folder = SLICE("nowhere") };
	struct store_item *i[4];

	fixture_open(&y, 10);
	i[0] = store_group_add(g, x->s, &good);
	i[1] = store_group_add(g, y.s, &good);	/* over quota */
	i[2] = store_group_add(g, x->s, &nowhere);
	i[3] = store_group_add(g, x->s, &sent);
	for (size_t k = 0; k < LEN(i); k++) {
		store_group_write(g, i[k], SLICE("Subject: eleven\r\n"));
		store_group_write(g, i[k], SLICE("\r\n"));
	}
	assert_int_equal(store_group_commit(g), STORE_OVERQUOTA);
	assert_int_equal(i[0]->error, STORE_OK);
	assert_int_equal(i[1]->error, STORE_OVERQUOTA);
	assert_int_equal(i[2]->error, STORE_NONEXISTENT);
	assert_int_equal(i[3]->error, STORE_OK);
	assert_int_equal(i[0]->uid, 1);
	assert_int_equal(i[0]->size, 19);
	store_group_free(g);
	assert_int_equal(files_in(x, "new"), 1);
	assert_int_equal(files_in(x, ".Sent/cur"), 1);
	assert_int_equal(files_in(&y, "new") + files_in(&y, "tmp"), 0);
	fixture_close(&y);
}

/* So many folders that the disk is synced as a whole. */
static void
many_folders(void **state)
{
	struct fixture *x = *state;
	struct store_group *g = store_group_new(STORE_EACH);
	struct store_item *i[20];
	char name[16];

	for (unsigned k = 0; k < LEN(i); k++) {
		struct store_new what = { .qid = qid_of(k), .rcpt = 1 };

		(void)snprintf(name, sizeof(name), "f%u", k / 2);
		if (k % 2 == 0)
			assert_int_equal(store_create(x->s, slice_of(name)), STORE_OK);
		what.folder = slice_of(name);
		i[k] = store_group_add(g, x->s, &what);
		store_group_write(g, i[k], SLICE("x\r\n"));
	}
	assert_int_equal(store_group_commit(g), STORE_OK);
	for (unsigned k = 0; k < LEN(i); k++)
		assert_int_equal(i[k]->uid, k % 2 + 1);
	store_group_free(g);
	for (unsigned k = 0; k < LEN(i) / 2; k++) {
		(void)snprintf(name, sizeof(name), "f%u", k);
		assert_int_equal(count_in(x->s, name), 2);
	}
}

/* ---- APPEND ---- */

static void
all_or_none(void **state)
{
	struct fixture *x = *state;
	const struct store_new good = { .folder = SLICE("Sent"), .flags = STORE_SEEN };
	const struct store_new bad = { .folder = SLICE("nowhere") };
	struct store_group *g = store_group_new(STORE_ALL);
	struct store_item *a = store_group_add(g, x->s, &good), *b;

	store_group_write(g, a, SLICE("x\r\n"));
	b = store_group_add(g, x->s, &bad);
	assert_int_equal(store_group_commit(g), STORE_NONEXISTENT);
	assert_int_equal(a->error, STORE_NONEXISTENT);
	assert_int_equal(b->error, STORE_NONEXISTENT);
	store_group_free(g);
	assert_int_equal(files_in(x, ".Sent/cur") + files_in(x, ".Sent/new") + files_in(x, ".Sent/tmp"), 0);
}

static void
not_committed_leaves_nothing(void **state)
{
	struct fixture *x = *state;
	const struct store_new what = { .folder = SLICE("INBOX"), .size = 300000 };
	struct store_group *g = store_group_new(STORE_ALL);
	struct store_item *i = store_group_add(g, x->s, &what), *j = store_group_add(g, x->s, &what);
	char *big = calloc(1, 300000);

	store_group_write(g, i, slice_make(big, 300000));
	assert_int_equal(files_in(x, "tmp"), 2);
	store_group_cancel(g, j);
	assert_int_equal(files_in(x, "tmp"), 1);
	store_group_free(g);
	assert_int_equal(files_in(x, "tmp") + files_in(x, "new") + files_in(x, "cur"), 0);
	free(big);
}

/* Pieces may end anywhere, between CR and LF too. */
static void
streamed_in_any_pieces(void **state)
{
	static const char text[] = "A: b\r\n\r\none\ntwo\r\nthree\r\r\nfour\n\n";
	static const char want[] = "A: b\r\n\r\none\r\ntwo\r\nthree\r\r\nfour\r\n\r\n";
	struct fixture *x = *state;

	for (size_t step = 1; step < sizeof(text); step++) {
		const struct store_new what = { .folder = SLICE("INBOX") };
		struct store_group *g = store_group_new(STORE_ALL);
		struct store_item *i = store_group_add(g, x->s, &what);
		struct slice rest = SLICE(text), got;
		struct store_content c;
		struct store_folder *f;

		while (rest.len > 0) {
			store_group_write(g, i, slice_sub(rest, 0, step));
			rest = slice_sub(rest, step, rest.len);
		}
		assert_int_equal(store_group_commit(g), STORE_OK);
		assert_int_equal(i->size, sizeof(want) - 1);
		f = open_view(x->s, "INBOX", true);
		assert_int_equal(store_content_open(f, store_folder_seq(f, i->uid), &c), STORE_OK);
		assert_int_equal(store_content_text(&c, &got), STORE_OK);
		check_row(step, c.crlf && slice_is(got, want));
		store_content_close(&c);
		store_folder_close(f);
		store_group_free(g);
	}
}

/* Large ones go to the disk as they come; many at once do with few descriptors. */
static void
large_and_many(void **state)
{
	const size_t size = 200000, n = 300;
	struct fixture *x = *state;
	struct store_group *g = store_group_new(STORE_ALL);
	struct store_item *i[300];
	char *text = malloc(size);
	struct store_content c;
	struct store_folder *f;
	FILE *source = tmpfile();

	for (size_t k = 0; k < size; k++)
		text[k] = (char)(k % 80 == 78 ? '\r' : k % 80 == 79 ? '\n' : 'a' + k % 26);
	assert_int_equal(fwrite(text, 1, size, source), size);
	assert_int_equal(fflush(source), 0);
	for (size_t k = 0; k < n; k++) {
		const struct store_new what = { .folder = SLICE("INBOX"), .size = k % 2 == 0 ? size : 0 };

		i[k] = store_group_add(g, x->s, &what);
		store_group_write(g, i[k], SLICE("X: y\r\n"));
		store_group_write_fd(g, i[k], fileno(source), 1000, size - 1000);
	}
	assert_int_equal(store_group_commit(g), STORE_OK);
	for (size_t k = 0; k < n; k++)
		assert_int_equal(i[k]->uid, k + 1);
	store_group_free(g);
	f = open_view(x->s, "INBOX", true);
	assert_int_equal(store_content_open(f, 299, &c), STORE_OK);
	assert_int_equal(c.raw.len, 6 + size - 1000);
	assert_memory_equal(c.raw.ptr + 6, text + 1000, size - 1000);
	store_content_close(&c);
	store_folder_close(f);
	(void)fclose(source);
	free(text);
}

static void
source_too_short(void **state)
{
	struct fixture *x = *state;
	const struct store_new what = { .folder = SLICE("INBOX") };
	struct store_group *g = store_group_new(STORE_EACH);
	struct store_item *i = store_group_add(g, x->s, &what);
	int fd = openat(x->dir, "subscriptions", O_RDONLY);

	store_group_write_fd(g, i, fd, 0, 100000);
	assert_int_equal(store_group_commit(g), STORE_IO);
	store_group_free(g);
	(void)close(fd);
	assert_int_equal(files_in(x, "new") + files_in(x, "tmp"), 0);
}

static void
appended_with_flags(void **state)
{
	const struct slice keywords[] = { SLICE("$Forwarded"), SLICE("bad keyword"), SLICE("other") };
	const struct store_new what = {
		.folder = SLICE("Drafts"), .flags = STORE_DRAFT | STORE_SEEN | STORE_RECENT, .date = 1111111111,
		.keyword = keywords, .keyword_n = LEN(keywords),
	};
	struct fixture *x = *state;
	enum store_error error;
	struct store_folder *f;
	int64_t date;

	assert_int_equal(add_as(x->s, &what, "x\r\n", &error, NULL), 1);
	f = open_view(x->s, "Drafts", true);
	assert_int_equal(store_folder_at(f, 1)->flags, STORE_DRAFT | STORE_SEEN | STORE_RECENT);
	assert_string_equal(store_folder_keyword(f, 0), "$Forwarded");
	assert_string_equal(store_folder_keyword(f, 1), "other");
	assert_int_equal(store_folder_at(f, 1)->keywords, 3);
	assert_int_equal(store_message_date(f, 1, &date), STORE_OK);
	assert_int_equal(date, 1111111111);
	store_folder_close(f);
}

/* ---- COPY, MOVE ---- */

static void
copied(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f, *to;
	struct store_group *g;
	struct store_item *i[3];
	struct stat st;
	int64_t date;

	for (unsigned k = 0; k < 3; k++)
		(void)add_message(x->s, "INBOX", "Subject: x\r\n\r\nx\r\n");
	(void)add_message(x->s, "Archive", "y\r\n");
	f = open_view(x->s, "INBOX", false);
	to = open_view(x->s, "Archive", false);
	assert_int_equal(set_flags(to, STORE_ADD, 1, 0, "zero"), STORE_OK);
	check_refresh(to, 0, "k ");
	assert_int_equal(set_flags(f, STORE_ADD, 2, STORE_FLAGGED, "mine"), STORE_OK);
	g = store_group_new(STORE_ALL);
	for (uint32_t k = 0; k < 3; k++)
		i[k] = store_group_copy(g, f, k + 1, SLICE("Archive"));
	assert_int_equal(store_group_commit(g), STORE_OK);
	for (uint32_t k = 0; k < 3; k++)
		assert_int_equal(i[k]->uid, k + 2);
	store_group_free(g);
	check_refresh(to, 0, "+4/4 k ");
	assert_int_equal(store_folder_at(to, 3)->flags, STORE_FLAGGED | STORE_RECENT);
	assert_int_equal(store_folder_at(to, 3)->keywords, 2);	/* letter b there, a here */
	assert_string_equal(store_folder_keyword(to, 1), "mine");
	assert_int_equal(store_message_date(to, 3, &date), STORE_OK);
	assert_int_equal(date, 1000000000);
	assert_int_equal(fstatat(x->dir, find_file(x, ".Archive/cur", ":2,Fb"), &st, 0), 0);
	assert_int_equal(st.st_nlink, 2);
	/* into itself */
	g = store_group_new(STORE_ALL);
	i[0] = store_group_copy(g, f, 2, SLICE("inbox"));
	assert_int_equal(store_group_commit(g), STORE_OK);
	assert_int_equal(i[0]->uid, 4);
	store_group_free(g);
	check_refresh(f, 0, "+4/4 k ");
	store_folder_close(f);
	store_folder_close(to);
}

static void
copy_all_or_none(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	struct store_group *g;

	(void)add_message(x->s, "INBOX", "1\r\n");
	(void)add_message(x->s, "INBOX", "2\r\n");
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(unlinkat(x->dir, find_file(x, "cur", "P"), 0), 0);	/* one of them, behind our back */
	g = store_group_new(STORE_ALL);
	(void)store_group_copy(g, f, 1, SLICE("Archive"));
	(void)store_group_copy(g, f, 2, SLICE("Archive"));
	assert_int_equal(store_group_commit(g), STORE_GONE);
	store_group_free(g);
	assert_int_equal(files_in(x, ".Archive/cur") + files_in(x, ".Archive/new"), 0);
	store_folder_close(f);
}

static void
moved(void **state)
{
	struct fixture *x = *state;
	const uint32_t uid[] = { 1, 3, 9, 4 };
	struct store_pair pair[4];
	struct store_folder *f, *to;
	uint32_t validity;
	size_t n;

	for (unsigned k = 0; k < 4; k++)
		(void)add_message(x->s, "INBOX", "Subject: x\r\n\r\nx\r\n");
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(set_flags(f, STORE_ADD, 3, STORE_ANSWERED, "kw"), STORE_OK);
	assert_int_equal(store_folder_move(f, uid, 4, SLICE("nowhere"), pair, &n, &validity), STORE_NONEXISTENT);
	assert_int_equal(n, 0);
	assert_int_equal(store_folder_move(f, uid, 4, SLICE("Archive"), pair, &n, &validity), STORE_OK);
	assert_int_equal(n, 3);
	for (uint32_t k = 0; k < 3; k++)
		assert_int_equal(pair[k].to, k + 1);
	assert_int_equal(pair[2].from, 4);
	check_refresh(f, STORE_REFRESH_EXPUNGE, "x4 x3 x1 k ");
	to = open_view(x->s, "Archive", true);
	assert_int_equal(store_folder_uidvalidity(to), validity);
	assert_int_equal(store_folder_count(to), 3);
	assert_int_equal(store_folder_at(to, 2)->flags, STORE_ANSWERED | STORE_RECENT);
	assert_int_equal(store_folder_at(to, 2)->keywords, 1);
	store_folder_close(to);
	/* and within the folder: a new UID */
	assert_int_equal(store_folder_move(f, (uint32_t[]){ 2 }, 1, SLICE("INBOX"), pair, &n, &validity), STORE_OK);
	assert_int_equal(pair[0].to, 5);
	check_refresh(f, STORE_REFRESH_EXPUNGE, "x1 +1/1 ");
	store_folder_close(f);
}

/* ---- quota ---- */

static void
check_quota(struct fixture *x, uint64_t used, uint64_t count)
{
	struct store_quota q;

	for (int recounted = 0; recounted < 2; recounted++) {
		assert_int_equal(store_quota(x->s, &q), STORE_OK);
		assert_int_equal(q.limit, 1000);
		assert_int_equal(q.used, used);
		assert_int_equal(q.count, count);
		if (recounted == 0)
			(void)unlinkat(x->dir, "maildirsize", 0);	/* what was kept equals what is counted */
	}
}

static void
quota_is_kept(void **state)
{
	struct fixture *x = *state;
	const struct store_new what = { .folder = SLICE("INBOX") }, trash = { .folder = SLICE("Trash") };
	struct store_folder *f;
	struct store_pair pair[2];
	struct store_group *g;
	uint32_t validity;
	char text[402];
	enum store_error error;
	size_t n;

	memset(text, 'x', 400);
	memcpy(text + 398, "\r\n\0", 3);
	check_quota(x, 0, 0);
	assert_int_equal(add_as(x->s, &what, text, &error, NULL), 1);
	check_quota(x, 400, 1);
	assert_int_equal(add_as(x->s, &what, text, &error, NULL), 2);
	check_quota(x, 800, 2);
	(void)add_as(x->s, &what, text, &error, NULL);
	assert_int_equal(error, STORE_OVERQUOTA);
	check_quota(x, 800, 2);
	(void)add_as(x->s, &trash, text, &error, NULL);		/* does not count (Maildir++) */
	assert_int_equal(error, STORE_OK);
	check_quota(x, 800, 2);
	f = open_view(x->s, "INBOX", false);
	g = store_group_new(STORE_ALL);
	(void)store_group_copy(g, f, 1, SLICE("Sent"));
	assert_int_equal(store_group_commit(g), STORE_OVERQUOTA);
	store_group_free(g);
	assert_int_equal(store_folder_move(f, (uint32_t[]){ 1 }, 1, SLICE("Trash"), pair, &n, &validity), STORE_OK);
	check_quota(x, 400, 1);
	assert_int_equal(store_folder_remove(f, (uint32_t[]){ 2 }, 1), STORE_OK);
	check_quota(x, 0, 0);
	store_folder_close(f);
	f = open_view(x->s, "Trash", false);
	assert_int_equal(store_folder_move(f, (uint32_t[]){ 1, 2 }, 2, SLICE("Sent"), pair, &n, &validity), STORE_OK);
	check_quota(x, 800, 2);
	store_folder_close(f);
	assert_int_equal(store_delete(x->s, SLICE("Sent")), STORE_OK);
	check_quota(x, 0, 0);
}

static void
quota_known_early(void **state)
{
	struct fixture *x = *state;
	const struct store_new what = { .folder = SLICE("INBOX"), .size = 600 };
	struct store_group *g = store_group_new(STORE_ALL);
	struct store_item *a = store_group_add(g, x->s, &what), *b;
	char text[600] = { 0 };

	assert_int_equal(a->error, STORE_OK);
	store_group_write(g, a, slice_make(text, 600));
	b = store_group_add(g, x->s, &what);
	assert_int_equal(b->error, STORE_OVERQUOTA);	/* before a byte of it was sent */
	store_group_free(g);
}

/* Lines as other tools write them; another limit, garbage, too long: counted anew. */
static void
quota_files(void **state)
{
	static const struct { const char *text; uint64_t used; } row[] = {
		{ "1000S\n  100 1\n 23 1\n", 123 }, { "1000S\n100 1\n-100 -1\n", 0 },
		{ "1000S,10C\n100 1\n", 4 }, { "999S\n100 1\n", 4 }, { "", 4 }, { "1000S\n", 4 },
		{ "1000S\nx y\n", 4 }, { "1000S\n100\n", 4 }, { "1000S\n-5 -1\n", 4 },
		{ "1000S\n99999999999999999999 1\n", 4 }, { "1000S\n9223372036854775807 1\n9223372036854775807 1\n", 4 },
		{ "1000S\n5000 1\n", 5000 },		/* over, but fresh and of one line: believed */
		{ "1000S\n5000 1\n1 1\n", 4 },		/* over, with changes: counted */
	};
	struct fixture *x = *state;
	struct store_quota q;

	put_file(x, "new/1000000000.x", "four");
	for (size_t i = 0; i < LEN(row); i++) {
		put_file(x, "maildirsize", row[i].text);
		check_row(i, store_quota(x->s, &q) == STORE_OK && q.used == row[i].used);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(delivered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(delivered_once_though_read, setup, teardown),
		cmocka_unit_test_setup_teardown(delivered_once_though_index_does_not_know, setup, teardown),
		cmocka_unit_test_setup_teardown(queue_ids_outlive_compaction, setup, teardown),
		cmocka_unit_test_setup_teardown(kept_open_while_others_work, setup_kept, teardown),
		cmocka_unit_test_setup_teardown(kept_open_and_moved_away, setup_kept, teardown),
		cmocka_unit_test_setup_teardown(not_kept_after_a_failure, setup_kept, teardown),
		cmocka_unit_test_setup_teardown(each_has_its_fate, setup, teardown),
		cmocka_unit_test_setup_teardown(many_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(all_or_none, setup, teardown),
		cmocka_unit_test_setup_teardown(not_committed_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(streamed_in_any_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(large_and_many, setup, teardown),
		cmocka_unit_test_setup_teardown(source_too_short, setup, teardown),
		cmocka_unit_test_setup_teardown(appended_with_flags, setup, teardown),
		cmocka_unit_test_setup_teardown(copied, setup, teardown),
		cmocka_unit_test_setup_teardown(copy_all_or_none, setup, teardown),
		cmocka_unit_test_setup_teardown(moved, setup, teardown),
		cmocka_unit_test_setup_teardown(quota_is_kept, setup_quota, teardown),
		cmocka_unit_test_setup_teardown(quota_known_early, setup_quota, teardown),
		cmocka_unit_test_setup_teardown(quota_files, setup_quota, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
