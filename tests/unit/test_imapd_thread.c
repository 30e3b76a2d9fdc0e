/* imapd: threads, RFC 5256 section 4: the algorithm by itself. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "imapd/imap_thread.h"

/* Messages are 1, 2, 3 ..., sent in that order unless a date is given; a subject that begins with '+' is a reply's. */
struct message {
	const char	*id, *refs, *reply_to, *subject;
	int64_t		 sent;
};

static void
add(struct imap_threads *t, size_t i, const struct message *m)
{
	struct slice subject = slice_of(m->subject == NULL ? "" : m->subject);
	struct imap_thread_message in = {
		.number = (uint32_t)i + 1,
		.sent = m->sent == 0 ? (int64_t)i + 1 : m->sent,
		.reply = slice_prefix(&subject, "+"),
		.message_id = slice_of(m->id == NULL ? "" : m->id),
		.references = slice_of(m->refs == NULL ? "" : m->refs),
		.in_reply_to = slice_of(m->reply_to == NULL ? "" : m->reply_to),
	};

	in.subject = subject;
	assert_true(imap_threads_add(t, &in));
}

static void
check_threads(size_t row, const struct message *m, size_t n, bool by_references, const char *want)
{
	struct imap_threads *t = imap_threads_new(12345);
	struct buf out;

	buf_init(&out, 1000000);
	assert_non_null(t);
	for (size_t i = 0; i < n; i++)
		add(t, i, &m[i]);
	if (by_references)
		assert_true(imap_threads_by_references(t, &out));
	else
		assert_true(imap_threads_by_subject(t, &out));
	if (strcmp(buf_cstr(&out), want) != 0)
		fail_msg("row %zu: %s not %s", row, buf_cstr(&out), want);
	buf_clear(&out);
	imap_threads_free(t);
}

#define MOST 8
struct row {
	struct message	 m[MOST];
	size_t		 n;
	const char	*want;
};

