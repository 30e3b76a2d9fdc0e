/*
 * store: many processes on one Maildir at once: deliveries, sessions that look, set
 * flags and move to and fro, some of them killed.  In the end each acknowledged
 * message is there once, and no UID ever meant two messages.
 */
#include "store_fixture.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define DELIVERERS	3
#define SESSIONS	4
#define EACH		120		/* messages a deliverer brings */
#define IDS		(DELIVERERS * EACH)
#define UIDS		20000
#define FOLDERS		2

static const char *const folder_names[FOLDERS] = { "INBOX", "Archive" };

struct shared {
	_Atomic unsigned	id_of[FOLDERS][UIDS];	/* id + 1 of the message with that UID; 0: nobody was told */
	_Atomic bool		acked[IDS];
	_Atomic unsigned	conflicts, errors, done;
	_Atomic unsigned	kills;
};

static struct shared *shared;

static void
claim(size_t folder, uint32_t uid, unsigned id)
{
	unsigned none = 0;

	if (uid >= UIDS || (!atomic_compare_exchange_strong(&shared->id_of[folder][uid], &none, id + 1) && none != id + 1))
		atomic_fetch_add(&shared->conflicts, 1);
}

static unsigned
next(unsigned *seed, unsigned n)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 12) % n;
}

static void
complain(const char *what, enum store_error error)
{
	(void)fprintf(stderr, "%s: %s (%s)\n", what, store_error_text(error), strerror(errno));
	atomic_fetch_add(&shared->errors, 1);
}

/* ---- those who bring ---- */

static void
deliver_all(struct fixture *x, unsigned who, bool repeat)
{
	unsigned seed = who + 7;
	struct store *s;

	x->keep = true;		/* as deliver does */
	s = fixture_store(x);
	for (unsigned n = 0; n < EACH; ) {
		struct store_group *g = store_group_new(STORE_EACH);
		unsigned many = 1 + next(&seed, 4), id = who * EACH + n;
		struct store_item *item[4] = { 0 };

		for (unsigned i = 0; i < many && n + i < EACH; i++) {
			const struct store_new what = {
				.folder = SLICE("INBOX"), .qid = qid_of(id + i), .rcpt = 1, .repeat = repeat,
			};
			char text[64];

			if (repeat && atomic_load(&shared->acked[id + i]))
				continue;
			(void)snprintf(text, sizeof(text), "id %u\r\n", id + i);
			item[i] = store_group_add(g, s, &what);
			store_group_write(g, item[i], slice_of(text));
		}
		(void)store_group_commit(g);
		for (unsigned i = 0; i < many; i++) {
			if (item[i] == NULL)
				continue;
			if (item[i]->error != STORE_OK)
				complain("deliver", item[i]->error);
			else if (item[i]->uid != 0)
				claim(0, item[i]->uid, id + i);
			atomic_store(&shared->acked[id + i], item[i]->error == STORE_OK);
		}
		store_group_free(g);
		n += many;
	}
	store_close(s);
	atomic_fetch_add(&shared->done, 1);
}

/* ---- those who read ---- */

static bool
id_of_message(struct store_folder *f, uint32_t seq, unsigned *id)
{
	struct store_content c;
	uint64_t n;
	bool ok = store_content_open(f, seq, &c) == STORE_OK;	/* it may be gone */

	if (!ok)
		return false;
	ok = c.raw.len > 3 && slice_number(slice_trim(slice_sub(c.raw, 3, c.raw.len)), IDS, &n);
	if (!ok)
		atomic_fetch_add(&shared->conflicts, 1);	/* half a message */
	*id = (unsigned)n;
	store_content_close(&c);
	return ok;
}

struct watcher {
	struct store_folder *f;
	size_t		 folder;
	uint32_t	 looked;	/* messages whose content we know */
};

static void
told_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
	struct watcher *w = ctx;

	(void)uid;
	w->looked -= seq <= w->looked;
}

static void
look_at_new(struct watcher *w)
{
	while (w->looked < store_folder_count(w->f)) {
		unsigned id;

		w->looked++;
		if (id_of_message(w->f, w->looked, &id))
			claim(w->folder, store_folder_at(w->f, w->looked)->uid, id);
	}
}

