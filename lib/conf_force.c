/* conf_force: the copy of the configuration that a suite runs by. */
#include "conf.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_text.h"

#define MARK "# In force: "

struct search {
	struct conf	*conf;
	char		*file;		/* absolute, owned */
	char		*dir;		/* its folder, owned */
	uid_t		 owner;		/* of the file; of its folder when it is gone */
};

bool
conf_print_in_force(const struct conf *conf, struct buf *out)
{
	return buf_fmt(out, MARK "%s\n", conf->file) && buf_text(out, conf->text);
}

/* Is this a copy of our file's, made by somebody who counts? */
static bool
is_copy(const struct search *s, int fd)
{
	char line[sizeof(MARK) + PATH_MAX + 1], want[sizeof(line)];
	struct stat st;
	ssize_t n;
	int len;

	if (fstat(fd, &st) != 0 || (st.st_mode & 022) != 0 || (st.st_uid != 0 && st.st_uid != s->owner))
		return false;
	len = snprintf(want, sizeof(want), MARK "%s\n", s->file);
	n = pread(fd, line, sizeof(line), 0);
	return len > 0 && len < (int)sizeof(want) && n >= len && memcmp(line, want, (size_t)len) == 0;
}

static bool
load_copy(const struct search *s, const char *state_dir)
{
	struct conf_problems unsaid = { 0 };
	char path[PATH_MAX];
	bool ok = false;
	int fd;

	if (snprintf(path, sizeof(path), "%s%s%s/" CONF_IN_FORCE, state_dir[0] == '/' ? "" : s->dir,
	    state_dir[0] == '/' ? "" : "/", state_dir) >= (int)sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	if (fd == -1)
		return false;
	if (is_copy(s, fd))
		ok = conf_load_fd(s->conf, s->file, fd, &unsaid);
	conf_problems_clear(&unsaid);
	(void)close(fd);
	return ok;
}

/* state-dir as far as the text tells it: libconfuse may be unable to read it. */
static bool
named_state_dir(const char *file, char *out, size_t size)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = calloc(1, CONF_FILE_MAX + 1);
	bool found = false;
	size_t len = 0;
	ssize_t n;

	while (fd != -1 && text != NULL && (n = read(fd, text + len, CONF_FILE_MAX - len)) > 0)
		len += (size_t)n;
	if (len > 0)
		found = conf_text_value(text, "state-dir", out, size);
	free(text);
	if (fd != -1)
		(void)close(fd);
	return found;
}

bool
conf_load_in_force(struct conf *conf, const char *file)
{
	struct search s = { .conf = conf, .file = conf_absolute_file(file) };
	char named[PATH_MAX], *slash;
	struct stat st;
	bool ok = false;

	*conf = (struct conf){ 0 };
	s.dir = s.file == NULL ? NULL : strdup(s.file);
	slash = s.dir == NULL ? NULL : strrchr(s.dir, '/');
	if (slash == NULL)
		goto out;
	slash[slash == s.dir] = '\0';
	if (stat(s.file, &st) != 0 && stat(s.dir, &st) != 0)
		goto out;
	s.owner = st.st_uid;
	/* As the text has it; as it is when the text has none; as `pennypost init` writes it. */
	ok = (named_state_dir(s.file, named, sizeof(named)) && load_copy(&s, named)) ||
	    load_copy(&s, CONF_STATE_DIR) || load_copy(&s, "state");
out:
	free(s.dir);
	free(s.file);
	return ok;
}
