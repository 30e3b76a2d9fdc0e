/*
 * imapd: IMAP4rev2 and IMAP4rev1 for the users of the suite.
 *
 * Three kinds of processes, as login.h draws them: a small parent, fronts that
 * speak TLS and the protocol before login (imap_login.c), and one process a
 * user that has that user's mail and nothing else (imap_conn.c, then
 * imap_session.c and the cmd_*.c it runs).
 */
#include "imap_conn.h"
#include "imap_login.h"
#include "login/login.h"
#include "mime/mime.h"

int
main(int argc, char **argv)
{
	static const char *const sockets[] = { "imap", "imaps", NULL };
	struct daemon d = { 0 };

	daemon_start(&d, "imapd", "login", sockets, argc, argv);
	mime_charsets_open();	/* users' processes cannot load them any more */
	return login_main(&d, &imap_login_proto, &imap_user_proto);
}