static void
one_act(struct watcher *w, unsigned *seed)
{
	const struct store_changes c = { .expunged = told_expunged, .ctx = w };
	uint32_t count, uid[3] = { 0 }, validity;
	struct store_pair pair[3];
	enum store_error error = store_folder_refresh(w->f, STORE_REFRESH_EXPUNGE, &c);
	size_t n = 0, moved;

	if (error != STORE_OK)
		complain("refresh", error);
	look_at_new(w);
	count = store_folder_count(w->f);
	if (count == 0)
		return;
	for (uint32_t seq = 1 + next(seed, count); seq <= count && n < 3; seq++)
		uid[n++] = store_folder_at(w->f, seq)->uid;
	if (next(seed, 3) == 0) {
		error = store_folder_move(w->f, uid, n, slice_of(folder_names[1 - w->folder]), pair, &moved, &validity);
		for (size_t i = 0; i < moved; i++) {
			unsigned id = atomic_load(&shared->id_of[w->folder][pair[i].from]);

			if (id != 0)
				claim(1 - w->folder, pair[i].to, id - 1);
		}
	} else {
		const struct store_flags flags = {
			.change = (enum store_change)next(seed, 3), .flags = next(seed, 32), .how = STORE_UNSYNCED,
		};

		error = store_folder_flags(w->f, uid, n, &flags);
	}
	if (error != STORE_OK)
		complain("act", error);
}

static void
session(struct fixture *x, unsigned who)
{
	struct store *s = fixture_store(x);
	unsigned seed = who + 99;

	while (atomic_load(&shared->done) < DELIVERERS) {
		struct watcher w = { .folder = next(&seed, FOLDERS) };
		enum store_error error;

		w.f = store_folder_open(s, slice_of(folder_names[w.folder]), false, &error);
		if (w.f == NULL) {
			complain("open", error);
			break;
		}
		for (unsigned i = 0; i < 40 && atomic_load(&shared->done) < DELIVERERS; i++)
			one_act(&w, &seed);
		store_folder_close(w.f);
	}
	store_close(s);
}

/* ---- all of them ---- */

static pid_t
start(struct fixture *x, unsigned who, bool repeat)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (who < DELIVERERS)
		deliver_all(x, who, repeat);
	else
		session(x, who);
	_exit(0);
}

/* Sessions and deliverers die now and then, and others take their place (deliverers repeat). */
static void
supervise(struct fixture *x, bool kills)
{
	pid_t pid[DELIVERERS + SESSIONS];
	unsigned seed = 5, living = 0;

	for (unsigned i = 0; i < LEN(pid); i++)
		pid[i] = start(x, i, false);
	living = LEN(pid);
	while (living > 0) {
		struct timespec nap = { .tv_nsec = 15 * 1000 * 1000 };
		int status;
		pid_t dead;

		if (kills && next(&seed, 2) == 0) {
			unsigned victim = next(&seed, LEN(pid));

			if (pid[victim] > 0 && kill(pid[victim], SIGKILL) == 0)
				atomic_fetch_add(&shared->kills, 1);
		}
		(void)nanosleep(&nap, NULL);
		while ((dead = waitpid(-1, &status, WNOHANG)) > 0) {
			for (unsigned i = 0; i < LEN(pid); i++) {
				if (pid[i] != dead)
					continue;
				pid[i] = WIFSIGNALED(status) ? start(x, i, true) : 0;
				living -= pid[i] == 0;
				if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
					fail_msg("process %u died by signal %d", i, WTERMSIG(status));
			}
		}
	}
}

static void
check_all(struct fixture *x)
{
	static unsigned times[IDS];

	memset(times, 0, sizeof(times));
	for (size_t folder = 0; folder < FOLDERS; folder++) {
		struct store_folder *f = open_view(x->s, folder_names[folder], true);

		for (uint32_t seq = 1; seq <= store_folder_count(f); seq++) {
			unsigned id = 0;

			assert_true(id_of_message(f, seq, &id));
			claim(folder, store_folder_at(f, seq)->uid, id);
			times[id]++;
		}
		store_folder_close(f);
	}
	for (unsigned id = 0; id < IDS; id++) {
		if (times[id] != 1)
			fail_msg("message %u is there %u times", id, times[id]);
	}
	assert_int_equal(atomic_load(&shared->conflicts), 0);
	assert_int_equal(atomic_load(&shared->errors), 0);
}

static void
race(bool kills)
{
	struct fixture x;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	fixture_open(&x, 0);
	supervise(&x, kills);
	check_all(&x);
	if (kills)
		assert_true(atomic_load(&shared->kills) > 0);
	fixture_close(&x);
	(void)munmap(shared, sizeof(*shared));
}

static void
at_once(void **unused)
{
	(void)unused;
	race(false);
}

static void
at_once_and_killed(void **unused)
{
	(void)unused;
	race(true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_once),
		cmocka_unit_test(at_once_and_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
