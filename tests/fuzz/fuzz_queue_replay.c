/*
 * A log that says anything at all, replayed: nothing crashes, the ledger's
 * sum holds, every record that is still whole somewhere is seen, in order.
 *
 * Input: octet 0 chooses.  Even: the rest is a segment as it is.  Odd: octet 1
 * says how many damages follow (5 octets each: what, where, where, length),
 * the rest is (type, length, body) ... put into proper records, so that the
 * fuzzer gets past the checksums and into the search for the next record.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "queue/queue.h"
#include "queue/queue_apply.h"
#include "queue/queue_ledger.h"
#include "queue/queue_recent.h"
#include "queue/queue_replay.h"
#include "queue/queue_scan.h"

/* Nobody who writes content knows the salt of the segment that it comes to lie in. */
static uint64_t
salt_of(const uint8_t *data, size_t size)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * UINT64_C(0x100000001b3);
	return h * UINT64_C(0x9e3779b97f4a7c15);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RECORDS_MAX 2000

struct run {
	struct queue	*q;
	struct segment	 segment;
	uint64_t	 last_lsn;
	bool		 seen[RECORDS_MAX + 1];		/* by lsn */
};

/* Records as they were made. */
struct made {
	uint32_t	 n;
	uint32_t	 at[RECORDS_MAX], size[RECORDS_MAX];
};

static void
on_broken(void *ctx, uint64_t from, uint64_t to)
{
	(void)ctx;
	if (from >= to)
		abort();
}

static void
on_record(void *ctx, uint16_t type, uint64_t lsn, struct slice body, uint32_t offset)
{
	struct run *run = ctx;
	const struct log_applied a = { .type = type, .body = body, .segment = &run->segment, .offset = offset };

	if (lsn <= run->last_lsn)
		abort();
	run->last_lsn = lsn;
	if (lsn <= RECORDS_MAX)
		run->seen[lsn] = true;
	(void)queue_apply(run->q, &a);
}

/* Records out of (type, length 2, body) items. */
static void
make_records(const uint8_t *data, size_t size, uint64_t salt, struct buf *out, struct made *made)
{
	while (size >= 3 && made->n < RECORDS_MAX) {
		size_t len = (size_t)(data[1] | data[2] << 8) % 600;
		uint16_t type = data[0] % 10;

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		made->at[made->n] = (uint32_t)out->len;
		if (!record_frame(out, salt, type, made->n + 1, slice_make(data, len),
		    slice_make("content", type == 1 ? 7 : 0)))
			return;
		made->size[made->n] = (uint32_t)(out->len - made->at[made->n]);
		made->n++;
		data += len;
		size -= len;
	}
}

/* One damage: a bit, zeros, random octets, a part copied elsewhere, two parts exchanged, the end cut off. */
static void
damage(struct buf *log, const uint8_t how[5])
{
	const size_t n = log->len - SEGMENT_HEADER, len = 8 + how[4] * 8u;
	char *p = log->ptr + SEGMENT_HEADER;
	size_t a = (how[1] * 256u + how[2]) * 8 % n, b = (how[2] * 256u + how[3]) * 8 % n;

	switch (how[0] % 6) {
	case 0:
		p[(a + how[4]) % n] ^= (char)(1 << how[3] % 8);
		break;
	case 1:
		memset(p + a, 0, len < n - a ? len : n - a);
		break;
	case 2:
		for (size_t i = 0; i < len && a + i < n; i++)
			p[a + i] = (char)(how[3] * (i + 1) ^ how[4]);
		break;
	case 3:
		memmove(p + b, p + a, len < n - a && len < n - b ? len : (n - a < n - b ? n - a : n - b));
		break;
	case 4:
		for (size_t i = 0; i < len && a + i < n && b + i < n; i++) {
			char octet = p[a + i];

			p[a + i] = p[b + i];
			p[b + i] = octet;
		}
		break;
	default:
		log->len = SEGMENT_HEADER + a;
		break;
	}
}

/* Every record that is still there, wherever, was seen. */
static void
check_seen(const struct run *run, const struct made *made, const char *before, const struct buf *log)
{
	for (uint32_t i = 0; i < made->n; i++) {
		const char *record = before + made->at[i], *p = log->ptr + SEGMENT_HEADER;
		bool whole = false;

		if (made->at[i] + made->size[i] <= log->len && memcmp(log->ptr + made->at[i], record, made->size[i]) == 0)
			whole = true;
		for (; !whole && made->n < 100 && (size_t)(log->ptr + log->len - p) >= made->size[i]; p += 8)
			whole = memcmp(p, record, made->size[i]) == 0;
		if (whole && !run->seen[i + 1])
			abort();
	}
}

static void
check(struct queue *q)
{
	for (uint32_t i = 0; i < q->messages.slot_n; i++) {
		const struct message *m = q->messages.slot[i];
		uint32_t live = 0, tell = 0;

		if (m == NULL)
			continue;
		for (uint32_t k = 0; k < m->rcpt_n; k++) {
			live += m->rcpt[k].stage < STAGE_DONE;
			tell += (m->rcpt[k].flags & (RCPT_TELL_FAILURE | RCPT_TELL_SUCCESS)) != 0;
			if (m->rcpt[k].from >= m->rcpt_n)
				abort();
			(void)message_reason(&q->messages, &m->rcpt[k]);
			(void)message_rcpt_sender(&q->messages, m, k);
		}
		if (live != m->live || tell != m->tell)
			abort();
	}
}

static void
fuzz_records(struct run *run, const uint8_t *data, size_t size, struct buf *all)
{
	static const struct replay_ops ops = { .broken = on_broken, .record = on_record };
	struct made *made = calloc(1, sizeof(*made));
	const uint64_t salt = salt_of(data, size);
	size_t damages = data[1] % 8;
	struct scan_memory m;
	char *before;

	if (made == NULL || size < 2 + damages * 5) {
		free(made);
		return;
	}
	make_records(data + 2 + damages * 5, size - 2 - damages * 5, salt, all, made);
	before = malloc(all->len);
	if (before == NULL)
		abort();
	memcpy(before, all->ptr, all->len);
	for (size_t i = 0; i < damages && all->len > SEGMENT_HEADER; i++)
		damage(all, data + 2 + i * 5);
	scan_memory(&m, buf_slice_of(all));
	if (!replay_segment(&m.source, salt, data[0] % 4 == 3, &ops, run))
		abort();
	check_seen(run, made, before, all);
	free(before);
	free(made);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct replay_ops ops = { .broken = on_broken, .record = on_record };
	struct run run = { .q = calloc(1, sizeof(*run.q)) };
	struct scan_memory m;
	struct buf all;
	char zero[SEGMENT_HEADER] = "";

	if (size < 2 || run.q == NULL) {
		free(run.q);
		return 0;
	}
	log_setup(&(struct log_setup){ .tag = "fuzz", .program = "queue", .fd = -1 });
	buf_init(&all, 4 * 1024 * 1024);
	(void)buf_put(&all, zero, sizeof(zero));
	run.q->replaying = true;
	if (data[0] % 2 == 1) {
		fuzz_records(&run, data, size, &all);
	} else {
		(void)buf_put(&all, data + 1, size - 1);
		scan_memory(&m, buf_slice_of(&all));
		if (!replay_segment(&m.source, UINT64_C(0x0123456789abcdef), false, &ops, &run))
			abort();
	}
	check(run.q);
	messages_clear(&run.q->messages);
	recent_clear(run.q);
	buf_clear(&all);
	free(run.q);
	return 0;
}
