/* user_process: see the header. */
#include "login/user_process.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc.h"
#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"
#include "store/store.h"

#define EX_OSERR	71
#define OUT_MAX		(256 * 1024)	/* octets of reports that may wait for the parent */
#define END_S		2		/* for last words, when everybody has to go */

struct user_process {
	struct daemon		*daemon;
	const struct user_proto	*proto;
	const struct user_mailbox *mailbox;
	struct event_base	*base;
	struct ipc_conn		*parent;	/* NULL: gone, or it wants no more */
	struct event		*sigterm, *end_timer;
	void			*ctx;		/* the protocol's */
	unsigned		 count;		/* sessions open now */
	uint32_t		 received;	/* user_session frames so far */
	bool			 ending;
};

struct event_base *
user_process_base(const struct user_process *u)
{
	return u->base;
}

const struct conf *
user_process_conf(const struct user_process *u)
{
	return &u->daemon->conf;
}

const char *
user_process_user(const struct user_process *u)
{
	return u->mailbox->user;
}

uint64_t
user_process_quota(const struct user_process *u)
{
	return u->mailbox->quota;
}

unsigned
user_process_sessions(const struct user_process *u)
{
	return u->count;
}

bool
user_process_watch(struct user_process *u, uint32_t number, int folder)
{
	const struct ipc_user_watch m = { .number = number };
	int fd;

	if (u->parent == NULL || u->ending)
		return false;
	fd = fcntl(folder, F_DUPFD_CLOEXEC, 3);
	return fd != -1 && IPC_CONN_SEND(u->parent, user_watch, &m, fd);
}

static void
report(struct user_process *u)
{
	const struct ipc_user_sessions m = { .count = u->count, .received = u->received };

	if (u->parent != NULL)
		(void)IPC_CONN_SEND(u->parent, user_sessions, &m, -1);
}

static void
end_if_done(struct user_process *u)
{
	if (u->ending && u->count == 0)
		(void)event_base_loopexit(u->base, NULL);
}

void
user_process_ended(struct user_process *u)
{
	u->count--;
	report(u);
	end_if_done(u);
}

bool
user_process_park(struct user_process *u, const struct user_parked *parked)
{
	const struct ipc_user_park m = {
		.number = parked->number, .client_address = parked->client_address, .session = parked->session,
		.tls = parked->tls, .wake_s = parked->wake_s, .octets_in = parked->octets_in,
		.octets_out = parked->octets_out, .state = parked->state,
	};

	if (u->parent == NULL || u->ending) {
		(void)close(parked->fd);
		return false;
	}
	if (!IPC_CONN_SEND(u->parent, user_park, &m, parked->fd))
		return false;
	user_process_ended(u);
	return true;
}

/* ---- the parent's frames ---- */

static void
end_all(struct user_process *u)
{
	const struct timeval tv = { .tv_sec = END_S };

	if (u->ending)
		return;
	u->ending = true;
	if (u->count != 0)
		u->proto->end(u->ctx);
	(void)event_add(u->end_timer, &tv);
	end_if_done(u);
}

static void
take(struct user_process *u, struct user_session *s)
{
	u->received++;
	u->count++;
	s->number = u->received;
	if (u->ending || !u->proto->session(u->ctx, s)) {
		(void)close(s->fd);
		u->count--;
	}
	report(u);
}

static bool
take_session(struct user_process *u, struct slice frame, int passed)
{
	struct ipc_user_session m;
	struct user_session s;

	if (passed == -1 || !ipc_get_user_session(frame, &m))
		return false;
	s = (struct user_session){ .fd = passed, .greeting = m.greeting, .client_address = m.client_address,
		.session = m.session, .tls = m.tls != 0 };
	take(u, &s);
	return true;
}

static bool
take_resume(struct user_process *u, struct slice frame, int passed)
{
	struct ipc_user_resume m;
	struct user_session s;

	if (passed == -1 || !ipc_get_user_resume(frame, &m) || m.state.len == 0)
		return false;
	s = (struct user_session){ .fd = passed, .client_address = m.client_address, .session = m.session,
		.tls = m.tls != 0, .parked = m.state, .expired = m.expired != 0,
		.octets_in = m.octets_in, .octets_out = m.octets_out };
	take(u, &s);
	return true;
}

static bool
take_watched(struct user_process *u, struct slice frame)
{
	struct ipc_user_watched m;

	if (u->proto->watched == NULL || !ipc_get_user_watched(frame, &m))
		return false;
	u->proto->watched(u->ctx, m.number, m.verdict == OK);
	return true;
}

static bool
take_end(struct user_process *u, struct slice frame)
{
	struct ipc_user_end m;

	if (!ipc_get_user_end(frame, &m))
		return false;
	end_all(u);
	return true;
}

