/* store_fixture.h: a Maildir in a temporary folder, and short names for what store tests do often. */
#ifndef PP_TESTS_STORE_FIXTURE_H
#define PP_TESTS_STORE_FIXTURE_H

#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

struct fixture {
	char		 path[64];	/* of the folder; the Maildir is path/M */
	int		 dir;		/* of the Maildir */
	uint64_t	 quota;
	bool		 keep;		/* of the stores opened from now on */
	struct store	*s;
	char		 said[512];	/* last line that the store wanted a person to see */
};

static inline void
fixture_say(void *ctx, const char *text)
{
	struct fixture *x = ctx;

	(void)snprintf(x->said, sizeof(x->said), "%s", text);
}

static inline struct store *
fixture_store(struct fixture *x)
{
	const struct store_options options = {
		.hostname = "host.example", .quota = x->quota, .create = true, .keep = x->keep, .say = fixture_say, .say_ctx = x,
	};
	enum store_error error;
	struct store *s = store_open(x->dir, &options, &error);

	if (s == NULL)
		fail_msg("store_open: %s", store_error_text(error));
	return s;
}

static inline void
fixture_open(struct fixture *x, uint64_t quota)
{
	int root;

	*x = (struct fixture){ .quota = quota };
	(void)snprintf(x->path, sizeof(x->path), "/tmp/pp-store.XXXXXX");
	assert_non_null(mkdtemp(x->path));
	root = open(x->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	x->dir = store_dir(root, "M", true);
	assert_true(x->dir >= 0);
	(void)close(root);
	x->s = fixture_store(x);
}

static inline int
fixture_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static inline void
fixture_close(struct fixture *x)
{
	store_close(x->s);
	(void)close(x->dir);
	(void)nftw(x->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- one message ---- */

static inline struct qid
qid_of(unsigned n)
{
	return (struct qid){ UINT64_C(1700000000) * 1000000 * QID_PER_USEC + n };
}

/* Add a message; returns its UID (0 when repeated); *error as the item has it. */
static inline uint32_t
add_as(struct store *s, const struct store_new *what, const char *text, enum store_error *error, bool *repeated)
{
	struct store_group *g = store_group_new(STORE_EACH);
	struct store_item *i = store_group_add(g, s, what);
	uint32_t uid;

	assert_non_null(i);
	store_group_write(g, i, slice_of(text));
	(void)store_group_commit(g);
	uid = i->uid;
	*error = i->error;
	if (repeated != NULL)
		*repeated = i->repeated;
	store_group_free(g);
	return uid;
}

static inline uint32_t
add_message(struct store *s, const char *folder, const char *text)
{
	const struct store_new what = { .folder = slice_of(folder), .date = 1000000000 };
	enum store_error error;
	uint32_t uid = add_as(s, &what, text, &error, NULL);

	assert_int_equal(error, STORE_OK);
	return uid;
}

static inline uint32_t
deliver(struct store *s, unsigned qid, bool repeat, bool *repeated)
{
	const struct store_new what = { .folder = SLICE("INBOX"), .qid = qid_of(qid), .rcpt = 7, .repeat = repeat };
	enum store_error error;
	uint32_t uid = add_as(s, &what, "Subject: queued\r\n\r\nx\r\n", &error, repeated);

	assert_int_equal(error, STORE_OK);
	return uid;
}

/* ---- views ---- */

static inline struct store_folder *
open_view(struct store *s, const char *name, bool readonly)
{
	enum store_error error;
	struct store_folder *f = store_folder_open(s, slice_of(name), readonly, &error);

	if (f == NULL)
		fail_msg("store_folder_open %s: %s", name, store_error_text(error));
	return f;
}

static inline uint32_t
count_in(struct store *s, const char *name)
{
	struct store_folder *f = open_view(s, name, true);
	uint32_t n = store_folder_count(f);

	store_folder_close(f);
	return n;
}

/* What a refresh told, as text: "x3 +5/1 k f2 " (expunged, exists/recent, keywords, flags). */
static inline void
tell_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
	(void)uid;
	(void)buf_fmt(ctx, "x%u ", seq);
}

static inline void
tell_added(void *ctx, uint32_t count, uint32_t recent)
{
	(void)buf_fmt(ctx, "+%u/%u ", count, recent);
}

static inline void
tell_keywords(void *ctx)
{
	(void)buf_text(ctx, "k ");
}

static inline void
tell_flags(void *ctx, uint32_t seq)
{
	(void)buf_fmt(ctx, "f%u ", seq);
}

static inline void
check_refresh(struct store_folder *f, unsigned how, const char *want)
{
	struct buf told;
	const struct store_changes c = { tell_expunged, tell_added, tell_keywords, tell_flags, &told };
	enum store_error error;

	buf_init(&told, 100000);
	error = store_folder_refresh(f, how, &c);
	if (error != STORE_OK)
		fail_msg("refresh: %s", store_error_text(error));
	if (strcmp(buf_cstr(&told), want) != 0)
		fail_msg("told \"%s\", not \"%s\"", buf_cstr(&told), want);
	buf_clear(&told);
}

static inline enum store_error
set_flags(struct store_folder *f, enum store_change change, uint32_t uid, unsigned flags, const char *keyword)
{
	const struct slice name = slice_of(keyword);
	const struct store_flags c = {
		.change = change, .flags = flags, .keyword = &name, .keyword_n = keyword != NULL,
	};

	return store_folder_flags(f, &uid, 1, &c);
}

/* ---- files, as other tools see them ---- */

/* The first file in that directory of the Maildir ("cur", ".Sent/new") whose name holds `part`:
 * "cur/name", or "" if there is none. */
static inline const char *
find_file(struct fixture *x, const char *sub, const char *part)
{
	static char found[600];
	int fd = openat(x->dir, sub, O_RDONLY | O_DIRECTORY);
	DIR *dir = fdopendir(fd);
	struct dirent *d;

	assert_non_null(dir);
	found[0] = '\0';
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] != '.' && strstr(d->d_name, part) != NULL)
			(void)snprintf(found, sizeof(found), "%s/%s", sub, d->d_name);
	}
	(void)closedir(dir);
	return found;
}

static inline void
put_file(struct fixture *x, const char *name, const char *text)
{
	int fd = openat(x->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

#endif
