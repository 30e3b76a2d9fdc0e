/* The process for the Maildir of one user of the machine; runs as that user. */
#include "deliver_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "confine.h"
#include "deliver_maildir.h"
#include "deliver_peer.h"
#include "log.h"
#include "store/store.h"

#define GROUP_MAX	64	/* jobs of one group */
#define ONE_STORE_FILES	1000	/* descriptors: enough for one Maildir and a group */

struct user {
	const struct deliver_as	*as;
	struct peer		 peer;
	int			 home, maildir;
	struct batch		*batch;
	struct job		*jobs;	/* of this group */
};

/* Everything that is opened by path, before the confinement. */
static void
open_mailbox(struct user *u)
{
	u->home = open(u->as->home, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (u->home == -1)
		log_fatal(EX_TEMPFAIL, "home %s of %s: %s", u->as->home, u->as->login, strerror(errno));
	u->maildir = store_dir(u->home, "Maildir", true);
	if (u->maildir == -1)
		log_fatal(EX_TEMPFAIL, "%s/Maildir of %s: %s", u->as->home, u->as->login, strerror(errno));
}

static void
confine(const struct user *u)
{
	struct confine c = { .kind = CONFINE_DELIVER, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	char why[200];

	(void)confine_path(&c, u->maildir, ACCESS_WRITE);
	if (!confine_apply(&c, why, sizeof(why)))
		log_fatal(EX_OSERR, "cannot confine: %s", why);
}

/* Is there a .forward?  To look needs no right to read it. */
static bool
has_forward(const struct user *u, struct slice detail)
{
	char name[sizeof(".forward+") + ADDR_LOCAL_MAX];
	struct stat st;

	if (alias_detail_safe(detail)) {
		(void)snprintf(name, sizeof(name), ".forward+%.*s", (int)detail.len, detail.ptr);
		if (fstatat(u->home, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return fstatat(u->home, ".forward", &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
take_job(struct user *u, struct slice frame, int passed)
{
	struct job *job;
	bool bad;

	job = job_new(frame, passed, &bad);
	if (job == NULL)
		log_fatal(EX_SOFTWARE, "job for %s: %s", u->as->login, bad ? "malformed" : "no memory");
	job->send = peer_send_results;
	job->send_ctx = &u->peer;
	job->next = u->jobs;
	u->jobs = job;
	for (size_t i = 0; i < job->rcpt_n; i++) {
		struct rcpt *r = &job->rcpt[i];
		struct addr to;

		if (!addr_parse(r->m.addr, &to))
			rcpt_result(r, OUTCOME_FAILED, "5.1.3", "local", "not an address");
		else if (deliver_loop_check(r, &to, u->as->conf->hops, "local"))
			batch_add(u->batch, r, u->maildir, "", u->as->quota, &to);
	}
}

static void
take_frame(struct user *u, int passed)
{
	struct slice frame = buf_slice_of(&u->peer.frame);
	struct ipc_deliver_file file;
	uint16_t code;

	if (ipc_code(frame, &code) && code == IPC_job) {
		take_job(u, frame, passed);
		return;
	}
	if (passed != -1)
		(void)close(passed);
	if (!ipc_get_deliver_file(frame, &file))
		log_fatal(EX_SOFTWARE, "malformed frame");
	(void)peer_send_text(&u->peer, file.id, has_forward(u, file.detail) ? OK : PERM, "", -1);
}

static void
end_group(struct user *u)
{
	struct job *next;

	batch_commit(u->batch);
	for (struct job *job = u->jobs; job != NULL; job = next) {
		next = job->next;
		if (!job_send_results(job))
			exit(EX_TEMPFAIL);	/* the worker is gone: queue asks again */
		job_free(job);
	}
	u->jobs = NULL;
}

_Noreturn void
deliver_user_main(const struct deliver_as *as)
{
	struct user u = { .as = as };
	bool gone;
	int passed;

	open_mailbox(&u);
	confine(&u);
	u.batch = batch_new(as->conf->hostname, "local", ONE_STORE_FILES);
	if (u.batch == NULL || !peer_open(&u.peer, as->fd))
		exit(EX_TEMPFAIL);
	/* One frame, and all that came meanwhile. */
	while (peer_next(&u.peer, -1, &passed, &gone)) {
		int n = 0;

		do
			take_frame(&u, passed);
		while (++n < GROUP_MAX && peer_next(&u.peer, 0, &passed, &gone));
		end_group(&u);
		if (gone)
			break;
	}
	exit(0);
}
