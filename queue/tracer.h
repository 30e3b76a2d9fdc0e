/*
 * tracer: the child of queue that keeps the history of messages.
 *
 *	tracer_distil	the log, without content, into spool/trace
 *	tracer_index	which message is where in it: Berkeley DB in state_dir/queue
 *	tracer_story	answers `pennypost trace`
 *
 * It works behind the mail: at the lowest priority, in small steps, and may be
 * slow, late or gone without harm.  Read next: tracer_distil.h.
 */
#ifndef PP_TRACER_H
#define PP_TRACER_H

#include <stdbool.h>

struct tracer_setup {
	int		fd;		/* to queue: frames 0x0bxx */
	int		log_dirfd, trace_dirfd, index_dirfd;
	unsigned	keep_s, lifetime_s;
	bool		fresh_index;	/* it died twice: make the database anew */
};

/* Never returns; ends when queue's end is closed. */
_Noreturn void tracer_run(const struct tracer_setup *setup);

#endif
