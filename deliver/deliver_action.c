/*
 * The process for one action under the right uid: a |command, a /file, the
 * text of an :include: or of a .forward.  What it may do was decided by the
 * root parent (the machine's aliases) or stands in the user's own .forward:
 * the worker cannot ask for anything else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "deliver_command.h"
#include "deliver_maildir.h"
#include "deliver_mbox.h"
#include "deliver_peer.h"
#include "deliver_user.h"
#include "expand.h"
#include "log.h"
#include "store/store.h"

#define ASK_WAIT_MS	60000

/* ---- reading files ---- */

/*
 * A file that may say where mail goes: regular, with one name, owned by its
 * user or root, nobody else may write it (V11, CONVENTIONS.md section 3).
 * PERM: missing or passed over, and why says so ("" when missing).
 */
static enum verdict
read_careful(int dirfd, const char *name, uid_t owner, struct buf *out, char *why, size_t why_size)
{
	struct stat st;
	ssize_t n = 0;
	char *room;
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	why[0] = '\0';
	if (fd == -1) {
		int number = errno;

		if (number == ENOENT)
			return PERM;
		(void)snprintf(why, why_size, "%s", strerror(number));
		return number == ELOOP || number == ENXIO ? PERM : TEMP;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		(void)snprintf(why, why_size, "it is not a regular file");
	else if (st.st_nlink != 1)
		(void)snprintf(why, why_size, "it has more than one name");
	else if (owner != (uid_t)-1 && st.st_uid != owner && st.st_uid != 0)
		(void)snprintf(why, why_size, "it belongs to somebody else");
	else if ((st.st_mode & 022) != 0)
		(void)snprintf(why, why_size, "group or others may write it");
	else if (st.st_size > EXPAND_FILE_MAX)
		(void)snprintf(why, why_size, "it is larger than %d octets", EXPAND_FILE_MAX);
	while (why[0] == '\0' && (room = buf_room(out, 16384)) != NULL) {
		n = read(fd, room, 16384);
		if (n <= 0)
			break;
		buf_add(out, (size_t)n);
	}
	(void)close(fd);
	if (why[0] != '\0')
		return PERM;
	return n < 0 || out->full ? TEMP : OK;
}

/* .forward+DETAIL, then .forward.  *name: which it was. */
static enum verdict
read_forward(const struct deliver_as *as, struct slice detail, struct buf *out, const char **name)
{
	static char with_detail[sizeof(".forward+") + ADDR_LOCAL_MAX];
	char why[200];
	enum verdict v = PERM;
	int home = open(as->home, O_PATH | O_DIRECTORY | O_CLOEXEC);

	*name = ".forward";
	if (home == -1)
		return TEMP;
	if (alias_detail_safe(detail)) {
		(void)snprintf(with_detail, sizeof(with_detail), ".forward+%.*s", (int)detail.len, detail.ptr);
		*name = with_detail;
		v = read_careful(home, with_detail, as->uid, out, why, sizeof(why));
		if (v == PERM && why[0] != '\0')
			log_say(LOG_LEVEL_WARNING, "%s/%s is not used: %s", as->home, *name, why);
	}
	if (v == PERM) {
		buf_reset(out);
		*name = ".forward";
		v = read_careful(home, ".forward", as->uid, out, why, sizeof(why));
		if (v == PERM && why[0] != '\0')
			log_say(LOG_LEVEL_WARNING, "%s/.forward is not used: %s", as->home, why);
	}
	(void)close(home);
	return v;
}

/* Is this target one of those in the user's .forward? */
static enum verdict
forward_has(const struct deliver_as *as, struct slice detail, enum target_kind kind, struct slice text)
{
	struct alias_error error;
	struct alias_value value;
	struct alias_list list;
	enum alias_next next;
	const char *name;
	struct buf forward;
	enum verdict v;

	buf_init(&forward, EXPAND_FILE_MAX + 16384);
	buf_init(&value.text, ALIAS_VALUE_MAX + 1);
	v = read_forward(as, detail, &forward, &name);
	if (v == OK) {
		v = PERM;
		alias_list_init(&list, buf_slice_of(&forward), 1, true);
		while (v == PERM && (next = alias_list_next(&list, &value, &error)) != ALIAS_END)
			if (next == ALIAS_GOT && value.kind == kind && slice_eq(buf_slice_of(&value.text), text))
				v = OK;
	}
	buf_clear(&value.text);
	buf_clear(&forward);
	return v;
}

/* May an :include: of this path be read? */
static enum verdict
include_allowed(const struct deliver_as *as, const struct ipc_deliver_file *m)
{
	struct slice action = slice_of(as->action);

	if (as->system)
		return forward_has(as, m->detail, TARGET_INCLUDE, m->path);
	return slice_prefix(&action, ":include:") && slice_eq(action, m->path) ? OK : PERM;
}

static enum verdict
read_include(const struct deliver_as *as, const struct ipc_deliver_file *m, struct buf *out)
{
	char path[ALIAS_VALUE_MAX + 1], why[200];
	enum verdict v = include_allowed(as, m);

	if (v != OK || !slice_text(m->path, path, sizeof(path)))
		return v == OK ? PERM : v;
	/* Of the machine's aliases: root wrote its name down, so any owner will do. */
	v = read_careful(AT_FDCWD, path, as->system ? as->uid : (uid_t)-1, out, why, sizeof(why));
	if (v != OK)
		log_say(LOG_LEVEL_WARNING, ":include:%s cannot be used: %s", path, why[0] == '\0' ? "no such file" : why);
	return v;
}

/* A memfd, so that a slow file system of a user's is waited for here and not in the worker. */
static int
to_memfd(const struct buf *text)
{
	int fd = memfd_create("text", MFD_CLOEXEC);
	size_t done = 0;

	while (fd != -1 && done < text->len) {
		ssize_t n = write(fd, text->ptr + done, text->len - done);

		if (n <= 0) {
			(void)close(fd);
			return -1;
		}
		done += (size_t)n;
	}
	return fd;
}

static void
answer_file(const struct deliver_as *as, struct peer *p)
{
	struct ipc_deliver_file m;
	const char *name = "";
	struct buf text;
	enum verdict v;
	int fd = -1;

	if (!ipc_get_deliver_file(buf_slice_of(&p->frame), &m) || (m.path.len == 0 && !as->system))
		log_fatal(EX_SOFTWARE, "malformed frame");
	buf_init(&text, EXPAND_FILE_MAX + 16384);
	v = m.path.len == 0 ? read_forward(as, m.detail, &text, &name) : read_include(as, &m, &text);
	if (v == OK) {
		fd = to_memfd(&text);
		if (fd == -1)
			v = TEMP;
	}
	(void)peer_send_text(p, m.id, v, name, fd);
	buf_clear(&text);
}

/* ---- files and commands ---- */

/* "/path/": a Maildir. */
static void
to_maildir(const struct deliver_as *as, struct rcpt *r, const char *path, const struct addr *to)
{
	struct batch *b = batch_new(as->conf->hostname, "local", 0);
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char below[ALIAS_VALUE_MAX + 1];
	size_t len = strspn(path, "/");

	(void)snprintf(below, sizeof(below), "%s", path + len);
	for (len = strlen(below); len > 0 && below[len - 1] == '/'; len--)
		below[len - 1] = '\0';
	if (b == NULL || root == -1 || len == 0) {
		rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "cannot open the Maildir %s", path);
	} else {
		batch_add(b, r, root, below, 0, to);
		batch_commit(b);
	}
	batch_free(b);
	if (root != -1)
		(void)close(root);
}

