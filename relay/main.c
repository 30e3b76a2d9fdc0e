/*
 * relay: sends mail to other hosts; gets its jobs from queue.
 * Read next: relay.h (the way of a job), smtp_client.c (the dialogue, pure).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "relay.h"
#include "relay_recent.h"

/* The one line of the password file; it may end in a newline. */
static void
read_password(struct relay *r, const char *file)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd == -1 ? -1 : read(fd, r->password, sizeof(r->password) - 1);

	if (n <= 0)
		log_fatal(78, "smarthost-password-file %s: %s", file, n == 0 ? "is empty" : strerror(errno));
	(void)close(fd);
	r->password[n] = '\0';
	r->password[strcspn(r->password, "\r\n")] = '\0';
}

static void
setup_client(struct relay *r)
{
	const struct conf *conf = &r->daemon.conf;
	char why[200];

	r->setup = (struct client_setup){ .hostname = conf->hostname, .tls = CLIENT_TLS_MAY };
	if (conf->smarthost.host != NULL) {
		static const enum client_tls tls[] = {
			[TLS_NEVER] = CLIENT_TLS_NEVER, [TLS_MAY] = CLIENT_TLS_MAY,
			[TLS_STARTTLS] = CLIENT_TLS_MUST, [TLS_IMPLICIT] = CLIENT_TLS_NEVER,
		};

		r->setup.tls = tls[conf->smarthost.tls];
		r->implicit_tls = conf->smarthost.tls == TLS_IMPLICIT;
		if (conf->smarthost.user != NULL) {
			read_password(r, conf->smarthost.password_file);
			r->setup.user = conf->smarthost.user;
			r->setup.password = r->password;
		}
	}
	r->tls = tls_client_new(why, sizeof(why));
	if (r->tls == NULL)
		log_fatal(71, "TLS: %s", why);
}

int
main(int argc, char **argv)
{
	static const char *const sockets[] = { NULL };
	struct relay r = { 0 };
	struct confine c = { .kind = CONFINE_RELAY };
	unsigned seed;

	daemon_start(&r.daemon, "relay", "relay", sockets, argc, argv);
	setup_client(&r);
	if (getentropy(&seed, sizeof(seed)) == 0)
		srandom(seed);
	r.dns = relay_dns_open(r.daemon.base, r.daemon.conf.resolver, r.daemon.conf.hostname);
	c.uid = r.daemon.uid;
	c.gid = r.daemon.gid;
	daemon_confine(&r.daemon, &c);	/* below this line: no privilege, no files */

	r.recent = relay_recent_new();
	r.daemon.drain = relay_begin_drain;
	r.daemon.drain_ctx = &r;
	relay_queue_connect(&r);
	daemon_ready(&r.daemon);
	return daemon_run(&r.daemon);
}
