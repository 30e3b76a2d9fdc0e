/*
 * smtp_load: SMTP sessions with one message each, for what smtp-source cannot:
 * STARTTLS, with a new handshake each time, and recipients by turns.
 *
 *	smtp_load plain|tls PORT CLIENTS MESSAGES OCTETS RECIPIENT [USERS]
 *
 * A '#' in RECIPIENT becomes 1 to USERS by turns.  CLIENTS processes speak at
 * once, to 127.0.0.1.  Prints messages a second.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

struct session {
	int	 fd;
	SSL	*ssl;		/* NULL before STARTTLS */
	char	 in[4096];
	size_t	 len;
};

static _Noreturn void
die(const char *what)
{
	(void)fprintf(stderr, "smtp_load: %s\n", what);
	exit(1);
}

static double
now_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
put(struct session *s, const char *ptr, size_t len)
{
	while (len > 0) {
		size_t put = 0;

		if (s->ssl != NULL) {
			if (SSL_write_ex(s->ssl, ptr, len, &put) != 1)
				die("write under TLS");
		} else {
			ssize_t n = write(s->fd, ptr, len);

			if (n <= 0)
				die("write");
			put = (size_t)n;
		}
		ptr += put;
		len -= put;
	}
}

static void
fill(struct session *s)
{
	size_t room = sizeof(s->in) - s->len, got = 0;

	if (room == 0)
		die("reply is too long");
	if (s->ssl != NULL) {
		if (SSL_read_ex(s->ssl, s->in + s->len, room, &got) != 1)
			die("read under TLS");
	} else {
		ssize_t n = read(s->fd, s->in + s->len, room);

		if (n <= 0)
			die("connection lost");
		got = (size_t)n;
	}
	s->len += got;
}

/* One whole reply, with all its lines; it must begin with this digit. */
static void
expect(struct session *s, char digit)
{
	for (;;) {
		char *end = memchr(s->in, '\n', s->len);
		bool last;

		if (end == NULL) {
			fill(s);
			continue;
		}
		if (s->in[0] != digit) {
			(void)fprintf(stderr, "smtp_load: %.*s\n", (int)(end - s->in), s->in);
			exit(1);
		}
		last = end - s->in < 4 || s->in[3] != '-';
		s->len -= (size_t)(end + 1 - s->in);
		memmove(s->in, end + 1, s->len);
		if (last)
			return;
	}
}

static void
say(struct session *s, char digit, const char *format, ...)
{
	char line[600];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(line))
		die("line is too long");
	put(s, line, (size_t)n);
	expect(s, digit);
}

static void
start_tls(struct session *s, SSL_CTX *ctx)
{
	say(s, '2', "STARTTLS\r\n");
	s->ssl = SSL_new(ctx);
	if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1 || SSL_connect(s->ssl) != 1)
		die("handshake failed");
	say(s, '2', "EHLO client.example.net\r\n");
}

/* ctx: NULL without TLS. */
static void
one_message(SSL_CTX *ctx, const struct sockaddr_in *to, const char *rcpt, const char *content, size_t len)
{
	struct session s = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	const int on = 1;

	if (s.fd == -1 || connect(s.fd, (const struct sockaddr *)to, sizeof(*to)) != 0)
		die("cannot connect");
	(void)setsockopt(s.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	expect(&s, '2');
	say(&s, '2', "EHLO client.example.net\r\n");
	if (ctx != NULL)
		start_tls(&s, ctx);
	say(&s, '2', "MAIL FROM:<sender@example.net>\r\n");
	say(&s, '2', "RCPT TO:<%s>\r\n", rcpt);
	say(&s, '3', "DATA\r\n");
	put(&s, content, len);
	expect(&s, '2');
	say(&s, '2', "QUIT\r\n");
	if (s.ssl != NULL) {
		(void)SSL_shutdown(s.ssl);
		SSL_free(s.ssl);
	}
	(void)close(s.fd);
}

static char *
make_content(size_t octets, size_t *len)
{
	static const char head[] = "From: <sender@example.net>\r\nSubject: load\r\n\r\n";
	static const char line[] = "The quick brown fox jumps over the lazy dog, again and again.\r\n";
	char *content = malloc(octets + sizeof(head) + sizeof(line) + 8);
	size_t n = sizeof(head) - 1;

	if (content == NULL)
		die("no memory");
	memcpy(content, head, n);
	for (; n < octets; n += sizeof(line) - 1)
		memcpy(content + n, line, sizeof(line) - 1);
	memcpy(content + n, ".\r\n", 3);
	*len = n + 3;
	return content;
}

static SSL_CTX *
make_ctx(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (ctx == NULL || SSL_CTX_set1_groups_list(ctx, "P-256") != 1)
		die("no TLS");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	(void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

struct load {
	struct sockaddr_in	 to;
	bool			 tls;
	long			 clients, messages, users;
	const char		*rcpt;
	char			*content;
	size_t			 len;
};

/* One client: all messages whose number is `number` modulo the clients. */
static void
client(const struct load *l, long number)
{
	SSL_CTX *ctx = l->tls ? make_ctx() : NULL;
	size_t before = strcspn(l->rcpt, "#");
	char rcpt[300];

	for (long i = number; i < l->messages; i += l->clients) {
		if (l->rcpt[before] == '#')
			(void)snprintf(rcpt, sizeof(rcpt), "%.*s%ld%s", (int)before, l->rcpt, i % l->users + 1,
			    l->rcpt + before + 1);
		else
			(void)snprintf(rcpt, sizeof(rcpt), "%s", l->rcpt);
		one_message(ctx, &l->to, rcpt, l->content, l->len);
	}
	SSL_CTX_free(ctx);
}

int
main(int argc, char **argv)
{
	struct load l = { .to.sin_family = AF_INET, .to.sin_addr.s_addr = htonl(INADDR_LOOPBACK), .users = 1 };
	int status, failed = 0;
	double start;

	if (argc < 7 || argc > 8) {
		(void)fprintf(stderr, "usage: smtp_load plain|tls PORT CLIENTS MESSAGES OCTETS RECIPIENT [USERS]\n");
		return 64;
	}
	l.tls = strcmp(argv[1], "tls") == 0;
	l.to.sin_port = htons((uint16_t)strtol(argv[2], NULL, 10));
	l.clients = strtol(argv[3], NULL, 10);
	l.messages = strtol(argv[4], NULL, 10);
	l.rcpt = argv[6];
	if (argc == 8)
		l.users = strtol(argv[7], NULL, 10);
	if (l.clients <= 0 || l.users <= 0)
		die("bad arguments");
	l.content = make_content((size_t)strtol(argv[5], NULL, 10), &l.len);
	start = now_s();
	for (long i = 0; i < l.clients; i++) {
		if (fork() != 0)
			continue;
		client(&l, i);
		free(l.content);
		_exit(0);
	}
	while (wait(&status) > 0)
		failed |= status;
	free(l.content);
	if (failed != 0)
		return 1;
	(void)printf("%.1f\n", (double)l.messages / (now_s() - start));
	return 0;
}
