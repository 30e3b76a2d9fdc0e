/*
 * store: thousands of random operations by two stores with several views, and by
 * other tools behind their backs, against a plain model: lists of messages.  At
 * each refresh a view must be what it was told it is, and in the end every view,
 * a fresh one and the model agree.
 *
 * PP_SEED=n gives one run again, PP_ROUNDS=n the number of runs.
 */
#include "store_fixture.h"

#include <time.h>

#define VIEWS		4
#define FOLDERS		3
#define MESSAGES	400
#define STEPS		250

static const char *const folder_names[FOLDERS] = { "INBOX", "Archive", "Trash" };

/* A message is told by its content, which never changes. */
struct model_message {
	uint32_t	uid;		/* 0: not known to us (put in by another tool) */
	unsigned	flags;
	char		keyword;	/* 0, or 'a'.. for "kw-a" */
	unsigned	id;		/* its content is "id N" */
};

struct model_folder {
	struct model_message	at[MESSAGES];
	size_t			n;
};

/* What a session knows from what it was told. */
struct session {
	struct store_folder *f;
	size_t		 folder;
	uint32_t	 uid[MESSAGES];
	unsigned	 flags[MESSAGES];
	uint32_t	 keywords[MESSAGES];
	uint32_t	 n;
	uint32_t	 highest;	/* UID ever seen */
};

struct world {
	struct fixture	 x;
	struct store	*other;
	struct model_folder folder[FOLDERS];
	struct session	 session[VIEWS];
	unsigned	 next_id;
	unsigned	 seed, step;
};

static unsigned
pick(struct world *w, unsigned n)
{
	w->seed = w->seed * 1103515245 + 12345;
	return (w->seed >> 12) % n;
}

/* ---- the model ---- */

static struct model_message *
model_find(struct model_folder *m, uint32_t uid)
{
	for (size_t i = 0; i < m->n; i++) {
		if (m->at[i].uid == uid)
			return &m->at[i];
	}
	return NULL;
}

static void
model_remove(struct model_folder *m, struct model_message *at)
{
	memmove(at, at + 1, (size_t)(&m->at[m->n] - (at + 1)) * sizeof(*at));
	m->n--;
}

/* ---- a session's own list ---- */

static void
told_expunged(void *ctx, uint32_t seq, uint32_t uid)
{
	struct session *s = ctx;

	assert_true(seq >= 1 && seq <= s->n);
	assert_int_equal(s->uid[seq - 1], uid);
	memmove(&s->uid[seq - 1], &s->uid[seq], (s->n - seq) * sizeof(s->uid[0]));
	memmove(&s->flags[seq - 1], &s->flags[seq], (s->n - seq) * sizeof(s->flags[0]));
	memmove(&s->keywords[seq - 1], &s->keywords[seq], (s->n - seq) * sizeof(s->keywords[0]));
	s->n--;
}

static void
learn(struct session *s, uint32_t seq)
{
	const struct store_message *m = store_folder_at(s->f, seq);

	s->uid[seq - 1] = m->uid;
	s->flags[seq - 1] = m->flags & STORE_FLAGS_IMAP;
	s->keywords[seq - 1] = m->keywords;
}

static void
told_added(void *ctx, uint32_t count, uint32_t recent)
{
	struct session *s = ctx;

	(void)recent;
	assert_true(count > s->n);
	while (s->n < count) {
		learn(s, ++s->n);
		assert_true(s->uid[s->n - 1] > s->highest);	/* P8 */
		s->highest = s->uid[s->n - 1];
	}
}

static void
told_flags(void *ctx, uint32_t seq)
{
	learn(ctx, seq);
}

static void
refresh(struct session *s, unsigned how)
{
	const struct store_changes c = { told_expunged, told_added, NULL, told_flags, s };

	assert_int_equal(store_folder_refresh(s->f, how, &c), STORE_OK);
	assert_int_equal(store_folder_count(s->f), s->n);
	for (uint32_t i = 1; i <= s->n; i++) {
		const struct store_message *m = store_folder_at(s->f, i);

		assert_int_equal(m->uid, s->uid[i - 1]);
		if (!m->gone) {
			assert_int_equal(m->flags & STORE_FLAGS_IMAP, s->flags[i - 1]);
			assert_int_equal(m->keywords, s->keywords[i - 1]);
		}
	}
}

