/* sendmail: the command line, lines of input, headers, addresses in them. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc.h"
#include "pennypost/header_addrs.h"
#include "pennypost/mail_header.h"
#include "pennypost/mail_lines.h"
#include "pennypost/mail_message.h"
#include "pennypost/sendmail_options.h"

/* ---- options ---- */

static bool
parse(const char *name, const char *line, struct sendmail_options *o, char *store, char **argv)
{
	char why[200];
	int argc = 0;

	/* "''" is an empty word. */
	(void)strcpy(store, line);
	for (char *word = strtok(store, " "); word != NULL; word = strtok(NULL, " "))
		argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
	argv[argc] = NULL;
	return sendmail_options(name, argc, argv, o, why, sizeof(why));
}

static void
callers_keep_working(void **unused)
{
	/* flags: t -t, i -i, 8 -B8BITMIME */
	static const struct { const char *line, *flags, *sender, *name; size_t rcpts; } row[] = {
		{ "sendmail -t -i", "ti", NULL, NULL, 0 },				/* PHP */
		{ "sendmail -FCronDaemon -i -B8BITMIME -oem user", "i8", NULL, "CronDaemon", 1 },
		{ "sendmail -oem -oi -- a@x b@x", "i", NULL, NULL, 2 },			/* mutt */
		{ "sendmail -i a@x", "i", NULL, NULL, 1 },				/* git send-email */
		{ "sendmail -ti", "ti", NULL, NULL, 0 },
		{ "sendmail -oitm a@x", "ti", NULL, NULL, 1 },
		{ "sendmail -fuser@x a@x", "", "user@x", NULL, 1 },
		{ "sendmail -f user@x a@x", "", "user@x", NULL, 1 },
		{ "sendmail -r user@x a@x", "", "user@x", NULL, 1 },
		{ "sendmail -f '' a@x", "", "", NULL, 1 },
		{ "sendmail -f<> a@x", "", "<>", NULL, 1 },
		{ "sendmail a@x -f user@x b@x -i", "i", "user@x", NULL, 2 },		/* options behind recipients */
		{ "sendmail -h 3 -m -n -U -L tag -X file -A c -Am -p proto -d0.1 -em -o7 -om -odb -odq -oep -oo a@x", "", NULL, NULL, 1 },
		{ "sendmail -oQ/var/spool -oWhatever a@x", "", NULL, NULL, 1 },		/* unknown -o letters */
		{ "sendmail -O ErrorMode=m -OTimeout=1 a@x", "", NULL, NULL, 1 },
		{ "sendmail -- -t", "", NULL, NULL, 1 },
		{ "sendmail -itfuser@x", "ti", "user@x", NULL, 0 },
		{ "sendmail -omti", "ti", NULL, NULL, 0 },
		{ "sendmail -oemti", "", NULL, NULL, 0 },				/* the value of e */
		{ "sendmail -bm -v -G a@x", "", NULL, NULL, 1 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct sendmail_options o;
		char store[300], *argv[40], flags[4] = "";

		check_row(i, parse("sendmail", row[i].line, &o, store, argv));
		(void)snprintf(flags, sizeof(flags), "%s%s%s", o.from_header ? "t" : "", o.dots ? "i" : "", o.body == 8 ? "8" : "");
		check_row(i, o.mode == MODE_SUBMIT);
		check_row(i, strcmp(flags, row[i].flags) == 0);
		check_row(i, (o.sender == NULL) == (row[i].sender == NULL));
		check_row(i, o.sender == NULL || strcmp(o.sender, row[i].sender) == 0);
		check_row(i, (o.full_name == NULL) == (row[i].name == NULL));
		check_row(i, o.full_name == NULL || strcmp(o.full_name, row[i].name) == 0);
		check_row(i, o.rcpt_n == row[i].rcpts);
	}
}

static void
modes(void **unused)
{
	static const struct { const char *name, *line; enum sendmail_mode mode; } row[] = {
		{ "mailq", "mailq", MODE_LIST }, { "newaliases", "newaliases", MODE_ALIASES },
		{ "sendmail", "sendmail -bp", MODE_LIST }, { "sendmail", "sendmail -bi", MODE_ALIASES },
		{ "sendmail", "sendmail -I", MODE_ALIASES }, { "sendmail", "sendmail -bs", MODE_SMTP },
		{ "sendmail", "sendmail -bv a@x", MODE_VERIFY }, { "sendmail", "sendmail -bd", MODE_DAEMON },
		{ "sendmail", "sendmail -bl", MODE_DAEMON }, { "sendmail", "sendmail -bd -q30m", MODE_IGNORE },
		{ "sendmail", "sendmail -q", MODE_FLUSH }, { "sendmail", "sendmail -qIabc", MODE_FLUSH },
		{ "sendmail", "sendmail -q30m", MODE_IGNORE }, { "sendmail", "sendmail -qf", MODE_IGNORE },
	};
	struct sendmail_options o;
	char store[300], *argv[40];

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, parse(row[i].name, row[i].line, &o, store, argv));
		check_row(i, o.mode == row[i].mode);
	}
	assert_true(parse("sendmail", "sendmail -qRexample.org", &o, store, argv));
	assert_string_equal(o.flush_rcpt, "example.org");
	assert_true(parse("sendmail", "sendmail -qSme@x", &o, store, argv));
	assert_string_equal(o.flush_sender, "me@x");
}

