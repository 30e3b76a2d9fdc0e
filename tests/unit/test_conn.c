/* lib/conn.c and lib/conn_listen.c without TLS. */
#include "conn_fixture.h"

static void
lines_are_echoed_in_one_piece(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true };
	int fds[2];
	int packets[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "one\ntwo\nthr");
	settle_down();
	assert_string_equal(read_now(fds[1]), "one\ntwo\n");
	put(fds[1], "ee\n");
	settle_down();
	assert_string_equal(read_now(fds[1]), "three\n");
	assert_got(&s, "one\ntwo\nthree\n");
	assert_int_equal(s.drained, 2);
	side_done(&s);
	(void)close(fds[1]);

	/* Packets show the pieces: the three replies are one. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, packets), 0);
	s = (struct side){ .takes = TAKES_LINES, .echo = true };
	side_open(&s, packets[0], 100, 1000);
	put(packets[1], "a\nb\nc\n");
	settle_down();
	assert_string_equal(read_now(packets[1]), "a\nb\nc\n");
	side_done(&s);
	(void)close(packets[1]);
}

static void
input_that_is_not_taken_is_bounded(void **unused)
{
	struct side s = { .takes = TAKES_LINES };
	char line[101];
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	memset(line, 'x', 100);
	line[100] = '\0';
	put(fds[1], line);
	settle_down();
	assert_int_equal(s.ended, 0);
	put(fds[1], "y");
	settle_down();
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_ERROR);
	side_done(&s);
	(void)close(fds[1]);
}

static void
pause_holds_input_and_resume_gives_it(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true, .hold = true };
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "one\ntwo\n");
	settle_down();
	assert_got(&s, "one\n");
	assert_true(conn_has_input(s.c));
	put(fds[1], "three\n");
	settle_down();
	assert_got(&s, "one\n");
	conn_resume(s.c);
	settle_down();
	assert_got(&s, "one\ntwo\n");
	s.hold = false;
	conn_resume(s.c);
	settle_down();
	assert_got(&s, "one\ntwo\nthree\n");
	assert_string_equal(read_now(fds[1]), "one\ntwo\nthree\n");
	side_done(&s);
	(void)close(fds[1]);
}

/* printf 'a\nb\n' | nc: what came before the end is still answered. */
static void
half_closed_peer_gets_its_answers(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true, .hold = true };
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "a\nb\nrest");
	(void)shutdown(fds[1], SHUT_WR);
	settle_down();
	assert_int_equal(s.ended, 0);
	s.hold = false;
	conn_resume(s.c);
	settle_down();
	assert_string_equal(read_now(fds[1]), "a\nb\n");
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_EOF);
	side_done(&s);
	(void)close(fds[1]);
}

static void
close_flushes_first(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true, .close_after = true };
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "quit\n");
	settle_down();
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_EOF);
	assert_string_equal(read_now(fds[1]), "quit\n");
	assert_int_equal(read(fds[1], &fds[0], 1), 0);
	side_done(&s);
	(void)close(fds[1]);
}

/* A peer in full flow still gets the last words, and then we do end. */
static void
close_lingers_while_the_peer_sends(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true, .close_after = true };
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "bad\nand\nmore\n");
	settle_down();
	assert_int_equal(s.ended, 0);
	put(fds[1], "and more\n");
	settle_down();
	assert_string_equal(read_now(fds[1]), "bad\n");
	assert_got(&s, "bad\n");
	(void)close(fds[1]);
	settle_down();
	assert_int_equal(s.ended, 1);
	side_done(&s);

	s = (struct side){ .takes = TAKES_LINES, .echo = true, .close_after = true };
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "bad\nand more\n");
	run_ms(1500);
	assert_int_equal(s.ended, 0);
	run_ms(800);
	assert_int_equal(s.ended, 1);
	side_done(&s);
	(void)close(fds[1]);
}

static void
peer_that_never_reads_is_bounded(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true };
	static char flood[200000];
	size_t sent = 0;
	ssize_t n;
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 4000);
	memset(flood, '\n', sizeof(flood));
	for (int i = 0; i < 100; i++) {
		n = write(fds[1], flood, sizeof(flood));
		sent += n > 0 ? (size_t)n : 0;
		settle_down();
		assert_true(conn_pending(s.c) <= 2001);
	}
	/* Its own input is not read any more either. */
	assert_true(sent < 4 * 1024 * 1024);
	assert_int_equal(s.ended, 0);
	/* More than out_max in one go: the end. */
	assert_false(conn_write(s.c, slice_make(flood, 4000)));
	assert_int_equal(s.ended, 0);
	settle_down();
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_ERROR);
	side_done(&s);
	(void)close(fds[1]);
}

