/* lib/conn.c and lib/tls.c: both ends of a socketpair in one loop, plain and TLS. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "conn.h"

static struct {
	struct event_base	*base;
	struct ssl_ctx_st	*server, *client;
	char			 cert[64], key[64];
} t;

/* ---- one end ---- */

enum takes { TAKES_ALL, TAKES_LINES, TAKES_NOTHING, TAKES_LINES_AND_STARTS_TLS };

struct side {
	struct conn	*c;
	enum takes	 takes;
	bool		 echo;
	bool		 hold;		/* pause after each line */
	bool		 close_after;	/* close after the first line */
	struct buf	 got;
	size_t		 calls, secure, drained, ended, last_len;
	enum conn_end	 why;
	char		 text[120];
};

static size_t
side_input(struct conn *c, void *ctx, struct slice data)
{
	struct side *s = ctx;
	struct slice line = data;
	size_t n = data.len;

	s->calls++;
	s->last_len = data.len;
	if (s->takes == TAKES_NOTHING)
		return 0;
	if (s->takes != TAKES_ALL) {
		n = slice_find(data, '\n');
		if (n++ == data.len)
			return 0;
		line.len = n;
	}
	assert_true(buf_slice(&s->got, line));
	if (s->echo)
		(void)conn_write(c, line);
	if (s->hold)
		conn_pause(c);
	if (s->close_after)
		conn_close(c);
	if (s->takes == TAKES_LINES_AND_STARTS_TLS) {
		s->takes = TAKES_ALL;
		(void)conn_write(c, SLICE("go\n"));
		assert_true(conn_starttls(c, t.server, NULL, false));
	}
	return n;
}

static void
side_secure(struct conn *c, void *ctx)
{
	struct side *s = ctx;

	assert_true(conn_is_tls(c));
	s->secure++;
}

static void
side_drained(struct conn *c, void *ctx)
{
	struct side *s = ctx;

	assert_int_equal(conn_pending(c), 0);
	s->drained++;
}

static void
side_ended(struct conn *c, void *ctx, enum conn_end why, const char *text)
{
	struct side *s = ctx;

	s->ended++;
	s->why = why;
	(void)snprintf(s->text, sizeof(s->text), "%s", text);
	conn_free(c);
	s->c = NULL;
}

static const struct conn_ops side_ops = { side_input, side_secure, side_drained, side_ended };

static void
make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void
side_open(struct side *s, int fd, size_t in_max, size_t out_max)
{
	buf_init(&s->got, 64 * 1024 * 1024);
	s->c = conn_new(t.base, fd, in_max, out_max, &side_ops, s);
	assert_non_null(s->c);
}

static void
side_done(struct side *s)
{
	conn_free(s->c);
	buf_clear(&s->got);
}

/* Let the loop run until nothing happens for a moment. */
static void
settle_down(void)
{
	for (int i = 0; i < 50; i++)
		(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
}

static void
run_ms(unsigned ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000 * 1000) };

	(void)event_base_loopexit(t.base, &tv);
	(void)event_base_dispatch(t.base);
}

static void
assert_got(struct side *s, const char *text)
{
	assert_string_equal(buf_cstr(&s->got), text);
}

/* Everything that can be read from fd now, as a C string. */
static const char *
read_now(int fd)
{
	static char text[4096];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void
put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* ---- plain ---- */

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

/* ---- TLS ---- */

static void
implicit_tls(void **unused)
{
	struct side s = { .takes = TAKES_LINES, .echo = true }, c = { .takes = TAKES_ALL };
	int fds[2], bits;

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	side_open(&c, fds[1], 100, 1000);
	assert_true(conn_starttls(s.c, t.server, NULL, false));
	assert_false(conn_starttls(s.c, t.server, NULL, false));
	assert_true(conn_write(s.c, SLICE("greeting\n")));	/* waits for the handshake */
	assert_true(conn_starttls(c.c, t.client, "mail.example.org", true));
	assert_true(conn_write(c.c, SLICE("early\n")));
	run_ms(100);
	assert_int_equal(s.secure, 1);
	assert_int_equal(c.secure, 1);
	assert_got(&c, "greeting\nearly\n");
	assert_string_equal(conn_tls_protocol(s.c), "TLSv1.3");
	assert_non_null(conn_tls_cipher(s.c, &bits));
	assert_true(bits >= 128);
	conn_close(c.c);
	settle_down();
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_EOF);
	assert_int_equal(c.ended, 1);
	side_done(&s);
	side_done(&c);
}