static void
dsn_options(void **unused)
{
	static const struct { const char *line; bool ok; unsigned notify, ret; } row[] = {
		{ "sendmail -N never a@x", true, NOTIFY_NEVER, 0 },
		{ "sendmail -Nsuccess,failure -R hdrs a@x", true, NOTIFY_SUCCESS | NOTIFY_FAILURE, 2 },
		{ "sendmail -N DELAY -Rfull -V env-1 a@x", true, NOTIFY_DELAY, 1 },
		{ "sendmail -N never,success a@x", false, 0, 0 },
		{ "sendmail -N soon a@x", false, 0, 0 },
		{ "sendmail -R half a@x", false, 0, 0 },
		{ "sendmail -B 9BIT a@x", false, 0, 0 },
		{ "sendmail -V \x01 a@x", false, 0, 0 },
		{ "sendmail -Z a@x", false, 0, 0 },
		{ "sendmail -bx a@x", false, 0, 0 },
		{ "sendmail -f", false, 0, 0 },
	};
	struct sendmail_options o;
	char store[300], *argv[40];

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, parse("sendmail", row[i].line, &o, store, argv) == row[i].ok);
		check_row(i, !row[i].ok || (o.notify == row[i].notify && o.ret == row[i].ret));
	}
}

/* ---- lines ---- */

struct lines_row {
	const char	*in;
	size_t		 len;
	bool		 dot_ends, stuffed, crlf_only;
	const char	*out;
	bool		 ended;
};

static void
feed(const struct lines_row *row, size_t step, struct buf *out, struct mail_lines *m)
{
	*m = (struct mail_lines){ .dot_ends = row->dot_ends, .stuffed = row->stuffed, .crlf_only = row->crlf_only };
	buf_reset(out);
	for (size_t at = 0; at < row->len; at += step)
		(void)mail_lines_feed(m, slice_sub(slice_make(row->in, row->len), at, step), out);
	mail_lines_end(m, out);
}