static void
to_command(const struct deliver_as *as, struct rcpt *r, struct slice command, const struct addr *to, struct slice head)
{
	const struct job *job = r->job;
	struct command_env e = {
		.home = slice_of(as->home), .user = slice_of(as->login), .shell = slice_of(as->shell),
		.recipient = addr_text(to), .original_recipient = r->m.orig_to, .sender = job->m.sender,
		.local = addr_local(to), .domain = addr_domain(to), .extension = slice_of(as->detail),
		.envid = job->m.envid, .client_address = job->m.client_address,
	};
	const char *argv[ALIAS_ARGV_MAX + 1];
	struct command_result result;
	enum ipc_outcome outcome;
	struct buf words, env, text;
	char dsn[16];

	buf_init(&words, 2 * ALIAS_VALUE_MAX + ALIAS_ARGV_MAX);
	buf_init(&env, 16384);
	buf_init(&text, 900);
	if (!alias_command_split(command, &words, argv) || !command_environment(&env, &e)) {
		rcpt_result(r, OUTCOME_DEFERRED, "4.3.5", "local", "the command cannot be run: there is no shell");
	} else {
		if (chdir(as->system ? as->home : "/") != 0)
			(void)!chdir("/");
		command_run(argv, buf_slice_of(&env), job, head, COMMAND_LIMIT_S, &result);
		command_outcome(&result, &outcome, dsn, &text);
		rcpt_result(r, outcome, dsn, "local", "%s: %s", argv[0], text.full ? "" : buf_cstr(&text));
		buf_clear(&result.output);
	}
	buf_clear(&text);
	buf_clear(&env);
	buf_clear(&words);
}

