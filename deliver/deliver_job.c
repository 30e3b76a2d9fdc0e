#include "deliver_job.h"

#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"

#define RESULTS_SEND	(24 * 1024)	/* octets of results that are worth a frame */
#define RCPTS_MAX	10000		/* of one frame */

/* Count the recipients; false if one is malformed. */
static bool
count_rcpts(struct job *job)
{
	struct slice list = job->m.rcpts;
	struct ipc_job_rcpt rcpt;
	bool bad = false;

	while (ipc_next_job_rcpt(&list, &rcpt, &bad))
		job->rcpt_n++;
	return !bad && job->rcpt_n > 0 && job->rcpt_n <= RCPTS_MAX;
}

static bool
take_rcpts(struct job *job)
{
	struct slice list = job->m.rcpts;
	bool bad;

	job->rcpt = calloc(job->rcpt_n, sizeof(*job->rcpt));
	if (job->rcpt == NULL)
		return false;
	for (size_t i = 0; i < job->rcpt_n; i++) {
		job->rcpt[i].job = job;
		(void)ipc_next_job_rcpt(&list, &job->rcpt[i].m, &bad);
	}
	job->open = job->rcpt_n;
	return true;
}

struct job *
job_new(struct slice frame, int fd, bool *bad)
{
	struct job *job = calloc(1, sizeof(*job));

	*bad = false;
	if (job == NULL) {
		if (fd != -1)
			(void)close(fd);
		return NULL;
	}
	job->fd = fd;
	job->taken_usec = now_mono_usec();
	buf_init(&job->frame, IPC_FRAME_MAX);
	buf_init(&job->head, HEADER_LOOK);
	buf_init(&job->results, 96 * 1024);
	if (!buf_slice(&job->frame, frame)) {
		job_free(job);
		return NULL;
	}
	if (!ipc_get_job(buf_slice_of(&job->frame), &job->m) || (job->m.in_file != 0) != (fd != -1) ||
	    !count_rcpts(job)) {
		*bad = true;
		job_free(job);
		return NULL;
	}
	if (!take_rcpts(job)) {
		job_free(job);
		return NULL;
	}
	return job;
}

void
job_free(struct job *job)
{
	if (job == NULL)
		return;
	if (job->fd != -1)
		(void)close(job->fd);
	buf_clear(&job->frame);
	buf_clear(&job->head);
	buf_clear(&job->results);
	free(job->rcpt);
	free(job);
}

uint64_t
job_size(const struct job *job)
{
	return job->m.in_file ? job->m.size : job->m.content.len;
}

bool
job_content(const struct job *job, uint64_t offset, size_t size, char *out)
{
	if (offset > job_size(job) || size > job_size(job) - offset)
		return false;
	if (!job->m.in_file) {
		if (size > 0)
			memcpy(out, job->m.content.ptr + offset, size);
		return true;
	}
	while (size > 0) {
		ssize_t n = pread(job->fd, out, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		out += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return true;
}

enum verdict
job_header(struct job *job)
{
	struct slice message = job->m.content;

	if (job->scanned)
		return OK;
	if (job->m.in_file) {
		size_t want = job->m.size < HEADER_LOOK ? (size_t)job->m.size : HEADER_LOOK;
		char *room;

		buf_reset(&job->head);
		room = buf_room(&job->head, want);
		if (room == NULL || !job_content(job, 0, want, room))
			return TEMP;
		buf_add(&job->head, want);
		message = buf_slice_of(&job->head);
	}
	header_scan(message, &job->header);
	job->scanned = true;
	return OK;
}

/* ---- results ---- */

bool
job_send_results(struct job *job)
{
	const struct ipc_job_results m = {
		.job = job->m.job, .qid = job->m.qid, .results = buf_slice_of(&job->results),
	};
	bool ok = true;

	if (job->results.len > 0)
		ok = job->send(job->send_ctx, &m);
	buf_reset(&job->results);
	return ok;
}

/* Control octets and what is no ASCII become '?': the text goes into logs, DSNs and terminals. */
static void
clean(char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			*text = '?';
}

static void
add_result(struct rcpt *r, struct ipc_job_result *result)
{
	struct job *job = r->job;
	size_t before = job->results.len;
	uint64_t took = now_mono_usec() - job->taken_usec;

	result->transfer_usec = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
	if (before > 0 && before + result->targets.len > RESULTS_SEND)
		(void)job_send_results(job);
	before = job->results.len;
	if (!ipc_add_job_result(&job->results, result)) {
		job->results.len = before;
		job->results.full = false;
		job->lost = true;
	}
	if (result->more == 0) {
		r->done = true;
		job->open--;
	}
}

void
rcpt_result(struct rcpt *r, enum ipc_outcome outcome, const char *dsn, const char *relay, const char *fmt, ...)
{
	struct ipc_job_result result = {
		.index = r->m.index, .outcome = (uint8_t)outcome, .dsn = slice_of(dsn), .relay = slice_of(relay),
	};
	char text[1000];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clean(text);
	result.text = slice_of(text);
	add_result(r, &result);
}

void
rcpt_expanded(struct rcpt *r, struct slice targets, bool more, const char *text)
{
	struct ipc_job_result result = {
		.index = r->m.index, .outcome = OUTCOME_EXPANDED, .dsn = SLICE("2.0.0"), .relay = SLICE("local"),
		.targets = targets, .more = more,
	};
	char cut[1000];

	(void)snprintf(cut, sizeof(cut), "%s", text);
	clean(cut);
	result.text = slice_of(cut);
	add_result(r, &result);
}
