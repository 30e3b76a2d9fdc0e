/*
 * auth_worker: the processes that do what auth itself must not: wait for
 * crypt(3), which takes long, and for PAM, which may run anything.
 *
 *	auth	  --worker_start-->  keeper  --fork-->  worker
 *	auth	  <--worker_started + socket--  keeper
 *	auth	  --crypt_check, pam_check-->  worker  --..._result-->  auth
 *
 * The keeper is a small parent: root if there is PAM to be asked, else as auth.
 * It sees no password.  A crypt worker has its socket and nothing else; a PAM
 * worker runs the modules.  All end when their socket is closed, and with the
 * keeper.
 */
#ifndef PP_AUTH_WORKER_H
#define PP_AUTH_WORKER_H

#include <stdbool.h>
#include <sys/types.h>

#include "buf.h"
#include "conf.h"
#include "daemon.h"
#include "ipc.h"

enum worker_kind { WORKER_CRYPT, WORKER_PAM };

struct auth_keeper {
	int	fd;	/* auth's end, non-blocking */
	pid_t	pid;
};

/* Fork it; before confinement and before anything secret is read. */
bool auth_keeper_start(struct auth_keeper *k, struct daemon *d);

bool auth_keeper_ask(const struct auth_keeper *k, enum worker_kind kind, uint32_t id);
bool auth_keeper_kill(const struct auth_keeper *k, uint32_t id);

/* The loops of the workers, until fd is closed at the other end (auth_crypt.c, auth_pam.c). */
void auth_crypt_serve(int fd);
void auth_pam_serve(int fd, const struct conf *conf);

/* Wait for one frame; false when the other end is closed. */
bool auth_worker_wait(int fd, struct buf *frame);
/* Send the frame in out; false when the other end is closed. */
bool auth_worker_answer(int fd, const struct buf *out);

#endif