static void
tls_carries_much(void **unused)
{
	struct side from = { .takes = TAKES_ALL }, to = { .takes = TAKES_ALL };
	const size_t size = 4 * 1024 * 1024;
	char *data = malloc(size);
	int fds[2];

	(void)unused;
	assert_non_null(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 2654435761u >> 24);
	make_pair(fds);
	side_open(&from, fds[0], 100, size);
	side_open(&to, fds[1], 100, 100);
	assert_true(conn_starttls(from.c, t.server, NULL, false));
	assert_true(conn_starttls(to.c, t.client, "mail.example.org", true));
	run_ms(50);
	/* Twice: straight from the caller's memory, and behind what waits already. */
	assert_true(conn_write(from.c, slice_make(data, size / 2)));
	assert_true(conn_write(from.c, slice_make(data + size / 2, size / 2)));
	for (int i = 0; i < 1000 && to.got.len < size; i++)
		run_ms(5);
	assert_int_equal(to.got.len, size);
	assert_memory_equal(to.got.ptr, data, size);
	free(data);
	side_done(&from);
	side_done(&to);
}

static void
starttls_after_a_line(void **unused)
{
	struct side s = { .takes = TAKES_LINES_AND_STARTS_TLS, .echo = false };
	struct side c = { .takes = TAKES_ALL };
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	side_open(&c, fds[1], 100, 1000);
	assert_true(conn_write(c.c, SLICE("STARTTLS\n")));
	settle_down();
	assert_got(&c, "go\n");
	assert_true(conn_starttls(c.c, t.client, "mail.example.org", true));
	settle_down();
	assert_int_equal(s.secure, 1);
	assert_int_equal(c.secure, 1);
	assert_true(conn_write(c.c, SLICE("secret")));
	settle_down();
	assert_got(&s, "STARTTLS\nsecret");
	side_done(&s);
	side_done(&c);
}

/* CVE-2011-0411: nothing that came in the clear is ever taken for what came over TLS. */
static void
input_before_the_handshake_ends_it(void **unused)
{
	struct side s = { .takes = TAKES_LINES_AND_STARTS_TLS };
	int fds[2];

	(void)unused;
	/* In the same segment. */
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "STARTTLS\nEHLO x\n");
	settle_down();
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_TLS_FAILED);
	assert_got(&s, "STARTTLS\n");
	assert_string_equal(read_now(fds[1]), "");
	side_done(&s);
	(void)close(fds[1]);

	/* In a segment of its own, which waits in the socket when the command is taken:
	 * packets keep them apart. */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	s = (struct side){ .takes = TAKES_LINES_AND_STARTS_TLS };
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "STARTTLS\n");
	put(fds[1], "EHLO x\n");
	settle_down();
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_TLS_FAILED);
	assert_got(&s, "STARTTLS\n");
	assert_string_equal(read_now(fds[1]), "");
	side_done(&s);
	(void)close(fds[1]);

	/* After our reply: it is no TLS record. */
	s = (struct side){ .takes = TAKES_LINES_AND_STARTS_TLS };
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	put(fds[1], "STARTTLS\n");
	settle_down();
	assert_string_equal(read_now(fds[1]), "go\n");
	put(fds[1], "EHLO x.example\r\n");
	settle_down();
	assert_int_equal(s.ended, 1);
	assert_int_equal(s.why, CONN_TLS_FAILED);
	assert_got(&s, "STARTTLS\n");
	side_done(&s);
	(void)close(fds[1]);
}

