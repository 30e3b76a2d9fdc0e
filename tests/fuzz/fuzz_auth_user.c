/* Names that clients give, and records of accounts.cdb: what passes is what it should be. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "accounts.h"
#include "auth/auth_hash.h"
#include "auth/auth_user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
name(struct slice given)
{
	struct addr a, again;

	if (!auth_user_parse(given, SLICE("host.example"), &a))
		return;
	/* Canonical: itself when given again; no octet that any backend would trip over. */
	if (!auth_user_parse(addr_text(&a), SLICE("other.example"), &again) || !addr_same(&a, &again) ||
	    !slice_eq(addr_text(&a), addr_text(&again)))
		abort();
	for (size_t i = 0; i < a.len; i++)
		if (a.text[i] <= ' ' || a.text[i] > '~' || strchr("/\\*\"'`:;|<>(){}[],", a.text[i]) != NULL)
			if (a.text[i] != '\'')
				abort();
	if (auth_user_is_account(addr_local(&a)) && (a.text[0] == '-' || a.text[0] == '.'))
		abort();
}

static void
record(struct slice data)
{
	char setting[ACCOUNTS_HASH_MAX + 1];
	struct account_record r;
	struct buf out;

	if (!account_record_get(data, &r))
		return;
	buf_init(&out, 1024);
	if (!account_record_put(&out, &r) || !slice_eq(buf_slice_of(&out), data))
		abort();
	buf_clear(&out);
	if (auth_hash_setting(r.hash, setting) && (setting[0] == '\0' || setting[0] == '!' || setting[0] == '*'))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	name(slice_make(data, size));
	record(slice_make(data, size));
	return 0;
}
