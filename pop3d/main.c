/*
 * pop3d: gives mail to clients by POP3 (RFC 1939).
 *
 * Fronts speak TLS and the protocol before login; each user gets a process that
 * can reach that user's Maildir and nothing else.
 * Read next: lib/login/login.h (the processes), pop3_login.c (before login),
 * pop3_session.c and pop3_cmd.c (after it), pop3_conn.c (its connection).
 */
#include "login/login.h"
#include "pop3d/pop3_conn.h"
#include "pop3d/pop3_login.h"

int
main(int argc, char **argv)
{
	static const char *const sockets[] = { "pop3", "pop3s", NULL };
	struct daemon d;

	daemon_start(&d, "pop3d", "login", sockets, argc, argv);
	return login_main(&d, &pop3_login_proto, &pop3_user_proto);
}
