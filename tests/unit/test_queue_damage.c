/*
 * Whole logs, damaged at random: cut, bits flipped, sectors and pages zeroed
 * or exchanged, records put in another order.  Replay keeps every message
 * whose record is still whole, sets the rest aside, never crashes, and the
 * queue works on.
 *
 * PP_ROUNDS (30) and PP_SEED (1) make other and longer runs.
 */
#include "queue_fixture.h"

#define MESSAGES_MAX	80
#define FILES_MAX	8

static uint64_t seed;
static unsigned set_aside;	/* parts of files, in all rounds */

static uint32_t
chance(uint32_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % n;
}

/* A file of the log, in memory. */
struct file {
	char	 name[SEGMENT_NAME];
	char	*octets;
	size_t	 size;
};

/* A message whose record was in the log before the damage. */
struct known {
	uint64_t	 qid;
	unsigned	 file;
	char		*record;
	size_t		 size;
};

struct world {
	struct file	file[FILES_MAX];
	unsigned	files;
	struct known	known[MESSAGES_MAX];
	unsigned	messages;
};

/* ---- a log ---- */

static void
put_result(struct queue *q, uint64_t qid)
{
	struct record_result one = { .outcome = OUTCOME_DEFERRED, .dsn = SLICE("4.2.0"), .text = SLICE("later"), .attempts = 1,
	    .next_utc = UINT32_MAX };
	struct record_results r = { .qid = qid, .usec = now_usec(), .channel = CHANNEL_RELAY };
	struct buf list, body;

	buf_init(&list, 1000);
	buf_init(&body, 1000);
	assert_true(record_add_result(&list, &one));
	r.results = buf_slice_of(&list);
	assert_true(record_put_results(&body, &r));
	assert_true(queue_log_append(&q->log, LOG_STATE, RECORD_TYPE_results, buf_slice_of(&body), slice_make("", 0), 0, true));
	buf_clear(&list);
	buf_clear(&body);
}

/* One run of a queue: some messages, taken in in batches; a file of the log. */
static void
fill(struct queue *q, struct world *w)
{
	static char content[6000];
	const char *const to[] = { "r@far.test", "s@far.test" };

	memset(content, 'x', sizeof(content) - 1);
	for (uint32_t n = 1 + chance(15); n > 0 && w->messages < MESSAGES_MAX; n--) {
		content[chance(sizeof(content) - 1)] = (char)('a' + chance(26));
		w->known[w->messages++] = (struct known){ .qid = fixture_submit(q, "c@client.test", to, 1 + chance(2), true, 0,
		    content + chance(sizeof(content))) };
		if (chance(3) == 0)
			assert_true(queue_log_commit(&q->log));
	}
	assert_true(queue_log_commit(&q->log));
	if (chance(2) == 0)
		put_result(q, w->known[chance(w->messages)].qid);
	if (queue_log_pending(&q->log))
		assert_true(queue_log_commit(&q->log));
}

static void
path_of(const struct file *f, char out[200])
{
	(void)snprintf(out, 200, "%s/log/%s", fixture_dir, f->name);
}

static unsigned
file_of(struct world *w, const struct segment *s)
{
	char name[SEGMENT_NAME], path[200];
	struct file *f;
	FILE *in;

	segment_name(s->seq, s->salt, name);
	for (unsigned i = 0; i < w->files; i++)
		if (strcmp(w->file[i].name, name) == 0)
			return i;
	assert_true(w->files < FILES_MAX);
	f = &w->file[w->files];
	memcpy(f->name, name, sizeof(name));
	path_of(f, path);
	in = fopen(path, "r");
	assert_non_null(in);
	assert_int_equal(fseek(in, 0, SEEK_END), 0);
	f->size = (size_t)ftell(in);
	rewind(in);
	f->octets = malloc(f->size + 1);
	assert_non_null(f->octets);
	assert_int_equal(fread(f->octets, 1, f->size, in), f->size);
	assert_int_equal(fclose(in), 0);
	return w->files++;
}

/* Note where each message's record lies. */
static void
note(struct queue *q, struct world *w)
{
	for (unsigned i = 0; i < w->messages; i++) {
		struct known *k = &w->known[i];
		const struct message *m = messages_find(&q->messages, k->qid);
		const struct file *f;
		struct record_head h;

		assert_non_null(m);
		k->file = file_of(w, m->segment);
		f = &w->file[k->file];
		assert_true(record_head_get(slice_make(f->octets + m->offset, RECORD_HEAD), m->segment->salt, &h));
		k->size = (size_t)RECORD_HEAD + h.body_len + h.content_len;
		k->record = malloc(k->size);
		assert_non_null(k->record);
		memcpy(k->record, f->octets + m->offset, k->size);
	}
}

