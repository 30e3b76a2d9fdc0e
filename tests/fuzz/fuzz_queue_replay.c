/*
 * A log that says anything at all, replayed: nothing crashes, the ledger's
 * sum holds, every record that is intact is seen.
 *
 * Input: octet 0 chooses.  Even: the rest is a segment as it is.  Odd: the rest
 * is (type, length, body) ... put into proper records, with some octets then
 * changed, so that the fuzzer gets past the checksums.
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

#define SALT UINT64_C(0x0123456789abcdef)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
	struct queue	*q;
	struct segment	 segment;
	unsigned	 records;
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

	(void)lsn;
	run->records++;
	(void)queue_apply(run->q, &a);
}

/* Records out of (type, length 2, body) items; how many. */
static unsigned
make_records(const uint8_t *data, size_t size, struct buf *out)
{
	unsigned n = 0;

	while (size >= 3) {
		size_t len = (size_t)(data[1] | data[2] << 8) % 600;
		uint16_t type = data[0] % 10;

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		if (record_frame(out, SALT, type, ++n, slice_make(data, len), slice_make("content", type == 1 ? 7 : 0)))
			;
		data += len;
		size -= len;
	}
	return n;
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

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct replay_ops ops = { .broken = on_broken, .record = on_record };
	struct run run = { .q = calloc(1, sizeof(*run.q)) };
	struct scan_memory m;
	struct buf all;
	char zero[SEGMENT_HEADER] = "";
	unsigned made = 0;

	if (size < 2 || run.q == NULL) {
		free(run.q);
		return 0;
	}
	log_setup(&(struct log_setup){ .tag = "fuzz", .program = "queue", .fd = -1 });
	buf_init(&all, 4 * 1024 * 1024);
	(void)buf_put(&all, zero, sizeof(zero));
	if (data[0] % 2 == 0)
		(void)buf_put(&all, data + 1, size - 1);
	else
		made = make_records(data + 2, size - 2, &all);
	if (data[0] % 4 == 3 && all.len > SEGMENT_HEADER)	/* damage */
		all.ptr[SEGMENT_HEADER + data[1] * 7u % (all.len - SEGMENT_HEADER)] ^= 0x10;
	run.q->replaying = true;
	scan_memory(&m, buf_slice_of(&all));
	if (!replay_segment(&m.source, SALT, true, &ops, &run))
		abort();
	if (data[0] % 4 == 1 && run.records != made)
		abort();
	if (data[0] % 4 == 3 && run.records + 1 < made)
		abort();
	check(run.q);
	messages_clear(&run.q->messages);
	recent_clear(run.q);
	buf_clear(&all);
	free(run.q);
	return 0;
}