static void
client_verifies(void **unused)
{
	static const struct { const char *host; bool verify, good; } row[] = {
		{ "mail.example.org",  true,  true },
		{ "other.example.org", true,  false },
		{ "other.example.org", false, true },
		{ "127.0.0.1",         true,  true },
		{ "127.0.0.2",         true,  false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		struct side s = { .takes = TAKES_ALL }, c = { .takes = TAKES_ALL };
		int fds[2];

		make_pair(fds);
		side_open(&s, fds[0], 100, 1000);
		side_open(&c, fds[1], 100, 1000);
		assert_true(conn_starttls(s.c, t.server, NULL, false));
		assert_true(conn_starttls(c.c, t.client, row[i].host, row[i].verify));
		settle_down();
		assert_int_equal(c.secure, row[i].good);
		if (!row[i].good) {
			assert_int_equal(c.why, CONN_TLS_FAILED);
			assert_non_null(strstr(c.text, "certificate: "));
		}
		side_done(&s);
		side_done(&c);
	}
}

static void
silent_handshake_times_out(void **unused)
{
	struct side s = { .takes = TAKES_ALL };
	int fds[2];

	(void)unused;
	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	conn_idle_timeout(s.c, 100);
	assert_true(conn_starttls(s.c, t.server, NULL, false));
	for (int i = 0; i < 4 && s.ended == 0; i++) {
		put(fds[1], "\x16");	/* a record, octet by octet, is no progress */
		run_ms(50);
	}
	assert_int_equal(s.ended, 1);
	side_done(&s);
	(void)close(fds[1]);
}

static int
alpn_outcome(const unsigned char *wire, unsigned len)
{
	SSL_CTX *client = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(client);
	struct side s = { .takes = TAKES_ALL };
	int fds[2], secure;

	make_pair(fds);
	side_open(&s, fds[0], 100, 1000);
	assert_true(conn_starttls(s.c, t.server, NULL, false));
	SSL_set_fd(ssl, fds[1]);
	if (len > 0)
		assert_int_equal(SSL_set_alpn_protos(ssl, wire, len), 0);
	for (int i = 0; i < 10; i++) {
		(void)SSL_connect(ssl);
		settle_down();
	}
	secure = (int)s.secure;
	SSL_free(ssl);
	SSL_CTX_free(client);
	side_done(&s);
	(void)close(fds[1]);
	return secure;
}

/* ALPACA: a browser that was led here is refused. */
static void
alpn_is_checked_if_sent(void **unused)
{
	(void)unused;
	tls_server_alpn(t.server, "smtp");
	assert_int_equal(alpn_outcome(NULL, 0), 1);
	assert_int_equal(alpn_outcome((const unsigned char *)"\4smtp", 5), 1);
	assert_int_equal(alpn_outcome((const unsigned char *)"\2h2\4smtp", 8), 1);
	assert_int_equal(alpn_outcome((const unsigned char *)"\2h2\10http/1.1", 12), 0);
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

/* ---- set-up ---- */

static void
write_pem(char *path, EVP_PKEY *key, X509 *cert)
{
	int fd = mkstemp(path);
	FILE *f = fdopen(fd, "w");

	assert_non_null(f);
	if (cert != NULL)
		assert_int_equal(PEM_write_X509(f, cert), 1);
	else
		assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
}

static void
make_certificate(void)
{
	static const unsigned char cn[] = "mail.example.org";
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_EXTENSION *san;

	assert_int_equal(X509_set_version(cert, 2), 1);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, cn, -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:mail.example.org,IP:127.0.0.1");
	assert_non_null(san);
	X509_add_ext(cert, san, -1);
	X509_EXTENSION_free(san);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	write_pem(t.cert, key, cert);
	write_pem(t.key, key, NULL);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static int
set_up(void **unused)
{
	char why[200] = "";

	(void)unused;
	(void)signal(SIGPIPE, SIG_IGN);
	t.base = event_base_new();
	(void)snprintf(t.cert, sizeof(t.cert), "/tmp/test_conn.cert.XXXXXX");
	(void)snprintf(t.key, sizeof(t.key), "/tmp/test_conn.key.XXXXXX");
	make_certificate();
	(void)setenv("SSL_CERT_FILE", t.cert, 1);
	t.server = tls_server_new(t.cert, t.key, why, sizeof(why));
	assert_string_equal(why, "");
	t.client = tls_client_new(why, sizeof(why));
	assert_string_equal(why, "");
	assert_null(tls_server_new(t.key, t.key, why, sizeof(why)));
	assert_non_null(strstr(why, "test_conn.key"));
	assert_null(tls_server_new("/nonexistent", t.key, why, sizeof(why)));
	return 0;
}

static int
tear_down(void **unused)
{
	(void)unused;
	(void)unlink(t.cert);
	(void)unlink(t.key);
	tls_free(t.server);
	tls_free(t.client);
	event_base_free(t.base);
	return 0;
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
		cmocka_unit_test(implicit_tls),
		cmocka_unit_test(tls_carries_much),
		cmocka_unit_test(starttls_after_a_line),
		cmocka_unit_test(input_before_the_handshake_ends_it),
		cmocka_unit_test(client_verifies),
		cmocka_unit_test(silent_handshake_times_out),
		cmocka_unit_test(alpn_is_checked_if_sent),
		cmocka_unit_test(listener_survives_a_lack_of_descriptors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
