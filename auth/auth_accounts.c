#include "auth_accounts.h"

#include <cdb.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cdb_check.h"
#include "log.h"

struct auth_accounts {
	int		map_dirfd;
	int		fd;		/* -1: none */
	struct stat	st;		/* of the file that was looked at last */
	struct cdb	cdb;		/* while fd is not -1 */
};

struct auth_accounts *
auth_accounts_open(int map_dirfd)
{
	struct auth_accounts *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->map_dirfd = map_dirfd;
	a->fd = -1;
	(void)auth_accounts_changed(a);
	return a;
}

static void
close_map(struct auth_accounts *a)
{
	if (a->fd == -1)
		return;
	cdb_free(&a->cdb);
	(void)close(a->fd);
	a->fd = -1;
}

void
auth_accounts_close(struct auth_accounts *a)
{
	if (a == NULL)
		return;
	close_map(a);
	free(a);
}

static bool
get(struct auth_accounts *a, struct slice key, struct slice *value)
{
	const void *data;

	if (cdb_find(&a->cdb, key.ptr, (unsigned)key.len) <= 0)
		return false;
	data = cdb_getdata(&a->cdb);
	if (data == NULL)
		return false;
	*value = slice_make(data, cdb_datalen(&a->cdb));
	return true;
}

static void
open_map(struct auth_accounts *a)
{
	struct slice version;

	a->fd = openat(a->map_dirfd, ACCOUNTS_FOLDER "/" ACCOUNTS_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (a->fd == -1)
		return;
	if (!cdb_check(a->fd) || fstat(a->fd, &a->st) != 0 || cdb_init(&a->cdb, a->fd) != 0) {
		log_say(LOG_LEVEL_ERROR, "%s is damaged; 'newaliases' makes it new", ACCOUNTS_FILE);
		(void)close(a->fd);
		a->fd = -1;
		return;
	}
	if (!get(a, SLICE("V"), &version) || !slice_is(version, ACCOUNTS_VERSION)) {
		log_say(LOG_LEVEL_ERROR, "%s is of another version; 'newaliases' makes it new", ACCOUNTS_FILE);
		close_map(a);
	}
}

bool
auth_accounts_changed(struct auth_accounts *a)
{
	struct stat st = { 0 };
	const bool is_there = fstatat(a->map_dirfd, ACCOUNTS_FOLDER "/" ACCOUNTS_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;

	if (!is_there)
		memset(&st, 0, sizeof(st));
	if (st.st_dev == a->st.st_dev && st.st_ino == a->st.st_ino && st.st_size == a->st.st_size &&
	    st.st_mtim.tv_sec == a->st.st_mtim.tv_sec && st.st_mtim.tv_nsec == a->st.st_mtim.tv_nsec)
		return false;
	close_map(a);
	a->st = st;
	if (is_there)
		open_map(a);
	return true;
}

enum verdict
auth_accounts_find(struct auth_accounts *a, const struct addr *canonical, struct account_record *out)
{
	struct slice value;
	struct buf key;
	enum verdict verdict = PERM;

	if (a->fd == -1 || !cdb_check_size(a->fd, &a->st))
		return TEMP;
	buf_init(&key, ACCOUNTS_KEY_MAX);
	if (!account_key_put(&key, canonical))
		verdict = TEMP;
	else if (get(a, buf_slice_of(&key), &value))
		verdict = account_record_get(value, out) ? OK : TEMP;
	buf_clear(&key);
	return verdict;
}
