#include "tracer_story.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc.h"
#include "qid.h"
#include "queue_expand.h"
#include "queue_ledger.h"
#include "queue_segment.h"
#include "trace.h"
#include "verdict.h"
#include "tracer_distil.h"

#define MESSAGES_MAX	200	/* told in one answer; the youngest ones */
#define FOUND_MAX	100000	/* ids looked at for one key */
#define RECORDS_MAX	20000	/* of one message in one segment */
#define SEND_MS		5000	/* an asker that does not read is left alone */

struct rcpt_name {
	char	*addr;
	uint32_t orig;		/* number of the one it came from */
};

/* One message being told. */
struct story {
	int			 fd;
	uint64_t		 qid;
	struct rcpt_name	*rcpt;
	uint32_t		 rcpt_n, rcpt_size;
	char			 sender[321];
	uint64_t		 events;
	bool			 gone;		/* the asker does not read */
};

struct asking {
	struct index_db		*index;
	int			 trace_dirfd;
	uint64_t		*seq, *salt;	/* segments of the history */
	size_t			 segments;
	uint64_t		 qid[MESSAGES_MAX];
	size_t			 qid_n;
	uint64_t		 left_out;
	struct story		 story;
	bool			 damaged;
};

/* ---- sending ---- */

static void
send_frame(struct story *s, struct buf *frame, bool ok)
{
	enum ipc_io io = IPC_IO_ERROR;

	while (ok && !s->gone && (io = ipc_send(s->fd, buf_slice_of(frame), -1)) == IPC_IO_AGAIN)
		if (!ipc_wait(s->fd, true, SEND_MS))
			break;
	if (ok && io != IPC_IO_OK)
		s->gone = true;
	buf_clear(frame);
}

static void
tell(struct story *s, const struct ipc_trace_event *e)
{
	struct ipc_trace_event out = *e;
	struct buf frame;

	out.text = slice_sub(out.text, 0, 1000);
	buf_init(&frame, IPC_FRAME_MAX);
	send_frame(s, &frame, ipc_put_trace_event(&frame, &out));
	s->events++;
}

static void
tell_end(struct story *s, enum verdict verdict, uint64_t count, const char *text)
{
	const struct ipc_queue_end e = { .verdict = (uint8_t)verdict, .count = count, .text = slice_of(text) };
	struct buf frame;

	buf_init(&frame, IPC_FRAME_MAX);
	send_frame(s, &frame, ipc_put_queue_end(&frame, &e));
}

/* ---- names of recipients, which results give by number ---- */

static void
add_rcpt(struct story *s, uint32_t index, struct slice addr, uint32_t orig)
{
	uint32_t size = s->rcpt_size == 0 ? 16 : s->rcpt_size;
	struct rcpt_name *rcpt;

	if (index >= RECORD_RCPTS_MAX)
		return;
	while (size <= index)
		size *= 2;
	if (size > s->rcpt_size) {
		rcpt = realloc(s->rcpt, size * sizeof(*rcpt));
		if (rcpt == NULL)
			return;
		memset(rcpt + s->rcpt_size, 0, (size - s->rcpt_size) * sizeof(*rcpt));
		s->rcpt = rcpt;
		s->rcpt_size = size;
	}
	free(s->rcpt[index].addr);
	s->rcpt[index] = (struct rcpt_name){ .addr = slice_dup(addr), .orig = orig };
	if (index >= s->rcpt_n)
		s->rcpt_n = index + 1;
}

static struct slice
rcpt_of(const struct story *s, uint32_t index)
{
	return index < s->rcpt_n && s->rcpt[index].addr != NULL ? slice_of(s->rcpt[index].addr) : slice_of("");
}

static struct slice
orig_of(const struct story *s, uint32_t index)
{
	return index < s->rcpt_n ? rcpt_of(s, s->rcpt[index].orig) : slice_of("");
}

