/* auth: last logins survive a kill, need nobody's hands, and stay small. */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/auth_last.h"
#include "log.h"

static int dirfd_;

static int
set_up(void **unused)
{
	char dir[] = "/tmp/pp-last.XXXXXX";

	(void)unused;
	log_setup(&(struct log_setup){ .tag = "t", .program = "t", .fd = -1 });
	if (mkdtemp(dir) == NULL)
		return -1;
	dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dirfd_ == -1 ? -1 : fchdir(dirfd_);
}

static void
remove_all(void)
{
	DIR *d = opendir(".");
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL)
		(void)unlink(e->d_name);
	if (d != NULL)
		(void)closedir(d);
}

static int
tear_down(void **unused)
{
	char dir[200];

	(void)unused;
	remove_all();
	if (getcwd(dir, sizeof(dir)) == NULL || chdir("/") != 0)
		return -1;
	return rmdir(dir);
}

static void
kept(void **unused)
{
	struct auth_last *l = auth_last_open(dirfd_);
	struct auth_last_entry e;
	bool asked;

	(void)unused;
	remove_all();
	assert_non_null(l);
	assert_false(auth_last_find(l, SLICE("a@x.test"), SLICE("imap"), &e, &asked));
	assert_true(asked);
	auth_last_note(l, SLICE("a@x.test"), SLICE("imap"), SLICE("192.0.2.1"), 1000);
	auth_last_note(l, SLICE("a@x.test"), SLICE("imap"), SLICE("192.0.2.2"), 2000);
	auth_last_note(l, SLICE("a@x.test"), SLICE("smtp"), SLICE("unix"), 3000);
	assert_true(auth_last_pending(l));
	assert_true(auth_last_flush(l));
	assert_false(auth_last_pending(l));
	auth_last_note(l, SLICE("a@x.test"), SLICE("imap"), SLICE("::1"), 4000);
	auth_last_close(l);

	l = auth_last_open(dirfd_);
	assert_true(auth_last_find(l, SLICE("a@x.test"), SLICE("imap"), &e, &asked));
	assert_int_equal(e.usec, 4000);
	assert_int_equal(e.count, 3);
	assert_string_equal(e.address, "::1");
	assert_true(auth_last_find(l, SLICE("a@x.test"), SLICE("smtp"), &e, &asked));
	assert_int_equal(e.count, 1);
	assert_false(auth_last_find(l, SLICE("a@x.test"), SLICE("pop3"), &e, &asked));
	assert_false(auth_last_find(l, SLICE("b@x.test"), SLICE("imap"), &e, &asked));
	auth_last_close(l);
}

/* A child writes until it is killed, at any instant; what it had flushed is there, each time. */
static void
survives_kill(void **unused)
{
	uint64_t before = 0;

	(void)unused;
	remove_all();
	for (int round = 0; round < 12; round++) {
		struct auth_last_entry e = { .count = 0 };
		struct auth_last *l;
		int told[2];
		uint64_t flushed = before, n;
		bool asked;
		pid_t pid;

		assert_int_equal(pipe2(told, O_CLOEXEC), 0);
		pid = fork();
		assert_true(pid != -1);
		if (pid == 0) {
			l = auth_last_open(dirfd_);
			for (n = before + 1;; n++) {
				auth_last_note(l, SLICE("k@x.test"), SLICE("imap"), SLICE("192.0.2.1"), n);
				if (!auth_last_flush(l) || write(told[1], &n, sizeof(n)) != sizeof(n))
					_exit(1);
			}
		}
		(void)close(told[1]);
		(void)usleep(20000 + 7000 * (unsigned)round);
		(void)kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		while (read(told[0], &n, sizeof(n)) == sizeof(n))
			flushed = n;
		(void)close(told[0]);
		l = auth_last_open(dirfd_);
		(void)auth_last_find(l, SLICE("k@x.test"), SLICE("imap"), &e, &asked);
		assert_true(asked);
		check_row(round, e.usec >= flushed && e.usec <= flushed + 1 && e.count == e.usec);
		before = e.usec;
		auth_last_close(l);
	}
	assert_true(before > 12);
}

static uint64_t
octets(void)
{
	uint64_t sum = 0;
	DIR *d = opendir(".");
	struct dirent *e;
	struct stat st;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (stat(e->d_name, &st) == 0 && S_ISREG(st.st_mode))
			sum += (uint64_t)st.st_size;
	}
	if (d != NULL)
		(void)closedir(d);
	return sum;
}

/* Garbage in its place is thrown away, and everything begins anew. */
static void
damage(void **unused)
{
	static const char *const files[] = { "last-login.db", "log.0000000001" };

	(void)unused;
	for (size_t i = 0; i < LEN(files); i++) {
		struct auth_last *l;
		struct auth_last_entry e;
		bool asked;
		int fd;

		remove_all();
		l = auth_last_open(dirfd_);
		auth_last_note(l, SLICE("a@x.test"), SLICE("imap"), SLICE("x"), 1);
		auth_last_close(l);
		fd = open(files[i], O_WRONLY | O_CLOEXEC);
		assert_true(fd != -1);
		for (int k = 0; k < 200; k++)
			assert_int_equal(write(fd, "garbage garbage garbage garbage garbage!", 40), 40);
		(void)close(fd);
		l = auth_last_open(dirfd_);
		(void)auth_last_find(l, SLICE("a@x.test"), SLICE("imap"), &e, &asked);
		check_row(i, asked);
		auth_last_note(l, SLICE("b@x.test"), SLICE("imap"), SLICE("x"), 2);
		check_row(i, auth_last_flush(l));
		check_row(i, auth_last_find(l, SLICE("b@x.test"), SLICE("imap"), &e, &asked));
		auth_last_close(l);
	}
}

/* Twenty thousand logins leave a database and one or two log files. */
static void
bounded(void **unused)
{
	struct auth_last *l;

	(void)unused;
	remove_all();
	l = auth_last_open(dirfd_);
	for (unsigned i = 0; i < 20000; i++) {
		char login[40];

		(void)snprintf(login, sizeof(login), "user%u@x.test", i % 700);
		auth_last_note(l, slice_of(login), SLICE("imap"), SLICE("2001:db8::1234:5678"), i);
	}
	auth_last_close(l);
	assert_true(octets() < UINT64_C(8) * 1024 * 1024);
}

/* While another process has the database, logins are remembered and nothing is harmed. */
static void
one_owner(void **unused)
{
	struct auth_last *old, *new;
	struct auth_last_entry e;
	bool asked;

	(void)unused;
	remove_all();
	old = auth_last_open(dirfd_);
	assert_false(auth_last_find(old, SLICE("a@x.test"), SLICE("imap"), &e, &asked));
	new = auth_last_open(dirfd_);
	auth_last_note(new, SLICE("a@x.test"), SLICE("imap"), SLICE("x"), 1);
	assert_false(auth_last_flush(new));
	assert_true(auth_last_pending(new));
	auth_last_close(old);
	assert_true(auth_last_flush(new));
	assert_true(auth_last_find(new, SLICE("a@x.test"), SLICE("imap"), &e, &asked));
	auth_last_close(new);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kept),
		cmocka_unit_test(survives_kill),
		cmocka_unit_test(damage),
		cmocka_unit_test(bounded),
		cmocka_unit_test(one_owner),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
