/*
 * store: power cuts (P2, RELIABILITY section 3.1).  A child works on a Maildir in a
 * file system of its own (an image, loop-mounted); at some moment that file system
 * is shut down without writing what is not durable, then mounted again.  What was
 * acknowledged by then has to be there, whole, once, under the UID that was told.
 *
 * Needs root, a loop device and mkfs.ext4 (or mkfs.xfs); skipped without.
 * PP_CUTS=n: so many cuts; PP_FS=xfs.
 */
#include "store_fixture.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>

#define FS_SHUTDOWN	_IOR('X', 125, uint32_t)	/* the same of ext4 and xfs */
#define NO_LOG_FLUSH	2
#define IDS		4000

enum state { NOTHING, DELIVERED, FLAGGED, MOVED, REMOVED };

struct told {
	_Atomic unsigned	state[IDS];	/* enum state: acknowledged */
	_Atomic unsigned	trying[IDS];	/* what was asked for */
	_Atomic uint32_t	uid[IDS];	/* in INBOX, or in Archive when MOVED */
	_Atomic unsigned	next;
};

struct disk {
	char		 dir[64], image[80], mount[80];
	const char	*fs;
	struct told	*told;
};

static int
run(const char *fmt, const char *a, const char *b)
{
	char command[512];
	int status;

	/* fixed words and our own temporary names */
	_Pragma("GCC diagnostic push") _Pragma("GCC diagnostic ignored \"-Wformat-nonliteral\"")
	(void)snprintf(command, sizeof(command), fmt, a, b);
	_Pragma("GCC diagnostic pop")
	status = system(command);
	return status == 0 ? 0 : -1;
}

static bool
mount_disk(struct disk *d)
{
	return run("mount -o loop %s %s 2>/dev/null", d->image, d->mount) == 0;
}