static void
clear_story(struct story *s)
{
	for (uint32_t i = 0; i < s->rcpt_n; i++)
		free(s->rcpt[i].addr);
	free(s->rcpt);
	*s = (struct story){ .fd = s->fd, .events = s->events, .gone = s->gone };
}

/* ---- events out of records ---- */

static void
describe_origin(const struct record_message *r, char *out, size_t size)
{
	char who[400] = "";

	if (r->origin == ORIGIN_LOCAL)
		(void)snprintf(who, sizeof(who), "uid=%u", r->uid);
	else if (r->login.len > 0)
		(void)snprintf(who, sizeof(who), "login=%.*s", (int)r->login.len, r->login.ptr);
	(void)snprintf(out, size, "%.*s%s%s, size=%llu, message-id=%.*s", (int)r->protocol.len, r->protocol.ptr,
	    who[0] == '\0' ? "" : ", ", who, (unsigned long long)r->size,
	    (int)(r->message_id.len < 400 ? r->message_id.len : 400), r->message_id.ptr);
}

static void
tell_message(struct story *s, const struct record_message *r)
{
	static const enum trace_kind kind[] = { TRACE_ACCEPTED, TRACE_ACCEPTED, TRACE_INJECTED, TRACE_GENERATED };
	struct ipc_trace_event e = { .usec = r->arrival_usec, .qid = r->qid, .kind = (uint8_t)kind[r->origin],
	    .sender = r->sender, .other = r->parent };
	struct slice list = r->rcpts;
	struct record_rcpt rcpt;
	char text[1000], host[400];
	bool bad = false;

	describe_origin(r, text, sizeof(text));
	e.text = slice_of(text);
	if (r->client_address.len > 0) {
		(void)snprintf(host, 300, "%.*s[%.*s]", (int)r->client_name.len, r->client_name.ptr,
		    (int)r->client_address.len, r->client_address.ptr);
		e.host = slice_of(host);
	}
	(void)slice_text(r->sender, s->sender, sizeof(s->sender));
	for (uint32_t i = 0; record_next_rcpt(&list, &rcpt, &bad); i++) {
		add_rcpt(s, i, rcpt.addr, i);
		e.rcpt = rcpt.addr;
		tell(s, &e);
	}
}

/* A notification about the message that is told. */
static void
tell_notice(struct story *s, const struct record_message *r)
{
	static const char *const what[] = { "", "non-delivery", "delay", "delivery status" };
	const struct ipc_trace_event head = { .usec = r->arrival_usec, .qid = s->qid, .kind = TRACE_NOTIFIED,
	    .other = r->qid };
	struct slice list = r->about, to = slice_of("");
	struct record_rcpt rcpt;
	struct slice rcpts = r->rcpts;
	bool bad = false;
	uint32_t index;

	if (record_next_rcpt(&rcpts, &rcpt, &bad))
		to = rcpt.addr;
	while (record_next_u32(&list, &index)) {
		struct ipc_trace_event e = head;

		e.sender = to;
		e.rcpt = rcpt_of(s, index);
		e.orig_to = orig_of(s, index);
		e.text = slice_of(what[r->notice]);
		tell(s, &e);
	}
}

static void
tell_targets(struct story *s, struct ipc_trace_event e, const struct record_result *r)
{
	struct slice list = r->targets;
	struct record_target t;
	bool bad = false;
	uint32_t orig = r->index < s->rcpt_n ? s->rcpt[r->index].orig : r->index;

	e.kind = TRACE_EXPANDED;
	e.orig_to = rcpt_of(s, r->index);
	while (record_next_target(&list, &t, &bad)) {
		add_rcpt(s, t.index, t.addr, orig);
		e.rcpt = t.addr;
		e.sender = t.new_sender == 1 ? t.sender : slice_of(s->sender);
		tell(s, &e);
	}
}

