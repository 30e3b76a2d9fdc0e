/* login_workers: see the header. */
#include "login/login_workers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"

#define EX_OSERR	71
#define OUT_MAX		(1024 * 1024)	/* octets of frames that may wait for a worker */
#define AGAIN_USEC	2000000		/* one that died twice within this waits so long */
#define END_S		4		/* at the end: then children are killed */

const char *
login_death(int status, char *out, size_t size)
{
	if (WIFSIGNALED(status))
		(void)snprintf(out, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		(void)snprintf(out, size, "exit %d", WEXITSTATUS(status));
	return out;
}

/* ---- what workers say ---- */

static void
all_ready(struct login_workers *all)
{
	for (unsigned i = 0; i < all->n; i++)
		if (!all->slot[i]->ready)
			return;
	if (!all->ready)
		daemon_ready(all->daemon);
	all->ready = true;
}

static bool
on_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct login_slot *slot = ctx;
	struct ipc_front_ready ready;

	(void)c;
	if (passed != -1) {	/* they pass nothing */
		(void)close(passed);
		return false;
	}
	if (!ipc_get_front_ready(frame, &ready))
		return slot->workers->ops->frame(slot, frame);
	slot->ready = true;
	all_ready(slot->workers);
	return true;
}

static void
on_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct login_slot *slot = ctx;

	(void)why;
	ipc_conn_free(c);
	slot->conn = NULL;
	/* It broke the rules, or is dead already; its death is seen by on_child(). */
	if (slot->pid != -1)
		(void)kill(slot->pid, SIGKILL);
}

static const struct ipc_conn_ops conn_ops = { .frame = on_frame, .closed = on_closed };

/* ---- start, death, another start ---- */

static void
tell_forked(struct login_slot *slot)
{
	if (slot->workers->ops->forked != NULL)
		slot->workers->ops->forked(slot);
}

/* Fork one; false: not now. */
static bool
start(struct login_slot *slot)
{
	struct login_workers *all = slot->workers;
	int fds[2];

	slot->started_usec = now_mono_usec();
	slot->again_usec = 0;
	if (!all->ops->prepare(slot))
		return false;
	if (!ipc_pair(fds)) {
		tell_forked(slot);
		return false;
	}
	slot->pid = login_fork();
	if (slot->pid == 0)
		all->ops->child(slot, fds[1]);
	(void)close(fds[1]);
	tell_forked(slot);
	if (slot->pid == -1) {
		(void)close(fds[0]);
		return false;
	}
	/* Without memory for it the worker sees its end, and ends. */
	slot->conn = ipc_conn_new(all->daemon->base, fds[0], all->daemon->name, OUT_MAX, &conn_ops, slot);
	return true;
}

static void
died(struct login_slot *slot, int status)
{
	struct login_workers *all = slot->workers;
	uint64_t now = now_mono_usec();
	char how[64];

	slot->pid = -1;
	ipc_conn_free(slot->conn);
	slot->conn = NULL;
	if (all->ops->died != NULL)
		all->ops->died(slot);
	login_limits_reset(all->limits, slot->number);
	if (all->draining)
		return;
	log_say(LOG_LEVEL_ERROR, "%s %u died: %s", all->ops->what, slot->number, login_death(status, how, sizeof(how)));
	if (!all->ready)	/* a start that fails is told to who started us */
		daemon_end(all->daemon, WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EX_OSERR);
	slot->young = now - slot->started_usec < AGAIN_USEC ? slot->young + 1 : 0;
	if (all->ready && (slot->young > 1 || !start(slot)))
		slot->again_usec = now + AGAIN_USEC;
}

static struct login_slot *
slot_of(const struct login_workers *all, pid_t pid)
{
	for (unsigned i = 0; i < all->n; i++)
		if (all->slot[i]->pid == pid)
			return all->slot[i];
	return NULL;
}

