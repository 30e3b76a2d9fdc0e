/* stop, reload, reopen-logs, status: the commands that speak with the master. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "client.h"
#include "daemon.h"
#include "maps.h"
#include "run_files.h"
#include "verdict.h"

#define EX_NOT_RUNNING	3	/* of status, as init scripts have it */
#define STOP_TURNS	1200	/* of 100 ms */
#define DEAD_TURNS	20	/* the same, for one that was killed a moment ago */
#define LEFTOVER_WAIT_MS 5000

static void
nap(void)
{
	const struct timespec t = { .tv_nsec = 100 * 1000 * 1000 };

	(void)nanosleep(&t, NULL);
}

/* 0: not running; else the master's pid, or -1 when it is unknown.  *run_dirfd may be -1. */
static pid_t
master_pid(const struct cli *c, int *run_dirfd)
{
	*run_dirfd = open(c->conf.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *run_dirfd < 0 ? 0 : run_locked_by(*run_dirfd);
}

/*
 * Nobody runs where the file says: perhaps its run-dir was changed since the
 * suite was started.  Then the suite is where the configuration in force says.
 */
static void
find_suite(struct cli *c)
{
	struct conf in_force;
	int dirfd;

	if (master_pid(c, &dirfd) == 0 && conf_load_in_force(&in_force, c->conf_file)) {
		struct conf said = c->conf;
		int other;

		c->conf = in_force;
		if (master_pid(c, &other) != 0) {
			cli_say(c, "run-dir has changed in %s; this goes by the configuration in force", c->conf_file);
			in_force = said;
		} else {
			c->conf = said;
		}
		conf_clear(&in_force);
		if (other >= 0)
			(void)close(other);
	}
	if (dirfd >= 0)
		(void)close(dirfd);
}

static int
cannot_speak(const struct cli *c)
{
	if (errno == EACCES || errno == EPERM)
		cli_say(c, "only root, or who started the suite, may do that");
	else if (errno == ENOENT || errno == ECONNREFUSED)
		cli_say(c, "is not running");
	else if (errno == EPROTO)
		cli_say(c, "the running suite is of another version: stop it, then start it");
	else
		cli_errno(c, "%s/pennypost-control", c->conf.run_dir);
	return errno == EACCES || errno == EPERM ? EX_NOPERM : EX_UNAVAILABLE;
}

static bool
ask(struct client *client, enum ipc_master_action action)
{
	const struct ipc_master_do request = { .action = (uint8_t)action };
	struct buf out;

	buf_init(&out, IPC_FRAME_MAX);
	return client_send(client, &out, ipc_put_master_do(&out, &request), -1);
}

/* Send one request and wait for master_done; its words, if any, are said. */
static int
request(struct cli *c, enum ipc_master_action action, int timeout_ms)
{
	struct ipc_master_done done;
	struct client client;
	struct slice frame;
	uint16_t code;
	int rc;

	if (!client_open(&client, &c->conf, "pennypost-control"))
		return cannot_speak(c);
	if (!ask(&client, action) || !client_recv(&client, timeout_ms, &frame, &code, NULL)) {
		cli_errno(c, "the master does not answer");
		rc = EX_UNAVAILABLE;
	} else if (code != IPC_master_done || !ipc_get_master_done(frame, &done)) {
		cli_say(c, "the master gave an answer that makes no sense");
		rc = EX_PROTOCOL;
	} else {
		rc = done.verdict == OK ? EX_OK : EX_TEMPFAIL;
		if (done.verdict != OK)
			cli_say(c, "%.*s", (int)done.text.len, done.text.ptr);
	}
	client_close(&client);
	return rc;
}

/* ---- stop ---- */

/* Our own, recorded entry of the master: to signal it and no other process. */
static bool
signal_master(int run_dirfd, int signal)
{
	struct run_list *list = calloc(1, sizeof(*list));
	bool sent = false;

	if (list != NULL && run_list_read(run_dirfd, list))
		for (size_t i = 0; i < list->n; i++)
			if (strcmp(list->at[i].name, "master") == 0)
				sent = proc_kill(list->at[i].pid, list->at[i].start, signal);
	free(list);
	return sent;
}

static int
end_leftovers(const struct cli *c, int run_dirfd)
{
	struct run_list *list = calloc(1, sizeof(*list));
	size_t found = 0, left = 0;

	if (list != NULL && run_dirfd >= 0 && run_list_read(run_dirfd, list))
		found = run_list_end(list, LEFTOVER_WAIT_MS, &left);
	free(list);
	if (found > 0)
		cli_say(c, "the suite had died; %zu of its processes were still there and were ended", found);
	if (left > 0) {
		cli_say(c, "%zu processes cannot be ended", left);
		return EX_NOPERM;
	}
	if (run_dirfd >= 0)
		(void)unlinkat(run_dirfd, "pennypost.processes", 0);
	return EX_OK;
}

static bool
wait_for_end(const struct cli *c, int turns)
{
	int fd;

	for (int i = 0; i < turns; i++) {
		pid_t pid = master_pid(c, &fd);

		if (fd >= 0)
			(void)close(fd);
		if (pid == 0)
			return true;
		nap();
	}
	return false;
}

int
cmd_stop(struct cli *c, int argc, char **argv)
{
	int run_dirfd, rc;
	pid_t pid;

	(void)argv;
	if (argc != 1)
		return cli_usage(c, "pennypost stop");
	find_suite(c);
	pid = master_pid(c, &run_dirfd);
	if (pid == 0) {
		rc = end_leftovers(c, run_dirfd);
		goto out;
	}
	rc = request(c, MASTER_STOP, 10000);
	if (rc == EX_NOPERM)
		goto out;
	if (rc != EX_OK && !signal_master(run_dirfd, SIGTERM) && !wait_for_end(c, DEAD_TURNS)) {
		cli_errno(c, "the master (process %ld) cannot be told to stop", (long)pid);
		goto out;
	}
	if (!wait_for_end(c, STOP_TURNS)) {
		cli_say(c, "the master does not end; it is killed");
		(void)signal_master(run_dirfd, SIGKILL);
	}
	rc = end_leftovers(c, run_dirfd);
out:
	if (run_dirfd >= 0)
		(void)close(run_dirfd);
	return rc;
}

/* ---- reload, reopen-logs ---- */

int
cmd_reload(struct cli *c, int argc, char **argv)
{
	struct maps_report report = { 0 };
	bool good;

	(void)argv;
	if (argc != 1)
		return cli_usage(c, "pennypost reload");
	if (!cli_load(c)) {
		cli_say(c, "nothing was reloaded");
		return EX_CONFIG;
	}
	/* Say here, and not in the log, what is wrong in the maps. */
	good = maps_compile(&c->conf, true, &report);
	(void)cli_problems(NULL, &report.problems);
	maps_report_clear(&report);
	if (!good) {
		cli_say(c, "nothing was reloaded");
		return EX_CONFIG;
	}
	find_suite(c);
	return request(c, MASTER_RELOAD, 300000);
}

int
cmd_reopen(struct cli *c, int argc, char **argv)
{
	(void)argv;
	if (argc != 1)
		return cli_usage(c, "pennypost reopen-logs");
	find_suite(c);
	return request(c, MASTER_REOPEN_LOGS, 10000);
}

/* ---- status ---- */

struct status {
	struct cli	*cli;
	json_t		*daemons;
	bool		 wrong;		/* something is not as it should be */
};

static const char *
state_name(uint8_t state)
{
	static const char *const names[] = { "stopped", "starting", "ready", "stopping", "back-off" };

	return state < LEN(names) ? names[state] : "unknown";
}

static void
put_daemon(struct status *s, const struct ipc_master_daemon *d)
{
	char since[32] = "";
	time_t when = (time_t)(d->since_usec / 1000000);
	struct tm tm;
	/* A daemon that is stopped while the master runs is one that nobody needs. */
	bool fine = d->state == DAEMON_READY || d->state == DAEMON_STOPPED;

	s->wrong |= !fine;
	if (s->cli->json) {
		(void)json_array_append_new(s->daemons, json_pack("{s:o, s:s, s:i, s:f, s:i, s:o}",
		    "name", cli_json_text(d->name.ptr, d->name.len), "state", state_name(d->state),
		    "pid", (int)d->pid, "since", (double)d->since_usec / 1e6, "restarts", (int)d->restarts,
		    "text", cli_json_text(d->text.ptr, d->text.len)));
		return;
	}
	if (d->pid != 0 && localtime_r(&when, &tm) != NULL)
		(void)strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm);
	(void)printf("%-8.*s %-9s pid %-7u %-19s restarts %u%s%.*s\n", (int)d->name.len, d->name.ptr,
	    state_name(d->state), d->pid, since, d->restarts, d->text.len > 0 ? "  " : "",
	    (int)d->text.len, d->text.ptr);
}