static enum trace_kind
kind_of(const struct record_results *r, const struct record_result *one)
{
	switch ((enum ipc_outcome)one->outcome) {
	case OUTCOME_DEFERRED:
		return TRACE_DEFERRED;
	case OUTCOME_FAILED:
		return TRACE_BOUNCED;
	case OUTCOME_DISCARDED:
	case OUTCOME_EXPANDED:
		return TRACE_DISCARDED;
	case OUTCOME_DONE:
		break;
	}
	return r->channel == CHANNEL_RELAY ? TRACE_RELAYED : TRACE_DELIVERED;
}

static void
tell_results(struct story *s, const struct record_results *r)
{
	struct slice list = r->results;
	struct record_result one;
	bool bad = false;

	while (record_next_result(&list, &one, &bad)) {
		struct ipc_trace_event e = { .usec = r->usec, .qid = s->qid, .sender = slice_of(s->sender),
		    .host = one.relay, .dsn = one.dsn, .text = one.text };

		if (one.outcome == OUTCOME_EXPANDED && one.targets.len > 0) {
			tell_targets(s, e, &one);
			continue;
		}
		e.kind = (uint8_t)kind_of(r, &one);
		e.rcpt = rcpt_of(s, one.index);
		e.orig_to = orig_of(s, one.index);
		tell(s, &e);
	}
}

static void
tell_action(struct story *s, const struct record_action *r)
{
	static const enum trace_kind kind[] = { TRACE_HELD, TRACE_RELEASED, TRACE_RETRIED, TRACE_DELETED,
	    TRACE_EXPIRED, TRACE_KINDS };
	char text[400];
	struct ipc_trace_event e = { .usec = r->usec, .qid = s->qid, .kind = (uint8_t)kind[r->action] };

	if (r->uid == UID_NONE)
		(void)snprintf(text, sizeof(text), "%.*s", (int)r->text.len, r->text.ptr);
	else
		(void)snprintf(text, sizeof(text), "by uid %u", r->uid);
	e.text = slice_of(text);
	if (kind[r->action] != TRACE_KINDS)
		tell(s, &e);
}

/* ---- which messages ---- */

static void
add_qid(struct asking *a, uint64_t qid)
{
	size_t oldest = 0;

	for (size_t i = 0; i < a->qid_n; i++)
		if (a->qid[i] == qid)
			return;
	if (a->qid_n < MESSAGES_MAX) {
		a->qid[a->qid_n++] = qid;
		return;
	}
	/* The oldest makes room. */
	a->left_out++;
	for (size_t i = 1; i < a->qid_n; i++)
		if (a->qid[i] < a->qid[oldest])
			oldest = i;
	if (qid > a->qid[oldest])
		a->qid[oldest] = qid;
}

static void
find_key(struct asking *a, char kind, struct slice key)
{
	uint64_t *found = calloc(FOUND_MAX, sizeof(*found));

	for (size_t i = 0; found != NULL && i < a->segments; i++) {
		size_t n;

		if (!index_find(a->index, a->seq[i], kind, key, found, FOUND_MAX, &n)) {
			a->damaged = true;
			break;
		}
		for (size_t k = 0; k < n; k++)
			add_qid(a, found[k]);
	}
	free(found);
}

static void
find_messages(struct asking *a, struct slice key)
{
	char lower[400];
	struct qid qid;

	key = slice_trim(key);
	if (qid_parse(key, &qid))
		add_qid(a, qid.n);
	find_key(a, 'm', index_message_id(key));
	if (slice_find(key, '@') < key.len)
		find_key(a, 'a', index_address(index_message_id(key), lower, sizeof(lower)));
}

/* ---- telling one message ---- */

