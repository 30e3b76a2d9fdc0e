/*
 * login_accept: a new connection: is there a place for it, and what it starts with.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "log.h"
#include "login/login_front.h"

#define ROOM_AGE_USEC	5000000		/* a connection this old makes room when there is none */
#define LAST_WORDS_MAX	1024		/* octets */

/* 72 random bits; tells connections apart in the log. */
static void
make_id(char out[13])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char random[12];

	if (getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		memset(random, 0, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		out[i] = digits[random[i] & 63];
	out[sizeof(random)] = '\0';
}

/*
 * All places are taken: one that came some time ago and still has not logged
 * in gives up its place, so silent clients cannot keep others out (P15).
 */
static bool
make_room(struct login_front *f)
{
	uint64_t now = now_mono_usec();
	struct login_session *s;

	TAILQ_FOREACH(s, &f->talking, entry) {
		if (now - s->talk->started_usec < ROOM_AGE_USEC)
			return false;
		if (s->state == SESSION_TALK || s->state == SESSION_TLS) {
			login_session_free(s, "Dropped for a newer connection");
			return true;
		}
	}
	return false;
}

static enum login_limit
take_place(struct login_front *f, struct login_session *s)
{
	enum login_limit limit;

	for (int i = 0; i < 2; i++) {
		limit = LOGIN_LIMIT_TOTAL;
		if (f->sessions_n < f->sessions_max)
			limit = login_limits_take(f->limits, f->worker, s->rip, &s->limit_slot);
		if (limit != LOGIN_LIMIT_TOTAL || !make_room(f))
			break;
	}
	return limit;
}

/* No place: say so where that can be done without a handshake. */
static void
turn_away(struct login_session *s, int rfd, int wfd, bool implicit_tls, enum login_limit limit)
{
	const struct login_proto *proto = s->front->proto;
	struct buf out;

	log_say(LOG_LEVEL_WARNING, "too many connections%s, turned away: rip=%s",
	    limit == LOGIN_LIMIT_CLIENT ? " from one client" : "", s->rip);
	buf_init(&out, LAST_WORDS_MAX);
	if (!implicit_tls) {
		proto->start(s->talk->state, s->talk->facts);
		proto->bye(s->talk->state, LOGIN_BYE_BUSY, &out);
		if (write(wfd, out.ptr, out.len) == -1 && errno != EAGAIN)
			log_say(LOG_LEVEL_DEBUG, "%s: %s", s->rip, strerror(errno));
	}
	buf_clear(&out);
	(void)close(rfd);
	if (wfd != rfd)
		(void)close(wfd);
	login_talk_free(s);
	free(s);
}

static struct login_session *
session_alloc(struct login_front *f)
{
	struct login_session *s = calloc(1, sizeof(*s));
	struct login_talk *t = calloc(1, sizeof(*t) + f->proto->state_size);

	if (s == NULL || t == NULL || event_assign(&t->timer, f->base, -1, 0, login_session_timer, s) != 0) {
		free(s);
		free(t);
		return NULL;
	}
	s->front = f;
	s->talk = t;
	s->relay.fd = -1;
	t->session = s;
	t->facts = &f->in_clear;
	t->started_usec = now_mono_usec();
	t->until_usec = t->started_usec + (uint64_t)f->daemon->conf.login_timeout_s * 1000000;
	make_id(s->id);
	return s;
}

/* s has its addresses. */
static void
begin(struct login_front *f, struct login_session *s, int rfd, int wfd, bool implicit_tls)
{
	enum login_limit limit = take_place(f, s);

	if (limit != LOGIN_LIMIT_NONE) {
		turn_away(s, rfd, wfd, implicit_tls, limit);
		return;
	}
	if (!login_session_begin(s, rfd, wfd, implicit_tls)) {
		login_limits_give(f->limits, f->worker, s->limit_slot);
		login_talk_free(s);
		free(s);
	}
}

void
login_session_new(struct login_front *f, int fd, bool implicit_tls)
{
	struct login_session *s = session_alloc(f);

	if (s == NULL) {
		(void)close(fd);
		return;
	}
	(void)conn_address(fd, true, s->rip, sizeof(s->rip), NULL);
	(void)conn_address(fd, false, s->lip, sizeof(s->lip), NULL);
	begin(f, s, fd, fd, implicit_tls);
}

void
login_session_single(struct login_front *f, const struct inetd_connection *c, bool implicit_tls)
{
	struct login_session *s = session_alloc(f);

	if (s == NULL)
		return;		/* this process is over, and the connection with it */
	(void)snprintf(s->rip, sizeof(s->rip), "%s", c->remote);
	(void)snprintf(s->lip, sizeof(s->lip), "%s", c->local);
	begin(f, s, c->rfd, c->wfd, implicit_tls);
}
