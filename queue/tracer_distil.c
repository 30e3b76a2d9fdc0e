#include "tracer_distil.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "queue_segment.h"

#define STEP_RECORDS	2000u
#define STEP_OCTETS	(256u * 1024)
#define SEGMENT_OCTETS	(UINT64_C(256) * 1024 * 1024)
#define SEGMENTS_KEPT	24u		/* of the time to keep, one a segment at least */
#define HOUR_USEC	UINT64_C(3600000000)

/* ---- lists of segments ---- */

struct name {
	uint64_t	seq, salt;
};

struct names {
	struct name	*at;
	size_t		 n;
};

static int
by_seq(const void *a, const void *b)
{
	const struct name *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static bool
list(int dirfd, struct names *out)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool ok = dir != NULL;

	*out = (struct names){ 0 };
	while (ok && (e = readdir(dir)) != NULL) {
		struct name one, *at;

		if (!segment_parse_name(e->d_name, &one.seq, &one.salt))
			continue;
		at = realloc(out->at, (out->n + 1) * sizeof(*at));
		ok = at != NULL;
		if (!ok)
			break;
		out->at = at;
		out->at[out->n++] = one;
	}
	if (dir != NULL)
		(void)closedir(dir);
	if (ok && out->n > 0)
		qsort(out->at, out->n, sizeof(*out->at), by_seq);
	return ok;
}

bool
distil_each(int trace_dirfd, bool (*each)(void *ctx, uint64_t seq, uint64_t salt), void *ctx)
{
	struct names all;
	bool ok = list(trace_dirfd, &all);

	for (size_t i = 0; ok && i < all.n; i++)
		if (!each(ctx, all.at[i].seq, all.at[i].salt))
			break;
	free(all.at);
	return ok;
}

/* ---- the history ---- */

static int
open_segment(int dirfd, uint64_t seq, uint64_t salt, int flags)
{
	char name[SEGMENT_NAME];

	segment_name(seq, salt, name);
	return openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static bool
put_position(struct distil *d)
{
	const struct record_position p = { .seq = d->seq, .offset = d->offset };

	buf_reset(&d->body);
	return record_put_position(&d->body, &p) && record_frame(&d->out, d->out_salt, RECORD_TYPE_position,
	    d->out_lsn++, buf_slice_of(&d->body), slice_make("", 0));
}

/* Write what is in d->out behind what is there; if that fails, nothing of it counts. */
static bool
flush(struct distil *d)
{
	size_t done = 0;

	while (done < d->out.len) {
		ssize_t n = pwrite(d->out_fd, d->out.ptr + done, d->out.len - done, (off_t)(d->out_size + done));

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (ftruncate(d->out_fd, (off_t)d->out_size) != 0)
				d->out_made_usec = 0;	/* go on in another */
			return false;
		}
		done += (size_t)n;
	}
	d->out_size += done;
	d->dirty = true;
	buf_reset(&d->out);
	return true;
}

static bool
begin_segment(struct distil *d)
{
	struct segment_header h = { .version = SEGMENT_VERSION, .seq = d->out_seq + 1, .trace = true,
	    .first_lsn = d->out_lsn, .made_usec = now_usec() };
	char raw[SEGMENT_HEADER];
	int fd;

	if (!distil_sync(d) || getrandom(&h.salt, sizeof(h.salt), 0) != (ssize_t)sizeof(h.salt))
		return false;
	fd = open_segment(d->trace_dirfd, h.seq, h.salt, O_RDWR | O_CREAT | O_EXCL);
	if (fd == -1)
		return false;
	if (d->out_fd != -1)
		(void)close(d->out_fd);
	d->out_fd = fd;
	d->out_seq = h.seq;
	d->out_salt = h.salt;
	d->out_size = d->synced_size = 0;
	d->out_made_usec = h.made_usec;
	segment_header_put(&h, raw);
	buf_reset(&d->out);
	if (buf_put(&d->out, raw, sizeof(raw)) && put_position(d) && flush(d) && fdatasync(fd) == 0 &&
	    fsync(d->trace_dirfd) == 0)
		return true;
	d->out_made_usec = 0;	/* to be begun again */
	return false;
}