static void
on_child(evutil_socket_t number, short what, void *arg)
{
	struct login_workers *all = arg;
	struct login_slot *slot;
	int status;
	pid_t pid;

	(void)number;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		slot = slot_of(all, pid);
		if (slot != NULL)
			died(slot, status);
		else if (all->ops->other_died != NULL)
			all->ops->other_died(all->ctx, pid, status);
	}
	login_workers_end_if_done(all);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct login_workers *all = arg;
	uint64_t now = now_mono_usec();

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < all->n && !all->draining; i++) {
		struct login_slot *slot = all->slot[i];

		if (slot->again_usec != 0 && slot->again_usec <= now && !start(slot))
			slot->again_usec = now + AGAIN_USEC;
	}
	all->ops->tick(all->ctx, now);
}

void
login_workers_init(struct login_workers *all)
{
	struct daemon *d = all->daemon;

	if (all->limits == NULL ||
	    event_assign(&all->ev_child, d->base, SIGCHLD, EV_SIGNAL | EV_PERSIST, on_child, all) != 0 ||
	    event_add(&all->ev_child, NULL) != 0 ||
	    event_assign(&all->ev_tick, d->base, -1, EV_PERSIST, on_tick, all) != 0 ||
	    event_add(&all->ev_tick, &(struct timeval){ .tv_sec = 1 }) != 0)
		log_fatal(EX_OSERR, "no memory");
}

void
login_workers_add(struct login_workers *all, struct login_slot *slot)
{
	*slot = (struct login_slot){ .workers = all, .number = all->n, .pid = -1 };
	all->slot[all->n++] = slot;
}

void
login_workers_start(struct login_workers *all)
{
	for (unsigned i = 0; i < all->n; i++)
		if (!start(all->slot[i]))
			log_fatal(EX_OSERR, "cannot fork: %s", strerror(errno));
}

/* ---- orders, the end ---- */

void
login_workers_order(struct login_slot *slot, enum ipc_front_action action, int fd)
{
	const struct ipc_front_do m = { .action = (uint8_t)action };

	if (slot->conn != NULL)
		(void)IPC_CONN_SEND(slot->conn, front_do, &m, fd);
	else if (fd != -1)
		(void)close(fd);
}

void
login_workers_order_all(struct login_workers *all, enum ipc_front_action action)
{
	for (unsigned i = 0; i < all->n; i++)
		login_workers_order(all->slot[i], action, -1);
}

static bool
children_left(const struct login_workers *all)
{
	for (unsigned i = 0; i < all->n; i++)
		if (all->slot[i]->pid != -1)
			return true;
	return all->ops->others_left != NULL && all->ops->others_left(all->ctx);
}

void
login_workers_end_if_done(struct login_workers *all)
{
	if (all->draining && !children_left(all))
		daemon_end(all->daemon, 0);
}

/* Who does not listen any more leaves no connection waiting either. */
void
login_workers_wind_down(struct login_workers *all, enum ipc_front_action action)
{
	all->draining = true;
	daemon_close_sockets(all->daemon);
	login_workers_order_all(all, action);
	login_workers_end_if_done(all);
}

static void
on_time_up(evutil_socket_t fd, short what, void *arg)
{
	struct login_workers *all = arg;

	(void)fd;
	(void)what;
	for (unsigned i = 0; i < all->n; i++)
		if (all->slot[i]->pid != -1)
			(void)kill(all->slot[i]->pid, SIGKILL);
	if (all->ops->kill_others != NULL)
		all->ops->kill_others(all->ctx);
}

void
login_workers_end(struct login_workers *all)
{
	struct event timer;

	all->draining = true;
	if (event_assign(&timer, all->daemon->base, -1, 0, on_time_up, all) != 0 ||
	    event_add(&timer, &(struct timeval){ .tv_sec = END_S }) != 0)
		on_time_up(-1, 0, all);
	while (children_left(all) && event_base_loop(all->daemon->base, EVLOOP_ONCE) == 0)
		;
	(void)event_del(&timer);
}
