#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "queue/queue_log.h"
#include "queue/queue_replay.h"
#include "queue/queue_scan.h"

/* A log, and what it told. */
struct fixture {
	char		 dir[64];
	int		 dirfd;
	struct queue_log log;
	unsigned	 applied, refused, committed, opened;
	uint64_t	 cookie[1000];		/* of those applied */
	struct segment	*segment[1000];
	uint32_t	 offset[1000];
};

static void
on_applied(void *ctx, const struct log_applied *a)
{
	struct fixture *f = ctx;

	assert_true(f->applied < 1000);
	f->cookie[f->applied] = a->cookie;
	f->segment[f->applied] = a->segment;
	f->offset[f->applied++] = a->offset;
}

static void
on_refused(void *ctx, uint16_t type, struct slice body, uint64_t cookie, const char *why)
{
	struct fixture *f = ctx;

	(void)type;
	(void)body;
	(void)cookie;
	assert_non_null(why);
	f->refused++;
}

static void
on_committed(void *ctx)
{
	((struct fixture *)ctx)->committed++;
}

static void
on_opening(void *ctx)
{
	struct fixture *f = ctx;

	f->opened++;
	queue_log_opening(&f->log, RECORD_TYPE_lease, SLICE("opening"));
}

static const struct queue_log_ops ops = { .applied = on_applied, .refused = on_refused, .committed = on_committed,
	.opening = on_opening };

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	log_setup(&(struct log_setup){ .tag = "test", .program = "queue", .fd = -1 });
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/pp-queue-log-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->dirfd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(queue_log_init(&f->log, f->dirfd, &ops, f, NULL));
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	char command[128];

	queue_log_close(&f->log);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	(void)close(f->dirfd);
	free(f);
	return 0;
}

static bool
append(struct fixture *f, enum log_class class, uint64_t n, const char *content)
{
	struct record_message m = { .qid = n, .size = strlen(content), .rcpts = SLICE("") };
	struct buf body;
	bool ok;

	buf_init(&body, 1000);
	assert_true(record_put_message(&body, &m));
	ok = queue_log_append(&f->log, class, RECORD_TYPE_message, buf_slice_of(&body), slice_of(content), n, true);
	buf_clear(&body);
	return ok;
}

static void
a_batch_is_applied_in_order_and_read_back(void **state)
{
	struct fixture *f = *state;
	struct record_head head;
	struct slice body, content;
	struct buf into;
	char text[40];

	for (uint64_t n = 1; n <= 10; n++) {
		(void)snprintf(text, sizeof(text), "content %u\r\n", (unsigned)n);
		assert_true(append(f, LOG_INTAKE, n, text));
	}
	assert_int_equal(f->applied, 0);	/* not before it is durable */
	assert_true(queue_log_commit(&f->log));
	assert_int_equal(f->applied, 10);
	assert_int_equal(f->committed, 1);
	assert_int_equal(f->log.syncs, 1);	/* once for all */
	assert_int_equal(f->opened, 1);
	buf_init(&into, 100000);
	for (int round = 0; round < 2; round++) {	/* out of the last batch, then out of the file */
		for (uint64_t n = 1; n <= 10; n++) {
			assert_true(f->cookie[n - 1] == n);
			assert_true(queue_log_read(&f->log, f->segment[n - 1], f->offset[n - 1], &into, &head, &body, &content));
			(void)snprintf(text, sizeof(text), "content %u\r\n", (unsigned)n);
			assert_true(slice_is(content, text));
		}
		assert_true(append(f, LOG_INTAKE, 11, "x"));
		assert_true(queue_log_commit(&f->log));
	}
	buf_clear(&into);
}

/* What replay finds in these octets: a bit for each message. */
struct found {
	unsigned	bits, broken;
	uint64_t	last_lsn;
};

static void
found_broken(void *ctx, uint64_t from, uint64_t to)
{
	assert_true(from < to);
	((struct found *)ctx)->broken++;
}

static void
found_record(void *ctx, uint16_t type, uint64_t lsn, struct slice body, uint32_t offset)
{
	struct found *found = ctx;
	struct record_message m;

	(void)offset;
	assert_true(lsn > found->last_lsn);	/* in order, none twice */
	found->last_lsn = lsn;
	if (type == RECORD_TYPE_message && record_get_message(body, &m))
		found->bits |= 1u << m.qid;
}

static struct found
replay(struct slice all, uint64_t salt)
{
	static const struct replay_ops replay_ops = { .broken = found_broken, .record = found_record };
	struct found found = { 0 };
	struct scan_memory m;

	scan_memory(&m, all);
	assert_true(replay_segment(&m.source, salt, false, &replay_ops, &found));
	return found;
}

