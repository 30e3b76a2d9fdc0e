/*
 * master_reload: take over a changed configuration, all of it or nothing.
 *
 * 1. The configuration is loaded and the maps are compiled (in a child); any
 *    mistake ends the reload here, and nothing was touched.
 * 2. New sockets are bound, and a new process is started for each daemon
 *    while the old one goes on; if one does not get ready, all new ones go.
 * 3. The new ones take over: the old get SIGUSR2 and keep their sessions.
 *    queue, which owns the spool alone, is ended first and then started.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "maps.h"
#include "master.h"

static void
tell_systemd(const struct master *m, bool reloading)
{
	char text[100] = "READY=1";

	if (reloading)
		(void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu",
		    (unsigned long long)master_msec() * 1000);
	if (m->up_fd >= 0)
		(void)send(m->up_fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
finish(struct master *m, bool ok)
{
	if (ok)
		log_say(LOG_LEVEL_INFO, "reload: the configuration of %s is in force", m->conf.file);
	else
		log_say(LOG_LEVEL_ERROR, "reload: %s; the %s configuration is in force", m->reload_text,
		    m->committed ? "new" : "old");
	if (m->has_fresh)
		conf_clear(&m->fresh);
	m->has_fresh = false;
	m->phase = PHASE_RUN;
	if (m->committed)
		master_write_conf(m);
	tell_systemd(m, false);
	control_reload_done(m, ok, ok ? "" : m->reload_text);
	master_write_list(m);
}

/* Nothing has taken over yet: away with the new processes and sockets. */
static void
give_up(struct master *m)
{
	conf_clear(&m->fresh);
	m->has_fresh = false;
	for (size_t i = 0; i < m->daemon_n; i++) {
		struct master_daemon *d = &m->daemon[i];

		if (d->next.pid != 0)
			(void)kill(d->next.pid, SIGKILL);
		d->next.pid = 0;
		d->due_msec = d->state == DAEMON_READY ? 0 : d->due_msec;
	}
	sockets_settle(m, true);
	daemon_set_up(m);
	finish(m, false);
}

/* Compiles; what is wrong is said on stderr, that is in the log. */
static _Noreturn void
maps_child(const struct conf *conf)
{
	struct maps_report report = { 0 };
	bool ok = maps_compile(conf, false, &report);

	for (size_t i = 0; i < report.problems.n; i++)
		log_say(report.problems.at[i].warning ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "%s", report.problems.at[i].text);
	_exit(ok ? 0 : report.exit_code == 0 ? 70 : report.exit_code);
}

static bool
is_same_place(const struct master *m, const char **why)
{
	if (strcmp(m->fresh.run_dir, m->conf.run_dir) == 0)
		return true;
	*why = "run-dir cannot change while the suite runs: stop it, then start it";
	return false;
}

bool
master_begin_reload(struct master *m, const char **why)
{
	*why = "the suite is starting, stopping or reloading already";
	if (m->phase != PHASE_RUN)
		return false;
	*why = "the configuration has mistakes; 'pennypost check' shows them; the old one stays in force";
	if (!conf_load(&m->fresh, m->conf_file, NULL))
		return false;
	if (!is_same_place(m, why)) {
		conf_clear(&m->fresh);
		return false;
	}
	m->maps_pid = fork();
	if (m->maps_pid == 0)
		maps_child(&m->fresh);
	if (m->maps_pid < 0) {
		m->maps_pid = 0;
		*why = "fork failed";
		conf_clear(&m->fresh);
		return false;
	}
	tell_systemd(m, true);
	m->has_fresh = true;
	m->reload_failed = m->committed = false;
	m->reload_text[0] = '\0';
	m->phase = PHASE_RELOAD;
	m->turn = 0;
	return true;
}

void
master_reload_maps_done(struct master *m, int status)
{
	m->maps_pid = 0;
	if (m->phase != PHASE_RELOAD)
		return;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		(void)snprintf(m->reload_text, sizeof(m->reload_text),
		    "the maps cannot be compiled; 'pennypost check' shows why");
		finish(m, false);
		return;
	}
	if (!sockets_open(m, &m->fresh, m->reload_text, sizeof(m->reload_text))) {
		finish(m, false);
		return;
	}
	daemon_set_up(m);
	for (size_t i = 0; i < m->daemon_n; i++)
		m->daemon[i].begun = m->daemon[i].next_ready = false;
	master_reload_go_on(m);
}

/* Step 2, one daemon after the other.  False: wait for something. */
static bool
prepare(struct master *m)
{
	for (; m->turn < m->daemon_n; m->turn++) {
		struct master_daemon *d = &m->daemon[m->turn];

		if (!d->wanted || d->kind->exclusive)
			continue;
		if (!d->begun) {
			d->begun = true;
			if (!daemon_spawn(m, d))
				m->reload_failed = true;
			return false;
		}
		/* It was dead when the reload came: then its new process is `now`. */
		if (d->next.pid == 0 && d->state == DAEMON_BACKOFF)
			m->reload_failed = true;
		if (d->next.pid != 0 ? !d->next_ready : d->state != DAEMON_READY)
			return false;
	}
	return true;
}

/* Step 3. */
static void
commit(struct master *m)
{
	char why[300];

	conf_clear(&m->conf);
	m->conf = m->fresh;
	m->has_fresh = false;
	m->fresh = (struct conf){ 0 };
	master_log_setup(m);
	m->committed = true;
	for (size_t i = 0; i < m->daemon_n; i++) {
		struct master_daemon *d = &m->daemon[i];

		if (!d->wanted || d->kind->exclusive)
			daemon_term(d);
		else
			daemon_take_over(m, d);
	}
	sockets_settle(m, false);
	if (!logger_start(m, why, sizeof(why)))
		log_say(LOG_LEVEL_ERROR, "log-to: %s; the log goes where it went", why);
	m->turn = 0;
}

/* The exclusive ones: ended by commit(), now started again. */
static bool
restart_exclusive(struct master *m)
{
	for (; m->turn < m->daemon_n; m->turn++) {
		struct master_daemon *d = &m->daemon[m->turn];

		if (!d->kind->exclusive || d->state == DAEMON_READY)
			continue;
		if (d->state == DAEMON_STOPPED && d->now.pid == 0 && !daemon_spawn(m, d)) {
			d->state = DAEMON_BACKOFF;	/* tried again by its tick */
			d->due_msec = master_msec() + 1000;
		}
		if (d->state == DAEMON_BACKOFF) {
			(void)snprintf(m->reload_text, sizeof(m->reload_text), "%s: %.200s", d->kind->name, d->text);
			m->reload_failed = true;
			continue;
		}
		return false;
	}
	return true;
}

void
master_reload_go_on(struct master *m)
{
	if (m->maps_pid != 0)
		return;
	if (!m->committed) {
		bool done = !m->reload_failed && prepare(m);

		if (m->reload_failed) {
			give_up(m);
			return;
		}
		if (!done)
			return;
		commit(m);
	}
	if (restart_exclusive(m))
		finish(m, !m->reload_failed);
}
