/* imapd after login: any commands, against a Maildir with a few messages; none of it ends the process. */
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "imapd/imap_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RUNS_A_STORE	500	/* then a new one */
#define COUNT_MAX	1000	/* messages: copying all of them over and over must not take for ever */

static char dir[64];
static struct store *store;
static unsigned runs;

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void
clean_up(void)
{
	if (store == NULL)
		return;
	store_close(store);
	store = NULL;
	(void)nftw(dir, remove_one, 10, FTW_DEPTH | FTW_PHYS);
}

/* One line after the other, until the session ends or has made the mailbox too large. */
static void
run(struct slice data)
{
	const struct imap_setup setup = { .store = store, .user = "u", .message_size = 100000 };
	struct imap_session *s = imap_session_new(&setup, SLICE("L"));
	enum imap_want want = IMAP_WANT_INPUT;

	if (s == NULL)
		return;
	while (data.len > 0 && want != IMAP_WANT_CLOSE && runs < RUNS_A_STORE) {
		size_t lf = slice_find(data, '\n');
		struct slice line = slice_sub(data, 0, lf + 1);

		data = slice_sub(data, line.len, data.len);
		do {
			want = imap_session_step(s, &line);
			imap_session_taken(s, imap_session_output(s).len);
		} while (want != IMAP_WANT_CLOSE && want != IMAP_WANT_INPUT);
		if (s->folder != NULL && store_folder_count(s->folder) > COUNT_MAX)
			runs = RUNS_A_STORE;
	}
	(void)imap_session_changed(s);
	imap_session_free(s);
}

/* A store in memory where that is to be had: its syncs cost nothing there. */
static void
set_up(void)
{
	static const char first[] =
	    "a APPEND INBOX {87+}\r\nFrom: a@b\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n\r\none\r\n--B--\r\n"
	    "\r\n"
	    "b APPEND INBOX (\\Seen k) {17+}\r\nSubject: y\r\n\r\nz\r\n\r\n";
	enum store_error error;
	int fd;

	strcpy(dir, access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuzz-imapd-XXXXXX" : "/tmp/fuzz-imapd-XXXXXX");
	if (mkdtemp(dir) == NULL)
		abort();
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	store = store_open(fd, &(struct store_options){ .hostname = "h", .create = true }, &error);
	(void)close(fd);
	if (store == NULL)
		abort();
	runs = 0;
	run(slice_of(first));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool once;

	if (!once)
		(void)atexit(clean_up);
	once = true;
	if (++runs > RUNS_A_STORE)
		clean_up();
	if (store == NULL)
		set_up();
	/* Half of the inputs begin with a mailbox selected. */
	if (size > 0 && (data[0] & 1) != 0) {
		struct buf text;

		buf_init(&text, size + 100);
		(void)buf_text(&text, "s SELECT INBOX\r\n");
		(void)buf_put(&text, data + 1, size - 1);
		run(buf_slice_of(&text));
		buf_clear(&text);
	} else
		run(slice_make(data, size));
	return 0;
}
