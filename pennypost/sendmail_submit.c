/*
 * sendmail_submit: hand a message over to queue; when queue is not there,
 * through the helper `drop` into spool/drop.
 *
 * The id is leased first.  When the connection is lost after the message was
 * sent, the same id is submitted again: queue takes it once.  When queue stays
 * away the message is dropped with that id, and queue looks whether it has it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "daemon.h"
#include "dropfile.h"
#include "qid.h"
#include "sendmail.h"
#include "verdict.h"

#define TRIES		20
#define PAUSE_MS	250
#define ANSWER_MS	120000	/* queue syncs a disk before it answers */

enum handed { HANDED, REFUSED, AWAY };	/* REFUSED: rc says why; AWAY: try again, or drop it */

struct try {
	struct submission	*s;
	struct slice		 rcpts;		/* those of this message: at most as many as one may have */
	struct client		 client;
	struct qid		 qid;		/* kept from try to try */
	struct buf		 head;		/* finished header */
	struct buf		 message_id;
	uint64_t		 since_usec;
	bool			 offered;	/* queue may have it: submit was sent whole */
	int			 rc;
};

/* Header with this id in it; parts of one message have the first one's. */
static bool
finish_header(struct submission *s, const char *id, struct buf *head, struct buf *message_id)
{
	const struct mail_extra extra = {
		.id = s->id[0] != '\0' ? s->id : id, .hostname = s->cli->conf.hostname, .name = slice_of(s->full_name),
		.from = addr_is_null(&s->sender) ? addr_text(&s->self) : addr_text(&s->sender),
		.now = time(NULL),
	};

	buf_reset(head);
	buf_reset(message_id);
	return mail_message_finish(&s->message, &extra, head, message_id);
}

static int
say_errno(const struct submission *s, const char *what)
{
	int error = errno;

	cli_errno(s->cli, "%s", what);
	return error == ENOSPC || error == EDQUOT || error == EMFILE || error == ENFILE || error == ENOMEM ?
	    EX_TEMPFAIL : EX_IOERR;
}

/* ---- to queue ---- */

static bool
ask(struct try *t, struct buf *out, bool good, uint16_t want, struct slice *answer, int *passed)
{
	uint16_t code;

	return client_send(&t->client, out, good, -1) &&
	    client_recv(&t->client, ANSWER_MS, answer, &code, passed) && code == want;
}

static bool
lease(struct try *t)
{
	const struct ipc_submit_lease request = { .count = 1 };
	struct ipc_submit_ids ids;
	struct slice answer;
	struct buf out;

	buf_init(&out, IPC_FRAME_MAX);
	if (!ask(t, &out, ipc_put_submit_lease(&out, &request), IPC_submit_ids, &answer, NULL) ||
	    !ipc_get_submit_ids(answer, &ids) || ids.count == 0)
		return false;
	t->qid.n = ids.first;
	return true;
}

/* All recipients but the last IPC_RCPTS_MAX octets go ahead; *last gets these. */
static bool
send_rcpts(struct try *t, struct slice *last)
{
	struct slice rest = t->rcpts, begin = rest;
	struct ipc_rcpt rcpt;
	bool bad = false;

	while (rest.len > 0) {
		struct slice before = rest;

		if (!ipc_next_rcpt(&rest, &rcpt, &bad))
			return false;
		if ((size_t)(rest.ptr - begin.ptr) > IPC_RCPTS_MAX) {
			const struct ipc_submit_rcpts some = {
				.qid = t->qid.n, .rcpts = slice_sub(begin, 0, (size_t)(before.ptr - begin.ptr)),
			};
			struct buf out;

			buf_init(&out, IPC_FRAME_MAX);
			if (!client_send(&t->client, &out, ipc_put_submit_rcpts(&out, &some), -1))
				return false;
			begin = before;
		}
	}
	*last = begin;
	return true;
}

static void
abort_submit(struct try *t)
{
	const struct ipc_submit_abort forget = { .qid = t->qid.n };
	struct buf out;

	buf_init(&out, IPC_FRAME_MAX);
	(void)client_send(&t->client, &out, ipc_put_submit_abort(&out, &forget), -1);
}

static bool
write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s = slice_sub(s, (size_t)n, s.len);
	}
	return true;
}

