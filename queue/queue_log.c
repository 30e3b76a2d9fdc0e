#include "queue_log.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"

#define SEGMENT_MIN	(16u * 1024 * 1024)
#define SEGMENT_MAX	(128u * 1024 * 1024)
#define FILL_FAST_USEC	UINT64_C(10000000)	/* filled in less: the next one is larger */
#define RESERVE_PART	8			/* of a segment only results may use the last eighth */
#define BATCH_MAX	(64u * 1024 * 1024)
#define BUFFER_KEEP	(1024u * 1024)		/* octets a buffer may keep between batches */
#define ZERO_AHEAD	(256u * 1024)		/* written with zeros in advance: later syncs need no journal */
#define RETRY_USEC	UINT64_C(1000000)
#define SPACE_USEC	UINT64_C(1000000)
#define TURN_MAX_USEC	2000			/* a busy loop must not put a commit off for longer */

struct log_item {
	uint32_t	at;		/* of the head in the batch */
	uint32_t	body_len, content_len;
	uint16_t	type;
	uint8_t		class;
	uint64_t	cookie;
};

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct queue_log *l = arg;

	(void)fd;
	(void)what;
	if (queue_log_pending(l))
		(void)queue_log_commit(l);
}

bool
queue_log_init(struct queue_log *l, int dirfd, const struct queue_log_ops *ops, void *ctx,
    struct event_base *base)
{
	*l = (struct queue_log){ .dirfd = dirfd, .ops = ops, .ctx = ctx, .segment_size = SEGMENT_MIN,
	    .next_seq = 1, .next_lsn = 1 };
	buf_init(&l->batch, BATCH_MAX);
	buf_init(&l->recent, BATCH_MAX);
	buf_init(&l->opening, 2 * RECORD_BODY_MAX);
	buf_init(&l->cancel, RECORD_BODY_MAX);
	l->zeros = calloc(1, ZERO_AHEAD);
	if (l->zeros == NULL)
		return false;
	if (base == NULL)
		return true;
	l->turn_end = event_new(base, -1, 0, on_event, l);
	l->soon = event_new(base, -1, 0, on_event, l);
	if (l->turn_end == NULL || l->soon == NULL)
		return false;
	/* Lowest: after all that came in this turn.  The timer goes before everything. */
	(void)event_priority_set(l->turn_end, 2);
	(void)event_priority_set(l->soon, 0);
	return true;
}

void
queue_log_add(struct queue_log *l, struct segment *s)
{
	if (l->last == NULL)
		l->first = s;
	else
		l->last->next = s;
	l->last = s;
	l->segment_n++;
	l->octets += s->size;
	if (s->seq >= l->next_seq)
		l->next_seq = s->seq + 1;
}

/* ---- the batch ---- */

bool
queue_log_pending(const struct queue_log *l)
{
	return l->item_n > 0 || l->cancel.len > 0;
}

static bool
grow_items(struct queue_log *l)
{
	uint32_t size = l->item_size == 0 ? 64 : l->item_size * 2;
	struct log_item *item;

	if (l->item_n < l->item_size)
		return true;
	item = realloc(l->item, size * sizeof(*item));
	if (item == NULL)
		return false;
	l->item = item;
	l->item_size = size;
	return true;
}

static void
arrange(struct queue_log *l, bool urgent)
{
	const struct timeval soon = { .tv_usec = urgent ? TURN_MAX_USEC : LOG_SOON_MS * 1000 };

	if (l->turn_end == NULL || (urgent ? l->turn_end_active : l->soon_active))
		return;
	if (urgent) {
		event_active(l->turn_end, EV_TIMEOUT, 0);
		l->turn_end_active = true;
	}
	(void)event_add(l->soon, &soon);
	l->soon_active = true;
}

bool
queue_log_append(struct queue_log *l, enum log_class class, uint16_t type, struct slice body,
    struct slice content, uint64_t cookie, bool urgent)
{
	const size_t whole = (RECORD_HEAD + body.len + content.len + 7) & ~(size_t)7;
	char *to;

