/* dropfile: the header round trip, every cut of it, content checks, the way to the disk. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dropfile.h"

static char dir[] = "/tmp/pp-drop-XXXXXX";
static int dirfd_;

static int
setup(void **unused)
{
	(void)unused;
	assert_non_null(mkdtemp(dir));
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
	return dirfd_ < 0;
}

static int
teardown(void **unused)
{
	(void)unused;
	(void)close(dirfd_);
	return rmdir(dir);
}

static void
make(struct dropfile *d, struct buf *rcpts, uint64_t content_size)
{
	const struct ipc_rcpt two[] = {
		{ .addr = SLICE("a@x.example"), .notify = NOTIFY_FAILURE },
		{ .addr = SLICE("b@x.example"), .orcpt = SLICE("rfc822;b@y.example") },
	};

	buf_init(rcpts, 4096);
	for (size_t i = 0; i < LEN(two); i++)
		assert_true(ipc_add_rcpt(rcpts, &two[i]));
	*d = (struct dropfile){
		.content_size = content_size, .received_usec = 1795437689415050, .uid = 1000, .body_8bit = true,
		.ret = 2, .sender = SLICE("s@z.example"), .envid = SLICE("id"), .message_id = SLICE("<m@z>"),
		.rcpts = buf_slice_of(rcpts),
	};
}

static void
header_round_trip_and_cuts(void **unused)
{
	struct buf rcpts, text;
	struct dropfile d, got;
	struct slice header;
	size_t len;

	(void)unused;
	make(&d, &rcpts, 77);
	buf_init(&text, 65536);
	assert_true(dropfile_print(&d, &text));
	len = dropfile_prefix(text.ptr);
	assert_int_equal(len + DROPFILE_PREFIX, text.len);
	header = slice_sub(buf_slice_of(&text), DROPFILE_PREFIX, len);
	assert_true(dropfile_parse(header, &got));
	assert_int_equal(got.content_size, 77);
	assert_int_equal(got.received_usec, d.received_usec);
	assert_int_equal(got.uid, 1000);
	assert_true(got.body_8bit && got.ret == 2);
	assert_true(slice_eq(got.sender, d.sender) && slice_eq(got.envid, d.envid) &&
	    slice_eq(got.message_id, d.message_id) && slice_eq(got.rcpts, d.rcpts));
	for (size_t cut = 0; cut < len; cut++)
		check_row(cut, !dropfile_parse(slice_sub(header, 0, cut), &got));
	assert_true(buf_char(&text, '\0'));	/* and with something left over */
	assert_false(dropfile_parse(slice_sub(buf_slice_of(&text), DROPFILE_PREFIX, len + 1), &got));
	text.ptr[0] = 'X';
	assert_int_equal(dropfile_prefix(text.ptr), 0);
	buf_clear(&text);
	buf_clear(&rcpts);
}

/* The id of an earlier submission comes last, and only if there is one. */
static void
header_with_an_id(void **unused)
{
	struct buf rcpts, text;
	struct dropfile d, got;
	size_t len;

	(void)unused;
	make(&d, &rcpts, 77);
	d.qid = 0x123456789abcdef0;
	buf_init(&text, 65536);
	assert_true(dropfile_print(&d, &text));
	len = dropfile_prefix(text.ptr);
	assert_true(dropfile_parse(slice_sub(buf_slice_of(&text), DROPFILE_PREFIX, len), &got));
	assert_int_equal(got.qid, d.qid);
	assert_true(dropfile_parse(slice_sub(buf_slice_of(&text), DROPFILE_PREFIX, len - 8), &got));
	assert_int_equal(got.qid, 0);
	for (size_t cut = len - 7; cut < len; cut++)
		check_row(cut, !dropfile_parse(slice_sub(buf_slice_of(&text), DROPFILE_PREFIX, cut), &got));
	memset(text.ptr + text.len - 8, 0, 8);	/* none has one way to be written */
	assert_false(dropfile_parse(slice_sub(buf_slice_of(&text), DROPFILE_PREFIX, len), &got));
	buf_clear(&text);
	buf_clear(&rcpts);
}

/* Text from any user of the machine: no control octet gets through (V3). */
static void
hostile_headers_are_refused(void **unused)
{
	static const struct { const char *sender, *envid, *id, *rcpt; } row[] = {
		{ "a\nb@x", "", "", "r@x" }, { "a@x", "e\r", "", "r@x" }, { "a@x", "", "<m\n>", "r@x" },
		{ "a@x", "", "", "r\n@x" }, { "a@x", "", "", "" }, { "a@x", "", "", NULL },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		const struct ipc_rcpt one = { .addr = slice_of(row[i].rcpt) };
		struct dropfile d, got;
		struct buf rcpts, text;

		buf_init(&rcpts, 4096);
		buf_init(&text, 65536);
		if (row[i].rcpt != NULL)
			assert_true(ipc_add_rcpt(&rcpts, &one));
		d = (struct dropfile){ .sender = slice_of(row[i].sender), .envid = slice_of(row[i].envid),
		    .message_id = slice_of(row[i].id), .rcpts = buf_slice_of(&rcpts) };
		assert_true(dropfile_print(&d, &text));
		check_row(i, !dropfile_parse(slice_sub(buf_slice_of(&text), DROPFILE_PREFIX, text.len), &got));
		buf_clear(&text);
		buf_clear(&rcpts);
	}
}

