/*
 * One login, from the question to the answer.
 *
 *	lookup	the name is checked, then looked up in the maps
 *	cache	the same login was good a moment ago: yes, at once
 *	wait	who failed often waits for his turn (auth_throttle.h)
 *	verify	a worker checks the password; who is unknown, disabled or has
 *		no password is checked against a hash that nothing fits
 *	answer	"yes" at once; "no" FAIL_MS after verify began, so that the time
 *		does not tell why (RELIABILITY.md, P20)
 */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "auth.h"
#include "auth_hash.h"
#include "auth_user.h"
#include "log.h"

#define REQUESTS_MAX	4096
#define FAIL_MS		1000
#define FRAME_ROOM	2048

struct auth_request {
	struct auth_job		 job;	/* first: the pool's pointer is ours */
	struct auth		*auth;
	struct auth_client	*client;	/* NULL: it has gone */
	struct auth_request	*next, **back;
	struct event		*timer;
	uint32_t		 id;
	char			 service[17], method[17], address[65];
	char			 password[AUTH_PASSWORD_MAX];
	size_t			 password_len;
	struct addr		 given;		/* canonical; "" if it could be nobody's */
	/* What the maps say; good while generation is the map's. */
	unsigned		 generation;
	bool			 may;		/* there is such a login, not disabled */
	bool			 system;	/* a user of the machine: PAM's */
	struct addr		 login;		/* canonical: the mailbox's own address */
	char			 hash[ACCOUNTS_HASH_MAX + 1];	/* unless system */
	uint64_t		 begun_usec;	/* verify */
	enum ipc_auth_reason	 reason;	/* of a "no" that is held back */
};

/* ---- life ---- */

static struct auth_request *
request_new(struct auth *a, struct auth_client *c, const struct ipc_auth_request *m)
{
	struct auth_request *r;

	if (a->request_n >= REQUESTS_MAX || m->password.len > AUTH_PASSWORD_MAX)
		return NULL;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	r->auth = a;
	r->client = c;
	r->id = m->id;
	(void)slice_text(m->service, r->service, sizeof(r->service));
	(void)slice_text(m->method, r->method, sizeof(r->method));
	(void)slice_text(m->client_address, r->address, sizeof(r->address));
	if (m->password.len > 0) {
		memcpy(r->password, m->password.ptr, m->password.len);
		/* Not needed in the frame any more; the answer may go out before that is wiped. */
		explicit_bzero((char *)(uintptr_t)m->password.ptr, m->password.len);
	}
	r->password_len = m->password.len;
	r->next = a->requests;
	r->back = &a->requests;
	if (r->next != NULL)
		r->next->back = &r->next;
	a->requests = r;
	a->request_n++;
	return r;
}

static void
request_free(struct auth_request *r)
{
	if (r->timer != NULL)
		event_free(r->timer);
	*r->back = r->next;
	if (r->next != NULL)
		r->next->back = r->back;
	r->auth->request_n--;
	explicit_bzero(r, sizeof(*r));
	free(r);
}

void
auth_request_orphan(struct auth *a, const struct auth_client *c)
{
	for (struct auth_request *r = a->requests; r != NULL; r = r->next) {
		if (r->client == c)
			r->client = NULL;
	}
}

static void
forget_password(struct auth_request *r)
{
	explicit_bzero(r->password, sizeof(r->password));
	r->password_len = 0;
}

/* Answer and forget. */
static void
answer(struct auth_request *r, enum verdict verdict, enum ipc_auth_reason reason, struct slice ticket)
{
	const struct ipc_auth_result result = {
		.id = r->id, .verdict = (uint8_t)verdict, .reason = (uint8_t)reason,
		.user = verdict == OK ? addr_text(&r->login) : SLICE(""), .ticket = ticket,
	};
	struct auth_client *c = r->client;

	forget_password(r);
	auth_client_answer(c, &result);
	request_free(r);
	auth_client_done(c);
}

