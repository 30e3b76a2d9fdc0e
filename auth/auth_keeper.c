#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth_worker.h"
#include "log.h"
#include "slice.h"
#include "verdict.h"

#define WORKERS_MAX	64
#define REAP_MS		1000

struct keeper {
	struct daemon	*daemon;
	int		 fd;		/* to auth */
	uid_t		 auth_uid;	/* what crypt workers run as */
	gid_t		 auth_gid;
	struct confine	 pam;		/* confinement of PAM workers: folders are open */
	struct {
		uint32_t	id;
		pid_t		pid;	/* 0: free */
		bool		group;	/* it leads a process group: PAM modules run helpers */
	} worker[WORKERS_MAX];
};

/* ---- in a new worker ---- */

/* Only fd and the log stay open. */
static void
close_others(int fd)
{
	if (fd > 3)
		(void)close_range(3, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0u, 0);
}

static _Noreturn void
worker_main(struct keeper *k, enum worker_kind kind, int fd, int auth_end)
{
	struct confine crypt = { .kind = CONFINE_AUTH_CRYPT, .uid = k->auth_uid, .gid = k->auth_gid };
	char why[200];

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kind == WORKER_PAM)
		(void)setpgid(0, 0);
	(void)prctl(PR_SET_NAME, kind == WORKER_PAM ? "auth-pam" : "auth-crypt", 0, 0, 0);
	/* A PAM worker still needs its folders. */
	(void)close(auth_end);
	(void)close(k->fd);
	if (kind == WORKER_CRYPT)
		close_others(fd);
	if (!confine_apply(kind == WORKER_PAM ? &k->pam : &crypt, why, sizeof(why))) {
		log_say(LOG_LEVEL_ERROR, "cannot confine a worker: %s", why);
		_exit(71);
	}
	if (kind == WORKER_PAM) {
		for (size_t i = 0; i < k->pam.path_n; i++)
			(void)close(k->pam.path[i].fd);
		auth_pam_serve(fd, &k->daemon->conf);
	} else {
		auth_crypt_serve(fd);
	}
	_exit(0);
}

/* ---- the keeper ---- */

static void
reap(struct keeper *k)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < WORKERS_MAX; i++) {
			if (k->worker[i].pid == pid)
				k->worker[i].pid = 0;
		}
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			log_say(LOG_LEVEL_WARNING, "a worker died of signal %d", WTERMSIG(status));
	}
}

static void
start_worker(struct keeper *k, const struct ipc_worker_start *m)
{
	struct ipc_worker_started reply = { .id = m->id, .verdict = TEMP };
	struct buf out;
	int fds[2] = { -1, -1 };
	size_t slot = 0;
	pid_t pid;

	while (slot < WORKERS_MAX && k->worker[slot].pid != 0)
		slot++;
	if (slot < WORKERS_MAX && (m->kind == WORKER_CRYPT || k->daemon->conf.system_users) && ipc_pair(fds)) {
		pid = fork();
		if (pid == 0)
			worker_main(k, (enum worker_kind)m->kind, fds[1], fds[0]);
		if (pid > 0) {
			k->worker[slot].pid = pid;
			k->worker[slot].id = m->id;
			k->worker[slot].group = m->kind == WORKER_PAM;
			reply.verdict = OK;
		}
	}
	buf_init(&out, IPC_FRAME_MAX);
	if (ipc_put_worker_started(&out, &reply))
		(void)ipc_send(k->fd, buf_slice_of(&out), reply.verdict == OK ? fds[0] : -1);
	buf_clear(&out);
	if (fds[0] != -1) {
		(void)close(fds[0]);
		(void)close(fds[1]);
	}
}

static void
kill_worker(const struct keeper *k, size_t slot)
{
	if (k->worker[slot].pid == 0)
		return;
	if (k->worker[slot].group)
		(void)kill(-k->worker[slot].pid, SIGKILL);
	(void)kill(k->worker[slot].pid, SIGKILL);
}

static void
end_worker(const struct keeper *k, uint32_t id)
{
	for (size_t i = 0; i < WORKERS_MAX; i++) {
		if (k->worker[i].id == id)
			kill_worker(k, i);
	}
}

static bool
take_frame(struct keeper *k, struct slice frame)
{
	struct ipc_worker_start start;
	struct ipc_worker_end end;

	if (ipc_get_worker_start(frame, &start)) {
		start_worker(k, &start);
		return true;
	}
	if (ipc_get_worker_end(frame, &end)) {
		end_worker(k, end.id);
		return true;
	}
	return false;
}

