#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

/* TLS 1.2: forward secrecy and AEAD, then the best of CBC for old phones. */
#define CIPHERS_12							\
	"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:"		\
	"ECDHE+AES:!aNULL:!eNULL:!MD5:!CAMELLIA:!ARIA"

/* The largest file of certificates or keys, octets. */
#define PEM_OCTETS (1024 * 1024)

/* Rounds after which a handshake in memory must be done; it takes three. */
#define REHEARSAL_ROUNDS 20

/* For arguments of OpenSSL that are not written to but lack their const. */
static void *
unconst(const char *text)
{
	union { const char *in; void *out; } u = { text };

	return u.out;
}

static void
why_openssl(const char *what, char *why, size_t size)
{
	unsigned long code = ERR_get_error();
	const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

	if (reason != NULL)
		(void)snprintf(why, size, "%s: %s", what, reason);
	else if (code != 0 && ERR_SYSTEM_ERROR(code))
		(void)snprintf(why, size, "%s: %s", what, strerror(ERR_GET_REASON(code)));
	else
		(void)snprintf(why, size, "%s failed", what);
	ERR_clear_error();
}

static SSL_CTX *
context_new(const SSL_METHOD *method, char *why, size_t size)
{
	SSL_CTX *tls = SSL_CTX_new(method);

	if (tls == NULL) {
		why_openssl("TLS", why, size);
		return NULL;
	}
	(void)SSL_CTX_set_options(tls, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
	    SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
	(void)SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	    SSL_MODE_NO_AUTO_CHAIN);	/* the file has the chain: no search for it in every handshake */
	(void)SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
	/* One read() takes a whole record instead of its head and then its body. */
	SSL_CTX_set_read_ahead(tls, 1);
	if (SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_num_tickets(tls, 0) != 1 ||
	    SSL_CTX_set_cipher_list(tls, CIPHERS_12) != 1) {
		why_openssl("TLS", why, size);
		SSL_CTX_free(tls);
		return NULL;
	}
	return tls;
}

/* Let both sides of a handshake in memory take their steps. */
static bool
rehearse_steps(SSL *server, SSL *client)
{
	char octet;

	for (int i = 0; i < REHEARSAL_ROUNDS; i++) {
		(void)SSL_do_handshake(client);
		(void)SSL_do_handshake(server);
		if (SSL_is_init_finished(client) && SSL_is_init_finished(server))
			return SSL_write(server, "x", 1) == 1 && SSL_read(client, &octet, 1) == 1;
	}
	return false;
}

static bool
rehearse_version(SSL_CTX *server_tls, SSL_CTX *client_tls, int version)
{
	SSL *server = SSL_new(server_tls), *client = SSL_new(client_tls);
	BIO *one = NULL, *other = NULL;
	bool done = false;

	if (server == NULL || client == NULL || BIO_new_bio_pair(&one, 0, &other, 0) != 1)
		goto out;
	SSL_set_bio(server, one, one);
	SSL_set_bio(client, other, other);
	SSL_set_accept_state(server);
	SSL_set_connect_state(client);
	(void)SSL_set_max_proto_version(client, version);
	SSL_set_verify(client, SSL_VERIFY_NONE, NULL);
	done = rehearse_steps(server, client);
out:
	SSL_free(server);
	SSL_free(client);
	return done;
}

/* One handshake of each version, so that nothing is left to be loaded. */
static bool
rehearse(SSL_CTX *server, SSL_CTX *client)
{
	bool tls13 = rehearse_version(server, client, TLS1_3_VERSION);
	bool tls12 = rehearse_version(server, client, TLS1_2_VERSION);

	/* A failed one on purpose: the words of errors are loaded, too. */
	ERR_clear_error();
	(void)ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, SSL_R_HTTP_REQUEST));
	(void)strerror(ECONNRESET);
	return tls13 || tls12;
}

/* Everything that is in a file, from its beginning; NULL if it cannot be had. */
static BIO *
file_in_memory(int fd)
{
	char chunk[4096];
	BIO *bio = BIO_new(BIO_s_mem());
	off_t at = 0;
	ssize_t n;

	while (bio != NULL && (n = pread(fd, chunk, sizeof(chunk), at)) != 0) {
		if (n < 0 || (at += n) > PEM_OCTETS || BIO_write(bio, chunk, (int)n) != n) {
			BIO_free(bio);
			bio = NULL;
		}
	}
	OPENSSL_cleanse(chunk, sizeof(chunk));
	return bio;
}

