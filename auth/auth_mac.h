/*
 * auth_mac: a keyed hash over several parts, each with its length before it, so
 * that ("ab", "c") and ("a", "bc") differ.  The key is random, one per process,
 * never written anywhere.
 */
#ifndef PP_AUTH_MAC_H
#define PP_AUTH_MAC_H

#include <stdbool.h>
#include <stddef.h>

#include "slice.h"

#define AUTH_MAC_OCTETS 32	/* HMAC-SHA256 */

struct auth_mac_key {
	unsigned char octets[AUTH_MAC_OCTETS];
};

/* False if there is no randomness. */
bool auth_mac_key_new(struct auth_mac_key *key);

/* False (out is zeroes) if the parts are longer than 2 KB together, or OpenSSL failed. */
bool auth_mac(const struct auth_mac_key *key, const struct slice *parts, size_t n,
    unsigned char out[AUTH_MAC_OCTETS]);

#endif