static void
content_is_crlf_lines(void **unused)
{
	static const struct { const char *text; size_t len; bool ok; } row[] = {
		{ "", 0, true }, { "a\r\n", 3, true }, { "a\r\n\r\n.\r\n", 8, true }, { "\x80\r\n", 3, true },
		{ "a", 1, false }, { "a\n", 2, false }, { "a\rb\r\n", 5, false }, { "a\r\r\n", 4, false },
		{ "\n", 1, false }, { "a\0b\r\n", 5, false }, { "a\r", 2, false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		/* In one piece, and octet by octet. */
		struct dropfile_lines whole = { '\n' }, split = { '\n' };
		bool ok = dropfile_lines_feed(&whole, slice_make(row[i].text, row[i].len)) && dropfile_lines_end(&whole);
		bool same = true;

		for (size_t k = 0; k < row[i].len; k++)
			same = same && dropfile_lines_feed(&split, slice_make(row[i].text + k, 1));
		same = same && dropfile_lines_end(&split);
		check_row(i, ok == row[i].ok);
		check_row(i, same == row[i].ok);
	}
}

static void
written_read_and_claimed(void **unused)
{
	static const char content[] = "Subject: x\r\n\r\nbody\r\n";
	char claimed[DROPFILE_NAME], body[64];
	struct dropfile_writer w;
	struct dropfile d, got;
	struct buf rcpts, header;
	struct qid q = { .n = 123456789 }, back;
	struct stat st;
	int fd;

	(void)unused;
	make(&d, &rcpts, sizeof(content) - 1);
	assert_true(dropfile_create(&w, dirfd_, &d));
	assert_int_equal(dropfile_name(w.tmp, &back), DROPFILE_TEMPORARY);
	assert_true(dropfile_write(&w, slice_make(content, 5)));
	assert_false(dropfile_commit(&w));	/* not all has come */
	assert_true(w.bad);
	assert_true(dropfile_write(&w, slice_of(content + 5)));
	assert_true(dropfile_commit(&w));
	dropfile_abort(&w);			/* does nothing any more */
	assert_int_equal(dropfile_name(w.name, &back), DROPFILE_READY);

	buf_init(&header, DROPFILE_HEADER_MAX);
	fd = dropfile_open(dirfd_, w.name, &header, &got);
	assert_true(fd >= 0);
	assert_int_equal(got.uid, getuid());	/* the owner of the file, not what it says */
	assert_int_equal(read(fd, body, sizeof(body)), sizeof(content) - 1);
	assert_memory_equal(body, content, sizeof(content) - 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	(void)close(fd);

	assert_true(dropfile_claim_name(w.name, q, claimed));
	assert_int_equal(dropfile_name(claimed, &back), DROPFILE_CLAIMED);
	assert_int_equal(back.n, q.n);
	assert_false(dropfile_claim_name(claimed, q, claimed));
	assert_int_equal(unlinkat(dirfd_, w.name, 0), 0);
	buf_clear(&header);
	buf_clear(&rcpts);
}

/* What a user may plant in the folder through a broken helper: links (to a good file, even), FIFOs, short files. */
static void
planted_files_are_refused(void **unused)
{
	static const char *const names[] = {
		"D000660f139cfadf91b6bf055cf628bad", "D000660f139cfadf91b6bf055cf628bae", "D000660f139cfadf91b6bf055cf628baf",
	};
	struct dropfile_writer w;
	struct buf header, rcpts;
	struct dropfile d;
	int fd;

	(void)unused;
	buf_init(&header, DROPFILE_HEADER_MAX);
	make(&d, &rcpts, 0);
	assert_true(dropfile_create(&w, dirfd_, &d) && dropfile_commit(&w));
	assert_int_equal(symlinkat(w.name, dirfd_, names[0]), 0);
	assert_int_equal(mkfifoat(dirfd_, names[1], 0600), 0);
	fd = openat(dirfd_, names[2], O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "PPDROP1\n\xff\xff\xff\xff", 12), 12);
	(void)close(fd);
	for (size_t i = 0; i < LEN(names); i++) {
		check_row(i, dropfile_open(dirfd_, names[i], &header, &d) == -1);
		assert_int_equal(unlinkat(dirfd_, names[i], 0), 0);
	}
	fd = dropfile_open(dirfd_, w.name, &header, &d);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(linkat(dirfd_, w.name, dirfd_, names[0], 0), 0);
	assert_int_equal(dropfile_open(dirfd_, w.name, &header, &d), -1);
	assert_int_equal(unlinkat(dirfd_, names[0], 0), 0);
	assert_int_equal(unlinkat(dirfd_, w.name, 0), 0);
	buf_clear(&header);
	buf_clear(&rcpts);
}

static void
aborted_leaves_nothing(void **unused)
{
	struct dropfile_writer w;
	struct dropfile d;
	struct buf rcpts;

	(void)unused;
	make(&d, &rcpts, 5);
	assert_true(dropfile_create(&w, dirfd_, &d));
	assert_false(dropfile_write(&w, SLICE("a\nb\r\n")));
	assert_true(w.bad);
	dropfile_abort(&w);	/* teardown's rmdir() sees what is left */
	buf_clear(&rcpts);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_round_trip_and_cuts),
		cmocka_unit_test(header_with_an_id),
		cmocka_unit_test(hostile_headers_are_refused),
		cmocka_unit_test(content_is_crlf_lines),
		cmocka_unit_test(written_read_and_claimed),
		cmocka_unit_test(planted_files_are_refused),
		cmocka_unit_test(aborted_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
