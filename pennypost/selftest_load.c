/*
 * The senders: processes of their own with blocking sockets.  Each takes a
 * number, sends that message once, and writes down what it was told.  Nothing
 * is sent a second time: what got no answer is in doubt, and stays so.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"
#include "selftest.h"

#define ANSWER_S	90	/* more than smtpd waits for queue */
#define A_SESSION	12	/* at most so many messages on one connection */
#define PAUSE_USEC	2000
#define REST_USEC	8000	/* between two messages, on average: what is taken has to be delivered too */
#define AGAIN_USEC	5000	/* after a connection that failed */

struct sender {
	const struct selftest_suite	*suite;
	struct selftest_shared		*shared;
	uint64_t			 seed, random;
	unsigned			 which;
	int				 fd;		/* -1: not connected */
	unsigned			 left;		/* messages until QUIT */
	struct buf			 content, wire, in;
};

/* ---- SMTP ---- */

static void
hang_up(struct sender *s)
{
	if (s->fd >= 0)
		(void)close(s->fd);
	s->fd = -1;
	buf_reset(&s->in);
}

static bool
send_all(struct sender *s, const char *ptr, size_t len)
{
	while (len > 0) {
		ssize_t n = send(s->fd, ptr, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		ptr += n;
		len -= (size_t)n;
	}
	return true;
}

/* The code of the next reply, its last line; 0: the connection is gone. */
static int
reply(struct sender *s)
{
	for (;;) {
		struct slice all = buf_slice_of(&s->in);
		size_t end = slice_find(all, '\n');
		char *room;
		ssize_t n;

		if (end < all.len) {
			bool last = end >= 4 && all.ptr[3] != '-';
			int code = end >= 4 ? atoi(slice_sub(all, 0, 3).ptr) : 0;

			buf_skip(&s->in, end + 1);
			if (last || code == 0)
				return code;
			continue;
		}
		room = buf_room(&s->in, 2048);
		n = room == NULL ? -1 : recv(s->fd, room, 2048, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		buf_add(&s->in, (size_t)n);
	}
}

static int
command(struct sender *s, const char *verb, const char *argument)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "%s%s\r\n", verb, argument);

	return n > 0 && send_all(s, line, (size_t)n) ? reply(s) : 0;
}