static bool
read_daemons(struct status *s, struct client *client)
{
	struct ipc_master_daemon d;
	struct slice frame;
	uint16_t code;

	if (!ask(client, MASTER_STATUS))
		return false;
	while (client_recv(client, 10000, &frame, &code, NULL)) {
		if (code == IPC_master_done)
			return true;
		if (code != IPC_master_daemon || !ipc_get_master_daemon(frame, &d)) {
			errno = EPROTO;
			return false;
		}
		put_daemon(s, &d);
	}
	return false;
}

static const struct figure {
	const char	*name, *words;
	size_t		 at;
	int		 side;		/* of the ledger: +1 came in, -1 went somewhere, 0 neither */
} figures[] = {
#define FIGURE(field, words, side) { #field, words, offsetof(struct ipc_queue_figures, field), side }
	FIGURE(accepted,   "accepted by SMTP and LMTP", 1),
	FIGURE(injected,   "injected by sendmail", 1),
	FIGURE(generated,  "generated (bounces)", 1),
	FIGURE(expanded,   "added by aliases", 1),
	FIGURE(delivered,  "delivered", -1),
	FIGURE(relayed,    "relayed to other hosts", -1),
	FIGURE(bounced,    "bounced", -1),
	FIGURE(discarded,  "discarded", -1),
	FIGURE(queued,     "queued", -1),
	FIGURE(messages,   "messages in the queue", 0),
	FIGURE(held,       "of them on hold", 0),
	FIGURE(log_octets, "octets of spool", 0),
};

