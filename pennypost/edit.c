#include "edit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "folders.h"
#include "maps.h"

#define TEXT_MAX (256 * 1024 * 1024)

bool
edit_address(const struct cli *c, const char *text, struct addr *out)
{
	struct addr a;

	if (!addr_parse(slice_of(text), &a)) {
		cli_say(c, "'%s' is no address; write user@domain", text);
		return false;
	}
	addr_canonical(&a, out);
	return true;
}

/* Warnings are said only about the file that was just changed (NULL: about none). */
static int
compile(struct cli *c, const char *path)
{
	struct maps_report report = { 0 };
	int rc = EX_OK;

	if (!maps_compile(&c->conf, false, &report)) {
		(void)cli_problems(NULL, &report.problems);
		rc = report.exit_code == 0 ? EX_SOFTWARE : report.exit_code;
	}
	for (size_t i = 0; rc == EX_OK && path != NULL && i < report.problems.n; i++)
		if (strncmp(report.problems.at[i].text, path, strlen(path)) == 0)
			cli_say(c, "warning: %s", report.problems.at[i].text);
	maps_report_clear(&report);
	return rc;
}

int
edit_compile(struct cli *c)
{
	return compile(c, NULL);
}

int
edit_lock(struct edit *e, struct cli *c)
{
	*e = (struct edit){ .cli = c, .domain_dirfd = -1, .dirfd = -1 };
	buf_init(&e->text, TEXT_MAX);
	e->domain_dirfd = open(c->conf.domain_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (e->domain_dirfd < 0) {
		cli_errno(c, "%s", c->conf.domain_dir);
		return errno == EACCES ? EX_NOPERM : EX_OSFILE;
	}
	if (flock(e->domain_dirfd, LOCK_EX) != 0) {
		cli_errno(c, "%s: lock", c->conf.domain_dir);
		return EX_OSERR;
	}
	return EX_OK;
}

static bool
read_all(int fd, struct buf *text)
{
	ssize_t n;

	do {
		char *room = buf_room(text, 65536);

		n = room == NULL ? -1 : read(fd, room, 65536);
		if (n > 0)
			buf_add(text, (size_t)n);
	} while (n > 0 || (n < 0 && !text->full && errno == EINTR));
	return n == 0;
}

/* A missing file is an empty one. */
static bool
read_file(int dirfd, const char *name, struct buf *text, struct stat *st, bool *exists)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool ok;

	*exists = fd >= 0;
	if (fd < 0)
		return errno == ENOENT;
	ok = fstat(fd, st) == 0 && S_ISREG(st->st_mode) && read_all(fd, text);
	(void)close(fd);
	return ok;
}

int
edit_domain(struct edit *e, struct slice domain, const char *name)
{
	const struct cli *c = e->cli;
	char folder[ADDR_DOMAIN_MAX + 1];

	e->name = name;
	if (!addr_domain_valid(domain) || !slice_text(domain, folder, sizeof(folder))) {
		cli_say(c, "'%.*s' is no domain", (int)domain.len, domain.ptr);
		return EX_DATAERR;
	}
	(void)snprintf(e->path, sizeof(e->path), "%s/%s/%s", c->conf.domain_dir, folder, name);
	e->dirfd = openat(e->domain_dirfd, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (e->dirfd < 0 && errno == ENOENT) {
		cli_say(c, "%s is none of our domains; first: pennypost domain add %s", folder, folder);
		return EX_NOHOST;
	}
	if (e->dirfd < 0 || !read_file(e->dirfd, name, &e->text, &e->st, &e->exists)) {
		cli_errno(c, "%s", e->path);
		return errno == EACCES ? EX_NOPERM : EX_IOERR;
	}
	return EX_OK;
}

int
edit_open(struct edit *e, struct cli *c, struct slice domain, const char *name)
{
	int rc = edit_lock(e, c);

	return rc == EX_OK ? edit_domain(e, domain, name) : rc;
}

bool
edit_read(const struct edit *e, const char *name, struct buf *text)
{
	struct stat st;
	bool exists;

	buf_init(text, TEXT_MAX);
	if (read_file(e->dirfd, name, text, &st, &exists))
		return true;
	cli_errno(e->cli, "%s beside %s", name, e->path);
	return false;
}

void
edit_close(struct edit *e)
{
	buf_clear(&e->text);
	if (e->dirfd >= 0)
		(void)close(e->dirfd);
	if (e->domain_dirfd >= 0)
		(void)close(e->domain_dirfd);
	e->dirfd = e->domain_dirfd = -1;
}

static bool
put(const struct edit *e, struct slice text)
{
	mode_t mode = e->exists ? e->st.st_mode & 0777 : strcmp(e->name, "accounts") == 0 ? 0600 : 0644;
	bool root = geteuid() == 0;

	return file_replace(e->dirfd, e->name, text.ptr, text.len, mode,
	    e->exists && root ? e->st.st_uid : (uid_t)-1, e->exists && root ? e->st.st_gid : (gid_t)-1);
}

int
edit_commit(struct edit *e, struct slice text)
{
	int rc;

	if (!put(e, text)) {
		cli_errno(e->cli, "%s", e->path);
		return errno == EACCES || errno == EPERM ? EX_NOPERM : EX_CANTCREAT;
	}
	rc = compile(e->cli, e->path);
	if (rc == EX_OK)
		return rc;
	if (!put(e, buf_slice_of(&e->text)))
		cli_errno(e->cli, "%s cannot be put back as it was", e->path);
	cli_say(e->cli, "nothing was changed");
	return rc;
}