static void
references(void **unused)
{
	static const struct row row[] = {
		{ { { 0 } }, 0, "" },
		{ { { "<1@x>" }, { "<2@x>" } }, 2, "(1)(2)" },
		/* A chain, a fork, both. */
		{ { { "<1@x>" }, { "<2@x>", "<1@x>" }, { "<3@x>", "<1@x> <2@x>" } }, 3, "(1 2 3)" },
		{ { { "<1@x>" }, { "<2@x>", "<1@x>" }, { "<3@x>", "<1@x>" } }, 3, "(1 (2)(3))" },
		{ { { "<1@x>" }, { "<2@x>", "<1@x>" }, { "<3@x>", "<1@x>" }, { "<4@x>", "<3@x>" }, { "<5@x>", "<1@x> <2@x>" } }, 5,
		    "(1 (2 5)(3 4))" },
		{ { { "<1@x>" }, { "<2@x>", "<1@x>" }, { "<3@x>", "<1@x> <2@x>" }, { "<4@x>", "<2@x>" }, { "<5@x>", "<4@x>" } }, 5,
		    "(1 2 (3)(4 5))" },
		/* In-Reply-To is for those without References. */
		{ { { "<1@x>" }, { "<2@x>", NULL, "<1@x>" }, { "<3@x>", "none", "your <2@x> of <1@x>" } }, 3, "(1 2 3)" },
		{ { { "<1@x>" }, { "<2@x>" }, { "<3@x>", "<2@x>", "<1@x>" } }, 3, "(1)(2 3)" },
		/* The parent is missing: with one child it is passed over, with two it is a place. */
		{ { { "<1@x>", "<0@x>" }, { "<2@x>" } }, 2, "(1)(2)" },
		{ { { "<1@x>", "<0@x>" }, { "<2@x>", "<0@x>" }, { "<3@x>", "<2@x>" } }, 3, "((1)(2 3))" },
		{ { { "<1@x>" }, { "<2@x>", "<1@x> <gone@x>" }, { "<3@x>", "<1@x> <gone@x>" } }, 3, "(1 (2)(3))" },
		{ { { "<1@x>", "<a@x> <b@x> <c@x>" }, { "<2@x>", "<a@x> <b@x>" } }, 2, "((1)(2))" },
		/* Whoever comes first. */
		{ { { "<3@x>", "<1@x> <2@x>", .sent = 30 }, { "<2@x>", "<1@x>", .sent = 20 }, { "<1@x>", .sent = 10 } }, 3, "(3 2 1)" },
		/* Loops are not made. */
		{ { { "<1@x>", "<1@x>" } }, 1, "(1)" },
		{ { { "<1@x>", "<2@x>" }, { "<2@x>", "<1@x>" } }, 2, "(2 1)" },
		{ { { "<1@x>", "<3@x>" }, { "<2@x>", "<1@x>" }, { "<3@x>", "<2@x>" } }, 3, "(3 1 2)" },
		/* An id that was there already; none; one spelt differently. */
		{ { { "<1@x>" }, { "<1@x>" }, { "<3@x>", "<1@x>" } }, 3, "(1 3)(2)" },
		{ { { NULL }, { "garbage" }, { "<no at>" } }, 3, "(1)(2)(3)" },
		{ { { "<\"a b\"@x>" }, { "<2@x>", "<\"a\\ b\"@x>" }, { "<3@x>", "<a@x\r\n\t>" } }, 3, "(1 2)(3)" },
		/* A truncated reference is put right by the message itself. */
		{ { { "<1@x>" }, { "<2@x>" }, { "<3@x>", "<1@x> <4@x>" }, { "<4@x>", "<2@x>" } }, 4, "(1)(2 4 3)" },
		/* By date. */
		{ { { "<1@x>", .sent = 9 }, { "<2@x>", .sent = 5 }, { "<3@x>", "<1@x>", .sent = 8 }, { "<4@x>", "<1@x>", .sent = 7 } }, 4,
		    "(2)(1 (4)(3))" },
		{ { { "<1@x>", "<0@x>", .sent = 9 }, { "<2@x>", .sent = 5 }, { "<3@x>", "<0@x>", .sent = 3 } }, 3, "((3)(1))(2)" },
		{ { { "<1@x>", .sent = 5 }, { "<2@x>", .sent = 5 } }, 2, "(1)(2)" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_threads(i, row[i].m, row[i].n, true, row[i].want);
}

/* Step 5: what is said to be an answer by its subject alone. */
static void
subjects_join(void **unused)
{
	static const struct row row[] = {
		{ { { "<1@x>", .subject = "A" }, { "<2@x>", .subject = "+A" } }, 2, "(1 2)" },
		{ { { "<1@x>", .subject = "A" }, { "<2@x>", .subject = "A" } }, 2, "((1)(2))" },
		{ { { "<1@x>", .subject = "+A" }, { "<2@x>", .subject = "A" } }, 2, "(2 1)" },
		{ { { "<1@x>", .subject = "+A" }, { "<2@x>", .subject = "+A" } }, 2, "((1)(2))" },
		{ { { "<1@x>", .subject = "A" }, { "<2@x>", .subject = "B" }, { "<3@x>" }, { "<4@x>" } }, 4, "(1)(2)(3)(4)" },
		{ { { "<1@x>", .subject = "A" }, { "<2@x>", .subject = "A" }, { "<3@x>", .subject = "A" } }, 3, "((1)(2)(3))" },
		{ { { "<1@x>", .subject = "A" }, { "<2@x>", .subject = "A" }, { "<3@x>", .subject = "+A" } }, 3, "((1)(2)(3))" },
		/* A dummy with the subject of its first child. */
		{ { { "<1@x>", "<0@x>", .subject = "+A" }, { "<2@x>", "<0@x>", .subject = "+A" }, { "<3@x>", .subject = "A" } }, 3,
		    "((1)(2)(3))" },
		{ { { "<1@x>", "<0@x>", .subject = "+A" }, { "<2@x>", "<0@x>", .subject = "B" },
		    { "<3@x>", "<9@x>", .subject = "A" }, { "<4@x>", "<9@x>", .subject = "C" } }, 4, "((1)(2)(3)(4))" },
		{ { { "<1@x>", .subject = "A" }, { "<2@x>", "<1@x>", .subject = "+A" }, { "<3@x>", .subject = "+A" } }, 3, "(1 (2)(3))" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_threads(i, row[i].m, row[i].n, true, row[i].want);
}

static void
ordered_subject(void **unused)
{
	static const struct row row[] = {
		{ { { 0 } }, 0, "" },
		{ { { .subject = "A" }, { .subject = "B" }, { .subject = "A" } }, 3, "(1 3)(2)" },
		{ { { .subject = "B" }, { .subject = "A" }, { .subject = "B" }, { .subject = "B" }, { .subject = "B" } }, 5,
		    "(1 (3)(4)(5))(2)" },
		{ { { .subject = "B", .sent = 9 }, { .subject = "A", .sent = 8 }, { .subject = "B", .sent = 7 } }, 3, "(3 1)(2)" },
	};

	(void)unused;
	for (size_t i = 0; i < LEN(row); i++)
		check_threads(i, row[i].m, row[i].n, false, row[i].want);
}

/* 50,000 messages in one chain, from either end, and 50,000 answers to one: no long time, no deep stack. */
static void
much(void **unused)
{
	static const size_t n = 50000;

	(void)unused;
	for (int how = 0; how < 3; how++) {
		struct imap_threads *t = imap_threads_new(1);
		struct buf out;

		assert_non_null(t);
		for (size_t i = 0; i < n; i++) {
			size_t me = how == 1 ? n - i : i + 1;
			char id[40], ref[40];
			struct message m = { .id = id, .refs = ref };

			(void)snprintf(id, sizeof(id), "<%zu@x>", me);
			(void)snprintf(ref, sizeof(ref), "<%zu@x>", how == 2 ? 0 : me - 1);
			add(t, i, &m);
		}
		buf_init(&out, 10000000);
		assert_true(imap_threads_by_references(t, &out));
		assert_true(strncmp(buf_cstr(&out), how == 0 ? "(1 2 3 4 " : how == 1 ? "(50000 49999 " : "((1)(2)", 7) == 0);
		buf_clear(&out);
		imap_threads_free(t);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references),
		cmocka_unit_test(subjects_join),
		cmocka_unit_test(ordered_subject),
		cmocka_unit_test(much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
