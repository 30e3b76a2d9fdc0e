/* store: a folder that Dovecot or Courier kept shows its clients what it showed them before. */
#include "store_fixture.h"

#include "store/store_int.h"
#include "store/takeover.h"
#include "store/uidlist_int.h"

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
lists(void **unused)
{
	static const struct {
		const char	*text;
		bool		 good;
		const char	*want;	/* uidvalidity uidnext (uid base uidl)... */
	} row[] = {
		{ "1 77 9\n3 1.a.h:2,S\n8 2.b.h\n", true, "77 9 3 1.a.h - 8 2.b.h - " },
		{ "1 77 9\n8 2.b.h\n3 1.a.h\n", true, "77 9 3 1.a.h - 8 2.b.h - " },		/* in any order */
		{ "1 77 4\n3 1.a.h\n8 2.b.h\n", true, "77 9 3 1.a.h - 8 2.b.h - " },		/* UIDNEXT too low */
		{ "3 V77 N9 Gabc\n3 :1.a.h\n5 W12 S10 Pold-uidl :2.b.h,S=10\n6 P :3.c.h\n", true,
		    "77 9 3 1.a.h - 5 2.b.h,S=10 old-uidl 6 3.c.h 3.c.h " },
		{ "3 V77 N9\n3 :1.a.h\n3 :2.b.h\n4 :1.a.h\n0 :3.c.h\nx\n5 :../x\n5 :\n", true,
		    "77 9 3 2.b.h - 4 1.a.h - " },
		{ "2 77 9\n3 1.a.h\n", true, "77 9 3 1.a.h - " },
		{ "2 77 9\n3 1.a.h\n5 1.a.h\n4 1.a.h\n", true, "77 9 5 1.a.h - " },
		{ "3 V77 N9\n", true, "77 9 " },
		{ "3 V0 N9\n", false, "" }, { "3 V77\n", false, "" }, { "4 V77 N9\n", false, "" }, { "1 77\n", false, "" },
		{ "", false, "" }, { "garbage", false, "" }, { "1 4294967296 9\n", false, "" },
		{ "1 77 9\n4294967295 1.a.h\n", false, "" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct takeover t;
		struct buf got;

		check_row(i, takeover_parse_uids(slice_of(row[i].text), &t) == row[i].good);
		if (!row[i].good)
			continue;
		buf_init(&got, 1000);
		(void)buf_fmt(&got, "%u %u ", t.uidvalidity, t.uidnext);
		for (size_t k = 0; k < t.n; k++)
			(void)buf_fmt(&got, "%u %.*s %.*s ", t.at[k].uid, (int)t.at[k].base.len, t.at[k].base.ptr,
			    t.at[k].uidl.ptr == NULL ? 1 : (int)t.at[k].uidl.len, t.at[k].uidl.ptr == NULL ? "-" : t.at[k].uidl.ptr);
		if (strcmp(buf_cstr(&got), row[i].want) != 0)
			fail_msg("row %zu: %s", i, buf_cstr(&got));
		buf_clear(&got);
		takeover_clear(&t);
	}
}

static void
check_at(struct store_folder *f, uint32_t seq, uint32_t uid, unsigned flags, const char *uidl)
{
	char told[72];

	assert_int_equal(store_folder_at(f, seq)->uid, uid);
	assert_int_equal(store_folder_at(f, seq)->flags & (STORE_FLAGS_IMAP | STORE_RECENT), flags);
	store_message_uidl(f, seq, told);
	assert_string_equal(told, uidl);
}

static void
dovecot(void **state)
{
	struct fixture *x = *state;
	struct store_takeover check;
	struct store_folder *f;
	struct buf text;

	put_file(x, "cur/1000.a.h:2,S", "one\r\n");
	put_file(x, "cur/1001.b.h:2,Fa", "two\r\n");
	put_file(x, "new/1003.c.h", "three\r\n");		/* came since Dovecot looked */
	put_file(x, "dovecot-uidlist", "3 V1234567 N40 G0123\n7 :1000.a.h\n9 :1000.gone.h\n30 Pspecial :1001.b.h\n");
	put_file(x, "dovecot-keywords", "0 $Forwarded\n");
	assert_int_equal(store_takeover_check(x->s, SLICE("INBOX"), &check), STORE_OK);
	assert_int_equal(check.origin, STORE_FROM_DOVECOT);
	assert_false(check.taken);
	assert_int_equal(check.listed, 2);
	assert_int_equal(check.unlisted, 1);
	assert_int_equal(check.uidls, 1);
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_uidvalidity(f), 1234567);
	assert_int_equal(store_folder_uidnext(f), 41);
	assert_int_equal(store_folder_count(f), 3);
	check_at(f, 1, 7, STORE_SEEN, "000000070012d687");
	check_at(f, 2, 30, STORE_FLAGGED, "special");
	check_at(f, 3, 40, STORE_RECENT, "000000280012d687");
	assert_string_equal(store_folder_keyword(f, 0), "$Forwarded");
	assert_int_equal(store_folder_at(f, 2)->keywords, 1);
	store_folder_close(f);
	assert_int_equal(store_takeover_check(x->s, SLICE("INBOX"), &check), STORE_OK);
	assert_true(check.taken);
	/* A folder made later has a higher UIDVALIDITY. */
	f = open_view(x->s, "Sent", false);
	assert_true(store_folder_uidvalidity(f) > 1234567);
	store_folder_close(f);
	/* And back. */
	assert_int_equal(store_takeover_back(x->s, SLICE("INBOX")), STORE_OK);
	buf_init(&text, 10000);
	assert_int_equal(store_read_file(x->dir, "dovecot-uidlist", 5000, &text), STORE_OK);
	assert_string_equal(buf_cstr(&text), "3 V1234567 N41\n7 :1000.a.h\n30 Pspecial :1001.b.h\n40 :1003.c.h\n");
	buf_clear(&text);
	/* Our index is lost: UIDs of back then are not given again. */
	assert_int_equal(unlinkat(x->dir, UIDLIST_FILE, 0), 0);
	f = open_view(x->s, "INBOX", false);
	assert_true(store_folder_uidvalidity(f) > 1234567);
	store_folder_close(f);
}

