/* pop3d after login: commands over a maildrop that is made up here. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pop3d/pop3_session.h"
#include "pop3d/pop3_text.h"

#define MESSAGES 3

struct drop {
	const char		*text[MESSAGES];
	bool			 open;
	enum pop3_result	 reading, removing;
	uint32_t		 removed[MESSAGES];
	size_t			 removed_n;
};

static struct drop drop;
static struct pop3_session s;
static struct buf out;

static void
drop_uidl(void *ctx, uint32_t n, char id[POP3_UIDL_MAX + 2])
{
	(void)ctx;
	(void)snprintf(id, POP3_UIDL_MAX + 2, "id%u", n);
}

static enum pop3_result
drop_open(void *ctx, uint32_t n, struct slice *text)
{
	struct drop *d = ctx;

	assert_false(d->open);
	if (d->reading != POP3_DONE)
		return d->reading;
	*text = slice_of(d->text[(n - 1) % MESSAGES]);
	d->open = true;
	return POP3_DONE;
}

static void
drop_close(void *ctx)
{
	struct drop *d = ctx;

	assert_true(d->open);
	d->open = false;
}

static enum pop3_result
drop_remove(void *ctx, const uint32_t *number, size_t n)
{
	struct drop *d = ctx;

	for (d->removed_n = 0; d->removed_n < n; d->removed_n++)
		d->removed[d->removed_n] = number[d->removed_n];
	return d->removing;
}

static const struct pop3_ops ops = {
	.uidl = drop_uidl, .text_open = drop_open, .text_close = drop_close, .remove = drop_remove,
};

static void
begin_n(uint32_t count)
{
	struct pop3_message *m = calloc(count, sizeof(*m));

	drop = (struct drop){ .text = { "A: b\r\n\r\none\r\ntwo\r\nthree\r\n", ".\r\n..x\r\n", "no end" } };
	for (uint32_t i = 0; i < count; i++)
		m[i].size = strlen(drop.text[i % MESSAGES]);
	pop3_session_init(&s, &ops, &drop, m, count, true);
	buf_clear(&out);
	buf_init(&out, 8 << 20);
}

static void
begin(void)
{
	begin_n(MESSAGES);
}

/* One line and all that follows from it. */
static enum pop3_want
say(const char *line)
{
	enum pop3_want want;

	buf_reset(&out);
	want = pop3_session_line(&s, slice_of(line), &out);
	while (want == POP3_WANT_MORE)
		want = pop3_session_more(&s, &out);
	assert_false(out.full);
	return want;
}

static void
conversation(void **unused)
{
	static const struct { const char *line, *reply; } row[] = {
		{ "STAT",	"+OK 3 39\r\n" },
		{ "stat x",	"-ERR Too many arguments\r\n" },
		{ "LIST",	"+OK 3 messages (39 octets)\r\n1 25\r\n2 8\r\n3 6\r\n.\r\n" },
		{ "LIST 2",	"+OK 2 8\r\n" },
		{ "LIST 4",	"-ERR No such message\r\n" },
		{ "LIST 0",	"-ERR No such message\r\n" },
		{ "LIST x",	"-ERR A message number is needed\r\n" },
		{ "LIST 1 2",	"-ERR Too many arguments\r\n" },
		{ "UIDL",	"+OK 3 messages (39 octets)\r\n1 id1\r\n2 id2\r\n3 id3\r\n.\r\n" },
		{ "UIDL 3",	"+OK 3 id3\r\n" },
		{ "RETR",	"-ERR A message number is needed\r\n" },
		{ "RETR 1",	"+OK 25 octets\r\nA: b\r\n\r\none\r\ntwo\r\nthree\r\n.\r\n" },
		{ "RETR 2",	"+OK 8 octets\r\n..\r\n...x\r\n.\r\n" },
		{ "RETR 3",	"+OK 6 octets\r\nno end\r\n.\r\n" },
		{ "TOP 1 2",	"+OK\r\nA: b\r\n\r\none\r\ntwo\r\n.\r\n" },
		{ "TOP 1 0",	"+OK\r\nA: b\r\n\r\n.\r\n" },
		{ "TOP 1 4294967295", "+OK\r\nA: b\r\n\r\none\r\ntwo\r\nthree\r\n.\r\n" },
		{ "TOP 1",	"-ERR A number of lines is needed\r\n" },
		{ "TOP 1 -1",	"-ERR A number of lines is needed\r\n" },
		{ "NOOP",	"+OK\r\n" },
		{ "DELE 2",	"+OK Marked as deleted\r\n" },
		{ "DELE 2",	"-ERR Message is marked as deleted\r\n" },
		{ "RETR 2",	"-ERR Message is marked as deleted\r\n" },
		{ "TOP 2 1",	"-ERR Message is marked as deleted\r\n" },
		{ "UIDL 2",	"-ERR Message is marked as deleted\r\n" },
		{ "STAT",	"+OK 2 31\r\n" },
		{ "LIST",	"+OK 2 messages (31 octets)\r\n1 25\r\n3 6\r\n.\r\n" },
		{ "UIDL",	"+OK 2 messages (31 octets)\r\n1 id1\r\n3 id3\r\n.\r\n" },
		{ "RSET",	"+OK No message is marked\r\n" },
		{ "LIST 2",	"+OK 2 8\r\n" },
		{ "USER x",	"-ERR Unknown command\r\n" },
		{ "",		"-ERR Unknown command\r\n" },
	};

	(void)unused;
	begin();
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, say(row[i].line) == POP3_WANT_LINE);
		check_row(i, slice_is(buf_slice_of(&out), row[i].reply));
		check_row(i, !drop.open);
	}
	pop3_session_clear(&s);
}

