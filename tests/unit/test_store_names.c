/* store: names of folders (V10) and of message files.  Pure. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "store/maildir.h"
#include "store/store.h"

static void
folder_names(void **unused)
{
	static const struct { const char *name, *canonical; } row[] = {	/* NULL: not a name */
		{ "INBOX", "INBOX" }, { "inbox", "INBOX" }, { "InBox.x", "INBOX.x" }, { "inboxes", "inboxes" },
		{ "a", "a" }, { "a.b.c", "a.b.c" }, { "a b", "a b" }, { "Entw&APw-rfe", "Entw&APw-rfe" },
		{ "&-", "&-" }, { "a&-b", "a&-b" }, { "&U,BTFw-", "&U,BTFw-" }, { "&2D3cqQ-", "&2D3cqQ-" },
		{ "~x", "~x" }, { "-", "-" }, { "\\", "\\" }, { "\"", "\"" }, { "$(id)", "$(id)" },
		{ "", NULL }, { ".", NULL }, { "..", NULL }, { ".a", NULL }, { "a.", NULL }, { "a..b", NULL },
		{ "/", NULL }, { "a/b", NULL }, { "../../etc", NULL }, { "a\tb", NULL }, { "a\x7f", NULL },
		{ "a\xc3\xa9", NULL }, { "a\r\n", NULL },
		{ "&AC4ALg-", NULL },		/* ".." */
		{ "&AC8-", NULL },		/* "/" */
		{ "&AAA-", NULL },		/* NUL */
		{ "&AAo-", NULL }, { "&AIU-", NULL },	/* LF, U+0085 */
		{ "&AGE-", NULL },		/* "a": could stand unencoded */
		{ "&ACY-", NULL },		/* "&" */
		{ "&", NULL }, { "&APw", NULL }, { "a&b", NULL }, { "&APx-", NULL }, { "&A-", NULL }, { "&APwA-", NULL },
		{ "&APw-&APw-", NULL },		/* two runs that are one */
		{ "&2D0-", NULL }, { "&3Kk-", NULL },	/* half a pair */
		{ "&AP/-", NULL }, { "&APw=-", NULL }, { "&\xff-", NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		char out[STORE_NAME_MAX + 1] = "";
		bool ok = store_name_check(slice_of(row[i].name), false, out);

		check_row(i, ok == (row[i].canonical != NULL));
		check_row(i, !ok || strcmp(out, row[i].canonical) == 0);
	}
}

static void
folder_names_at_their_limits(void **unused)
{
	char name[STORE_NAME_MAX + 2], out[STORE_NAME_MAX + 1];

	(void)unused;
	memset(name, 'a', sizeof(name));
	assert_true(store_name_check(slice_make(name, STORE_NAME_MAX), true, out));
	assert_int_equal(strlen(out), STORE_NAME_MAX);
	assert_false(store_name_check(slice_make(name, STORE_NAME_MAX + 1), true, out));
	assert_false(store_name_check(slice_make("a\0b", 3), false, out));
	assert_true(store_name_check(SLICE("a*"), false, out));		/* there it may be ... */
	assert_false(store_name_check(SLICE("a*"), true, out));		/* ... but is not made */
	assert_false(store_name_check(SLICE("%"), true, out));
	assert_true(store_name_check(slice_make(name, 3), false, name));	/* into its own memory */
}

static void
utf7(void **unused)
{
	static const struct { const char *utf7, *utf8; } row[] = {
		{ "plain", "plain" }, { "a&-b", "a&b" }, { "Entw&APw-rfe", "Entw\xc3\xbcrfe" },
		{ "&U,BTFw-", "\xe5\x8f\xb0\xe5\x8c\x97" }, { "&2D3cqQ-", "\xf0\x9f\x92\xa9" }, { "", "" },
		{ "~peter.mail.&U,BTFw-.&ZeVnLIqe-", "~peter.mail.\xe5\x8f\xb0\xe5\x8c\x97.\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
	};
	struct buf b;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		buf_init(&b, 1000);
		check_row(i, store_name_utf8(slice_of(row[i].utf7), &b) && slice_is(buf_slice_of(&b), row[i].utf8));
		buf_reset(&b);
		check_row(i, store_name_utf7(slice_of(row[i].utf8), &b) && slice_is(buf_slice_of(&b), row[i].utf7));
		buf_clear(&b);
	}
	buf_init(&b, 1000);
	assert_false(store_name_utf7(SLICE("\xc3"), &b));
	assert_false(store_name_utf7(SLICE("\xed\xa0\x80"), &b));	/* a surrogate */
	buf_clear(&b);
}

