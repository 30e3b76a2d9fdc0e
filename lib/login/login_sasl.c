/* login_sasl: base64 (RFC 4648) and the message of SASL PLAIN (RFC 4616). */
#include <string.h>

#include "login/login.h"

#define USER_MAX	320	/* octets; as in auth_request (ipc_messages.h) */
#define PASSWORD_MAX	1024

/* The six bits of a base64 digit, or -1. */
static int
digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* How many '=' end it: 0, 1 or 2. */
static size_t
padding(struct slice text)
{
	if (text.len >= 2 && text.ptr[text.len - 2] == '=' && text.ptr[text.len - 1] == '=')
		return 2;
	return text.len >= 1 && text.ptr[text.len - 1] == '=' ? 1 : 0;
}

bool
login_base64(struct slice text, char *out, size_t size, size_t *len)
{
	size_t pad = padding(text), need = text.len / 4 * 3 - pad, n = 0;
	uint32_t bits = 0;

	if (text.len % 4 != 0 || need > size || (text.len == 0 && pad != 0))
		return false;
	for (size_t i = 0; i < text.len - pad; i++) {
		int d = digit(text.ptr[i]);

		if (d == -1)
			return false;
		bits = bits << 6 | (uint32_t)d;
		if (i % 4 == 0)
			continue;
		out[n++] = (char)(bits >> (6 - i % 4 * 2));
	}
	/* Bits left over behind the last octet must be zero (section 3.5). */
	if (pad != 0 && (bits & ((1u << pad * 2) - 1)) != 0)
		return false;
	*len = n;
	return true;
}

bool
login_sasl_plain(struct slice message, struct slice *user, struct slice *password)
{
	struct slice authzid, rest = message;

	authzid = slice_cut(&rest, '\0');
	*user = slice_cut(&rest, '\0');
	*password = rest;
	if (user->len == 0 || user->len > USER_MAX)
		return false;
	/* Two NULs, no more: an empty rest may also mean that one was missing. */
	if (password->len == 0 || password->len > PASSWORD_MAX ||
	    slice_find(*password, '\0') != password->len)
		return false;
	return authzid.len == 0 || slice_eq(authzid, *user);
}