static void
large_output_arrives_whole(void **unused)
{
	struct side from = { .takes = TAKES_ALL }, to = { .takes = TAKES_ALL };
	const size_t size = 8 * 1024 * 1024;
	char *data = malloc(size);
	int fds[2];

	(void)unused;
	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 2654435761u >> 24);
	make_pair(fds);
	side_open(&from, fds[0], 100, size);
	side_open(&to, fds[1], 100, 100);
	assert_true(conn_write(from.c, slice_make(data, size)));
	run_ms(100);
	while (to.got.len < size)
		(void)event_base_loop(t.base, EVLOOP_ONCE);
	assert_memory_equal(to.got.ptr, data, size);
	assert_int_equal(from.drained, 1);
	free(data);
	side_done(&from);
	side_done(&to);
}

static void
silent_peer_times_out(void **unused)
{
	static const struct { unsigned idle_ms, deadline_ms; bool talks, paused; bool ends; } row[] = {
		{ 100, 0,   false, false, true },
		{ 100, 0,   true,  false, false },	/* input puts it off */
		{ 100, 0,   false, true,  false },	/* its answer is with us */
		{ 0,   150, true,  false, true },	/* but not the deadline */
		{ 0,   150, false, true,  true },
		{ 0,   0,   false, false, false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct side s = { .takes = TAKES_ALL };
		int fds[2];

		make_pair(fds);
		side_open(&s, fds[0], 100, 100);
		conn_idle_timeout(s.c, row[i].idle_ms);
		conn_deadline(s.c, 10000);
		conn_deadline(s.c, row[i].deadline_ms);
		if (row[i].paused)
			conn_pause(s.c);
		for (int k = 0; k < 5; k++) {
			if (row[i].talks && s.ended == 0)
				put(fds[1], "x");
			run_ms(50);
		}
		assert_int_equal(s.ended, row[i].ends);
		if (row[i].ends)
			assert_int_equal(s.why, CONN_TIMEOUT);
		side_done(&s);
		(void)close(fds[1]);
	}
}

static void
pipes_serve_as_well(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true };
	int to[2], from[2];

	(void)unused;
	assert_int_equal(pipe2(to, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_NONBLOCK | O_CLOEXEC), 0);
	buf_init(&s.got, 1000);
	s.c = conn_new_pair(t.base, to[0], from[1], 100, 100, &side_ops, &s);
	assert_non_null(s.c);
	put(to[1], "hello\n");
	settle_down();
	assert_string_equal(read_now(from[0]), "hello\n");
	(void)close(to[1]);
	settle_down();
	assert_int_equal(s.ended, 1);
	side_done(&s);
	(void)close(from[0]);
}

/* ---- listeners ---- */

static int accepted_n;

static void
accepted(int fd, const char *address, void *ctx)
{
	char text[64];

	(void)ctx;
	accepted_n++;
	assert_true(conn_address(fd, true, text, sizeof(text), NULL));
	assert_string_equal(text, "127.0.0.1");
	assert_string_equal(address, "127.0.0.1");
	(void)close(fd);
}

static void
listener_survives_a_lack_of_descriptors(void **unused)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct rlimit old, low;
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct conn_listener *l;
	uint16_t port;
	char text[64];

	(void)unused;
	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(fd, 10), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	assert_true(conn_address(fd, false, text, sizeof(text), &port));
	assert_int_equal(port, ntohs(in.sin_port));
	l = conn_listen(t.base, fd, accepted, NULL);
	assert_non_null(l);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = (struct rlimit){ (rlim_t)client + 1, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	(void)connect(client, (struct sockaddr *)&in, len);
	run_ms(50);
	assert_int_equal(accepted_n, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	run_ms(300);
	assert_int_equal(accepted_n, 1);
	conn_listener_free(l);
	(void)close(fd);
	(void)close(client);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_echoed_in_one_piece),
		cmocka_unit_test(input_that_is_not_taken_is_bounded),
		cmocka_unit_test(pause_holds_input_and_resume_gives_it),
		cmocka_unit_test(half_closed_peer_gets_its_answers),
		cmocka_unit_test(close_flushes_first),
		cmocka_unit_test(close_lingers_while_the_peer_sends),
		cmocka_unit_test(peer_that_never_reads_is_bounded),
		cmocka_unit_test(large_output_arrives_whole),
		cmocka_unit_test(silent_peer_times_out),
		cmocka_unit_test(pipes_serve_as_well),
		cmocka_unit_test(listener_survives_a_lack_of_descriptors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
