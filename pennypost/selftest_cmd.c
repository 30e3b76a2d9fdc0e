/* selftest: options, the rounds, the report.  Read next: selftest.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon.h"
#include "selftest.h"

#define USAGE "pennypost selftest crash [--dir DIR] [--rounds N] [--seed S] [--wait SECONDS] [--keep]"

#define ROUNDS		100	/* unless --rounds says otherwise */
#define WAIT_S		60	/* unless --wait says otherwise */
#define WAIT_MAX	86400
#define ROUNDS_MAX	1000000
#define CHECK_EVERY	25	/* rounds between two looks at everything */
#define PAUSE_MS	150000	/* a sender may wait so long for an answer */
#define POINT_MS	150	/* for the chosen call to come */
#define POINT_TRIES	6
#define GAP_MAX_USEC	300000	/* between two kills; usually much less */
#define NTH_MAX		64
#define ALL_CALLS	((1u << POINT_CALLS) - 1)

volatile sig_atomic_t selftest_stop;

struct selftest {
	struct cli		*cli;
	struct selftest_suite	 suite;
	struct selftest_shared	*shared;
	uint64_t		 seed, random;
	uint64_t		 rounds, done;
	uint64_t		 kills[KILL_KINDS];
	uint64_t		 points[POINT_CALLS][2];	/* hit: before, after */
	uint64_t		 began_usec;
	struct verify_result	 result;
	bool			 broken;	/* it did not come back */
};

static void
on_signal(int sig)
{
	selftest_stop = sig;
}

static uint64_t
below(struct selftest *t, uint64_t n)
{
	return selftest_next(&t->random) % n;
}

/* Mostly short, sometimes long: every order of magnitude as often as another. */
static unsigned
some_usec(struct selftest *t)
{
	unsigned most = GAP_MAX_USEC >> below(t, 10);

	return 1 + (unsigned)below(t, most);
}

/* ---- a round ---- */

static void
kill_one(struct selftest *t)
{
	(void)suite_kill_one(&t->suite, &t->random, NULL);
	t->kills[KILL_ONE]++;
}

/* At a chosen call; when nobody comes to it, one process anywhere. */
static void
kill_at_point(struct selftest *t)
{
	enum point_end end = POINT_MISSED;
	struct point p = { .wait_ms = POINT_MS };

	for (unsigned i = 0; i < POINT_TRIES && (end == POINT_MISSED || end == POINT_GONE) && !selftest_stop; i++) {
		p.after = below(t, 2) == 1;
		p.nth = 1 + (unsigned)below(t, 1 + below(t, NTH_MAX));
		p.calls = ALL_CALLS;
		/* One kind alone: the rare ones would hardly be hit else. */
		if (below(t, 2) == 0) {
			p.calls = 1u << below(t, POINT_CALLS);
			p.nth = 1 + p.nth / 8;
		}
		end = suite_kill_one(&t->suite, &t->random, &p);
	}
	if (end == POINT_HIT) {
		t->points[p.hit][p.after]++;
		t->kills[KILL_POINT]++;
	} else if (end == POINT_REFUSED) {
		t->kills[KILL_ONE]++;
	} else {
		kill_one(t);
	}
}

/* Start what has no master; time for the kill to show. */
static bool
revive(struct selftest *t)
{
	suite_reap(&t->suite);
	if (suite_runs(&t->suite))
		return true;
	return suite_start(&t->suite);
}

static bool
kill_all(struct selftest *t)
{
	suite_kill_all(&t->suite);
	t->kills[KILL_ALL]++;
	return suite_start(&t->suite);
}

static bool
run_round(struct selftest *t)
{
	uint64_t dice = below(t, 100);

	suite_nap(some_usec(t));
	/* A daemon that died often waits for seconds before its next start; all anew is faster. */
	if (dice < 10 || suite_tired(&t->suite))
		return kill_all(t);
	if (dice < 50)
		kill_one(t);
	else
		kill_at_point(t);
	/* Sometimes the next one comes before the master has noticed. */
	return below(t, 4) == 0 || revive(t);
}

/* ---- a look at everything ---- */

static void
tell(const struct selftest *t)
{
	const struct verify_result *r = &t->result;

	if (t->cli->json)
		return;
	(void)printf("%llu kills, %llu messages taken, %llu lost, %llu doubled (%.0f s)\n", (unsigned long long)t->done,
	    (unsigned long long)r->taken, (unsigned long long)r->lost, (unsigned long long)r->doubled,
	    (double)(now_mono_usec() - t->began_usec) / 1e6);
	(void)fflush(stdout);
}

