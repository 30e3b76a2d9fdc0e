/* watch.c: to be told when a folder changes, for IDLE. */
#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "store_int.h"

#define CHANGES (IN_CREATE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR | IN_DONT_FOLLOW)

int
store_watch_fd(struct store *s)
{
	if (s->inotify_fd < 0)
		s->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (s->inotify_fd < 0)
		s->err = errno;
	return s->inotify_fd;
}

/* inotify takes a path: from the directory itself, which a confined process may not reach by name. */
static int
add_watch(int inotify, int dir)
{
	return fchdir(dir) == 0 ? inotify_add_watch(inotify, ".", CHANGES) : -1;
}

/* Views of one folder share the kernel's watch. */
static bool
used_by_another(const struct store_folder *f, int watch)
{
	for (const struct store_folder *v = f->box.store->views; v != NULL; v = v->next) {
		if (v != f && (v->watch[0] == watch || v->watch[1] == watch))
			return true;
	}
	return false;
}

bool
store_folder_watch(struct store_folder *f, bool on)
{
	struct store *s = f->box.store;

	for (int i = 0; i < 2; i++) {
		int dir;

		if (!on) {
			if (f->watch[i] >= 0 && !used_by_another(f, f->watch[i]))
				(void)inotify_rm_watch(s->inotify_fd, f->watch[i]);
			f->watch[i] = -1;
			continue;
		}
		dir = box_sub(&f->box, i == IN_NEW ? BOX_NEW : BOX_CUR);
		if (f->watch[i] < 0 && dir >= 0 && store_watch_fd(s) >= 0)
			f->watch[i] = add_watch(s->inotify_fd, dir);
		if (f->watch[i] < 0) {
			(void)store_folder_watch(f, false);
			return false;
		}
	}
	return true;
}

int
store_folder_dir(const struct store_folder *f)
{
	return f->box.dir;
}

static void
tell(struct store *s, int watch, void (*changed)(struct store_folder *f, void *ctx), void *ctx)
{
	struct store_folder *next;

	for (struct store_folder *f = s->views; f != NULL; f = next) {
		next = f->next;		/* the callee may close it */
		if (watch < 0 ? f->watch[0] >= 0 : f->watch[0] == watch || f->watch[1] == watch)
			changed(f, ctx);
	}
}

void
store_watch_read(struct store *s, void (*changed)(struct store_folder *f, void *ctx), void *ctx)
{
	_Alignas(struct inotify_event) char events[4096];
	int last = -1;
	ssize_t n;

	while (s->inotify_fd >= 0 && (n = read(s->inotify_fd, events, sizeof(events))) > 0) {
		for (ssize_t at = 0; at < n; ) {
			const struct inotify_event *e = (const void *)(events + at);

			at += (ssize_t)(sizeof(*e) + e->len);
			if ((e->mask & IN_IGNORED) != 0 || e->wd == last)
				continue;
			last = e->wd;	/* one call for a run of events */
			tell(s, (e->mask & IN_Q_OVERFLOW) != 0 ? -1 : e->wd, changed, ctx);
		}
	}
}
