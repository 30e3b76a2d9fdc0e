/* imapd: ENVELOPE and BODYSTRUCTURE of any message are well-formed. */
#include <stdint.h>
#include <stdlib.h>

#include "imapd/imap_parse.h"
#include "mime/imap_envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A string, an atom, a number, or a list of such; lists may touch each other (bodies of a multipart). */
static void
read_value(struct imap_in *in, unsigned depth)
{
	struct slice value;

	if (depth > 3 * MIME_DEPTH_MAX)
		abort();
	if (!imap_take_char(in, '(')) {
		bool string = in->rest.len > 0 && (in->rest.ptr[0] == '"' || in->rest.ptr[0] == '{');

		if (string ? !imap_parse_string(in, &value) : !imap_parse_atom(in, &value))
			abort();
		return;
	}
	while (!imap_take_char(in, ')')) {
		read_value(in, depth + 1);
		(void)imap_take_char(in, ' ');
	}
}

static void
check(const struct buf *out, struct imap_pool *pool)
{
	struct imap_in in;

	if (out->full)
		return;
	imap_in_init(&in, buf_slice_of(out), pool);
	read_value(&in, 0);
	if (in.rest.len != 0)
		abort();
	imap_pool_clear(pool);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice message = slice_make(data, size), header, body;
	struct imap_pool pool;
	struct mime mime;
	struct buf out;

	imap_pool_init(&pool, 1 << 26);
	buf_init(&out, 1 << 22);
	mime_split(message, &header, &body);
	imap_put_envelope(&out, header);
	check(&out, &pool);
	if (mime_parse(message, &mime)) {
		for (int extended = 0; extended < 2; extended++) {
			buf_reset(&out);
			imap_put_structure(&out, &mime, extended != 0);
			check(&out, &pool);
		}
		mime_clear(&mime);
	}
	buf_clear(&out);
	return 0;
}
