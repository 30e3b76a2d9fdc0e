#include "auth_hash.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

bool
auth_hash_setting(struct slice hash, char out[ACCOUNTS_HASH_MAX + 1])
{
	static const char *const schemes[] = {
		"{CRYPT}", "{YESCRYPT}", "{SCRYPT}", "{SHA512-CRYPT}", "{SHA256-CRYPT}", "{BLF-CRYPT}", "{MD5-CRYPT}",
	};

	if (hash.len > 0 && hash.ptr[0] == '{') {
		size_t i = 0;

		while (i < LEN(schemes) && !slice_iprefix(&hash, schemes[i]))
			i++;
		if (i == LEN(schemes))
			return false;
	}
	if (hash.len == 0 || hash.ptr[0] == '!' || hash.ptr[0] == '*')
		return false;
	return slice_text(hash, out, ACCOUNTS_HASH_MAX + 1);
}

enum verdict
auth_hash_check(const char *setting, struct slice password)
{
	static struct crypt_data data;	/* 32 KB */
	char text[AUTH_PASSWORD_MAX + 1];
	const char *result;
	enum verdict verdict = PERM;
	size_t len;
	bool whole;

	if (password.len > AUTH_PASSWORD_MAX)
		return PERM;
	if (password.len > 0)
		memcpy(text, password.ptr, password.len);
	text[password.len] = '\0';
	/* Up to a NUL crypt() would call it right: the work is done and the answer is no. */
	whole = strlen(text) == password.len;
	memset(&data, 0, sizeof(data));
	errno = 0;
	result = crypt_r(text, setting, &data);
	if (result == NULL || result[0] == '*') {
		verdict = errno == ENOMEM ? TEMP : PERM;
	} else {
		len = strlen(setting);
		if (whole && strlen(result) == len && CRYPTO_memcmp(result, setting, len) == 0)
			verdict = OK;
	}
	explicit_bzero(text, sizeof(text));
	explicit_bzero(&data, sizeof(data));
	return verdict;
}

bool
auth_hash_dummy(char out[ACCOUNTS_HASH_MAX + 1])
{
	static struct crypt_data data;
	char salt[CRYPT_GENSALT_OUTPUT_SIZE], password[33];
	unsigned char random[16];
	const char *result;

	if (RAND_bytes(random, sizeof(random)) != 1 ||
	    crypt_gensalt_rn("$y$", 0, (const char *)random, sizeof(random), salt, sizeof(salt)) == NULL ||
	    RAND_bytes(random, sizeof(random)) != 1)
		return false;
	for (size_t i = 0; i < sizeof(random); i++)
		(void)snprintf(password + 2 * i, 3, "%02x", random[i]);
	result = crypt_r(password, salt, &data);
	explicit_bzero(password, sizeof(password));
	return result != NULL && result[0] != '*' && slice_text(slice_of(result), out, ACCOUNTS_HASH_MAX + 1);
}
