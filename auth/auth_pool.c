#include "auth_pool.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define RETRY_MS	1000	/* after a worker could not be started */
#define LOOK_MS		2000
#define WAIT_MAX_S	30	/* a job that waited longer is not begun: its client has gone */
#define ID_KIND_SHIFT	24

enum worker_state { WORKER_NONE, WORKER_STARTING, WORKER_IDLE, WORKER_BUSY };

struct worker {
	struct auth_pool	*pool;
	enum worker_state	 state;
	uint32_t		 id;
	int			 fd;		/* in IDLE and BUSY */
	struct event		*readable, *late;
	struct auth_job		*job;		/* in BUSY */
	unsigned		 jobs;		/* done so far */
};

struct auth_pool {
	struct auth_pool_setup	 setup;
	struct worker		 worker[AUTH_POOL_WORKERS];
	struct auth_job		*first, **last;	/* waiting */
	size_t			 waiting;
	uint32_t		 next_id;
	struct event		*retry;
	struct event		*later;		/* dispatch() from the loop */
	struct buf		 in;
};

static void dispatch(struct auth_pool *p);

static void
wipe_frame(struct auth_job *job)
{
	if (job->frame.ptr != NULL)
		explicit_bzero(job->frame.ptr, job->frame.size);
	buf_clear(&job->frame);
}