static void
answer_later(struct auth_request *r, uint64_t usec, event_callback_fn then)
{
	const struct timeval wait = {
		.tv_sec = (time_t)(usec / 1000000), .tv_usec = (suseconds_t)(usec % 1000000),
	};

	if (r->timer != NULL)
		event_free(r->timer);
	r->timer = evtimer_new(r->auth->daemon.base, then, r);
	if (r->timer == NULL || event_add(r->timer, &wait) != 0)
		answer(r, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
}

/* ---- lookup ---- */

/* New maps: what was known is forgotten. */
static void
refresh(struct auth *a)
{
	routes_refresh(a->routes, now_usec());
	if (auth_accounts_changed(a->accounts)) {
		auth_cache_clear(a->cache);
		a->generation++;
	}
}

enum verdict
auth_mailbox_find(struct auth *a, const struct addr *login, struct route *out)
{
	enum verdict verdict;

	refresh(a);
	if (!routes_ready(a->routes))
		return TEMP;
	verdict = routes_domain(a->routes, addr_domain(login));
	if (verdict == OK)
		verdict = routes_find_mailbox(a->routes, login, out);
	/* user+detail receives as user, but logs in as nobody. */
	return verdict == OK && (out->kind != ROUTE_MAILBOX || out->detail.len > 0) ? PERM : verdict;
}

static enum verdict
lookup_account(struct auth_request *r)
{
	struct account_record account;
	enum verdict verdict = auth_accounts_find(r->auth->accounts, &r->login, &account);

	if (verdict != OK)
		return verdict;
	r->may = !account.disabled && auth_hash_setting(account.hash, r->hash);
	return OK;
}

/* OK: the maps have answered, for better or worse; TEMP: they could not. */
static enum verdict
lookup(struct auth_request *r)
{
	struct auth *a = r->auth;
	struct route route;
	enum verdict verdict = PERM;

	r->may = r->system = false;
	if (!addr_is_null(&r->given))
		verdict = auth_mailbox_find(a, &r->given, &route);
	r->generation = a->generation;
	if (verdict != OK)
		return verdict == TEMP ? TEMP : OK;
	r->login = route.key;
	if (!route.system)
		return lookup_account(r) == TEMP ? TEMP : OK;
	r->system = a->pam != NULL && auth_user_is_account(addr_local(&r->login));
	r->may = r->system && route.uid != 0;
	return OK;
}

/* The name as given, as an address; default domain for bare ones. */
static void
take_name(struct auth_request *r, struct slice user)
{
	struct slice domain = SLICE("");

	if (!routes_default_domain(r->auth->routes, &domain))
		domain = slice_of(r->auth->daemon.conf.hostname);
	if (!auth_user_parse(user, domain, &r->given))
		addr_null(&r->given);
}

static struct auth_tuple
tuple_of(const struct auth_request *r)
{
	return (struct auth_tuple){
		.service = slice_of(r->service), .user = addr_text(&r->login),
		.method = slice_of(r->method), .password = slice_make(r->password, r->password_len),
	};
}

/* ---- answers ---- */

static void
on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct auth *a = arg;
	const struct timeval again = { .tv_sec = 2 };

	(void)fd;
	(void)what;
	if (!auth_last_flush(a->last))
		(void)event_add(a->flush_timer, &again);
}

static void
note_login(struct auth_request *r)
{
	struct auth *a = r->auth;
	const struct timeval soon = { .tv_sec = 2 };

	auth_last_note(a->last, addr_text(&r->login), slice_of(r->service), slice_of(r->address), now_usec());
	if (a->flush_timer == NULL)
		a->flush_timer = evtimer_new(a->daemon.base, on_flush, a);
	if (a->flush_timer != NULL && !event_pending(a->flush_timer, EV_TIMEOUT, NULL))
		(void)event_add(a->flush_timer, &soon);
}