static void
session_open(struct world *w, struct session *s)
{
	struct store *store = pick(w, 2) == 0 ? w->x.s : w->other;

	store_folder_close(s->f);
	s->folder = pick(w, FOLDERS);
	s->f = open_view(store, folder_names[s->folder], false);
	s->n = 0;
	s->highest = 0;
	if (store_folder_count(s->f) > 0)
		told_added(s, store_folder_count(s->f), 0);
}

/* A message of the session's view that is there, or 0. */
static uint32_t
some_uid(struct world *w, struct session *s)
{
	uint32_t uid;

	if (s->n == 0)
		return 0;
	uid = s->uid[pick(w, s->n)];
	return model_find(&w->folder[s->folder], uid) == NULL ? 0 : uid;
}

/* ---- operations ---- */

static void
do_append(struct world *w)
{
	size_t to = pick(w, FOLDERS);
	struct model_folder *m = &w->folder[to];
	struct store *s = pick(w, 2) == 0 ? w->x.s : w->other;
	struct store_new what = { .folder = slice_of(folder_names[to]), .flags = pick(w, 3) == 0 ? STORE_SEEN : 0 };
	enum store_error error;
	char text[32];
	uint32_t uid;

	if (m->n == MESSAGES / 2)
		return;
	if (pick(w, 2) == 0)
		what.qid = qid_of(w->next_id);
	(void)snprintf(text, sizeof(text), "id %u\r\n", w->next_id);
	uid = add_as(s, &what, text, &error, NULL);
	assert_int_equal(error, STORE_OK);
	m->at[m->n++] = (struct model_message){ .uid = uid, .flags = what.flags, .id = w->next_id++ };
}

static void
do_flags(struct world *w, struct session *s)
{
	uint32_t uid = some_uid(w, s);
	struct model_message *m = model_find(&w->folder[s->folder], uid);
	enum store_change change = (enum store_change)pick(w, 3);
	unsigned flags = pick(w, 32);
	char keyword = (char)(pick(w, 3) == 0 ? 'a' + pick(w, 5) : 0), name[8] = "kw-";

	if (uid == 0)
		return;
	name[3] = keyword;
	assert_int_equal(set_flags(s->f, change, uid, flags, keyword == 0 ? NULL : name), STORE_OK);
	if (change == STORE_REPLACE) {
		m->flags = flags;
		m->keyword = keyword;
	} else {
		m->flags = change == STORE_ADD ? m->flags | flags : m->flags & ~flags;
		if (change == STORE_REMOVE && keyword != 0 && m->keyword == keyword)
			m->keyword = 0;
		else if (change == STORE_ADD && keyword != 0 && m->keyword != 0 && m->keyword != keyword) {
			/* the model knows one keyword a message */
			name[3] = m->keyword;
			assert_int_equal(set_flags(s->f, STORE_REMOVE, uid, 0, name), STORE_OK);
			m->keyword = keyword;
		} else if (change == STORE_ADD && keyword != 0)
			m->keyword = keyword;
	}
	/* What it did itself it knows without being told. */
	for (uint32_t i = 1; i <= s->n; i++) {
		if (s->uid[i - 1] == uid)
			learn(s, i);
	}
}

static void settle_uids(struct world *w, size_t folder);

static void
do_expunge(struct world *w, struct session *s)
{
	struct model_folder *m = &w->folder[s->folder];

	settle_uids(w, s->folder);
	assert_int_equal(store_folder_expunge(s->f, NULL, 0), STORE_OK);
	for (uint32_t i = 0; i < s->n; i++) {
		struct model_message *at = model_find(m, s->uid[i]);

		if (at != NULL && (at->flags & STORE_DELETED) != 0 && store_folder_at(s->f, i + 1)->gone)
			model_remove(m, at);
	}
}

