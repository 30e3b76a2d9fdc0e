/*
 * The keepers: IMAP clients with a mailbox of their own each, who add, copy,
 * move, flag and expunge messages, one command at a time over TLS, and write
 * down which states of a message the answers allow: one after OK or NO, two
 * when the connection went before the answer came.  A message whose state is
 * not certain is left alone until the next look at everything.
 */
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"
#include "selftest.h"
#include "tls.h"

#define ANSWER_S	10	/* a front may have lost whom it asks */
#define REST_USEC	6000	/* between two commands, on average */
#define AGAIN_USEC	20000	/* after a connection that failed */
#define COMMANDS	30	/* at most so many on one connection */
#define ANSWER_MAX	65536

enum answer { ANSWER_OK, ANSWER_NO, ANSWER_NONE };

struct keeper {
	const struct selftest_suite	*suite;
	struct selftest_shared		*shared;
	struct keeps			*keeps;
	uint64_t			 seed, random;
	unsigned			 which;
	struct ssl_ctx_st		*tls;
	struct ssl_st			*ssl;		/* NULL: not connected */
	int				 fd;
	unsigned			 left, tag;
	struct buf			 content, in;	/* in: the answer so far */
};

/* ---- the connection ---- */

static void
hang_up(struct keeper *k)
{
	tls_stream_free(k->ssl);
	k->ssl = NULL;
	if (k->fd >= 0)
		(void)close(k->fd);
	k->fd = -1;
}

static bool
send_all(struct keeper *k, const char *ptr, size_t len)
{
	size_t put;

	while (len > 0) {
		if (tls_stream_write(k->ssl, ptr, len, &put) != TLS_IO_OK)
			return false;
		ptr += put;
		len -= put;
	}
	return true;
}

/*
 * Read on until a line begins with `mark` or with `other`; *line is that line's
 * rest.  1 or 2: which of them; 0: the connection is gone.
 */
static int
read_to(struct keeper *k, const char *mark, const char *other, struct slice *line)
{
	size_t from = 0, got;

	for (;;) {
		struct slice rest = slice_sub(buf_slice_of(&k->in), from, k->in.len);
		char *room;

		while (slice_find(rest, '\n') < rest.len) {
			*line = slice_cut(&rest, '\n');
			from = k->in.len - rest.len;
			if (slice_prefix(line, mark))
				return 1;
			if (slice_prefix(line, other))
				return 2;
		}
		room = buf_room(&k->in, 4096);
		if (room == NULL || tls_stream_read(k->ssl, room, 4096, &got) != TLS_IO_OK)
			return 0;
		buf_add(&k->in, got);
	}
}

/* The tagged answer; what came before it is in k->in. */
static enum answer
answer(struct keeper *k)
{
	struct slice line;
	char tag[16];

	(void)snprintf(tag, sizeof(tag), "t%u ", k->tag);
	if (read_to(k, tag, "* BYE", &line) != 1)
		return ANSWER_NONE;
	return slice_prefix(&line, "OK") ? ANSWER_OK : ANSWER_NO;
}

static enum answer __attribute__((format(printf, 2, 3)))
command(struct keeper *k, const char *fmt, ...)
{
	struct buf out;
	va_list ap;
	bool sent;

	buf_init(&out, 4096);
	(void)buf_fmt(&out, "t%u ", ++k->tag);
	va_start(ap, fmt);
	(void)buf_vfmt(&out, fmt, ap);
	va_end(ap);
	buf_reset(&k->in);
	sent = buf_text(&out, "\r\n") && send_all(k, out.ptr, out.len);
	buf_clear(&out);
	return sent ? answer(k) : ANSWER_NONE;
}

