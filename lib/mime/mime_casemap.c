/* mime_casemap.c: the collation i;unicode-casemap of RFC 5051. */
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>

#include "mime_int.h"

#define DEPTH_MAX	8	/* decompositions of decompositions; Unicode has four */

static bool
is_hangul(ucs4_t c)
{
	return c >= 0xac00 && c <= 0xd7a3;	/* decomposed by rule, not by UnicodeData */
}

/* What c decomposes to in the end, one character after the other. */
static void
put_decomposed(ucs4_t c, bool lower, unsigned depth, struct buf *out)
{
	ucs4_t part[UC_DECOMPOSITION_MAX_LENGTH];
	uint8_t utf8[6];
	int tag, n = -1;

	if (c >= 0x80 && depth < DEPTH_MAX && !is_hangul(c))
		n = uc_decomposition(c, &tag, part);
	for (int i = 0; i < n; i++)
		put_decomposed(part[i], lower, depth + 1, out);
	if (n > 0)
		return;
	if (lower && c >= 'A' && c <= 'Z')
		c |= 32;
	n = u8_uctomb(utf8, c, sizeof(utf8));
	if (n > 0)
		(void)buf_put(out, utf8, (size_t)n);
}

/* ASCII at the front, its letters made one case. */
static size_t
put_ascii(struct slice utf8, bool lower, struct buf *out)
{
	size_t n = 0;
	char *to;

	while (n < utf8.len && (unsigned char)utf8.ptr[n] < 0x80)
		n++;
	to = n == 0 ? NULL : buf_room(out, n);
	if (to == NULL)
		return n;
	for (size_t i = 0; i < n; i++) {
		char c = utf8.ptr[i];

		if (lower)
			to[i] = (char)(c >= 'A' && c <= 'Z' ? c | 32 : c);
		else
			to[i] = (char)(c >= 'a' && c <= 'z' ? c & ~32 : c);
	}
	buf_add(out, n);
	return n;
}

bool
mime_casemap(struct slice utf8, bool lower, struct buf *out)
{
	while (utf8.len > 0 && !out->full) {
		size_t ascii = put_ascii(utf8, lower, out);
		ucs4_t c;
		int n;

		utf8 = slice_sub(utf8, ascii, utf8.len);
		if (utf8.len == 0)
			break;
		n = u8_mbtoucr(&c, (const uint8_t *)utf8.ptr, utf8.len);
		if (n <= 0)
			c = '?';
		utf8 = slice_sub(utf8, n <= 0 ? 1 : (size_t)n, utf8.len);
		put_decomposed(uc_totitle(c), lower, 0, out);
	}
	return !out->full;
}

bool
mime_collation_key(struct slice utf8, struct buf *out)
{
	return mime_casemap(utf8, false, out);
}