static void
message_files(void **unused)
{
	static const struct {
		const char *file, *base;	/* NULL: skipped */
		uint8_t flags;
		uint32_t keywords;
		bool canonical;
	} row[] = {
		{ "1.M2P3.h", "1.M2P3.h", 0, 0, false },
		{ "1.M2P3.h:2,", "1.M2P3.h", 0, 0, true },
		{ "1.M2P3.h,S=5:2,FS", "1.M2P3.h,S=5", STORE_FLAGGED | STORE_SEEN, 0, true },
		{ "1:2,DFPRSTab", "1", STORE_DRAFT | STORE_FLAGGED | STORE_PASSED | STORE_ANSWERED | STORE_SEEN | STORE_DELETED, 3, true },
		{ "1:2,SF", "1", STORE_FLAGGED | STORE_SEEN, 0, false },
		{ "1:2,SS", "1", STORE_SEEN, 0, false }, { "1:2,S,x", "1", STORE_SEEN, 1u << 23, false },
		{ "1:2,XS", "1", STORE_SEEN, 0, false }, { "1:2,SX", "1", STORE_SEEN, 0, true },
		{ "1:1,S", "1", 0, 0, false }, { "1:", "1", 0, 0, false },
		{ ".hidden", NULL, 0, 0, false }, { "", NULL, 0, 0, false }, { ":2,S", NULL, 0, 0, false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct maildir_name n;
		char again[MAILDIR_NAME_MAX + 1];
		bool ok = maildir_parse(slice_of(row[i].file), &n);

		check_row(i, ok == (row[i].base != NULL));
		if (!ok)
			continue;
		check_row(i, slice_is(n.base, row[i].base));
		check_row(i, maildir_flags(n.upper) == row[i].flags && n.lower == row[i].keywords);
		check_row(i, n.canonical == row[i].canonical);
		check_row(i, maildir_print(n.base, n.upper, n.lower, again));
		check_row(i, (strcmp(again, row[i].file) == 0) == row[i].canonical);
		check_row(i, maildir_letters(maildir_flags(n.upper), n.upper) == n.upper);
	}
}

static void
sizes_and_queue_ids(void **unused)
{
	static const struct qid qid = { UINT64_C(1700000000123456) * QID_PER_USEC + 3 };
	uint64_t size;
	struct qid got;
	uint32_t rcpt;
	struct buf b;

	(void)unused;
	assert_true(maildir_size(SLICE("1.x,S=12,W=34"), 'S', &size) && size == 12);
	assert_true(maildir_size(SLICE("1.x,S=12,W=34"), 'W', &size) && size == 34);
	assert_false(maildir_size(SLICE("1.x,S=12"), 'W', &size));
	assert_false(maildir_size(SLICE("1.x,S=1x"), 'S', &size));
	assert_false(maildir_size(SLICE("1.xS=12"), 'S', &size));
	buf_init(&b, MAILDIR_NAME_MAX);
	maildir_queue_name(&b, qid, 42, "a/b:c,d.example");
	maildir_sizes(&b, 5, 6);
	assert_true(maildir_queue_id(buf_slice_of(&b), &got, &rcpt));
	assert_true(got.n == qid.n && rcpt == 42);
	assert_true(slice_find(buf_slice_of(&b), '/') == b.len && slice_find(buf_slice_of(&b), ':') == b.len);
	assert_non_null(strstr(buf_cstr(&b), ".a\\057b\\072c\\054d.example,S=5,W=6"));
	assert_memory_equal(b.ptr, "1700000000.Q", 12);
	buf_reset(&b);
	maildir_unique_name(&b, 1700000000123456, 99, 1, "h");
	assert_string_equal(buf_cstr(&b), "1700000000.M123456P99Q1.h");
	assert_false(maildir_queue_id(buf_slice_of(&b), &got, &rcpt));
	buf_clear(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folder_names),
		cmocka_unit_test(folder_names_at_their_limits),
		cmocka_unit_test(utf7),
		cmocka_unit_test(message_files),
		cmocka_unit_test(sizes_and_queue_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
