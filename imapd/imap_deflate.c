#include "imap_deflate.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

#define PIECE		(16 * 1024)	/* octets undone at a time */
#define LEVEL		5
#define WINDOW_OUT	13		/* 8 KB back; a client may use 15 */
#define MEM_LEVEL	7
#define ROOM		4096		/* least room in the output */

struct imap_deflate {
	z_stream	in, out;
	size_t		at, len;	/* of plain */
	unsigned char	plain[PIECE];
};

struct imap_deflate *
imap_deflate_new(void)
{
	struct imap_deflate *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	if (inflateInit2(&d->in, -15) != Z_OK) {
		free(d);
		return NULL;
	}
	if (deflateInit2(&d->out, LEVEL, Z_DEFLATED, -WINDOW_OUT, MEM_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		(void)inflateEnd(&d->in);
		free(d);
		return NULL;
	}
	return d;
}

void
imap_deflate_free(struct imap_deflate *d)
{
	if (d == NULL)
		return;
	(void)inflateEnd(&d->in);
	(void)deflateEnd(&d->out);
	free(d);
}

struct slice
imap_deflate_plain(const struct imap_deflate *d)
{
	return slice_make(d->plain + d->at, d->len - d->at);
}

void
imap_deflate_taken(struct imap_deflate *d, size_t n)
{
	d->at += n;
}

/* zlib's interface takes away const; it does not write there. */
static unsigned char *
octets_of(struct slice s)
{
	union {
		const char	*from;
		unsigned char	*to;
	} u = { .from = s.ptr };

	return u.to;
}

bool
imap_deflate_more(struct imap_deflate *d, struct slice *data)
{
	size_t n = data->len < INT_MAX ? data->len : INT_MAX;
	int result;

	d->at = d->len = 0;
	d->in.next_in = octets_of(*data);
	d->in.avail_in = (unsigned)n;
	d->in.next_out = d->plain;
	d->in.avail_out = sizeof(d->plain);
	result = inflate(&d->in, Z_SYNC_FLUSH);
	d->len = sizeof(d->plain) - d->in.avail_out;
	*data = slice_sub(*data, n - d->in.avail_in, data->len);
	/* Z_BUF_ERROR: all input is taken; there is nothing to give before more comes. */
	return result == Z_OK || result == Z_BUF_ERROR;
}

bool
imap_deflate_put(struct imap_deflate *d, struct slice text, struct buf *out)
{
	d->out.next_in = octets_of(text);
	d->out.avail_in = (unsigned)text.len;
	do {
		char *room = buf_room(out, ROOM);

		if (room == NULL)
			return false;
		d->out.next_out = (unsigned char *)room;
		d->out.avail_out = ROOM;
		(void)deflate(&d->out, Z_SYNC_FLUSH);
		buf_add(out, ROOM - d->out.avail_out);
	} while (d->out.avail_out == 0);
	return true;
}
