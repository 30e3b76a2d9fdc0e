/*
 * imap_load: many IMAP sessions, one after the other on each of some connections at once.
 *
 *	imap_load [-t] -c CLIENTS -n SESSIONS -p PORT -u USER%u@DOMAIN -w PASSWORD -U USERS [COMMAND ...]
 *
 * Each session: connect (-t: TLS, a new handshake each), LOGIN, the commands,
 * LOGOUT.  Prints sessions a second, octets received, and the octets of one session.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct {
	bool		 tls;
	int		 clients, sessions, port, users;
	const char	*user, *password;
	char	       **command;
	int		 command_n;
	SSL_CTX		*ctx;
} opt = { .clients = 50, .sessions = 1000, .users = 1 };

static atomic_int next_session;
static atomic_llong octets;
static atomic_int failed;

struct session {
	int	 fd;
	SSL	*ssl;
	char	 buf[65536];
	size_t	 len;
	char	 tail[16];	/* octets before buf, for a tag that is cut in two */
};

static void
fail(const char *what)
{
	if (atomic_fetch_add(&failed, 1) == 0)
		fprintf(stderr, "imap_load: %s: %s\n", what, strerror(errno));
}

static ssize_t
get(struct session *s, char *out, size_t size)
{
	return s->ssl != NULL ? SSL_read(s->ssl, out, (int)size) : read(s->fd, out, size);
}

static bool
put(struct session *s, const char *text, size_t len)
{
	return (s->ssl != NULL ? SSL_write(s->ssl, text, (int)len) : write(s->fd, text, len)) == (ssize_t)len;
}

/* Read until a line that begins with tag; true: it says OK (or tag is "*"). */
static bool
until(struct session *s, const char *tag)
{
	size_t tag_len = strlen(tag);
	bool at_line = true;

	s->len = 0;
	for (;;) {
		ssize_t n = get(s, s->buf + s->len, sizeof(s->buf) - 1 - s->len);
		char *line, *end;

		if (n <= 0)
			return false;
		atomic_fetch_add(&octets, n);
		s->len += (size_t)n;
		s->buf[s->len] = '\0';
		for (line = s->buf; (end = memchr(line, '\n', s->len - (size_t)(line - s->buf))) != NULL; line = end + 1) {
			if (at_line && strncmp(line, tag, tag_len) == 0)
				return strncmp(line + tag_len, " OK", 3) == 0 || strncmp(line + tag_len, " BYE", 4) == 0;
			at_line = true;
		}
		s->len -= (size_t)(line - s->buf);
		memmove(s->buf, line, s->len);
		if (s->len > sizeof(s->buf) / 2) {	/* within a long line */
			s->len = 0;
			at_line = false;
		}
	}
}

static bool
say(struct session *s, const char *tag, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	return put(s, line, (size_t)n) && until(s, tag);
}

static bool
talk(struct session *s, int number)
{
	char user[256], tag[16];
	const char *percent = strchr(opt.user, '%');

	if (percent == NULL)
		snprintf(user, sizeof(user), "%s", opt.user);
	else
		snprintf(user, sizeof(user), "%.*s%d%s", (int)(percent - opt.user), opt.user, number % opt.users, percent + 1);
	if (!until(s, "*") || !say(s, "a", "a LOGIN %s %s\r\n", user, opt.password))
		return false;
	for (int i = 0; i < opt.command_n; i++) {
		snprintf(tag, sizeof(tag), "c%d", i);
		if (!say(s, tag, "%s %s\r\n", tag, opt.command[i]))
			return false;
	}
	return say(s, "z", "z LOGOUT\r\n");
}

static void
session(int number)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port) };
	struct linger linger = { 1, 0 };
	static __thread struct session s;
	int one = 1;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s.fd = socket(AF_INET, SOCK_STREAM, 0);
	s.ssl = NULL;
	(void)setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(s.fd, (struct sockaddr *)&sin, sizeof(sin)) != 0)
		fail("connect");
	else {
		if (opt.tls) {
			s.ssl = SSL_new(opt.ctx);
			SSL_set_fd(s.ssl, s.fd);
			if (SSL_connect(s.ssl) != 1)
				fail("TLS");
		}
		if (!talk(&s, number))
			fail("session");
	}
	SSL_free(s.ssl);
	(void)setsockopt(s.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));	/* no TIME_WAIT */
	close(s.fd);
}

static void *
client(void *arg)
{
	int n;

	(void)arg;
	while ((n = atomic_fetch_add(&next_session, 1)) < opt.sessions)
		session(n);
	return NULL;
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	pthread_t thread[1000];
	double began;
	int c;

	while ((c = getopt(argc, argv, "tc:n:p:u:w:U:")) != -1) {
		switch (c) {
		case 't': opt.tls = true; break;
		case 'c': opt.clients = atoi(optarg); break;
		case 'n': opt.sessions = atoi(optarg); break;
		case 'p': opt.port = atoi(optarg); break;
		case 'u': opt.user = optarg; break;
		case 'w': opt.password = optarg; break;
		case 'U': opt.users = atoi(optarg); break;
		default: return 64;
		}
	}
	if (opt.user == NULL || opt.password == NULL || opt.clients < 1 || opt.clients > 1000 || opt.users < 1)
		return 64;
	opt.command = argv + optind;
	opt.command_n = argc - optind;
	signal(SIGPIPE, SIG_IGN);
	opt.ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(opt.ctx, SSL_SESS_CACHE_OFF);
	began = now();
	for (int i = 0; i < opt.clients; i++)
		if (pthread_create(&thread[i], NULL, client, NULL) != 0)
			return 71;
	for (int i = 0; i < opt.clients; i++)
		pthread_join(thread[i], NULL);
	printf("%.1f %lld %lld %d\n", opt.sessions / (now() - began), (long long)octets,
	    (long long)octets / opt.sessions, failed);
	return failed != 0;
}
