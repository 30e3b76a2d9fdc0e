/*
 * Every kind of process, in its confinement, tries what a broken-into process
 * would try; the kernel says no, or kills it.
 */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "confine.h"
#include "confine_policy.h"
#include "log.h"
#include "slice.h"

#define UID 64999	/* when we are root; no account has it */

static char dir[] = "/tmp/pp-confine.XXXXXX";
static char said[64 * 1024];	/* what the child wrote to the log and to standard output */

/* Landlock that can be used: "outside is out of reach" needs it for who could read it anyway. */
static bool
have_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 2;
}

static struct confine
confinement(enum confine_kind kind)
{
	struct confine c = { .kind = kind, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	char path[64];

	if (geteuid() == 0)
		c.uid = c.gid = UID;
	(void)snprintf(path, sizeof(path), "%s/in", dir);
	assert_true(confine_path(&c, open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), ACCESS_WRITE));
	return c;
}

/* As on a kernel that has none. */
static void
hide_landlock(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);

	if (ctx == NULL || seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0, NULL) != 0 ||
	    seccomp_load(ctx) != 0)
		_exit(98);
	seccomp_release(ctx);
}

/* Run attempt in a child confined as c; its wait status. */
static int
try_as(const struct confine *c, const char *attempt, bool landlock)
{
	int status, out[2];
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid != -1);
	if (pid == 0) {
		const struct log_setup setup = { .tag = "t", .program = "t", .hostname = "h", .fd = 2, .debug = true };
		char why[200];

		(void)dup2(out[1], 1);
		(void)dup2(out[1], 2);
		log_setup(&setup);
		if (!landlock)
			hide_landlock();
		if (!confine_apply(c, why, sizeof(why))) {
			(void)dprintf(2, "cannot confine: %s\n", why);
			_exit(99);
		}
		_exit(confine_probe(attempt));
	}
	(void)close(out[1]);
	while ((n = read(out[0], said + len, sizeof(said) - 1 - len)) > 0)
		len += (size_t)n;
	said[len] = '\0';
	(void)close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* Refused with an error, or killed for it. */