static void
lines_are_made_strict(void **unused)
{
#define TEXT(s) s, sizeof(s) - 1
	static const struct lines_row row[] = {
		{ TEXT("a\nb\n"), true, false, false, "a\r\nb\r\n", false },
		{ TEXT("a\r\nb\r\n"), true, false, false, "a\r\nb\r\n", false },
		{ TEXT("no end"), true, false, false, "no end\r\n", false },
		{ TEXT("a\rb\r\r\n"), true, false, false, "a b \r\n", false },
		{ TEXT("a\r"), true, false, false, "a \r\n", false },
		{ TEXT("a\0b\n"), true, false, false, "a b\r\n", false },
		{ TEXT("a\n.\nb\n"), true, false, false, "a\r\n", true },
		{ TEXT("a\r\n.\r\nb\n"), true, false, false, "a\r\n", true },
		{ TEXT("a\n.\nb\n"), false, false, false, "a\r\n.\r\nb\r\n", false },
		{ TEXT(".."), true, false, false, "..\r\n", false },
		{ TEXT(".x\n..y\n"), true, false, false, ".x\r\n..y\r\n", false },
		{ TEXT("."), true, false, false, "", true },
		{ TEXT("..x\r\n...\r\n.\r\n"), true, true, true, ".x\r\n..\r\n", true },
		/* SMTP smuggling: no end of data but CRLF.CRLF */
		{ TEXT("a\n.\nb\r\n.\r\n"), true, true, true, "a . b\r\n", true },
		{ TEXT("a\n.\r\nb\r\n.\r\n"), true, true, true, "a .\r\nb\r\n", true },
		{ TEXT("a\r\n.\nb\r\n.\r\n"), true, true, true, "a\r\n b\r\n", true },
		{ TEXT("a\r\n.\rb\r\n.\r\n"), true, true, true, "a\r\n b\r\n", true },
	};
	struct mail_lines m;
	struct buf out;

	(void)unused;
	buf_init(&out, 4096);
	for (size_t i = 0; i < LEN(row); i++) {
		for (size_t step = 1; step < 8; step++) {
			feed(&row[i], step, &out, &m);
			check_row(i, slice_is(buf_slice_of(&out), row[i].out));
			check_row(i, m.ended == row[i].ended);
		}
	}
	buf_clear(&out);
}

/* ---- headers ---- */