static bool
parent_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct user_process *u = ctx;
	uint16_t code = 0;
	bool fine = false;

	(void)c;
	(void)ipc_code(frame, &code);
	if (code == IPC_user_session)
		fine = take_session(u, frame, passed);
	else if (code == IPC_user_resume)
		fine = take_resume(u, frame, passed);
	else if (passed == -1 && code == IPC_user_watched)
		fine = take_watched(u, frame);
	else if (passed == -1 && code == IPC_user_end)
		fine = take_end(u, frame);
	if (!fine && passed != -1)
		(void)close(passed);
	return fine;
}

/* It closes when this process has nothing to do; with sessions open it is dead. */
static void
parent_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct user_process *u = ctx;

	if (u->count != 0)
		log_say(LOG_LEVEL_WARNING, "%s: the parent has gone (%s)", u->mailbox->user, why);
	ipc_conn_free(c);
	u->parent = NULL;
	end_all(u);
}

static const struct ipc_conn_ops parent_ops = { .frame = parent_frame, .closed = parent_closed };

static void
on_sigterm(int fd, short what, void *arg)
{
	struct user_process *u = arg;

	(void)fd;
	(void)what;
	end_all(u);
}

static void
time_is_up(int fd, short what, void *arg)
{
	struct user_process *u = arg;

	(void)fd;
	(void)what;
	(void)event_base_loopbreak(u->base);
}

/* ---- the start ---- */

static int
open_below(const struct user_mailbox *m, int mail_dirfd)
{
	char path[sizeof(m->home) + sizeof("/Maildir")];
	int home, fd;

	if (!m->system) {
		(void)snprintf(path, sizeof(path), "%s/Maildir", m->home);
		return store_dir(mail_dirfd, path, true);
	}
	home = open(m->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (home == -1)
		return -1;
	fd = store_dir(home, "Maildir", true);
	(void)close(home);
	return fd;
}

/*
 * The user's Maildir, opened with the user's own rights: root never walks
 * through folders that others may write to.  The uid is given up for good a
 * moment later by confine_apply(), which still needs to be root for it.
 */
static int
open_maildir(const struct user_mailbox *m, int mail_dirfd)
{
	bool root = m->uid != (uid_t)-1;
	int fd, error;

	if (root && (setgroups(0, NULL) != 0 || setresgid((gid_t)-1, m->gid, (gid_t)-1) != 0 ||
	    setresuid((uid_t)-1, m->uid, (uid_t)-1) != 0))
		log_fatal(EX_OSERR, "%s: cannot become uid %u: %s", m->user, m->uid, strerror(errno));
	fd = open_below(m, mail_dirfd);
	error = errno;
	if (root && (setresuid((uid_t)-1, 0, (uid_t)-1) != 0 || setresgid((gid_t)-1, 0, (gid_t)-1) != 0))
		log_fatal(EX_OSERR, "%s: cannot go back: %s", m->user, strerror(errno));
	if (fd == -1)
		log_fatal(EX_OSERR, "%s: cannot open %s/Maildir: %s", m->user, m->home, strerror(error));
	return fd;
}

static void
connect_parent(struct user_process *u, int control_fd)
{
	u->base = u->daemon->base;
	u->sigterm = event_new(u->base, login_sigterm_fd(), EV_READ, on_sigterm, u);
	u->end_timer = event_new(u->base, -1, 0, time_is_up, u);
	u->parent = ipc_conn_new(u->base, control_fd, u->proto->program, OUT_MAX, &parent_ops, u);
	if (u->sigterm == NULL || event_add(u->sigterm, NULL) != 0 || u->end_timer == NULL || u->parent == NULL)
		log_fatal(EX_OSERR, "%s: no memory", u->mailbox->user);
}

int
user_process_confine(struct daemon *d, const struct user_proto *proto,
    const struct user_mailbox *mailbox, int mail_dirfd)
{
	struct confine c = { .kind = proto->kind, .uid = mailbox->uid, .gid = mailbox->gid };
	int maildir_fd = open_maildir(mailbox, mail_dirfd);

	(void)close(mail_dirfd);
	(void)confine_path(&c, maildir_fd, ACCESS_WRITE);
	daemon_confine(d, &c);
	return maildir_fd;
}

void
user_process_run(struct daemon *d, const struct user_proto *proto,
    const struct user_mailbox *mailbox, int mail_dirfd, int control_fd)
{
	const int keep[] = { mail_dirfd, control_fd };
	struct user_process u = { .daemon = d, .proto = proto, .mailbox = mailbox };
	int maildir_fd;

	login_child(d, proto->program, keep, LEN(keep));
	connect_parent(&u, control_fd);
	maildir_fd = user_process_confine(d, proto, mailbox, mail_dirfd);
	u.ctx = proto->open(&u, maildir_fd);
	if (u.ctx == NULL)
		log_fatal(EX_OSERR, "%s: the mailbox cannot be opened", mailbox->user);
	report(&u);
	(void)event_base_dispatch(u.base);
	if (proto->close != NULL)
		proto->close(u.ctx);
	_exit(0);
}
