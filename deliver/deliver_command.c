#include "deliver_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon.h"
#include "deliver_text.h"

#define ENV_MAX		32
#define VALUE_MAX	1024	/* octets of one value */
#define CHUNK		(32 * 1024)
#define TURN_MS		200	/* how often its end is looked for while its output is open */

/* ---- environment ---- */

static bool
is_safe(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    (c != '\0' && strchr("!@%-_=+:,./", c) != NULL);
}

static void
put_value(struct buf *out, const char *name, struct slice value)
{
	(void)buf_text(out, name);
	(void)buf_char(out, '=');
	for (size_t i = 0; i < value.len && i < VALUE_MAX; i++)
		(void)buf_char(out, is_safe(value.ptr[i]) ? value.ptr[i] : '_');
	(void)buf_char(out, '\0');
}

bool
command_environment(struct buf *out, const struct command_env *e)
{
	const struct { const char *name; struct slice value; } list[] = {
		{ "PATH", SLICE("/usr/local/bin:/usr/bin:/bin") },
		{ "LANG", SLICE("C") },
		{ "HOME", e->home },
		{ "USER", e->user },
		{ "LOGNAME", e->user },
		{ "SHELL", e->shell },
		{ "RECIPIENT", e->recipient },
		{ "ORIGINAL_RECIPIENT", e->original_recipient },
		{ "SENDER", e->sender },
		{ "LOCAL", e->local },
		{ "DOMAIN", e->domain },
		{ "EXTENSION", e->extension },
		{ "ENVID", e->envid },
		{ "CLIENT_ADDRESS", e->client_address },
	};

	for (size_t i = 0; i < LEN(list); i++)
		put_value(out, list[i].name, list[i].value);
	return !out->full;
}

/* ---- running ---- */

struct run {
	const struct job	*job;
	struct slice		 head;		/* trace headers not filtered yet */
	struct text_filter	 filter;
	uint64_t		 at;		/* octets of content read */
	bool			 ended;		/* all was put into pending */
	struct buf		 pending;	/* filtered, not written yet */
	int			 in, out;	/* our ends of its standard input and output; -1: closed */
	bool			 unreadable;	/* the content cannot be read from the spool */
	uint64_t		 deadline_usec;
	struct command_result	*result;
};

/* In the child: become the program.  Nothing is left but its three descriptors. */
static _Noreturn void
become(const char *const *argv, char *const *env, int in, int out, int status)
{
	static const struct rlimit no_core = { 0, 0 };
	struct sigaction normal = { .sa_handler = SIG_DFL };
	sigset_t none;
	int number;

	(void)setsid();
	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &normal, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)umask(077);
	if (dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2)
		(void)execve(argv[0], (char *const *)(uintptr_t)argv, env);
	number = errno;
	(void)!write(status, &number, sizeof(number));
	_exit(127);
}

static void
close_fd(int *fd)
{
	if (*fd != -1)
		(void)close(*fd);
	*fd = -1;
}

/* Fork it.  -1: it could not be run, and result says why. */
static pid_t
start(struct run *r, const char *const *argv, char *const *env)
{
	int in[2] = { -1, -1 }, out[2] = { -1, -1 }, status[2] = { -1, -1 }, number = 0;
	pid_t pid = -1;

	if (pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(status, O_CLOEXEC) == 0)
		pid = fork();
	if (pid == 0)
		become(argv, env, in[0], out[1], status[1]);
	if (pid == -1)
		number = errno;
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&status[1]);
	r->in = in[1];
	r->out = out[0];
	/* Closed by a good exec; else errno comes. */
	if (pid > 0 && read(status[0], &number, sizeof(number)) == (ssize_t)sizeof(number)) {
		(void)waitpid(pid, NULL, 0);
		pid = -1;
	}
	close_fd(&status[0]);
	if (pid == -1) {
		r->result->end = COMMAND_NOT_RUN;
		r->result->code = number;
		return -1;
	}
	(void)fcntl(r->in, F_SETFL, O_NONBLOCK);
	(void)fcntl(r->out, F_SETFL, O_NONBLOCK);
	return pid;
}

