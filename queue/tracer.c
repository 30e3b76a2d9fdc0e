#include "tracer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon.h"
#include "ipc.h"
#include "log.h"
#include "tracer_distil.h"
#include "tracer_index.h"
#include "tracer_story.h"
#include "verdict.h"

#define IDLE_MS		60000
#define DIRTY_MS	1000			/* something waits to be synced */
#define SYNC_USEC	UINT64_C(2000000)	/* what was distilled is synced after */
#define CHECKPOINT_USEC	UINT64_C(60000000)
#define EXPIRE_USEC	UINT64_C(600000000)
#define RETRY_MS	10000			/* when the history cannot be written */

struct tracer {
	struct tracer_setup	 setup;
	struct distil		 distil;
	struct index_db		*index;		/* NULL: it cannot be opened now */
	uint64_t		 told_seq, told_offset;
	uint64_t		 synced_usec, checkpoint_usec, expire_usec;
	bool			 more;		/* there is work to be done */
	bool			 failing;
	struct buf		 frame;
};

static void
close_others(const struct tracer_setup *s)
{
	const int keep[] = { 0, 1, 2, s->fd, s->log_dirfd, s->trace_dirfd, s->index_dirfd };
	unsigned from = 0;

	/* Keep what is in the list, close what lies between: connections of others would never end. */
	for (;;) {
		unsigned next = ~0u;

		for (size_t i = 0; i < LEN(keep); i++)
			if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < next)
				next = (unsigned)keep[i];
		if (next > from)
			(void)close_range(from, next == ~0u ? ~0u : next - 1, 0);
		if (next == ~0u)
			return;
		from = next + 1;
	}
}

static void
reopen_index(struct tracer *t)
{
	index_close(t->index);
	t->index = index_open(t->setup.index_dirfd, true);
	if (t->index == NULL)
		log_say(LOG_LEVEL_ERROR, "the index of the trace cannot be made: 'pennypost trace' finds nothing");
}

/* Durable so far: queue may drop what lies before. */
static bool
report(struct tracer *t)
{
	const struct ipc_tracer_have m = { .seq = t->distil.kept_seq, .offset = t->distil.kept_offset };
	struct buf frame;
	enum ipc_io io = IPC_IO_OK;

	if (m.seq == t->told_seq && m.offset == t->told_offset)
		return true;
	buf_init(&frame, 64);
	if (ipc_put_tracer_have(&frame, &m))
		io = ipc_send(t->setup.fd, buf_slice_of(&frame), -1);
	buf_clear(&frame);
	if (io == IPC_IO_OK) {
		t->told_seq = m.seq;
		t->told_offset = m.offset;
	}
	return io == IPC_IO_OK || io == IPC_IO_AGAIN;
}

static bool
sync_now(struct tracer *t)
{
	t->synced_usec = now_mono_usec();
	return distil_sync(&t->distil);
}

/* A little of everything that is to be done. */
static void
work(struct tracer *t)
{
	bool distil_more = false, index_more = false;

	if (!distil_step(&t->distil, &distil_more)) {
		if (!t->failing)
			log_say(LOG_LEVEL_WARNING, "spool/trace cannot be written: the trace falls behind");
		t->failing = true;
		t->more = false;
		return;
	}
	t->failing = false;
	if (t->distil.dirty && (now_mono_usec() - t->synced_usec > SYNC_USEC || !distil_more))
		(void)sync_now(t);
	if (t->index != NULL && !distil_more &&
	    !index_step(t->index, t->setup.trace_dirfd, t->distil.synced_size, &index_more))
		reopen_index(t);
	t->more = distil_more || index_more;
}

static void
house_keeping(struct tracer *t)
{
	uint64_t now = now_mono_usec(), gone;

	if (t->index != NULL && now - t->checkpoint_usec > CHECKPOINT_USEC) {
		t->checkpoint_usec = now;
		if (!index_checkpoint(t->index))
			reopen_index(t);
	}
	if (now - t->expire_usec < EXPIRE_USEC && t->expire_usec != 0)
		return;
	t->expire_usec = now;
	while ((gone = distil_expire(&t->distil)) != 0)
		if (t->index != NULL && !index_forget(t->index, gone))
			reopen_index(t);
}

