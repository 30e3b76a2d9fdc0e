/*
 * cache.c: pennypost-cache, what clients ask for of messages, ready to be sent.
 *
 * A header and records, one a message; files never change, so a record is good as
 * long as its UID.  Records are appended with a short lock; readers map the file
 * and need none.  Nothing is synced: whatever is missing, torn or damaged is made
 * again from the message.  Numbers are little-endian.
 *
 *	header	0  "PPCACHE", LF	record	0  u32 CRC-32C of octets 4 and up
 *		8  u32 UIDVALIDITY		   begun with the seed
 *		12 u32 seed			4  u32 length, a multiple of 8
 *		16 zeros			8  u32 UID
 *		28 u32 CRC-32C of 0 to 27	12 u32 version of the content, 1
 *						16 4 x u32 length of each part, or 2^32-1: not kept
 *						32 the parts, then zeros
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "crc32c.h"
#include "store_int.h"

#define MAGIC		"PPCACHE\n"
#define HEADER		32
#define VERSION		1
#define FILE_MAX	(UINT64_C(4) << 30)	/* octets */
#define PENDING_MAX	(256 * 1024)
#define LOCK_TRIES	50
#define GARBAGE_MIN	(1024 * 1024)	/* octets that nobody needs below which it is not made anew */

static uint32_t
get32(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static void
set32(char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

/* ---- records ---- */

/* The parts' lengths are within the record. */
static bool
plausible(const char *p, size_t left, size_t *len)
{
	uint64_t need = CACHE_RECORD_HEADER;

	if (left < CACHE_RECORD_HEADER)
		return false;
	*len = get32(p + 4);
	if (*len < CACHE_RECORD_HEADER || *len % 8 != 0 || *len > CACHE_RECORD_MAX || *len > left ||
	    get32(p + 8) == 0 || get32(p + 12) != VERSION)
		return false;
	for (size_t i = 0; i < STORE_CACHED_KINDS; i++) {
		uint32_t n = get32(p + 16 + 4 * i);

		need += n == CACHE_NONE ? 0 : n;
	}
	return need <= *len && *len - need < 8;
}

bool
cache_record(uint32_t seed, struct slice bytes, struct cache_parts *out, size_t *len)
{
	const char *p = bytes.ptr;
	size_t at = CACHE_RECORD_HEADER;

	if (!plausible(p, bytes.len, len) || crc32c(seed, p + 4, *len - 4) != get32(p))
		return false;
	out->uid = get32(p + 8);
	for (size_t i = 0; i < STORE_CACHED_KINDS; i++) {
		uint32_t n = get32(p + 16 + 4 * i);

		out->part[i] = n == CACHE_NONE ? (struct slice){ 0 } : slice_make(p + at, n);
		at += n == CACHE_NONE ? 0 : n;
	}
	return true;
}

static bool
compose(uint32_t seed, struct buf *out, const struct cache_parts *parts)
{
	size_t len = CACHE_RECORD_HEADER, at = CACHE_RECORD_HEADER;
	char *p;

	for (size_t i = 0; i < STORE_CACHED_KINDS; i++)
		len += parts->part[i].len;
	len = (len + 7) / 8 * 8;
	p = len > CACHE_RECORD_MAX ? NULL : buf_room(out, len);
	if (p == NULL)
		return false;
	memset(p, 0, len);
	set32(p + 4, (uint32_t)len);
	set32(p + 8, parts->uid);
	set32(p + 12, VERSION);
	for (size_t i = 0; i < STORE_CACHED_KINDS; i++) {
		struct slice part = parts->part[i];

		set32(p + 16 + 4 * i, part.ptr == NULL ? CACHE_NONE : (uint32_t)part.len);
		if (part.len > 0)
			memcpy(p + at, part.ptr, part.len);
		at += part.len;
	}
	set32(p, crc32c(seed, p + 4, len - 4));
	buf_add(out, len);
	return true;
}

/* ---- the file ---- */

void
cache_init(struct cache *c)
{
	*c = (struct cache){ .fd = -1 };
	buf_init(&c->pending, PENDING_MAX + 2 * CACHE_RECORD_MAX);
}

static void
unmap(struct cache *c)
{
	union { const char *in; void *out; } p = { .in = c->map };	/* munmap wants it without const */

	if (c->map != NULL)
		(void)munmap(p.out, c->map_len);
	c->map = NULL;
	c->map_len = c->read = c->n = 0;
}

static void
close_file(struct cache *c)
{
	unmap(c);
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
	c->tried = false;
}

void
cache_clear(struct cache *c)
{
	close_file(c);
	free(c->at);
	buf_clear(&c->pending);
	cache_init(c);
}

static bool
read_header(struct cache *c, uint32_t uidvalidity)
{
	char header[HEADER];
	struct stat st;

	if (fstat(c->fd, &st) != 0 || !S_ISREG(st.st_mode) || pread(c->fd, header, HEADER, 0) != HEADER ||
	    memcmp(header, MAGIC, 8) != 0 || get32(header + 28) != crc32c(0, header, 28) ||
	    get32(header + 8) != uidvalidity)
		return false;
	c->seed = get32(header + 12);
	c->ino = st.st_ino;
	c->read = HEADER;
	return true;
}

/* A new file with these records in the place of what may be there. */
static bool
write_new(struct box *b, uint32_t seed, struct slice records)
{
	char header[HEADER] = MAGIC;
	bool good = false;
	struct buf tmp;
	int fd;

	set32(header + 8, b->uids.uidvalidity);
	set32(header + 12, seed);
	set32(header + 28, crc32c(0, header, 28));
	buf_init(&tmp, MAILDIR_NAME_MAX);
	(void)buf_fmt(&tmp, "pennypost-tmp.");
	store_unique(b->store, &tmp);
	fd = openat(b->dir, buf_cstr(&tmp), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0) {
		good = store_write_all(fd, slice_make(header, HEADER)) && store_write_all(fd, records);
		(void)close(fd);
		good = good && renameat(b->dir, buf_cstr(&tmp), b->dir, CACHE_FILE) == 0;
		if (!good)
			(void)unlinkat(b->dir, buf_cstr(&tmp), 0);
	}
	buf_clear(&tmp);
	return good;
}

static bool
open_file(struct box *b, bool create)
{
	struct cache *c = &b->cache;
	uint32_t seed;

	if (c->fd >= 0)
		return true;
	if (c->tried && !create)
		return false;
	c->tried = true;
	for (int tries = 0; tries < 2; tries++) {
		c->fd = openat(b->dir, CACHE_FILE, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (c->fd >= 0 && read_header(c, b->uids.uidvalidity))
			return true;
		if (c->fd < 0 && errno != ENOENT)
			return false;
		close_file(c);
		c->tried = true;
		/* Missing, of another UIDVALIDITY, or damaged. */
		if (!create || getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed) ||
		    !write_new(b, seed, (struct slice){ 0 }))
			return false;
	}
	return false;
}

/* ---- read ---- */

static int
by_uid(const void *a, const void *b)
{
	const struct cache_entry *x = a, *y = b;

	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static void
sort_table(struct cache *c)
{
	size_t to = 0;

	qsort(c->at, c->n, sizeof(*c->at), by_uid);
	for (size_t i = 0; i < c->n; i++) {	/* the latest of a UID counts */
		if (to > 0 && c->at[to - 1].uid == c->at[i].uid)
			to--;
		c->at[to++] = c->at[i];
	}
	c->n = to;
}

static bool
note_record(struct cache *c, uint32_t uid, size_t at)
{
	if (c->n == c->cap) {
		size_t cap = c->cap == 0 ? 256 : c->cap * 2;
		struct cache_entry *more = reallocarray(c->at, cap, sizeof(*more));

		if (more == NULL)
			return false;
		c->at = more;
		c->cap = cap;
	}
	c->at[c->n++] = (struct cache_entry){ uid, (uint32_t)(at / 8) };
	return true;
}

/* Look at what was appended since.  Whether a record is whole, its checksum tells when it is used. */
static void
read_on(struct box *b)
{
	struct cache *c = &b->cache;
	size_t from = c->read, len;
	bool sorted = true;
	struct stat st;
	void *map;

	if (fstatat(b->dir, CACHE_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_ino != c->ino) {
		close_file(c);
		if (!open_file(b, false) || fstat(c->fd, &st) != 0)
			return;
		from = c->read;
	}
	if ((uint64_t)st.st_size > FILE_MAX || (size_t)st.st_size == c->map_len || st.st_size <= HEADER)
		return;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, c->fd, 0);
	if (map == MAP_FAILED)
		return;
	len = c->n;
	unmap(c);
	c->n = len;
	c->map = map;
	c->map_len = (size_t)st.st_size;
	while (from + CACHE_RECORD_HEADER <= c->map_len) {
		uint32_t uid = get32(c->map + from + 8);

		if (!plausible(c->map + from, c->map_len - from, &len)) {
			from += 8;	/* torn by a crash: the next one is on such a place, too */
			continue;
		}
		sorted &= c->n == 0 || c->at[c->n - 1].uid < uid;
		if (!note_record(c, uid, from))
			break;
		from += len;
	}
	c->read = from;
	if (!sorted)
		sort_table(c);
}

/* The entry of that UID, or of the next higher one. */
static size_t
find_entry(const struct cache *c, uint32_t uid)
{
	size_t low = 0, high = c->n;

	if (c->hint < c->n && c->at[c->hint].uid == uid)
		return c->hint;		/* most ask for one after the other */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (c->at[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
look_up(struct cache *c, uint32_t uid, struct cache_parts *out)
{
	size_t i = find_entry(c, uid), at, len;

	if (i == c->n || c->at[i].uid != uid)
		return false;
	c->hint = i + 1;
	at = (size_t)c->at[i].at * 8;
	return cache_record(c->seed, slice_make(c->map + at, c->map_len - at), out, &len) && out->uid == uid;
}

bool
cache_get(struct box *b, uint32_t uid, struct cache_parts *out)
{
	struct cache *c = &b->cache;

	if (!open_file(b, false))
		return false;
	if (c->map != NULL && look_up(c, uid, out))
		return true;
	read_on(b);
	return c->map != NULL && look_up(c, uid, out);
}

/* ---- write ---- */

static bool
lock(int fd)
{
	struct timespec nap = { .tv_nsec = 200 * 1000 };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
	}
	return false;
}

/* Somebody made the file anew: records with the old one's seed are of no use in it. */
static bool
replaced(struct box *b)
{
	struct stat st;

	return b->cache.fd >= 0 &&
	    (fstatat(b->dir, CACHE_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_ino != b->cache.ino);
}

void
cache_flush(struct box *b)
{
	struct cache *c = &b->cache;
	uint64_t end;
	struct stat st;

	if (c->pending.len == 0)
		return;
	if (replaced(b)) {
		close_file(c);
		buf_reset(&c->pending);
		return;
	}
	if (!c->pending.full && open_file(b, true) && lock(c->fd)) {
		if (fstat(c->fd, &st) == 0 && (uint64_t)st.st_size + c->pending.len < FILE_MAX) {
			end = ((uint64_t)st.st_size + 7) / 8 * 8;
			/* What is torn for want of room is passed over, and made again when there is some.  It
			 * is not cut off: somebody may have mapped it. */
			(void)store_pwrite_all(c->fd, buf_slice_of(&c->pending), end);
		}
		(void)flock(c->fd, LOCK_UN);
	}
	buf_reset(&c->pending);
}

void
cache_put(struct box *b, const struct cache_parts *parts)
{
	struct cache *c = &b->cache;

	if (!open_file(b, true))
		return;
	(void)compose(c->seed, &c->pending, parts);
	if (c->pending.len > PENDING_MAX)
		cache_flush(b);
}

/* ---- check ---- */

bool
cache_damaged(struct box *b)
{
	struct cache *c = &b->cache;
	struct cache_parts parts;
	size_t len;

	if (!open_file(b, false))
		return faccessat(b->dir, CACHE_FILE, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	read_on(b);
	for (size_t at = HEADER; at < c->map_len; at += len) {
		if (!cache_record(c->seed, slice_make(c->map + at, c->map_len - at), &parts, &len))
			return true;
	}
	return false;
}

void
cache_drop(struct box *b)
{
	cache_clear(&b->cache);
	(void)unlinkat(b->dir, CACHE_FILE, 0);
}

/* ---- compact ---- */

static bool
copy_live(struct store_folder *f, struct buf *out)
{
	struct cache *c = &f->box.cache;
	size_t len;

	for (uint32_t i = 0; i < f->m; i++) {
		size_t e = find_entry(c, f->msg[i].pub.uid);

		if (e == c->n || c->at[e].uid != f->msg[i].pub.uid || f->msg[i].dead)
			continue;
		if (plausible(c->map + (size_t)c->at[e].at * 8, c->map_len - (size_t)c->at[e].at * 8, &len))
			(void)buf_put(out, c->map + (size_t)c->at[e].at * 8, len);
	}
	return !out->full;
}

void
cache_compact(struct store_folder *f)
{
	struct cache *c = &f->box.cache;
	size_t live = 0, len;
	struct buf out;

	if (c->map == NULL || c->map_len < GARBAGE_MIN)
		return;
	for (uint32_t i = 0; i < f->m; i++) {
		size_t e = find_entry(c, f->msg[i].pub.uid);

		if (e < c->n && c->at[e].uid == f->msg[i].pub.uid &&
		    plausible(c->map + (size_t)c->at[e].at * 8, c->map_len - (size_t)c->at[e].at * 8, &len))
			live += len;
	}
	if (c->map_len - live < GARBAGE_MIN || c->map_len - live < live)
		return;
	buf_init(&out, c->map_len);
	if (copy_live(f, &out) && write_new(&f->box, c->seed, buf_slice_of(&out)))
		close_file(c);
	buf_clear(&out);
}
