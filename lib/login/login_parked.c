/*
 * login_parked: sessions that wait and have no process meanwhile.
 *
 *	user's process: user_watch(folder) -> we watch new/ and cur/ of it
 *	  -> user_watched; the process looks once more whether all was told
 *	user's process: user_park(socket, state) -> we keep both
 *	input on the socket, a change of the folder, or time: user_resume, to the
 *	user's process or a new one
 *
 * We are told that there is something to read and never read it.  One inotify
 * instance serves all; a folder is entered with the user's own rights.  What
 * the process did between user_watch and user_park may wake the session once
 * for nothing; nothing is ever missed.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ipc_conn.h"
#include "log.h"
#include "log_events.h"
#include "login/login_parent.h"

#define CHANGES	(IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | \
		 IN_ONLYDIR | IN_DONT_FOLLOW)

/* A folder's new/ or cur/; kept in a tree by the kernel's number. */
struct login_watch {
	int			 wd;
	LIST_HEAD(, login_seat)	 seats;
};

/* A session's place at a watch. */
struct login_seat {
	LIST_ENTRY(login_seat)	 entry;
	struct login_watch	*watch;		/* NULL: none */
	struct login_parked	*parked;
};

struct login_parked {
	TAILQ_ENTRY(login_parked) entry;
	struct login_parent	*parent;
	struct login_user	*user;		/* whose user_park is still to come; NULL: it is parked */
	uint32_t		 number;	/* of the session in that process */
	struct login_seat	 seat[2];
	bool			 changed;	/* before it was parked */
	bool			 tls;
	int			 fd;		/* of the session; -1: not parked yet */
	struct event		*input;
	uint64_t		 wake_usec;	/* monotonic */
	uint64_t		 octets_in, octets_out;
	struct login_mailbox	*mailbox;	/* one reference */
	char			 session[33], client[65];
	size_t			 state_len;
	char			 state[];
};

/* ---- watches ---- */

static int
by_wd(const void *a, const void *b)
{
	int x = ((const struct login_watch *)a)->wd, y = ((const struct login_watch *)b)->wd;

	return (x > y) - (x < y);
}

static void
seat_leave(struct login_parked *k, struct login_seat *seat)
{
	struct login_parking *all = &k->parent->users.parking;
	struct login_watch *w = seat->watch;

	if (w == NULL)
		return;
	LIST_REMOVE(seat, entry);
	seat->watch = NULL;
	if (!LIST_EMPTY(&w->seats))
		return;
	(void)inotify_rm_watch(all->inotify_fd, w->wd);
	(void)tdelete(w, &all->by_wd, by_wd);
	free(w);
}

static bool
seat_take(struct login_parked *k, struct login_seat *seat, const char *name)
{
	struct login_parking *all = &k->parent->users.parking;
	struct login_watch key = { .wd = inotify_add_watch(all->inotify_fd, name, CHANGES) };
	struct login_watch **found, *w;

	if (key.wd == -1)
		return false;
	found = tsearch(&key, &all->by_wd, by_wd);
	if (found == NULL) {
		(void)inotify_rm_watch(all->inotify_fd, key.wd);
		return false;
	}
	if (*found == &key) {
		w = malloc(sizeof(*w));
		if (w == NULL) {
			(void)tdelete(&key, &all->by_wd, by_wd);
			(void)inotify_rm_watch(all->inotify_fd, key.wd);
			return false;
		}
		w->wd = key.wd;
		LIST_INIT(&w->seats);
		*found = w;
	}
	seat->watch = *found;
	LIST_INSERT_HEAD(&seat->watch->seats, seat, entry);
	return true;
}

/* Act as the user, or as ourselves again; false: we cannot (or need not and did not). */
static bool
become(const struct login_user *u, bool user)
{
	if (u->uid == (uid_t)-1)
		return true;
	if (!user)
		return setresuid((uid_t)-1, 0, (uid_t)-1) == 0 && setresgid((gid_t)-1, 0, (gid_t)-1) == 0;
	return setresgid((gid_t)-1, u->gid, (gid_t)-1) == 0 && setresuid((uid_t)-1, u->uid, (uid_t)-1) == 0;
}

/* inotify takes a path: from within the folder, with the user's rights. */
static bool
watch_folder(struct login_parked *k, const struct login_user *u, int folder)
{
	int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool fine = back != -1 && become(u, true) && fchdir(folder) == 0 && seat_take(k, &k->seat[0], "new") &&
	    seat_take(k, &k->seat[1], "cur");

	if (!become(u, false))
		log_fatal(71, "cannot be root again: %s", strerror(errno));
	if (back != -1) {
		fine = fchdir(back) == 0 && fine;
		(void)close(back);
	}
	return fine;
}

