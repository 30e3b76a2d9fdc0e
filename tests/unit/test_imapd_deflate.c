/* imapd: DEFLATE both ways (RFC 4978). */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "imapd/imap_deflate.h"

/* All that d makes of data, given in pieces of so many octets; false: it is broken. */
static bool
undo(struct imap_deflate *d, struct slice data, size_t piece, struct buf *out)
{
	while (data.len > 0) {
		struct slice part = slice_sub(data, 0, piece), rest = part;

		do {
			if (!imap_deflate_more(d, &rest))
				return false;
			assert_true(imap_deflate_plain(d).len <= 16384);
			(void)buf_slice(out, imap_deflate_plain(d));
		} while (imap_deflate_plain(d).len > 0);
		assert_int_equal(rest.len, 0);
		data = slice_sub(data, part.len, data.len);
	}
	return true;
}

static void
there_and_back(void **unused)
{
	static const size_t size[] = { 0, 1, 100, 4096, 16384, 100000, 1000000 }, piece[] = { 1, 7, 1000, 1000000 };

	(void)unused;
	for (size_t i = 0; i < LEN(size); i++) {
		for (size_t k = 0; k < LEN(piece); k++) {
			struct imap_deflate *d = imap_deflate_new();
			char *text = malloc(size[i] + 1);
			struct buf packed, again;

			assert_true(d != NULL && text != NULL);
			for (size_t n = 0; n < size[i]; n++)
				text[n] = (char)(n % 251 + n / 10000);
			buf_init(&packed, 10000000);
			buf_init(&again, 10000000);
			assert_true(imap_deflate_put(d, slice_make(text, size[i]), &packed));
			assert_true(imap_deflate_put(d, SLICE("end\r\n"), &packed));
			assert_true(undo(d, buf_slice_of(&packed), piece[k], &again));
			check_row(i, again.len == size[i] + 5 && memcmp(again.ptr, text, size[i]) == 0);
			assert_true(size[i] < 10000 || packed.len < size[i] / 2);
			buf_clear(&packed);
			buf_clear(&again);
			free(text);
			imap_deflate_free(d);
		}
	}
}

static void
broken(void **unused)
{
	static const char *const text[] = { "\xff\xff\xff\xff", "a NOOP\r\n", "\x03\x00 ended" };

	(void)unused;
	for (size_t i = 0; i < LEN(text); i++) {
		struct imap_deflate *d = imap_deflate_new();
		struct buf out;

		buf_init(&out, 1000);
		assert_non_null(d);
		check_row(i, !undo(d, slice_make(text[i], i == 2 ? 8 : strlen(text[i])), 1000, &out));
		buf_clear(&out);
		imap_deflate_free(d);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
