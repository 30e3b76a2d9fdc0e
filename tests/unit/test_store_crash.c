/*
 * store: killed at every system call, refused at every system call.
 *
 * A child works on a Maildir while we trace it, and say in shared memory what it
 * was told is done.  In run n it is killed (-9) before its nth call, or that call
 * fails with EIO, ENOSPC or EMFILE.  Then we look: what was acknowledged is
 * there, whole and once; what was not is there at most once after a repeat; a
 * UID that was told still means that message, and UIDNEXT is above all of them.
 *
 * Every call for the kill, every third for errors; PP_FULL=1: every call for all.
 * PP_ACT=name: this scene alone.
 */
#include "store_fixture.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

#if defined(__x86_64__)

#define MESSAGES 12

/* What the child was told; message n has queue id n or is "number n". */
struct told {
	bool		acked[MESSAGES];
	uint32_t	uid[MESSAGES];		/* 0: not told */
	enum store_error error;			/* of the scenario's last step */
	bool		finished;		/* that step has answered */
	bool		begun;
};

struct scene {
	char		 path[64];
	int		 dir;
	struct told	*told;		/* shared with the child */
};

/* ---- the child's work ---- */

static struct store *
child_store(struct scene *s)
{
	const struct store_options options = { .hostname = "h", .create = true, .keep = true, .quota = 1 << 20 };
	enum store_error error;

	s->told->error = STORE_OK;
	{
		struct store *store = store_open(s->dir, &options, &error);

		if (store == NULL) {
			s->told->error = error;
			s->told->finished = true;
			_exit(0);
		}
		return store;
	}
}

static void
text_of(unsigned n, char text[64])
{
	(void)snprintf(text, 64, "Subject: number %u\r\n\r\nbody\r\n", n);
}

static void
deliver_some(struct scene *s, struct store *store, unsigned from, unsigned to, bool repeat)
{
	struct store_group *g = store_group_new(STORE_EACH);
	struct store_item *item[MESSAGES];
	char text[64];

	for (unsigned n = from; n < to; n++) {
		const struct store_new what = { .folder = SLICE("INBOX"), .qid = qid_of(n), .rcpt = 1, .repeat = repeat };

		item[n] = store_group_add(g, store, &what);
		text_of(n, text);
		store_group_write(g, item[n], slice_of(text));
	}
	s->told->error = store_group_commit(g);
	for (unsigned n = from; n < to; n++) {
		s->told->acked[n] = item[n]->error == STORE_OK;
		s->told->uid[n] = item[n]->uid;
	}
	s->told->finished = true;
	store_group_free(g);
}

/* Enough at once that the disk is synced as a whole. */
static void
work_deliver_many(struct scene *s)
{
	struct store *store = child_store(s);

	deliver_some(s, store, 0, 6, false);
	store_close(store);
}

static void
work_deliver(struct scene *s)
{
	struct store *store = child_store(s);

	deliver_some(s, store, 0, 3, false);
	deliver_some(s, store, 3, 6, false);
	store_close(store);
}

/* Ready-made: messages 0..5 in INBOX. */
static struct store_folder *
child_view(struct scene *s, struct store *store)
{
	enum store_error error;
	struct store_folder *f = store_folder_open(store, SLICE("INBOX"), false, &error);

	if (f == NULL) {
		s->told->error = error;
		s->told->finished = true;
		_exit(0);
	}
	for (uint32_t i = 0; i < store_folder_count(f); i++) {
		if (i < MESSAGES)
			s->told->uid[i] = store_folder_at(f, i + 1)->uid;
	}
	s->told->begun = true;
	return f;
}

static void
work_append(struct scene *s)
{
	struct store *store = child_store(s);
	struct store_group *g = store_group_new(STORE_ALL);
	struct store_item *item[2];
	char text[64];

	for (unsigned n = 0; n < 2; n++) {
		const struct slice keyword = SLICE("kw");
		const struct store_new what = {
			.folder = SLICE("Sent"), .flags = STORE_SEEN, .keyword = &keyword, .keyword_n = 1, .date = 1000000000,
		};

		item[n] = store_group_add(g, store, &what);
		text_of(n, text);
		store_group_write(g, item[n], slice_of(text));
	}
	s->told->error = store_group_commit(g);
	for (unsigned n = 0; n < 2; n++) {
		s->told->acked[n] = item[n]->error == STORE_OK;
		s->told->uid[n] = item[n]->uid;
	}
	s->told->finished = true;
	store_group_free(g);
	store_close(store);
}

