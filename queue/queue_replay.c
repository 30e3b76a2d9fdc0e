#include "queue_replay.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "queue_apply.h"
#include "queue_file.h"
#include "queue_ledger.h"
#include "queue_scan.h"

#define EX_OSERR	71
#define EX_CONFIG	78
#define OPENING_RECORDS	4	/* among the first so many is a ledger */

/* ---- one segment ---- */

struct found {
	uint64_t	lsn;
	uint32_t	offset, body_len;
	uint16_t	type;
};

struct index {
	struct found	*at;
	size_t		 n, size;
	bool		 disorder;
};

static bool
remember(struct index *x, const struct scan_item *item)
{
	struct found *at;

	if (x->n == x->size) {
		x->size = x->size == 0 ? 1024 : x->size * 2;
		at = realloc(x->at, x->size * sizeof(*at));
		if (at == NULL)
			return false;
		x->at = at;
	}
	if (x->n > 0 && x->at[x->n - 1].lsn + 1 != item->head.lsn)
		x->disorder = true;
	x->at[x->n++] = (struct found){ .lsn = item->head.lsn, .offset = (uint32_t)item->offset,
	    .body_len = item->head.body_len, .type = item->head.type };
	return true;
}

static int
by_lsn(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	if (x->lsn != y->lsn)
		return x->lsn < y->lsn ? -1 : 1;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* ops NULL: stop at what is broken or out of order (*x says which). */
static bool
find_all(const struct scan_source *source, uint64_t salt, bool verify_content, struct index *x,
    const struct replay_ops *ops, void *ctx)
{
	struct scan scan;
	struct scan_item item;

	scan_begin(&scan, source, salt, verify_content);
	for (;;) {
		switch (scan_next(&scan, &item)) {
		case SCAN_RECORD:
			if (!remember(x, &item))
				return false;
			if (ops == NULL && x->disorder)
				return true;
			break;
		case SCAN_BROKEN:
			if (ops == NULL) {
				x->disorder = true;
				return true;
			}
			ops->broken(ctx, item.from, item.to);
			break;
		case SCAN_NO_MEMORY:
			return false;
		case SCAN_END:
			return true;
		}
	}
}

bool
replay_segment(const struct scan_source *source, uint64_t salt, bool sealed, const struct replay_ops *ops, void *ctx)
{
	struct index x = { 0 };
	bool ok = true, whole = false;

	if (sealed) {
		ok = find_all(source, salt, false, &x, NULL, NULL);
		whole = !x.disorder;
	}
	/* A head that is not where it was written would hide the records that it takes for its content. */
	if (ok && !whole) {
		x.n = 0;
		x.disorder = false;
		ok = find_all(source, salt, true, &x, ops, ctx);
	}
	/* In the order in which they were written, wherever they are found. */
	if (ok && x.disorder)
		qsort(x.at, x.n, sizeof(*x.at), by_lsn);
	for (size_t i = 0; ok && i < x.n; i++) {
		const struct found *f = &x.at[i];
		const char *body;

		if (i > 0 && f->lsn == x.at[i - 1].lsn)
			continue;	/* a copy */
		body = source->at(source->ctx, (uint64_t)f->offset + RECORD_HEAD, f->body_len);
		ok = body != NULL;
		if (ok)
			ops->record(ctx, f->type, f->lsn, slice_make(body, f->body_len), f->offset);
	}
	free(x.at);
	return ok;
}

/* ---- all of them ---- */

struct replaying {
	struct queue	*queue;
	struct segment	*segment;
	uint64_t	 next_lsn;	/* of the record that should come next; 0: any */
	uint64_t	 bad_octets;
	unsigned	 bad_parts;
};

static void
on_broken(void *ctx, uint64_t from, uint64_t to)
{
	struct replaying *r = ctx;
	struct queue *q = r->queue;
	char name[SEGMENT_NAME];
	bool made;

	segment_bad_name(r->segment->seq, from, name);
	if (!segment_set_aside(q->log_dirfd, r->segment, from, to, &made)) {
		log_say(LOG_LEVEL_ERROR, "segment %llu of the log is damaged from octet %llu to %llu, which cannot be "
		    "copied to %s: %s", (unsigned long long)r->segment->seq, (unsigned long long)from,
		    (unsigned long long)to, name, strerror(errno));
	} else if (made) {
		log_say(LOG_LEVEL_WARNING, "segment %llu of the log has %llu octets at %llu that are no record "
		    "(damage, or a write that a crash cut off): set aside as %s",
		    (unsigned long long)r->segment->seq, (unsigned long long)(to - from),
		    (unsigned long long)from, name);
		q->set_aside++;
	}
	r->segment->verify = true;
	q->damaged++;
}

static void
on_record(void *ctx, uint16_t type, uint64_t lsn, struct slice body, uint32_t offset)
{
	struct replaying *r = ctx;
	struct queue *q = r->queue;
	const struct log_applied a = { .type = type, .body = body, .segment = r->segment, .offset = offset };

	/* Cut off where a record ends, nothing else shows it. */
	if (r->next_lsn != 0 && lsn > r->next_lsn) {
		log_say(LOG_LEVEL_WARNING, "%llu records are not in the log before segment %llu, offset %u "
		    "(damage, or a write that failed)", (unsigned long long)(lsn - r->next_lsn),
		    (unsigned long long)r->segment->seq, offset);
		q->damaged++;
	}
	r->next_lsn = lsn + 1;
	if (lsn >= q->log.next_lsn)
		q->log.next_lsn = lsn + 1;
	if (!queue_apply(q, &a)) {
		log_say(LOG_LEVEL_WARNING, "segment %llu of the log has a %s record at %u that makes no sense",
		    (unsigned long long)r->segment->seq, record_name(type), offset);
		on_broken(ctx, offset, (uint64_t)offset + RECORD_HEAD + body.len);
	}
}

/* ---- which there are ---- */

struct file {
	struct segment	*segment;
	bool		 sealed, dead, bad_header;
	uint64_t	 first_seq;	/* older ones were done with when this one was begun */
};

struct files {
	struct file	*at;
	size_t		 n;
	uint64_t	 empty_seq;	/* the youngest that held nothing */
};

static int
by_seq(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return x->segment->seq < y->segment->seq ? -1 : x->segment->seq > y->segment->seq;
}

/* The ledger near the beginning says which older segments are of no account. */
static uint64_t
read_first_seq(const struct scan_source *source, uint64_t salt)
{
	struct scan scan;
	struct scan_item item;
	struct record_ledger ledger;

	scan_begin(&scan, source, salt, false);
	for (int i = 0; i < OPENING_RECORDS; i++) {
		if (scan_next(&scan, &item) != SCAN_RECORD)
			return 0;
		if (item.head.type == RECORD_TYPE_ledger && record_get_ledger(item.body, &ledger))
			return ledger.first_seq;
	}
	return 0;
}

static bool
all_zero(const struct scan_source *source)
{
	static const char zero[64];

	for (uint64_t at = 0; at < source->size; at += sizeof(zero)) {
		size_t n = source->size - at < sizeof(zero) ? (size_t)(source->size - at) : sizeof(zero);
		const char *p = source->at(source->ctx, at, n);

		if (p == NULL || memcmp(p, zero, n) != 0)
			return false;
	}
	return true;
}

/* Look at the header; false: nothing was ever written to it. */
static bool
look(struct file *f)
{
	struct segment *s = f->segment;
	struct segment_header h = { 0 };
	struct scan_file scan;
	const char *raw;
	bool used = true;

	if (!scan_file_open(&scan, s->fd))
		log_fatal(EX_OSERR, "cannot read segment %llu of the log: %s", (unsigned long long)s->seq,
		    strerror(errno));
	if (scan.source.size > UINT32_MAX)
		log_fatal(EX_CONFIG, "segment %llu of the log is none of ours: too large", (unsigned long long)s->seq);
	s->size = (uint32_t)scan.source.size;
	raw = s->size < SEGMENT_HEADER ? NULL : scan.source.at(scan.source.ctx, 0, SEGMENT_HEADER);
	if (raw != NULL && segment_header_get(slice_make(raw, SEGMENT_HEADER), &h)) {
		if (h.version > SEGMENT_VERSION)
			log_fatal(EX_CONFIG, "spool/log was written by a newer version (format %u, this one knows %u)",
			    h.version, SEGMENT_VERSION);
		s->seq = h.seq;
		s->salt = h.salt;
	} else if (all_zero(&scan.source)) {
		used = false;
	} else {
		f->bad_header = true;
		log_say(LOG_LEVEL_WARNING, "segment %llu of the log has a damaged header: its name is believed",
		    (unsigned long long)s->seq);
	}
	if (used) {
		f->sealed = scan_sealed(&scan.source, s->salt);
		f->first_seq = read_first_seq(&scan.source, s->salt);
	}
	scan_file_close(&scan);
	return used;
}

static bool
add_file(struct queue *q, struct files *all, const char *name)
{
	uint64_t seq, salt;
	struct segment *s;
	struct file *at;

	if (segment_is_bad_name(name))
		q->set_aside++;
	if (!segment_parse_name(name, &seq, &salt))
		return true;
	s = calloc(1, sizeof(*s));
	at = realloc(all->at, (all->n + 1) * sizeof(*at));
	if (s == NULL || at == NULL) {
		free(s);
		return false;
	}
	all->at = at;
	*s = (struct segment){ .seq = seq, .salt = salt };
	s->fd = openat(q->log_dirfd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (s->fd == -1)
		log_fatal(EX_OSERR, "cannot open spool/log/%s: %s", name, strerror(errno));
	all->at[all->n] = (struct file){ .segment = s };
	if (look(&all->at[all->n])) {
		all->n++;
		return true;
	}
	if (seq > all->empty_seq)
		all->empty_seq = seq;
	(void)unlinkat(q->log_dirfd, name, 0);
	segment_free(s);
	return true;
}

static void
list_files(struct queue *q, struct files *all)
{
	int fd = openat(q->log_dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *e;
	uint64_t first = 0;

	if (dir == NULL)
		log_fatal(EX_OSERR, "cannot list spool/log: %s", strerror(errno));
	while ((e = readdir(dir)) != NULL)
		if (!add_file(q, all, e->d_name))
			log_fatal(EX_OSERR, "no memory for the log");
	(void)closedir(dir);
	if (all->n > 0)
		qsort(all->at, all->n, sizeof(*all->at), by_seq);
	/* The youngest may have been made just before the end; another one held records. */
	if (all->n > 0 && all->empty_seq != 0 && all->empty_seq < all->at[all->n - 1].segment->seq) {
		log_say(LOG_LEVEL_ERROR, "segment %llu of the log is empty", (unsigned long long)all->empty_seq);
		q->damaged++;
	}
	for (size_t i = 0; i < all->n; i++)
		if (all->at[i].first_seq > first)
			first = all->at[i].first_seq;
	for (size_t i = 0; i < all->n; i++)
		all->at[i].dead = all->at[i].segment->seq < first;
}

static void
replay_file(struct replaying *r, const struct file *f)
{
	static const struct replay_ops ops = { .broken = on_broken, .record = on_record };
	struct queue *q = r->queue;
	struct scan_file scan;

	r->segment = f->segment;
	f->segment->newest_usec = now_usec();
	f->segment->verify = !f->sealed || f->bad_header;
	q->damaged += f->bad_header;
	queue_log_add(&q->log, f->segment);
	if (!scan_file_open(&scan, f->segment->fd) ||
	    !replay_segment(&scan.source, f->segment->salt, f->sealed, &ops, r))
		log_fatal(EX_OSERR, "cannot read segment %llu of the log: %s", (unsigned long long)f->segment->seq,
		    strerror(errno));
	if (scan.unreadable > 0) {
		log_say(LOG_LEVEL_ERROR, "segment %llu of the log has %u places that the disk cannot read",
		    (unsigned long long)f->segment->seq, scan.unreadable);
		q->damaged++;
	}
	scan_file_close(&scan);
}

/* What the records say must agree with what is there. */
static void
check_ledger(struct queue *q)
{
	uint64_t live = 0;

	for (uint32_t i = 0; i < q->messages.slot_n; i++)
		if (q->messages.slot[i] != NULL)
			live += q->messages.slot[i]->live;
	if (q->ledger.queued == live)
		return;
	log_say(LOG_LEVEL_ERROR, "the ledger says that %llu recipients wait, %llu do",
	    (unsigned long long)q->ledger.queued, (unsigned long long)live);
	if (q->damaged == 0)
		return;		/* no damage explains it: the alarm stays in the figures */
	q->ledger.discarded += q->ledger.queued - live;
	q->ledger.queued = live;
	log_say(LOG_LEVEL_WARNING, "the difference is put down to the damage, as discarded");
}

void
queue_replay(struct queue *q)
{
	struct replaying r = { .queue = q };
	struct files all = { 0 };
	uint64_t began = now_mono_usec();

	q->replaying = true;
	list_files(q, &all);
	for (size_t i = 0; i < all.n; i++) {
		struct segment *s = all.at[i].segment;

		if (!all.at[i].dead) {
			replay_file(&r, &all.at[i]);
			continue;
		}
		if (s->seq >= q->log.next_seq)
			q->log.next_seq = s->seq + 1;
		if (!segment_remove(q->log_dirfd, s))
			segment_free(s);
	}
	free(all.at);
	check_ledger(q);
	q->replaying = false;
	log_say(LOG_LEVEL_INFO, "replayed %u segments (%llu octets) in %llu ms: %u messages", q->log.segment_n,
	    (unsigned long long)q->log.octets, (unsigned long long)((now_mono_usec() - began) / 1000),
	    q->messages.n);
}

void
queue_replay_settle(struct queue *q)
{
	struct message_ids ids;

	if (!messages_ids(&q->messages, &ids))
		log_fatal(EX_OSERR, "no memory for the queue");
	while (ids.n > 0) {
		struct message *m = messages_find(&q->messages, messages_next_id(&ids));

		if (m == NULL)
			continue;
		for (uint32_t k = 0; k < m->rcpt_n; k++)
			if (m->rcpt[k].stage < STAGE_DONE)
				m->rcpt[k].flags |= RCPT_REPEAT;
		queue_settle(q, m);
	}
	free(ids.at);
}
