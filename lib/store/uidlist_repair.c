/* uidlist_repair.c: a torn or damaged index is mended; an old one made small. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "maildir.h"
#include "store_int.h"
#include "uidlist.h"
#include "uidlist_int.h"

#define COMPACT_MIN	512	/* dead records below which it is not worth a rewrite */
#define ADD_RECORD_MIN	48	/* octets of the smallest ADD: how many UIDs a torn tail can have held */

/* The whole file, mapped. */
static enum store_error
map_file(const struct uidlist *u, struct slice *out)
{
	struct stat st;
	void *p;

	if (fstat(u->fd, &st) != 0)
		return store_from_errno(errno);
	p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, u->fd, 0);
	if (p == MAP_FAILED)
		return store_from_errno(errno);
	*out = slice_make(p, (size_t)st.st_size);
	return STORE_OK;
}

static void
unmap_file(struct slice s)
{
	union { const char *in; void *out; } p = { .in = s.ptr };	/* munmap wants it without const */

	(void)munmap(p.out, s.len);
}

/* From offset on, the first place where a whole record stands; file.len if there is none. */
static size_t
next_record(const struct uidlist *u, struct slice file, size_t offset)
{
	struct uidlist_record r;

	for (; offset + UIDLIST_RECORD_MIN <= file.len; offset += 8) {
		if (uidlist_parse(u->seed, slice_sub(file, offset, file.len), &r) != 0)
			return offset;
	}
	return file.len;
}

/* ---- rewrite ---- */

struct live {
	struct uidlist_record r;
	struct slice	uidl;	/* ptr NULL: none */
	int64_t		gone;	/* seconds since 1970, 0: not */
};

struct rewrite {
	struct live	*at;	/* by ascending UID */
	size_t		 n, cap;
	struct buf	 past;	/* packed */
	struct vanished_list vanished;
	uint32_t	 today;
	uint32_t	 uidnext, recent;
	uint64_t	 modseq;
	struct uidlist_stamp stamp[2];	/* of the last SYNC with nothing behind it */
	bool		 failed;
};

static struct live *
find_live(const struct rewrite *w, uint32_t uid)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (w->at[mid].r.uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < w->n && w->at[low].r.uid == uid ? &w->at[low] : NULL;
}

static void
rewrite_add(struct rewrite *w, const struct uidlist_record *r)
{
	if (w->n > 0 && r->uid <= w->at[w->n - 1].r.uid)
		return;		/* cannot be; the first holder of a UID keeps it */
	if (w->n == w->cap) {
		size_t cap = w->cap == 0 ? 1024 : w->cap * 2;
		struct live *at = reallocarray(w->at, cap, sizeof(*at));

		if (at == NULL) {
			w->failed = true;
			return;
		}
		w->at = at;
		w->cap = cap;
	}
	w->at[w->n++] = (struct live){ .r = *r };
}

static void
rewrite_past(struct rewrite *w, uint64_t qid, uint32_t rcpt, uint32_t day)
{
	if (day + UIDLIST_PAST_KEEP_S / 86400 >= w->today)
		uidlist_put_past(&w->past, &(struct uidlist_past){ .qid = qid, .rcpt = rcpt, .day = day });
}