static void
work_copy(struct scene *s)
{
	struct store *store = child_store(s);
	struct store_folder *f = child_view(s, store);
	struct store_group *g = store_group_new(STORE_ALL);

	for (unsigned n = 0; n < 3; n++)
		(void)store_group_copy(g, f, s->told->uid[n], SLICE("Archive"));
	s->told->error = store_group_commit(g);
	for (unsigned n = 0; n < 3; n++)
		s->told->acked[n] = s->told->error == STORE_OK;
	s->told->finished = true;
	store_group_free(g);
	store_folder_close(f);
	store_close(store);
}

static void
work_move(struct scene *s)
{
	struct store *store = child_store(s);
	struct store_folder *f = child_view(s, store);
	struct store_pair pair[3];
	uint32_t validity;
	size_t n = 0;

	s->told->error = store_folder_move(f, s->told->uid, 3, SLICE("Archive"), pair, &n, &validity);
	for (unsigned i = 0; i < 3; i++)
		s->told->acked[i] = s->told->error == STORE_OK;
	s->told->finished = true;
	store_folder_close(f);
	store_close(store);
}

static void
work_flags_expunge(struct scene *s)
{
	struct store *store = child_store(s);
	struct store_folder *f = child_view(s, store);
	const struct store_flags change = { .change = STORE_ADD, .flags = STORE_DELETED };

	s->told->error = store_folder_flags(f, s->told->uid, 2, &change);
	if (s->told->error == STORE_OK)
		s->told->error = store_folder_expunge(f, NULL, 0);
	for (unsigned i = 0; i < 2; i++)
		s->told->acked[i] = s->told->error == STORE_OK;
	s->told->finished = true;
	store_folder_close(f);
	store_close(store);
}

static void
work_folders(struct scene *s)
{
	struct store *store = child_store(s);

	s->told->error = store_create(store, SLICE("a.b"));
	s->told->acked[0] = s->told->error == STORE_OK;
	if (s->told->error == STORE_OK)
		s->told->error = store_rename(store, SLICE("a"), SLICE("z"));
	s->told->acked[1] = s->told->error == STORE_OK;
	if (s->told->error == STORE_OK)
		s->told->error = store_subscribe(store, SLICE("z.b"), true);
	s->told->acked[2] = s->told->error == STORE_OK;
	if (s->told->error == STORE_OK)
		s->told->error = store_delete(store, SLICE("z.b"));
	s->told->acked[3] = s->told->error == STORE_OK;
	s->told->finished = true;
	store_close(store);
}

/* Enough of it that the view that opens compacts the index. */
static void
work_compact(struct scene *s)
{
	struct store *store = child_store(s);
	struct store_folder *f = child_view(s, store);

	store_folder_close(f);
	s->told->finished = true;
	store_close(store);
}

/* ---- tracing ---- */

enum fault { KILL, FAIL_IO, FAIL_SPACE, FAIL_FILES };

static bool
may_fail(long call, enum fault fault)
{
	switch (call) {
	case SYS_openat:
		return true;
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_syncfs:
	case SYS_pread64:
	case SYS_read:
	case SYS_getdents64:
		return fault == FAIL_IO;
	case SYS_write:
	case SYS_pwrite64:
	case SYS_renameat2:
	case SYS_renameat:
	case SYS_linkat:
	case SYS_mkdirat:
	case SYS_fallocate:
	case SYS_ftruncate:
	case SYS_unlinkat:
		return fault != FAIL_FILES;
	}
	return false;
}

static struct user_regs_struct
registers(pid_t pid)
{
	struct user_regs_struct r = { 0 };

	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &r), 0);
	return r;
}

/* Run work() in a child; at its nth system call after the mark the fault happens.
 * Returns false when it ended before that. */
