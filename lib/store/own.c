/*
 * own.c: directories that only we changed need no look.
 *
 * A directory's ctime says that it changed, not what; so after a rename of our own
 * all of it would have to be read, to be sure that nothing else happened.  inotify
 * counts what happens: when the directory was as we knew it before, and since then
 * there were exactly the events that our own changes make, it is as we know it now.
 *
 * That needs times that tell two changes apart.  Linux 6.13 gives a directory a new
 * ctime for each change after somebody has looked at it; older ones only with each
 * clock tick.  Which it is, is tried out once, in tmp/.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "store_int.h"

#define EVENTS		(IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR | IN_DONT_FOLLOW)
#define DRAIN_EVERY	4000		/* events of our own; the kernel keeps 16384 */
#define RACY_NS		(40 * 1000000)	/* coarse times: a stamp so young may hide a change */
#define RACY_WHOLE_NS	2000000000	/* file systems with whole seconds */
#define TICK_NS		900000		/* less than any clock tick */

/* ---- stamps ---- */

static enum fine { NOT_TRIED, FINE, COARSE } fine_times;
static dev_t fine_dev;

static int64_t
ns_between(struct timespec a, struct timespec b)
{
	return (b.tv_sec - a.tv_sec) * 1000000000 + (b.tv_nsec - a.tv_nsec);
}

