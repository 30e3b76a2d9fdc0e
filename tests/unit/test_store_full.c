/*
 * store: on a disk without space, or without inodes, mail is refused and nothing of it
 * stays; what is there can be read, flagged, deleted and expunged (P7); when there is
 * space again everything works, without hands.
 *
 * Needs root and a loop device; skipped without.
 */
#include "store_fixture.h"

#include <sched.h>
#include <sys/mount.h>

struct disk {
	char	dir[64], image[80], mount[80];
};

static int
run(const char *command)
{
	return system(command) == 0 ? 0 : -1;
}

static bool
open_disk(struct disk *d, const char *mkfs)
{
	char command[512];

	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	(void)snprintf(d->dir, sizeof(d->dir), "/tmp/pp-full.XXXXXX");
	if (mkdtemp(d->dir) == NULL)
		return false;
	(void)snprintf(d->image, sizeof(d->image), "%s/image", d->dir);
	(void)snprintf(d->mount, sizeof(d->mount), "%s/m", d->dir);
	(void)snprintf(command, sizeof(command), "truncate -s 8M %s && mkfs.ext4 -q -F %s %s >/dev/null 2>&1 && "
	    "mkdir %s && mount -o loop %s %s 2>/dev/null", d->image, mkfs, d->image, d->mount, d->image, d->mount);
	return run(command) == 0;
}

static void
close_disk(struct disk *d)
{
	(void)umount2(d->mount, MNT_DETACH);
	(void)unlink(d->image);
	(void)rmdir(d->mount);
	(void)rmdir(d->dir);
}

static void
open_store(struct disk *d, struct fixture *x)
{
	int root = open(d->mount, O_PATH | O_DIRECTORY | O_CLOEXEC);

	*x = (struct fixture){ 0 };
	x->dir = store_dir(root, "M", true);
	(void)close(root);
	x->s = fixture_store(x);
}

/* Until not one octet more, nor one inode. */
static void
fill(struct disk *d, bool inodes)
{
	static char zeros[65536];
	char name[128];
	int fd;

	if (inodes) {
		for (unsigned i = 0; ; i++) {
			(void)snprintf(name, sizeof(name), "%s/fill%u", d->mount, i);
			fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
			if (fd < 0)
				return;
			(void)close(fd);
		}
	}
	(void)snprintf(name, sizeof(name), "%s/fill", d->mount);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	for (size_t size = sizeof(zeros); size > 0; size /= 2) {
		while (write(fd, zeros, size) == (ssize_t)size)
			;
	}
	assert_int_equal(fsync(fd), 0);
	(void)close(fd);
}

static void
empty(struct disk *d)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -f %s/fill*", d->mount);
	assert_int_equal(run(command), 0);
}

static void
while_full(struct fixture *x)
{
	const struct store_new big = { .folder = SLICE("INBOX"), .size = 100000 };
	const struct store_new small = { .folder = SLICE("INBOX"), .qid = qid_of(50), .rcpt = 1 };
	static char text[100001];
	struct store_folder *f;
	struct store_content c;
	enum store_error error;

	memset(text, 'x', 100000);
	/* refused, and nothing stays */
	(void)add_as(x->s, &big, text, &error, NULL);
	assert_int_equal(error, STORE_NOSPACE);
	text[5000] = '\0';
	(void)add_as(x->s, &small, text, &error, NULL);
	assert_int_equal(error, STORE_NOSPACE);
	assert_string_equal(find_file(x, "tmp", ""), "");
	assert_string_equal(find_file(x, "new", qid_print(qid_of(50), text)), "");
	assert_int_equal(store_create(x->s, SLICE("more")), STORE_NOSPACE);
	/* what is there is served */
	assert_true(store_pop3_lock(x->s));
	f = open_view(x->s, "INBOX", false);
	assert_int_equal(store_folder_count(f), 20);
	assert_int_equal(store_content_open(f, 3, &c), STORE_OK);
	store_content_close(&c);
	assert_int_equal(set_flags(f, STORE_ADD, 2, STORE_DELETED, NULL), STORE_OK);
	assert_int_equal(store_folder_expunge(f, NULL, 0), STORE_OK);
	assert_int_equal(store_folder_remove(f, (uint32_t[]){ 5 }, 1), STORE_OK);
	check_refresh(f, STORE_REFRESH_EXPUNGE, "x5 x2 ");
	store_folder_close(f);
	assert_int_equal(count_in(x->s, "INBOX"), 18);
	assert_int_equal(store_delete(x->s, SLICE("Junk")), STORE_OK);
}

static void
full_disk(const char *mkfs, bool inodes)
{
	struct fixture x;
	struct disk d;
	bool repeated;

	if (!open_disk(&d, mkfs)) {
		close_disk(&d);
		skip();
	}
	open_store(&d, &x);
	for (unsigned i = 0; i < 20; i++)
		(void)deliver(x.s, i, false, &repeated);
	fill(&d, inodes);
	while_full(&x);
	empty(&d);
	assert_int_equal(deliver(x.s, 50, true, &repeated), 21);
	assert_false(repeated);
	(void)deliver(x.s, 1, true, &repeated);		/* expunged on the full disk, and known */
	assert_true(repeated);
	assert_int_equal(store_create(x.s, SLICE("more")), STORE_OK);
	store_close(x.s);
	(void)close(x.dir);
	close_disk(&d);
}

static void
no_space(void **unused)
{
	(void)unused;
	full_disk("-m 0", false);
}

static void
no_inodes(void **unused)
{
	(void)unused;
	full_disk("-m 0 -N 128", true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_space),
		cmocka_unit_test(no_inodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