	if (class != LOG_STATE && queue_log_refuses(l) != NULL)
		return false;
	if (body.len > RECORD_BODY_MAX || content.len > RECORD_CONTENT_MAX || !grow_items(l))
		return false;
	to = buf_room(&l->batch, whole);
	if (to == NULL) {
		l->batch.full = false;
		return false;
	}
	if (body.len > 0)
		memcpy(to + RECORD_HEAD, body.ptr, body.len);
	if (content.len > 0)
		memcpy(to + RECORD_HEAD + body.len, content.ptr, content.len);
	memset(to + RECORD_HEAD + body.len + content.len, 0, whole - RECORD_HEAD - body.len - content.len);
	l->item[l->item_n++] = (struct log_item){ .at = (uint32_t)l->batch.len, .body_len = (uint32_t)body.len,
	    .content_len = (uint32_t)content.len, .type = type, .class = (uint8_t)class, .cookie = cookie };
	buf_add(&l->batch, whole);
	arrange(l, urgent);
	return true;
}

static struct slice
item_body(const struct buf *batch, const struct log_item *i)
{
	return slice_make(batch->ptr + i->at + RECORD_HEAD, i->body_len);
}

/* ---- space ---- */

void
queue_log_check_space(struct queue_log *l)
{
	struct statvfs v;
	bool low;

	l->space_mono_usec = now_mono_usec();
	if (fstatvfs(l->dirfd, &v) != 0)
		return;
	low = (uint64_t)v.f_bavail * v.f_frsize < l->min_free || (v.f_files > 0 && v.f_favail < 16);
	if (low != l->low)
		log_say(low ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, low ?
		    "the spool's file system has %llu octets free: no new mail is taken" :
		    "the spool's file system has %llu octets free: new mail is taken again",
		    (unsigned long long)v.f_bavail * v.f_frsize);
	l->low = low;
}

const char *
queue_log_refuses(struct queue_log *l)
{
	uint64_t now = now_mono_usec();

	if (l->broken && now < l->retry_mono_usec)
		return "the queue cannot write its log";
	if (now - l->space_mono_usec >= SPACE_USEC || l->space_mono_usec == 0)
		queue_log_check_space(l);
	return l->low ? "insufficient system storage" : NULL;
}

/* ---- segments ---- */

void
queue_log_opening(struct queue_log *l, uint16_t type, struct slice body)
{
	if (record_frame(&l->opening, l->last->salt, type, l->next_lsn, body, slice_make("", 0))) {
		l->next_lsn++;
		l->records++;
	}
}

/* The header and the records that every segment begins with. */
static bool
open_records(struct queue_log *l)
{
	struct segment_header h = { .version = SEGMENT_VERSION, .seq = l->last->seq, .salt = l->last->salt,
	    .first_lsn = l->next_lsn, .made_usec = now_usec() };
	char raw[SEGMENT_HEADER];
	struct buf body;
	bool ok = true;

	buf_reset(&l->opening);
	segment_header_put(&h, raw);
	(void)buf_put(&l->opening, raw, sizeof(raw));
	l->records = 0;
	if (l->cancel.len > 0) {
		const struct record_cancel cancel = { .qids = buf_slice_of(&l->cancel) };

		buf_init(&body, RECORD_BODY_MAX + 16);
		ok = record_put_cancel(&body, &cancel);
		if (ok)
			queue_log_opening(l, RECORD_TYPE_cancel, buf_slice_of(&body));
		buf_clear(&body);
	}
	l->ops->opening(l->ctx);
	return ok && !l->opening.full;
}

static uint32_t
next_size(struct queue_log *l, uint64_t batch)
{
	uint64_t need = batch + batch / (RESERVE_PART - 1) + 2 * SEGMENT_HEADER + 1024 * 1024;
	uint32_t size = l->segment_size;

	while (size < need && size < UINT32_MAX / 2)
		size *= 2;
	return size;
}

/* Write and sync a seal, then cut the file: a restart need not look at content in it. */
static void
seal(struct queue_log *l, struct segment *s)
{
	const struct record_seal body = { .records = l->records };
	struct buf b, out;

	if (s->limit == 0)
		return;
	buf_init(&b, 64);
	buf_init(&out, 256);
	if (record_put_seal(&b, &body) && record_frame(&out, s->salt, RECORD_TYPE_seal, l->next_lsn,
	    buf_slice_of(&b), slice_make("", 0)) && s->size + out.len <= s->limit &&
	    pwrite(s->fd, out.ptr, out.len, (off_t)s->size) == (ssize_t)out.len) {
		l->next_lsn++;
		s->size += (uint32_t)out.len;
		l->octets += out.len;
	}
	(void)segment_close(s);
	buf_clear(&b);
	buf_clear(&out);
}