/* Nothing is removed but by QUIT, and its +OK says that it is done. */
static void
update(void **unused)
{
	static const struct { enum pop3_result result; const char *reply; } row[] = {
		{ POP3_DONE, "+OK Bye\r\n" },
		{ POP3_GONE, "+OK Bye\r\n" },
		{ POP3_FAILED, "-ERR [SYS/TEMP] Some deleted messages not removed\r\n" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		begin();
		drop.removing = row[i].result;
		(void)say("DELE 3");
		(void)say("DELE 1");
		check_row(i, drop.removed_n == 0);
		check_row(i, say("QUIT") == POP3_WANT_CLOSE);
		check_row(i, slice_is(buf_slice_of(&out), row[i].reply));
		check_row(i, drop.removed_n == 2 && drop.removed[0] == 1 && drop.removed[1] == 3);
		pop3_session_clear(&s);
	}
	begin();
	(void)say("DELE 1");
	pop3_session_clear(&s);
	assert_int_equal(drop.removed_n, 0);
	begin();
	(void)say("DELE 1");
	(void)say("RSET");
	assert_int_equal(say("QUIT"), POP3_WANT_CLOSE);
	assert_int_equal(drop.removed_n, 0);
	pop3_session_clear(&s);
}

static void
unreadable(void **unused)
{
	(void)unused;
	begin();
	drop.reading = POP3_GONE;
	(void)say("RETR 1");
	assert_string_equal(buf_cstr(&out), "-ERR Message was removed by another session\r\n");
	drop.reading = POP3_FAILED;
	(void)say("TOP 1 1");
	assert_string_equal(buf_cstr(&out), "-ERR [SYS/TEMP] Cannot read the message now\r\n");
	pop3_session_clear(&s);
}

/* The connection may go in the middle of a message. */
static void
cut_while_sending(void **unused)
{
	(void)unused;
	begin();
	buf_reset(&out);
	assert_int_equal(pop3_session_line(&s, SLICE("RETR 1"), &out), POP3_WANT_MORE);
	assert_true(drop.open);
	pop3_session_clear(&s);
	assert_false(drop.open);
}

static void
empty_maildrop(void **unused)
{
	(void)unused;
	begin_n(0);
	(void)say("STAT");
	assert_string_equal(buf_cstr(&out), "+OK 0 0\r\n");
	(void)say("UIDL");
	assert_string_equal(buf_cstr(&out), "+OK 0 messages (0 octets)\r\n.\r\n");
	(void)say("LIST 1");
	assert_string_equal(buf_cstr(&out), "-ERR No such message\r\n");
	assert_int_equal(say("QUIT"), POP3_WANT_CLOSE);
	pop3_session_clear(&s);
}

/* A long list comes in pieces, whole lines each, none too large. */
static void
long_list(void **unused)
{
	enum pop3_want want;
	size_t pieces = 0, total = 0;

	(void)unused;
	begin_n(50000);
	buf_reset(&out);
	want = pop3_session_line(&s, SLICE("UIDL"), &out);
	while (want == POP3_WANT_MORE) {
		buf_reset(&out);
		want = pop3_session_more(&s, &out);
		assert_true(out.len <= POP3_PIECE + 100);
		assert_int_equal(out.ptr[out.len - 1], '\n');
		total += out.len;
		pieces++;
	}
	assert_int_equal(want, POP3_WANT_LINE);
	assert_true(pieces > 10 && total > 50000 * 9);
	pop3_session_clear(&s);
}

static void
too_many_errors(void **unused)
{
	(void)unused;
	begin();
	for (unsigned i = 1; i < POP3_ERRORS_MAX; i++)
		assert_int_equal(say("BLAH"), POP3_WANT_LINE);
	assert_int_equal(say("BLAH"), POP3_WANT_CLOSE);
	pop3_session_clear(&s);
}

/* What a client makes of a multi-line response. */
static void
unstuff(struct slice text, struct buf *plain)
{
	bool ended = false;

	while (text.len != 0) {
		struct slice line = slice_sub(text, 0, slice_find(text, '\n') + 1);

		text = slice_sub(text, line.len, text.len);
		assert_false(ended);
		if (slice_is(line, ".\r\n")) {
			ended = true;
			continue;
		}
		(void)slice_prefix(&line, ".");
		(void)buf_slice(plain, line);
	}
	assert_true(ended);
}

/* The same for every size of the pieces. */
static void
text_in_pieces(void **unused)
{
	static const char *const row[] = {
		"", "\r\n", ".", "..", ".\r\n", "a\r\n.\r\n", "a\r\n.b\r\n..\r\n.", "\r\n\r\n.\r\n\r\n..c",
		"x.\r\n.x\r\n", "a\n.b\n", "....\r\n....\r\n",
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		for (size_t piece = 1; piece < 12; piece++) {
			struct slice in = slice_of(row[i]);
			struct buf text, plain;
			struct pop3_text t;

			buf_init(&text, 1000);
			buf_init(&plain, 1000);
			pop3_text_begin(&t, in);
			while (!pop3_text_piece(&t, piece, &text))
				assert_true(text.len < 1000);
			unstuff(buf_slice_of(&text), &plain);
			if (in.len != 0 && in.ptr[in.len - 1] != '\n')
				check_row(i, plain.len == in.len + 2);
			else
				check_row(i, plain.len == in.len);
			check_row(i, in.len == 0 || memcmp(plain.ptr, in.ptr, in.len) == 0);
			buf_clear(&text);
			buf_clear(&plain);
		}
	}
}

static void
top_of_texts(void **unused)
{
	static const struct { const char *text; uint32_t lines; const char *top; } row[] = {
		{ "", 5, "" },
		{ "A: b", 0, "A: b" },
		{ "A: b\r\n", 1, "A: b\r\n" },
		{ "\r\nbody\r\n", 0, "\r\n" },
		{ "\r\nbody\r\n", 1, "\r\nbody\r\n" },
		{ "A\r\n\r\n1\r\n2", 1, "A\r\n\r\n1\r\n" },
		{ "A\r\n\r\n1\r\n2", 2, "A\r\n\r\n1\r\n2" },
		{ "A\n\n1\n2\n", 1, "A\n\n1\n" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_row(i, slice_is(pop3_text_top(slice_of(row[i].text), row[i].lines), row[i].top));
}

static int
tear_down(void **unused)
{
	(void)unused;
	buf_clear(&out);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conversation),
		cmocka_unit_test(update),
		cmocka_unit_test(unreadable),
		cmocka_unit_test(cut_while_sending),
		cmocka_unit_test(empty_maildrop),
		cmocka_unit_test(long_list),
		cmocka_unit_test(too_many_errors),
		cmocka_unit_test(text_in_pieces),
		cmocka_unit_test(top_of_texts),
	};

	return cmocka_run_group_tests(tests, NULL, tear_down);
}
