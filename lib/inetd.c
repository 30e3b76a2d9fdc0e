#include "inetd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "conn.h"
#include "log.h"

#define EX_OSERR 71

static int
off_standard(int fd)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (moved == -1 || fcntl(moved, F_SETFL, O_NONBLOCK) != 0)
		log_fatal(EX_OSERR, "the connection: %s", strerror(errno));
	return moved;
}

/* Names of the environment: those of UCSPI, and of systemd for a socket that is none of its own. */
static void
said_address(const char *name, const char *other, char *out, size_t size)
{
	const char *value = getenv(name);
	struct in6_addr any;

	if (value == NULL)
		value = getenv(other);
	if (value != NULL && (inet_pton(AF_INET, value, &any) == 1 || inet_pton(AF_INET6, value, &any) == 1))
		(void)snprintf(out, size, "%s", value);
	else
		(void)snprintf(out, size, "unix");
}

static void
find_ends(struct inetd_connection *c)
{
	const char *host = getenv("TCPREMOTEHOST"), *port = getenv("TCPLOCALPORT");
	uint64_t n;

	if (host == NULL)
		host = getenv("REMOTE_HOST");
	if (host != NULL && addr_domain_valid(slice_of(host)))
		(void)snprintf(c->name, sizeof(c->name), "%s", host);
	if (!conn_address(c->rfd, true, c->remote, sizeof(c->remote), NULL))
		said_address("TCPREMOTEIP", "REMOTE_ADDR", c->remote, sizeof(c->remote));
	if (conn_address(c->rfd, false, c->local, sizeof(c->local), &c->port))
		return;
	said_address("TCPLOCALIP", "SERVER_ADDR", c->local, sizeof(c->local));
	if (port != NULL && slice_number(slice_of(port), UINT16_MAX, &n))
		c->port = (uint16_t)n;
}

/* 0 and 1 may be what else inherited them: nothing of ours goes there.  2 is the log. */
static void
cover_standard(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; fd <= 1; fd++)
		if (null == -1 || dup2(null, fd) != fd)
			log_fatal(EX_OSERR, "/dev/null: %s", strerror(errno));
	(void)close(null);
}

void
inetd_take(struct daemon *d, struct inetd_connection *out)
{
	int fd = daemon_socket(d, "connection", 0);
	struct stat st;

	*out = (struct inetd_connection){ .rfd = -1, .wfd = -1 };
	if (fd == -1)
		return;
	out->rfd = out->wfd = off_standard(fd);
	if (d->inetd && fd == 0 && fstat(fd, &st) == 0 && !S_ISSOCK(st.st_mode))
		out->wfd = off_standard(1);
	conn_tune(out->rfd);
	find_ends(out);
	daemon_close_sockets(d);
	if (d->inetd)
		cover_standard();
}