/* Nothing in it counts: it stays in the list, without a file, until its turn to be dropped. */
static void
discard_fresh(struct queue_log *l, struct segment *s)
{
	char name[SEGMENT_NAME];

	segment_name(s->seq, s->salt, name);
	(void)unlinkat(l->dirfd, name, 0);
	s->limit = 0;
	buf_reset(&l->opening);
}

/* Begin a segment that takes at least `batch` octets; it becomes last.  False with errno. */
static bool
begin_segment(struct queue_log *l, uint64_t batch)
{
	struct segment *s, *old = l->last;
	uint64_t now = now_mono_usec();

	if (old != NULL && old->limit > 0 && old->newest_usec > 0 &&
	    now_usec() - old->newest_usec < FILL_FAST_USEC && l->segment_size < SEGMENT_MAX && l->records > 1000)
		l->segment_size *= 2;
	s = segment_create(l->dirfd, l->next_seq, next_size(l, batch));
	if (s == NULL) {
		int error = errno;

		if (!l->broken)
			log_say(LOG_LEVEL_ERROR, "cannot begin segment %llu of the log: %s",
			    (unsigned long long)l->next_seq, strerror(error));
		l->retry_mono_usec = now + RETRY_USEC;
		errno = error;
		return false;
	}
	l->next_seq++;
	if (old != NULL)
		seal(l, old);
	queue_log_add(l, s);
	if (open_records(l))
		return true;
	discard_fresh(l, s);
	errno = ENOMEM;
	return false;
}

/* ---- writing ---- */

static bool
write_all(struct queue_log *l, struct segment *s, struct iovec *iov, int n, uint64_t offset)
{
	while (n > 0) {
		ssize_t wrote = pwritev(s->fd, iov, n, (off_t)offset);

		if (wrote == -1 && errno == EINTR)
			continue;
		if (wrote <= 0) {
			if (wrote == 0)
				errno = EIO;
			return false;
		}
		l->octets_written += (uint64_t)wrote;
		offset += (uint64_t)wrote;
		while (n > 0 && (size_t)wrote >= iov->iov_len) {
			wrote -= (ssize_t)iov->iov_len;
			iov++;
			n--;
		}
		if (n > 0) {
			iov->iov_base = (char *)iov->iov_base + wrote;
			iov->iov_len -= (size_t)wrote;
		}
	}
	return true;
}

/* Fill in the heads: salt and numbers are known only now. */
static void
finish_heads(struct queue_log *l)
{
	for (uint32_t k = 0; k < l->item_n; k++) {
		const struct log_item *i = &l->item[k];
		struct slice body = item_body(&l->batch, i);
		const struct record_head h = { .type = i->type, .lsn = l->next_lsn++, .body_len = i->body_len,
		    .content_len = i->content_len, .body_crc = record_crc(l->last->salt, body),
		    .content_crc = record_crc(l->last->salt,
		    slice_make(body.ptr + body.len, i->content_len)) };

		record_head_put(&h, l->last->salt, l->batch.ptr + i->at);
		l->records++;
	}
}

static bool
write_batch(struct queue_log *l, bool fresh)
{
	struct segment *s = l->last;
	uint64_t end = (uint64_t)s->size + l->opening.len + l->batch.len;
	struct iovec iov[3];
	int n = 0;

	if (l->opening.len > 0)
		iov[n++] = (struct iovec){ .iov_base = l->opening.ptr, .iov_len = l->opening.len };
	if (l->batch.len > 0)
		iov[n++] = (struct iovec){ .iov_base = l->batch.ptr, .iov_len = l->batch.len };
	if (end > s->zeroed) {
		uint64_t ahead = end + ZERO_AHEAD < s->limit ? ZERO_AHEAD : s->limit - end;

		iov[n++] = (struct iovec){ .iov_base = l->zeros, .iov_len = (size_t)ahead };
		s->zeroed = (uint32_t)(end + ahead);
	}
	if (!write_all(l, s, iov, n, s->size) || fdatasync(s->fd) != 0 || (fresh && fsync(l->dirfd) != 0))
		return false;
	l->syncs++;
	return true;
}

/* ---- when it fails ---- */

