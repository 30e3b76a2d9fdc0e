/* master_sockets: every listening socket of the suite, bound once and kept over restarts. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listen.h"
#include "master.h"

static struct master_socket *
find(struct master *m, const char *name, const char *where)
{
	for (size_t i = 0; i < m->socket_n; i++)
		if (strcmp(m->socket[i].name, name) == 0 && strcmp(m->socket[i].where, where) == 0)
			return &m->socket[i];
	return NULL;
}

static bool
add(struct master *m, int fd, const char *name, const char *where)
{
	struct master_socket *s = &m->socket[m->socket_n];

	*s = (struct master_socket){ .fd = fd, .where = strdup(where), .keep = true, .fresh = true };
	if (s->where == NULL) {
		(void)close(fd);
		return false;
	}
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	m->socket_n++;
	return true;
}

static void
explain(const struct conf *conf, const struct conf_listen *l, const char *where, char *why, size_t size)
{
	const char *hint = "";

	if (errno == EADDRINUSE)
		hint = "; another server has it: stop that one, or write another port";
	else if (errno == EACCES)
		hint = "; ports below 1024 are for root: start as root, or write a higher port";
	else if (errno == EADDRNOTAVAIL)
		hint = "; this machine has no such address: write \"*\" for all of them";
	(void)snprintf(why, size, "%s:%d: cannot listen on %s for %s: %s%s", conf->file, l->line, where,
	    conf_service_name(l->service), strerror(errno), hint);
}

static bool
open_service(struct master *m, const struct conf *conf, const struct conf_listen *l, char *why, size_t size)
{
	const char *name = conf_service_name(l->service);
	char where[300];
	struct master_socket *s;
	int fd;

	if (l->path != NULL)
		(void)snprintf(where, sizeof(where), "%s", l->path);
	else
		(void)snprintf(where, sizeof(where), strchr(l->host, ':') ? "[%s]:%u" : "%s:%u", l->host, l->port);
	s = find(m, name, where);
	if (s != NULL) {
		s->keep = true;
		return true;
	}
	if (m->socket_n == MASTER_SOCKETS) {
		(void)snprintf(why, size, "%s:%d: more than %d sockets", conf->file, l->line, MASTER_SOCKETS);
		return false;
	}
	fd = listen_service(conf, l);
	if (fd < 0) {
		explain(conf, l, where, why, size);
		return false;
	}
	return add(m, fd, name, where);
}

static bool
open_inner(struct master *m, const struct conf *conf, const struct listen_inner *i, char *why, size_t size)
{
	struct master_socket *s = find(m, i->name, conf->run_dir);
	int fd;

	if (s != NULL) {
		s->keep = true;
		return true;
	}
	fd = m->socket_n == MASTER_SOCKETS ? -1 : listen_inner_socket(conf, m->run_dirfd, i);
	if (fd >= 0)
		return add(m, fd, i->name, conf->run_dir);
	(void)snprintf(why, size, "%s/%s: cannot listen: %s", conf->run_dir, i->name, strerror(errno));
	return false;
}

bool
sockets_open(struct master *m, const struct conf *conf, char *why, size_t why_size)
{
	for (size_t i = 0; i < m->socket_n; i++) {
		m->socket[i].keep = false;
		m->socket[i].fresh = false;
	}
	for (const struct listen_inner *i = listen_inner; i->name != NULL; i++)
		if (!open_inner(m, conf, i, why, why_size))
			goto fail;
	for (size_t i = 0; i < conf->listen_n; i++)
		if (!open_service(m, conf, &conf->listen[i], why, why_size))
			goto fail;
	return true;
fail:
	sockets_settle(m, true);
	return false;
}

static void
close_one(struct master *m, struct master_socket *s)
{
	if (listen_inner_find(s->name) != NULL)
		(void)unlinkat(m->run_dirfd, s->name, 0);
	else if (s->where[0] == '/')
		(void)unlink(s->where);
	(void)close(s->fd);
	free(s->where);
}

void
sockets_settle(struct master *m, bool failed)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->socket_n; i++) {
		struct master_socket *s = &m->socket[i];

		if (failed ? s->fresh : !s->keep) {
			close_one(m, s);
			continue;
		}
		s->keep = true;
		s->fresh = false;
		m->socket[kept++] = *s;
	}
	m->socket_n = kept;
}

void
sockets_close(struct master *m)
{
	for (size_t i = 0; i < m->socket_n; i++)
		close_one(m, &m->socket[i]);
	m->socket_n = 0;
}
