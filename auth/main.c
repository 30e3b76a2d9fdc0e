/*
 * auth: who may log in, and which mailbox is his.
 *
 *	auth		as pp-auth: the hashes (map_dir/private/accounts.cdb), the
 *			cache, tickets, last logins; this file and auth_serve.c
 *	keeper		root only if PAM is to be asked; forks the workers
 *	crypt workers	a password and a hash in, yes or no out
 *	PAM workers	users of the machine
 *
 * Answers are yes or no, never a hash; passwords are never logged and are wiped
 * from memory when they are done with.
 *
 * Read next: auth_request.c (one login), auth_serve.c (connections),
 * auth_worker.h (the other processes).
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth.h"
#include "auth_hash.h"
#include "log.h"

#define EX_OSERR	71
#define CACHE_ENTRIES	16384
#define THROTTLE_ENTRIES 8192
#define TICKETS		4096
#define CRYPT_WORKERS	8	/* at most; one a processor */
#define CRYPT_WAITING	256
#define CRYPT_TIMEOUT_MS 30000
#define PAM_WORKERS	4
#define PAM_WAITING	128
#define PAM_LOOKUPS	100	/* of one worker; modules leak */

/* The folder of the last logins, made if it is not there. */
static int
open_state(const struct daemon *d)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/auth", d->conf.state_dir), fd;

	if (n < 0 || (size_t)n >= sizeof(path))
		log_fatal(EX_OSERR, "the path of state-dir is too long");
	(void)mkdir(path, 0700);
	fd = daemon_open_dir(d, path);
	if (d->uid != (uid_t)-1 && fchown(fd, d->uid, d->gid) != 0)
		log_fatal(EX_OSERR, "%s cannot be given to its owner", path);
	return fd;
}

/* Before confinement: all that needs a path, another uid, or fork(). */
static void
auth_open(struct auth *a)
{
	struct daemon *d = &a->daemon;

	a->peer_uid[ROLE_SMTP] = daemon_peer_uid(&d->conf, "smtpd");
	a->peer_uid[ROLE_LOGIN] = daemon_peer_uid(&d->conf, "login");
	/* The others are for root alone. */

	if (!auth_keeper_start(&a->keeper, d))
		log_fatal(EX_OSERR, "cannot start the keeper");
	a->map_dirfd = daemon_open_dir(d, d->conf.map_dir);
	a->state_dirfd = open_state(d);
	if (fchdir(a->state_dirfd) != 0)
		log_fatal(EX_OSERR, "cannot enter the folder of the last logins");
	a->processors = sysconf(_SC_NPROCESSORS_ONLN);
	if (!auth_hash_dummy(a->dummy))
		log_fatal(EX_OSERR, "crypt(3) knows no yescrypt");
}

static struct auth_pool *
pool(struct auth *a, enum worker_kind kind)
{
	const bool pam = kind == WORKER_PAM;
	const struct auth_pool_setup setup = {
		.base = a->daemon.base, .keeper = &a->keeper, .kind = kind,
		.workers = pam ? PAM_WORKERS : a->processors < 2 ? 2 :
		    a->processors > CRYPT_WORKERS ? CRYPT_WORKERS : (size_t)a->processors,
		.waiting = pam ? PAM_WAITING : CRYPT_WAITING,
		.timeout_ms = pam ? a->daemon.conf.auth_pam_timeout_s * 1000 : CRYPT_TIMEOUT_MS,
		.jobs_per_worker = pam ? PAM_LOOKUPS : 0,
	};
	struct auth_pool *p = auth_pool_new(&setup);

	if (p == NULL)
		log_fatal(EX_OSERR, "no memory");
	auth_pool_warm(p, pam ? 1 : setup.workers);
	return p;
}

/* After it: maps and database are read as the account that owns them. */
static void
auth_begin(struct auth *a)
{
	const struct conf *conf = &a->daemon.conf;

	a->routes = routes_open(a->map_dirfd);
	a->accounts = auth_accounts_open(a->map_dirfd);
	a->cache = auth_cache_new(CACHE_ENTRIES, conf->auth_cache_s);
	a->throttle = auth_throttle_new(THROTTLE_ENTRIES);
	a->tickets = auth_tickets_new(TICKETS);
	a->last = auth_last_open(a->state_dirfd);
	if (a->routes == NULL || a->accounts == NULL || a->cache == NULL || a->throttle == NULL ||
	    a->tickets == NULL || a->last == NULL || !auth_serve_start(a))
		log_fatal(EX_OSERR, "no memory");
	a->crypt = pool(a, WORKER_CRYPT);
	if (conf->system_users)
		a->pam = pool(a, WORKER_PAM);
}

int
main(int argc, char **argv)
{
	static const char *const sockets[] = { "auth-login", "auth-smtp", "auth-ticket", "auth-control", NULL };
	static struct auth a;	/* all state of this process */
	struct confine c = { .kind = CONFINE_AUTH };
	int code;

	daemon_start(&a.daemon, "auth", "auth", sockets, argc, argv);
	auth_open(&a);
	c.uid = a.daemon.uid;
	c.gid = a.daemon.gid;
	(void)confine_path(&c, a.map_dirfd, ACCESS_READ);
	(void)confine_path(&c, a.state_dirfd, ACCESS_WRITE);
	daemon_confine(&a.daemon, &c);	/* below this line: no privilege */

	auth_begin(&a);
	a.daemon.drain = auth_serve_drain;
	a.daemon.drain_ctx = &a;
	daemon_ready(&a.daemon);
	code = daemon_run(&a.daemon);
	auth_last_close(a.last);
	return code;
}