static bool
found_fault(const struct verify_result *r)
{
	return r->lost > 0 || r->doubled > 0 || r->torn > 0 || r->ghosts > 0 || r->strangers > 0 ||
	    r->keeps_wrong > 0;
}

/* Everything is killed between two messages of each sender, but in the midst of deliveries. */
static bool
check(struct selftest *t)
{
	bool dry;

	if (!load_pause(t->shared, PAUSE_MS)) {
		if (!selftest_stop)
			cli_say(t->cli, "a sender waits for an answer that does not come");
		return false;
	}
	if (!kill_all(t))
		return false;
	dry = verify_look(&t->suite, t->shared, t->seed, &t->result);
	if (selftest_stop)
		return false;
	verify_count(&t->suite, t->shared, t->seed, &t->result);
	tell(t);
	t->broken |= !dry;
	if (!dry || found_fault(&t->result))
		return false;
	load_go_on(t->shared);
	return true;
}

static void
run_rounds(struct selftest *t)
{
	bool ok = suite_start(&t->suite) && load_start(&t->suite, t->shared, t->seed);

	while (ok && t->done < t->rounds && !selftest_stop) {
		bool last = ++t->done == t->rounds;

		ok = last || t->done % CHECK_EVERY == 0 ? check(t) : run_round(t);
	}
	t->broken |= !ok && !selftest_stop && !found_fault(&t->result);
}

/* ---- the report ---- */

/* Of all keepers: those answered OK, NO, not at all. */
static uint64_t
commands(const struct selftest *t, size_t how)
{
	uint64_t n = 0;

	for (size_t i = 0; i < KEEPERS; i++)
		n += t->shared->keeps[i].commands[how];
	return n;
}

static void
report_json(const struct selftest *t, double seconds)
{
	const struct verify_result *r = &t->result;
	json_t *points = json_object();

	for (size_t i = 0; i < POINT_CALLS; i++)
		(void)json_object_set_new(points, point_name[i], json_pack("{s:I, s:I}", "before",
		    (json_int_t)t->points[i][0], "after", (json_int_t)t->points[i][1]));
	cli_json(json_pack("{s:s, s:I, s:I, s:{s:I, s:I, s:I}, s:o, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I}, s:b, s:b}",
	    "dir", t->suite.dir, "seed", (json_int_t)t->seed, "rounds", (json_int_t)t->done,
	    "kills", "one", (json_int_t)t->kills[KILL_ONE], "all", (json_int_t)t->kills[KILL_ALL],
	    "point", (json_int_t)t->kills[KILL_POINT], "points", points,
	    "starts", (json_int_t)t->suite.starts, "seconds", seconds,
	    "taken", (json_int_t)r->taken, "refused", (json_int_t)r->refused, "unanswered", (json_int_t)r->doubt,
	    "unanswered_there", (json_int_t)r->doubt_there, "lost", (json_int_t)r->lost,
	    "doubled", (json_int_t)r->doubled, "torn", (json_int_t)r->torn, "refused_there", (json_int_t)r->ghosts,
	    "strangers", (json_int_t)r->strangers,
	    "imap", "kept", (json_int_t)r->kept, "wrong", (json_int_t)r->keeps_wrong, "ok", (json_int_t)commands(t, 0),
	    "no", (json_int_t)commands(t, 1), "unanswered", (json_int_t)commands(t, 2), "came_back", !t->broken, "interrupted", selftest_stop != 0));
}

static void
report_text(const struct selftest *t, double seconds)
{
	const struct verify_result *r = &t->result;

	(void)printf("seed %llu, %llu kills in %.0f s: %llu of one process at random, %llu at a chosen call, %llu of all\n",
	    (unsigned long long)t->seed, (unsigned long long)t->done, seconds, (unsigned long long)t->kills[KILL_ONE],
	    (unsigned long long)t->kills[KILL_POINT], (unsigned long long)t->kills[KILL_ALL]);
	(void)printf("calls, killed before / after:");
	for (size_t i = 0; i < POINT_CALLS; i++)
		(void)printf("%s %s %llu / %llu", i == 0 ? "" : ",", point_name[i], (unsigned long long)t->points[i][0],
		    (unsigned long long)t->points[i][1]);
	(void)printf("\nstarts: %u, %.2f s each\n", t->suite.starts,
	    t->suite.starts == 0 ? 0 : (double)t->suite.start_usec / 1e6 / t->suite.starts);
	(void)printf("messages: %llu taken, %llu refused, %llu without an answer (%llu of them there); %.1f MB read back\n",
	    (unsigned long long)r->taken, (unsigned long long)r->refused, (unsigned long long)r->doubt,
	    (unsigned long long)r->doubt_there, (double)r->octets / 1e6);
	(void)printf("IMAP: %llu messages kept, %llu of them wrong; commands: %llu OK, %llu NO, %llu without an answer\n",
	    (unsigned long long)r->kept, (unsigned long long)r->keeps_wrong, (unsigned long long)commands(t, 0),
	    (unsigned long long)commands(t, 1), (unsigned long long)commands(t, 2));
	(void)printf("lost %llu, doubled %llu, torn %llu, refused but there %llu, strangers %llu\n",
	    (unsigned long long)r->lost, (unsigned long long)r->doubled, (unsigned long long)r->torn,
	    (unsigned long long)r->ghosts, (unsigned long long)r->strangers);
}