static void
do_copy(struct world *w, struct session *s, bool move)
{
	uint32_t uid = some_uid(w, s);
	struct model_message *m = model_find(&w->folder[s->folder], uid), copy;
	size_t to = pick(w, FOLDERS);
	struct store_pair pair = { 0 };
	struct store_group *g;
	struct store_item *i;
	uint32_t validity;
	size_t n;

	if (uid == 0 || w->folder[to].n == MESSAGES / 2)
		return;
	copy = *m;
	if (move) {
		assert_int_equal(store_folder_move(s->f, &uid, 1, slice_of(folder_names[to]), &pair, &n, &validity), STORE_OK);
		if (n == 0)	/* this view thinks it is gone, for it was away for a moment */
			return;
		model_remove(&w->folder[s->folder], m);
		copy.uid = pair.to;
	} else {
		g = store_group_new(STORE_ALL);
		i = store_group_copy(g, s->f, uid, slice_of(folder_names[to]));
		if (store_group_commit(g) != STORE_OK) {
			assert_int_equal(i->error, STORE_GONE);
			store_group_free(g);
			return;
		}
		copy.uid = i->uid;
		store_group_free(g);
	}
	w->folder[to].at[w->folder[to].n++] = copy;
}

/* mutt and mv: a file with our name for it, in one of the directories. */
static const char *
some_file(struct world *w, size_t folder, unsigned *id)
{
	static char path[700];
	const char *prefix = folder == 0 ? "" : folder == 1 ? ".Archive/" : ".Trash/";
	struct model_folder *m = &w->folder[folder];
	char sub[64], want[32], content[64];

	if (m->n == 0)
		return NULL;
	*id = m->at[pick(w, (unsigned)m->n)].id;
	(void)snprintf(want, sizeof(want), "id %u\r\n", *id);
	for (int i = 0; i < 2; i++) {
		int fd;
		DIR *dir;
		struct dirent *d;
		bool found = false;

		(void)snprintf(sub, sizeof(sub), "%s%s", prefix, i == 0 ? "cur" : "new");
		fd = openat(w->x.dir, sub, O_RDONLY | O_DIRECTORY);
		dir = fdopendir(fd);
		while (!found && (d = readdir(dir)) != NULL) {
			int file = d->d_name[0] == '.' ? -1 : openat(dirfd(dir), d->d_name, O_RDONLY);
			ssize_t n = file < 0 ? 0 : read(file, content, sizeof(content) - 1);

			if (file >= 0)
				(void)close(file);
			content[n < 0 ? 0 : n] = '\0';
			found = strcmp(content, want) == 0;
			if (found)
				(void)snprintf(path, sizeof(path), "%.60s/%.255s", sub, d->d_name);
		}
		(void)closedir(dir);
		if (found)
			return path;
	}
	fail_msg("step %u: no file of message %u", w->step, *id);
	return NULL;
}

static struct model_message *
model_by_id(struct model_folder *m, unsigned id, const char *path)
{
	struct model_message *found = NULL;

	(void)path;
	for (size_t i = 0; i < m->n; i++) {
		if (m->at[i].id == id) {
			if (found != NULL)
				return NULL;	/* copies of one content: which is which? */
			found = &m->at[i];
		}
	}
	return found;
}

static void
do_foreign(struct world *w)
{
	static const struct { char letter; unsigned flag; } letters[] = {
		{ 'D', STORE_DRAFT }, { 'F', STORE_FLAGGED }, { 'R', STORE_ANSWERED }, { 'S', STORE_SEEN }, { 'T', STORE_DELETED },
	};
	size_t folder = pick(w, FOLDERS);
	unsigned id, flags = pick(w, 32);
	const char *path = some_file(w, folder, &id);
	struct model_message *m = path == NULL ? NULL : model_by_id(&w->folder[folder], id, path);
	char to[800], *colon, *slash, *end;

	if (m == NULL)
		return;
	if (pick(w, 3) == 0) {		/* rm */
		assert_int_equal(unlinkat(w->x.dir, path, 0), 0);
		model_remove(&w->folder[folder], m);
		return;
	}
	(void)snprintf(to, sizeof(to), "%s", path);
	colon = strchr(to, ':');
	if (colon != NULL)
		*colon = '\0';
	end = stpcpy(to + strlen(to), ":2,");
	for (size_t i = 0; i < LEN(letters); i++) {
		if ((flags & letters[i].flag) != 0)
			*end++ = letters[i].letter;
	}
	*end = '\0';
	slash = strrchr(to, '/');
	memcpy(slash - 3, "cur", 3);
	assert_int_equal(renameat(w->x.dir, path, w->x.dir, to), 0);
	m->flags = flags;
	m->keyword = 0;
}

