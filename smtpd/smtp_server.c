#include "smtp_server.h"

#include <string.h>
#include <sys/resource.h>

#include "daemon.h"
#include "smtp_conn.h"

#define SPARE_FDS	64	/* listeners, links, the log ... */

/* A session has its connection, and at times a spool file. */
static unsigned
sessions_max(void)
{
	struct rlimit fds;

	if (getrlimit(RLIMIT_NOFILE, &fds) != 0 || fds.rlim_cur > 2000000)
		return 1000000;
	return fds.rlim_cur > SPARE_FDS * 2 ? (unsigned)(fds.rlim_cur - SPARE_FDS) / 2 : SPARE_FDS / 2;
}

void
smtp_server_init(struct smtp_server *s, struct event_base *base, const struct conf *conf,
    struct ssl_ctx_st *tls)
{
	*s = (struct smtp_server){ .base = base, .conf = conf, .tls = tls };
	s->sessions_max = sessions_max();
	for (int i = 0; i < SMTP_SERVICES; i++)
		s->rules[i] = (struct smtp_rules){
			.service = (enum smtp_service)i, .hostname = conf->hostname, .tls_offered = tls != NULL,
			.message_size = conf->message_size, .recipients = conf->recipients,
			.hard_errors = conf->smtp_hard_errors, .refuse_bare = conf->smtp_bare_newline_refused,
		};
	TAILQ_INIT(&s->conns);
}

bool
smtp_server_service(const char *name, enum smtp_service *service, bool *tls)
{
	static const struct { const char *name; enum smtp_service service; bool tls; } services[] = {
		{ "smtp", SMTP_SERVICE_SMTP, false },
		{ "submission", SMTP_SERVICE_SUBMISSION, false },
		{ "submissions", SMTP_SERVICE_SUBMISSION, true },
		{ "lmtp", SMTP_SERVICE_LMTP, false },
	};

	for (size_t i = 0; i < LEN(services); i++) {
		if (strcmp(services[i].name, name) != 0)
			continue;
		*service = services[i].service;
		*tls = services[i].tls;
		return true;
	}
	return false;
}

void
smtp_server_accept(struct smtp_server *s, int fd, const char *address, enum smtp_service service, bool tls)
{
	smtp_conn_new(s, fd, fd, service, tls, NULL, address);
}

bool
smtp_server_overloaded(const struct smtp_server *s)
{
	unsigned most = s->conf->smtp_sessions;

	if (s->sessions > s->sessions_max - s->sessions_max / 5)
		return true;
	return s->limits != NULL && login_limits_total(s->limits) > most - most / 5;
}

void
smtp_server_ended(struct smtp_server *s)
{
	if ((s->retired || s->draining || s->single) && TAILQ_EMPTY(&s->conns) && s->drained != NULL)
		s->drained(s->drained_ctx);
}

void
smtp_server_retire(struct smtp_server *s)
{
	s->retired = true;
	smtp_server_ended(s);
}

void
smtp_server_drain(struct smtp_server *s)
{
	struct smtp_conn *c, *next;

	s->draining = true;
	for (c = TAILQ_FIRST(&s->conns); c != NULL; c = next) {
		next = TAILQ_NEXT(c, link);
		smtp_conn_drain(c);	/* ends from the loop */
	}
	smtp_server_ended(s);
}