static void
rewrite_record(struct rewrite *w, const struct uidlist_record *r)
{
	struct live *l = r->type == UIDLIST_GONE || r->type == UIDLIST_SIZE || r->type == UIDLIST_FLAGS ||
	    r->type == UIDLIST_UIDL ? find_live(w, r->uid) : NULL;
	struct slice past = r->past;
	struct uidlist_past p;

	if (r->uidnext > w->uidnext)
		w->uidnext = r->uidnext;
	if (r->modseq > w->modseq)
		w->modseq = r->modseq;
	vanished_take(&w->vanished, r);
	if (r->type == UIDLIST_SYNC)
		memcpy(w->stamp, r->stamp, sizeof(w->stamp));
	else if (r->type == UIDLIST_ADD || r->type == UIDLIST_GONE || r->type == UIDLIST_FLAGS)
		w->stamp[0].ino = 0;
	if (r->type == UIDLIST_ADD)
		rewrite_add(w, r);
	else if (r->type == UIDLIST_RECENT && r->uid > w->recent)
		w->recent = r->uid;
	else if (r->type == UIDLIST_GONE && l != NULL)
		l->gone = r->when > 0 ? r->when : 1;
	else if (r->type == UIDLIST_SIZE && l != NULL)
		l->r.crlf_size = r->crlf_size;
	else if (r->type == UIDLIST_UIDL && l != NULL)
		l->uidl = r->past;
	else if (r->type == UIDLIST_FLAGS && l != NULL) {
		l->r.upper = r->upper;
		l->r.lower = r->lower;
		l->r.modseq = r->modseq;
	}
	while (r->type == UIDLIST_PAST && uidlist_past_next(&past, &p))
		rewrite_past(w, p.qid, p.rcpt, p.day);
}

/* Returns whether everything was readable. */
static bool
rewrite_read(const struct uidlist *u, struct slice file, struct rewrite *w)
{
	size_t at = UIDLIST_HEADER;
	bool whole = true;

	while (at < file.len) {
		struct uidlist_record r;
		size_t len = uidlist_parse(u->seed, slice_sub(file, at, file.len), &r);

		if (len == 0) {
			size_t next = next_record(u, file, at + 8);

			if (next == file.len && w->uidnext < UINT32_MAX / 2)
				w->uidnext += (uint32_t)((next - at) / ADD_RECORD_MIN + 1);
			whole = false;
			at = next;
			continue;
		}
		rewrite_record(w, &r);
		at += len;
	}
	return whole;
}

static void
compose_vanished(const struct uidlist *u, struct rewrite *w, struct buf *out)
{
	struct buf packed;
	struct slice rest;

	vanished_join(&w->vanished, false);
	vanished_trim(&w->vanished);
	buf_init(&packed, (VANISHED_KEEP + 2) * 16);
	if (w->vanished.floor > 0)
		uidlist_put_vanished(&packed, &(struct uidlist_vanished){ .modseq = w->vanished.floor });
	for (size_t i = 0; i < w->vanished.n; i++)
		uidlist_put_vanished(&packed, &w->vanished.at[i]);
	w->failed |= packed.full;
	rest = buf_slice_of(&packed);
	while (rest.len > 0) {
		struct slice some = slice_sub(rest, 0, 1000 * 16);

		uidlist_put_record(u, out, &(struct uidlist_record){ .type = UIDLIST_VANISHED, .past = some });
		rest = slice_sub(rest, some.len, rest.len);
	}
	buf_clear(&packed);
}

static void
compose(struct uidlist *u, struct rewrite *w, struct buf *out)
{
	struct slice past;

	for (size_t i = 0; i < w->n; i++) {
		struct qid qid;
		uint32_t rcpt;

		if (w->at[i].gone == 0) {
			uidlist_put_record(u, out, &w->at[i].r);
			if (w->at[i].uidl.ptr != NULL)
				uidlist_put_record(u, out, &(struct uidlist_record){
				    .type = UIDLIST_UIDL, .uid = w->at[i].r.uid, .past = w->at[i].uidl, .modseq = 1 });
		}
		else if (maildir_queue_id(w->at[i].r.name, &qid, &rcpt))
			rewrite_past(w, qid.n, rcpt, (uint32_t)(w->at[i].gone / 86400));
	}
	past = buf_slice_of(&w->past);
	while (past.len > 0) {
		struct slice some = slice_sub(past, 0, 1000 * 16);

		uidlist_put_record(u, out, &(struct uidlist_record){ .type = UIDLIST_PAST, .past = some });
		past = slice_sub(past, some.len, past.len);
	}
	compose_vanished(u, w, out);
	if (w->stamp[0].ino != 0)
		uidlist_put_sync(u, out, w->stamp);
	/* The last record tells the highest modseq. */
	uidlist_put_record(u, out, &(struct uidlist_record){ .type = UIDLIST_NEXT });
}