static bool
call(struct keeper *k)
{
	const struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(k->suite->imap_port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval limit = { .tv_sec = ANSWER_S };
	struct slice line;

	k->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (k->fd < 0)
		return false;
	(void)setsockopt(k->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(k->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(k->fd, (const struct sockaddr *)&sin, sizeof(sin)) != 0)
		return false;
	k->ssl = tls_stream_new(k->tls, k->fd, k->fd, "mail." SELFTEST_DOMAIN, false);
	k->left = 1 + (unsigned)(selftest_next(&k->random) % COMMANDS);
	buf_reset(&k->in);
	return k->ssl != NULL && tls_stream_handshake(k->ssl) == TLS_IO_OK && read_to(k, "* OK", "* BYE", &line) == 1 &&
	    command(k, "LOGIN k%u@" SELFTEST_DOMAIN " \"" SELFTEST_PASSWORD "\"", k->which) == ANSWER_OK &&
	    command(k, "SELECT INBOX") == ANSWER_OK;
}

/* ---- commands, and what is known after them ---- */

static void
certain(struct keep *m, const struct keep_counts now)
{
	m->allowed[0] = now;
	m->allowed_n = 1;
}

/* OK: only `done`; NO: only what was; no answer: one or the other. */
static void
outcome(struct keep *m, enum answer a, const struct keep_counts done)
{
	if (a == ANSWER_OK) {
		certain(m, done);
	} else if (a == ANSWER_NONE) {
		m->allowed[m->allowed_n] = done;
		m->allowed_n = 2;
	}
}

/* "[CODE uidvalidity [source] uid]": the last number; 0: the answer has none. */
static uint32_t
uid_of(const struct keeper *k, const char *code)
{
	const char *at = k->in.len == 0 ? NULL : memmem(k->in.ptr, k->in.len, code, strlen(code));
	struct slice rest, word = { "", 0 };
	uint64_t uid;

	if (at == NULL)
		return 0;
	rest = slice_make(at, k->in.len - (size_t)(at - k->in.ptr));
	rest = slice_cut(&rest, ']');
	while (rest.len > 0)
		word = slice_cut(&rest, ' ');
	return slice_number(word, UINT32_MAX, &uid) ? (uint32_t)uid : 0;
}

static enum answer
append(struct keeper *k, struct keep *m)
{
	struct slice line;
	enum answer a;
	char head[128], tag[16];
	int n;

	(void)snprintf(tag, sizeof(tag), "t%u ", ++k->tag);
	n = snprintf(head, sizeof(head), "%sAPPEND INBOX {%zu}\r\n", tag, k->content.len);
	buf_reset(&k->in);
	/* Without the go-ahead there is nothing that could be stored. */
	if (!send_all(k, head, (size_t)n) || read_to(k, "+", tag, &line) != 1) {
		hang_up(k);
		return ANSWER_NO;
	}
	a = send_all(k, k->content.ptr, k->content.len) && send_all(k, "\r\n", 2) ? answer(k) : ANSWER_NONE;
	if (a == ANSWER_OK)
		m->uid = uid_of(k, "[APPENDUID ");
	return a;
}

static enum answer
add(struct keeper *k)
{
	uint32_t n = atomic_fetch_add(&k->shared->next, 1), at = k->keeps->n;
	struct keep *m = &k->keeps->at[at];
	enum answer a;

	if (n >= MESSAGES_MAX) {
		atomic_store(&k->shared->next, MESSAGES_MAX);
		return ANSWER_NO;
	}
	if (!message_content(k->seed, n, &k->content))
		return ANSWER_NO;
	*m = (struct keep){ .n = n, .last = "APPEND" };
	certain(m, (struct keep_counts){ 0 });
	k->shared->fate[n].keep = k->which * KEEPS_MAX + at + 1;
	k->keeps->n++;
	a = append(k, m);
	outcome(m, a, (struct keep_counts){ .inbox = 1 });
	return a;
}

static enum answer
copy(struct keeper *k, struct keep *m)
{
	struct keep_counts done = m->allowed[0];
	enum answer a = command(k, "UID COPY %u Sent", m->uid);

	done.sent++;
	m->last = "COPY";
	/* OK without a code: it was not there, and the next look says so. */
	if (a != ANSWER_OK || uid_of(k, "[COPYUID ") != 0)
		outcome(m, a, done);
	return a;
}

static enum answer
move(struct keeper *k, struct keep *m)
{
	struct keep_counts done = m->allowed[0];
	enum answer a = command(k, "UID MOVE %u Archive", m->uid);

	done.inbox = 0;
	done.archive = 1;
	m->last = "MOVE";
	if (a != ANSWER_OK || uid_of(k, "[COPYUID ") != 0)
		outcome(m, a, done);
	m->uid = 0;
	return a;
}

static enum answer
flag(struct keeper *k, struct keep *m)
{
	enum answer a = command(k, "UID STORE %u +FLAGS.SILENT (\\Flagged)", m->uid);

	if (a == ANSWER_OK)
		m->flagged = true;
	return a;
}

static enum answer
expunge(struct keeper *k, struct keep *m)
{
	struct keep_counts done = m->allowed[0];
	enum answer a = command(k, "UID STORE %u +FLAGS.SILENT (\\Deleted)", m->uid);

	if (a != ANSWER_OK)
		return a;
	a = command(k, "UID EXPUNGE %u", m->uid);
	done.inbox = 0;
	m->last = "EXPUNGE";
	m->flagged &= a != ANSWER_OK;
	outcome(m, a, done);
	m->uid = 0;
	return a;
}

/* A message in INBOX of which everything is known; NULL: none was found. */
static struct keep *
choose(struct keeper *k)
{
	for (unsigned i = 0; i < 16 && k->keeps->n > 0; i++) {
		struct keep *m = &k->keeps->at[selftest_next(&k->random) % k->keeps->n];

		if (m->uid != 0 && m->allowed_n == 1 && m->allowed[0].inbox == 1)
			return m;
	}
	return NULL;
}

static void
one_command(struct keeper *k)
{
	static enum answer (*const change[])(struct keeper *, struct keep *) = { copy, move, flag, expunge };
	struct keep *m = choose(k);
	enum answer a;

	if (m == NULL || (selftest_next(&k->random) % 2 == 0 && k->keeps->n < KEEPS_MAX))
		a = k->keeps->n < KEEPS_MAX ? add(k) : ANSWER_NO;
	else
		a = change[selftest_next(&k->random) % LEN(change)](k, m);
	k->keeps->commands[a]++;
	if (a == ANSWER_NONE || k->ssl == NULL || --k->left == 0)
		hang_up(k);
}

_Noreturn void
keeper_run(const struct selftest_suite *suite, struct selftest_shared *shared, uint64_t seed, unsigned which)
{
	struct keeper k = { .suite = suite, .shared = shared, .keeps = &shared->keeps[which], .seed = seed,
	    .random = selftest_mix(seed, which + 2000), .which = which, .fd = -1 };
	char why[300], path[4300];

	(void)snprintf(path, sizeof(path), "%s/tls/cert.pem", suite->dir);
	(void)setenv("SSL_CERT_FILE", path, 1);
	buf_init(&k.content, 1024 * 1024);
	buf_init(&k.in, ANSWER_MAX);
	k.tls = tls_client_new(why, sizeof(why));
	if (k.tls == NULL)
		_exit(EX_OSERR);
	for (;;) {
		if (atomic_load(&shared->pause))
			hang_up(&k);
		load_rest(shared, SENDERS + which);
		if (k.ssl == NULL && !call(&k)) {
			hang_up(&k);
			suite_nap(AGAIN_USEC);
			continue;
		}
		one_command(&k);
		suite_nap((unsigned)(selftest_next(&k.random) % (2 * REST_USEC)));
	}
}