static bool
run_child(struct scene *s, void (*work)(struct scene *), unsigned n, enum fault fault)
{
	static const long long errors[] = { [FAIL_IO] = -EIO, [FAIL_SPACE] = -ENOSPC, [FAIL_FILES] = -EMFILE };
	bool marked = false, entering = true, hit = false, failing = false;
	unsigned count = 0;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)raise(SIGSTOP);
		(void)syscall(SYS_getppid);	/* the mark */
		work(s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	for (;;) {
		struct user_regs_struct r;
		int sig = 0;

		if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)sig) != 0 || waitpid(pid, &status, 0) != pid ||
		    WIFEXITED(status) || WIFSIGNALED(status))
			break;
		if (!WIFSTOPPED(status) || WSTOPSIG(status) != (SIGTRAP | 0x80))
			fail_msg("the child stopped by signal %d", WSTOPSIG(status));
		r = registers(pid);
		if (entering) {
			marked |= r.orig_rax == SYS_getppid;
			count += marked;
			if (marked && count == n + 1) {
				hit = true;
				if (fault == KILL)
					(void)kill(pid, SIGKILL);
				else if (may_fail((long)r.orig_rax, fault)) {
					failing = true;
					r.orig_rax = (unsigned long long)-1;
					(void)ptrace(PTRACE_SETREGS, pid, NULL, &r);
				}
			}
		} else if (failing) {
			failing = false;
			r.rax = (unsigned long long)errors[fault];
			(void)ptrace(PTRACE_SETREGS, pid, NULL, &r);
		}
		entering = !entering;
	}
	if (fault != KILL && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		fail_msg("call %u, fault %d: the child died (%d)", n, (int)fault, status);
	return hit;
}

/* ---- what must hold ---- */

struct seen {
	unsigned	times[MESSAGES];	/* in all folders */
	unsigned	inbox[MESSAGES], archive[MESSAGES], sent[MESSAGES];
	uint32_t	uid[MESSAGES];		/* in the folder that was looked at last */
	uint32_t	uidnext;
};

static void
look_into(struct store *store, const char *name, unsigned *times, struct seen *seen)
{
	struct store_folder *f = open_view(store, name, true);

	for (uint32_t i = 1; i <= store_folder_count(f); i++) {
		struct store_content c;
		struct slice text;
		char want[64];
		uint64_t n = MESSAGES;

		assert_int_equal(store_content_open(f, i, &c), STORE_OK);
		text = c.raw;
		assert_true(slice_prefix(&text, "Subject: number "));
		assert_true(slice_number(slice_cut(&text, '\r'), MESSAGES - 1, &n));
		text_of((unsigned)n, want);
		assert_true(slice_is(c.raw, want));	/* P3: never half a message */
		store_content_close(&c);
		times[n]++;
		seen->times[n]++;
		seen->uid[n] = store_folder_at(f, i)->uid;
		assert_true(store_folder_at(f, i)->uid < store_folder_uidnext(f));
	}
	seen->uidnext = store_folder_uidnext(f);
	store_folder_close(f);
}

static struct store *
after(struct scene *s)
{
	const struct store_options options = { .hostname = "h", .create = true, .quota = 1 << 20 };
	enum store_error error;
	struct store *store = store_open(s->dir, &options, &error);

	if (store == NULL)
		fail_msg("open after a fault: %s", store_error_text(error));
	return store;
}

/* Quota and files agree after a recount, and nothing but clean tmp files is left over. */
static void
check_deliver(struct scene *s, unsigned row)
{
	struct store *store = after(s);
	struct seen seen = { 0 };
	struct told before = *s->told;

	look_into(store, "INBOX", seen.inbox, &seen);
	for (unsigned n = 0; n < 6; n++) {
		check_row(row, seen.inbox[n] <= 1);
		check_row(row, !before.acked[n] || seen.inbox[n] == 1);
		check_row(row, before.uid[n] == 0 || (seen.uid[n] == before.uid[n] && before.uid[n] < seen.uidnext));
	}
	deliver_some(s, store, 0, 6, true);
	memset(&seen, 0, sizeof(seen));
	look_into(store, "INBOX", seen.inbox, &seen);
	for (unsigned n = 0; n < 6; n++) {
		check_row(row, seen.inbox[n] == 1);
		check_row(row, before.uid[n] == 0 || seen.uid[n] == before.uid[n]);
	}
	store_close(store);
}