/* All that is durable in the log goes into the index first: the answer is as of now. */
static void
answer(struct tracer *t, struct slice key, int fd)
{
	do {
		work(t);
		if (!sync_now(t))
			break;
	} while (t->more || t->distil.dirty);
	do
		work(t);
	while (t->more);
	if (t->index == NULL) {
		const struct ipc_queue_end e = { .verdict = TEMP, .text = SLICE("there is no index of the trace") };
		struct buf frame;

		buf_init(&frame, 600);
		if (ipc_put_queue_end(&frame, &e))
			(void)ipc_send(fd, buf_slice_of(&frame), -1);
		buf_clear(&frame);
	} else if (!story_tell(t->index, t->setup.trace_dirfd, key, fd)) {
		reopen_index(t);
	}
}

static bool
told(struct tracer *t, uint32_t id)
{
	const struct ipc_tracer_told m = { .id = id };
	struct buf frame;
	bool ok;

	buf_init(&frame, 64);
	ok = ipc_put_tracer_told(&frame, &m) && ipc_send(t->setup.fd, buf_slice_of(&frame), -1) == IPC_IO_OK;
	buf_clear(&frame);
	return ok;
}

static bool
take_frame(struct tracer *t, int passed)
{
	struct slice frame = buf_slice_of(&t->frame);
	struct ipc_tracer_upto upto;
	struct ipc_tracer_ask ask;
	uint16_t code = 0;
	bool ok = true;

	(void)ipc_code(frame, &code);
	if (code == IPC_tracer_upto && ipc_get_tracer_upto(frame, &upto)) {
		distil_target(&t->distil, upto.seq, upto.offset);
	} else if (code == IPC_tracer_ask && passed != -1 && ipc_get_tracer_ask(frame, &ask)) {
		answer(t, ask.key, passed);
		ok = told(t, ask.id);
	} else {
		ok = code == IPC_hello;
	}
	if (passed != -1)
		(void)close(passed);
	t->more = true;
	return ok;
}

/* Frames of queue, if there are any; false when it is gone. */
static bool
listen_to_queue(struct tracer *t, int wait_ms)
{
	int passed;

	if (!ipc_wait(t->setup.fd, false, wait_ms))
		return true;
	for (;;) {
		switch (ipc_recv(t->setup.fd, &t->frame, &passed)) {
		case IPC_IO_OK:
			if (!take_frame(t, passed))
				return false;
			break;
		case IPC_IO_AGAIN:
			return true;
		case IPC_IO_CLOSED:
		case IPC_IO_ERROR:
			return false;
		}
	}
}

static int
wait_ms(const struct tracer *t)
{
	if (t->failing)
		return RETRY_MS;
	if (t->more)
		return 0;
	return t->distil.dirty ? DIRTY_MS : IDLE_MS;
}

static bool
say_hello(int fd)
{
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = SLICE("tracer") };
	struct buf frame;
	bool ok;

	buf_init(&frame, 64);
	ok = ipc_put_hello(&frame, &hello) && ipc_send(fd, buf_slice_of(&frame), -1) == IPC_IO_OK;
	buf_clear(&frame);
	return ok;
}

void
tracer_run(const struct tracer_setup *setup)
{
	struct tracer t = { .setup = *setup };
	uint64_t keep_usec = ((uint64_t)setup->keep_s + setup->lifetime_s) * 1000000;

	close_others(setup);
	(void)prctl(PR_SET_NAME, "queue-tracer");
	(void)setpriority(PRIO_PROCESS, 0, 19);
	buf_init(&t.frame, IPC_FRAME_MAX);
	if (!say_hello(setup->fd) || !distil_open(&t.distil, setup->log_dirfd, setup->trace_dirfd, keep_usec)) {
		log_say(LOG_LEVEL_ERROR, "the tracer cannot use spool/trace");
		_exit(1);
	}
	t.index = index_open(setup->index_dirfd, setup->fresh_index);
	t.more = true;
	while (report(&t) && listen_to_queue(&t, wait_ms(&t))) {
		work(&t);
		house_keeping(&t);
	}
	(void)distil_sync(&t.distil);
	(void)report(&t);
	if (t.index != NULL)
		(void)index_checkpoint(t.index);
	index_close(t.index);
	distil_close(&t.distil);
	buf_clear(&t.frame);
	_exit(0);
}