/* Two changes at once, each looked at: are their times different, by less than a tick? */
static bool
try_times(struct store_folder *f)
{
	int tmp = box_sub(&f->box, BOX_TMP);
	struct stat one = { 0 }, two = { 0 };
	bool good = false;
	struct buf name;
	int fd;

	if (tmp < 0)
		return false;
	buf_init(&name, MAILDIR_NAME_MAX);
	store_unique(f->box.store, &name);
	fd = openat(tmp, buf_cstr(&name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0) {
		int64_t ns;

		(void)close(fd);
		good = fstat(tmp, &one) == 0;
		good &= unlinkat(tmp, buf_cstr(&name), 0) == 0 && fstat(tmp, &two) == 0;
		ns = ns_between(one.st_ctim, two.st_ctim);
		good &= ns > 0 && ns < TICK_NS;
	}
	buf_clear(&name);
	return good;
}

static bool
times_are_fine(struct store_folder *f)
{
	if (fine_times == NOT_TRIED || fine_dev != f->box.uids.dev) {
		fine_dev = f->box.uids.dev;
		fine_times = try_times(f) || try_times(f) ? FINE : COARSE;
	}
	return fine_times == FINE;
}

bool
own_same(const struct uidlist_stamp *a, const struct uidlist_stamp *b)
{
	return a->ino != 0 && a->ino == b->ino && a->sec == b->sec && a->nsec == b->nsec;
}

bool
own_stamps(struct store_folder *f, struct uidlist_stamp out[2], bool *settled)
{
	struct timespec now;

	*settled = true;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	for (int i = 0; i < 2; i++) {
		int dir = box_sub(&f->box, i == IN_NEW ? BOX_NEW : BOX_CUR);
		struct stat st;
		int64_t age_ns;

		if (dir < 0 || fstat(dir, &st) != 0)
			return false;
		out[i] = (struct uidlist_stamp){
			.sec = st.st_ctim.tv_sec, .nsec = (uint32_t)st.st_ctim.tv_nsec, .ino = st.st_ino,
		};
		age_ns = ns_between(st.st_ctim, now);
		if (age_ns < (st.st_ctim.tv_nsec == 0 ? RACY_WHOLE_NS : RACY_NS))
			*settled &= times_are_fine(f);
	}
	return true;
}

/* ---- events ---- */

static void
spoil(struct store *s, int watch)
{
	for (struct store_folder *f = s->views; f != NULL; f = f->next) {
		if (watch < 0 || f->own_watch[0] == watch || f->own_watch[1] == watch)
			f->dirty = f->own_spoiled = true;
	}
}

/* What others did: in our stamps it must not be. */
static void
note_late(struct store *s, int watch)
{
	for (struct store_folder *f = s->views; f != NULL; f = f->next)
		f->own_late |= f->own_watch[0] == watch || f->own_watch[1] == watch;
}

static void
take_event(struct store *s, const struct inotify_event *e)
{
	struct store_folder *f = s->views;

	if ((e->mask & IN_IGNORED) != 0)
		return;
	while (f != NULL && !(f->own_active && (f->own_watch[0] == e->wd || f->own_watch[1] == e->wd)))
		f = f->next;
	if ((e->mask & IN_Q_OVERFLOW) != 0)
		spoil(s, -1);
	else if (f == NULL)
		note_late(s, e->wd);
	else
		f->own_got[f->own_watch[1] == e->wd]++;
}

void
own_poll(struct store *s)
{
	_Alignas(struct inotify_event) char events[16384];
	ssize_t n;

	while (s->own_fd >= 0 && (n = read(s->own_fd, events, sizeof(events))) > 0) {
		for (ssize_t at = 0; at < n; ) {
			const struct inotify_event *e = (const void *)(events + at);

			at += (ssize_t)(sizeof(*e) + e->len);
			take_event(s, e);
		}
	}
}

void
own_check_late(struct store_folder *f)
{
	struct uidlist_stamp now[2];
	bool settled;

	if (!f->own_late)
		return;
	f->own_late = false;
	/* Else the stamps tell that there is something to look for. */
	f->dirty |= own_stamps(f, now, &settled) && own_same(&now[0], &f->stamp[0]) && own_same(&now[1], &f->stamp[1]);
}

/* inotify takes a path: from the directory itself, which a confined process may not reach by name. */
static bool
watch(struct store_folder *f)
{
	struct store *s = f->box.store;

	if (s->own_fd < 0)
		s->own_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	for (int i = 0; i < 2 && s->own_fd >= 0; i++) {
		int dir = box_sub(&f->box, i == IN_NEW ? BOX_NEW : BOX_CUR);

		if (f->own_watch[i] < 0 && dir >= 0 && fchdir(dir) == 0)
			f->own_watch[i] = inotify_add_watch(s->own_fd, ".", EVENTS);
	}
	return f->own_watch[0] >= 0 && f->own_watch[1] >= 0;
}

void
own_close(struct store_folder *f)
{
	for (int i = 0; i < 2; i++) {
		const struct store_folder *v = f->box.store->views;

		while (v != NULL && (v == f || (v->own_watch[0] != f->own_watch[i] && v->own_watch[1] != f->own_watch[i])))
			v = v->next;
		if (f->own_watch[i] >= 0 && v == NULL)
			(void)inotify_rm_watch(f->box.store->own_fd, f->own_watch[i]);
		f->own_watch[i] = -1;
	}
}

/* ---- a change of our own ---- */

void
own_begin(struct store_folder *f)
{
	struct uidlist_stamp now[2];
	bool settled;

	if (f->dirty || f->behind || !times_are_fine(f) || !watch(f))
		return;
	own_poll(f->box.store);
	own_check_late(f);
	f->own_want[0] = f->own_want[1] = f->own_got[0] = f->own_got[1] = 0;
	f->own_spoiled = false;
	f->own_active = !f->dirty && own_stamps(f, now, &settled) &&
	    own_same(&now[0], &f->stamp[0]) && own_same(&now[1], &f->stamp[1]);
}

void
own_did(struct store_folder *f, uint32_t in_cur, uint32_t in_new)
{
	f->own_want[IN_CUR] += in_cur;
	f->own_want[IN_NEW] += in_new;
	if (f->own_active && f->own_want[0] + f->own_want[1] - f->own_got[0] - f->own_got[1] > DRAIN_EVERY)
		own_poll(f->box.store);
}

void
own_end(struct store_folder *f)
{
	struct uidlist_stamp now[2];
	bool settled;

	if (!f->own_active)
		return;
	if (f->own_want[0] + f->own_want[1] > 0) {
		if (!own_stamps(f, now, &settled))
			f->own_spoiled = true;
		own_poll(f->box.store);
		if (f->own_got[0] != f->own_want[0] || f->own_got[1] != f->own_want[1])
			spoil(f->box.store, f->own_watch[0]);
		if (!f->own_spoiled) {
			f->stamp[0] = now[0];
			f->stamp[1] = now[1];
		}
	}
	f->own_active = false;
}