static void
check_append(struct scene *s, unsigned row)
{
	struct store *store = after(s);
	struct seen seen = { 0 };

	look_into(store, "Sent", seen.sent, &seen);
	for (unsigned n = 0; n < 2; n++) {
		check_row(row, !s->told->acked[n] || seen.sent[n] == 1);
		check_row(row, s->told->uid[n] == 0 || seen.uid[n] == s->told->uid[n]);
		/* refused: nothing of it appears later (P6) */
		check_row(row, !s->told->finished || s->told->acked[n] || seen.sent[n] == 0);
		check_row(row, seen.sent[n] <= 1);
	}
	store_close(store);
}

static void
check_inbox_uids(struct scene *s, unsigned row, const struct seen *seen)
{
	for (unsigned n = 0; s->told->begun && n < 6; n++)
		check_row(row, seen->inbox[n] == 0 || seen->uid[n] == s->told->uid[n]);
}

static void
check_copy(struct scene *s, unsigned row)
{
	struct store *store = after(s);
	struct seen seen = { 0 }, archive = { 0 };

	look_into(store, "INBOX", seen.inbox, &seen);
	look_into(store, "Archive", archive.archive, &archive);
	check_inbox_uids(s, row, &seen);
	for (unsigned n = 0; n < 6; n++) {
		check_row(row, seen.inbox[n] == 1);
		check_row(row, !s->told->acked[n] || archive.archive[n] == 1);
		check_row(row, archive.archive[n] <= 1);
		check_row(row, !s->told->finished || s->told->acked[n] || archive.archive[n] == 0);
	}
	store_close(store);
}

static void
check_move(struct scene *s, unsigned row)
{
	struct store *store = after(s);
	struct seen seen = { 0 }, archive = { 0 };

	look_into(store, "INBOX", seen.inbox, &seen);
	look_into(store, "Archive", archive.archive, &archive);
	check_inbox_uids(s, row, &seen);
	for (unsigned n = 0; n < 6; n++) {
		check_row(row, seen.inbox[n] + archive.archive[n] == 1);	/* never lost, never doubled */
		check_row(row, !s->told->acked[n] || archive.archive[n] == 1);
	}
	store_close(store);
}

static void
check_expunge(struct scene *s, unsigned row)
{
	struct store *store = after(s);
	struct seen seen = { 0 };

	look_into(store, "INBOX", seen.inbox, &seen);
	check_inbox_uids(s, row, &seen);
	for (unsigned n = 0; n < 6; n++) {
		check_row(row, seen.inbox[n] <= 1);
		check_row(row, n < 2 || seen.inbox[n] == 1);
		check_row(row, !s->told->acked[n] || seen.inbox[n] == 0);
	}
	/* queue ids are remembered */
	deliver_some(s, store, 0, 6, true);
	memset(&seen, 0, sizeof(seen));
	look_into(store, "INBOX", seen.inbox, &seen);
	for (unsigned n = 0; n < 2; n++)
		check_row(row, !s->told->acked[n] || seen.inbox[n] <= 1);
	store_close(store);
}

static void
check_folders(struct scene *s, unsigned row)
{
	struct store *store = after(s);
	bool a = store_exists(store, SLICE("a")), ab = store_exists(store, SLICE("a.b"));
	bool z = store_exists(store, SLICE("z")), zb = store_exists(store, SLICE("z.b"));

	check_row(row, !s->told->acked[0] || a || z);
	check_row(row, !s->told->acked[0] || s->told->acked[1] || ab != zb || z);
	check_row(row, !(z && ab) && !(a && zb));	/* a rename is done, or it is not */
	check_row(row, !s->told->acked[1] || (z && !a));
	check_row(row, !s->told->acked[3] || !zb);
	check_row(row, store_exists(store, SLICE("Sent")));
	store_close(store);
}

static void
check_compact(struct scene *s, unsigned row)
{
	struct store *store = after(s);
	struct seen seen = { 0 };

	look_into(store, "INBOX", seen.inbox, &seen);
	check_inbox_uids(s, row, &seen);
	for (unsigned n = 0; n < 6; n++)
		check_row(row, seen.inbox[n] == 1);
	check_row(row, seen.uidnext == 1207);
	store_close(store);
}

/* ---- scenes ---- */

