#include "queue_recent.h"

#include <stdlib.h>

#include "queue.h"

#define KEEP	32768u		/* the oldest make room */
#define SLOTS	(2 * KEEP)

struct recent_ids {
	uint64_t	ring[KEEP];
	uint32_t	next;
	uint32_t	slot[SLOTS];	/* place in the ring and one, 0: free; linear probing */
};

static uint32_t
home_of(uint64_t qid)
{
	return (uint32_t)((qid * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % SLOTS;
}

static uint32_t
place_of(const struct recent_ids *r, uint64_t qid)
{
	uint32_t i = home_of(qid);

	while (r->slot[i] != 0 && r->ring[r->slot[i] - 1] != qid)
		i = (i + 1) % SLOTS;
	return i;
}

static void
remove_id(struct recent_ids *r, uint64_t qid)
{
	uint32_t hole = place_of(r, qid);

	if (r->slot[hole] == 0)
		return;
	for (uint32_t i = (hole + 1) % SLOTS; r->slot[i] != 0; i = (i + 1) % SLOTS) {
		uint32_t home = home_of(r->ring[r->slot[i] - 1]);

		if ((i + SLOTS - home) % SLOTS >= (i + SLOTS - hole) % SLOTS) {
			r->slot[hole] = r->slot[i];
			hole = i;
		}
	}
	r->slot[hole] = 0;
}

void
recent_add(struct queue *q, uint64_t qid)
{
	struct recent_ids *r = q->recent;

	if (r == NULL)
		r = q->recent = calloc(1, sizeof(*r));
	if (r == NULL || r->slot[place_of(r, qid)] != 0)
		return;
	if (r->ring[r->next] != 0)
		remove_id(r, r->ring[r->next]);
	r->ring[r->next] = qid;
	r->slot[place_of(r, qid)] = r->next + 1;
	r->next = (r->next + 1) % KEEP;
}

bool
recent_has(const struct queue *q, uint64_t qid)
{
	return q->recent != NULL && q->recent->slot[place_of(q->recent, qid)] != 0;
}

void
recent_clear(struct queue *q)
{
	free(q->recent);
	q->recent = NULL;
}