static int
report(const struct selftest *t, bool kept)
{
	double seconds = (double)(now_mono_usec() - t->began_usec) / 1e6;

	if (t->cli->json)
		report_json(t, seconds);
	else
		report_text(t, seconds);
	if (t->suite.untraced)
		cli_say(t->cli, "warning: not every process may be traced here; such were killed at a random instant instead");
	if (kept)
		cli_say(t->cli, "everything is left in %s", t->suite.dir);
	if (found_fault(&t->result) || t->broken)
		return EX_SOFTWARE;
	if (selftest_stop)
		cli_say(t->cli, "interrupted; only what was looked at before counts");
	return selftest_stop ? 128 + (int)selftest_stop : EX_OK;
}

/* ---- the command ---- */

static bool
set_up(struct selftest *t, const char *dir)
{
	const struct sigaction sa = { .sa_handler = on_signal };

	t->shared = mmap(NULL, sizeof(*t->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->shared == MAP_FAILED) {
		cli_errno(t->cli, "shared memory");
		return false;
	}
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGHUP, &sa, NULL);
	return suite_make(&t->suite, dir);
}

static int
crash(struct cli *c, struct selftest *t, const char *dir, bool keep)
{
	bool kept = keep;
	int rc;

	t->cli = t->suite.cli = c;
	t->random = t->seed;
	t->began_usec = now_mono_usec();
	if (set_up(t, dir)) {
		if (!c->json)
			(void)printf("seed %llu, in %s\n", (unsigned long long)t->seed, t->suite.dir);
		run_rounds(t);
		kept |= found_fault(&t->result) || t->broken;
		rc = report(t, kept);
	} else {
		rc = EX_CANTCREAT;
		kept |= t->suite.dir[0] != '\0' && !selftest_stop;
	}
	suite_clear(&t->suite, kept);
	if (t->shared != MAP_FAILED)
		(void)munmap(t->shared, sizeof(*t->shared));
	return rc;
}

/* A number from 1 to max; text NULL leaves what there is. */
static bool
take_number(const struct cli *c, const char *name, const char *text, uint64_t max, uint64_t *out)
{
	if (text == NULL || (slice_number(slice_of(text), max, out) && *out != 0))
		return true;
	cli_say(c, "%s %s: write a number from 1 to %llu", name, text, (unsigned long long)max);
	return false;
}

int
cmd_selftest(struct cli *c, int argc, char **argv)
{
	const char *dir = ".", *rounds = NULL, *seed = NULL, *wait = NULL;
	bool keep = false;
	const struct cli_option options[] = {
		{ "--dir", &dir, NULL }, { "--rounds", &rounds, NULL }, { "--seed", &seed, NULL },
		{ "--wait", &wait, NULL }, { "--keep", NULL, &keep }, { NULL, NULL, NULL },
	};
	struct selftest *t;
	uint64_t wait_s = WAIT_S;
	int rc = EX_USAGE;

	if (!cli_options(c, options, &argc, argv) || argc != 2 || strcmp(argv[1], "crash") != 0)
		return cli_usage(c, USAGE);
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return EX_OSERR;
	t->rounds = ROUNDS;
	/* Short enough to be typed again. */
	t->seed = getrandom(&t->seed, sizeof(t->seed), 0) > 0 ? (t->seed & UINT32_MAX) | 1 : 1;
	if (take_number(c, "--rounds", rounds, ROUNDS_MAX, &t->rounds) &&
	    take_number(c, "--seed", seed, INT64_MAX, &t->seed) && take_number(c, "--wait", wait, WAIT_MAX, &wait_s)) {
		t->suite.wait_s = (unsigned)wait_s;
		rc = crash(c, t, dir, keep);
	}
	free(t);
	return rc;
}
