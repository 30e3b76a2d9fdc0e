/*
 * queue_fixture: a queue in a folder of its own, without sockets, daemon or
 * sandbox, for the unit tests of queue/.  fixture_open() replays what is there.
 */
#ifndef PP_TESTS_QUEUE_FIXTURE_H
#define PP_TESTS_QUEUE_FIXTURE_H

#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "log.h"
#include "queue/queue.h"
#include "queue/queue_apply.h"
#include "queue/queue_bounce.h"
#include "queue/queue_compact.h"
#include "queue/queue_control.h"
#include "queue/queue_drop.h"
#include "queue/queue_intake.h"
#include "queue/queue_job.h"
#include "queue/queue_lease.h"
#include "queue/queue_recent.h"
#include "queue/queue_replay.h"
#include "queue/queue_submit.h"

#define FIXTURE_HOST "mail.example.test"

static char fixture_dir[64];
static unsigned fixture_refused;	/* records that the log gave up */

static inline void
fixture_applied(void *ctx, const struct log_applied *a)
{
	assert_true(queue_apply(ctx, a));
}

static inline void
fixture_gave_up(void *ctx, uint16_t type, struct slice body, uint64_t cookie, const char *why)
{
	(void)cookie;
	(void)why;
	fixture_refused++;
	if (type == RECORD_TYPE_moved)
		compact_refused(ctx, body);
	else
		queue_bounce_refused(ctx, body);
}

static inline void
fixture_committed(void *ctx)
{
	schedule_run(ctx);
}

static inline void
fixture_opening(void *ctx)
{
	struct queue *q = ctx;
	struct record_ledger ledger = q->ledger;
	struct buf body;

	queue_lease_record(q);
	ledger.first_seq = q->log.first->seq;
	buf_init(&body, 128);
	assert_true(record_put_ledger(&body, &ledger));
	queue_log_opening(&q->log, RECORD_TYPE_ledger, buf_slice_of(&body));
	buf_clear(&body);
}

static inline int
fixture_folder(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", fixture_dir, name);
	(void)mkdir(path, 0700);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* An empty folder. */
static inline void
fixture_make(void)
{
	(void)snprintf(fixture_dir, sizeof(fixture_dir), "/tmp/pp-queue-unit-XXXXXX");
	assert_non_null(mkdtemp(fixture_dir));
}

static inline void
fixture_remove(void)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf '%s'", fixture_dir);
	assert_int_equal(system(command), 0);
}

static inline struct queue *
fixture_open(void)
{
	static const struct queue_log_ops ops = { .applied = fixture_applied, .refused = fixture_gave_up,
	    .committed = fixture_committed, .opening = fixture_opening };
	static char host[] = FIXTURE_HOST;
	struct queue *q = calloc(1, sizeof(*q));

	assert_non_null(q);
	log_setup(&(struct log_setup){ .tag = "test", .program = "queue", .fd = -1 });
	q->daemon.conf = (struct conf){ .hostname = host, .user_prefix = host, .retry_min_s = 300, .retry_max_s = 14400,
	    .lifetime_s = 432000, .bounce_lifetime_s = 86400, .bounce_size = 50000, .message_size = 50000000,
	    .deliver_slots = 64, .relay_slots = 100, .relay_connections = 20, .recipients = 1000 };
	q->daemon.uid = (uid_t)-1;
	q->daemon.base = event_base_new();
	assert_int_equal(event_base_priority_init(q->daemon.base, 3), 0);
	q->log_dirfd = fixture_folder("log");
	q->large_dirfd = fixture_folder("large");
	q->drop_dirfd = -1;
	assert_true(queue_log_init(&q->log, q->log_dirfd, &ops, q, NULL));
	assert_true(schedule_init(q) && job_init(q) && control_init(q) && compact_init(q) && submit_init(q));
	buf_init(&q->scratch, RECORD_HEAD + RECORD_BODY_MAX + RECORD_CONTENT_MAX);
	queue_replay(q);
	queue_lease_open(q);
	queue_replay_settle(q);
	(void)queue_log_commit(&q->log);
	return q;
}

/* sealed: as at a proper end; else as after SIGKILL. */
static inline void
fixture_close(struct queue *q, bool sealed)
{
	struct event_base *base = q->daemon.base;

	if (!sealed)
		for (struct segment *s = q->log.first; s != NULL; s = s->next)
			s->limit = 0;	/* no seal, no cut */
	if (!sealed)
		q->log.item_n = 0;
	queue_log_close(&q->log);
	submit_clear(q);
	control_clear(q);
	job_clear(q);
	compact_clear(q);
	schedule_clear(q);
	messages_clear(&q->messages);
	recent_clear(q);
	buf_clear(&q->scratch);
	event_base_free(base);
	(void)close(q->log_dirfd);
	(void)close(q->large_dirfd);
	free(q);
}

/* Take in a message; its recipients are for relay (remote) or deliver.  Not yet committed. */
static inline uint64_t
fixture_submit(struct queue *q, const char *sender, const char *const *rcpt, size_t n, bool remote, uint8_t notify,
    const char *content)
{
	struct record_message r = { .qid = queue_lease(q, 1), .origin = ORIGIN_SMTP, .received_usec = now_usec(),
	    .arrival_usec = now_usec(), .sender = slice_of(sender), .size = strlen(content), .uid = UID_NONE };
	const char *why = "";
	struct buf list;

	buf_init(&list, 1024 * 1024);
	for (size_t i = 0; i < n; i++) {
		const struct ipc_rcpt one = { .addr = slice_of(rcpt[i]), .hint = remote ? HINT_REMOTE : HINT_LOCAL,
		    .notify = notify };

		assert_true(ipc_add_rcpt(&list, &one));
	}
	assert_int_equal(intake_append(q, &r, buf_slice_of(&list), slice_of(content), false, 0, &why), OK);
	buf_clear(&list);
	return r.qid;
}

#endif