static struct timeval
in_ms(unsigned ms)
{
	return (struct timeval){ .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
}

static void
worker_clear(struct worker *w)
{
	if (w->readable != NULL)
		event_free(w->readable);
	if (w->late != NULL)
		event_free(w->late);
	if (w->fd != -1)
		(void)close(w->fd);
	*w = (struct worker){ .pool = w->pool, .fd = -1 };
}

/* It died, was killed, or talks nonsense. */
static void
worker_lost(struct worker *w)
{
	struct auth_job *job = w->job;

	worker_clear(w);
	if (job != NULL)
		job->done(job, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
}

static bool
get_result(enum worker_kind kind, struct slice frame, struct ipc_pam_result *out)
{
	struct ipc_crypt_result crypt;

	if (kind == WORKER_PAM)
		return ipc_get_pam_result(frame, out);
	if (!ipc_get_crypt_result(frame, &crypt))
		return false;
	*out = (struct ipc_pam_result){
		.verdict = crypt.verdict,
		.reason = crypt.verdict == OK ? AUTH_REASON_NONE :
		    crypt.verdict == PERM ? AUTH_REASON_CREDENTIALS : AUTH_REASON_UNAVAILABLE,
		.user = SLICE(""),
	};
	return true;
}

static void
worker_finish(struct worker *w, const struct ipc_pam_result *result)
{
	struct auth_pool *p = w->pool;
	struct auth_job *job = w->job;

	w->job = NULL;
	w->state = WORKER_IDLE;
	(void)event_del(w->late);
	if (p->setup.jobs_per_worker != 0 && ++w->jobs >= p->setup.jobs_per_worker)
		worker_clear(w);	/* it ends when its socket is closed */
	job->done(job, (enum verdict)result->verdict, (enum ipc_auth_reason)result->reason, result->user);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct auth_pool *p = w->pool;
	struct ipc_pam_result result;
	enum ipc_io io;
	int passed;

	(void)fd;
	(void)what;
	io = ipc_recv(w->fd, &p->in, &passed);
	if (passed != -1)
		(void)close(passed);
	if (io == IPC_IO_AGAIN)
		return;
	if (io == IPC_IO_OK && w->state == WORKER_BUSY && get_result(p->setup.kind, buf_slice_of(&p->in), &result))
		worker_finish(w, &result);
	else
		worker_lost(w);
	dispatch(p);
}

static void
on_late(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct auth_pool *p = w->pool;

	(void)fd;
	(void)what;
	log_say(LOG_LEVEL_WARNING, "a %s look-up took longer than %u s and was ended",
	    p->setup.kind == WORKER_PAM ? "PAM" : "crypt", p->setup.timeout_ms / 1000);
	(void)auth_keeper_kill(p->setup.keeper, w->id);
	worker_lost(w);
	dispatch(p);
}

static bool
worker_give(struct worker *w, struct auth_job *job)
{
	const struct timeval limit = in_ms(w->pool->setup.timeout_ms);
	const bool sent = ipc_send(w->fd, buf_slice_of(&job->frame), -1) == IPC_IO_OK;

	wipe_frame(job);
	w->job = job;
	w->state = WORKER_BUSY;
	return sent && event_add(w->late, &limit) == 0;
}

/* A worker in this state, or NULL. */
static struct worker *
find(struct auth_pool *p, enum worker_state state)
{
	for (size_t i = 0; i < p->setup.workers; i++) {
		if (p->worker[i].state == state)
			return &p->worker[i];
	}
	return NULL;
}

static bool
start_one(struct auth_pool *p)
{
	const struct timeval soon = in_ms(RETRY_MS);
	struct worker *w = find(p, WORKER_NONE);

	if (w == NULL)
		return false;
	w->id = (uint32_t)p->setup.kind << ID_KIND_SHIFT | (p->next_id++ & ((1u << ID_KIND_SHIFT) - 1));
	if (!auth_keeper_ask(p->setup.keeper, p->setup.kind, w->id)) {
		(void)event_add(p->retry, &soon);
		return false;
	}
	w->state = WORKER_STARTING;
	return true;
}

static struct auth_job *
take_first(struct auth_pool *p)
{
	struct auth_job *job = p->first;

	p->first = job->next;
	if (p->first == NULL)
		p->last = &p->first;
	p->waiting--;
	return job;
}

static void
dispatch(struct auth_pool *p)
{
	const uint64_t oldest = now_mono_usec() - WAIT_MAX_S * UINT64_C(1000000);
	const struct timeval look_again = in_ms(LOOK_MS);
	struct worker *w;

	while (p->first != NULL && p->first->queued_usec < oldest) {
		struct auth_job *job = take_first(p);

		wipe_frame(job);
		job->done(job, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
	}
	while (p->first != NULL && (w = find(p, WORKER_IDLE)) != NULL) {
		if (!worker_give(w, take_first(p)))
			worker_lost(w);
	}
	/* One that starts will take the next; more only when more wait than start. */
	if (p->first != NULL) {
		size_t starting = 0;

		for (size_t i = 0; i < p->setup.workers; i++)
			starting += p->worker[i].state == WORKER_STARTING ? 1 : 0;
		if (starting < p->waiting && !event_pending(p->retry, EV_TIMEOUT, NULL))
			(void)start_one(p);
		/* Should nobody come free or start, those that wait are still told in time. */
		(void)event_add(p->later, &look_again);
	}
}

static void
on_dispatch(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	dispatch(arg);
}

struct auth_pool *
auth_pool_new(const struct auth_pool_setup *setup)
{
	struct auth_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->setup = *setup;
	if (p->setup.workers > AUTH_POOL_WORKERS)
		p->setup.workers = AUTH_POOL_WORKERS;
	p->last = &p->first;
	buf_init(&p->in, IPC_FRAME_MAX);
	for (size_t i = 0; i < AUTH_POOL_WORKERS; i++)
		p->worker[i] = (struct worker){ .pool = p, .fd = -1 };
	p->retry = evtimer_new(setup->base, on_dispatch, p);
	p->later = evtimer_new(setup->base, on_dispatch, p);
	if (p->retry == NULL || p->later == NULL) {
		auth_pool_free(p);
		return NULL;
	}
	return p;
}

void
auth_pool_free(struct auth_pool *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < AUTH_POOL_WORKERS; i++)
		worker_lost(&p->worker[i]);
	while (p->first != NULL) {
		struct auth_job *job = take_first(p);

		wipe_frame(job);
		job->done(job, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
	}
	if (p->retry != NULL)
		event_free(p->retry);
	if (p->later != NULL)
		event_free(p->later);
	buf_clear(&p->in);
	free(p);
}

void
auth_pool_warm(struct auth_pool *p, size_t workers)
{
	while (workers-- > 0 && start_one(p))
		;
}

bool
auth_pool_run(struct auth_pool *p, struct auth_job *job)
{
	const struct timeval at_once = { 0, 0 };

	if (p->waiting >= p->setup.waiting || job->frame.full || event_add(p->later, &at_once) != 0) {
		wipe_frame(job);
		return false;
	}
	job->next = NULL;
	job->queued_usec = now_mono_usec();
	*p->last = job;
	p->last = &job->next;
	p->waiting++;
	return true;
}

bool
auth_pool_started(struct auth_pool *p, uint32_t id, int fd)
{
	const struct timeval soon = in_ms(RETRY_MS);
	struct worker *w = NULL;

	for (size_t i = 0; i < p->setup.workers; i++) {
		if (p->worker[i].state == WORKER_STARTING && p->worker[i].id == id)
			w = &p->worker[i];
	}
	if (w == NULL)
		return false;
	w->fd = fd;
	if (fd != -1) {
		w->readable = event_new(p->setup.base, fd, EV_READ | EV_PERSIST, on_readable, w);
		w->late = evtimer_new(p->setup.base, on_late, w);
	}
	if (w->readable == NULL || w->late == NULL || event_add(w->readable, NULL) != 0) {
		worker_clear(w);
		(void)event_add(p->retry, &soon);
	} else {
		w->state = WORKER_IDLE;
		dispatch(p);
	}
	return true;
}