/* Cut the user's name off "~user+detail|command"; is what is left allowed to us? */
static enum verdict
action_allowed(const struct deliver_as *as, struct slice *action)
{
	size_t at = 0;

	if (!as->system)
		return slice_eq(*action, slice_of(as->action)) ? OK : PERM;
	while (at < action->len && action->ptr[at] != '/' && action->ptr[at] != '|')
		at++;
	*action = slice_sub(*action, at, action->len);
	if (action->len < 2)
		return PERM;
	return action->ptr[0] == '|' ?
	    forward_has(as, slice_of(as->detail), TARGET_COMMAND, slice_sub(*action, 1, action->len)) :
	    forward_has(as, slice_of(as->detail), TARGET_FILE, *action);
}

/* The address that the mail is for: the user's, or what came before the alias. */
static bool
final_address(const struct deliver_as *as, const struct rcpt *r, struct addr *to)
{
	if (as->system)
		*to = as->addr;
	return as->system || addr_parse(r->m.orig_to, to);
}

static void
act(const struct deliver_as *as, struct rcpt *r)
{
	struct slice action = r->m.addr;
	enum verdict v = action_allowed(as, &action);
	char path[ALIAS_VALUE_MAX + 1];
	struct addr to = { 0 };
	struct buf head;

	if (v != OK) {
		rcpt_result(r, OUTCOME_DEFERRED, v == TEMP ? "4.3.0" : "4.3.5", "local",
		    "%.*s is no longer in the file that it came from", (int)action.len, action.ptr);
		return;
	}
	if (!deliver_hop_check(r, as->conf->hops))
		return;
	if (final_address(as, r, &to) && header_was_delivered_to(&r->job->header, &to)) {
		rcpt_result(r, OUTCOME_FAILED, "5.4.6", "local", "mail forwarding loop for %s", to.text);
		return;
	}
	buf_init(&head, 4096);
	(void)header_put_trace(&head, r->job->m.sender, r->m.orig_to, addr_text(&to));
	if (head.full || !slice_text(action, path, sizeof(path)))
		rcpt_result(r, OUTCOME_DEFERRED, "4.3.0", "local", "not enough memory");
	else if (path[0] == '|')
		to_command(as, r, slice_sub(action, 1, action.len), &to, buf_slice_of(&head));
	else if (path[action.len - 1] == '/')
		to_maildir(as, r, path, &to);
	else
		mbox_deliver(r, path, buf_slice_of(&head));
	buf_clear(&head);
}

static void
answer_job(const struct deliver_as *as, struct peer *p, int passed)
{
	bool bad;
	struct job *job = job_new(buf_slice_of(&p->frame), passed, &bad);

	if (job == NULL)
		log_fatal(EX_SOFTWARE, "job for %s: %s", as->login, bad ? "malformed" : "no memory");
	job->send = peer_send_results;
	job->send_ctx = p;
	for (size_t i = 0; i < job->rcpt_n; i++)
		act(as, &job->rcpt[i]);
	(void)job_send_results(job);
	job_free(job);
}

_Noreturn void
deliver_action_main(const struct deliver_as *as)
{
	struct peer p;
	bool gone;
	int passed;
	uint16_t code;

	if (!peer_open(&p, as->fd) || !peer_next(&p, ASK_WAIT_MS, &passed, &gone))
		exit(EX_TEMPFAIL);
	if (ipc_code(buf_slice_of(&p.frame), &code) && code == IPC_job) {
		answer_job(as, &p, passed);
	} else {
		if (passed != -1)
			(void)close(passed);
		answer_file(as, &p);
	}
	exit(0);
}