/* Find the last position in the segment; what stands behind it is cut away. */
static bool
resume(struct distil *d, const struct name *name)
{
	struct scan_file file;
	struct scan scan;
	struct scan_item item;
	struct record_position p;
	struct segment_header h;
	const char *raw;
	enum scan_found found;
	uint64_t end = 0;

	d->out_fd = open_segment(d->trace_dirfd, name->seq, name->salt, O_RDWR);
	if (d->out_fd == -1 || !scan_file_open(&file, d->out_fd))
		return false;
	raw = file.source.size < SEGMENT_HEADER ? NULL : file.source.at(file.source.ctx, 0, SEGMENT_HEADER);
	d->out_made_usec = raw != NULL && segment_header_get(slice_make(raw, SEGMENT_HEADER), &h) ? h.made_usec : 0;
	scan_begin(&scan, &file.source, name->salt, false);
	while ((found = scan_next(&scan, &item)) == SCAN_RECORD || found == SCAN_BROKEN) {
		if (found != SCAN_RECORD)
			continue;
		if (item.head.lsn >= d->out_lsn)
			d->out_lsn = item.head.lsn + 1;
		if (item.head.type != RECORD_TYPE_position || !record_get_position(item.body, &p))
			continue;
		d->seq = p.seq;
		d->offset = p.offset;
		end = scan.offset;
	}
	scan_file_close(&file);
	d->out_seq = name->seq;
	d->out_salt = name->salt;
	d->out_size = d->synced_size = end;
	if (end > 0 && ftruncate(d->out_fd, (off_t)end) == 0)
		return true;
	(void)close(d->out_fd);
	d->out_fd = -1;
	return false;
}

bool
distil_open(struct distil *d, int log_dirfd, int trace_dirfd, uint64_t keep_usec)
{
	struct names all;
	bool ok;

	*d = (struct distil){ .log_dirfd = log_dirfd, .trace_dirfd = trace_dirfd, .keep_usec = keep_usec,
	    .log_fd = -1, .out_fd = -1, .out_lsn = 1 };
	buf_init(&d->out, 2 * RECORD_BODY_MAX);
	buf_init(&d->body, RECORD_BODY_MAX);
	ok = list(trace_dirfd, &all);
	/* The youngest may be empty: a crash came just after it was made. */
	for (size_t i = all.n; ok && i-- > 0;) {
		if (resume(d, &all.at[i]))
			break;
		d->out_seq = all.at[i].seq;
	}
	if (ok && all.n > 0 && d->out_seq < all.at[all.n - 1].seq) {
		d->out_seq = all.at[all.n - 1].seq;
		d->out_made_usec = 0;	/* begin a new one behind it */
	}
	d->kept_seq = d->seq;
	d->kept_offset = d->offset;
	free(all.at);
	return ok;
}

static void
close_log(struct distil *d)
{
	if (d->log_fd == -1)
		return;
	scan_file_close(&d->log_file);
	(void)close(d->log_fd);
	d->log_fd = -1;
}

void
distil_close(struct distil *d)
{
	close_log(d);
	if (d->out_fd != -1)
		(void)close(d->out_fd);
	buf_clear(&d->out);
	buf_clear(&d->body);
}

bool
distil_sync(struct distil *d)
{
	if (!d->dirty)
		return true;
	if (fdatasync(d->out_fd) != 0)
		return false;
	d->dirty = false;
	d->synced_size = d->out_size;
	d->kept_seq = d->seq;
	d->kept_offset = d->offset;
	return true;
}

/* ---- the log ---- */

void
distil_target(struct distil *d, uint64_t seq, uint64_t offset)
{
	d->target_seq = seq;
	d->target_offset = offset;
}

/* The segment of the log to go on with: the one we are in, or the next there is. */
static bool
open_log(struct distil *d)
{
	struct names all;
	const struct name *next = NULL;

	if (!list(d->log_dirfd, &all))
		return false;
	for (size_t i = 0; i < all.n && next == NULL; i++)
		if (all.at[i].seq >= d->seq)
			next = &all.at[i];
	if (next != NULL && next->seq <= d->target_seq) {
		if (next->seq != d->seq)
			d->offset = SEGMENT_HEADER;
		d->seq = next->seq;
		d->log_fd = open_segment(d->log_dirfd, next->seq, next->salt, O_RDONLY);
	}
	if (d->log_fd != -1 && scan_file_open(&d->log_file, d->log_fd)) {
		scan_begin(&d->scan, &d->log_file.source, next->salt, false);
		if (d->offset > SEGMENT_HEADER)
			d->scan.offset = d->offset;
	}
	free(all.at);
	return d->log_fd != -1;
}