/* Have something in pending, unless the message is over. */
static bool
fill(struct run *r)
{
	char chunk[CHUNK];
	uint64_t left = job_size(r->job) - r->at;
	size_t n = left < sizeof(chunk) ? (size_t)left : sizeof(chunk);

	if (r->pending.len > 0 || r->ended)
		return true;
	if (r->head.len > 0) {
		(void)text_filter_put(&r->filter, r->head, &r->pending);
		r->head.len = 0;
	} else if (n == 0) {
		r->ended = true;
		(void)text_filter_end(&r->filter, &r->pending);
	} else {
		if (!job_content(r->job, r->at, n, chunk)) {
			r->unreadable = true;
			return false;
		}
		r->at += n;
		(void)text_filter_put(&r->filter, slice_make(chunk, n), &r->pending);
	}
	return !r->pending.full;
}

static bool
write_input(struct run *r)
{
	ssize_t n;

	if (!fill(r))
		return false;
	if (r->pending.len > 0) {
		n = write(r->in, r->pending.ptr, r->pending.len);
		if (n > 0)
			buf_skip(&r->pending, (size_t)n);
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			close_fd(&r->in);	/* it does not want the rest: its exit code decides */
	}
	if (r->ended && r->pending.len == 0)
		close_fd(&r->in);
	return true;
}

/* False: there is nothing more now. */
static bool
read_output(struct run *r)
{
	char chunk[CHUNK];
	ssize_t n = read(r->out, chunk, sizeof(chunk));
	size_t room = COMMAND_OUTPUT_MAX - r->result->output.len;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		close_fd(&r->out);
	if (n > 0)	/* more than is kept is read and forgotten, so that it does not wait */
		(void)buf_put(&r->result->output, chunk, (size_t)n < room ? (size_t)n : room);
	return n > 0;
}

/* Feed and listen for a moment.  False: the message cannot be read any more. */
static bool
talk(struct run *r)
{
	struct pollfd p[2] = { { .fd = r->out, .events = POLLIN }, { .fd = r->in, .events = POLLOUT } };
	const int ready = POLLIN | POLLOUT | POLLERR | POLLHUP;

	if (poll(p, LEN(p), TURN_MS) <= 0)
		return true;
	if (p[1].fd != -1 && (p[1].revents & ready) != 0 && !write_input(r))
		return false;
	if (p[0].fd != -1 && (p[0].revents & ready) != 0)
		(void)read_output(r);
	return true;
}

/*
 * Until it has ended: its output may be closed before, or be held open by what
 * it left running.  False: the time is over, or the message cannot be read.
 */
static bool
attend(struct run *r, pid_t pid, int *status)
{
	const struct timespec nap = { .tv_nsec = 5 * 1000 * 1000 };

	while (waitpid(pid, status, WNOHANG) != pid) {
		if (now_mono_usec() >= r->deadline_usec)
			return false;
		if (r->in == -1 && r->out == -1)
			(void)nanosleep(&nap, NULL);
		else if (!talk(r))
			return false;
	}
	while (r->out != -1 && read_output(r))
		continue;
	return true;
}

static void
finish(struct run *r, pid_t pid)
{
	int status = 0;
	bool ended = attend(r, pid, &status);

	/* Whatever it left running in its group goes as well. */
	(void)kill(-pid, SIGKILL);
	if (!ended) {
		(void)waitpid(pid, NULL, 0);
		r->result->end = r->unreadable ? COMMAND_NOT_RUN : COMMAND_TIMED_OUT;
		r->result->code = r->unreadable ? EIO : 0;
	} else if (WIFSIGNALED(status)) {
		r->result->end = COMMAND_SIGNALLED;
		r->result->code = WTERMSIG(status);
	} else {
		r->result->end = COMMAND_EXITED;
		r->result->code = WEXITSTATUS(status);
	}
}

