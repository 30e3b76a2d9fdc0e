#include "deliver_parent.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "deliver_user.h"
#include "ipc.h"
#include "ipc_conn.h"
#include "log.h"
#include "routes.h"

#define CHILDREN_MAX	128	/* at once */
#define ACTIONS_A_USER	8	/* at once; the worker keeps to half of it, others wait in line there */
#define ACTIONS_DEFAULT	64	/* of the default account, and of all when we are not root */
#define DEFAULT_ACCOUNT	"nobody"
#define DEFAULT_UID	65534

struct child {
	pid_t	pid;	/* 0: free place */
	uid_t	uid;
	bool	action;
};

struct parent {
	struct daemon	*d;
	struct routes	*routes;
	struct ipc_conn	*worker;
	int		 fd;		/* of that connection */
	pid_t		 worker_pid;
	struct event	*sigchld;
	uid_t		 default_uid;
	gid_t		 default_gid;
	struct child	 child[CHILDREN_MAX];
};

/* ---- whom to fork for ---- */

static enum verdict __attribute__((format(printf, 4, 5)))
refuse(char *text, size_t size, enum verdict v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, size, fmt, ap);
	va_end(ap);
	return v;
}

/* A user of the machine, by the maps. */
static enum verdict
find_user(struct parent *p, struct slice what, struct deliver_as *as, char *text, size_t size)
{
	const struct passwd *pw;
	struct route route;
	struct addr a;
	enum verdict v;

	if (!addr_parse(what, &a))
		return refuse(text, size, PERM, "not an address");
	v = routes_find_mailbox(p->routes, &a, &route);
	if (v != OK || !route.system)
		return refuse(text, size, v == OK ? PERM : v, "not a user of the machine");
	if (route.uid == 0 || route.uid == UINT32_MAX)
		return refuse(text, size, PERM, "nothing is delivered as root");
	if (geteuid() != 0 && route.uid != geteuid())
		return refuse(text, size, TEMP, "started without root, deliver can reach no other user's home");
	as->system = true;
	as->addr = route.key;
	as->uid = route.uid;
	as->gid = route.gid;
	as->quota = route.quota;
	if (!slice_text(route.home, as->home, sizeof(as->home)) || as->home[0] != '/' ||
	    !slice_text(addr_local(&route.key), as->login, sizeof(as->login)) ||
	    !slice_text(route.detail, as->detail, sizeof(as->detail)))
		return refuse(text, size, TEMP, "the map entry cannot be used");
	pw = getpwuid(as->uid);
	(void)snprintf(as->shell, sizeof(as->shell), "%s", pw == NULL || pw->pw_shell == NULL ? "/bin/sh" : pw->pw_shell);
	return OK;
}

/* The default account, for a target that stands in the machine's aliases now. */
static enum verdict
find_default(struct parent *p, struct slice what, struct deliver_as *as, char *text, size_t size)
{
	enum verdict v = routes_action(p->routes, what);

	if (v != OK || !slice_text(what, as->action, sizeof(as->action)))
		return refuse(text, size, TEMP, "%.*s does not stand in the aliases (any more)", (int)what.len, what.ptr);
	as->uid = p->default_uid;
	as->gid = p->default_gid;
	(void)snprintf(as->login, sizeof(as->login), DEFAULT_ACCOUNT);
	(void)snprintf(as->home, sizeof(as->home), "/");
	(void)snprintf(as->shell, sizeof(as->shell), "/bin/sh");
	return OK;
}

static struct child *
free_place(struct parent *p, uid_t uid, bool action, char *text, size_t size)
{
	int limit = uid == p->default_uid ? ACTIONS_DEFAULT : ACTIONS_A_USER, same = 0;
	struct child *place = NULL;

	for (size_t i = 0; i < LEN(p->child); i++) {
		if (p->child[i].pid == 0)
			place = &p->child[i];
		else if (p->child[i].uid == uid && p->child[i].action == action)
			same++;
	}
	/* A mailbox process may hang in a home that does not answer: there is never a crowd of them. */
	if (same >= (action ? limit : 2)) {
		(void)refuse(text, size, TEMP, "%d processes of this user are running", same);
		return NULL;
	}
	if (place == NULL)
		(void)refuse(text, size, TEMP, "%d processes for users are running", CHILDREN_MAX);
	return place;
}

/* ---- forking ---- */

/* In the child: nothing of the parent's is left but standard error and one socket; then its uid. */
static _Noreturn void
become(struct deliver_as *as, bool action)
{
	int fd = as->fd;

	if (fd > 3)
		(void)close_range(3, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0u, 0);
	for (int s = 1; s < NSIG; s++)
		if (s != SIGPIPE && s != SIGSYS)
			(void)signal(s, SIG_DFL);
	if (geteuid() == 0 && (setgroups(1, &as->gid) != 0 || setresgid(as->gid, as->gid, as->gid) != 0 ||
	    setresuid(as->uid, as->uid, as->uid) != 0))
		log_fatal(EX_OSERR, "cannot become uid %u: %s", (unsigned)as->uid, strerror(errno));
	if (geteuid() == 0 || getuid() == 0)
		log_fatal(EX_SOFTWARE, "still root");
	(void)umask(077);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);	/* after the change of uid, which clears it */
	if (action)
		deliver_action_main(as);
	deliver_user_main(as);
}

