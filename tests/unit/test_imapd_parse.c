/* imapd: sets, strings, flags, dates, and the arguments of FETCH, SEARCH and APPEND. */
#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "imapd/imap_list.h"
#include "imapd/imap_parse.h"
#include "mime/imap_write.h"

/* A parser on a text, with a pool that is gone at the next call. */
static struct imap_pool pool;

static struct imap_in
in_of(const char *text)
{
	struct imap_in in;

	imap_pool_clear(&pool);
	imap_pool_init(&pool, 1024 * 1024);
	imap_in_init(&in, slice_of(text), &pool);
	return in;
}

static bool
buf_is(const struct buf *b, const char *text)
{
	return slice_is(buf_slice_of(b), text);
}

static void
sets(void **unused)
{
	static const struct { const char *text, *resolved; uint32_t max; bool ok, beyond; } row[] = {
		{ "1",			"1",		9,	true,	false },
		{ "1:3,2:5,9",		"1:5,9",	9,	true,	false },
		{ "5:2",		"2:5",		9,	true,	false },
		{ "*",			"9",		9,	true,	false },
		{ "12:*",		"9:12",		9,	true,	true },
		{ "1:*,1:*,1:*",	"1:9",		9,	true,	false },
		{ "3,4,5,1",		"1,3:5",	9,	true,	false },
		{ "4294967295,1",	"1,4294967295",	9,	true,	true },
		{ "4294967294:4294967295,4294967295", "4294967294:4294967295", 9, true, true },
		{ "*",			"",		0,	true,	true },
		{ "1:*",		"",		0,	true,	true },
		{ "0",			NULL,		9,	false },
		{ "01",			NULL,		9,	false },
		{ "",			NULL,		9,	false },
		{ "1:",			NULL,		9,	false },
		{ "1,",			NULL,		9,	false },
		{ ":1",			NULL,		9,	false },
		{ "a",			NULL,		9,	false },
		{ "4294967296",		NULL,		9,	false },
		{ "99999999999999999999999", NULL,	9,	false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct imap_set_writer w;
		struct imap_set set;
		struct buf out;

		check_row(i, imap_parse_set(&in, &set) == row[i].ok);
		if (!row[i].ok)
			continue;
		check_row(i, imap_at_end(&in));
		check_row(i, imap_set_beyond(&set, row[i].max) == row[i].beyond);
		imap_set_resolve(&set, row[i].max);
		buf_init(&out, 1000);
		w = (struct imap_set_writer){ .out = &out };
		for (size_t k = 0; k < set.n; k++) {
			check_row(i, imap_set_has(&set, set.at[k].first) && imap_set_has(&set, set.at[k].last));
			for (uint64_t n = set.at[k].first; n <= set.at[k].last; n++)
				imap_set_put(&w, (uint32_t)n);
		}
		imap_set_end(&w);
		check_row(i, buf_is(&out, row[i].resolved));
		buf_clear(&out);
	}
}

static void
strings(void **unused)
{
	static const struct { const char *text, *value; const char *rest; } row[] = {
		{ "abc def",		"abc",		" def" },
		{ "a]b",		"a]b",		"" },
		{ "\"a \\\" \\\\ b\" x", "a \" \\ b",	" x" },
		{ "\"\"",		"",		"" },
		{ "\"\xc3\xa4\"",	"\xc3\xa4",	"" },
		{ "{3}\r\nabc def",	"abc",		" def" },
		{ "{3+}\r\nabc",	"abc",		"" },
		{ "{0}\r\n x",		"",		" x" },
		{ "{3}\nabc",		"abc",		"" },
		{ "{4}\r\nabc",		NULL },
		{ "{3}abc",		NULL },
		{ "{3",			NULL },
		{ "{",			NULL },
		{ "{}\r\n",		NULL },
		{ "{4294967296}\r\nabc", NULL },
		{ "\"abc",		NULL },
		{ "\"abc\\",		NULL },
		{ "\"a\\b\"",		NULL },
		{ "\"a\rb\"",		NULL },
		{ "(abc",		NULL },
		{ "",			NULL },
		{ "\xc3\xa4",		NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct slice value;

		check_row(i, imap_parse_astring(&in, &value) == (row[i].value != NULL));
		if (row[i].value == NULL) {
			check_row(i, in.error != NULL);
			continue;
		}
		check_row(i, slice_is(value, row[i].value));
		check_row(i, slice_is(in.rest, row[i].rest));
	}
}

static void
nul_in_strings(void **unused)
{
	static const char *const text[] = { "\"a\0b\"", "{3}\r\na\0b" };
	static const size_t len[] = { 5, 8 };

	(void)unused;
	for (size_t i = 0; i < LEN(text); i++) {
		struct imap_in in = in_of("");
		struct slice value;

		in.rest = slice_make(text[i], len[i]);
		check_row(i, !imap_parse_astring(&in, &value));
	}
}

static void
mailboxes(void **unused)
{
	static const struct { const char *text, *name; } row[] = {
		{ "inbox", "INBOX" }, { "\"InBoX\"", "INBOX" }, { "{5}\r\ninbox", "INBOX" },
		{ "inbox.a", "inbox.a" }, { "Sent", "Sent" }, { "%", NULL }, { "a*", "a" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct slice name;

		check_row(i, imap_parse_mailbox(&in, &name) == (row[i].name != NULL));
		if (row[i].name != NULL)
			check_row(i, slice_is(name, row[i].name));
	}
}

static void
flags(void **unused)
{
	static const struct { const char *text; bool ok; unsigned system; size_t keywords; } row[] = {
		{ "()", true, 0, 0 },
		{ "(\\Seen)", true, IMAP_SEEN, 0 },
		{ "(\\seen \\DELETED $Junk NonJunk $junk)", true, IMAP_SEEN | IMAP_DELETED, 2 },
		{ "(\\Draft \\Answered \\Flagged)", true, IMAP_DRAFT | IMAP_ANSWERED | IMAP_FLAGGED, 0 },
		{ "(\\Recent)", false }, { "(\\Foo)", false }, { "(a", false }, { "(a  b)", false },
		{ "( a)", false }, { "(\"a\")", false }, { "", false }, { "(\\)", false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct imap_flags f;

		check_row(i, imap_parse_flag_list(&in, &f) == row[i].ok);
		if (row[i].ok)
			check_row(i, f.system == row[i].system && f.keyword_n == row[i].keywords && imap_at_end(&in));
	}
	for (size_t i = 0; i < 2; i++) {
		struct imap_in in = in_of(i == 0 ? "\\Seen a" : "(\\Seen a)");
		struct imap_flags f;

		check_row(i, imap_parse_store_flags(&in, &f) && f.system == IMAP_SEEN && f.keyword_n == 1);
	}
}

static void
dates(void **unused)
{
	static const struct { const char *text; int64_t utc; bool ok; } row[] = {
		{ "\"01-Jan-1970 00:00:00 +0000\"", 0, true },
		{ "\" 1-Jan-1970 01:00:00 +0100\"", 0, true },
		{ "\"17-Jul-1996 02:44:25 -0700\"", 837596665, true },
		{ "\"29-Feb-2000 23:59:59 +0000\"", 951868799, true },
		{ "\"31-Dec-1969 23:59:59 +0000\"", -1, true },
		{ "\"29-Feb-1900 00:00:00 +0000\"", 0, false },
		{ "\"00-Jan-1970 00:00:00 +0000\"", 0, false },
		{ "\"32-Jan-1970 00:00:00 +0000\"", 0, false },
		{ "\"01-Foo-1970 00:00:00 +0000\"", 0, false },
		{ "\"01-Jan-1970 24:00:00 +0000\"", 0, false },
		{ "\"01-Jan-1970 00:00:00 0000\"", 0, false },
		{ "\"01-Jan-1970 00:00:00 +0000 \"", 0, false },
		{ "\"01-Jan-1970\"", 0, false },
		{ "\"\"", 0, false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct buf out;
		int64_t utc;

		check_row(i, imap_parse_date_time(&in, &utc) == row[i].ok);
		if (!row[i].ok)
			continue;
		check_row(i, utc == row[i].utc);
		/* What we print is read again as the same. */
		buf_init(&out, 100);
		imap_put_date_time(&out, utc);
		in = in_of(buf_cstr(&out));
		check_row(i, imap_parse_date_time(&in, &utc) && utc == row[i].utc);
		buf_clear(&out);
	}
}

static void
days(void **unused)
{
	static const struct { const char *text; int32_t day; bool ok; } row[] = {
		{ "1-Jan-1970", 0, true }, { "\"01-jan-1970\"", 0, true }, { "1-Feb-1994", 8797, true },
		{ "1-Feb-94", 0, false }, { "1 Feb 1994", 0, false }, { "-1-Feb-1994", 0, false }, { "1-Feb-1994x", 0, false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		int32_t day;

		check_row(i, imap_parse_date(&in, &day) == row[i].ok);
		if (row[i].ok)
			check_row(i, day == row[i].day);
	}
}

static void
fetch_items(void **unused)
{
	static const struct { const char *text; bool ok; unsigned atts; size_t sections; } row[] = {
		{ "ALL", true, ATT_FLAGS | ATT_INTERNALDATE | ATT_RFC822_SIZE | ATT_ENVELOPE, 0 },
		{ "fast", true, ATT_FLAGS | ATT_INTERNALDATE | ATT_RFC822_SIZE, 0 },
		{ "FULL", true, ATT_FLAGS | ATT_INTERNALDATE | ATT_RFC822_SIZE | ATT_ENVELOPE | ATT_BODY, 0 },
		{ "UID", true, ATT_UID, 0 },
		{ "(UID flags)", true, ATT_UID | ATT_FLAGS, 0 },
		{ "BODY", true, ATT_BODY, 0 },
		{ "BODYSTRUCTURE", true, ATT_BODYSTRUCTURE, 0 },
		{ "BODY[]", true, 0, 1 },
		{ "body.peek[]", true, 0, 1 },
		{ "(BODY BODY[1.2.3.MIME]<0.10> RFC822 RFC822.HEADER RFC822.TEXT)", true, ATT_BODY, 4 },
		{ "BODY[HEADER.FIELDS (Date \"From\")]", true, 0, 1 },
		{ "BODY[1.HEADER.FIELDS.NOT (x)]<5.1>", true, 0, 1 },
		{ "(BINARY[1.2] BINARY.PEEK[]<4294967296.5> BINARY.SIZE[3])", true, 0, 3 },
		{ "BINARY[1.TEXT]", false }, { "BINARY[HEADER]", false }, { "BINARY.SIZE[1]<0.1>", false }, { "BINARY", false },
		{ "BODY[HEADER]", true, 0, 1 }, { "BODY[TEXT]", true, 0, 1 }, { "BODY[2]", true, 0, 1 },
		{ "BODY[MIME]", false }, { "BODY[0]", false }, { "BODY[1.]", false }, { "BODY[1", false },
		{ "BODY[1.0]", false }, { "BODY[1.2.FOO]", false }, { "BODY[HEADERX]", false }, { "BODY[.1]", false },
		{ "BODY[]<0>", false }, { "BODY[]<0.0>", false }, { "BODY[]<-1.5>", false }, { "BODY[]<0.5", false },
		{ "BODY[]<9223372036854775808.5>", false }, { "BODY[HEADER.FIELDS ()]", false }, { "BODY[HEADER.FIELDS]", false },
		{ "()", false }, { "", false }, { "(UID", false }, { "(UID )", false }, { "FOO", false },
		{ "(ALL)", false }, { "BODY.PEEK", false }, { "UID)", false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct imap_fetch f;

		check_row(i, (imap_parse_fetch(&in, &f) && imap_parse_end(&in)) == row[i].ok);
		if (row[i].ok)
			check_row(i, f.atts == row[i].atts && f.section_n == row[i].sections);
	}
}

static void
fetch_section(void **unused)
{
	struct imap_in in = in_of("(BODY.PEEK[4.2.HEADER.FIELDS.NOT (DATE {4}\r\nFrom)]<7.9> BODY[])");
	struct imap_fetch f;

	(void)unused;
	assert_true(imap_parse_fetch(&in, &f));
	assert_int_equal(f.section_n, 2);
	assert_true(f.section[0].peek && f.section[0].partial);
	assert_int_equal(f.section[0].part, PART_FIELDS_NOT);
	assert_int_equal(f.section[0].number_n, 2);
	assert_int_equal(f.section[0].number[0], 4);
	assert_int_equal(f.section[0].number[1], 2);
	assert_int_equal(f.section[0].field_n, 2);
	assert_true(slice_is(f.section[0].field[1], "From"));
	assert_int_equal(f.section[0].offset, 7);
	assert_int_equal(f.section[0].count, 9);
	assert_false(f.section[1].peek || f.section[1].partial);
}

/* The tree as text: "(and from unseen)". */
static void
print_key(struct buf *out, const struct imap_search *k)
{
	static const char *const name[] = {
		[KEY_ALL] = "all", [KEY_AND] = "and", [KEY_OR] = "or", [KEY_NOT] = "not", [KEY_SEQUENCE] = "seq",
		[KEY_UID] = "uid", [KEY_FLAG] = "flag", [KEY_RECENT] = "recent", [KEY_KEYWORD] = "keyword",
		[KEY_BEFORE] = "before", [KEY_ON] = "on", [KEY_SINCE] = "since", [KEY_SENTBEFORE] = "sentbefore",
		[KEY_SENTON] = "senton", [KEY_SENTSINCE] = "sentsince", [KEY_LARGER] = "larger",
		[KEY_SMALLER] = "smaller", [KEY_HEADER] = "header", [KEY_BODY] = "body", [KEY_TEXT] = "text",
	};

	(void)buf_text(out, k->child == NULL ? "" : "(");
	(void)buf_text(out, name[k->key]);
	if (k->key == KEY_FLAG)
		(void)buf_fmt(out, "%u", (unsigned)k->number);
	if (k->key == KEY_HEADER)
		(void)buf_fmt(out, ":%.*s=%.*s", (int)k->field.len, k->field.ptr, (int)k->text.len, k->text.ptr);
	for (const struct imap_search *c = k->child; c != NULL; c = c->next) {
		(void)buf_char(out, ' ');
		print_key(out, c);
	}
	(void)buf_text(out, k->child == NULL ? "" : ")");
}

static void
search_keys(void **unused)
{
	static const struct { const char *text, *tree; } row[] = {
		{ "ALL", "all" },
		{ "ALL ", "all" },
		{ "UNSEEN FROM joe", "(and (not flag1) header:From=joe)" },
		{ "(UNSEEN FROM \"joe\")", "(and (not flag1) header:From=joe)" },
		{ "OR SEEN NOT (DELETED DRAFT)", "(or flag1 (not (and flag8 flag16)))" },
		{ "NEW", "(and recent (not flag1))" },
		{ "OLD", "(not recent)" },
		{ "1:5,* UID 7", "(and seq uid)" },
		{ "HEADER X-A {3}\r\nb c", "header:X-A=b c" },
		{ "SUBJECT {1}\r\n ", "header:Subject= " },
		{ "HEADER X-A \"\"", "header:X-A=" },
		{ "CHARSET utf-8 TEXT x", "text" },
		{ "SINCE 1-Feb-1994 BEFORE \"2-Feb-1994\" SENTON 3-Feb-1994", "(and since before senton)" },
		{ "LARGER 1 SMALLER 4294967295", "(and larger smaller)" },
		{ "KEYWORD $Junk UNKEYWORD a", "(and keyword (not keyword))" },
		{ "ON 1-Jan-2000 SENTBEFORE 1-Jan-2000 SENTSINCE 1-Jan-2000 BODY a BCC b CC c TO d",
		    "(and on sentbefore sentsince body header:Bcc=b header:Cc=c header:To=d)" },
		{ "ANSWERED FLAGGED RECENT UNANSWERED UNDELETED UNDRAFT UNFLAGGED",
		    "(and flag2 flag4 recent (not flag2) (not flag8) (not flag16) (not flag4))" },
		{ "", NULL }, { "()", NULL }, { "FOO", NULL }, { "OR SEEN", NULL }, { "NOT", NULL }, { "FROM", NULL },
		{ "(SEEN", NULL }, { "SEEN)", NULL }, { "LARGER x", NULL }, { "LARGER 9223372036854775808", NULL },
		{ "SINCE yesterday", NULL }, { "UID x", NULL }, { "CHARSET utf-8", NULL }, { "0", NULL },
		{ "KEYWORD \"a\"", NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct imap_search_command cmd;
		struct buf out;

		check_row(i, imap_parse_search(&in, &cmd) == (row[i].tree != NULL));
		if (row[i].tree == NULL)
			continue;
		buf_init(&out, 10000);
		print_key(&out, cmd.root);
		check_row(i, buf_is(&out, row[i].tree));
		buf_clear(&out);
	}
}

/* n times what, then the rest: for what is deep, or much. */
static char *
repeat(const char *what, size_t n, const char *rest)
{
	size_t len = strlen(what);
	char *text = malloc(n * len + strlen(rest) + 1);

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + i * len, what, len);
	strcpy(text + n * len, rest);
	return text;
}

/* RELIABILITY.md V9: depth and number are bounded, whatever comes. */
static void
search_limits(void **unused)
{
	static const struct { const char *what; size_t n; const char *rest; bool ok; } row[] = {
		{ "NOT ", 40, "SEEN", true },
		{ "NOT ", 100000, "SEEN", false },
		{ "(", 40, "SEEN", false },
		{ "(", 1000000, "", false },
		{ ")", 1000000, "", false },
		{ "[", 1000000, "", false },
		{ "OR SEEN ", 100000, "SEEN", false },
		{ "SEEN ", 4000, "SEEN", true },
		{ "SEEN ", 100000, "SEEN", false },
		{ "1:*,", 20000, "1", true },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		char *text = repeat(row[i].what, row[i].n, row[i].rest);
		struct imap_in in = in_of(text);
		struct imap_search_command cmd;

		check_row(i, imap_parse_search(&in, &cmd) == row[i].ok);
		free(text);
	}
}

static void
append_arguments(void **unused)
{
	static const struct { const char *text; bool ok; unsigned flags; bool date; } row[] = {
		{ " INBOX {5}\r\n", true, 0, false },
		{ " INBOX {5+}\r\n", true, 0, false },
		{ " \"a b\" (\\Seen x) {5}\r\n", true, IMAP_SEEN, false },
		{ " {3}\r\nabc () \"01-Jan-1970 00:00:00 +0000\" {5}\r\n", true, 0, true },
		{ " INBOX \"01-Jan-1970 00:00:00 +0000\" {5}\r\n", true, 0, true },
		{ " INBOX ~{5}\r\n", true, 0, false }, { " INBOX (\\Seen) UTF8 (~{5+}\r\n", true, IMAP_SEEN, false },
		{ " INBOX UTF8 ({5}\r\n", false }, { " INBOX UTF8 ~{5}\r\n", false }, { " INBOX ~ {5}\r\n", false },
		{ " INBOX", false }, { " INBOX ", false }, { " INBOX x {5}\r\n", false }, { " {5}\r\n", false },
		{ " INBOX (\\Foo) {5}\r\n", false }, { " INBOX \"x\" {5}\r\n", false }, { " INBOX {5}x\r\n", false },
		{ " INBOX {5} {6}\r\n", false }, { "", false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);
		struct imap_append a;

		check_row(i, imap_parse_append(&in, &a) == row[i].ok);
		if (row[i].ok)
			check_row(i, a.flags.system == row[i].flags && a.has_date == row[i].date);
	}
}

static void
literal_ends(void **unused)
{
	static const struct { const char *line; enum imap_literal_is is; uint64_t octets; bool nonsync; } row[] = {
		{ "a LOGIN {5}", LITERAL_OK, 5, false },
		{ "{0+}", LITERAL_OK, 0, true },
		{ "x {4294967295}", LITERAL_OK, 4294967295, false },
		{ "x {4294967296}", LITERAL_OVERFLOW, 0, false },
		{ "x {18446744073709551616+}", LITERAL_OVERFLOW, 0, true },
		{ "", LITERAL_NONE }, { "}", LITERAL_NONE }, { "{}", LITERAL_NONE }, { "{+}", LITERAL_NONE },
		{ "{5} ", LITERAL_NONE }, { "{5", LITERAL_NONE }, { "{a}", LITERAL_NONE }, { "5}", LITERAL_NONE },
		{ "{-5}", LITERAL_NONE }, { "{5++}", LITERAL_NONE },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_literal l = { 0 };

		check_row(i, imap_parse_literal_end(slice_of(row[i].line), &l) == row[i].is);
		if (row[i].is == LITERAL_OK)
			check_row(i, l.octets == row[i].octets);
		if (row[i].is != LITERAL_NONE)
			check_row(i, l.nonsync == row[i].nonsync);
	}
}

static void
ids(void **unused)
{
	static const struct { const char *text; bool ok; } row[] = {
		{ " NIL", true }, { " ()", true }, { " (\"name\" \"x\")", true }, { " (\"a\" NIL \"b\" \"c\")", true },
		{ "", false }, { " (\"a\")", false }, { " (a b)", false }, { " ((\"a\" \"b\"))", false }, { " \"a\"", false },
		{ " (NIL NIL)", false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct imap_in in = in_of(row[i].text);

		check_row(i, imap_parse_id(&in) == row[i].ok);
	}
}

static void
patterns(void **unused)
{
	static const struct { const char *reference, *pattern, *name; bool match; } row[] = {
		{ "", "*", "a.b", true }, { "", "%", "a.b", false }, { "", "%", "a", true }, { "", "%.%", "a.b", true },
		{ "", "a*", "a.b.c", true }, { "", "a%", "a.b", false }, { "", "a.%", "a.b", true }, { "a.", "%", "a.b", true },
		{ "", "inbox", "INBOX", true }, { "", "in*", "INBOX", true }, { "", "sent", "Sent", false },
		{ "", "*b", "a.b", true }, { "", "*b", "a.b.c", false }, { "", "%%", "abc", true }, { "", "*%", "a.b", true },
		{ "", "%*", "a.b", true }, { "", "", "a", false }, { "", "a**b", "axyb", true }, { "", "%b%", "abc", true },
		{ "", "%b%", "a.b", false }, { "../", "../*", "a", false }, { "", "*.*.c", "a.b.c", true },
	};
	struct imap_pattern p;
	char *text;

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		imap_pattern_init(&p, slice_of(row[i].reference), slice_of(row[i].pattern));
		check_row(i, imap_pattern_match(&p, slice_of(row[i].name)) == row[i].match);
	}
	text = repeat("*a", 500000, "");
	imap_pattern_init(&p, SLICE(""), slice_of(text));
	assert_false(imap_pattern_match(&p, SLICE("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")));
	free(text);
	text = repeat("*%", 500000, "");
	imap_pattern_init(&p, SLICE(""), slice_of(text));
	assert_true(imap_pattern_match(&p, SLICE("aaa.bbb")));
	free(text);
}

static void
written_strings(void **unused)
{
	static const struct { const char *text; size_t len; const char *string, *astring; } row[] = {
		{ "abc", 3, "\"abc\"", "abc" },
		{ "a b", 3, "\"a b\"", "\"a b\"" },
		{ "a\"\\b", 4, "\"a\\\"\\\\b\"", "\"a\\\"\\\\b\"" },
		{ "", 0, "\"\"", "\"\"" },
		{ "a\r\nb", 4, "{4}\r\na\r\nb", "{4}\r\na\r\nb" },
		{ "\xc3\xa4", 2, "{2}\r\n\xc3\xa4", "{2}\r\n\xc3\xa4" },
		{ "a\x7f", 2, "{2}\r\na\x7f", "{2}\r\na\x7f" },
		{ NULL, 0, "NIL", NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct buf out;

		buf_init(&out, 1000);
		imap_put_nstring(&out, slice_make(row[i].text, row[i].len));
		check_row(i, buf_is(&out, row[i].string));
		buf_reset(&out);
		imap_put_astring(&out, slice_make(row[i].text, row[i].len));
		if (row[i].astring != NULL)
			check_row(i, buf_is(&out, row[i].astring));
		buf_clear(&out);
	}
}

/* Every command cut at every octet, its end at the end of a page: nothing is read beyond. */
static void
cut_anywhere(void **unused)
{
	static const char *const text[] = {
		" INBOX (\\Seen $x) \"01-Jan-1970 00:00:00 +0000\" {5}\r\n",
		"(UID BODY.PEEK[1.2.HEADER.FIELDS.NOT (\"a\\\"b\" {3}\r\nabc)]<1.2> RFC822.SIZE)",
		"CHARSET \"utf-8\" OR (SEEN 1:*,5) NOT HEADER {3}\r\na b \"x\\\\\" SINCE 1-Feb-1994",
	};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)unused;
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
	for (size_t t = 0; t < LEN(text); t++) {
		for (size_t n = 0; n <= strlen(text[t]); n++) {
			struct imap_in in = in_of("");
			struct slice cut = { map + page - n, n };
			struct imap_search_command search;
			struct imap_append append;
			struct imap_fetch fetch;

			memcpy(map + page - n, text[t], n);
			in.rest = cut;
			(void)imap_parse_append(&in, &append);
			in.rest = cut;
			(void)imap_parse_fetch(&in, &fetch);
			in.rest = cut;
			(void)imap_parse_search(&in, &search);
		}
	}
	(void)munmap(map, 2 * page);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sets),
		cmocka_unit_test(strings),
		cmocka_unit_test(nul_in_strings),
		cmocka_unit_test(mailboxes),
		cmocka_unit_test(flags),
		cmocka_unit_test(dates),
		cmocka_unit_test(days),
		cmocka_unit_test(fetch_items),
		cmocka_unit_test(fetch_section),
		cmocka_unit_test(search_keys),
		cmocka_unit_test(search_limits),
		cmocka_unit_test(append_arguments),
		cmocka_unit_test(literal_ends),
		cmocka_unit_test(ids),
		cmocka_unit_test(patterns),
		cmocka_unit_test(written_strings),
		cmocka_unit_test(cut_anywhere),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	imap_pool_clear(&pool);
	return failed;
}
