/* Names of folders: what is accepted is safe, canonical and the same again; modified UTF-7
 * goes there and back; names of files parse to what prints them. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/maildir.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
folder(struct slice in)
{
	char out[STORE_NAME_MAX + 1], again[STORE_NAME_MAX + 1];
	struct buf utf8, utf7;

	if (!store_name_check(in, false, out))
		return;
	if (strlen(out) != in.len || strchr(out, '/') != NULL || strstr(out, "..") != NULL || out[0] == '.')
		abort();
	if (!store_name_check(slice_of(out), false, again) || strcmp(out, again) != 0)
		abort();
	buf_init(&utf8, 4096);
	buf_init(&utf7, 4096);
	if (!store_name_utf8(slice_of(out), &utf8) || !store_name_utf7(buf_slice_of(&utf8), &utf7) ||
	    !slice_is(buf_slice_of(&utf7), out) || slice_find(buf_slice_of(&utf8), '/') != utf8.len)
		abort();
	buf_clear(&utf8);
	buf_clear(&utf7);
}

static void
file(struct slice in)
{
	char out[MAILDIR_NAME_MAX + 1];
	struct maildir_name n, again;
	struct qid qid;
	uint32_t rcpt;
	uint64_t size;

	if (!maildir_parse(in, &n))
		return;
	(void)maildir_size(n.base, 'S', &size);
	(void)maildir_queue_id(n.base, &qid, &rcpt);
	if (maildir_letters(maildir_flags(n.upper), n.upper) != n.upper)
		abort();
	if (!maildir_print(n.base, n.upper, n.lower, out))
		return;
	if (slice_find(n.base, '\0') != n.base.len)
		return;
	if (!maildir_parse(slice_of(out), &again) || !again.canonical || again.upper != n.upper ||
	    again.lower != n.lower || !slice_eq(again.base, n.base))
		abort();
	if (n.canonical != slice_is(in, out))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b;

	folder(slice_make(data, size));
	file(slice_make(data, size));
	buf_init(&b, 4 * size + 16);
	(void)store_name_utf7(slice_make(data, size), &b);
	buf_clear(&b);
	return 0;
}