/* Keep what must be kept for the next segment, refuse the rest. */
static void
sort_out(struct queue_log *l, const char *why, bool written)
{
	struct buf old = l->batch;
	struct log_item *item = l->item;
	uint32_t n = l->item_n;

	buf_init(&l->batch, BATCH_MAX);
	l->item = NULL;
	l->item_n = l->item_size = 0;
	for (uint32_t k = 0; k < n; k++) {
		const struct log_item *i = &item[k];
		struct slice body = item_body(&old, i);
		struct record_message m;

		if (i->class == LOG_STATE) {
			(void)queue_log_append(l, LOG_STATE, i->type, body,
			    slice_make(body.ptr + body.len, i->content_len), i->cookie, false);
			continue;
		}
		if (written && i->type == RECORD_TYPE_message && record_get_message(body, &m))
			queue_log_cancel(l, m.qid);
		l->ops->refused(l->ctx, i->type, body, i->cookie, why);
	}
	buf_clear(&old);
	free(item);
}

void
queue_log_cancel(struct queue_log *l, uint64_t qid)
{
	(void)record_add_u64(&l->cancel, qid);
}

/* The segment cannot be trusted any more: cut off what was not synced, use another. */
static void
give_up_segment(struct queue_log *l, int error)
{
	struct segment *s = l->last;

	log_say(LOG_LEVEL_ERROR, "writing segment %llu of the log failed: %s; it is closed at %u octets",
	    (unsigned long long)s->seq, strerror(error), s->size);
	(void)segment_close(s);
	l->broken = true;
	l->retry_mono_usec = now_mono_usec() + RETRY_USEC / 10;
	sort_out(l, strerror(error), true);
	if (s->size == 0)	/* not even its header counts */
		discard_fresh(l, s);
}

/* ---- the commit ---- */

static bool
has_intake(const struct queue_log *l)
{
	for (uint32_t k = 0; k < l->item_n; k++)
		if (l->item[k].class != LOG_STATE)
			return true;
	return false;
}

/* Does the batch (and a seal) fit in the youngest segment, leaving `reserve` octets of it? */
static bool
fits(const struct queue_log *l, uint32_t reserve)
{
	const struct segment *s = l->last;

	return s != NULL && s->limit > 0 && l->cancel.len == 0 &&
	    (uint64_t)s->size + l->batch.len + 64 + reserve <= s->limit;
}

/* A segment with room for the batch; *fresh if it was just begun.  False: there is none. */
static bool
find_room(struct queue_log *l, bool *fresh)
{
	*fresh = false;
	if (fits(l, l->last == NULL ? 0 : l->last->limit / RESERVE_PART))
		return true;
	if (now_mono_usec() >= l->retry_mono_usec && begin_segment(l, l->batch.len)) {
		*fresh = true;
		return true;
	}
	/* No new segment: the reserve is there for what must be kept. */
	if (has_intake(l))
		sort_out(l, "no space for the log", false);
	return fits(l, 0);
}

static void
apply(struct queue_log *l, const struct log_item *item, uint32_t n, uint32_t start)
{
	l->recent_segment = l->last;
	l->recent_offset = start;
	for (uint32_t k = 0; k < n; k++) {
		const struct log_item *i = &item[k];
		struct slice body = item_body(&l->recent, i);
		const struct log_applied a = { .type = i->type, .body = body,
		    .content = slice_make(body.ptr + body.len, i->content_len), .segment = l->last,
		    .offset = start + i->at, .cookie = i->cookie };

		l->ops->applied(l->ctx, &a);
	}
	l->ops->committed(l->ctx);
}

static void
retry_later(struct queue_log *l)
{
	const struct timeval later = { .tv_usec = 200000 };

	l->broken = true;
	if (l->soon != NULL && queue_log_pending(l)) {
		(void)event_add(l->soon, &later);
		l->soon_active = true;
	}
	l->ops->committed(l->ctx);	/* those that were refused wait for their answer */
}

/* What was appended while the batch is applied goes into the other buffer. */
static void
applied_batch(struct queue_log *l)
{
	struct log_item *item = l->item;
	uint32_t n = l->item_n, start = l->last->size + (uint32_t)l->opening.len;
	struct buf spare = l->recent;

	l->last->size = start + (uint32_t)l->batch.len;
	l->octets += l->opening.len + l->batch.len;
	l->last->newest_usec = now_usec();
	l->synced_records += n;
	l->recent = l->batch;
	buf_reset(&spare);
	if (spare.size > BUFFER_KEEP)
		buf_clear(&spare);
	l->batch = spare;
	l->item = NULL;
	l->item_n = l->item_size = 0;
	buf_reset(&l->opening);
	apply(l, item, n, start);
	free(item);
	if (l->recent.size > BUFFER_KEEP) {
		buf_clear(&l->recent);
		l->recent_segment = NULL;
	}
}