static void
with_mail(struct scene *s)
{
	struct store *store = after(s);

	deliver_some(s, store, 0, 6, false);
	store_close(store);
	memset(s->told, 0, sizeof(*s->told));
}

static void
with_maildir(struct scene *s)
{
	store_close(after(s));
}

static void
with_nothing(struct scene *s)
{
	(void)s;
}

/* 1,200 UIDs used up behind the six messages. */
static void
with_dead(struct scene *s)
{
	struct store *store;
	struct store_folder *f;
	struct store_group *g;
	uint32_t uid[1200];

	with_mail(s);
	store = after(s);
	g = store_group_new(STORE_EACH);
	for (unsigned i = 0; i < LEN(uid); i++) {
		const struct store_new what = { .folder = SLICE("INBOX") };

		store_group_write(g, store_group_add(g, store, &what), SLICE("x\r\n"));
		uid[i] = i + 7;
	}
	assert_int_equal(store_group_commit(g), STORE_OK);
	store_group_free(g);
	f = open_view(store, "INBOX", true);
	assert_int_equal(store_folder_remove(f, uid, LEN(uid)), STORE_OK);
	store_folder_close(f);
	store_close(store);
}

static const struct act {
	const char	*name;
	void		(*prepare)(struct scene *);
	void		(*work)(struct scene *);
	void		(*check)(struct scene *, unsigned row);
	unsigned	 step;		/* each so many calls */
} acts[] = {
	{ "deliver", with_maildir, work_deliver, check_deliver, 1 },
	{ "deliver many", with_maildir, work_deliver_many, check_deliver, 1 },
	{ "deliver into nothing", with_nothing, work_deliver, check_deliver, 1 },
	{ "append", with_maildir, work_append, check_append, 1 },
	{ "copy", with_mail, work_copy, check_copy, 1 },
	{ "move", with_mail, work_move, check_move, 1 },
	{ "expunge", with_mail, work_flags_expunge, check_expunge, 1 },
	{ "folders", with_maildir, work_folders, check_folders, 1 },
	{ "compact", with_dead, work_compact, check_compact, 7 },
};

static void
open_scene(struct scene *s, const struct act *act)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";	/* syncs cost nothing there */
	int root;

	*s = (struct scene){ 0 };
	(void)snprintf(s->path, sizeof(s->path), "%s/pp-crash.XXXXXX", base);
	assert_non_null(mkdtemp(s->path));
	root = open(s->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	s->dir = store_dir(root, "M", true);
	(void)close(root);
	s->told = mmap(NULL, sizeof(*s->told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(s->told != MAP_FAILED);
	act->prepare(s);
}

static void
close_scene(struct scene *s)
{
	(void)munmap(s->told, sizeof(*s->told));
	(void)close(s->dir);
	(void)nftw(s->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool
can_trace(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void
sweep(enum fault fault)
{
	const char *only = getenv("PP_ACT");
	unsigned thin = fault == KILL || getenv("PP_FULL") != NULL ? 1 : 3;

	if (!can_trace())
		skip();
	for (size_t i = 0; i < LEN(acts); i++) {
		unsigned n = thin == 1 ? 1 : 1 + (unsigned)time(NULL) % thin;
		bool more = true;

		if (only != NULL && strcmp(only, acts[i].name) != 0)
			continue;
		for (; more; n += acts[i].step * thin) {
			struct scene s;

			open_scene(&s, &acts[i]);
			more = run_child(&s, acts[i].work, n, fault);
			acts[i].check(&s, n);
			close_scene(&s);
		}
	}
}

static void
killed_anywhere(void **unused)
{
	(void)unused;
	sweep(KILL);
}

static void
io_error_anywhere(void **unused)
{
	(void)unused;
	sweep(FAIL_IO);
}

static void
no_space_anywhere(void **unused)
{
	(void)unused;
	sweep(FAIL_SPACE);
}

static void
no_descriptors_anywhere(void **unused)
{
	(void)unused;
	sweep(FAIL_FILES);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(killed_anywhere),
		cmocka_unit_test(io_error_anywhere),
		cmocka_unit_test(no_space_anywhere),
		cmocka_unit_test(no_descriptors_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int
main(void)
{
	return 0;	/* the tracer knows the registers of x86-64 only */
}

#endif
