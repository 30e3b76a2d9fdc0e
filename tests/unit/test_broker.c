/* broker: connects what is on its list and nothing else, and goes with its front. */
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker.h"
#include "ipc.h"
#include "log.h"

#define UID 64999	/* when we are root */

static char dir[] = "/tmp/pp-broker.XXXXXX";
static int run_dirfd, listener, forbidden;
static const char *const names[] = { "queue-submit", "not-there", NULL };

static struct broker
started(void)
{
	const uid_t uid = geteuid() == 0 ? UID : (uid_t)-1;
	struct broker b;

	assert_true(broker_start(&b, run_dirfd, names, uid, (gid_t)uid));
	return b;
}

static bool
answer(struct broker *b, char name[80], int *fd, bool *gone)
{
	assert_true(ipc_wait(b->fd, false, 5000));
	return broker_answer(b, name, 80, fd, gone);
}

/* Close our end; it must end by itself. */
static void
ends(struct broker *b)
{
	int status;

	(void)close(b->fd);
	assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void
connects(void **unused)
{
	struct broker b = started();
	char name[80], octet;
	int fd, other;
	bool gone;

	(void)unused;
	assert_false(broker_answer(&b, name, sizeof(name), &fd, &gone));
	assert_false(gone);
	for (int i = 0; i < 3; i++) {
		assert_true(broker_ask(&b, "queue-submit"));
		assert_true(answer(&b, name, &fd, &gone));
		assert_string_equal(name, "queue-submit");
		assert_true(fd != -1);
		assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
		assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
		other = ipc_accept(listener);
		assert_true(other != -1);
		assert_int_equal(send(fd, "x", 1, 0), 1);
		assert_int_equal(recv(other, &octet, 1, 0), 1);
		(void)close(fd);
		(void)close(other);
	}
	ends(&b);
}

static void
refuses(void **unused)
{
	static const char *const bad[] = {
		"not-there", "queue-control", "", "../queue-submit", "queue-submit/", "/dev/log",
		"queue-submit-but-a-name-that-is-long-enough-to-be-near-the-limit",
	};
	struct broker b = started();
	char name[80];
	int fd;
	bool gone;

	(void)unused;
	for (size_t i = 0; i < LEN(bad); i++) {
		check_row(i, broker_ask(&b, bad[i]));
		check_row(i, answer(&b, name, &fd, &gone));
		check_row(i, fd == -1 && strcmp(name, bad[i]) == 0);
	}
	assert_true(broker_ask(&b, "queue-submit"));	/* it is still there */
	assert_true(answer(&b, name, &fd, &gone));
	assert_true(fd != -1);
	(void)close(fd);
	ends(&b);
}

/* Questions asked at once are answered in their order. */
static void
in_order(void **unused)
{
	struct broker b = started();
	char name[80];
	int fd, other;
	bool gone;

	(void)unused;
	for (int i = 0; i < 20; i++)
		assert_true(broker_ask(&b, i % 2 == 0 ? "queue-submit" : "not-there"));
	for (int i = 0; i < 20; i++) {
		check_row(i, answer(&b, name, &fd, &gone));
		check_row(i, strcmp(name, i % 2 == 0 ? "queue-submit" : "not-there") == 0 && (fd != -1) == (i % 2 == 0));
		if (fd != -1)
			(void)close(fd);
	}
	while ((other = ipc_accept(listener)) != -1)
		(void)close(other);
	ends(&b);
}

static void
front_hears_of_its_death(void **unused)
{
	struct broker b = started();
	char name[80];
	int fd;
	bool gone;

	(void)unused;
	(void)kill(b.pid, SIGKILL);
	assert_int_equal(waitpid(b.pid, NULL, 0), b.pid);
	assert_false(answer(&b, name, &fd, &gone));
	assert_true(gone);
	assert_false(broker_ask(&b, "queue-submit"));
	(void)close(b.fd);
}

/* A front that is not one any more: garbage ends it, a SIGTERM does not. */
static void
garbage_and_signals(void **unused)
{
	struct broker b = started();
	char name[80];
	int fd, status;
	bool gone;

	(void)unused;
	assert_true(broker_ask(&b, "not-there"));	/* it runs: signals are set */
	assert_true(answer(&b, name, &fd, &gone));
	(void)kill(b.pid, SIGTERM);
	(void)kill(b.pid, SIGHUP);
	assert_true(broker_ask(&b, "queue-submit"));
	assert_true(answer(&b, name, &fd, &gone));
	assert_true(fd != -1);
	(void)close(fd);
	assert_int_equal(send(b.fd, "garbage", 7, 0), 7);
	assert_int_equal(waitpid(b.pid, &status, 0), b.pid);
	assert_true(WIFEXITED(status));
	(void)close(b.fd);
}

static int
set_up(void **unused)
{
	(void)unused;
	log_setup(&(struct log_setup){ .tag = "t", .program = "t", .fd = -1 });
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0)
		return -1;
	run_dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	listener = ipc_listen(run_dirfd, "queue-submit", 0666);
	forbidden = ipc_listen(run_dirfd, "queue-control", 0666);
	return listener == -1 || forbidden == -1 ? -1 : 0;
}

static int
tear_down(void **unused)
{
	(void)unused;
	(void)unlinkat(run_dirfd, "queue-submit", 0);
	(void)unlinkat(run_dirfd, "queue-control", 0);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connects),
		cmocka_unit_test(refuses),
		cmocka_unit_test(in_order),
		cmocka_unit_test(front_hears_of_its_death),
		cmocka_unit_test(garbage_and_signals),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
