/*
 * deliver/deliver_action.c: an action process does what the root parent or the user's .forward allows, whatever its
 * worker (played here) asks for.  The worker of pp-vmail is not trusted by processes of users.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deliver/deliver_job.h"
#include "deliver/deliver_user.h"
#include "ipc.h"

#define ANSWER_MS	20000

static char folder[64];
static struct conf conf = { .hops = 50 };

static void
put_file(const char *name, const char *text)
{
	char path[200];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int
make_folder(void **unused)
{
	(void)unused;
	(void)snprintf(folder, sizeof(folder), "/tmp/pp-action-XXXXXX");
	return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static int
remove_folder(void **unused)
{
	char command[100];

	(void)unused;
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	return chdir("/") != 0 || system(command) != 0;
}

/* An action process for carla, or (action not NULL) for that target of the machine's aliases; our end of its socket. */
static int
begin(const char *action)
{
	struct deliver_as as = { .conf = &conf, .system = action == NULL, .login = "carla", .uid = getuid(), .gid = getgid() };
	int pair[2];
	pid_t pid;

	assert_true(addr_parse(SLICE("carla@x.example"), &as.addr));
	(void)snprintf(as.home, sizeof(as.home), "%s", action == NULL ? folder : "/");
	(void)snprintf(as.shell, sizeof(as.shell), "/bin/sh");
	(void)snprintf(as.action, sizeof(as.action), "%s", action == NULL ? "" : action);
	assert_true(ipc_pair(pair));
	pid = fork();
	assert_true(pid != -1);
	if (pid == 0) {
		(void)close(pair[0]);
		as.fd = pair[1];
		deliver_action_main(&as);
	}
	(void)close(pair[1]);
	return pair[0];
}

/* Send a frame behind the hello; the answer's frame, its code and descriptor. */
static uint16_t
ask(int fd, struct slice frame, struct buf *answer, int *passed)
{
	const struct ipc_hello hello = { .version = IPC_VERSION, .program = SLICE("deliver") };
	uint16_t code = IPC_hello;
	struct buf b;

	buf_init(&b, 256);
	assert_true(ipc_put_hello(&b, &hello));
	assert_int_equal(ipc_send(fd, buf_slice_of(&b), -1), IPC_IO_OK);
	buf_clear(&b);
	assert_int_equal(ipc_send(fd, frame, -1), IPC_IO_OK);
	while (code == IPC_hello) {
		assert_true(ipc_wait(fd, false, ANSWER_MS));
		assert_int_equal(ipc_recv(fd, answer, passed), IPC_IO_OK);
		assert_true(ipc_code(buf_slice_of(answer), &code));
	}
	(void)close(fd);
	assert_true(wait(NULL) > 0);
	return code;
}

static enum ipc_outcome
outcome_of(const char *allowed, const char *wanted, const char *message)
{
	struct ipc_job_rcpt rcpt = { .addr = slice_of(wanted), .orig_to = SLICE("carla@x.example"), .final = 1 };
	struct ipc_job m = { .job = 1, .qid = 2, .sender = SLICE("s@y.example"), .content = slice_of(message) };
	struct ipc_job_results results;
	struct ipc_job_result result;
	struct buf list, frame, answer;
	struct slice rest;
	bool bad;
	int passed;

	buf_init(&list, 4096);
	buf_init(&frame, IPC_FRAME_MAX);
	buf_init(&answer, IPC_FRAME_MAX);
	m.size = m.content.len;
	assert_true(ipc_add_job_rcpt(&list, &rcpt));
	m.rcpts = buf_slice_of(&list);
	assert_true(ipc_put_job(&frame, &m));
	assert_int_equal(ask(begin(allowed), buf_slice_of(&frame), &answer, &passed), IPC_job_results);
	assert_true(ipc_get_job_results(buf_slice_of(&answer), &results));
	rest = results.results;
	assert_true(ipc_next_job_result(&rest, &result, &bad) && rest.len == 0);
	buf_clear(&list);
	buf_clear(&frame);
	buf_clear(&answer);
	return (enum ipc_outcome)result.outcome;
}

