/* The part of conn.h about sockets as such: listeners, addresses, options. */
#include "conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <event2/event.h>
#include <event2/event_struct.h>

/* How long nothing is accepted after descriptors or memory ran out. */
#define SHORT_PAUSE_USEC 200000

struct conn_listener {
	int		 fd;
	void		(*accepted)(int fd, const char *address, void *ctx);
	void		*ctx;
	struct event	 ev_accept, ev_pause;
};

void
conn_tune(int fd)
{
	const int on = 1, idle_s = 120, interval_s = 30, probes = 4;
	struct sockaddr_storage addr;
	socklen_t len = sizeof(addr);

	if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0 ||
	    (addr.ss_family != AF_INET && addr.ss_family != AF_INET6))
		return;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* ---- addresses ---- */

static bool
print_inet6(const struct sockaddr_in6 *in6, char *out, size_t size)
{
	struct in_addr in;

	/* A client of a dual-stack socket is an IPv4 client. */
	if (!IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return inet_ntop(AF_INET6, &in6->sin6_addr, out, (socklen_t)size) != NULL;
	memcpy(&in, in6->sin6_addr.s6_addr + 12, sizeof(in));
	return inet_ntop(AF_INET, &in, out, (socklen_t)size) != NULL;
}

union address {
	struct sockaddr_storage	storage;
	struct sockaddr		any;
	struct sockaddr_in	in;
	struct sockaddr_in6	in6;
};

static bool
print_address(const union address *addr, char *out, size_t size, uint16_t *port)
{
	if (port != NULL)
		*port = 0;
	switch (addr->any.sa_family) {
	case AF_INET:
		if (port != NULL)
			*port = ntohs(addr->in.sin_port);
		return inet_ntop(AF_INET, &addr->in.sin_addr, out, (socklen_t)size) != NULL;
	case AF_INET6:
		if (port != NULL)
			*port = ntohs(addr->in6.sin6_port);
		return print_inet6(&addr->in6, out, size);
	case AF_UNIX:
		return snprintf(out, size, "unix") < (int)size;
	default:
		return false;
	}
}

bool
conn_address(int fd, bool peer, char *out, size_t size, uint16_t *port)
{
	union address addr = { 0 };
	socklen_t len = sizeof(addr);

	if (size > 0)
		out[0] = '\0';
	return (peer ? getpeername : getsockname)(fd, &addr.any, &len) == 0 &&
	    print_address(&addr, out, size, port);
}

/* ---- listeners ---- */

/*
 * One connection a turn: where several processes share the listener the next
 * one may go to another, and epoll tells again if there are more.
 */
static void
on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct conn_listener *l = arg;
	union address addr = { 0 };
	socklen_t len = sizeof(addr);
	int client = accept4(fd, &addr.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	char text[CONN_ADDRESS_MAX];

	(void)what;
	if (client >= 0) {
		if (!print_address(&addr, text, sizeof(text), NULL))
			(void)snprintf(text, sizeof(text), "unknown");
		l->accepted(client, text, l->ctx);
		return;
	}
	if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM)
		return;		/* gone again, or another process has it */
	if (event_add(&l->ev_pause, &(struct timeval){ 0, SHORT_PAUSE_USEC }) == 0)
		(void)event_del(&l->ev_accept);
}

static void
on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct conn_listener *l = arg;

	(void)fd;
	(void)what;
	(void)event_add(&l->ev_accept, NULL);
}

struct conn_listener *
conn_listen(struct event_base *base, int fd, void (*accepted)(int fd, const char *address, void *ctx),
    void *ctx)
{
	struct conn_listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->fd = fd;
	l->accepted = accepted;
	l->ctx = ctx;
	if (event_assign(&l->ev_accept, base, fd, EV_READ | EV_PERSIST, on_connection, l) != 0 ||
	    event_assign(&l->ev_pause, base, -1, 0, on_pause_over, l) != 0 ||
	    event_add(&l->ev_accept, NULL) != 0) {
		free(l);
		return NULL;
	}
	return l;
}

void
conn_listener_free(struct conn_listener *l)
{
	if (l == NULL)
		return;
	(void)event_del(&l->ev_accept);
	(void)event_del(&l->ev_pause);
	free(l);
}