void
command_run(const char *const *argv, struct slice environment, const struct job *job, struct slice trace_headers,
    unsigned limit_s, struct command_result *out)
{
	struct run r = { .job = job, .head = trace_headers, .in = -1, .out = -1, .result = out };
	char *env[ENV_MAX + 1], *copy = malloc(environment.len + 1);
	size_t n = 0;
	pid_t pid;

	*out = (struct command_result){ .end = COMMAND_NOT_RUN, .code = ENOMEM };
	buf_init(&out->output, COMMAND_OUTPUT_MAX);
	if (copy == NULL)
		return;
	memcpy(copy, environment.ptr, environment.len);
	for (size_t at = 0; at < environment.len && n < ENV_MAX; at += strlen(copy + at) + 1)
		env[n++] = copy + at;
	env[n] = NULL;
	buf_init(&r.pending, 2 * CHUNK + trace_headers.len);
	text_filter_init(&r.filter, false);
	r.deadline_usec = now_mono_usec() + (uint64_t)limit_s * 1000000;
	pid = start(&r, argv, env);
	if (pid != -1)
		finish(&r, pid);
	close_fd(&r.in);
	close_fd(&r.out);
	buf_clear(&r.pending);
	free(copy);
}

/* ---- what its end means ---- */

/* The first word of the output, if it is an enhanced status code of class 4 or 5 (RFC 3463 section 2). */
static bool
enhanced_code(struct slice output, char dsn[16])
{
	struct slice word = slice_trim(output), part;
	uint64_t class, n;

	for (size_t i = 0; i < word.len; i++)
		if (word.ptr[i] == ' ' || word.ptr[i] == '\t' || word.ptr[i] == '\r' || word.ptr[i] == '\n')
			word.len = i;
	part = word;
	if (!slice_number(slice_cut(&part, '.'), 5, &class) || class < 4 ||
	    !slice_number(slice_cut(&part, '.'), 999, &n) || !slice_number(part, 999, &n))
		return false;
	return slice_text(word, dsn, 16);
}

static void
set(enum ipc_outcome *outcome, enum ipc_outcome value, char dsn[16], const char *code)
{
	*outcome = value;
	memcpy(dsn, code, strlen(code) + 1);
}

/* sysexits.h: exit codes 64 to 78. */
static const char *const exit_dsn[] = {
	"5.3.0", "5.6.0", "5.3.0", "5.1.1", "5.1.2", "5.3.0", "5.3.0", "4.3.0",
	"5.3.0", "5.2.0", "5.3.0", "4.3.0", "5.5.0", "5.7.0", "5.3.5",
};

static void
exited(const struct command_result *c, enum ipc_outcome *outcome, char dsn[16])
{
	if (c->code == 0) {
		set(outcome, OUTCOME_DONE, dsn, "2.0.0");
	} else if (enhanced_code(buf_slice_of(&c->output), dsn)) {
		*outcome = dsn[0] == '4' ? OUTCOME_DEFERRED : OUTCOME_FAILED;
	} else if (c->code >= 64 && c->code < 64 + (int)LEN(exit_dsn)) {
		const char *code = exit_dsn[c->code - 64];

		set(outcome, code[0] == '4' ? OUTCOME_DEFERRED : OUTCOME_FAILED, dsn, code);
	} else {
		set(outcome, OUTCOME_FAILED, dsn, "5.3.0");
	}
}

void
command_outcome(const struct command_result *c, enum ipc_outcome *outcome, char dsn[16], struct buf *text)
{
	struct slice output = slice_trim(buf_slice_of(&c->output));

	switch (c->end) {
	case COMMAND_EXITED:
		exited(c, outcome, dsn);
		if (c->code == 0)
			(void)buf_text(text, "delivered to command");
		else
			(void)buf_fmt(text, "the command ended with exit code %d", c->code);
		break;
	case COMMAND_SIGNALLED:
		set(outcome, OUTCOME_DEFERRED, dsn, "4.3.0");
		(void)buf_fmt(text, "the command was ended by signal %d", c->code);
		break;
	case COMMAND_TIMED_OUT:
		set(outcome, OUTCOME_DEFERRED, dsn, "4.3.0");
		(void)buf_text(text, "the command took too long and was ended");
		break;
	case COMMAND_NOT_RUN:
		set(outcome, OUTCOME_DEFERRED, dsn, "4.3.5");
		(void)buf_fmt(text, "the command could not be run: %s", strerror(c->code));
		return;
	}
	if (*outcome != OUTCOME_DONE && output.len > 0)
		(void)buf_fmt(text, ": %.*s", (int)(output.len < 500 ? output.len : 500), output.ptr);
}