static enum verdict
spawn(struct parent *p, const struct ipc_deliver_spawn *m, int *fd, char *text, size_t size)
{
	struct deliver_as as = { .conf = &p->d->conf };
	struct child *place;
	enum verdict v;
	int pair[2];
	pid_t pid;

	if (m->what.len == 0 || slice_find(m->what, '\0') < m->what.len)
		return refuse(text, size, PERM, "malformed");
	routes_refresh(p->routes, now_usec());
	if (m->action && strchr("|/:", m->what.ptr[0]) != NULL)
		v = find_default(p, m->what, &as, text, size);
	else
		v = find_user(p, m->what, &as, text, size);
	if (v != OK)
		return v;
	place = free_place(p, as.uid, m->action != 0, text, size);
	if (place == NULL)
		return TEMP;
	if (!ipc_pair(pair))
		return refuse(text, size, TEMP, "socketpair: %s", strerror(errno));
	as.fd = pair[1];
	pid = fork();
	if (pid == 0)
		become(&as, m->action != 0);
	(void)close(pair[1]);
	if (pid == -1) {
		(void)close(pair[0]);
		return refuse(text, size, TEMP, "fork: %s", strerror(errno));
	}
	*place = (struct child){ .pid = pid, .uid = as.uid, .action = m->action != 0 };
	*fd = pair[0];
	return OK;
}

/* ---- the worker ---- */

static bool
on_frame(struct ipc_conn *c, void *ctx, struct slice frame, int passed)
{
	struct ipc_deliver_spawned answer = { 0 };
	struct ipc_deliver_spawn m;
	struct parent *p = ctx;
	char text[200] = "";
	int fd = -1;

	if (passed != -1)
		(void)close(passed);
	if (!ipc_get_deliver_spawn(frame, &m))
		return false;
	answer.id = m.id;
	answer.verdict = (uint8_t)spawn(p, &m, &fd, text, sizeof(text));
	answer.text = slice_of(text);
	return IPC_CONN_SEND(c, deliver_spawned, &answer, fd);
}

/* The worker has ended, or is about to; SIGCHLD tells how. */
static void
on_closed(struct ipc_conn *c, void *ctx, const char *why)
{
	struct parent *p = ctx;

	(void)c;
	(void)why;
	if (p->worker_pid > 0)
		(void)kill(p->worker_pid, SIGTERM);
}

static void
on_sigchld(evutil_socket_t number, short what, void *ctx)
{
	struct parent *p = ctx;
	int status;
	pid_t pid;

	(void)number;
	(void)what;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == p->worker_pid) {
			bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

			if (!good)
				log_say(LOG_LEVEL_ERROR, "worker %d ended by %s %d", (int)pid,
				    WIFSIGNALED(status) ? "signal" : "exit code",
				    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
			p->worker_pid = 0;
			daemon_end(p->d, good ? 0 : EX_SOFTWARE);
		}
		for (size_t i = 0; i < LEN(p->child); i++)
			if (p->child[i].pid == pid)
				p->child[i].pid = 0;
	}
}

/* SIGTERM: the worker finishes what it has, and its end is ours. */
static void
drain(void *ctx)
{
	struct parent *p = ctx;

	if (p->worker_pid > 0)
		(void)kill(p->worker_pid, SIGTERM);
}

/* ---- start ---- */

static void
find_default_account(struct parent *p)
{
	const struct passwd *pw = getpwnam(DEFAULT_ACCOUNT);

	if (geteuid() != 0) {
		p->default_uid = geteuid();
		p->default_gid = getegid();
		return;
	}
	p->default_uid = pw == NULL || pw->pw_uid == 0 ? DEFAULT_UID : pw->pw_uid;
	p->default_gid = pw == NULL || pw->pw_gid == 0 ? DEFAULT_UID : pw->pw_gid;
}

static void
confine(struct parent *p)
{
	struct confine c = { .kind = CONFINE_DELIVER_PARENT, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	/* Commands of users may be anywhere; what each may do with it is a matter of its uid. */
	if (root == -1 || !confine_path(&c, root, ACCESS_ALL))
		log_fatal(EX_OSERR, "cannot open /: %s", strerror(errno));
	daemon_confine(p->d, &c);
	(void)close(root);
}

int
deliver_parent_main(struct daemon *d, int map_dirfd, int fd, pid_t worker)
{
	static const struct ipc_conn_ops ops = { .frame = on_frame, .closed = on_closed };
	struct parent p = { .d = d, .fd = fd, .worker_pid = worker };
	int code;

	p.routes = routes_open(map_dirfd);
	find_default_account(&p);
	p.sigchld = evsignal_new(d->base, SIGCHLD, on_sigchld, &p);
	if (p.routes == NULL || p.sigchld == NULL || event_add(p.sigchld, NULL) != 0)
		log_fatal(EX_OSERR, "no memory");
	event_active(p.sigchld, EV_SIGNAL, 1);	/* the worker may have ended before there was a handler */
	d->drain = drain;
	d->drain_ctx = &p;
	confine(&p);
	p.worker = ipc_conn_new(d->base, fd, "deliver", 4 * IPC_FRAME_MAX, &ops, &p);
	if (p.worker == NULL)
		log_fatal(EX_OSERR, "no memory");
	daemon_ready(d);
	code = daemon_run(d);
	if (p.worker_pid > 0) {
		(void)kill(p.worker_pid, SIGTERM);
		(void)waitpid(p.worker_pid, NULL, 0);
	}
	ipc_conn_free(p.worker);
	event_free(p.sigchld);
	routes_close(p.routes);
	return code;
}