static void
header_ends(void **unused)
{
	static const struct { const char *text; size_t len; bool ended, blank; } row[] = {
		{ "A: b\r\n\r\nbody\r\n", 6, true, true },
		{ "A: b\r\n c\r\nD: e\r\n\r\n", 16, true, true },
		{ "A: b\r\nno field\r\n", 6, true, false },
		{ "no field at all\r\n", 0, true, false },
		{ "\r\nbody\r\n", 0, true, true },
		{ "From me Mon Nov\r\nA: b\r\n\r\n", 23, true, true },
		{ "A: b\r\nC: d\r\n", 12, false, false },
		{ "A : b\r\n\r\n", 7, true, true },
		{ " starts with a blank\r\n", 0, true, false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		bool ended, blank;

		check_row(i, mail_header_end(slice_of(row[i].text), 0, &ended, &blank) == row[i].len);
		check_row(i, ended == row[i].ended && blank == row[i].blank);
	}
}

static bool
collect(void *ctx, struct slice addr)
{
	return buf_fmt(ctx, "[%.*s]", (int)addr.len, addr.ptr);
}

static void
header_recipients(void **unused)
{
	static const struct { const char *text, *rcpts, *kept; bool resent; } row[] = {
		{ "To: a@x, B <b@x>\r\nCc: c@x\r\nBcc: d@x\r\n", "[a@x][b@x][c@x][d@x]", "To: a@x, B <b@x>\r\nCc: c@x\r\n", false },
		{ "bcc: d@x,\r\n\te@x\r\nSubject: Bcc: no\r\n", "[d@x][e@x]", "Subject: Bcc: no\r\n", false },
		{ "To: a@x\r\nResent-To: r@x\r\nResent-Bcc: s@x\r\nBcc: t@x\r\n", "[r@x][s@x]", "To: a@x\r\nResent-To: r@x\r\n", true },
		{ "From u Mon\r\nTo: a@x\r\n", "[a@x]", "To: a@x\r\n", false },
		{ "To : a@x\r\nX-To: no@x\r\n", "[a@x]", "To : a@x\r\nX-To: no@x\r\n", false },
	};
	struct buf rcpts, kept;

	(void)unused;
	buf_init(&rcpts, 4096);
	buf_init(&kept, 4096);
	for (size_t i = 0; i < LEN(row); i++) {
		struct mail_header h;
		bool bad = false;

		buf_reset(&rcpts);
		buf_reset(&kept);
		check_row(i, mail_header_scan(slice_of(row[i].text), true, &h, &kept));
		check_row(i, h.resent == row[i].resent);
		check_row(i, mail_header_rcpts(slice_of(row[i].text), h.resent, collect, &rcpts, &bad) && !bad);
		check_row(i, slice_is(buf_slice_of(&rcpts), row[i].rcpts));
		check_row(i, slice_is(buf_slice_of(&kept), row[i].kept));
	}
	buf_clear(&rcpts);
	buf_clear(&kept);
}

static void
address_lists(void **unused)
{
	static const struct { const char *field, *addrs; bool bad; } row[] = {
		{ " a@x , b@y\r\n", "[a@x][b@y]", false },
		{ "\"Doe, J.\" <j@x>, (a comment, with a (nested) one) k@x (K)", "[j@x][k@x]", false },
		{ "list: a@x, B <b@x>;, c@x", "[a@x][b@x][c@x]", false },
		{ "undisclosed-recipients:;", "", false },
		{ "<@r1.x,@r2.x:u@x>", "[u@x]", false },
		{ "a . b @ x . y", "[a.b@x.y]", false },
		{ "\"a b\"@x, <\"c,d\"@x>", "[\"a b\"@x][\"c,d\"@x]", false },
		{ "u@[192.0.2.1], v@[IPv6:2001:db8::1]", "[u@[192.0.2.1]][v@[IPv6:2001:db8::1]]", false },
		{ "root", "[root]", false },
		{ ",,a@x,,", "[a@x]", false },
		{ "", "", false },
		{ "two words, a@x", "[a@x]", true },
		{ "(open, a@x", "", true },
		{ "<a@x, b@x", "", true },
		{ "\"open, a@x", "", true },
		{ "A <a@x> <b@x>, c@x", "[c@x]", true },
		{ "\"back\\\\slash\\\"\"@x", "[\"back\\\\slash\\\"\"@x]", false },
	};
	struct buf addr, all;

	(void)unused;
	buf_init(&addr, 1024);
	buf_init(&all, 4096);
	for (size_t i = 0; i < LEN(row); i++) {
		struct slice field = slice_of(row[i].field);
		bool bad = false;

		buf_reset(&all);
		while (header_addr_next(&field, &addr, &bad))
			(void)collect(&all, buf_slice_of(&addr));
		check_row(i, bad == row[i].bad);
		check_row(i, slice_is(buf_slice_of(&all), row[i].addrs));
	}
	buf_clear(&addr);
	buf_clear(&all);
}

static void
from_field(void **unused)
{
	static const struct { const char *name, *field; } row[] = {
		{ "", "u@x" }, { "Plain Name", "Plain Name <u@x>" }, { "Doe, J. \"Q\"", "\"Doe, J. \\\"Q\\\"\" <u@x>" },
		{ "J\xc3\xb6rg", "=?UTF-8?B?SsO2cmc=?= <u@x>" },
	};
	struct buf out;

	(void)unused;
	buf_init(&out, 1024);
	for (size_t i = 0; i < LEN(row); i++) {
		buf_reset(&out);
		mail_header_from(&out, slice_of(row[i].name), SLICE("u@x"));
		check_row(i, slice_is(buf_slice_of(&out), row[i].field));
	}
	buf_clear(&out);
}

/* A whole message, fed octet by octet: what is missing is added, what is there stays. */
static void
messages_are_completed(void **unused)
{
	static const struct { const char *in, *out, *id; bool resent; } row[] = {
		{ "Subject: s\r\n\r\nbody\r\n",
		  "Subject: s\r\nMessage-ID: <19700101000000.ID@h>\r\nDate: D\r\nFrom: N <u@x>\r\n\r\nbody\r\n", "<19700101000000.ID@h>", false },
		{ "From: a@b\r\nDate: d\r\nMessage-Id: <m@b>\r\n\r\nbody\r\n",
		  "From: a@b\r\nDate: d\r\nMessage-Id: <m@b>\r\n\r\nbody\r\n", "<m@b>", false },
		{ "only a body\r\n", "Message-ID: <19700101000000.ID@h>\r\nDate: D\r\nFrom: N <u@x>\r\n\r\nonly a body\r\n",
		  "<19700101000000.ID@h>", false },
		{ "\r\nbody\r\n", "Message-ID: <19700101000000.ID@h>\r\nDate: D\r\nFrom: N <u@x>\r\n\r\nbody\r\n", "<19700101000000.ID@h>", false },
		{ "From: a@b\r\nMessage-ID: <o@b>\r\nResent-To: r@x\r\n\r\n",
		  "From: a@b\r\nMessage-ID: <o@b>\r\nResent-To: r@x\r\nResent-Message-ID: <19700101000000.ID@h>\r\nResent-Date: D\r\n"
		  "Resent-From: N <u@x>\r\n\r\n", "<o@b>", true },
	};
	const struct mail_extra extra = { .id = "ID", .hostname = "h", .name = SLICE("N"), .from = SLICE("u@x"), .now = 0 };

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct mail_message m;
		struct buf head, id;
		char text[1000], *date, *end;

		mail_message_init(&m, 0);
		buf_init(&head, 4096);
		buf_init(&id, 1024);
		for (const char *p = row[i].in; *p != '\0'; p++)
			check_row(i, mail_message_feed(&m, slice_make(p, 1)));
		check_row(i, mail_message_end(&m, true));
		check_row(i, m.info.resent == row[i].resent);
		check_row(i, mail_message_finish(&m, &extra, &head, &id));
		(void)snprintf(text, sizeof(text), "%s%.*s", buf_cstr(&head), (int)m.body.len, m.body.len > 0 ? m.body.ptr : "");
		date = strstr(text, "Date: Thu, 01 Jan 1970");	/* in whatever zone */
		if (date != NULL) {
			end = strstr(date, "\r\n");
			memmove(date + 7, end, strlen(end) + 1);
			date[6] = 'D';
		}
		check_row(i, strcmp(text, row[i].out) == 0);
		check_row(i, slice_is(buf_slice_of(&id), row[i].id));
		mail_message_clear(&m);
		buf_clear(&head);
		buf_clear(&id);
	}
}