/* Content that is too large for a frame, into the file that queue opened for it. */
static enum handed
send_file(struct try *t)
{
	const struct ipc_submit_file_open request = { .qid = t->qid.n };
	struct ipc_submit_file file;
	struct slice answer;
	struct buf out;
	int fd = -1;
	bool ok;

	buf_init(&out, IPC_FRAME_MAX);
	if (!ask(t, &out, ipc_put_submit_file_open(&out, &request), IPC_submit_file, &answer, &fd) ||
	    !ipc_get_submit_file(answer, &file))
		return AWAY;
	if (file.verdict != OK || fd < 0) {
		cli_say(t->s->cli, "queue has no room for a message of this size now; try again later");
		t->rc = EX_TEMPFAIL;
		return REFUSED;
	}
	ok = write_all(fd, buf_slice_of(&t->head)) && mail_message_copy_body(&t->s->message, fd);
	if (!ok)
		t->rc = say_errno(t->s, "cannot write into the spool");
	(void)close(fd);
	if (ok)
		return HANDED;
	abort_submit(t);
	return REFUSED;
}

/* The frame that makes it a message of queue's; *result is then what queue says. */
static bool
submit(struct try *t, struct slice rcpts, bool in_file, struct ipc_submit_result *result)
{
	const struct submission *s = t->s;
	struct ipc_submit m = {
		.qid = t->qid.n, .origin = ORIGIN_LOCAL, .in_file = in_file,
		.body_8bit = s->message.eight_bit || s->options->body == 8, .received_usec = t->since_usec,
		.sender = addr_text(&s->sender), .ret = (uint8_t)s->options->ret, .rcpts = rcpts,
		.envid = slice_of(s->options->envid), .message_id = buf_slice_of(&t->message_id),
	};
	struct slice answer;
	struct buf out, content;
	bool done;

	buf_init(&content, IPC_INLINE_MAX);
	buf_init(&out, IPC_FRAME_MAX);
	if (!in_file && buf_slice(&content, buf_slice_of(&t->head)))
		(void)buf_slice(&content, buf_slice_of(&s->message.body));
	m.content = buf_slice_of(&content);
	t->offered = true;
	done = ask(t, &out, ipc_put_submit(&out, &m), IPC_submit_result, &answer, NULL) &&
	    ipc_get_submit_result(answer, result) && result->qid == t->qid.n;
	buf_clear(&content);
	return done;
}

/*
 * A message in a file was offered before and the answer was lost.  Does queue
 * have it?  The file went with the connection, so it cannot be taken anew by this.
 */
static enum handed
ask_again(struct try *t, struct slice rcpts)
{
	struct ipc_submit_result result;

	if (!submit(t, rcpts, true, &result))
		return AWAY;
	return result.verdict == OK ? HANDED : REFUSED;
}

static enum handed
send_message(struct try *t)
{
	const struct submission *s = t->s;
	const bool in_file = t->head.len + s->message.body_size > IPC_INLINE_MAX;
	struct ipc_submit_result result;
	enum handed handed;
	struct slice last;

	if (!send_rcpts(t, &last))
		return AWAY;
	if (in_file && t->offered) {
		handed = ask_again(t, last);
		if (handed != REFUSED)
			return handed;
		/* It does not, and threw away the recipients too. */
		t->offered = false;
		if (!send_rcpts(t, &last))
			return AWAY;
	}
	if (in_file && (handed = send_file(t)) != HANDED)
		return handed;
	if (!submit(t, last, in_file, &result))
		return AWAY;
	if (result.verdict == OK)
		return HANDED;
	cli_say(s->cli, "queue does not take the message: %.*s", (int)result.text.len, result.text.ptr);
	t->rc = result.verdict == TEMP ? EX_TEMPFAIL : EX_DATAERR;
	return REFUSED;
}

static enum handed
try_once(struct try *t)
{
	char id[QID_TEXT];
	enum handed handed = AWAY;

	if (!client_open(&t->client, &t->s->cli->conf, "queue-submit"))
		return AWAY;
	if (t->qid.n != 0 || lease(t)) {
		if (finish_header(t->s, qid_print(t->qid, id), &t->head, &t->message_id)) {
			handed = send_message(t);
		} else {
			cli_say(t->s->cli, "no memory");
			t->rc = EX_TEMPFAIL;
			handed = REFUSED;
		}
	}
	client_close(&t->client);
	return handed;
}

/* ---- through the helper ---- */

/* No id of queue's is at hand: as many random digits. */
static void
random_id(char out[QID_TEXT])
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	unsigned char raw[QID_DIGITS] = { 0 };

	(void)!getrandom(raw, sizeof(raw), 0);
	for (size_t i = 0; i < QID_DIGITS; i++)
		out[i] = digits[raw[i] % 62];
	out[QID_DIGITS] = '\0';
}

