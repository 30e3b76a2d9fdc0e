#include "relay_recent.h"

#include <stdio.h>
#include <stdlib.h>

#define KEPT 4096	/* results; far more than can be on the way */

struct result {
	uint64_t	qid;
	uint32_t	index;
	char		dsn[16], relay[300], text[300], remote[256];
};

struct relay_recent {
	struct result	at[KEPT];
	size_t		next;
};

struct relay_recent *
relay_recent_new(void)
{
	return calloc(1, sizeof(struct relay_recent));
}

static void
copy(char *out, size_t size, struct slice s)
{
	(void)slice_text(slice_sub(s, 0, size - 1), out, size);
}

void
relay_recent_add(struct relay_recent *r, uint64_t qid, const struct ipc_job_result *m)
{
	struct result *to;

	if (r == NULL || m->outcome != OUTCOME_DONE)
		return;
	to = &r->at[r->next];
	r->next = (r->next + 1) % KEPT;
	to->qid = qid;
	to->index = m->index;
	copy(to->dsn, sizeof(to->dsn), m->dsn);
	copy(to->relay, sizeof(to->relay), m->relay);
	copy(to->text, sizeof(to->text), m->text);
	copy(to->remote, sizeof(to->remote), m->remote);
}

bool
relay_recent_find(const struct relay_recent *r, uint64_t qid, uint32_t index, struct ipc_job_result *m)
{
	for (size_t i = 0; r != NULL && i < KEPT; i++) {
		const struct result *from = &r->at[i];

		if (from->qid != qid || from->index != index)
			continue;
		*m = (struct ipc_job_result){ .index = index, .outcome = OUTCOME_DONE,
		    .dsn = slice_of(from->dsn), .relay = slice_of(from->relay),
		    .text = slice_of(from->text), .remote = slice_of(from->remote) };
		return true;
	}
	return false;
}