static void
keep(struct keeper *k)
{
	struct buf frame;
	int passed;

	buf_init(&frame, IPC_FRAME_MAX);
	for (;;) {
		enum ipc_io io = ipc_recv(k->fd, &frame, &passed);

		if (passed != -1)
			(void)close(passed);
		reap(k);
		if (io == IPC_IO_AGAIN)
			(void)ipc_wait(k->fd, false, REAP_MS);
		else if (io != IPC_IO_OK || !take_frame(k, buf_slice_of(&frame)))
			break;
	}
	buf_clear(&frame);
	for (size_t i = 0; i < WORKERS_MAX; i++)
		kill_worker(k, i);
}

/* Modules read what they like, run their helpers, and keep their books below /run and /var. */
static void
add_pam_paths(struct confine *c)
{
	static const struct { const char *path; enum confine_access access; } folders[] = {
		{ "/", ACCESS_RUN }, { "/run", ACCESS_WRITE }, { "/var", ACCESS_WRITE },
		{ "/dev", ACCESS_WRITE }, { "/tmp", ACCESS_WRITE },
	};

	for (size_t i = 0; i < LEN(folders); i++) {
		int fd = open(folders[i].path, O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd != -1)
			(void)confine_path(c, fd, folders[i].access);
	}
}

static _Noreturn void
keeper_main(struct daemon *d, int fd)
{
	struct keeper k = { .daemon = d, .fd = fd, .auth_uid = d->uid, .auth_gid = d->gid };
	struct confine c = { .kind = CONFINE_AUTH_SPAWN, .uid = d->uid, .gid = d->gid };
	char why[200];

	daemon_child(d, "auth");
	daemon_close_sockets(d);
	/* It ends with auth, which finishes what it has begun. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGUSR1, SIG_IGN);
	(void)signal(SIGUSR2, SIG_IGN);
	(void)prctl(PR_SET_NAME, "auth-keeper", 0, 0, 0);
	if (d->conf.system_users) {
		c = (struct confine){ .kind = CONFINE_AUTH_PARENT, .uid = (uid_t)-1, .gid = (gid_t)-1 };
		add_pam_paths(&c);
		k.pam = c;
		k.pam.kind = CONFINE_AUTH_PAM;
	}
	if (chdir("/") != 0 || !confine_apply(&c, why, sizeof(why))) {
		log_say(LOG_LEVEL_ERROR, "cannot confine the keeper: %s", why);
		_exit(71);
	}
	keep(&k);
	_exit(0);
}

bool
auth_keeper_start(struct auth_keeper *k, struct daemon *d)
{
	int fds[2];

	if (!ipc_pair(fds))
		return false;
	k->pid = fork();
	if (k->pid == 0) {
		(void)close(fds[0]);
		keeper_main(d, fds[1]);
	}
	(void)close(fds[1]);
	k->fd = fds[0];
	if (k->pid == -1)
		(void)close(fds[0]);
	return k->pid != -1;
}

/* ---- auth's side, and what workers share ---- */

bool
auth_keeper_ask(const struct auth_keeper *k, enum worker_kind kind, uint32_t id)
{
	const struct ipc_worker_start m = { .id = id, .kind = (uint8_t)kind };
	struct buf out;
	bool ok;

	buf_init(&out, IPC_FRAME_MAX);
	ok = ipc_put_worker_start(&out, &m) && ipc_send(k->fd, buf_slice_of(&out), -1) == IPC_IO_OK;
	buf_clear(&out);
	return ok;
}

bool
auth_keeper_kill(const struct auth_keeper *k, uint32_t id)
{
	const struct ipc_worker_end m = { .id = id };
	struct buf out;
	bool ok;

	buf_init(&out, IPC_FRAME_MAX);
	ok = ipc_put_worker_end(&out, &m) && ipc_send(k->fd, buf_slice_of(&out), -1) == IPC_IO_OK;
	buf_clear(&out);
	return ok;
}

bool
auth_worker_wait(int fd, struct buf *frame)
{
	int passed;

	for (;;) {
		enum ipc_io io = ipc_recv(fd, frame, &passed);

		if (passed != -1)
			(void)close(passed);
		if (io == IPC_IO_OK)
			return true;
		if (io != IPC_IO_AGAIN || !ipc_wait(fd, false, -1))
			return false;
	}
}

bool
auth_worker_answer(int fd, const struct buf *out)
{
	enum ipc_io io;

	while ((io = ipc_send(fd, buf_slice_of(out), -1)) == IPC_IO_AGAIN) {
		if (!ipc_wait(fd, true, -1))
			return false;
	}
	return io == IPC_IO_OK;
}
