/* Connections: who may ask what, frames in and out. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth.h"
#include "log.h"

#define CLIENTS_MAX	256
#define FRAMES_AT_ONCE	32	/* of one connection before others get their turn */
#define DRAIN_MS	50
#define DRAIN_MAX_S	40	/* a throttled login waits up to 30 s */
#define DRAIN_TICKETS_S	3	/* a parent comes at once, or its client has gone */

struct auth_client {
	struct auth		*auth;
	struct auth_client	*next, **back;
	struct event		*event;
	int			 fd;
	enum auth_role		 role;
	bool			 greeted;	/* its hello was good */
	size_t			 open;		/* requests not answered */
};

static const char *const sockets[ROLE_COUNT] = {
	[ROLE_SMTP] = "auth-smtp", [ROLE_LOGIN] = "auth-login",
	[ROLE_TICKET] = "auth-ticket", [ROLE_CONTROL] = "auth-control",
};

static void
client_close(struct auth_client *c)
{
	struct auth *a = c->auth;

	auth_request_orphan(a, c);
	if (c->event != NULL)
		event_free(c->event);
	(void)close(c->fd);
	*c->back = c->next;
	if (c->next != NULL)
		c->next->back = c->back;
	a->client_n--;
	free(c);
}

/* A peer that does not read its answers is left. */
static bool
send_frame(const struct auth_client *c, struct buf *out, bool put)
{
	const bool sent = put && ipc_send(c->fd, buf_slice_of(out), -1) == IPC_IO_OK;

	buf_clear(out);
	return sent;
}

void
auth_client_answer(struct auth_client *c, const struct ipc_auth_result *result)
{
	struct buf out;

	if (c == NULL)
		return;
	buf_init(&out, IPC_FRAME_MAX);
	/* If it could not be sent the connection is broken: closed at its next event, not under the caller's feet. */
	if (!send_frame(c, &out, ipc_put_auth_result(&out, result)))
		event_active(c->event, EV_TIMEOUT, 0);
}

void
auth_client_done(struct auth_client *c)
{
	if (c != NULL)
		c->open--;
}

/* ---- what each role may ask; false ends the connection ---- */

static bool
on_auth_request(struct auth_client *c, struct slice frame)
{
	struct ipc_auth_request m;

	if (!ipc_get_auth_request(frame, &m))
		return false;
	if (c->role == ROLE_SMTP ? !slice_is(m.service, "smtp") :
	    !slice_is(m.service, "imap") && !slice_is(m.service, "pop3"))
		return false;
	c->open++;
	auth_request_start(c->auth, c, &m);
	return true;
}

static bool
on_ticket_redeem(struct auth_client *c, struct slice frame)
{
	struct auth *a = c->auth;
	struct ipc_ticket_mailbox reply = { .verdict = PERM, .user = SLICE(""), .home = SLICE("") };
	struct ipc_ticket_redeem m;
	struct route route;
	struct addr login;
	struct buf out;

	if (!ipc_get_ticket_redeem(frame, &m))
		return false;
	reply.id = m.id;
	if (auth_ticket_redeem(a->tickets, m.service, m.ticket, now_mono_usec(), &login))
		reply.verdict = (uint8_t)auth_mailbox_find(a, &login, &route);
	if (reply.verdict == OK) {
		reply.user = addr_text(&login);
		reply.system = route.system ? 1 : 0;
		reply.home = route.home;
		reply.uid = route.uid;
		reply.gid = route.gid;
		reply.quota = route.quota;
	}
	buf_init(&out, IPC_FRAME_MAX);
	return send_frame(c, &out, ipc_put_ticket_mailbox(&out, &reply));
}

