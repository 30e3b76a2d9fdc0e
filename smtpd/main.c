/*
 * smtpd: takes mail in by SMTP, submission and LMTP, and gives it to queue.
 *
 *	parent	smtp_parent.c: starts workers, opens maps and inner sockets for them
 *	worker	smtp_worker.c: talks to clients; reaches nothing but what it was given
 *
 * Read next: smtp_session.h (the conversation), smtp_cmd.c (the verbs),
 * smtp_data.h (the content), smtp_content.c (a message on its way to queue).
 */
#include "daemon.h"
#include "smtp_parent.h"
#include "smtp_worker.h"

int
main(int argc, char **argv)
{
	static const char *const sockets[] = { "smtp", "submission", "submissions", "lmtp", NULL };
	struct daemon d;

	daemon_start(&d, "smtpd", "smtpd", sockets, argc, argv);
	/* inetd and the like: one connection is all; --probe: what a worker may do. */
	if (daemon_socket(&d, "connection", 0) != -1 || d.probe != NULL)
		return smtp_single_run(&d);
	return smtp_parent_run(&d);
}
