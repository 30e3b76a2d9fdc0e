/*
 * imapd_talk.h: conversations with imap_session against a Maildir of their own;
 * what the tests of it share.
 */
#ifndef PP_TESTS_IMAPD_TALK_H
#define PP_TESTS_IMAPD_TALK_H

#include "check.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imapd/imap_session.h"

/* A user's Maildir, and two of the user's sessions. */
struct user {
	char			 dir[64];
	int			 fd;
	struct store		*store;
	struct imap_session	*s[2];
	struct buf		 out;		/* what the session said last */
};

static inline int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void
take_output(struct user *u, struct imap_session *s)
{
	struct slice out = imap_session_output(s);

	(void)buf_slice(&u->out, out);
	imap_session_taken(s, out.len);
}

/* Say it to a session; all it answers is in u->out. */
static inline enum imap_want
feed(struct user *u, size_t who, struct slice data)
{
	struct imap_session *s = u->s[who];

	buf_reset(&u->out);
	for (;;) {
		enum imap_want want = imap_session_step(s, &data);

		take_output(u, s);
		if (want == IMAP_WANT_INPUT || want == IMAP_WANT_CLOSE)
			return want;
	}
}

static const char *
say(struct user *u, size_t who, const char *text)
{
	(void)feed(u, who, slice_of(text));
	return buf_cstr(&u->out);
}

static inline int
user_setup(void **state)
{
	struct user *u = calloc(1, sizeof(*u));
	enum store_error error;

	assert_non_null(u);
	strcpy(u->dir, "/tmp/test-imapd-XXXXXX");
	assert_non_null(mkdtemp(u->dir));
	u->fd = open(u->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(u->fd >= 0);
	u->store = store_open(u->fd, &(struct store_options){ .hostname = "mail.example", .create = true }, &error);
	assert_non_null(u->store);
	buf_init(&u->out, 64 * 1024 * 1024);
	for (size_t i = 0; i < 2; i++) {
		const struct imap_setup setup = { .store = u->store, .user = "alice@example.org", .message_size = 1000000 };

		u->s[i] = imap_session_new(&setup, SLICE("L"));
		assert_non_null(u->s[i]);
		assert_true(slice_prefix(&(struct slice){ imap_session_output(u->s[i]).ptr, 1 }, "L"));
		(void)say(u, i, "");
	}
	*state = u;
	return 0;
}

static inline int
user_teardown(void **state)
{
	struct user *u = *state;

	imap_session_free(u->s[0]);
	imap_session_free(u->s[1]);
	store_close(u->store);
	buf_clear(&u->out);
	(void)close(u->fd);
	(void)nftw(u->dir, remove_one, 10, FTW_DEPTH | FTW_PHYS);
	free(u);
	return 0;
}

/* Without the numbers that are different each time: those behind UIDVALIDITY, APPENDUID, MODSEQ and so on become '#'. */
static inline char *
without_uidvalidity(const char *text)
{
	static const char *const words[] = {
		"[UIDVALIDITY ", "[APPENDUID ", "[COPYUID ", "(UIDVALIDITY ", "HIGHESTMODSEQ ",
		" MODSEQ (", "(MODSEQ (", "MODSEQ (", "(MODSEQ ", " MODSEQ ", "MAILBOXID (", "EMAILID (",
	};
	char *copy = strdup(text), *to = copy;

	assert_non_null(copy);
	while (*text != '\0') {
		const char *word = NULL;

		for (size_t i = 0; i < LEN(words) && word == NULL; i++)
			if (strncmp(text, words[i], strlen(words[i])) == 0)
				word = words[i];
		if (word == NULL) {
			*to++ = *text++;
			continue;
		}
		memcpy(to, text, strlen(word));
		to += strlen(word);
		text += strlen(word);
		*to++ = '#';
		text += strspn(text, "0123456789abcdefFM");
	}
	*to = '\0';
	return copy;
}

/* One turn of a conversation: who says what, and all that is answered. */
struct turn {
	size_t		 who;
	const char	*say, *answer;
};

static inline void
talk(struct user *u, const struct turn *turn, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char *got = without_uidvalidity(say(u, turn[i].who, turn[i].say));

		if (strcmp(got, turn[i].answer) != 0)
			fail_msg("turn %zu: %s\ngot: %s\nnot: %s", i, turn[i].say, got, turn[i].answer);
		free(got);
	}
}
#define TALK(u, turns) talk(u, turns, LEN(turns))

#define MESSAGE_1	"From: Joe <joe@example.org>\r\nTo: alice@example.org\r\nSubject: One\r\n" \
			"Date: Tue, 1 Feb 1994 10:00:00 +0100\r\nMessage-ID: <1@x>\r\n\r\nHello\r\nworld\r\n"
#define MESSAGE_1_SIZE	"139"
#define MESSAGE_2	"Subject: Two\r\n\r\nx\r\n"
#define MESSAGE_2_SIZE	"19"

static inline void
append(struct user *u, const char *flags, const char *message)
{
	char text[4000];

	(void)snprintf(text, sizeof(text), "x APPEND INBOX %s{%zu+}\r\n%s\r\n", flags, strlen(message), message);
	assert_non_null(strstr(say(u, 0, text), "x OK"));
}

#define TALK_TEST(f) cmocka_unit_test_setup_teardown(f, user_setup, user_teardown)

#endif