static void
make(struct world *w)
{
	bool sealed = false;
	struct queue *q;

	*w = (struct world){ 0 };
	fixture_make();
	for (int run = 0; run < 3; run++) {
		q = fixture_open();
		fill(q, w);
		sealed = chance(2) == 0;
		fixture_close(q, sealed);
	}
	q = fixture_open();	/* also cuts what SIGKILL left in the last one */
	note(q, w);
	fixture_close(q, true);
}

/* ---- damage ---- */

static void
exchange(struct file *f, size_t a, size_t b, size_t n)
{
	for (size_t i = 0; i < n && a + i < f->size && b + i < f->size; i++) {
		char octet = f->octets[a + i];

		f->octets[a + i] = f->octets[b + i];
		f->octets[b + i] = octet;
	}
}

static void
damage(struct file *f)
{
	const size_t used = f->size < 150000 ? f->size : 150000;	/* behind it there may be zeros alone */
	const size_t unit = chance(2) == 0 ? 512 : 4096, at = chance((uint32_t)used);

	switch (chance(6)) {
	case 0:
		f->size = at;
		break;
	case 1:
		for (uint32_t n = 1 + chance(8); n > 0; n--)
			f->octets[chance((uint32_t)used)] ^= (char)(1 << chance(8));
		break;
	case 2:
		memset(f->octets + at / unit * unit, 0, f->size - at / unit * unit < unit ? f->size - at / unit * unit : unit);
		break;
	case 3:
		exchange(f, at / unit * unit, chance((uint32_t)used) / unit * unit, unit);
		break;
	case 4:	/* whole records, if it meets them */
		exchange(f, at & ~(size_t)7, chance((uint32_t)used) & ~(size_t)7, (8u + chance(6000)) & ~7u);
		break;
	default:
		for (size_t i = at; i < used && i < at + 300; i++)
			f->octets[i] = (char)chance(256);
		break;
	}
}

static void
write_back(const struct file *f)
{
	char path[200];
	FILE *out;

	path_of(f, path);
	out = fopen(path, "w");
	assert_non_null(out);
	assert_int_equal(fwrite(f->octets, 1, f->size, out), f->size);
	assert_int_equal(fclose(out), 0);
}

static bool
still_whole(const struct world *w, const struct known *k)
{
	const struct file *f = &w->file[k->file];
	const char *p = f->octets, *end = f->octets + f->size;

	while ((p = memmem(p, (size_t)(end - p), k->record, k->size)) != NULL) {
		if ((p - f->octets) % 8 == 0 && p - f->octets >= SEGMENT_HEADER)
			return true;
		p++;
	}
	return false;
}

/* ---- what must hold ---- */

static unsigned
bad_files(void)
{
	char path[128];
	const struct dirent *e;
	unsigned n = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/log", fixture_dir);
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir)) != NULL)
		n += segment_is_bad_name(e->d_name);
	(void)closedir(dir);
	return n;
}

static void
check(const struct queue *q, const struct world *w, unsigned round)
{
	uint64_t live = 0;

	for (unsigned i = 0; i < w->messages; i++)
		if (still_whole(w, &w->known[i]) && messages_find(&q->messages, w->known[i].qid) == NULL)
			fail_msg("round %u: a message whose record is whole was lost", round);
	for (uint32_t i = 0; i < q->messages.slot_n; i++)
		if (q->messages.slot[i] != NULL)
			live += q->messages.slot[i]->live;
	assert_true(q->ledger.queued == live);
	assert_int_equal(q->set_aside, bad_files());
}

static void
one_round(unsigned round)
{
	const char *const to[] = { "late@far.test" };
	struct world w;
	struct queue *q;
	uint64_t late = 0;
	uint32_t aside;

	make(&w);
	for (uint32_t n = 1 + chance(3); n > 0; n--)
		damage(&w.file[chance(w.files)]);
	for (unsigned i = 0; i < w.files; i++)
		write_back(&w.file[i]);
	q = fixture_open();
	check(q, &w, round);
	aside = q->set_aside;
	set_aside += aside;
	late = fixture_submit(q, "c@client.test", to, 1, true, 0, "Subject: late\r\n\r\n");
	assert_true(queue_log_commit(&q->log));
	fixture_close(q, chance(2) == 0);
	q = fixture_open();
	check(q, &w, round);
	assert_non_null(messages_find(&q->messages, late));
	assert_int_equal(q->set_aside, aside);	/* once is enough */
	fixture_close(q, true);
	fixture_remove();
	for (unsigned i = 0; i < w.files; i++)
		free(w.file[i].octets);
	for (unsigned i = 0; i < w.messages; i++)
		free(w.known[i].record);
}

static uint64_t
wish(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void
whole_records_are_kept(void **unused)
{
	const uint64_t rounds = wish("PP_ROUNDS", 30), first = wish("PP_SEED", 1);

	(void)unused;
	for (uint64_t i = 0; i < rounds; i++) {
		seed = first + i;
		one_round((unsigned)(first + i));
	}
	assert_true(rounds < 10 || set_aside > rounds / 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_records_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
