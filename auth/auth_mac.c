#include "auth_mac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#define INPUT_MAX 2048

bool
auth_mac_key_new(struct auth_mac_key *key)
{
	return RAND_bytes(key->octets, sizeof(key->octets)) == 1;
}

bool
auth_mac(const struct auth_mac_key *key, const struct slice *parts, size_t n,
    unsigned char out[AUTH_MAC_OCTETS])
{
	unsigned char input[INPUT_MAX];
	size_t len = 0;
	unsigned out_len = 0;
	bool ok = true;

	memset(out, 0, AUTH_MAC_OCTETS);
	for (size_t i = 0; i < n && ok; i++) {
		ok = parts[i].len < INPUT_MAX - 4 && len + 4 + parts[i].len <= INPUT_MAX;
		if (!ok)
			break;
		for (unsigned k = 0; k < 4; k++)
			input[len++] = (unsigned char)((parts[i].len >> (8 * k)) & 0xff);
		if (parts[i].len > 0)
			memcpy(input + len, parts[i].ptr, parts[i].len);
		len += parts[i].len;
	}
	ok = ok && HMAC(EVP_sha256(), key->octets, sizeof(key->octets), input, len, out, &out_len) != NULL &&
	    out_len == AUTH_MAC_OCTETS;
	explicit_bzero(input, sizeof(input));
	return ok;
}
