/*
 * login_users: from a front's session_start to a session in the user's process.
 *
 *	front: session_start(ticket)
 *	  -> auth-ticket: ticket_redeem, ticket_mailbox: who, where, which uid
 *	  -> the user's process, running or forked now: user_session + socket
 *	  -> it confirms by user_sessions(received)
 *	front: session_started + the other end of the socket pair
 *
 * Whatever fails on the way, or takes too long, is a TEMP to the front.
 *
 * A process that reported 0 sessions for long enough is told to end by closing
 * its frame socket, and is off the table from then on.  The report counts only
 * if it knows of all sessions sent (received == sent), so a session that is on
 * its way is never lost to an idle end.
 */
#include <errno.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc_conn.h"
#include "log.h"
#include "login/login_child.h"
#include "login/login_parent.h"

#define SOCKET		"auth-ticket"
#define OUT_MAX		(512 * 1024)	/* octets of frames that may wait for a peer */
#define STARTS_MAX	4096
#define START_USEC	20000000	/* for all of it */
#define HUNG_USEC	120000000	/* a process that confirms nothing, or does not end, is killed */
#define USER_SESSIONS	100		/* of one user, at once */

/* ---- the answer ---- */

static void
start_done(struct login_parent *p, struct login_start *s, enum verdict verdict)
{
	struct ipc_session_started m = { .id = s->front_id, .verdict = (uint8_t)verdict };
	struct ipc_conn *front = s->worker == NULL ? NULL : s->worker->slot.conn;

	if (verdict == OK)
		m.pid = (uint32_t)s->user->pid;
	if (front != NULL) {	/* takes over the descriptor */
		(void)IPC_CONN_SEND(front, session_started, &m, verdict == OK ? s->front_fd : -1);
		if (verdict == OK)
			s->front_fd = -1;
	}
	if (s->front_fd != -1)
		(void)close(s->front_fd);
	TAILQ_REMOVE(&p->users.starts, s, entry);
	p->users.starts_n--;
	buf_clear(&s->frame);
	free(s);
}

/* ---- users' processes ---- */

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct login_user *)a)->name, ((const struct login_user *)b)->name);
}

/* It takes no more sessions; those it has not confirmed will not come. */
static void
user_close(struct login_user *u)
{
	struct login_parent *p = u->parent;
	struct login_start *s, *next;

	if (u->conn == NULL)
		return;
	(void)tdelete(u, &p->users.by_name, by_name);
	login_parked_forget(u);
	ipc_conn_free(u->conn);
	u->conn = NULL;
	u->changed_usec = now_mono_usec();
	for (s = TAILQ_FIRST(&p->users.starts); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->user == u)
			start_done(p, s, TEMP);
	}
}

static void
user_confirmed(struct login_user *u)
{
	struct login_parent *p = u->parent;
	struct login_start *s, *next;

	for (s = TAILQ_FIRST(&p->users.starts); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->user == u && s->number <= u->received)
			start_done(p, s, OK);
	}
}

static bool
is_idle(const struct login_user *u)
{
	return u->conn != NULL && u->count == 0 && u->received == u->sent;
}

static bool
user_report(struct login_user *u, struct slice frame)
{
	const struct login_parent *p = u->parent;
	struct ipc_user_sessions m;

	if (!ipc_get_user_sessions(frame, &m) || m.received > u->sent || m.count > m.received)
		return false;
	u->received = m.received;
	u->count = m.count;
	u->changed_usec = now_mono_usec();
	user_confirmed(u);
	if (is_idle(u) && (p->draining || u->parked || p->daemon->conf.user_process_idle_s == 0))
		user_close(u);
	return true;
}

static bool
user_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct login_user *u = ctx;
	uint16_t code = 0;
	bool fine = false;

	(void)c;
	(void)ipc_code(frame, &code);
	if (code == IPC_user_watch)
		fine = login_parked_watch(u, frame, passed);
	else if (code == IPC_user_park)
		fine = login_parked_keep(u, frame, passed);
	else if (passed == -1)
		fine = user_report(u, frame);
	if (!fine && passed != -1)
		(void)close(passed);
	return fine;
}

static void
user_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	(void)c;
	(void)why;
	user_close(ctx);	/* on_sigchld() says how it died */
}

static const struct ipc_conn_ops user_ops = { .frame = user_frame, .closed = user_closed };