static _Noreturn void
helper(const struct submission *s, int in)
{
	const struct cli *c = s->cli;
	char path[4200], name[] = "drop", flag[] = "-C";
	char *argv[] = { name, NULL, NULL, NULL }, *none[] = { NULL };

	(void)snprintf(path, sizeof(path), "%s/drop", c->conf.libexec_dir);
	if (c->conf_given) {
		argv[1] = flag;
		argv[2] = c->conf.file;
	}
	if (dup2(in, 0) == 0)
		(void)execve(path, argv, none);
	cli_errno(c, "queue is not running, and %s cannot run", path);
	_exit(EX_UNAVAILABLE);
}

/* Everything into the pipe; the helper's own words say what went wrong with it. */
static int
feed_helper(struct try *t, pid_t pid, int out_fd, struct slice envelope)
{
	bool fed = write_all(out_fd, envelope) && write_all(out_fd, buf_slice_of(&t->head)) &&
	    mail_message_copy_body(&t->s->message, out_fd);
	int status;

	(void)close(out_fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EX_OSERR;
	if (!WIFEXITED(status))
		return EX_SOFTWARE;
	return WEXITSTATUS(status) == 0 && !fed ? EX_IOERR : WEXITSTATUS(status);
}

static int
drop(struct try *t)
{
	const struct submission *s = t->s;
	struct dropfile d = {
		.received_usec = t->since_usec, .uid = (uint32_t)getuid(),
		.body_8bit = s->message.eight_bit || s->options->body == 8, .ret = (uint8_t)s->options->ret,
		.sender = addr_text(&s->sender), .envid = slice_of(s->options->envid),
		.rcpts = t->rcpts,
	};
	char id[QID_TEXT];
	struct buf envelope;
	int fds[2], rc;
	pid_t pid;

	random_id(id);
	if (!finish_header(t->s, id, &t->head, &t->message_id))
		return EX_TEMPFAIL;
	d.message_id = buf_slice_of(&t->message_id);
	d.content_size = t->head.len + s->message.body_size;
	d.qid = t->offered ? t->qid.n : 0;
	buf_init(&envelope, DROPFILE_PREFIX + DROPFILE_HEADER_MAX);
	if (!dropfile_print(&d, &envelope)) {
		cli_say(s->cli, "too many recipients");
		buf_clear(&envelope);
		return EX_DATAERR;
	}
	if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		buf_clear(&envelope);
		return say_errno(s, "cannot run the drop helper") == EX_TEMPFAIL ? EX_TEMPFAIL : EX_OSERR;
	}
	if (pid == 0)
		helper(s, fds[0]);
	(void)close(fds[0]);
	rc = feed_helper(t, pid, fds[1], buf_slice_of(&envelope));
	buf_clear(&envelope);
	t->s->dropped = rc == EX_OK;
	return rc;
}

/* ---- both ---- */

static void
pause_a_while(void)
{
	const struct timespec t = { .tv_nsec = PAUSE_MS * 1000000L };

	(void)nanosleep(&t, NULL);
}

static int
send_part(struct submission *s, struct slice rcpts)
{
	struct try t = { .s = s, .rcpts = rcpts, .since_usec = now_usec() };
	enum handed handed;

	buf_init(&t.head, MESSAGE_HEADER_MAX + 4096);
	buf_init(&t.message_id, 2048);
	handed = try_once(&t);
	/* It was there a moment ago: it is being restarted, and may have the message. */
	for (int i = 1; handed == AWAY && t.qid.n != 0 && i < TRIES; i++) {
		pause_a_while();
		handed = try_once(&t);
	}
	if (handed == HANDED)
		t.rc = EX_OK;
	else if (handed == AWAY)
		t.rc = drop(&t);
	if (t.rc == EX_OK && handed == HANDED && s->id[0] == '\0')
		(void)qid_print(t.qid, s->id);
	buf_clear(&t.head);
	buf_clear(&t.message_id);
	return t.rc;
}

/* The next recipients off the front, as many as a message may have. */
static struct slice
take_part(struct slice *rest, unsigned most)
{
	struct slice begin = *rest;
	struct ipc_rcpt rcpt;
	bool bad = false;

	for (unsigned i = 0; i < most && ipc_next_rcpt(rest, &rcpt, &bad); i++)
		;
	return slice_sub(begin, 0, begin.len - rest->len);
}

int
submission_send(struct submission *s)
{
	struct slice rest = buf_slice_of(&s->rcpts);
	int rc = EX_OK;

	(void)signal(SIGPIPE, SIG_IGN);
	s->dropped = false;
	s->id[0] = '\0';
	while (rc == EX_OK && rest.len > 0)
		rc = send_part(s, take_part(&rest, s->cli->conf.recipients));
	return rc;
}