/* ---- sessions ---- */

static void
parked_free(struct login_parked *k)
{
	struct login_parking *all = &k->parent->users.parking;

	for (size_t i = 0; i < LEN(k->seat); i++)
		seat_leave(k, &k->seat[i]);
	if (k->input != NULL)
		event_free(k->input);
	if (k->fd != -1)
		(void)close(k->fd);
	login_mailbox_free(k->mailbox);
	TAILQ_REMOVE(&all->all, k, entry);
	if (k->user == NULL)
		all->n--;
	free(k);
}

static void
ended(struct login_parked *k, const char *why)
{
	log_session_end(k->parent->user_proto->program, login_mailbox_user(k->mailbox), slice_of(k->session), why,
	    k->octets_in, k->octets_out);
	parked_free(k);
}

/* Back to a process of the user. */
static void
resume(struct login_parked *k, bool expired)
{
	const struct ipc_user_resume m = {
		.client_address = slice_of(k->client), .session = slice_of(k->session), .tls = k->tls, .expired = expired,
		.octets_in = k->octets_in, .octets_out = k->octets_out, .state = slice_make(k->state, k->state_len),
	};
	int fd = k->fd;
	struct login_user *u = login_mailbox_process(k->parent, k->mailbox);

	if (u == NULL) {
		ended(k, "No process for the user");
		return;
	}
	event_free(k->input);
	k->input = NULL;
	k->fd = -1;
	if (IPC_CONN_SEND(u->conn, user_resume, &m, fd)) {
		login_user_sent(u);
		parked_free(k);
	} else
		ended(k, "The user's process does not listen");
}

/* Input, or the client has gone: that needs no process. */
static void
on_input(evutil_socket_t fd, short what, void *ctx)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	struct login_parked *k = ctx;
	int waiting = 0;

	(void)what;
	if (poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0 &&
	    ioctl(fd, FIONREAD, &waiting) == 0 && waiting == 0)
		ended(k, "Connection closed");
	else
		resume(k, false);
}

/* One that is parked in that folder; those that will be are told. */
static struct login_parked *
parked_at(struct login_parking *all, int wd)
{
	struct login_watch key = { .wd = wd }, **found = tfind(&key, &all->by_wd, by_wd);
	struct login_seat *seat;

	if (found == NULL)
		return NULL;
	LIST_FOREACH(seat, &(*found)->seats, entry) {
		if (seat->parked->user == NULL)
			return seat->parked;
		seat->parked->changed = true;
	}
	return NULL;
}

static void
watch_fired(struct login_parking *all, int wd)
{
	struct login_parked *k;

	while ((k = parked_at(all, wd)) != NULL)
		resume(k, false);	/* it is gone then, and its watch if it was the last */
}

static void
on_inotify(evutil_socket_t fd, short what, void *ctx)
{
	_Alignas(struct inotify_event) char events[8192];
	struct login_parent *p = ctx;
	struct login_parked *k, *next;
	ssize_t n;

	(void)what;
	while ((n = read(fd, events, sizeof(events))) > 0) {
		for (ssize_t at = 0; at < n; ) {
			const struct inotify_event *e = (const void *)(events + at);

			at += (ssize_t)(sizeof(*e) + e->len);
			if ((e->mask & IN_Q_OVERFLOW) != 0) {	/* anything may have changed */
				for (k = TAILQ_FIRST(&p->users.parking.all); k != NULL; k = next) {
					next = TAILQ_NEXT(k, entry);
					if (k->user == NULL)
						resume(k, false);
				}
			} else if ((e->mask & IN_IGNORED) == 0)
				watch_fired(&p->users.parking, e->wd);
		}
	}
}

/* ---- frames of users' processes ---- */

static struct login_parked *
parked_new(struct login_user *u, uint32_t number, size_t state_len)
{
	struct login_parked *k = calloc(1, sizeof(*k) + state_len);

	if (k == NULL)
		return NULL;
	k->parent = u->parent;
	k->user = u;
	k->number = number;
	k->fd = -1;
	k->state_len = state_len;
	k->mailbox = login_mailbox_ref(u->mailbox);
	for (size_t i = 0; i < LEN(k->seat); i++)
		k->seat[i].parked = k;
	TAILQ_INSERT_TAIL(&u->parent->users.parking.all, k, entry);
	return k;
}

/* The one that this process is about to park. */
static struct login_parked *
expected(const struct login_user *u, uint32_t number)
{
	struct login_parked *k;

	TAILQ_FOREACH_REVERSE(k, &u->parent->users.parking.all, login_parked_list, entry)
		if (k->user == u && k->number == number)
			return k;
	return NULL;
}