static _Noreturn void
run_child(struct login_parent *p, const struct ipc_ticket_mailbox *m, int control_fd)
{
	static struct user_mailbox mailbox;

	if (!slice_text(m->user, mailbox.user, sizeof(mailbox.user)) ||
	    !slice_text(m->home, mailbox.home, sizeof(mailbox.home)))
		_exit(1);
	mailbox.system = m->system != 0;
	mailbox.uid = m->uid == UINT32_MAX ? p->users.vmail_uid : m->uid;
	mailbox.gid = m->uid == UINT32_MAX ? p->users.vmail_gid : m->gid;
	if (p->users.vmail_uid == (uid_t)-1)
		mailbox.uid = mailbox.gid = (uid_t)-1;
	mailbox.quota = m->quota;
	user_process_run(p->daemon, p->user_proto, &mailbox, p->users.mail_dirfd, control_fd);
}

/* May the suite act as that uid?  Never as root; not started as root, as nobody but itself. */
static bool
uid_allowed(const struct login_users *users, const struct ipc_ticket_mailbox *m)
{
	if (m->system && m->uid == UINT32_MAX)
		return false;
	if (users->vmail_uid == (uid_t)-1)
		return !m->system || m->uid == geteuid();
	return m->uid != 0 && (m->uid == UINT32_MAX || (m->gid != 0 && m->gid != UINT32_MAX));
}

static struct login_mailbox *
mailbox_new(const struct ipc_ticket_mailbox *m)
{
	struct login_mailbox *mailbox = NULL;
	struct buf frame;

	buf_init(&frame, IPC_FRAME_MAX);
	if (ipc_put_ticket_mailbox(&frame, m) && (mailbox = malloc(sizeof(*mailbox) + frame.len)) != NULL) {
		mailbox->refs = 1;
		mailbox->len = frame.len;
		memcpy(mailbox->frame, frame.ptr, frame.len);
	}
	buf_clear(&frame);
	return mailbox;
}

struct login_mailbox *
login_mailbox_ref(struct login_mailbox *m)
{
	m->refs++;
	return m;
}

void
login_mailbox_free(struct login_mailbox *m)
{
	if (m != NULL && --m->refs == 0)
		free(m);
}

struct slice
login_mailbox_user(const struct login_mailbox *m)
{
	struct ipc_ticket_mailbox t;

	return ipc_get_ticket_mailbox(slice_make(m->frame, m->len), &t) ? t.user : slice_of("");
}

static void
user_free(struct login_user *u)
{
	login_mailbox_free(u->mailbox);
	free(u);
}

static struct login_user *
user_fork(struct login_parent *p, const struct ipc_ticket_mailbox *m)
{
	struct login_user *u = calloc(1, sizeof(*u));
	int fds[2];

	if (u == NULL)
		return NULL;
	u->mailbox = mailbox_new(m);
	if (u->mailbox == NULL || !slice_text(m->user, u->name, sizeof(u->name)) || !ipc_pair(fds)) {
		user_free(u);
		return NULL;
	}
	u->uid = p->users.vmail_uid == (uid_t)-1 || m->uid == UINT32_MAX ? p->users.vmail_uid : m->uid;
	u->gid = u->uid == p->users.vmail_uid ? p->users.vmail_gid : m->gid;
	u->pid = login_fork();
	if (u->pid == 0)
		run_child(p, m, fds[1]);
	(void)close(fds[1]);
	if (u->pid == -1) {
		(void)close(fds[0]);
		user_free(u);
		return NULL;
	}
	u->parent = p;
	u->changed_usec = now_mono_usec();
	LIST_INSERT_HEAD(&p->users.all, u, entry);
	p->users.n++;
	u->conn = ipc_conn_new(p->daemon->base, fds[0], p->proto->program, OUT_MAX, &user_ops, u);
	if (u->conn == NULL)	/* the child sees that, and ends */
		return NULL;
	if (tsearch(u, &p->users.by_name, by_name) == NULL) {
		ipc_conn_free(u->conn);
		u->conn = NULL;
		return NULL;
	}
	return u;
}

/* The one that has been idle for longest makes room. */
static void
make_room(struct login_parent *p)
{
	struct login_user *u, *oldest = NULL;

	LIST_FOREACH(u, &p->users.all, entry)
		if (is_idle(u) && (oldest == NULL || u->changed_usec < oldest->changed_usec))
			oldest = u;
	if (oldest != NULL)
		user_close(oldest);
}

