#include "accounts.h"

#define FLAG_DISABLED	1

bool
account_record_put(struct buf *out, const struct account_record *r)
{
	if (r->hash.len > ACCOUNTS_HASH_MAX || slice_find(r->hash, '\0') < r->hash.len)
		return false;
	return buf_char(out, r->disabled ? FLAG_DISABLED : 0) && buf_slice(out, r->hash);
}

bool
account_record_get(struct slice data, struct account_record *out)
{
	if (data.len < 1 || (data.ptr[0] & ~FLAG_DISABLED) != 0)
		return false;
	*out = (struct account_record){
		.disabled = data.ptr[0] != 0,
		.hash = slice_sub(data, 1, data.len),
	};
	return out->hash.len <= ACCOUNTS_HASH_MAX && slice_find(out->hash, '\0') == out->hash.len;
}

bool
account_key_put(struct buf *out, const struct addr *canonical)
{
	return buf_char(out, 'A') && buf_slice(out, addr_text(canonical));
}