enum store_error
uidlist_rewrite(struct uidlist *u)
{
	struct rewrite w = {
		.today = (uint32_t)(time(NULL) / 86400), .uidnext = u->uidnext, .recent = u->recent, .modseq = u->modseq,
	};
	struct uidlist fresh = *u;
	struct slice file;
	struct buf out;
	enum store_error error = map_file(u, &file);
	bool whole;

	if (error != STORE_OK)
		return error;
	buf_init(&w.past, file.len);
	buf_init(&out, file.len * 2 + 4096 + VANISHED_KEEP * 24);
	whole = rewrite_read(u, file, &w);
	fresh.modseq = w.modseq;
	if (!whole) {	/* a message whose record is lost gets another UID: its old one vanishes now */
		w.vanished.floor = uidlist_next_modseq(&fresh);
		w.stamp[0].ino = 0;
	}
	if (getrandom(&fresh.seed, sizeof(fresh.seed), 0) != (ssize_t)sizeof(fresh.seed))
		fresh.seed = u->seed + 1;
	fresh.uidnext = w.uidnext;
	fresh.recent = w.recent;
	compose(&fresh, &w, &out);
	if (w.failed || w.vanished.failed || w.past.full || out.full)
		error = STORE_MEMORY;
	else
		error = uidlist_write_new(&fresh, &out, true);
	buf_clear(&w.past);
	buf_clear(&out);
	free(w.at);
	free(w.vanished.at);
	unmap_file(file);
	return error;
}

/* The file was rewritten under our lock: go over to the new one, and lock that. */
static enum store_error
follow(struct uidlist *u)
{
	bool replaced;
	enum store_error error = uidlist_reopen(u);

	return error == STORE_OK ? uidlist_lock(u, &replaced) : error;
}

/* ---- repair, compact ---- */

static enum store_error
cut_tail(struct uidlist *u, size_t octets)
{
	enum store_error error;
	struct buf b;

	if (ftruncate(u->fd, (off_t)u->end) != 0)
		return store_from_errno(errno);
	if (u->uidnext < UINT32_MAX / 2)
		u->uidnext += (uint32_t)(octets / ADD_RECORD_MIN + 1);
	buf_init(&b, 64);
	uidlist_put_record(u, &b, &(struct uidlist_record){ .type = UIDLIST_NEXT });
	error = uidlist_append(u, &b);
	buf_clear(&b);
	u->damaged = false;
	/* Without room the higher UIDNEXT comes with the next record that fits. */
	return error == STORE_NOSPACE ? STORE_OK : error;
}

enum store_error
uidlist_repair(struct uidlist *u, bool *replaced)
{
	struct slice file;
	enum store_error error = map_file(u, &file);
	size_t next;

	*replaced = false;
	if (error != STORE_OK)
		return error;
	next = next_record(u, file, (size_t)u->end + 8);
	unmap_file(file);
	if (next == file.len)
		return cut_tail(u, file.len - (size_t)u->end);
	error = uidlist_rewrite(u);
	if (error == STORE_OK) {
		*replaced = true;
		error = follow(u);
	}
	return error;
}

enum store_error
uidlist_compact(struct uidlist *u, bool *replaced)
{
	enum store_error error;

	*replaced = false;
	if (u->dead < COMPACT_MIN || u->dead < u->records / 2)
		return STORE_OK;
	error = uidlist_lock(u, replaced);
	if (error == STORE_OK && !*replaced) {
		error = uidlist_rewrite(u);
		if (error == STORE_OK) {
			*replaced = true;
			error = uidlist_reopen(u);
		}
	}
	uidlist_unlock(u);
	return error;
}