bool
queue_log_commit(struct queue_log *l)
{
	bool fresh;

	l->turn_end_active = l->soon_active = false;
	if (l->soon != NULL) {
		(void)event_del(l->soon);
		(void)event_del(l->turn_end);
	}
	l->recent_segment = NULL;
	buf_reset(&l->opening);
	if (!find_room(l, &fresh)) {
		retry_later(l);
		return false;
	}
	finish_heads(l);
	if (!write_batch(l, fresh)) {
		give_up_segment(l, errno);
		retry_later(l);
		return false;
	}
	if (l->broken)
		log_say(LOG_LEVEL_INFO, "the log can be written again");
	l->broken = false;
	if (fresh)
		buf_clear(&l->cancel);
	applied_batch(l);
	return true;
}

/* ---- reading back ---- */

static bool
read_at(int fd, char *to, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)offset);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool
check_record(const struct segment *s, struct slice raw, struct record_head *head, struct slice *body,
    struct slice *content)
{
	if (!record_head_get(raw, s->salt, head) ||
	    raw.len < (size_t)RECORD_HEAD + head->body_len + head->content_len)
		return false;
	*body = slice_sub(raw, RECORD_HEAD, head->body_len);
	*content = slice_sub(raw, RECORD_HEAD + head->body_len, head->content_len);
	return record_crc(s->salt, *body) == head->body_crc && record_crc(s->salt, *content) == head->content_crc;
}

bool
queue_log_read(struct queue_log *l, const struct segment *s, uint32_t offset, struct buf *into,
    struct record_head *head, struct slice *body, struct slice *content)
{
	const size_t guess = 8 * 1024;
	size_t want, have;
	char *to;

	if (s == l->recent_segment && offset >= l->recent_offset && offset < l->recent_offset + l->recent.len)
		return check_record(s, slice_sub(buf_slice_of(&l->recent), offset - l->recent_offset, SIZE_MAX),
		    head, body, content);
	buf_reset(into);
	to = buf_room(into, guess);
	have = s->size - offset < guess ? s->size - offset : guess;
	if (to == NULL || offset >= s->size || !read_at(s->fd, to, have, offset) ||
	    !record_head_get(slice_make(to, have), s->salt, head))
		return false;
	want = (size_t)RECORD_HEAD + head->body_len + head->content_len;
	if (want > s->size - offset)
		return false;
	if (want > have) {
		buf_add(into, have);
		to = buf_room(into, want - have);
		if (to == NULL || !read_at(s->fd, to, want - have, offset + have))
			return false;
	}
	return check_record(s, slice_make(into->ptr, want), head, body, content);
}

/* ---- the end of segments ---- */

bool
queue_log_drop_first(struct queue_log *l)
{
	struct segment *s = l->first;
	uint32_t size;

	if (s == NULL || s->next == NULL || s->live > 0 || s->pins > 0 || l->last->seq <= l->drop_after_seq)
		return false;
	size = s->size;
	l->first = s->next;
	if (!segment_remove(l->dirfd, s)) {
		l->first = s;
		log_say(LOG_LEVEL_WARNING, "cannot remove segment %llu of the log: %s", (unsigned long long)s->seq,
		    strerror(errno));
		return false;
	}
	l->segment_n--;
	l->octets -= size;
	/*
	 * It must not come back when a younger one, which ends its messages, is
	 * gone.  A sync that failed tells nothing if it is repeated: the ledger of
	 * a new segment has to say that this one is done with.
	 */
	if (fsync(l->dirfd) != 0) {
		log_say(LOG_LEVEL_WARNING, "cannot sync the folder of the log: %s", strerror(errno));
		l->drop_after_seq = l->last->seq;
	}
	return true;
}

void
queue_log_close(struct queue_log *l)
{
	struct segment *next;

	if (queue_log_pending(l))
		(void)queue_log_commit(l);
	if (l->last != NULL)
		seal(l, l->last);
	for (struct segment *s = l->first; s != NULL; s = next) {
		next = s->next;
		segment_free(s);
	}
	if (l->turn_end != NULL)
		event_free(l->turn_end);
	if (l->soon != NULL)
		event_free(l->soon);
	buf_clear(&l->batch);
	buf_clear(&l->recent);
	buf_clear(&l->opening);
	buf_clear(&l->cancel);
	free(l->item);
	free(l->zeros);
	*l = (struct queue_log){ .dirfd = -1 };
}