static void
succeed(struct auth_request *r)
{
	unsigned char octets[TICKET_OCTETS];
	struct slice ticket = SLICE("");

	if (strcmp(r->service, "smtp") != 0) {
		if (!auth_ticket_issue(r->auth->tickets, slice_of(r->service), &r->login, now_mono_usec(), octets)) {
			answer(r, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
			return;
		}
		ticket = slice_make(octets, sizeof(octets));
	}
	note_login(r);
	answer(r, OK, AUTH_REASON_NONE, ticket);
	explicit_bzero(octets, sizeof(octets));
}

static void
on_refuse(evutil_socket_t fd, short what, void *arg)
{
	struct auth_request *r = arg;

	(void)fd;
	(void)what;
	answer(r, PERM, r->reason, SLICE(""));
}

/* Later, by a clock that does not depend on how long the check took. */
static void
refuse(struct auth_request *r, enum ipc_auth_reason reason)
{
	const uint64_t now = now_mono_usec(), step = FAIL_MS * UINT64_C(1000);
	uint64_t at = r->begun_usec + step;

	while (at <= now)
		at += step;
	r->reason = reason;
	forget_password(r);	/* while the answer is held back */
	auth_throttle_failed(r->auth->throttle, slice_of(r->address), addr_text(&r->given), now);
	answer_later(r, at - now, on_refuse);
}

/* ---- verify ---- */

/* PAM modules may have changed the name: it counts only if it is the same mailbox still. */
static bool
same_user(const struct auth_request *r, struct slice user)
{
	return !r->system || slice_eq(user, addr_local(&r->login));
}

static void
on_verified(struct auth_job *job, enum verdict verdict, enum ipc_auth_reason reason, struct slice user)
{
	struct auth_request *r = (struct auth_request *)(void *)job;
	struct auth *a = r->auth;

	if (verdict == TEMP) {
		answer(r, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
		return;
	}
	if (verdict == PERM || !r->may || !same_user(r, user)) {
		refuse(r, r->may && reason == AUTH_REASON_EXPIRED ? reason : AUTH_REASON_CREDENTIALS);
		return;
	}
	/* PAM may hold passwords that are good once: its answers are not kept. */
	refresh(a);
	if (!r->system && r->generation == a->generation) {
		const struct auth_tuple tuple = tuple_of(r);

		auth_cache_put(a->cache, &tuple, now_mono_usec());
	}
	succeed(r);
}

static bool
ask_crypt(struct auth_request *r)
{
	const struct ipc_crypt_check check = {
		.hash = slice_of(r->may ? r->hash : r->auth->dummy),
		.password = slice_make(r->password, r->password_len),
	};

	return ipc_put_crypt_check(&r->job.frame, &check) && auth_pool_run(r->auth->crypt, &r->job);
}

static bool
ask_pam(struct auth_request *r)
{
	const struct ipc_pam_check check = {
		.service = slice_of(r->service), .user = addr_local(&r->login),
		.password = slice_make(r->password, r->password_len),
		.client_address = slice_of(r->address),
	};

	return ipc_put_pam_check(&r->job.frame, &check) && auth_pool_run(r->auth->pam, &r->job);
}

static void
verify(struct auth_request *r)
{
	r->begun_usec = now_mono_usec();
	buf_init(&r->job.frame, IPC_FRAME_MAX);
	(void)buf_room(&r->job.frame, FRAME_ROOM);	/* growing would leave copies behind */
	r->job.done = on_verified;
	if (!(r->system && r->may ? ask_pam(r) : ask_crypt(r)))
		answer(r, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
}

/* Its turn has come; the maps may be others by now. */
static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct auth_request *r = arg;

	(void)fd;
	(void)what;
	if (lookup(r) == TEMP)
		answer(r, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
	else
		verify(r);
}

static bool
is_cached(struct auth_request *r)
{
	const struct auth_tuple tuple = tuple_of(r);

	return r->may && !r->system && auth_cache_has(r->auth->cache, &tuple, now_mono_usec());
}

void
auth_request_start(struct auth *a, struct auth_client *c, const struct ipc_auth_request *m)
{
	struct auth_request *r = request_new(a, c, m);
	uint64_t wait;

	if (r == NULL) {
		const struct ipc_auth_result result = {
			.id = m->id, .verdict = TEMP, .reason = AUTH_REASON_UNAVAILABLE,
			.user = SLICE(""), .ticket = SLICE(""),
		};

		auth_client_answer(c, &result);
		auth_client_done(c);
		return;
	}
	take_name(r, m->user);
	if (lookup(r) == TEMP) {
		answer(r, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
		return;
	}
	if (is_cached(r)) {
		succeed(r);
		return;
	}
	wait = auth_throttle_wait(a->throttle, slice_of(r->address), addr_text(&r->given), now_mono_usec());
	if (wait == UINT64_MAX)
		answer(r, TEMP, AUTH_REASON_UNAVAILABLE, SLICE(""));
	else if (wait > 0)
		answer_later(r, wait, on_turn);
	else
		verify(r);
}