static bool
denied(int status)
{
	return (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) || (WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static bool
allowed(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
expect(enum confine_kind kind, const char *attempt, const char *file, bool want)
{
	const struct confine c = confinement(kind);
	char text[200];
	int status;

	if (file == NULL)
		(void)snprintf(text, sizeof(text), "%s", attempt);
	else
		(void)snprintf(text, sizeof(text), "%s:%s/%s", attempt, dir, file);
	status = try_as(&c, text, true);
	(void)close(c.path[0].fd);
	if (!(want ? allowed(status) : denied(status)))
		fail_msg("%s: %s should be %s; status %#x, said: %s", confine_kind_name(kind), text,
		    want ? "allowed" : "denied", (unsigned)status, said);
}

#define K(kind)	(1u << CONFINE_##kind)
#define CONNECTS (K(BROKER) | K(DELIVER) | K(RELAY) | K(LOGIN_PARENT) | K(SMTPD_PARENT))
#define ANY_PROGRAM (K(DELIVER_PARENT) | K(AUTH_PARENT) | K(AUTH_PAM) | K(MASTER))
#define FILES (K(QUEUE) | K(DELIVER) | K(AUTH) | K(LOGIN_PARENT) | K(IMAP_USER) | K(POP3_USER))

/* What only the kinds named may do; all others may not.  file: in our folder. */
static void
attempts(void **unused)
{
	static const struct { const char *attempt, *file; unsigned kinds; bool landlock; } row[] = {
		{ "open:/etc/shadow", NULL, 0, false },
		{ "open", "out/file",	0, true },
		{ "write", "out/new",	0, true },
		{ "list", "out",	0, true },
		{ "list:/", NULL,	0, true },
		{ "open", "in/file",	FILES | CONNECTS | ANY_PROGRAM | K(LOGGER), false },
		{ "write", "in/new",	FILES | CONNECTS | ANY_PROGRAM | K(LOGGER), false },
		{ "stat:/", NULL,	FILES | K(SMTPD_PARENT) | K(AUTH_SPAWN) | K(RELAY) | K(LOGGER) | ANY_PROGRAM, false },
		{ "exec:/bin/true", NULL, 0, true },	/* any program: only below a folder given as RUN or ALL */
		{ "connect:127.0.0.1:9", NULL, K(RELAY) | ANY_PROGRAM, false },
		{ "socket", NULL,	K(RELAY) | ANY_PROGRAM, false },
		{ "unix-socket", NULL,	CONNECTS | ANY_PROGRAM, false },
		{ "listen", NULL,	0, true },
		{ "fork", NULL,		K(LOGIN_PARENT) | K(SMTPD_PARENT) | K(AUTH_SPAWN) | K(QUEUE) | ANY_PROGRAM, false },
		{ "mmap-exec", NULL,	ANY_PROGRAM, false },
		{ "setuid:0", NULL, 0, false },	{ "ptrace", NULL, 0, false },	{ "vm-read", NULL, 0, false },
		{ "kill:1", NULL, 0, false },	{ "unshare", NULL, 0, false },	{ "chroot", NULL, 0, false },
		{ "mount", NULL, 0, false },	{ "keyctl", NULL, 0, false },	{ "bpf", NULL, 0, false },
		{ "io-uring", NULL, 0, false },	{ "userfaultfd", NULL, 0, false },	{ "perf", NULL, 0, false },
		{ "module", NULL, 0, false },	{ "raw-socket", NULL, 0, false },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		if (row[i].landlock && !have_landlock())
			continue;
		for (int kind = 0; kind < CONFINE_KINDS; kind++) {
			const unsigned bit = 1u << kind;

			/* Root's own permissions are all that limits its files. */
			if (row[i].landlock && kind == CONFINE_MASTER)
				continue;
			/* Programs of users may listen. */
			if (strcmp(row[i].attempt, "listen") == 0 && (bit & ANY_PROGRAM) != 0)
				continue;
			/* Not root, we are the owner of PID 1 in some containers. */
			if (strcmp(row[i].attempt, "kill:1") == 0 && geteuid() != 0 && (bit & ANY_PROGRAM) != 0)
				continue;
			if (geteuid() != 0 && strcmp(row[i].attempt, "setuid:0") == 0 && getuid() == 0)
				continue;
			expect((enum confine_kind)kind, row[i].attempt, row[i].file, (row[i].kinds & bit) != 0);
		}
	}
}

/* Root parents keep root, and little else. */
static void
root_parents(void **unused)
{
	static const enum confine_kind kinds[] = { CONFINE_DELIVER_PARENT, CONFINE_AUTH_PARENT, CONFINE_AUTH_PAM, CONFINE_LOGIN_PARENT,
		CONFINE_MASTER };
	static const char *const refused[] = { "open:/etc/shadow", "ptrace", "mount", "unshare", "bpf", "module", "raw-socket",
		"keyctl", "perf", "io-uring", "userfaultfd", "vm-read:1" };

	(void)unused;
	if (geteuid() != 0)
		skip();
	for (size_t k = 0; k < LEN(kinds); k++) {
		struct confine c = confinement(kinds[k]);

		c.uid = c.gid = (uid_t)-1;
		for (size_t i = 0; i < LEN(refused); i++) {
			if (i == 0 && (!have_landlock() || kinds[k] == CONFINE_MASTER))
				continue;
			if (!denied(try_as(&c, refused[i], true)))
				fail_msg("%s: %s: %s", confine_kind_name(kinds[k]), refused[i], said);
		}
		assert_true(allowed(try_as(&c, "setuid:64998", true)));
		(void)close(c.path[0].fd);
	}
}

/* Without Landlock a user's process sees its own folder and nothing else. */
static void
no_landlock(void **unused)
{
	static const enum confine_kind kinds[] = { CONFINE_IMAP_USER, CONFINE_POP3_USER, CONFINE_DELIVER };

	(void)unused;
	if (geteuid() != 0)
		skip();
	for (size_t k = 0; k < LEN(kinds); k++) {
		struct confine c = confinement(kinds[k]);

		check_row(k, allowed(try_as(&c, "open:/file", false)));
		assert_non_null(strstr(said, "chroot=1"));
		assert_non_null(strstr(said, "landlock=0"));
		check_row(k, denied(try_as(&c, "open:/etc/passwd", false)));
		check_row(k, denied(try_as(&c, "open:/../out/file", false)));
		(void)close(c.path[0].fd);
	}
}

static void
root_must_go(void **unused)
{
	(void)unused;
	if (geteuid() != 0)
		skip();
	for (int kind = 0; kind < CONFINE_KINDS; kind++) {
		const struct confine c = { .kind = (enum confine_kind)kind, .uid = (uid_t)-1, .gid = (gid_t)-1 };
		int status = try_as(&c, "none", true);

		if (strstr(said, "must not run as root") == NULL)
			check_row(kind, kind == CONFINE_DELIVER_PARENT || kind == CONFINE_AUTH_PARENT ||
			    kind == CONFINE_AUTH_PAM || kind == CONFINE_LOGIN_PARENT || kind == CONFINE_LOGGER || kind == CONFINE_MASTER);
		else
			check_row(kind, WIFEXITED(status) && WEXITSTATUS(status) == 99);
	}
}

/* A refused call is said by its name before the process dies. */
static void
refusal_is_named(void **unused)
{
	const struct confine c = confinement(CONFINE_SMTPD);
	int status = try_as(&c, "socket", true);

	(void)unused;
	(void)close(c.path[0].fd);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
	assert_non_null(strstr(said, "t/t["));
	assert_non_null(strstr(said, "error: sandbox: kind=smtpd system call refused: socket"));
	assert_non_null(strstr(said, "sandbox: kind=smtpd uid="));
}

/* What /proc says of a confined process, and what it says of itself. */
static void
seen_from_outside(void **unused)
{
	const struct confine c = confinement(CONFINE_QUEUE);
	char path[64], why[200], octet;
	struct buf record, status;
	int ready[2], hold[2], fd;
	char *room;
	pid_t pid;

	(void)unused;
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid != -1);
	if (pid == 0) {
		const gid_t extra = 64998;

		(void)close(hold[1]);
		if (geteuid() == 0 && setgroups(1, &extra) != 0)
			_exit(1);
		log_setup(&(struct log_setup){ .tag = "t", .program = "t", .fd = -1 });
		if (confine_apply(&c, why, sizeof(why)) && write(ready[1], "x", 1) == 1)
			(void)!read(hold[0], &octet, 1);
		_exit(0);
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &octet, 1), 1);
	buf_init(&record, 1 << 20);
	assert_true(confine_record_read(pid, &record));
	assert_non_null(strstr(buf_cstr(&record), "kind queue\n"));
	assert_non_null(strstr(buf_cstr(&record), "network none\n"));
	(void)snprintf(path, sizeof(path), "write %s/in\n", dir);
	assert_non_null(strstr(buf_cstr(&record), path));
	assert_non_null(strstr(buf_cstr(&record), " fdatasync"));
	assert_null(strstr(buf_cstr(&record), " execve"));
	if (have_landlock())
		assert_null(strstr(buf_cstr(&record), "landlock 0\n"));

	(void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	buf_init(&status, 1 << 20);
	room = buf_room(&status, 8192);
	assert_non_null(room);
	buf_add(&status, (size_t)read(fd, room, 8192));
	(void)close(fd);
	if (geteuid() == 0) {
		assert_non_null(strstr(buf_cstr(&status), "Uid:\t64999\t64999\t64999\t64999\n"));
		assert_non_null(strstr(buf_cstr(&status), "Groups:\t \n"));
		assert_non_null(strstr(buf_cstr(&status), "CapBnd:\t0000000000000000\n"));
	}
	assert_non_null(strstr(buf_cstr(&status), "CapPrm:\t0000000000000000\n"));
	assert_non_null(strstr(buf_cstr(&status), "CapEff:\t0000000000000000\n"));
	assert_non_null(strstr(buf_cstr(&status), "NoNewPrivs:\t1\n"));
	assert_non_null(strstr(buf_cstr(&status), "Seccomp:\t2\n"));
	(void)close(hold[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	(void)close(ready[0]);
	(void)close(hold[0]);
	(void)close(c.path[0].fd);
	buf_clear(&record);
	buf_clear(&status);
}

/* RELAY with a list of ports connects to those alone. */
static void
ports(void **unused)
{
	struct confine c = confinement(CONFINE_RELAY);

	(void)unused;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 4)
		skip();
	assert_true(confine_port(&c, 9));
	assert_true(allowed(try_as(&c, "connect:127.0.0.1:9", true)));
	assert_true(denied(try_as(&c, "connect:127.0.0.1:10", true)));
	(void)close(c.path[0].fd);
}

/* A filter stays with children: what a child may do, its parent must be allowed to. */
static void
parents_allow_what_children_need(void **unused)
{
	static const struct { enum confine_kind parent, child; } row[] = {
		{ CONFINE_SMTPD_PARENT, CONFINE_SMTPD },	{ CONFINE_LOGIN_PARENT, CONFINE_LOGIN },
		{ CONFINE_LOGIN_PARENT, CONFINE_IMAP_USER },	{ CONFINE_LOGIN_PARENT, CONFINE_POP3_USER },
		{ CONFINE_LOGIN_PARENT, CONFINE_BROKER },	{ CONFINE_AUTH_SPAWN, CONFINE_AUTH_CRYPT },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		for (size_t n = 0; n < policy_rules_n; n++) {
			const struct policy_rule *need = &policy_rules[n];
			bool found = (need->kinds & 1u << row[i].child) == 0;

			for (size_t k = 0; k < policy_rules_n && !found; k++) {
				const struct policy_rule *r = &policy_rules[k];

				found = r->nr == need->nr && (r->kinds & 1u << row[i].parent) != 0 && (r->test == TEST_NONE ||
				    (r->test == need->test && r->arg == need->arg && r->value == need->value));
			}
			if (!found)
				fail_msg("%s lacks row %zu (call %d), which %s has", confine_kind_name(row[i].parent), n,
				    need->nr, confine_kind_name(row[i].child));
		}
	}
}

/* The targets of RELIABILITY.md, section 4. */
static void
sizes(void **unused)
{
	static const struct { enum confine_kind kind; size_t most; } row[] = {
		{ CONFINE_SMTPD, 25 }, { CONFINE_LOGIN, 25 }, { CONFINE_AUTH_CRYPT, 25 }, { CONFINE_BROKER, 40 },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++) {
		if (confine_syscalls(row[i].kind) > row[i].most)
			fail_msg("%s: %zu system calls", confine_kind_name(row[i].kind), confine_syscalls(row[i].kind));
	}
}

static void
names(void **unused)
{
	(void)unused;
	for (int kind = 0; kind < CONFINE_KINDS; kind++) {
		enum confine_kind parsed;

		assert_true(confine_kind_parse(confine_kind_name((enum confine_kind)kind), &parsed));
		assert_int_equal(parsed, kind);
	}
}

static void
make(const char *name, bool folder)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (folder)
		assert_int_equal(mkdir(path, 0777), 0);
	else
		(void)close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666));
	assert_int_equal(chmod(path, folder ? 0777 : 0666), 0);
}

static int
set_up(void **unused)
{
	(void)unused;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	make("in", true);
	make("out", true);
	make("in/file", false);
	make("out/file", false);
	return 0;
}

static int
tear_down(void **unused)
{
	static const char *const left[] = { "in/file", "in/new", "out/file", "out/new", "in", "out", "" };
	char path[64];

	(void)unused;
	for (size_t i = 0; i < LEN(left); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", dir, left[i]);
		if (remove(path) != 0 && i > 3)
			return -1;
	}
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(sizes),
		cmocka_unit_test(parents_allow_what_children_need),
		cmocka_unit_test(attempts),
		cmocka_unit_test(root_parents),
		cmocka_unit_test(no_landlock),
		cmocka_unit_test(root_must_go),
		cmocka_unit_test(refusal_is_named),
		cmocka_unit_test(seen_from_outside),
		cmocka_unit_test(ports),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
