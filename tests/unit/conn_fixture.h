/*
 * For test_conn*.c: both ends of a socketpair in one loop, a certificate, and
 * what an end saw.  Include once, after nothing else.
 */
#ifndef CONN_FIXTURE_H
#define CONN_FIXTURE_H

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

#define UNUSED __attribute__((unused))	/* not every test needs every helper */

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

UNUSED static void
make_pair(int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

UNUSED static void
side_open(struct side *s, int fd, size_t in_max, size_t out_max)
{
	buf_init(&s->got, 64 * 1024 * 1024);
	s->c = conn_new(t.base, fd, in_max, out_max, &side_ops, s);
	assert_non_null(s->c);
}

UNUSED static void
side_done(struct side *s)
{
	conn_free(s->c);
	buf_clear(&s->got);
}

/* Let the loop run until nothing happens for a moment. */
UNUSED static void
settle_down(void)
{
	for (int i = 0; i < 50; i++)
		(void)event_base_loop(t.base, EVLOOP_NONBLOCK);
}

UNUSED static void
run_ms(unsigned ms)
{
	struct timeval tv = { ms / 1000, (suseconds_t)(ms % 1000 * 1000) };

	(void)event_base_loopexit(t.base, &tv);
	(void)event_base_dispatch(t.base);
}

UNUSED static void
assert_got(struct side *s, const char *text)
{
	assert_string_equal(buf_cstr(&s->got), text);
}

/* Everything that can be read from fd now, as a C string. */
UNUSED static const char *
read_now(int fd)
{
	static char text[4096];
	ssize_t n = read(fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

UNUSED static void
put(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
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

#endif