static void
tell_record(struct asking *a, const struct scan_item *item)
{
	struct story *s = &a->story;
	struct record_message message;
	struct record_results results;
	struct record_action action;

	switch (item->head.type) {
	case RECORD_TYPE_message:
		if (!record_get_message(item->body, &message))
			return;
		if (message.qid == s->qid) {
			tell_message(s, &message);
		} else if (message.parent == s->qid) {
			tell_notice(s, &message);
			add_qid(a, message.qid);
		}
		return;
	case RECORD_TYPE_results:
		if (record_get_results(item->body, &results) && results.qid == s->qid)
			tell_results(s, &results);
		return;
	case RECORD_TYPE_action:
		if (record_get_action(item->body, &action) && action.qid == s->qid)
			tell_action(s, &action);
		return;
	case RECORD_TYPE_cancel:
		tell(s, &(struct ipc_trace_event){ .qid = s->qid, .kind = TRACE_CANCELLED });
		return;
	default:
		return;
	}
}

/* The records at these offsets of one segment. */
static void
tell_segment(struct asking *a, size_t i, const uint64_t *offset, size_t n)
{
	char name[SEGMENT_NAME];
	struct scan_file file;
	struct scan scan;
	struct scan_item item;
	int fd;

	segment_name(a->seq[i], a->salt[i], name);
	fd = openat(a->trace_dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return;
	if (scan_file_open(&file, fd)) {
		scan_begin(&scan, &file.source, a->salt[i], false);
		for (size_t k = 0; k < n && !a->story.gone; k++) {
			scan.offset = offset[k];
			if (offset[k] % 8 == 0 && offset[k] < file.source.size &&
			    scan_next(&scan, &item) == SCAN_RECORD && item.offset == offset[k])
				tell_record(a, &item);
		}
		scan_file_close(&file);
	}
	(void)close(fd);
}

static void
tell_one(struct asking *a, uint64_t qid)
{
	uint64_t *offset = calloc(RECORDS_MAX, sizeof(*offset));
	unsigned char key[8];
	uint64_t n_qid = qid;

	for (int b = 7; b >= 0; b--) {
		key[b] = (unsigned char)n_qid;
		n_qid >>= 8;
	}
	a->story.qid = qid;
	for (size_t i = 0; offset != NULL && i < a->segments && !a->damaged; i++) {
		size_t n;

		if (!index_find(a->index, a->seq[i], 'q', slice_make(key, sizeof(key)), offset, RECORDS_MAX, &n))
			a->damaged = true;
		else if (n > 0)
			tell_segment(a, i, offset, n);
	}
	free(offset);
	clear_story(&a->story);
}

static bool
add_segment(void *ctx, uint64_t seq, uint64_t salt)
{
	struct asking *a = ctx;
	uint64_t *more = realloc(a->seq, (a->segments + 1) * sizeof(*more));

	if (more == NULL)
		return false;
	a->seq = more;
	more = realloc(a->salt, (a->segments + 1) * sizeof(*more));
	if (more == NULL)
		return false;
	a->salt = more;
	a->seq[a->segments] = seq;
	a->salt[a->segments++] = salt;
	return true;
}

static int
by_qid(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

bool
story_tell(struct index_db *x, int trace_dirfd, struct slice key, int fd)
{
	struct asking *a = calloc(1, sizeof(*a));
	char text[200] = "";
	bool ok;

	if (a == NULL)
		return true;
	a->index = x;
	a->trace_dirfd = trace_dirfd;
	a->story.fd = fd;
	(void)distil_each(trace_dirfd, add_segment, a);
	find_messages(a, key);
	qsort(a->qid, a->qid_n, sizeof(a->qid[0]), by_qid);
	for (size_t i = 0; i < a->qid_n && !a->story.gone; i++)	/* notifications are added behind */
		tell_one(a, a->qid[i]);
	if (a->left_out > 0)
		(void)snprintf(text, sizeof(text), "%llu older messages are left out",
		    (unsigned long long)a->left_out);
	if (a->damaged)
		tell_end(&a->story, TEMP, 0, "the index of the trace is damaged and is being made anew: try again later");
	else if (a->story.events == 0)
		tell_end(&a->story, PERM, 0, "nothing is known about it");
	else
		tell_end(&a->story, OK, a->qid_n, text);
	ok = !a->damaged;
	free(a->seq);
	free(a->salt);
	free(a);
	return ok;
}