static struct login_user *
user_find(struct login_parent *p, const struct ipc_ticket_mailbox *m)
{
	struct login_user key, **found;

	if (!slice_text(m->user, key.name, sizeof(key.name)) || key.name[0] == '\0')
		return NULL;
	found = tfind(&key, &p->users.by_name, by_name);
	if (found != NULL)
		return *found;
	if (!uid_allowed(&p->users, m)) {
		log_say(LOG_LEVEL_ERROR, "%s: refusing to act as uid %u", key.name, m->uid);
		return NULL;
	}
	if (p->users.n >= p->users.max) {
		make_room(p);
		log_say(LOG_LEVEL_WARNING, "%u users' processes, no more are started", p->users.n);
		return NULL;
	}
	return user_fork(p, m);
}

void
login_user_sent(struct login_user *u)
{
	u->sent++;
	u->parked = false;
	u->changed_usec = now_mono_usec();
}

struct login_user *
login_mailbox_process(struct login_parent *p, const struct login_mailbox *mailbox)
{
	struct ipc_ticket_mailbox m;

	return ipc_get_ticket_mailbox(slice_make(mailbox->frame, mailbox->len), &m) ? user_find(p, &m) : NULL;
}

/* Hand the session to the user's process; false if that cannot be done now. */
static bool
give_session(struct login_parent *p, struct login_start *s, const struct ipc_ticket_mailbox *mailbox)
{
	struct login_user *u = user_find(p, mailbox);
	struct ipc_session_start start;
	struct ipc_user_session m;
	int fds[2];

	if (u == NULL || u->count + (u->sent - u->received) >= USER_SESSIONS ||
	    !ipc_get_session_start(buf_slice_of(&s->frame), &start) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return false;
	m = (struct ipc_user_session){ .greeting = start.greeting, .client_address = start.client_address,
		.session = start.session, .tls = start.tls };
	if (!IPC_CONN_SEND(u->conn, user_session, &m, fds[1])) {
		(void)close(fds[0]);
		return false;
	}
	login_user_sent(u);
	s->user = u;
	s->number = u->sent;
	s->front_fd = fds[0];
	return true;
}

/* ---- auth-ticket ---- */

static bool
ticket_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct login_parent *p = ctx;
	struct ipc_ticket_mailbox m;
	struct login_start *s;

	(void)c;
	if (passed != -1) {
		(void)close(passed);
		return false;
	}
	if (!ipc_get_ticket_mailbox(frame, &m))
		return false;
	TAILQ_FOREACH(s, &p->users.starts, entry)
		if (s->ticket_id == m.id && s->user == NULL)
			break;
	if (s == NULL)		/* it has taken too long */
		return true;
	if (m.verdict != OK)
		log_say(LOG_LEVEL_WARNING, "a ticket is unknown, used or too old");
	if (m.verdict != OK || !give_session(p, s, &m))
		start_done(p, s, TEMP);
	return true;
}

static void
ticket_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct login_parent *p = ctx;
	struct login_start *s;

	log_say(LOG_LEVEL_WARNING, "connection to auth lost: %s", why);
	ipc_conn_free(c);
	p->users.ticket = NULL;
	TAILQ_FOREACH(s, &p->users.starts, entry)
		s->asked = false;
}

static const struct ipc_conn_ops ticket_ops = { .frame = ticket_frame, .closed = ticket_closed };

static bool
ticket_connect(struct login_parent *p)
{
	int fd;

	if (p->users.ticket != NULL)
		return true;
	fd = ipc_connect(p->daemon->run_dirfd, SOCKET);
	if (fd == -1)
		return false;
	p->users.ticket = ipc_conn_new(p->daemon->base, fd, p->daemon->name, OUT_MAX, &ticket_ops, p);
	return p->users.ticket != NULL;
}

/* Ask for those that were not asked for yet; without a connection the tick tries again. */
static void
redeem(struct login_parent *p)
{
	struct login_start *s;

	TAILQ_FOREACH(s, &p->users.starts, entry) {
		struct ipc_session_start start;
		struct ipc_ticket_redeem m = { .id = s->ticket_id, .service = slice_of(p->proto->service) };

		if (s->asked || s->user != NULL)
			continue;
		if (!ticket_connect(p))
			return;
		if (!ipc_get_session_start(buf_slice_of(&s->frame), &start))
			continue;	/* it was checked when it came */
		m.ticket = start.ticket;
		s->asked = IPC_CONN_SEND(p->users.ticket, ticket_redeem, &m, -1);
	}
}