static void
do_foreign_put(struct world *w)
{
	struct model_folder *m = &w->folder[0];
	char name[64], text[32];

	if (m->n == MESSAGES / 2)
		return;
	(void)snprintf(name, sizeof(name), "%s/%u.foreign%s", pick(w, 2) == 0 ? "new" : "cur", 1000000000 + w->next_id,
	    pick(w, 2) == 0 ? "" : ":2,");
	(void)snprintf(text, sizeof(text), "id %u\r\n", w->next_id);
	put_file(&w->x, name, text);
	m->at[m->n++] = (struct model_message){ .id = w->next_id++ };
}

/* Learn the UIDs of messages that other tools put in. */
static void
settle_uids(struct world *w, size_t folder)
{
	struct store_folder *f = open_view(w->x.s, folder_names[folder], true);
	struct model_folder *m = &w->folder[folder];

	if (store_folder_count(f) != m->n)
		fail_msg("step %u: %s has %u messages, not %zu", w->step, folder_names[folder], store_folder_count(f), m->n);
	for (uint32_t i = 1; i <= store_folder_count(f); i++) {
		const struct store_message *got = store_folder_at(f, i);
		struct model_message *want = model_find(m, got->uid);
		struct store_content c;
		uint64_t id;

		assert_int_equal(store_content_open(f, i, &c), STORE_OK);
		assert_true(slice_number(slice_trim(slice_sub(c.raw, 3, c.raw.len)), UINT32_MAX, &id));
		store_content_close(&c);
		for (size_t k = 0; want == NULL && k < m->n; k++) {
			if (m->at[k].uid == 0 && m->at[k].id == id) {
				want = &m->at[k];
				want->uid = got->uid;
			}
		}
		assert_non_null(want);
		assert_int_equal(want->id, id);
		if ((got->flags & STORE_FLAGS_IMAP) != want->flags)
			fail_msg("step %u: flags of %u: %u, not %u", w->step, got->uid, got->flags, want->flags);
		assert_int_equal(got->keywords != 0, want->keyword != 0);
		if (want->keyword != 0) {
			char name[8] = "kw-";

			name[3] = want->keyword;
			assert_int_equal(got->keywords, 1u << store_folder_keyword_bit(f, slice_of(name)));
		}
	}
	store_folder_close(f);
}

static void
one_step(struct world *w)
{
	struct session *s = &w->session[pick(w, VIEWS)];

	switch (pick(w, 14)) {
	case 0: case 1: case 2:
		do_append(w);
		break;
	case 3: case 4: case 5:
		do_flags(w, s);
		break;
	case 6:
		do_expunge(w, s);
		break;
	case 7:
		do_copy(w, s, false);
		break;
	case 8:
		do_copy(w, s, true);
		break;
	case 9:
		do_foreign(w);
		break;
	case 10:
		do_foreign_put(w);
		break;
	case 11:
		session_open(w, s);
		break;
	default:
		refresh(s, pick(w, 2) == 0 ? 0 : STORE_REFRESH_EXPUNGE);
		break;
	}
}

static void
run(unsigned seed)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.seed = seed;
	w.next_id = 1;
	fixture_open(&w.x, 0);
	w.x.keep = true;		/* as deliver does */
	w.other = fixture_store(&w.x);
	for (size_t i = 0; i < VIEWS; i++)
		session_open(&w, &w.session[i]);
	for (w.step = 0; w.step < STEPS; w.step++) {
		one_step(&w);
		if (w.step % 10 == 9)
			settle_uids(&w, pick(&w, FOLDERS));
	}
	for (size_t i = 0; i < FOLDERS; i++)
		settle_uids(&w, i);
	for (size_t i = 0; i < VIEWS; i++) {
		struct session *s = &w.session[i];

		refresh(s, STORE_REFRESH_EXPUNGE);
		assert_int_equal(s->n, w.folder[s->folder].n);
		for (uint32_t k = 0; k < s->n; k++)
			assert_non_null(model_find(&w.folder[s->folder], s->uid[k]));
		store_folder_close(s->f);
	}
	store_close(w.other);
	fixture_close(&w.x);
}

static void
random_operations(void **unused)
{
	const char *seed = getenv("PP_SEED"), *rounds = getenv("PP_ROUNDS");
	unsigned n = rounds != NULL ? (unsigned)atoi(rounds) : 12;
	unsigned first = seed != NULL ? (unsigned)atoi(seed) : 1;

	(void)unused;
	for (unsigned i = first; i < first + n; i++) {
		if (getenv("PP_VERBOSE") != NULL)
			print_message("seed %u\n", i);
		run(i);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
