/* quota.c: maildirsize of Maildir++ (CONVENTIONS.md section 7).
 *
 * The first line is the limit, "100000000S"; then a line "octets count" a change,
 * appended with one write.  The sum of them is what is used.  It is a cache:
 * recounted from the names of all files when it is missing, has grown to 5120
 * octets, was made for another limit, or says "over quota" and is not fresh.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

#define QUOTA_FILE	"maildirsize"
#define QUOTA_OCTETS	5120		/* longer: recount */
#define QUOTA_STALE_S	(15 * 60)
#define QUOTA_LINE	14		/* octets, as Courier pads them */

/* ---- recount ---- */

struct counter {
	int		 dir;
	uint64_t	 octets, count;
	uint64_t	 times;		/* sum over the directories' mtimes: changes when one does */
	bool		 look;		/* at mtimes only */
};

static bool
count_file(void *ctx, const char *name, unsigned char type)
{
	struct counter *c = ctx;
	struct maildir_name parsed;
	struct stat st;
	uint64_t size;

	if (type == DT_DIR || !maildir_parse(slice_of(name), &parsed))
		return true;
	if (!maildir_size(parsed.base, 'S', &size)) {
		if (fstatat(c->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
			return true;
		size = (uint64_t)st.st_size;
	}
	c->octets += size;
	c->count++;
	return true;
}

static void
count_sub(struct counter *c, int folder, const char *name)
{
	struct stat st;

	c->dir = store_open_dir(folder, name, false);
	if (c->dir < 0)
		return;
	if (fstat(c->dir, &st) == 0)
		c->times += (uint64_t)st.st_mtim.tv_sec * 1000003 + (uint64_t)st.st_mtim.tv_nsec + st.st_ino;
	if (!c->look)
		(void)store_read_dir(c->dir, count_file, c);
	(void)close(c->dir);
}

static enum store_error
count_all(struct store *s, struct counter *c)
{
	char dir_name[STORE_NAME_MAX + 2];
	struct store_list *list;
	enum store_error error = store_list(s, 0, &list);

	for (size_t i = 0; error == STORE_OK && i < list->n; i++) {
		int folder;

		if (!list->at[i].exists || list->at[i].special == STORE_TRASH)
			continue;
		store_dir_name(list->at[i].name, dir_name);
		folder = store_open_dir(s->dir, dir_name, false);
		if (folder < 0)
			continue;
		count_sub(c, folder, "new");
		count_sub(c, folder, "cur");
		(void)close(folder);
	}
	free(list);
	return error;
}

static enum store_error
recount(struct store *s, struct store_quota *out)
{
	struct counter before = { 0 }, after = { .look = true };
	enum store_error error = count_all(s, &before);
	struct buf text;

	if (error != STORE_OK)
		return error;
	out->used = before.octets;
	out->count = before.count;
	buf_init(&text, 256);
	(void)buf_fmt(&text, "%" PRIu64 "S\n%" PRIu64 " %" PRIu64 "\n", s->quota, out->used, out->count);
	/* A cache that cannot be written (disk full) is recounted the next time. */
	if (store_write_file(s, s->dir, QUOTA_FILE, buf_slice_of(&text)) == STORE_OK &&
	    (count_all(s, &after) != STORE_OK || after.times != before.times))
		quota_forget(s);
	buf_clear(&text);
	return STORE_OK;
}

/* ---- the file ---- */

/* "octets count", with blanks before, and signs. */
static bool
parse_line(struct slice line, int64_t *octets, int64_t *count)
{
	int64_t *out[2] = { octets, count };

	for (size_t i = 0; i < 2; i++) {
		struct slice word;
		uint64_t n;
		bool minus;

		line = slice_trim(line);
		word = slice_cut(&line, ' ');
		minus = slice_prefix(&word, "-");
		if (!slice_number(word, INT64_MAX, &n))
			return false;
		*out[i] = minus ? -(int64_t)n : (int64_t)n;
	}
	return true;
}

/* False if it has to be recounted. */
static bool
parse_file(const struct store *s, struct slice text, struct store_quota *out, size_t *lines)
{
	struct slice limit = slice_cut(&text, '\n');
	struct slice octets = slice_cut(&limit, 'S');
	int64_t used = 0, count = 0, o, c;
	uint64_t n;

	*lines = 0;
	if (!slice_number(octets, UINT64_MAX, &n) || n != s->quota || limit.len != 0)
		return false;
	while (text.len > 0) {
		if (!parse_line(slice_cut(&text, '\n'), &o, &c) ||
		    __builtin_add_overflow(used, o, &used) || __builtin_add_overflow(count, c, &count))
			return false;
		(*lines)++;
	}
	out->used = used < 0 ? 0 : (uint64_t)used;
	out->count = count < 0 ? 0 : (uint64_t)count;
	return *lines > 0 && used >= 0 && count >= 0;
}

/* From the file alone; false if it has to be recounted.  wanted: octets that are to come. */
static bool
from_file(struct store *s, uint64_t wanted, struct store_quota *out)
{
	struct buf text;
	struct stat st;
	size_t lines;
	bool good;

	if (fstatat(s->dir, QUOTA_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size >= QUOTA_OCTETS)
		return false;
	buf_init(&text, 4 * QUOTA_OCTETS);
	good = store_read_file(s->dir, QUOTA_FILE, 2 * QUOTA_OCTETS, &text) == STORE_OK &&
	    parse_file(s, buf_slice_of(&text), out, &lines);
	buf_clear(&text);
	if (!good)
		return false;
	if (wanted <= s->quota && out->used <= s->quota - wanted)
		return true;
	return lines == 1 && time(NULL) - st.st_mtim.tv_sec < QUOTA_STALE_S;
}

static enum store_error
quota_now(struct store *s, uint64_t wanted, struct store_quota *out)
{
	*out = (struct store_quota){ .limit = s->quota };
	if (s->quota == 0 || from_file(s, wanted, out))
		return STORE_OK;
	return recount(s, out);
}

enum store_error
store_quota(struct store *s, struct store_quota *out)
{
	return store_done(s, quota_now(s, 0, out));
}

enum store_error
quota_check(struct store *s, uint64_t octets)
{
	struct store_quota q;
	enum store_error error = quota_now(s, octets, &q);

	if (error != STORE_OK || s->quota == 0)
		return error;
	return octets > s->quota || q.used > s->quota - octets ? STORE_OVERQUOTA : STORE_OK;
}

void
quota_forget(struct store *s)
{
	if (s->quota != 0)
		(void)unlinkat(s->dir, QUOTA_FILE, 0);
}

void
quota_add(struct store *s, const char *folder, int64_t octets, int64_t count)
{
	char line[64], text[64];
	int fd, len;

	if (s->quota == 0 || (octets == 0 && count == 0) || strcmp(folder, "Trash") == 0)
		return;
	fd = openat(s->dir, QUOTA_FILE, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return;		/* there is none: the next one to ask counts, and finds this change */
	(void)snprintf(text, sizeof(text), "%" PRId64 " %" PRId64, octets, count);
	len = snprintf(line, sizeof(line), "%*s\n", QUOTA_LINE - 1, text);
	if (!store_write_all(fd, slice_make(line, (size_t)len)))
		quota_forget(s);
	(void)close(fd);
}
