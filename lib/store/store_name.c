/* store_name.c: names of folders, modified UTF-7 (RFC 3501 section 5.1.3).  Pure. */
#include <string.h>
#include <strings.h>
#include <unistr.h>

#include "store.h"

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* ---- to UTF-8 ---- */

struct utf16 {		/* code units as they come */
	uint32_t	bits;
	unsigned	bit_n;
	uint32_t	high;	/* a high surrogate that waits for its low one */
};

static bool
put_char(struct buf *out, ucs4_t c)
{
	uint8_t utf8[6];
	int n = u8_uctomb(utf8, c, sizeof(utf8));

	return n > 0 && buf_put(out, utf8, (size_t)n);
}

static bool
put_unit(struct utf16 *u, uint32_t unit, struct buf *out)
{
	ucs4_t c = unit;

	if (u->high != 0) {
		if (unit < 0xdc00 || unit > 0xdfff)
			return false;
		c = 0x10000 + ((u->high - 0xd800) << 10) + (unit - 0xdc00);
		u->high = 0;
	} else if (unit >= 0xd800 && unit <= 0xdbff) {
		u->high = unit;
		return true;
	}
	return put_char(out, c);
}

/* What stands between '&' and '-'. */
static bool
decode_run(struct slice run, struct buf *out)
{
	struct utf16 u = { 0 };

	for (size_t i = 0; i < run.len; i++) {
		const char *digit = run.ptr[i] == '\0' ? NULL : strchr(base64, run.ptr[i]);

		if (digit == NULL)
			return false;
		u.bits = u.bits << 6 | (uint32_t)(digit - base64);
		u.bit_n += 6;
		if (u.bit_n < 16)
			continue;
		u.bit_n -= 16;
		if (!put_unit(&u, u.bits >> u.bit_n & 0xffff, out))
			return false;
	}
	return u.high == 0 && u.bit_n < 6 && (u.bits & ((1u << u.bit_n) - 1)) == 0;
}

bool
store_name_utf8(struct slice name, struct buf *out)
{
	while (name.len > 0) {
		struct slice plain = slice_cut(&name, '&');
		size_t end;

		if (!buf_slice(out, plain))
			return false;
		if (name.len == 0)
			return plain.ptr + plain.len == name.ptr;	/* no '&' as the last octet */
		end = slice_find(name, '-');
		if (end == name.len)
			return false;
		if (end == 0 ? !buf_char(out, '&') : !decode_run(slice_sub(name, 0, end), out))
			return false;
		name = slice_sub(name, end + 1, name.len);
	}
	return true;
}

/* ---- and back ---- */

struct base64_out {
	uint32_t	bits;
	unsigned	bit_n;
	bool		open;	/* after '&' */
};

static void
put_bits(struct base64_out *b, uint32_t unit, struct buf *out)
{
	if (!b->open)
		(void)buf_char(out, '&');
	b->open = true;
	b->bits = b->bits << 16 | unit;
	b->bit_n += 16;
	while (b->bit_n >= 6) {
		b->bit_n -= 6;
		(void)buf_char(out, base64[b->bits >> b->bit_n & 63]);
	}
	b->bits &= (1u << b->bit_n) - 1;
}

static void
close_run(struct base64_out *b, struct buf *out)
{
	if (!b->open)
		return;
	if (b->bit_n > 0)
		(void)buf_char(out, base64[b->bits << (6 - b->bit_n) & 63]);
	(void)buf_char(out, '-');
	*b = (struct base64_out){ 0 };
}

bool
store_name_utf7(struct slice utf8, struct buf *out)
{
	struct base64_out b = { 0 };
	size_t i = 0;

	while (i < utf8.len) {
		ucs4_t c;
		int n = u8_mbtoucr(&c, (const uint8_t *)utf8.ptr + i, utf8.len - i);

		if (n <= 0)
			return false;
		i += (size_t)n;
		if (c >= 0x20 && c < 0x7f) {
			close_run(&b, out);
			(void)buf_char(out, (char)c);
			if (c == '&')
				(void)buf_char(out, '-');
		} else if (c >= 0x10000) {
			put_bits(&b, 0xd800 + ((c - 0x10000) >> 10), out);
			put_bits(&b, 0xdc00 + ((c - 0x10000) & 0x3ff), out);
		} else {
			put_bits(&b, c, out);
		}
	}
	close_run(&b, out);
	return !out->full;
}

/* ---- what may be a name ---- */

static bool
has_controls(struct slice utf8)
{
	size_t i = 0;

	while (i < utf8.len) {
		ucs4_t c;
		int n = u8_mbtoucr(&c, (const uint8_t *)utf8.ptr + i, utf8.len - i);

		if (n <= 0 || c < 0x20 || (c >= 0x7f && c < 0xa0))
			return true;
		i += (size_t)n;
	}
	return false;
}

/* Decoded and encoded again it must be the same: one name, one spelling. */
static bool
is_canonical(struct slice name)
{
	struct buf utf8, again;
	bool ok;

	buf_init(&utf8, 4 * STORE_NAME_MAX);
	buf_init(&again, 4 * STORE_NAME_MAX);
	ok = store_name_utf8(name, &utf8) && !has_controls(buf_slice_of(&utf8)) &&
	    store_name_utf7(buf_slice_of(&utf8), &again) && slice_eq(buf_slice_of(&again), name);
	buf_clear(&utf8);
	buf_clear(&again);
	return ok;
}

static bool
good_octets(struct slice name, bool new_name)
{
	unsigned char last = STORE_SEPARATOR;

	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c < 0x20 || c > 0x7e || c == '/')
			return false;
		if (new_name && (c == '*' || c == '%'))
			return false;
		if (c == STORE_SEPARATOR && last == STORE_SEPARATOR)
			return false;
		last = c;
	}
	return last != STORE_SEPARATOR;
}

bool
store_name_check(struct slice name, bool new_name, char out[STORE_NAME_MAX + 1])
{
	char copy[STORE_NAME_MAX + 1];
	struct slice first = name;

	if (name.len == 0 || name.len > STORE_NAME_MAX || !good_octets(name, new_name))
		return false;
	if (slice_find(name, '&') != name.len && !is_canonical(name))
		return false;
	(void)slice_text(name, copy, sizeof(copy));
	first = slice_cut(&first, STORE_SEPARATOR);
	if (slice_ieq(first, "INBOX"))
		memcpy(copy, "INBOX", 5);
	memcpy(out, copy, name.len + 1);
	return true;
}