static void
only_what_is_allowed(void **unused)
{
	static const char mail[] = "A: b\r\n\r\nc\r\n", again[] = "Delivered-To: carla@x.example\r\n\r\n";
	/* allowed: by the root parent; NULL: by the .forward below. */
	static const struct { const char *allowed, *wanted, *message; enum ipc_outcome outcome; const char *file; } row[] = {
		{ "|/bin/true",	"|/bin/true",		mail,	OUTCOME_DONE,		NULL },
		{ "|/bin/true",	"|/bin/true",		again,	OUTCOME_FAILED,		NULL },
		{ "|/bin/true",	"|/bin/touch one",	mail,	OUTCOME_DEFERRED,	"one" },
		{ "|/bin/true",	"|/bin/true x",		mail,	OUTCOME_DEFERRED,	NULL },
		{ "|/bin/true",	"./one",		mail,	OUTCOME_DEFERRED,	"one" },
		{ ":include:/x", "|/bin/touch one",	mail,	OUTCOME_DEFERRED,	"one" },
		{ NULL,		"~carla|/bin/true",	mail,	OUTCOME_DONE,		NULL },
		{ NULL,		"~carla|/bin/true",	again,	OUTCOME_FAILED,		NULL },
		{ NULL,		"~carla|/bin/touch one", mail,	OUTCOME_DEFERRED,	"one" },
		{ NULL,		"~carla/tmp/one",	mail,	OUTCOME_DEFERRED,	"one" },
		{ NULL,		"~carla",		mail,	OUTCOME_DEFERRED,	NULL },
	};

	(void)unused;
	put_file(".forward", "|/bin/true, carla@x.example\n");
	for (size_t i = 0; i < LEN(row); i++) {
		check_row(i, outcome_of(row[i].allowed, row[i].wanted, row[i].message) == row[i].outcome);
		check_row(i, row[i].file == NULL || access(row[i].file, F_OK) != 0);
	}
}

/* text with the folder in place of '@'. */
static void
in_folder(char *out, size_t size, const char *text)
{
	size_t at = strcspn(text, "@");

	if (text[at] == '\0')
		(void)snprintf(out, size, "%s", text);
	else
		(void)snprintf(out, size, "%.*s%s%s", (int)at, text, folder, text + at + 1);
}

static void
only_files_that_are_allowed(void **unused)
{
	static const struct { const char *allowed, *name; enum verdict verdict; } row[] = {
		{ ":include:@/list",	"@/list",	OK },
		{ ":include:@/list",	"@/other",	PERM },
		{ ":include:@/list",	":include:@/list", PERM },
		{ "|/bin/true",		"@/list",	PERM },
		{ "@/list",		"@/list",	PERM },		/* a file to be written to */
		{ NULL,			"@/list",	OK },
		{ NULL,			"@/other",	PERM },
		{ NULL,			"/etc/passwd",	PERM },
		{ NULL,			"",		OK },		/* .forward itself */
	};
	struct ipc_deliver_file m = { .id = 5 };
	struct ipc_deliver_text text;
	char allowed[200], path[200], forward[200];
	struct buf frame, answer;
	int passed;

	(void)unused;
	(void)snprintf(forward, sizeof(forward), ":include:%s/list\n", folder);
	put_file(".forward", forward);
	put_file("list", "a@x.example\n");
	put_file("other", "b@x.example\n");
	buf_init(&frame, 1024);
	buf_init(&answer, IPC_FRAME_MAX);
	for (size_t i = 0; i < LEN(row); i++) {
		in_folder(allowed, sizeof(allowed), row[i].allowed == NULL ? "" : row[i].allowed);
		in_folder(path, sizeof(path), row[i].name);
		m.path = slice_of(path);
		buf_reset(&frame);
		assert_true(ipc_put_deliver_file(&frame, &m));
		check_row(i, ask(begin(row[i].allowed == NULL ? NULL : allowed), buf_slice_of(&frame), &answer, &passed) ==
		    IPC_deliver_text);
		check_row(i, ipc_get_deliver_text(buf_slice_of(&answer), &text) && text.id == 5);
		check_row(i, text.verdict == row[i].verdict && (passed != -1) == (text.verdict == OK));
		if (passed != -1)
			(void)close(passed);
	}
	buf_clear(&frame);
	buf_clear(&answer);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_allowed), cmocka_unit_test(only_files_that_are_allowed),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