/* The octets of the youngest segment. */
static void
read_segment(struct fixture *f, struct buf *out)
{
	const struct segment *s = f->log.last;
	char *to;

	buf_init(out, 1024 * 1024);
	to = buf_room(out, s->size + 2000);
	assert_int_equal(pread(s->fd, to, s->size + 2000, 0), (ssize_t)s->size + 2000);
	buf_add(out, s->size + 2000);
}

#define MESSAGES 8

static void
commit_some(struct fixture *f)
{
	for (uint64_t n = 0; n < MESSAGES; n++) {
		assert_true(append(f, LOG_INTAKE, n, "some content\r\nof a message\r\n"));
		if (n % 3 == 2)
			assert_true(queue_log_commit(&f->log));
	}
	assert_true(queue_log_commit(&f->log));
}

/* A write that ends anywhere: what was before it is there, what came after is not, nothing is half there. */
static void
cut_at_every_octet(void **state)
{
	struct fixture *f = *state;
	struct buf all;

	commit_some(f);
	read_segment(f, &all);
	for (size_t cut = SEGMENT_HEADER; cut < f->log.last->size; cut++) {
		struct found found;
		char *copy = malloc(all.len);
		unsigned want = 0;

		assert_non_null(copy);
		memcpy(copy, all.ptr, cut);
		memset(copy + cut, 0, all.len - cut);
		for (unsigned n = 0; n < MESSAGES; n++)
			if ((n + 1 < MESSAGES ? f->offset[n + 1] : f->log.last->size) <= cut)
				want |= 1u << n;
		found = replay(slice_make(copy, all.len), f->log.last->salt);
		assert_int_equal(found.bits & want, want);
		assert_int_equal(found.bits & ~want & ~(want + 1), 0);	/* the next at most, if only padding was cut */
		found = replay(slice_make(copy, cut), f->log.last->salt);
		assert_int_equal(found.bits & want, want);
		free(copy);
	}
	buf_clear(&all);
}

static void
flip_every_octet(void **state)
{
	struct fixture *f = *state;
	struct record_head head;
	struct buf all;
	size_t length;

	commit_some(f);
	read_segment(f, &all);
	assert_true(record_head_get(slice_make(all.ptr + f->offset[0], RECORD_HEAD), f->log.last->salt, &head));
	length = (size_t)RECORD_HEAD + head.body_len + head.content_len;
	for (size_t i = SEGMENT_HEADER, n = 0; i < all.len; i++) {
		struct found found;
		unsigned lost;

		all.ptr[i] = (char)(all.ptr[i] ^ (1 << i % 8));
		found = replay(buf_slice_of(&all), f->log.last->salt);
		lost = ~found.bits & ((1u << MESSAGES) - 1);
		assert_int_equal(lost & (lost - 1), 0);		/* one at most */
		assert_true(lost == 0 || found.broken == 1);
		/* Only padding and the last word of a head mean nothing. */
		n += n + 1 < MESSAGES && i >= f->offset[n + 1];
		if (i >= f->offset[0] && i < f->log.last->size && i - f->offset[n] < length &&
		    (i - f->offset[n] < RECORD_HEAD - 4 || i - f->offset[n] >= RECORD_HEAD))
			assert_int_equal(lost, 1u << n);
		all.ptr[i] = (char)(all.ptr[i] ^ (1 << i % 8));
	}
	buf_clear(&all);
}

static void
reordered_records_come_in_order(void **state)
{
	struct fixture *f = *state;
	struct buf all, mixed;
	struct found found;

	commit_some(f);
	read_segment(f, &all);
	buf_init(&mixed, 1024 * 1024);
	(void)buf_put(&mixed, all.ptr, f->offset[0]);
	for (unsigned k = 0; k < MESSAGES; k++) {	/* backwards, and the third twice */
		unsigned n = MESSAGES - 1 - k;
		size_t end = n + 1 < MESSAGES ? f->offset[n + 1] : f->log.last->size;

		(void)buf_put(&mixed, all.ptr + f->offset[n], end - f->offset[n]);
		if (n == 3)
			(void)buf_put(&mixed, all.ptr + f->offset[n], end - f->offset[n]);
	}
	found = replay(buf_slice_of(&mixed), f->log.last->salt);
	assert_int_equal(found.bits, (1u << MESSAGES) - 1);
	buf_clear(&all);
	buf_clear(&mixed);
}