bool
login_parked_watch(struct login_user *u, struct slice frame, int folder)
{
	struct ipc_user_watched answer = { .verdict = TEMP };
	struct login_parked *k = NULL;
	struct ipc_user_watch m;

	if (folder == -1 || !ipc_get_user_watch(frame, &m) || expected(u, m.number) != NULL)
		return false;
	if (u->parent->users.parking.inotify_fd != -1 && !u->parent->draining)
		k = parked_new(u, m.number, 0);
	if (k != NULL && !watch_folder(k, u, folder)) {
		parked_free(k);
		k = NULL;
	}
	(void)close(folder);
	answer.number = m.number;
	if (k != NULL)
		answer.verdict = OK;
	return IPC_CONN_SEND(u->conn, user_watched, &answer, -1);
}

/* What was watched for it goes over to the session that is parked. */
static void
take_seats(struct login_parked *k, struct login_parked *watched)
{
	for (size_t i = 0; i < LEN(k->seat); i++) {
		struct login_watch *w = watched->seat[i].watch;

		if (w == NULL)
			continue;
		k->seat[i].watch = w;
		LIST_INSERT_HEAD(&w->seats, &k->seat[i], entry);
	}
	k->changed = watched->changed;
	parked_free(watched);
}

bool
login_parked_keep(struct login_user *u, struct slice frame, int fd)
{
	struct login_parked *k, *watched;
	struct ipc_user_park m;

	if (fd == -1 || !ipc_get_user_park(frame, &m) || m.state.len == 0)
		return false;
	watched = expected(u, m.number);
	k = parked_new(u, m.number, m.state.len);
	if (k == NULL) {
		(void)close(fd);	/* the client has to come again */
		return true;
	}
	k->fd = fd;
	k->tls = m.tls != 0;
	k->wake_usec = now_mono_usec() + (uint64_t)m.wake_s * 1000000;
	k->octets_in = m.octets_in;
	k->octets_out = m.octets_out;
	(void)slice_text(m.session, k->session, sizeof(k->session));
	(void)slice_text(m.client_address, k->client, sizeof(k->client));
	memcpy(k->state, m.state.ptr, m.state.len);
	k->user = NULL;
	u->parent->users.parking.n++;
	u->parked = true;
	if (watched != NULL)
		take_seats(k, watched);
	k->input = event_new(u->parent->daemon->base, fd, EV_READ, on_input, k);
	if (k->input == NULL || event_add(k->input, NULL) != 0)
		ended(k, "No memory");
	else if (k->changed)
		resume(k, false);
	return true;
}

void
login_parked_forget(struct login_user *u)
{
	struct login_parked *k, *next;

	for (k = TAILQ_FIRST(&u->parent->users.parking.all); k != NULL; k = next) {
		next = TAILQ_NEXT(k, entry);
		if (k->user == u)
			parked_free(k);
	}
}

/* ---- for login_parent.c and login_users.c ---- */

void
login_parked_init(struct login_parent *p)
{
	struct login_parking *all = &p->users.parking;

	TAILQ_INIT(&all->all);
	all->inotify_fd = -1;
	if (p->user_proto->watched == NULL || p->connection.rfd != -1)
		return;
	all->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (all->inotify_fd == -1) {
		log_say(LOG_LEVEL_WARNING, "no inotify, so idle sessions keep their processes: %s", strerror(errno));
		return;
	}
	all->changes = event_new(p->daemon->base, all->inotify_fd, EV_READ | EV_PERSIST, on_inotify, p);
	if (all->changes == NULL || event_add(all->changes, NULL) != 0)
		log_fatal(71, "no memory");
}

void
login_parked_tick(struct login_parent *p, uint64_t now_usec)
{
	struct login_parked *k, *next;

	for (k = TAILQ_FIRST(&p->users.parking.all); k != NULL; k = next) {
		next = TAILQ_NEXT(k, entry);
		if (k->user == NULL && k->wake_usec <= now_usec)
			resume(k, true);
	}
}

void
login_parked_end(struct login_parent *p)
{
	const char *bye = p->user_proto->parked_bye;
	struct login_parked *k, *next;

	for (k = TAILQ_FIRST(&p->users.parking.all); k != NULL; k = next) {
		next = TAILQ_NEXT(k, entry);
		if (k->user != NULL)
			continue;
		if (write(k->fd, bye, strlen(bye)) == -1 && errno != EAGAIN && errno != EPIPE)
			log_say(LOG_LEVEL_DEBUG, "%s: %s", k->client, strerror(errno));
		ended(k, "Server is shutting down");
	}
}