static bool
on_last_login(struct auth_client *c, struct slice frame)
{
	static const char *const services[] = { "smtp", "imap", "pop3" };
	struct ipc_last_login_end end = { .verdict = OK };
	struct ipc_last_login_ask m;
	struct buf out;

	if (!ipc_get_last_login_ask(frame, &m))
		return false;
	buf_init(&out, IPC_FRAME_MAX);
	for (size_t i = 0; i < LEN(services); i++) {
		struct auth_last_entry entry;
		bool open;

		if (auth_last_find(c->auth->last, m.user, slice_of(services[i]), &entry, &open)) {
			const struct ipc_last_login reply = {
				.service = slice_of(services[i]), .usec = entry.usec, .count = entry.count,
				.client_address = slice_of(entry.address),
			};

			if (!send_frame(c, &out, ipc_put_last_login(&out, &reply)))
				return false;
		} else if (!open) {
			end.verdict = TEMP;
		}
	}
	return send_frame(c, &out, ipc_put_last_login_end(&out, &end));
}

static bool
on_frame(struct auth_client *c, struct slice frame)
{
	struct ipc_hello hello;

	if (!c->greeted) {
		if (!ipc_get_hello(frame, &hello))
			return false;
		if (hello.version != IPC_VERSION) {
			log_say(LOG_LEVEL_ERROR, "%.*s on %s speaks version %u, not %u: restart it",
			    (int)hello.program.len, hello.program.ptr, sockets[c->role], hello.version, IPC_VERSION);
			return false;
		}
		c->greeted = true;
		return true;
	}
	switch (c->role) {
	case ROLE_SMTP:
	case ROLE_LOGIN:
		return on_auth_request(c, frame);
	case ROLE_TICKET:
		return on_ticket_redeem(c, frame);
	case ROLE_CONTROL:
		return on_last_login(c, frame);
	case ROLE_COUNT:
		break;
	}
	return false;
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct auth_client *c = arg;
	struct buf *in = &c->auth->in;
	bool ok = (what & EV_TIMEOUT) == 0;	/* see auth_client_answer() */

	(void)fd;
	for (int i = 0; i < FRAMES_AT_ONCE && ok; i++) {
		int passed;
		enum ipc_io io = ipc_recv(c->fd, in, &passed);

		if (passed != -1)
			(void)close(passed);
		if (io == IPC_IO_AGAIN)
			return;
		ok = io == IPC_IO_OK && on_frame(c, buf_slice_of(in));
		explicit_bzero(in->ptr, in->len);	/* passwords */
		if (!ok && io != IPC_IO_CLOSED)
			log_say(LOG_LEVEL_WARNING, "bad frame on %s: connection closed", sockets[c->role]);
	}
	if (!ok)
		client_close(c);
}

/* ---- accept ---- */

/* The socket's mode says who may connect; the peer's uid says it again. */
static bool
peer_may(const struct auth *a, int fd, enum auth_role role)
{
	uid_t peer;

	return ipc_peer_uid(fd, &peer) && (peer == 0 || peer == geteuid() || peer == a->peer_uid[role]);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct auth *a = arg;

	(void)fd;
	(void)what;
	for (int role = 0; role < ROLE_COUNT; role++) {
		if (a->listening[role] != NULL && (!a->daemon.draining || role == ROLE_TICKET))
			(void)event_add(a->listening[role], NULL);
	}
}

/* No descriptors, no memory: asking again at once would only turn in circles. */
static void
pause_accepting(struct auth *a)
{
	const struct timeval pause = { .tv_usec = 200000 };

	if (a->accept_timer == NULL)
		a->accept_timer = evtimer_new(a->daemon.base, on_pause_over, a);
	if (a->accept_timer == NULL || event_add(a->accept_timer, &pause) != 0)
		return;
	for (int role = 0; role < ROLE_COUNT; role++) {
		if (a->listening[role] != NULL)
			(void)event_del(a->listening[role]);
	}
}