static bool
call(struct sender *s)
{
	const struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(s->suite->smtp_port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval limit = { .tv_sec = ANSWER_S };

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return false;
	(void)setsockopt(s->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(s->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	s->left = 1 + (unsigned)(selftest_next(&s->random) % A_SESSION);
	if (connect(s->fd, (const struct sockaddr *)&sin, sizeof(sin)) == 0 && reply(s) == 220 &&
	    command(s, "EHLO sender.test", "") == 250)
		return true;
	hang_up(s);
	return false;
}

/* Content with dots stuffed, and the end. */
static bool
stuff(struct sender *s)
{
	struct slice rest = buf_slice_of(&s->content);

	buf_reset(&s->wire);
	while (rest.len > 0) {
		struct slice line = slice_cut(&rest, '\n');

		if (line.len > 0 && line.ptr[0] == '.')
			(void)buf_char(&s->wire, '.');
		(void)buf_slice(&s->wire, line);
		(void)buf_char(&s->wire, '\n');
	}
	return buf_text(&s->wire, ".\r\n");
}

static bool
envelope(struct sender *s, uint32_t n)
{
	const char *rcpt[SELFTEST_USERS + 2];
	char argument[256];

	message_rcpts(message_places(s->seed, n, false), selftest_mix(s->seed, n) % 2 == 0, rcpt);
	if (command(s, "MAIL FROM:<s@sender.test>", "") != 250)
		return false;
	for (size_t i = 0; rcpt[i] != NULL; i++) {
		(void)snprintf(argument, sizeof(argument), "<%s>", rcpt[i]);
		if (command(s, "RCPT TO:", argument) != 250)
			return false;
	}
	return command(s, "DATA", "") == 354;
}

static enum told
send_smtp(struct sender *s, uint32_t n, uint16_t *said)
{
	int code;

	if (!message_content(s->seed, n, &s->content) || !stuff(s) || (s->fd < 0 && !call(s)))
		return TOLD_REFUSED;
	if (!envelope(s, n)) {
		hang_up(s);
		return TOLD_REFUSED;
	}
	/* From here on it may be whole on the other side. */
	code = send_all(s, s->wire.ptr, s->wire.len) ? reply(s) : 0;
	if (code == 0 || --s->left == 0)
		hang_up(s);
	*said = (uint16_t)code;
	return code == 250 ? TOLD_TAKEN : code == 0 ? TOLD_DOUBT : TOLD_REFUSED;
}

/* ---- sendmail ---- */

static _Noreturn void
run_sendmail(struct sender *s, uint32_t n, int in)
{
	const char *rcpt[SELFTEST_USERS + 2];
	char *argv[16] = { NULL }, name[] = "sendmail", conf[] = "-C", ignore[] = "-i", from[] = "-fs@sender.test";
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	size_t k = 0;

	message_rcpts(message_places(s->seed, n, true), selftest_mix(s->seed, n) % 2 == 0, rcpt);
	argv[k++] = name;
	argv[k++] = conf;
	argv[k++] = strdup(s->suite->conf_file);
	argv[k++] = ignore;
	argv[k++] = from;
	for (size_t i = 0; rcpt[i] != NULL; i++)
		argv[k++] = strdup(rcpt[i]);
	if (null >= 0 && dup2(in, 0) >= 0 && dup2(null, 1) >= 0 && dup2(null, 2) >= 0)
		(void)execv(s->suite->self, argv);
	_exit(EX_OSERR);
}

static enum told
send_sendmail(struct sender *s, uint32_t n, uint16_t *said)
{
	int fds[2], status;
	size_t done = 0;
	pid_t pid;

	if (!message_content(s->seed, n, &s->content) || pipe2(fds, O_CLOEXEC) != 0)
		return TOLD_REFUSED;
	pid = fork();
	if (pid == 0)
		run_sendmail(s, n, fds[0]);
	(void)close(fds[0]);
	while (pid > 0 && done < s->content.len) {
		ssize_t w = write(fds[1], s->content.ptr + done, s->content.len - done);

		if (w < 0 && errno != EINTR)
			break;
		done += w > 0 ? (size_t)w : 0;
	}
	(void)close(fds[1]);
	if (pid < 0)
		return TOLD_REFUSED;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return TOLD_DOUBT;
	*said = (uint16_t)WEXITSTATUS(status);
	return WEXITSTATUS(status) == EX_OK ? TOLD_TAKEN : TOLD_REFUSED;
}

/* ---- the life of a sender ---- */

static void
send_next(struct sender *s)
{
	uint32_t n = atomic_fetch_add(&s->shared->next, 1);
	struct selftest_fate *fate;
	enum told told;

	if (n >= MESSAGES_MAX) {
		atomic_store(&s->shared->next, MESSAGES_MAX);
		suite_nap(100 * PAUSE_USEC);
		return;
	}
	fate = &s->shared->fate[n];
	fate->by_sendmail = s->which >= SENDERS_SMTP;
	/* If we are ended meanwhile nobody knows. */
	atomic_store(&fate->told, TOLD_DOUBT);
	told = fate->by_sendmail ? send_sendmail(s, n, &fate->code) : send_smtp(s, n, &fate->code);
	atomic_store(&fate->told, (uint8_t)told);
	if (told == TOLD_TAKEN)
		suite_nap((unsigned)(selftest_next(&s->random) % (2 * REST_USEC)));
	else
		suite_nap(AGAIN_USEC);
}

void
load_rest(struct selftest_shared *shared, size_t worker)
{
	while (atomic_load(&shared->pause)) {
		atomic_store(&shared->idle[worker], true);
		suite_nap(PAUSE_USEC);
	}
	atomic_store(&shared->idle[worker], false);
}

static _Noreturn void
sender(const struct selftest_suite *suite, struct selftest_shared *shared, uint64_t seed, unsigned which)
{
	struct sender s = { .suite = suite, .shared = shared, .seed = seed, .random = selftest_mix(seed, which + 1000),
	    .which = which, .fd = -1 };

	buf_init(&s.content, 1024 * 1024);
	buf_init(&s.wire, 2 * 1024 * 1024);
	buf_init(&s.in, 65536);
	for (;;) {
		if (atomic_load(&shared->pause))
			hang_up(&s);
		load_rest(shared, which);
		send_next(&s);
	}
}

bool
load_start(struct selftest_suite *s, struct selftest_shared *shared, uint64_t seed)
{
	pid_t self = getpid();

	for (unsigned i = 0; i < WORKERS; i++) {
		s->worker[i] = fork();
		if (s->worker[i] < 0)
			return false;
		if (s->worker[i] > 0)
			continue;
		if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 || getppid() != self)
			_exit(EX_OSERR);
		(void)signal(SIGPIPE, SIG_IGN);
		(void)signal(SIGINT, SIG_IGN);	/* of a terminal: our parent ends us */
		(void)signal(SIGTERM, SIG_DFL);
		if (i < SENDERS)
			sender(s, shared, seed, i);
		keeper_run(s, shared, seed, i - SENDERS);
	}
	return true;
}

bool
load_pause(struct selftest_shared *shared, unsigned wait_ms)
{
	uint64_t over = now_mono_usec() + (uint64_t)wait_ms * 1000;
	size_t at_rest = 0;

	atomic_store(&shared->pause, true);
	while (at_rest < WORKERS && now_mono_usec() < over && !selftest_stop) {
		suite_nap(PAUSE_USEC);
		for (at_rest = 0; at_rest < WORKERS && atomic_load(&shared->idle[at_rest]); at_rest++)
			;
	}
	return at_rest == WORKERS;
}

void
load_go_on(struct selftest_shared *shared)
{
	for (size_t i = 0; i < WORKERS; i++)
		atomic_store(&shared->idle[i], false);
	atomic_store(&shared->pause, false);
}
