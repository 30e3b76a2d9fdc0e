/*
 * deliver_job: a message with its recipients as it came from queue (or, in a
 * process for one user, from the worker), and the results on their way back.
 */
#ifndef PP_DELIVER_JOB_H
#define PP_DELIVER_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "deliver_header.h"
#include "ipc.h"
#include "verdict.h"

struct job;
struct rcpt;

/* One recipient.  Owned by its job. */
struct rcpt {
	struct job	*job;
	struct ipc_job_rcpt m;		/* views into the job's frame */
	bool		 done;		/* its last result was given */
	void		*more;		/* what deliver_expand.c remembers while it waits */
};

struct job {
	struct job	*next;
	struct buf	 frame;		/* owned; m and rcpt are views into it */
	struct ipc_job	 m;
	int		 fd;		/* content when m.in_file, else -1; owned */
	struct rcpt	*rcpt;
	size_t		 rcpt_n, open;	/* open: those not done */
	bool		 slow;		/* waits for another process: queue was given a slot for it */

	uint64_t	 taken_usec;	/* now_mono_usec() when it came */
	bool		 scanned;
	struct buf	 head;		/* beginning of the message when m.in_file */
	struct header_facts header;

	struct buf	 results;	/* list of job_result not sent yet */
	bool		 lost;		/* a result did not fit in memory: queue must ask again */
	bool		(*send)(void *ctx, const struct ipc_job_results *r);	/* false: the connection is gone */
	void		*send_ctx;
};

/*
 * Take the job in frame (copied) with its descriptor (taken over, also on
 * failure).  NULL: malformed, or no memory (*bad says which).
 */
struct job *job_new(struct slice frame, int fd, bool *bad);
void job_free(struct job *job);		/* NULL is fine */

/* Header facts, read once.  TEMP: the content cannot be read. */
enum verdict job_header(struct job *job);

/* size octets of content from offset on into out, which has room for them; false if they cannot be read. */
bool job_content(const struct job *job, uint64_t offset, size_t size, char *out);
uint64_t job_size(const struct job *job);

/* The result of a recipient; text may hold what others said, it is cut and cleaned. */
void rcpt_result(struct rcpt *r, enum ipc_outcome outcome, const char *dsn, const char *relay, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Expanded into these; more: a further call for it follows. */
void rcpt_expanded(struct rcpt *r, struct slice targets, bool more, const char *text);

/* Send what is there.  Called when the job has no open recipient, and by whoever will keep it open for long. */
bool job_send_results(struct job *job);

#endif