static void
on_accept(evutil_socket_t listener, short what, void *arg)
{
	struct auth *a = arg;
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = SLICE("auth") };
	enum auth_role role = ROLE_SMTP;
	struct auth_client *c;
	struct buf out;
	int fd = ipc_accept(listener);

	(void)what;
	if (fd == -1) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(a);
		return;
	}
	while (daemon_socket(&a->daemon, sockets[role], 0) != listener)
		role++;
	c = a->client_n < CLIENTS_MAX && peer_may(a, fd, role) ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL) {
		log_say(LOG_LEVEL_WARNING, "connection to %s refused", sockets[role]);
		(void)close(fd);
		return;
	}
	*c = (struct auth_client){ .auth = a, .fd = fd, .role = role, .next = a->clients, .back = &a->clients };
	if (c->next != NULL)
		c->next->back = &c->next;
	a->clients = c;
	a->client_n++;
	c->event = event_new(a->daemon.base, fd, EV_READ | EV_PERSIST, on_readable, c);
	buf_init(&out, IPC_FRAME_MAX);
	if (c->event == NULL || event_add(c->event, NULL) != 0 || !send_frame(c, &out, ipc_put_hello(&out, &hello)))
		client_close(c);
}

/* ---- the keeper's answers ---- */

static void
on_keeper(evutil_socket_t fd, short what, void *arg)
{
	struct auth *a = arg;
	struct ipc_worker_started m;
	int passed = -1;
	enum ipc_io io = ipc_recv(fd, &a->in, &passed);

	(void)what;
	if (io == IPC_IO_AGAIN)
		return;
	if (io != IPC_IO_OK || !ipc_get_worker_started(buf_slice_of(&a->in), &m)) {
		log_say(LOG_LEVEL_ERROR, "the keeper has gone");
		daemon_end(&a->daemon, 1);
		return;
	}
	if (!auth_pool_started(a->crypt, m.id, passed) &&
	    (a->pam == NULL || !auth_pool_started(a->pam, m.id, passed)) && passed != -1)
		(void)close(passed);
}

/* ---- start and end ---- */

bool
auth_serve_start(struct auth *a)
{
	buf_init(&a->in, IPC_FRAME_MAX);
	for (int role = 0; role < ROLE_COUNT; role++) {
		int fd = daemon_socket(&a->daemon, sockets[role], 0);

		if (fd == -1)
			continue;
		a->listening[role] = event_new(a->daemon.base, fd, EV_READ | EV_PERSIST, on_accept, a);
		if (a->listening[role] == NULL || event_add(a->listening[role], NULL) != 0)
			return false;
	}
	a->keeper_event = event_new(a->daemon.base, a->keeper.fd, EV_READ | EV_PERSIST, on_keeper, a);
	return a->keeper_event != NULL && event_add(a->keeper_event, NULL) == 0;
}

static void
on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct auth *a = arg;
	const struct timeval again = { .tv_usec = DRAIN_MS * 1000 };
	const uint64_t now = now_mono_usec();
	struct auth_client *next;

	(void)fd;
	(void)what;
	for (struct auth_client *c = a->clients; c != NULL; c = next) {
		next = c->next;
		if (c->open == 0 && c->role != ROLE_TICKET)
			client_close(c);
	}
	if (a->request_n > 0)
		a->drain_tickets_usec = now + DRAIN_TICKETS_S * UINT64_C(1000000);
	if ((a->request_n == 0 && (now > a->drain_tickets_usec || auth_tickets_out(a->tickets, now) == 0)) ||
	    now > a->drain_until_usec || event_add(a->drain_timer, &again) != 0)
		daemon_end(&a->daemon, 0);
}

void
auth_serve_drain(void *auth)
{
	struct auth *a = auth;
	const struct timeval at_once = { 0, 0 };

	/* Parents still come for tickets that are out. */
	for (int role = 0; role < ROLE_COUNT; role++) {
		if (role != ROLE_TICKET && a->listening[role] != NULL)
			(void)event_del(a->listening[role]);
	}
	a->drain_until_usec = now_mono_usec() + DRAIN_MAX_S * UINT64_C(1000000);
	a->drain_tickets_usec = now_mono_usec() + DRAIN_TICKETS_S * UINT64_C(1000000);
	a->drain_timer = evtimer_new(a->daemon.base, on_drain, a);
	if (a->drain_timer == NULL || event_add(a->drain_timer, &at_once) != 0)
		daemon_end(&a->daemon, 0);
}
