/*
 * deliver_user: the processes that the root parent forks for others than
 * pp-vmail, seen from inside.  They speak with the worker over a socket of
 * their own: job -> job_results, deliver_file -> deliver_text.
 *
 * Mailbox process: one a user of the machine; has his Maildir and nothing else
 * (Landlock), stays while there is mail for him.
 * Action process: for one |command, /file, :include: or .forward; ends then.
 */
#ifndef PP_DELIVER_USER_H
#define PP_DELIVER_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "aliases.h"
#include "conf.h"

/* Whom such a process works for.  Filled by the root parent from the maps and passwd alone. */
struct deliver_as {
	const struct conf *conf;
	int		 fd;			/* socket to the worker */
	bool		 system;		/* a user of the machine; else the default account */
	struct addr	 addr;			/* system: his mailbox */
	char		 detail[ADDR_LOCAL_MAX + 1];	/* of the address it was asked for */
	char		 login[ADDR_LOCAL_MAX + 1];
	char		 home[1024];
	char		 shell[256];
	uid_t		 uid;
	gid_t		 gid;
	uint64_t	 quota;
	char		 action[ALIAS_VALUE_MAX + 16];	/* default account: the one thing it may do */
};

_Noreturn void deliver_user_main(const struct deliver_as *as);
_Noreturn void deliver_action_main(const struct deliver_as *as);

#endif
