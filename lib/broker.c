#include "broker.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ipc.h"
#include "log.h"
#include "verdict.h"

/* ---- the broker's own process ---- */

static bool
on_list(const char *const *names, struct slice name)
{
	for (; *names != NULL; names++) {
		if (slice_is(name, *names))
			return true;
	}
	return false;
}

/* Connect as asked and send the answer; false: the front is gone, or is no front. */
static bool
answer(int fd, int run_dirfd, const char *const *names, struct slice frame)
{
	struct ipc_broker_connect ask;
	struct ipc_broker_connected reply = { .verdict = PERM };
	char name[65];
	struct buf out;
	int connection = -1;
	bool ok;

	if (!ipc_get_broker_connect(frame, &ask))
		return false;
	reply.name = ask.name;
	if (on_list(names, ask.name) && slice_text(ask.name, name, sizeof(name))) {
		connection = ipc_connect(run_dirfd, name);
		reply.verdict = connection == -1 ? TEMP : OK;
	}
	buf_init(&out, IPC_FRAME_MAX);
	ok = ipc_put_broker_connected(&out, &reply);
	while (ok && ipc_send(fd, buf_slice_of(&out), connection) == IPC_IO_AGAIN)
		ok = ipc_wait(fd, true, -1);
	buf_clear(&out);
	if (connection != -1)
		(void)close(connection);
	return ok;
}

static void
serve(int fd, int run_dirfd, const char *const *names)
{
	struct buf frame;
	enum ipc_io io;
	int passed;

	buf_init(&frame, IPC_FRAME_MAX);
	for (;;) {
		io = ipc_recv(fd, &frame, &passed);
		if (io == IPC_IO_AGAIN) {
			if (!ipc_wait(fd, false, -1))
				break;
			continue;
		}
		if (passed != -1)
			(void)close(passed);
		if (io != IPC_IO_OK || !answer(fd, run_dirfd, names, buf_slice_of(&frame)))
			break;
	}
	buf_clear(&frame);
}

/* The front's listeners and folders are not ours. */
static void
close_others(int a, int b)
{
	const unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

	if (low > 3)
		(void)close_range(3, low - 1, 0);
	if (high > low + 1)
		(void)close_range(low + 1, high - 1, 0);
	(void)close_range(high + 1, ~0u, 0);
}

static _Noreturn void
broker_main(int fd, int run_dirfd, const char *const *names, uid_t uid, gid_t gid)
{
	struct confine c = { .kind = CONFINE_BROKER, .uid = uid, .gid = gid };
	char why[200];

	/* It ends with its front, which drains on SIGTERM and still needs it. */
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGUSR1, SIG_IGN);
	(void)signal(SIGUSR2, SIG_IGN);
	close_others(fd, run_dirfd);
	(void)prctl(PR_SET_NAME, "broker", 0, 0, 0);
	if (fchdir(run_dirfd) != 0)	/* a folder that we may come back to: see ipc_connect() */
		_exit(71);
	if (!confine_apply(&c, why, sizeof(why))) {
		log_say(LOG_LEVEL_ERROR, "broker: cannot confine: %s", why);
		_exit(71);
	}
	serve(fd, run_dirfd, names);
	_exit(0);
}

/* ---- the front's side ---- */

bool
broker_start(struct broker *b, int run_dirfd, const char *const *names, uid_t uid, gid_t gid)
{
	int fds[2];

	if (!ipc_pair(fds))
		return false;
	b->pid = fork();
	if (b->pid == -1) {
		(void)close(fds[0]);
		(void)close(fds[1]);
		return false;
	}
	if (b->pid == 0)
		broker_main(fds[1], run_dirfd, names, uid, gid);
	(void)close(fds[1]);
	b->fd = fds[0];
	return true;
}

bool
broker_ask(struct broker *b, const char *name)
{
	const struct ipc_broker_connect ask = { .name = slice_of(name) };
	struct buf out;
	enum ipc_io io = IPC_IO_ERROR;

	buf_init(&out, IPC_FRAME_MAX);
	if (ipc_put_broker_connect(&out, &ask))
		io = ipc_send(b->fd, buf_slice_of(&out), -1);
	buf_clear(&out);
	return io == IPC_IO_OK;
}

bool
broker_answer(struct broker *b, char *name, size_t size, int *fd, bool *gone)
{
	struct ipc_broker_connected reply;
	struct buf frame;
	enum ipc_io io;
	int passed;
	bool ok;

	*fd = -1;
	buf_init(&frame, IPC_FRAME_MAX);
	io = ipc_recv(b->fd, &frame, &passed);
	ok = io == IPC_IO_OK && ipc_get_broker_connected(buf_slice_of(&frame), &reply) &&
	    slice_text(reply.name, name, size);
	*gone = !ok && io != IPC_IO_AGAIN;
	if (ok && reply.verdict == OK)
		*fd = passed;
	else if (passed != -1)
		(void)close(passed);
	buf_clear(&frame);
	return ok;
}