/* Make writes beyond this size fail, as on a full disk. */
static void
limit_size(rlim_t size)
{
	struct rlimit limit;

	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = size == 0 ? limit.rlim_max : size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void
a_failed_write_refuses_messages_and_keeps_results(void **state)
{
	struct fixture *f = *state;
	struct segment *first;
	struct buf all;
	struct found found;

	commit_some(f);
	first = f->log.last;
	limit_size(first->size + 20);
	assert_true(append(f, LOG_INTAKE, 10, "refused"));
	assert_true(append(f, LOG_STATE, 11, "kept"));
	assert_false(queue_log_commit(&f->log));
	assert_int_equal(f->refused, 1);
	assert_int_equal(f->applied, MESSAGES);
	assert_true(f->log.broken);
	assert_int_equal(first->limit, 0);		/* never written to again */
	assert_non_null(queue_log_refuses(&f->log));
	assert_false(append(f, LOG_INTAKE, 12, "not now"));
	limit_size(0);
	f->log.retry_mono_usec = 0;			/* as if time had passed */
	assert_true(queue_log_commit(&f->log));
	assert_int_equal(f->applied, MESSAGES + 1);
	assert_true(f->cookie[MESSAGES] == 11);
	assert_ptr_not_equal(f->log.last, first);
	assert_false(f->log.broken);
	assert_true(append(f, LOG_INTAKE, 12, "again"));
	assert_true(queue_log_commit(&f->log));
	read_segment(f, &all);
	found = replay(buf_slice_of(&all), f->log.last->salt);
	assert_int_equal(found.bits, 1u << 11 | 1u << 12);
	/* The one that was refused is cancelled, whatever of it stands in the segment before. */
	assert_non_null(memmem(all.ptr, all.len, "\x08\0\0\0\x0a\0\0\0\0\0\0\0", 12));
	buf_clear(&all);
}

static void
segments_follow_each_other_and_go_from_the_oldest(void **state)
{
	struct fixture *f = *state;
	char *large = malloc(1024 * 1024 + 1);
	struct segment *first;
	unsigned n = 0;

	assert_non_null(large);
	memset(large, 'x', 1024 * 1024);
	large[1024 * 1024] = '\0';
	while (f->log.segment_n < 3) {
		assert_true(append(f, LOG_INTAKE, n % 30, large));
		assert_true(queue_log_commit(&f->log));
		assert_true(++n < 100);
	}
	first = f->log.first;
	first->live = 1;
	assert_false(queue_log_drop_first(&f->log));
	first->live = 0;
	first->pins = 1;
	assert_false(queue_log_drop_first(&f->log));
	first->pins = 0;
	assert_true(queue_log_drop_first(&f->log));
	assert_true(queue_log_drop_first(&f->log));
	assert_false(queue_log_drop_first(&f->log));	/* never the one being written */
	assert_int_equal(f->log.segment_n, 1);
	free(large);
}

static void
a_seal_says_that_all_is_whole(void **state)
{
	struct fixture *f = *state;
	char name[SEGMENT_NAME], path[128];
	struct scan_file file;
	struct stat st;
	uint64_t salt;
	int fd;

	commit_some(f);
	salt = f->log.last->salt;
	segment_name(f->log.last->seq, salt, name);
	(void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(scan_file_open(&file, fd));
	assert_false(scan_sealed(&file.source, salt));
	scan_file_close(&file);
	queue_log_close(&f->log);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_size < 10000);		/* the rest was given back */
	assert_true(scan_file_open(&file, fd));
	assert_true(scan_sealed(&file.source, salt));
	scan_file_close(&file);
	(void)close(fd);
	assert_true(queue_log_init(&f->log, f->dirfd, &ops, f, NULL));
}

static void
names(void **state)
{
	static const struct { const char *name; bool ok; } row[] = {
		{ "0000000000000001-00000000000000ff.seg", true },
		{ "00000000000000ab-0123456789abcdef.seg", true },
		{ "0000000000000000-0123456789abcdef.seg", false },
		{ "0000000000000001-0123456789ABCDEF.seg", false },
		{ "0000000000000001-0123456789abcdef.seg.tmp", false },
		{ "0000000000000001_0123456789abcdef.seg", false },
		{ "0000000000000001-00000040.bad", false },
		{ "..", false },
	};
	char back[SEGMENT_NAME];
	uint64_t seq, salt;

	(void)state;
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, segment_parse_name(row[i].name, &seq, &salt) == row[i].ok);
		if (!row[i].ok)
			continue;
		segment_name(seq, salt, back);
		assert_string_equal(back, row[i].name);
	}
	assert_true(segment_is_bad_name("0000000000000001-00000040.bad"));
	assert_false(segment_is_bad_name(".bad"));
}

#define TEST(name)	cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_batch_is_applied_in_order_and_read_back),
		TEST(cut_at_every_octet),
		TEST(flip_every_octet),
		TEST(reordered_records_come_in_order),
		TEST(a_failed_write_refuses_messages_and_keeps_results),
		TEST(segments_follow_each_other_and_go_from_the_oldest),
		TEST(a_seal_says_that_all_is_whole),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