/* A body over the limit of a frame goes to a file, and comes out whole. */
static void
large_bodies_go_to_a_file(void **unused)
{
	enum { LINES = 20000 };
	struct mail_message m;
	char path[] = "/tmp/pp-body-XXXXXX", line[16];
	int fd = mkstemp(path);
	FILE *f;

	(void)unused;
	assert_true(fd >= 0);
	mail_message_init(&m, 1000000);
	assert_true(mail_message_feed(&m, SLICE("A: b\r\n\r\n")));
	for (int i = 0; i < LINES; i++) {
		(void)snprintf(line, sizeof(line), "%08d\r\n", i);
		assert_true(mail_message_feed(&m, slice_of(line)));
	}
	assert_true(mail_message_end(&m, false));
	assert_true(m.body_fd >= 0);
	assert_int_equal(m.body_size, LINES * 10);
	assert_true(mail_message_copy_body(&m, fd));
	f = fdopen(fd, "r");
	rewind(f);
	for (int i = 0; i < LINES; i++) {
		assert_non_null(fgets(line, sizeof(line), f));
		assert_int_equal(atoi(line), i);
	}
	(void)fclose(f);
	(void)unlink(path);
	for (int i = 0; i < 100000 && !m.too_big; i++)
		(void)mail_message_feed(&m, SLICE("0123456789\r\n"));
	assert_true(m.too_big);
	mail_message_clear(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(callers_keep_working), cmocka_unit_test(modes), cmocka_unit_test(dsn_options),
		cmocka_unit_test(lines_are_made_strict), cmocka_unit_test(header_ends),
		cmocka_unit_test(header_recipients), cmocka_unit_test(address_lists), cmocka_unit_test(from_field),
		cmocka_unit_test(messages_are_completed), cmocka_unit_test(large_bodies_go_to_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