/* The certificate, then those that lead to its root. */
static bool
use_chain(SSL_CTX *tls, int fd)
{
	BIO *bio = file_in_memory(fd);
	X509 *x = bio == NULL ? NULL : PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	bool fine = x != NULL && SSL_CTX_use_certificate(tls, x) == 1;

	X509_free(x);
	while (fine && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		fine = SSL_CTX_add0_chain_cert(tls, x) == 1;
		if (!fine)
			X509_free(x);
	}
	/* The end of the file is reported as an error, too. */
	if (fine)
		ERR_clear_error();
	BIO_free(bio);
	return fine;
}

static bool
use_key(SSL_CTX *tls, int fd)
{
	BIO *bio = file_in_memory(fd);
	EVP_PKEY *key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	bool fine = key != NULL && SSL_CTX_use_PrivateKey(tls, key) == 1 && SSL_CTX_check_private_key(tls) == 1;

	EVP_PKEY_free(key);
	BIO_free(bio);
	return fine;
}

/* The names are for `why`. */
static SSL_CTX *
server_new(int certificate_fd, int key_fd, const char *certificate, const char *key, char *why, size_t size)
{
	SSL_CTX *tls = context_new(TLS_server_method(), why, size), *client = NULL;

	if (tls == NULL)
		return NULL;
	(void)SSL_CTX_set_dh_auto(tls, 1);
	if (!use_chain(tls, certificate_fd)) {
		why_openssl(certificate, why, size);
		goto fail;
	}
	if (!use_key(tls, key_fd)) {
		why_openssl(key, why, size);
		goto fail;
	}
	client = context_new(TLS_client_method(), why, size);
	if (client == NULL)
		goto fail;
	if (!rehearse(tls, client)) {
		why_openssl("a handshake with this certificate and key", why, size);
		goto fail;
	}
	SSL_CTX_free(client);
	return tls;
fail:
	SSL_CTX_free(client);
	SSL_CTX_free(tls);
	return NULL;
}

SSL_CTX *
tls_server_new_fds(int certificate_fd, int key_fd, char *why, size_t size)
{
	return server_new(certificate_fd, key_fd, "certificate", "key", why, size);
}

SSL_CTX *
tls_server_new(const char *certificate, const char *key, char *why, size_t size)
{
	int certificate_fd = open(certificate, O_RDONLY | O_CLOEXEC), key_fd;
	SSL_CTX *tls = NULL;

	if (certificate_fd == -1) {
		(void)snprintf(why, size, "%s: %s", certificate, strerror(errno));
		return NULL;
	}
	key_fd = open(key, O_RDONLY | O_CLOEXEC);
	if (key_fd == -1) {
		(void)snprintf(why, size, "%s: %s", key, strerror(errno));
	} else {
		tls = server_new(certificate_fd, key_fd, certificate, key, why, size);
		(void)close(key_fd);
	}
	(void)close(certificate_fd);
	return tls;
}

static int
select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
    const unsigned char *in, unsigned int in_len, void *arg)
{
	const char *protocol = arg;
	size_t len = strlen(protocol);

	(void)ssl;
	for (unsigned int at = 0; at < in_len && in[at] < in_len - at; at += 1u + in[at]) {
		if (in[at] != len || memcmp(in + at + 1, protocol, len) != 0)
			continue;
		*out = in + at + 1;
		*out_len = in[at];
		return SSL_TLSEXT_ERR_OK;
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

void
tls_server_alpn(SSL_CTX *tls, const char *protocol)
{
	SSL_CTX_set_alpn_select_cb(tls, select_alpn, unconst(protocol));
}

/*
 * The system's certificates, read now in one go: a folder of them (CApath) is
 * searched while verifying, when no file can be opened any more.
 */
static void
load_trusted(SSL_CTX *tls)
{
	static const char *const bundles[] = {
		"/etc/ssl/certs/ca-certificates.crt",		/* Debian, Arch, Alpine */
		"/etc/pki/tls/certs/ca-bundle.crt",		/* Fedora, Red Hat */
		"/var/lib/ca-certificates/ca-bundle.pem",	/* SUSE */
		"/etc/ssl/cert.pem",				/* BSD */
	};
	const char *chosen = getenv(X509_get_default_cert_file_env());

	if (chosen != NULL) {
		(void)SSL_CTX_load_verify_file(tls, chosen);
		return;
	}
	for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++)
		if (SSL_CTX_load_verify_file(tls, bundles[i]) == 1)
			return;
	(void)SSL_CTX_load_verify_file(tls, X509_get_default_cert_file());
}

SSL_CTX *
tls_client_new(char *why, size_t size)
{
	SSL_CTX *tls = context_new(TLS_client_method(), why, size);
	unsigned char octet;

	if (tls == NULL)
		return NULL;
	/* Without any, verification fails, as it has to. */
	load_trusted(tls);
	(void)X509_STORE_set_flags(SSL_CTX_get_cert_store(tls), X509_V_FLAG_PARTIAL_CHAIN);
	(void)RAND_bytes(&octet, 1);
	ERR_clear_error();
	return tls;
}

void
tls_free(SSL_CTX *tls)
{
	SSL_CTX_free(tls);
}

static bool
client_setup(SSL *ssl, const char *host, bool verify)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	ASN1_OCTET_STRING *address = a2i_IPADDRESS(host);
	bool literal = address != NULL;

	ASN1_OCTET_STRING_free(address);
	ERR_clear_error();
	SSL_set_connect_state(ssl);
	/* SNI holds names only, RFC 6066 section 3. */
	if (!literal && SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
	    unconst(host)) != 1)
		return false;
	if (!verify) {
		SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
		return true;
	}
	SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (literal)
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	return SSL_set1_host(ssl, host) == 1;
}

