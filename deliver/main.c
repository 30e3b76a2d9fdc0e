/*
 * deliver: brings mail to mailboxes, files and commands of this machine.
 *
 * This process (root when the suite is) forks the worker and then only forks
 * processes under the uids of users, on the worker's request.
 * Read next: deliver_worker.h (the worker, pp-vmail), deliver_parent.h (this
 * one), deliver_user.h (those of users).
 */
#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "deliver_parent.h"
#include "deliver_worker.h"
#include "ipc.h"
#include "log.h"

/* Wait until the worker is confined; false: it has ended. */
static bool
worker_ready(int fd)
{
	char octet;
	ssize_t n;

	do
		n = read(fd, &octet, 1);
	while (n < 0 && errno == EINTR);
	(void)close(fd);
	return n == 1;
}

int
main(int argc, char **argv)
{
	struct daemon d;
	int maps, mail, pair[2], ready[2];
	pid_t worker;

	daemon_start(&d, "deliver", "vmail", NULL, argc, argv);
	maps = daemon_open_dir(&d, d.conf.map_dir);
	mail = daemon_open_dir(&d, d.conf.mail_root);
	if (d.probe != NULL)
		deliver_worker_confine(&d, maps, mail);	/* does not return */
	if (!ipc_pair(pair) || pipe(ready) != 0)
		log_fatal(EX_OSERR, "socketpair: %s", strerror(errno));
	worker = fork();
	if (worker == -1)
		log_fatal(EX_OSERR, "fork: %s", strerror(errno));
	if (worker == 0) {
		(void)close(pair[0]);
		(void)close(ready[0]);
		daemon_child(&d, "deliver");
		deliver_worker_main(&d, maps, mail, pair[1], ready[1]);
	}
	(void)close(pair[1]);
	(void)close(ready[1]);
	(void)close(mail);
	if (!worker_ready(ready[0]))
		log_fatal(EX_SOFTWARE, "the worker did not start");
	return deliver_parent_main(&d, maps, pair[0], worker);
}
