#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"
#include "ipc.h"

#define BACKLOG 1024

const struct listen_inner listen_inner[] = {
	{ "queue-submit",	"queue", "root",  0666 },	/* everybody may submit; queue looks who it is */
	{ "queue-deliver",	"queue", "vmail", 0660 },
	{ "queue-relay",	"queue", "relay", 0660 },
	{ "queue-control",	"queue", "root",  0666 },	/* everybody may list; queue looks who it is */
	{ "auth-login",		"auth",  "login", 0660 },
	{ "auth-smtp",		"auth",  "smtpd", 0660 },
	{ "auth-ticket",	"root",  "root",  0600 },	/* the parents are root, bound by modes like others */
	{ "auth-control",	"auth",  "root",  0600 },
	{ "pennypost-control",	"root",  "root",  0600 },
	{ NULL, NULL, NULL, 0 },
};

const struct listen_inner *
listen_inner_find(const char *name)
{
	for (const struct listen_inner *i = listen_inner; i->name != NULL; i++)
		if (strcmp(i->name, name) == 0)
			return i;
	return NULL;
}

static int
close_keep_errno(int fd)
{
	int error = errno;

	(void)close(fd);
	errno = error;
	return -1;
}

static int
listen_tcp(const char *host, uint16_t port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	const struct sockaddr *sa;
	socklen_t len;
	int fd, on = 1, six_only = strcmp(host, "*") != 0;

	if (inet_pton(AF_INET, host, &four.sin_addr) == 1) {
		sa = (const struct sockaddr *)&four;
		len = sizeof(four);
	} else if (!six_only || inet_pton(AF_INET6, host, &six.sin6_addr) == 1) {
		sa = (const struct sockaddr *)&six;
		len = sizeof(six);
	} else {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1 && !six_only && errno == EAFNOSUPPORT) {	/* "*" where there is no IPv6 */
		sa = (const struct sockaddr *)&four;
		len = sizeof(four);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	if (fd == -1)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (sa->sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &six_only, sizeof(six_only));
	if (bind(fd, sa, len) != 0 || listen(fd, BACKLOG) != 0)
		return close_keep_errno(fd);
	return fd;
}

/* LMTP: the folder is the administrator's, the socket is for the group of the suite. */
static int
listen_path(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	char folder[4096], *slash;
	int fd, dirfd, back, rc;
	struct stat st;

	if (strlen(path) >= sizeof(folder)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(folder, path);
	slash = strrchr(folder, '/');
	*slash = '\0';
	if (strlen(slash + 1) >= sizeof(sun.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sun.sun_path, slash + 1, strlen(slash + 1));
	dirfd = open(folder[0] == '\0' ? "/" : folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd == -1)
		return -1;
	if (fstatat(dirfd, sun.sun_path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
		(void)unlinkat(dirfd, sun.sun_path, 0);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd == -1)
		return close_keep_errno(dirfd);
	back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	rc = fchdir(dirfd);
	if (rc == 0)
		rc = bind(fd, (const struct sockaddr *)&sun, sizeof(sun));
	if (rc == 0)
		rc = fchmodat(dirfd, sun.sun_path, 0660, 0);
	if (rc == 0)
		rc = listen(fd, BACKLOG);
	if (back != -1) {
		if (fchdir(back) != 0)
			rc = -1;
		(void)close(back);
	}
	(void)close_keep_errno(dirfd);
	return rc == 0 ? fd : close_keep_errno(fd);
}

int
listen_service(const struct conf *conf, const struct conf_listen *l)
{
	(void)conf;
	return l->path != NULL ? listen_path(l->path) : listen_tcp(l->host, l->port);
}

int
listen_inner_socket(const struct conf *conf, int run_dirfd, const struct listen_inner *i)
{
	uid_t uid = 0, unused_uid;
	gid_t gid = 0, unused_gid;
	int fd = ipc_listen(run_dirfd, i->name, i->mode);

	if (fd == -1 || geteuid() != 0)
		return fd;
	if (strcmp(i->owner, "root") != 0)
		daemon_account(conf, i->owner, &uid, &unused_gid);
	if (strcmp(i->group, "root") != 0)
		daemon_account(conf, i->group, &unused_uid, &gid);
	/* run_dir belongs to root alone: the name cannot have been exchanged. */
	if (fchownat(run_dirfd, i->name, uid, gid, AT_SYMLINK_NOFOLLOW) != 0)
		return close_keep_errno(fd);
	return fd;
}