SSL *
tls_stream_new(SSL_CTX *tls, int rfd, int wfd, const char *host, bool verify)
{
	SSL *ssl = SSL_new(tls);

	if (ssl == NULL)
		return NULL;
	if (SSL_set_rfd(ssl, rfd) != 1 || SSL_set_wfd(ssl, wfd) != 1 ||
	    (host != NULL && !client_setup(ssl, host, verify))) {
		SSL_free(ssl);
		return NULL;
	}
	if (host == NULL)
		SSL_set_accept_state(ssl);
	return ssl;
}

void
tls_stream_free(SSL *ssl)
{
	SSL_free(ssl);
}

static enum tls_io
outcome(SSL *ssl, int result)
{
	switch (SSL_get_error(ssl, result)) {
	case SSL_ERROR_NONE:
		return TLS_IO_OK;
	case SSL_ERROR_WANT_READ:
		return TLS_IO_READ;
	case SSL_ERROR_WANT_WRITE:
		return TLS_IO_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_IO_EOF;
	default:
		return TLS_IO_ERROR;
	}
}

enum tls_io
tls_stream_handshake(SSL *ssl)
{
	ERR_clear_error();
	errno = 0;
	return outcome(ssl, SSL_do_handshake(ssl));
}

enum tls_io
tls_stream_read(SSL *ssl, void *ptr, size_t size, size_t *got)
{
	*got = 0;
	ERR_clear_error();
	errno = 0;
	return outcome(ssl, SSL_read_ex(ssl, ptr, size, got));
}

enum tls_io
tls_stream_write(SSL *ssl, const void *ptr, size_t len, size_t *put)
{
	*put = 0;
	ERR_clear_error();
	errno = 0;
	return outcome(ssl, SSL_write_ex(ssl, ptr, len, put));
}

bool
tls_stream_pending(const SSL *ssl)
{
	return SSL_has_pending(ssl) == 1;
}

const char *
tls_stream_protocol(const SSL *ssl)
{
	return SSL_get_version(ssl);
}

const char *
tls_stream_cipher(const SSL *ssl, int *bits)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);

	*bits = cipher == NULL ? 0 : SSL_CIPHER_get_bits(cipher, NULL);
	return SSL_CIPHER_get_name(cipher);
}

void
tls_stream_bye(SSL *ssl)
{
	ERR_clear_error();
	if (SSL_is_init_finished(ssl))
		(void)SSL_shutdown(ssl);
	ERR_clear_error();
}

void
tls_stream_why(SSL *ssl, char *out, size_t size)
{
	unsigned long code = ERR_get_error();
	long verified = SSL_get_verify_result(ssl);
	const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);

	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		(void)snprintf(out, size, "certificate: %s", X509_verify_cert_error_string(verified));
	else if (reason != NULL)
		(void)snprintf(out, size, "TLS: %s", reason);
	else
		(void)snprintf(out, size, "TLS: %s", errno != 0 ? strerror(errno) : "connection closed");
	ERR_clear_error();
}
