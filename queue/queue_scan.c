#include "queue_scan.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32c.h"

#define PIECE		(64 * 1024)		/* octets looked at in one go */
#define WINDOW		(256 * 1024)
#define SEAL_SIZE	((RECORD_HEAD + 8 + 7) & ~7)

void
scan_begin(struct scan *s, const struct scan_source *source, uint64_t salt, bool verify_content)
{
	*s = (struct scan){ .source = source, .salt = salt, .offset = SEGMENT_HEADER,
	    .verify_content = verify_content };
}

static const char *
at(const struct scan_source *source, uint64_t offset, size_t len)
{
	return source->at(source->ctx, offset, len);
}

static enum scan_found
content_intact(const struct scan *s, const struct record_head *h, uint64_t offset)
{
	uint32_t crc = record_crc_start(s->salt), left = h->content_len;

	while (left > 0) {
		size_t n = left < PIECE ? left : PIECE;
		const char *p = at(s->source, offset, n);

		if (p == NULL)
			return SCAN_NO_MEMORY;
		crc = crc32c(crc, p, n);
		offset += n;
		left -= (uint32_t)n;
	}
	return crc == h->content_crc ? SCAN_RECORD : SCAN_BROKEN;
}

/* Is there an intact record at the scan's offset? */
static enum scan_found
record_here(const struct scan *s, struct scan_item *out)
{
	const struct scan_source *source = s->source;
	const char *p;
	uint64_t left;

	if (s->offset > source->size || source->size - s->offset < RECORD_HEAD)
		return SCAN_BROKEN;
	p = at(source, s->offset, RECORD_HEAD);
	if (p == NULL)
		return SCAN_NO_MEMORY;
	if (!record_head_get(slice_make(p, RECORD_HEAD), s->salt, &out->head))
		return SCAN_BROKEN;
	left = source->size - s->offset - RECORD_HEAD;
	if (left < (uint64_t)out->head.body_len + out->head.content_len)
		return SCAN_BROKEN;
	if (s->verify_content && out->head.content_len > 0) {
		enum scan_found found = content_intact(s, &out->head,
		    s->offset + RECORD_HEAD + out->head.body_len);

		if (found != SCAN_RECORD)
			return found;
	}
	p = at(source, s->offset + RECORD_HEAD, out->head.body_len);
	if (p == NULL)
		return SCAN_NO_MEMORY;
	out->offset = s->offset;
	out->body = slice_make(p, out->head.body_len);
	return record_crc(s->salt, out->body) == out->head.body_crc ? SCAN_RECORD : SCAN_BROKEN;
}

/*
 * The next multiple of 8 from `from` on that holds an intact head; source->size if there is
 * none.  *end is left behind the last octet before it that is no zero (from if there is none).
 */
static bool
find_head(const struct scan *s, uint64_t from, uint64_t *found, uint64_t *end)
{
	const struct scan_source *source = s->source;
	struct record_head h;

	*end = from;
	for (uint64_t offset = from; offset < source->size;) {
		uint64_t left = source->size - offset;
		size_t n = left < PIECE ? (size_t)left : PIECE;
		const char *p = at(source, offset, n);

		if (p == NULL)
			return false;
		for (size_t i = 0; i < n; i += 8) {
			size_t rest = n - i;
			uint64_t word = 0;

			memcpy(&word, p + i, rest < 8 ? rest : 8);
			if (word == 0)
				continue;
			if ((i > 0 || offset > from) && rest >= RECORD_HEAD &&
			    record_head_get(slice_make(p + i, RECORD_HEAD), s->salt, &h)) {
				*found = offset + i;
				return true;
			}
			*end = offset + i + (rest < 8 ? rest : 8);
		}
		/* A head may lie across the end of the piece. */
		offset += left <= PIECE ? left : PIECE - RECORD_HEAD;
	}
	*found = source->size;
	return true;
}

enum scan_found
scan_next(struct scan *s, struct scan_item *out)
{
	enum scan_found here = record_here(s, out);
	uint64_t found, end;

	if (here == SCAN_RECORD) {
		s->offset += record_size(&out->head);
		return SCAN_RECORD;
	}
	if (here == SCAN_NO_MEMORY)
		return here;
	if (s->offset >= s->source->size)
		return SCAN_END;
	out->from = s->offset;
	if (!find_head(s, s->offset, &found, &end))
		return SCAN_NO_MEMORY;
	s->offset = found;
	if (found == s->source->size) {
		out->to = end;
		return end == out->from ? SCAN_END : SCAN_BROKEN;
	}
	out->to = found;
	return SCAN_BROKEN;
}

bool
scan_sealed(const struct scan_source *source, uint64_t salt)
{
	struct scan s = { .source = source, .salt = salt };
	struct scan_item item;

	if (source->size < SEGMENT_HEADER + SEAL_SIZE || source->size % 8 != 0)
		return false;
	s.offset = source->size - SEAL_SIZE;
	return record_here(&s, &item) == SCAN_RECORD && item.head.type == RECORD_TYPE_seal;
}

/* ---- sources ---- */

static const char *
memory_at(void *ctx, uint64_t offset, size_t len)
{
	const struct scan_memory *m = ctx;

	(void)len;
	return m->all.ptr + offset;
}

void
scan_memory(struct scan_memory *m, struct slice all)
{
	m->all = all;
	m->source = (struct scan_source){ .at = memory_at, .ctx = m, .size = all.len };
}

/* Read until it is full or the file ends; what cannot be read stays zero. */
static void
read_window(struct scan_file *f, char *to, uint64_t offset, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(f->fd, to + have, len - have, (off_t)(offset + have));

		if (n > 0) {
			have += (size_t)n;
		} else if (n == 0) {
			memset(to + have, 0, len - have);
			return;
		} else if (errno != EINTR) {
			size_t skip = len - have < 4096 ? len - have : 4096;

			f->unreadable++;
			memset(to + have, 0, skip);
			have += skip;
		}
	}
}

static const char *
file_at(void *ctx, uint64_t offset, size_t len)
{
	struct scan_file *f = ctx;
	uint64_t left = f->source.size - offset;
	size_t want = left < WINDOW ? (size_t)left : WINDOW;
	char *to;

	if (offset >= f->start && offset + len <= f->start + f->window.len)
		return f->window.ptr + (offset - f->start);
	if (want < len)
		want = len;
	buf_reset(&f->window);
	to = buf_room(&f->window, want == 0 ? 1 : want);
	if (to == NULL)
		return NULL;
	read_window(f, to, offset, want);
	f->start = offset;
	buf_add(&f->window, want);
	return f->window.ptr;
}

bool
scan_file_open(struct scan_file *f, int fd)
{
	struct stat st;

	*f = (struct scan_file){ .fd = fd };
	buf_init(&f->window, RECORD_HEAD + RECORD_BODY_MAX + WINDOW);
	if (fstat(fd, &st) != 0)
		return false;
	f->source = (struct scan_source){ .at = file_at, .ctx = f, .size = (uint64_t)st.st_size };
	return true;
}

void
scan_file_close(struct scan_file *f)
{
	buf_clear(&f->window);
}