/* The books: what came in is somewhere, or it is lost. */
static json_t *
put_ledger(struct status *s, const struct ipc_queue_figures *f)
{
	json_t *ledger = s->cli->json ? json_object() : NULL;
	long long difference = 0;

	for (size_t i = 0; i < LEN(figures); i++) {
		uint64_t n = *(const uint64_t *)(const void *)((const char *)f + figures[i].at);

		difference += figures[i].side * (long long)n;
		if (ledger != NULL)
			(void)json_object_set_new(ledger, figures[i].name, json_integer((json_int_t)n));
		else
			(void)printf("  %12llu %s\n", (unsigned long long)n, figures[i].words);
	}
	if (ledger != NULL) {
		(void)json_object_set_new(ledger, "difference", json_integer(difference));
		(void)json_object_set_new(ledger, "set_aside", json_integer(f->set_aside));
	}
	if (difference != 0) {
		s->wrong = true;
		cli_say(s->cli, "ALARM: the ledger does not balance, the difference is %lld recipients", difference);
	}
	if (f->set_aside != 0) {
		s->wrong = true;
		cli_say(s->cli, "ALARM: %u damaged parts of the spool were set aside (*.bad)", f->set_aside);
	}
	return ledger;
}

static json_t *
read_ledger(struct status *s)
{
	const struct ipc_queue_status ask_for = { 0 };
	struct ipc_queue_figures f;
	struct client client;
	struct slice frame;
	json_t *ledger = NULL;
	uint16_t code;
	struct buf out;
	bool ok = false;

	if (client_open(&client, &s->cli->conf, "queue-control")) {
		buf_init(&out, IPC_FRAME_MAX);
		ok = client_send(&client, &out, ipc_put_queue_status(&out, &ask_for), -1) &&
		    client_recv(&client, 10000, &frame, &code, NULL) &&
		    code == IPC_queue_figures && ipc_get_queue_figures(frame, &f);
		if (ok)
			ledger = put_ledger(s, &f);
		client_close(&client);
	}
	if (!ok) {
		s->wrong = true;
		cli_say(s->cli, "queue does not tell its figures");
	}
	return ledger;
}

static int
not_running(struct cli *c)
{
	if (c->json)
		cli_json(json_pack("{s:b}", "running", 0));
	else
		(void)printf("pennypost is not running (%s)\n", c->conf.file);
	return EX_NOT_RUNNING;
}

int
cmd_status(struct cli *c, int argc, char **argv)
{
	struct status s = { .cli = c, .daemons = json_array() };
	struct client client;
	int run_dirfd, rc = EX_OK;
	json_t *ledger;
	pid_t pid;

	(void)argv;
	if (argc != 1) {
		json_decref(s.daemons);
		return cli_usage(c, "pennypost status");
	}
	find_suite(c);
	pid = master_pid(c, &run_dirfd);
	if (run_dirfd >= 0)
		(void)close(run_dirfd);
	if (pid == 0) {
		json_decref(s.daemons);
		return not_running(c);
	}
	if (!client_open(&client, &c->conf, "pennypost-control")) {
		json_decref(s.daemons);
		return cannot_speak(c);
	}
	if (!c->json)
		(void)printf("pennypost is running (process %ld, %s)\n", (long)pid, c->conf.file);
	if (!read_daemons(&s, &client)) {
		cli_errno(c, "the master does not answer");
		rc = EX_UNAVAILABLE;
	}
	client_close(&client);
	ledger = rc == EX_OK ? read_ledger(&s) : NULL;
	if (c->json)
		cli_json(json_pack("{s:b, s:i, s:s, s:b, s:O, s:o?}", "running", 1, "pid", (int)pid,
		    "version", PP_VERSION, "healthy", !s.wrong && rc == EX_OK, "daemons", s.daemons, "ledger", ledger));
	json_decref(s.daemons);
	return rc != EX_OK ? rc : s.wrong ? 1 : EX_OK;
}