/* An image of its own, mounted where only this process sees it; false if that cannot be had. */
static bool
open_disk(struct disk *d)
{
	const char *fs = getenv("PP_FS");

	*d = (struct disk){ .fs = fs != NULL ? fs : "ext4" };
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	(void)snprintf(d->dir, sizeof(d->dir), "/tmp/pp-power.XXXXXX");
	if (mkdtemp(d->dir) == NULL)
		return false;
	(void)snprintf(d->image, sizeof(d->image), "%s/image", d->dir);
	(void)snprintf(d->mount, sizeof(d->mount), "%s/m", d->dir);
	d->told = mmap(NULL, sizeof(*d->told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (d->told == MAP_FAILED || mkdir(d->mount, 0700) != 0 || run("truncate -s 320M %s%s", d->image, "") != 0)
		return false;
	if (run("mkfs.%s -q %s >/dev/null 2>&1", d->fs, d->image) != 0)
		return false;
	return mount_disk(d);
}

static void
close_disk(struct disk *d)
{
	(void)umount2(d->mount, MNT_DETACH);
	(void)unlink(d->image);
	(void)rmdir(d->mount);
	(void)rmdir(d->dir);
}

static struct store *
open_store(struct disk *d, struct fixture *x)
{
	int root = open(d->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);

	*x = (struct fixture){ .quota = 1 << 30 };
	x->dir = store_dir(root, "mail/M", true);
	(void)close(root);
	assert_true(x->dir >= 0);
	return fixture_store(x);
}

/* ---- the child ---- */

static void
text_of(unsigned id, char *text, size_t size)
{
	int n = snprintf(text, size, "id %u\r\n", id);

	for (unsigned i = 0; i < id % 50; i++)
		n += snprintf(text + n, size - (size_t)n, "%u line of the text of message %u\r\n", i, id);
}

static void
deliver_one_group(struct disk *d, struct store *s, unsigned many)
{
	struct store_group *g = store_group_new(STORE_EACH);
	struct store_item *item[8];
	unsigned first = atomic_load(&d->told->next);
	static char text[8192];

	for (unsigned i = 0; i < many; i++) {
		const struct store_new what = { .folder = SLICE("INBOX"), .qid = qid_of(first + i), .rcpt = 1 };

		atomic_store(&d->told->trying[first + i], DELIVERED);
		item[i] = store_group_add(g, s, &what);
		text_of(first + i, text, sizeof(text));
		store_group_write(g, item[i], slice_of(text));
	}
	atomic_store(&d->told->next, first + many);
	(void)store_group_commit(g);
	for (unsigned i = 0; i < many; i++) {
		if (item[i]->error != STORE_OK)
			_exit(1);	/* the disk is off */
		atomic_store(&d->told->uid[first + i], item[i]->uid);
		atomic_store(&d->told->state[first + i], DELIVERED);
	}
	store_group_free(g);
}

static void
session(struct disk *d, struct store *s, unsigned act)
{
	const struct store_flags flag = { .change = STORE_ADD, .flags = STORE_FLAGGED };
	struct store_folder *f;
	struct store_content c;
	enum store_error error;
	uint32_t uid, validity;
	struct store_pair pair;
	uint64_t id;
	size_t n;

	f = store_folder_open(s, SLICE("INBOX"), false, &error);
	if (f == NULL)
		_exit(1);
	if (store_folder_count(f) > 0) {
		if (store_content_open(f, 1 + act % store_folder_count(f), &c) != STORE_OK)
			_exit(1);
		uid = store_folder_at(f, 1 + act % store_folder_count(f))->uid;
		(void)slice_number(slice_cut(&(struct slice){ c.raw.ptr + 3, c.raw.len - 3 }, '\r'), IDS, &id);
		store_content_close(&c);
		if (act % 3 == 0) {
			atomic_store(&d->told->trying[id], FLAGGED);
			error = store_folder_flags(f, &uid, 1, &flag);
		} else if (act % 3 == 1) {
			atomic_store(&d->told->trying[id], MOVED);
			error = store_folder_move(f, &uid, 1, SLICE("Archive"), &pair, &n, &validity);
		} else {
			atomic_store(&d->told->trying[id], REMOVED);
			error = store_folder_remove(f, &uid, 1);
		}
		if (error != STORE_OK)
			_exit(1);
		if (act % 3 == 1)
			atomic_store(&d->told->uid[id], pair.to);
		atomic_store(&d->told->state[id], atomic_load(&d->told->trying[id]));
	}
	store_folder_close(f);
}

/* once: one thing, then quiet: nothing else makes the journal write (3.1, "single-shot idle"). */
static void
work(struct disk *d, unsigned seed, bool once)
{
	const struct store_options options = { .hostname = "host.example", .quota = 1 << 30, .create = true, .keep = true };
	int root = open(d->mount, O_PATH | O_DIRECTORY | O_CLOEXEC), dir = store_dir(root, "mail/M", true);
	enum store_error error;
	struct store *s = dir < 0 ? NULL : store_open(dir, &options, &error);

	if (s == NULL)
		_exit(1);	/* cut before we began */
	while (atomic_load(&d->told->next) + 8 < IDS) {
		seed = seed * 1103515245 + 12345;
		if ((seed >> 16) % 3 != 0)
			deliver_one_group(d, s, once ? 1 : 1 + (seed >> 20) % 6);
		else
			session(d, s, seed >> 18);
		if (once)
			(void)pause();
	}
}

/* ---- the cut, and what is left ---- */

struct found {
	unsigned	inbox[IDS], archive[IDS];
	uint32_t	uid[IDS];
	uint8_t		flags[IDS];
};

static void
look(struct store *s, const char *name, unsigned *times, struct found *found)
{
	struct store_folder *f = open_view(s, name, true);

	for (uint32_t seq = 1; seq <= store_folder_count(f); seq++) {
		static char want[8192];
		struct store_content c;
		uint64_t id = IDS;

		assert_int_equal(store_content_open(f, seq, &c), STORE_OK);
		assert_true(c.raw.len > 4);
		assert_true(slice_number(slice_cut(&(struct slice){ c.raw.ptr + 3, c.raw.len - 3 }, '\r'), IDS - 1, &id));
		text_of((unsigned)id, want, sizeof(want));
		if (!slice_is(c.raw, want))
			fail_msg("message %u is torn", (unsigned)id);
		store_content_close(&c);
		times[id]++;
		found->uid[id] = store_folder_at(f, seq)->uid;
		found->flags[id] = store_folder_at(f, seq)->flags;
	}
	store_folder_close(f);
}

static void
check_one(const struct told *t, const struct found *found, unsigned id, unsigned cut)
{
	unsigned state = atomic_load(&t->state[id]), trying = atomic_load(&t->trying[id]);
	unsigned all = found->inbox[id] + found->archive[id];

	if (all > 1)
		fail_msg("cut %u: message %u is there %u times", cut, id, all);
	if (state == REMOVED ? all != 0 : state != NOTHING && trying != REMOVED && all != 1)
		fail_msg("cut %u: message %u, acknowledged as %u, is there %u times", cut, id, state, all);
	if (state == MOVED && found->archive[id] != 1)
		fail_msg("cut %u: the move of message %u was acknowledged", cut, id);
	if (state == FLAGGED && found->inbox[id] == 1 && (found->flags[id] & STORE_FLAGGED) == 0)
		fail_msg("cut %u: the flag of message %u was acknowledged", cut, id);
	if (state != NOTHING && state == trying && all == 1 && found->uid[id] != atomic_load(&t->uid[id]))
		fail_msg("cut %u: message %u had UID %u, now %u", cut, id, atomic_load(&t->uid[id]), found->uid[id]);
}

static void
check_disk(struct disk *d, unsigned cut)
{
	struct found *found = calloc(1, sizeof(*found));
	unsigned next = atomic_load(&d->told->next);
	struct fixture x;
	struct store *s = open_store(d, &x);

	look(s, "INBOX", found->inbox, found);
	look(s, "Archive", found->archive, found);
	for (unsigned id = 0; id < next; id++)
		check_one(d->told, found, id, cut);
	/* What was in flight comes again: then each is, or was, there once. */
	for (unsigned id = 0; id < next; id++) {
		const struct store_new what = { .folder = SLICE("INBOX"), .qid = qid_of(id), .rcpt = 1, .repeat = true };
		unsigned all = found->inbox[id] + found->archive[id];
		static char text[8192];
		enum store_error error;
		bool repeated;
		uint32_t uid;

		if (atomic_load(&d->told->state[id]) != NOTHING && id + 20 < next)
			continue;
		text_of(id, text, sizeof(text));
		uid = add_as(s, &what, text, &error, &repeated);
		assert_int_equal(error, STORE_OK);
		if (atomic_load(&d->told->state[id]) != NOTHING && !repeated)
			fail_msg("cut %u: message %u was delivered, and is delivered again", cut, id);
		if (all == 1 && !repeated)
			fail_msg("cut %u: message %u is doubled", cut, id);
		if (atomic_load(&d->told->state[id]) == NOTHING) {
			atomic_store(&d->told->state[id], all == 0 && repeated ? REMOVED : DELIVERED);
			atomic_store(&d->told->trying[id], atomic_load(&d->told->state[id]));
			atomic_store(&d->told->uid[id], repeated ? found->uid[id] : uid);
		}
	}
	/* The truth, from here on. */
	memset(found, 0, sizeof(*found));
	look(s, "INBOX", found->inbox, found);
	look(s, "Archive", found->archive, found);
	for (unsigned id = 0; id < next; id++) {
		atomic_store(&d->told->state[id], found->inbox[id] ? DELIVERED : found->archive[id] ? MOVED : REMOVED);
		atomic_store(&d->told->trying[id], atomic_load(&d->told->state[id]));
		if (found->inbox[id] + found->archive[id] == 1)
			atomic_store(&d->told->uid[id], found->uid[id]);
	}
	store_close(s);
	(void)close(x.dir);
	free(found);
}

/* What the child was told before the cut counts, nothing of after. */
static void
cut_power(struct disk *d, pid_t pid)
{
	static struct told frozen;
	uint32_t how = NO_LOG_FLUSH;
	int fd = open(d->mount, O_RDONLY | O_DIRECTORY), status;

	memcpy(&frozen, d->told, sizeof(frozen));
	assert_int_equal(ioctl(fd, FS_SHUTDOWN, &how), 0);
	(void)kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	for (unsigned id = 0; id < IDS; id++)	/* what was asked for since is open */
		atomic_store(&frozen.trying[id], atomic_load(&d->told->trying[id]));
	atomic_store(&frozen.next, atomic_load(&d->told->next));
	memcpy(d->told, &frozen, sizeof(frozen));
	(void)close(fd);
	assert_int_equal(umount(d->mount), 0);
	assert_true(mount_disk(d));
}

static void
cuts(void **unused)
{
	const char *many = getenv("PP_CUTS");
	unsigned n = many != NULL ? (unsigned)atoi(many) : 6;
	unsigned seed = (unsigned)time(NULL);
	struct disk d;

	(void)unused;
	if (!open_disk(&d)) {
		close_disk(&d);
		skip();
	}
	for (unsigned cut = 0; cut < n && atomic_load(&d.told->next) + 100 < IDS; cut++) {
		bool once = cut % 2 == 1;
		struct timespec nap = { .tv_nsec = once ? 60 * 1000 * 1000 : (20 + (seed + cut * 37) % 250) * 1000 * 1000 };
		pid_t pid = fork();

		if (pid == 0) {
			work(&d, seed + cut, once);
			_exit(0);
		}
		(void)nanosleep(&nap, NULL);
		cut_power(&d, pid);
		check_disk(&d, cut);
	}
	if (many != NULL)
		print_message("%s: %u cuts, %u messages\n", d.fs, n, atomic_load(&d.told->next));
	close_disk(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
