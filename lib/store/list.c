/* list.c: which folders there are. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"

#define LIST_OCTETS	(64 * 1024 * 1024)

enum { EXISTS = 1, LEVEL = 2, SUBSCRIBED = 4, CHILDREN = 8 };

struct entry {
	const char	*name;		/* in names */
	size_t		 at;		/* its place in names, while that grows */
	unsigned	 bits;
};

struct lister {
	struct store	*store;
	struct buf	 names;		/* each with its NUL */
	struct entry	*entry;
	size_t		 n, cap;
	bool		 failed;
};

static void
add(struct lister *l, struct slice name, unsigned bits)
{
	if (l->n == l->cap) {
		size_t cap = l->cap == 0 ? 64 : l->cap * 2;
		struct entry *e = reallocarray(l->entry, cap, sizeof(*e));

		if (e == NULL) {
			l->failed = true;
			return;
		}
		l->entry = e;
		l->cap = cap;
	}
	l->entry[l->n++] = (struct entry){ .at = l->names.len, .bits = bits };
	(void)buf_slice(&l->names, name);
	(void)buf_char(&l->names, '\0');
}

static void
add_folder(struct lister *l, struct slice name)
{
	add(l, name, EXISTS);
	for (size_t at = slice_rfind(name, STORE_SEPARATOR); at < name.len;
	    at = slice_rfind(name, STORE_SEPARATOR)) {
		name = slice_sub(name, 0, at);
		add(l, name, LEVEL | CHILDREN);
	}
}

static bool
is_dir(const struct store *s, const char *name, unsigned char type)
{
	struct stat st;

	if (type != DT_UNKNOWN)
		return type == DT_DIR;
	return fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static bool
take_dir(void *ctx, const char *name, unsigned char type)
{
	struct lister *l = ctx;
	char canonical[STORE_NAME_MAX + 1];

	/* A name that is not canonical on disk (".inbox.x") could not be opened by it. */
	if (name[0] != '.' || name[1] == '.' || !is_dir(l->store, name, type) ||
	    !store_name_check(slice_of(name + 1), false, canonical) ||
	    strcmp(canonical, name + 1) != 0 || strcmp(canonical, "INBOX") == 0)
		return true;
	add_folder(l, slice_of(name + 1));
	return !l->failed;
}

static enum store_error
take_subscriptions(struct lister *l)
{
	struct buf lines;
	struct slice rest;
	enum store_error error;

	buf_init(&lines, LIST_OCTETS);
	error = subscriptions_read(l->store, &lines);
	rest = buf_slice_of(&lines);
	while (error == STORE_OK && rest.len > 0)
		add(l, slice_cut(&rest, '\n'), SUBSCRIBED);
	buf_clear(&lines);
	return error;
}

/* INBOX first, then by octets. */
static int
by_name(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	bool xi = strcmp(x->name, "INBOX") == 0, yi = strcmp(y->name, "INBOX") == 0;

	return xi || yi ? yi - xi : strcmp(x->name, y->name);
}

static void
sort_and_merge(struct lister *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		l->entry[i].name = l->names.ptr + l->entry[i].at;
	qsort(l->entry, l->n, sizeof(*l->entry), by_name);
	for (size_t i = 0; i < l->n; i++) {
		if (n > 0 && strcmp(l->entry[n - 1].name, l->entry[i].name) == 0)
			l->entry[n - 1].bits |= l->entry[i].bits;
		else
			l->entry[n++] = l->entry[i];
	}
	l->n = n;
}

/* ---- the result ---- */

static enum store_special
special_use(const char *name)
{
	static const char *const names[] = {
		[STORE_SENT] = "Sent", [STORE_DRAFTS] = "Drafts", [STORE_TRASH] = "Trash",
		[STORE_JUNK] = "Junk", [STORE_ARCHIVE] = "Archive",
	};

	for (size_t i = STORE_SENT; i < LEN(names); i++) {
		if (strcmp(name, names[i]) == 0)
			return (enum store_special)i;
	}
	return STORE_SPECIAL_NONE;
}

static bool
not_hidden(void *ctx, const char *name, unsigned char type)
{
	bool *found = ctx;

	(void)type;
	*found = name[0] != '.';
	return !*found;
}

static bool
has_fresh(const struct store *s, const char *name)
{
	char dir_name[STORE_NAME_MAX + 2];
	bool found = false;
	int dir, new;

	store_dir_name(name, dir_name);
	dir = store_open_dir(s->dir, dir_name, false);
	if (dir < 0)
		return false;
	new = store_open_dir(dir, "new", false);
	if (new >= 0) {
		(void)store_read_dir(new, not_hidden, &found);
		(void)close(new);
	}
	(void)close(dir);
	return found;
}

/* What was noted of the folders goes before their names. */
static void
find_specials(const struct lister *l, struct store_folder_info *info)
{
	bool taken[STORE_ARCHIVE + 1] = { false };

	for (size_t i = 0; i < l->n; i++) {
		if (info[i].exists)
			info[i].special = annotations_special(l->store, info[i].name);
		taken[info[i].special] = true;
	}
	taken[STORE_SPECIAL_NONE] = false;
	for (size_t i = 0; i < l->n; i++)
		if (info[i].special == STORE_SPECIAL_NONE && !taken[special_use(info[i].name)])
			info[i].special = special_use(info[i].name);
}

static struct store_list *
make_list(const struct lister *l, unsigned how)
{
	size_t info_len = l->n * sizeof(struct store_folder_info);
	struct store_list *list = malloc(sizeof(*list) + info_len + l->names.len);
	struct store_folder_info *info;
	char *names;

	if (list == NULL)
		return NULL;
	info = (struct store_folder_info *)(list + 1);
	names = (char *)info + info_len;
	memcpy(names, l->names.ptr, l->names.len);
	for (size_t i = 0; i < l->n; i++) {
		const struct entry *e = &l->entry[i];

		info[i] = (struct store_folder_info){
			.name = names + (e->name - l->names.ptr),
			.exists = (e->bits & EXISTS) != 0,
			.children = (e->bits & CHILDREN) != 0,
			.subscribed = (e->bits & SUBSCRIBED) != 0,
		};
		if ((how & STORE_LIST_FRESH) != 0 && info[i].exists)
			info[i].fresh = has_fresh(l->store, info[i].name);
	}
	find_specials(l, info);
	list->n = l->n;
	list->at = info;
	return list;
}

enum store_error
store_list(struct store *s, unsigned how, struct store_list **out)
{
	struct lister l = { .store = s };
	enum store_error error;

	*out = NULL;
	buf_init(&l.names, LIST_OCTETS);
	add(&l, SLICE("INBOX"), EXISTS);
	error = store_read_dir(s->dir, take_dir, &l);
	if (error == STORE_OK)
		error = take_subscriptions(&l);
	if (error == STORE_OK && (l.failed || l.names.full))
		error = STORE_MEMORY;
	if (error == STORE_OK) {
		sort_and_merge(&l);
		*out = make_list(&l, how);
		if (*out == NULL)
			error = STORE_MEMORY;
	}
	error = store_done(s, error);
	buf_clear(&l.names);
	free(l.entry);
	return error;
}