static void
uidls_survive_compaction(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	struct uidlist u;
	bool replaced;

	put_file(x, "cur/1001.b.h:2,", "two\r\n");
	put_file(x, "dovecot-uidlist", "3 V1234567 N40\n30 Pspecial :1001.b.h\n");
	store_folder_close(open_view(x->s, "INBOX", false));
	assert_int_equal(uidlist_open(&u, x->dir), STORE_OK);
	assert_int_equal(uidlist_lock(&u, &replaced), STORE_OK);
	assert_int_equal(uidlist_rewrite(&u), STORE_OK);
	uidlist_close(&u);
	f = open_view(x->s, "INBOX", false);
	check_at(f, 1, 30, 0, "special");
	store_folder_close(f);
}

static void
courier(void **state)
{
	struct fixture *x = *state;
	struct store_folder *f;
	struct store_list *list;
	bool found = false;

	put_file(x, "cur/1000.M1.h,S=5:2,S", "one\r\n");
	put_file(x, "cur/1001.M2.h,S=5:2,", "two\r\n");
	put_file(x, "courierimapuiddb", "1 424242 12\n10 1000.M1.h,S=5\n11 1001.M2.h,S=5\n");
	put_file(x, "courierpop3dsizelist", "/2 12 424242\n1000.M1.h,S=5:2,S 5 10:424242\n1001.M2.h,S=5 5 0:424242\n");
	assert_int_equal(mkdirat(x->dir, "courierimapkeywords", 0700), 0);
	put_file(x, "courierimapkeywords/:list", "$Label1\nwork\n\n1000.M1.h,S=5:0 1\n1001.M2.h,S=5:1\n");
	assert_int_equal(unlinkat(x->dir, "subscriptions", 0), 0);
	put_file(x, "courierimapsubscribed", "INBOX\nINBOX.Sent\nINBOX.lists.one\n");
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_uidvalidity(f), 424242);
	check_at(f, 1, 10, STORE_SEEN, "UID10-424242");
	check_at(f, 2, 11, 0, "1001.M2.h,S=5");
	assert_int_equal(store_folder_at(f, 1)->keywords, 3);
	assert_int_equal(store_folder_at(f, 2)->keywords, 2);
	assert_string_equal(store_folder_keyword(f, 1), "work");
	store_folder_close(f);
	assert_int_equal(store_list(x->s, 0, &list), STORE_OK);
	for (size_t i = 0; i < list->n; i++)
		found |= strcmp(list->at[i].name, "lists.one") == 0 && list->at[i].subscribed;
	assert_true(found);
	free(list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists),
		cmocka_unit_test_setup_teardown(dovecot, setup, teardown),
		cmocka_unit_test_setup_teardown(uidls_survive_compaction, setup, teardown),
		cmocka_unit_test_setup_teardown(courier, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