/* ---- for login_parent.c ---- */

void
login_users_init(struct login_users *u, const struct daemon *d, int mail_dirfd)
{
	*u = (struct login_users){ .max = d->conf.login_sessions, .mail_dirfd = mail_dirfd };
	LIST_INIT(&u->all);
	TAILQ_INIT(&u->starts);
	daemon_account(&d->conf, "vmail", &u->vmail_uid, &u->vmail_gid);
}

/* A session that cannot even begin. */
static void
refuse(struct login_worker *w, uint32_t id)
{
	const struct ipc_session_started m = { .id = id, .verdict = TEMP };

	(void)IPC_CONN_SEND(w->slot.conn, session_started, &m, -1);
}

bool
login_users_start(struct login_worker *w, struct slice frame)
{
	struct login_parent *p = w->parent;
	struct ipc_session_start m;
	struct login_start *s;

	if (!ipc_get_session_start(frame, &m) || m.id == 0)
		return false;
	s = p->users.starts_n >= STARTS_MAX || p->ending ? NULL : calloc(1, sizeof(*s));
	if (s == NULL) {
		refuse(w, m.id);
		return true;
	}
	s->worker = w;
	s->front_id = m.id;
	s->front_fd = -1;
	s->until_usec = now_mono_usec() + START_USEC;
	s->ticket_id = ++p->users.last_ticket_id;
	buf_init(&s->frame, IPC_FRAME_MAX);
	TAILQ_INSERT_TAIL(&p->users.starts, s, entry);
	p->users.starts_n++;
	if (!buf_slice(&s->frame, frame))
		start_done(p, s, TEMP);
	else
		redeem(p);
	return true;
}

void
login_users_forget(struct login_worker *w)
{
	struct login_start *s;

	TAILQ_FOREACH(s, &w->parent->users.starts, entry)
		if (s->worker == w)
			s->worker = NULL;
}

bool
login_users_died(struct login_parent *p, pid_t pid, int status)
{
	struct login_user *u;
	char how[64];

	LIST_FOREACH(u, &p->users.all, entry)
		if (u->pid == pid)
			break;
	if (u == NULL)
		return false;
	if (status != 0)
		log_say(LOG_LEVEL_ERROR, "process %d of %s died: %s, with %u sessions", (int)pid, u->name,
		    login_death(status, how, sizeof(how)), u->count);
	user_close(u);
	LIST_REMOVE(u, entry);
	p->users.n--;
	user_free(u);
	return true;
}

void
login_users_tick(struct login_parent *p, uint64_t now_usec)
{
	uint64_t idle_usec = p->draining ? 0 : (uint64_t)p->daemon->conf.user_process_idle_s * 1000000;
	struct login_start *s, *next;
	struct login_user *u;

	redeem(p);
	for (s = TAILQ_FIRST(&p->users.starts); s != NULL && s->until_usec <= now_usec; s = next) {
		next = TAILQ_NEXT(s, entry);
		log_say(LOG_LEVEL_WARNING, s->user == NULL ? "auth has not redeemed a ticket in time" :
		    "a user's process has not taken a session in time");
		start_done(p, s, TEMP);
	}
	LIST_FOREACH(u, &p->users.all, entry) {
		if (is_idle(u) && now_usec - u->changed_usec >= idle_usec)
			user_close(u);
		else if ((u->conn == NULL || u->received != u->sent) && now_usec - u->changed_usec >= HUNG_USEC)
			(void)kill(u->pid, SIGKILL);
	}
	login_parked_tick(p, now_usec);		/* may start processes, later than now_usec */
}

void
login_users_end(struct login_parent *p)
{
	const struct ipc_user_end m = { 0 };
	struct login_user *u;

	LIST_FOREACH(u, &p->users.all, entry)
		if (u->conn != NULL)
			(void)IPC_CONN_SEND(u->conn, user_end, &m, -1);
}

void
login_users_kill(struct login_parent *p)
{
	struct login_user *u;

	LIST_FOREACH(u, &p->users.all, entry)
		(void)kill(u->pid, SIGKILL);
}
