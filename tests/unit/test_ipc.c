/* ipc: the codec (every message cut at every octet), the sockets, the connection. */
#include "check.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc.h"
#include "ipc_conn.h"

/* Fill every field of every message with something within its limit. */
static const char pattern[16] = "0123456789abcdef";
#define FILL_u8(m, f, limit)	(m).f = (limit) > 0
#define FILL_u16(m, f, limit)	(m).f = (limit) > 7 ? 7 : (limit)
#define FILL_u32(m, f, limit)	(m).f = 7
#define FILL_u64(m, f, limit)	(m).f = (limit) > 1 ? 0x1122334455667788 : (limit)
#define FILL_slice(m, f, limit)	(m).f = slice_make(pattern, (limit) > 16 ? 16 : (limit))
#define FILL(type, name, limit, meaning)	FILL_##type(m, name, limit);
#define SAME_u8(a, b)		assert_int_equal(a, b)
#define SAME_u16(a, b)		assert_int_equal(a, b)
#define SAME_u32(a, b)		assert_int_equal(a, b)
#define SAME_u64(a, b)		assert_true((a) == (b))
#define SAME_slice(a, b)	assert_true(slice_eq(a, b))
#define SAME(type, name, limit, meaning)	SAME_##type(m.name, got.name);

#define ROUND_TRIP(name, code, sender, receiver, FIELDS) do {			\
	struct ipc_##name m = { 0 }, got;					\
	char *copy;								\
	FIELDS(FILL)								\
	buf_reset(&out);							\
	assert_true(ipc_put_##name(&out, &m));					\
	assert_true(ipc_get_##name(buf_slice_of(&out), &got));			\
	FIELDS(SAME)								\
	assert_string_equal(ipc_name(code), #name);				\
	for (size_t cut = 0; cut < out.len; cut++) {				\
		copy = malloc(cut + 1);	/* exact, so that ASAN sees a read past it */ \
		assert_non_null(copy);						\
		memcpy(copy, out.ptr, cut);					\
		assert_false(ipc_get_##name(slice_make(copy, cut), &got));	\
		free(copy);							\
	}									\
	(void)buf_char(&out, 'x');						\
	assert_false(ipc_get_##name(buf_slice_of(&out), &got));			\
} while (0);

static void
every_message(void **unused)
{
	struct buf out;

	(void)unused;
	buf_init(&out, IPC_FRAME_MAX);
	IPC_MESSAGES(ROUND_TRIP)
	buf_clear(&out);
}

static void
limits(void **unused)
{
	static char big[IPC_FRAME_MAX];
	struct ipc_submit_result m = { .verdict = 3 }, got;
	struct ipc_rcpt rcpt = { .addr = slice_make(big, 321) };
	struct buf out;

	(void)unused;
	buf_init(&out, IPC_FRAME_MAX);
	assert_false(ipc_put_submit_result(&out, &m));
	buf_reset(&out);
	m = (struct ipc_submit_result){ .text = slice_make(big, 201) };
	assert_false(ipc_put_submit_result(&out, &m));
	buf_reset(&out);
	m.text.len = 200;
	assert_true(ipc_put_submit_result(&out, &m));
	out.ptr[2 + 8] = 3;	/* the verdict on the wire */
	assert_false(ipc_get_submit_result(buf_slice_of(&out), &got));
	buf_reset(&out);
	assert_false(ipc_add_rcpt(&out, &rcpt));
	assert_int_equal(out.len, 0);
	buf_clear(&out);
}

static void
lists(void **unused)
{
	struct buf out;
	struct ipc_rcpt m = { .hint = HINT_REMOTE, .notify = 3 }, got;
	struct slice list;
	bool bad = false;
	size_t n = 0;

	(void)unused;
	buf_init(&out, 4096);
	for (int i = 0; i < 10; i++) {
		m.addr = slice_make(pattern, (size_t)i);
		assert_true(ipc_add_rcpt(&out, &m));
	}
	list = buf_slice_of(&out);
	while (ipc_next_rcpt(&list, &got, &bad))
		assert_int_equal(got.addr.len, n++);
	assert_int_equal(n, 10);
	assert_false(bad);
	list = slice_sub(buf_slice_of(&out), 0, out.len - 1);
	while (ipc_next_rcpt(&list, &got, &bad))
		;
	assert_true(bad);
	buf_clear(&out);
}

static void
sockets(void **unused)
{
	char dir[] = "/tmp/pp-ipc-XXXXXX";
	int dirfd, listener, client, server, passed;
	struct buf frame;
	uid_t uid;
	char *here, *still;

	(void)unused;
	assert_non_null(mkdtemp(dir));
	dirfd = open(dir, O_PATH | O_DIRECTORY);
	here = getcwd(NULL, 0);
	listener = ipc_listen(dirfd, "sock", 0600);
	assert_true(listener >= 0);
	client = ipc_connect(dirfd, "sock");
	assert_true(client >= 0);
	still = getcwd(NULL, 0);
	assert_string_equal(here, still);
	server = ipc_accept(listener);
	assert_true(server >= 0 && ipc_peer_uid(server, &uid) && uid == geteuid());
	buf_init(&frame, IPC_FRAME_MAX);
	assert_int_equal(ipc_recv(server, &frame, &passed), IPC_IO_AGAIN);
	assert_int_equal(ipc_send(client, SLICE("hi"), dirfd), IPC_IO_OK);
	assert_int_equal(ipc_recv(server, &frame, &passed), IPC_IO_OK);
	assert_true(slice_is(buf_slice_of(&frame), "hi") && passed >= 0);
	(void)close(passed);
	(void)close(client);
	assert_int_equal(ipc_recv(server, &frame, &passed), IPC_IO_CLOSED);
	assert_int_equal(ipc_connect(dirfd, "other"), -1);
	buf_clear(&frame);
	(void)close(server);
	(void)close(listener);
	(void)unlinkat(dirfd, "sock", 0);
	(void)close(dirfd);
	(void)rmdir(dir);
	free(here);
	free(still);
}

/* Two ends on one base: more than the sockets hold, in order, then a break. */
struct ends {
	struct event_base	*base;
	struct ipc_conn		*a, *b;
	uint64_t		 next;
	bool			 closed_a, closed_b, reject;
};

static bool
frame_in(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct ends *e = ctx;
	struct ipc_queue_content m;

	(void)c;
	if (passed != -1)
		(void)close(passed);
	if (e->reject || !ipc_get_queue_content(frame, &m))
		return false;
	assert_true(m.qid == e->next++);
	return true;
}

static void
end_gone(struct ipc_conn *c, void *ctx, const char *why)
{
	struct ends *e = ctx;

	assert_non_null(why);
	if (c == e->a)
		e->closed_a = true;
	else
		e->closed_b = true;
	ipc_conn_free(c);
}

static const struct ipc_conn_ops end_ops = { .frame = frame_in, .closed = end_gone };

static void
connection(void **unused)
{
	struct ends e = { .base = event_base_new() };
	struct ipc_queue_content m = { 0 };
	int fds[2];

	(void)unused;
	assert_true(ipc_pair(fds));
	e.a = ipc_conn_new(e.base, fds[0], "a", 1 << 20, &end_ops, &e);
	e.b = ipc_conn_new(e.base, fds[1], "b", 1 << 20, &end_ops, &e);
	for (m.qid = 0; m.qid < 5000; m.qid++)
		assert_true(IPC_CONN_SEND(e.a, queue_content, &m, -1));
	assert_true(ipc_conn_waiting(e.a) > 0);
	for (int i = 0; i < 10000 && e.next < 5000; i++)
		(void)event_base_loop(e.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_int_equal(e.next, 5000);
	assert_int_equal(ipc_conn_waiting(e.a), 0);
	e.reject = true;	/* a frame that is not understood ends both ends, and nothing else */
	assert_true(IPC_CONN_SEND(e.a, queue_content, &m, -1));
	for (int i = 0; i < 100 && !(e.closed_a && e.closed_b); i++)
		(void)event_base_loop(e.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_true(e.closed_a && e.closed_b);
	event_base_free(e.base);
}

static void
peer_that_never_reads(void **unused)
{
	struct ends e = { .base = event_base_new() };
	struct ipc_queue_content m = { 0 };
	bool ok = true;
	int fds[2];

	(void)unused;
	assert_true(ipc_pair(fds));
	e.a = ipc_conn_new(e.base, fds[0], "a", 4096, &end_ops, &e);
	for (int i = 0; i < 100000 && ok; i++)
		ok = IPC_CONN_SEND(e.a, queue_content, &m, -1);
	assert_false(ok);
	for (int i = 0; i < 10 && !e.closed_a; i++)
		(void)event_base_loop(e.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_true(e.closed_a);
	(void)close(fds[1]);
	event_base_free(e.base);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message), cmocka_unit_test(limits), cmocka_unit_test(lists),
		cmocka_unit_test(sockets), cmocka_unit_test(connection), cmocka_unit_test(peer_that_never_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
