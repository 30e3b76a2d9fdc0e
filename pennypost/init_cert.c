#include "init_cert.h"

#include <stdio.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define DAYS 3650

static bool
add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = e != NULL && X509_add_ext(x, e, -1) == 1;
	X509_EXTENSION_free(e);
	return ok;
}

static bool
set_serial(X509 *x)
{
	BIGNUM *n = BN_new();
	bool ok;

	/* 127 random bits: positive, and not the same in two certificates. */
	ok = n != NULL && BN_rand(n, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
	    BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x)) != NULL;
	BN_free(n);
	return ok;
}

static bool
set_name(X509 *x, const char *hostname)
{
	X509_NAME *name = X509_get_subject_name(x);
	char common[65];

	/* A common name holds at most 64 octets (RFC 5280); what counts is the list of names. */
	(void)snprintf(common, sizeof(common), "%s", hostname);
	return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
	    (const unsigned char *)common, -1, -1, 0) == 1 && X509_set_issuer_name(x, name) == 1;
}

static bool
fill(X509 *x, EVP_PKEY *key, const char *hostname, const char *domain)
{
	char names[1200];

	(void)snprintf(names, sizeof(names), "DNS:%s%s%s,DNS:localhost,IP:127.0.0.1,IP:::1", hostname,
	    strcmp(hostname, domain) == 0 ? "" : ",DNS:", strcmp(hostname, domain) == 0 ? "" : domain);
	return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
	    X509_gmtime_adj(X509_getm_notBefore(x), -86400L) != NULL &&
	    X509_time_adj_ex(X509_getm_notAfter(x), DAYS, 0, NULL) != NULL &&
	    X509_set_pubkey(x, key) == 1 && set_name(x, hostname) &&
	    add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(x, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(x, NID_ext_key_usage, "serverAuth") &&
	    add_extension(x, NID_subject_key_identifier, "hash") &&
	    add_extension(x, NID_subject_alt_name, names) &&
	    X509_sign(x, key, EVP_sha256()) > 0;
}

static bool
take_pem(BIO *bio, struct buf *out)
{
	char *ptr;
	long n = BIO_get_mem_data(bio, &ptr);

	return n > 0 && buf_put(out, ptr, (size_t)n);
}

bool
init_cert(const char *hostname, const char *domain, struct buf *cert_pem, struct buf *key_pem)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	BIO *cert = BIO_new(BIO_s_mem()), *secret = BIO_new(BIO_s_secmem());
	bool ok;

	ok = key != NULL && x != NULL && cert != NULL && secret != NULL &&
	    fill(x, key, hostname, domain) &&
	    PEM_write_bio_X509(cert, x) == 1 &&
	    PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) == 1 &&
	    take_pem(cert, cert_pem) && take_pem(secret, key_pem);
	BIO_free(cert);
	BIO_free(secret);
	X509_free(x);
	EVP_PKEY_free(key);
	return ok;
}
