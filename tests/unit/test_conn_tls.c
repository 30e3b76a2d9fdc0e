/* lib/conn.c and lib/tls.c: TLS from the start and after a line, and what must not happen. */
#include "conn_fixture.h"

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(implicit_tls),
		cmocka_unit_test(tls_carries_much),
		cmocka_unit_test(starttls_after_a_line),
		cmocka_unit_test(input_before_the_handshake_ends_it),
		cmocka_unit_test(client_verifies),
		cmocka_unit_test(silent_handshake_times_out),
		cmocka_unit_test(alpn_is_checked_if_sent),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
