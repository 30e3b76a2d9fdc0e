/*
 * drop: puts one message into spool/drop, where queue finds it at its next
 * start.  sendmail runs it when queue is not there.
 *
 * Installed set-gid to the group of that folder, so any user of the machine
 * may run it with any environment, descriptors and input: it reads one
 * message in the form of dropfile.h from standard input, checks it, and says
 * by its exit code (sysexits) what became of it.  It creates one new file and
 * can neither list, read, change nor remove another.
 *
 * With -C FILE it gives the group up first: another configuration is only for
 * a suite whose folders the caller may write anyhow.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sysexits.h>
#include <unistd.h>

#include "conf.h"
#include "daemon.h"
#include "dropfile.h"

#define CHUNK 65536

struct drop {
	const char		*conf_file;
	struct conf		 conf;
	int			 dirfd;
	struct buf		 header;
	struct dropfile		 file;
	struct dropfile_writer	 writer;
};

static int
say(int code, const char *what)
{
	(void)fprintf(stderr, "drop: %s\n", what);
	return code;
}

static int
say_errno(const char *what)
{
	int error = errno;

	(void)fprintf(stderr, "drop: %s: %s\n", what, strerror(error));
	switch (error) {
	case ENOSPC:
	case EDQUOT:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EAGAIN:
	case EFBIG:
		return EX_TEMPFAIL;
	case EACCES:
	case EPERM:
		return EX_NOPERM;
	case EROFS:
	case ENOENT:
		return EX_CANTCREAT;
	default:
		return EX_IOERR;
	}
}

/* ---- before anything of the caller's is read ---- */

static bool
take_options(struct drop *d, int argc, char **argv)
{
	d->conf_file = conf_default_file();
	if (argc == 3 && strcmp(argv[1], "-C") == 0) {
		d->conf_file = argv[2];
		return setresgid(getgid(), getgid(), getgid()) == 0;
	}
	return argc == 1;
}

/* What a hostile caller may have prepared: descriptors, environment, signals, limits. */
static bool
settle(void)
{
	struct rlimit none = { 0, 0 };

	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	(void)close_range(3, ~0U, 0);
	(void)clearenv();
	(void)umask(077);
	(void)setrlimit(RLIMIT_CORE, &none);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);	/* sendmail gets it; we see the end of the input */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	return chdir("/") == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

/* As sendmail does it: a configuration with mistakes is being edited, and the one in force counts. */
static bool
load(struct drop *d)
{
	struct conf_problems problems = { 0 };
	bool ok = conf_load(&d->conf, d->conf_file, &problems) || conf_load_in_force(&d->conf, d->conf_file);

	for (size_t i = 0; !ok && i < problems.n; i++)
		if (!problems.at[i].warning)
			(void)fprintf(stderr, "drop: %s:%d: %s\n", d->conf_file, problems.at[i].line, problems.at[i].text);
	conf_problems_clear(&problems);
	return ok;
}

/* The folder may be passed, not read, by the group; who owns it may also read it. */
static int
open_folder(struct drop *d)
{
	char path[4200];

	(void)snprintf(path, sizeof(path), "%s/drop", d->conf.spool_dir);
	d->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (d->dirfd < 0 && errno == EACCES)
		d->dirfd = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return d->dirfd < 0 ? say_errno(path) : EX_OK;
}

/* ---- the message ---- */

static bool
read_exactly(char *to, size_t len)
{
	while (len > 0) {
		ssize_t n = read(0, to, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		len -= (size_t)n;
	}
	return true;
}

static int
read_header(struct drop *d)
{
	char prefix[DROPFILE_PREFIX], *room;
	size_t len;

	if (!read_exactly(prefix, sizeof(prefix)) || (len = dropfile_prefix(prefix)) == 0)
		return say(EX_DATAERR, "the input is no message of sendmail's");
	room = buf_room(&d->header, len);
	if (room == NULL)
		return say(EX_TEMPFAIL, "no memory");
	if (!read_exactly(room, len))
		return say(EX_DATAERR, "the input ends early");
	buf_add(&d->header, len);
	if (!dropfile_parse(buf_slice_of(&d->header), &d->file))
		return say(EX_DATAERR, "the envelope is not well-formed");
	if (d->file.content_size > d->conf.message_size)
		return say(EX_DATAERR, "the message is larger than message-size");
	/* These two are ours to say. */
	d->file.uid = getuid();
	d->file.received_usec = now_usec();
	return EX_OK;
}

static bool
has_room(const struct drop *d)
{
	struct statvfs v;
	uint64_t free_octets;

	if (fstatvfs(d->dirfd, &v) != 0)
		return true;
	free_octets = (uint64_t)v.f_bavail * v.f_frsize;
	return free_octets > d->conf.spool_min_free && free_octets - d->conf.spool_min_free > d->file.content_size;
}

static int
copy(struct drop *d)
{
	static char chunk[CHUNK];
	ssize_t n;

	do {
		n = read(0, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0 && !dropfile_write(&d->writer, slice_make(chunk, (size_t)n)))
			return d->writer.bad ? say(EX_DATAERR, "the content is not CRLF lines of the size said") :
			    say_errno("cannot write");
	} while (n > 0);
	if (n < 0)
		return say_errno("cannot read");
	if (dropfile_commit(&d->writer))
		return EX_OK;
	return d->writer.bad ? say(EX_DATAERR, "the input ends early") : say_errno("cannot write");
}

static int
run(struct drop *d)
{
	int rc = open_folder(d);

	if (rc == EX_OK)
		rc = read_header(d);
	if (rc != EX_OK)
		return rc;
	if (!has_room(d))
		return say(EX_TEMPFAIL, "the disk is full");
	if (!dropfile_create(&d->writer, d->dirfd, &d->file))
		rc = say_errno("cannot create a file");
	else
		rc = copy(d);
	if (rc != EX_OK)
		dropfile_abort(&d->writer);
	return rc;
}

int
main(int argc, char **argv)
{
	struct drop d = { .dirfd = -1, .writer = { .fd = -1 } };
	int rc;

	if (!take_options(&d, argc, argv))
		return say(EX_USAGE, "usage: drop [-C FILE]; sendmail runs it");
	if (!settle())
		return say(EX_OSERR, "cannot set up");
	if (!load(&d))
		return EX_CONFIG;
	buf_init(&d.header, DROPFILE_HEADER_MAX);
	rc = run(&d);
	buf_clear(&d.header);
	conf_clear(&d.conf);
	return rc;
}
