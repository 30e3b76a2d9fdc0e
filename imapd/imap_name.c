#include "imap_name.h"

#include <stdlib.h>
#include <string.h>
#include <uninorm.h>
#include <unistr.h>

#include "mime/imap_write.h"
#include "store/store.h"

#define NAME_MAX_OCTETS	(8 * STORE_NAME_MAX)	/* longer ones are no names */

static bool
keep(struct imap_pool *pool, const void *ptr, size_t len, struct slice *out)
{
	char *copy = imap_pool_alloc(pool, len + 1);

	if (copy == NULL)
		return false;
	if (len > 0)
		memcpy(copy, ptr, len);
	*out = slice_make(copy, len);
	return true;
}

bool
imap_name_normal(struct imap_pool *pool, struct slice utf8, struct slice *out)
{
	uint8_t *text;
	size_t len = 0;
	bool ok;

	if (utf8.len == 0)
		return keep(pool, "", 0, out);
	if (utf8.len > NAME_MAX_OCTETS || u8_check((const uint8_t *)utf8.ptr, utf8.len) != NULL)
		return false;
	text = u8_normalize(UNINORM_NFC, (const uint8_t *)utf8.ptr, utf8.len, NULL, &len);
	if (text == NULL)
		return false;
	ok = keep(pool, text, len, out);
	free(text);
	return ok;
}

bool
imap_name_in(struct imap_pool *pool, struct slice utf8, struct slice *out)
{
	struct buf utf7;
	bool ok;

	*out = SLICE("");
	if (!imap_name_normal(pool, utf8, &utf8))
		return true;
	buf_init(&utf7, NAME_MAX_OCTETS * 4);
	ok = !store_name_utf7(utf8, &utf7) || keep(pool, utf7.ptr, utf7.len, out);
	buf_clear(&utf7);
	return ok;
}

void
imap_put_name(struct buf *out, struct slice name, bool utf8)
{
	struct buf text;

	if (!utf8 || slice_find(name, '&') == name.len) {
		imap_put_string(out, name);
		return;
	}
	buf_init(&text, NAME_MAX_OCTETS);
	if (store_name_utf8(name, &text))
		imap_put_utf8(out, buf_slice_of(&text));
	else
		imap_put_string(out, name);
	buf_clear(&text);
}