/* What the history keeps of a record. */
static bool
is_kept(uint16_t type)
{
	return type == RECORD_TYPE_message || type == RECORD_TYPE_results || type == RECORD_TYPE_action ||
	    type == RECORD_TYPE_cancel;
}

/* Records of the open segment, up to the target; *end when there are no more in it. */
static bool
copy_some(struct distil *d, bool *end)
{
	struct scan_item item;

	/* Never look at what is not durable yet: it is being written. */
	if (d->seq == d->target_seq && d->log_file.source.size > d->target_offset)
		d->log_file.source.size = d->target_offset;
	*end = false;
	for (unsigned n = 0; n < STEP_RECORDS && d->out.len < STEP_OCTETS; n++) {
		enum scan_found found = scan_next(&d->scan, &item);

		if (found == SCAN_NO_MEMORY)
			return false;
		*end = found == SCAN_END;
		if (*end)
			break;
		d->offset = d->scan.offset;
		if (found == SCAN_RECORD && is_kept(item.head.type) &&
		    !record_frame(&d->out, d->out_salt, item.head.type, d->out_lsn++, item.body, slice_make("", 0)))
			return false;
	}
	return true;
}

static bool
old_enough(const struct distil *d)
{
	uint64_t part = d->keep_usec / SEGMENTS_KEPT;

	return now_usec() - d->out_made_usec > (part < HOUR_USEC ? HOUR_USEC : part);
}

bool
distil_step(struct distil *d, bool *more)
{
	uint64_t seq = d->seq, offset = d->offset, lsn;
	bool end;

	*more = false;
	if (d->seq > d->target_seq || (d->seq == d->target_seq && d->offset >= d->target_offset))
		return true;
	if ((d->out_fd == -1 || d->out_made_usec == 0 || d->out_size > SEGMENT_OCTETS || old_enough(d)) &&
	    !begin_segment(d))
		return false;
	if (d->log_fd == -1 && !open_log(d))
		return true;	/* nothing there: dropped, or not yet made */
	lsn = d->out_lsn;
	seq = d->seq;
	offset = d->offset;
	buf_reset(&d->out);
	if (!copy_some(d, &end) || !put_position(d) || !flush(d)) {
		close_log(d);
		d->seq = seq;
		d->offset = offset;
		d->out_lsn = lsn;
		return false;
	}
	*more = !end;
	if (end) {	/* of this segment, or of what is durable in it */
		close_log(d);
		if (d->seq < d->target_seq) {
			d->seq++;
			d->offset = SEGMENT_HEADER;
			*more = true;
		}
	}
	return true;
}

/* ---- the end of history ---- */

static bool
made_usec(int dirfd, const struct name *name, uint64_t *out)
{
	struct segment_header h;
	char raw[SEGMENT_HEADER];
	int fd = open_segment(dirfd, name->seq, name->salt, O_RDONLY);
	bool ok = fd != -1 && pread(fd, raw, sizeof(raw), 0) == (ssize_t)sizeof(raw) &&
	    segment_header_get(slice_make(raw, sizeof(raw)), &h);

	if (fd != -1)
		(void)close(fd);
	if (ok)
		*out = h.made_usec;
	return ok;
}

uint64_t
distil_expire(struct distil *d)
{
	struct names all;
	uint64_t next_made, gone = 0;
	char name[SEGMENT_NAME];

	/* All in the first is older than the beginning of the second. */
	if (list(d->trace_dirfd, &all) && all.n >= 2 && made_usec(d->trace_dirfd, &all.at[1], &next_made) &&
	    next_made + d->keep_usec < now_usec()) {
		segment_name(all.at[0].seq, all.at[0].salt, name);
		if (unlinkat(d->trace_dirfd, name, 0) == 0)
			gone = all.at[0].seq;
	}
	free(all.at);
	return gone;
}
