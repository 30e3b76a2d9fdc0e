#include "auth_last.h"

#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "log.h"

#define FILE_NAME	"last-login.db"
#define LOCK_NAME	"lock"
#define PENDING_MAX	512		/* then notes are written at once */
#define KEY_OCTETS	352		/* service, NUL, login */
#define VALUE_VERSION	1
#define VALUE_HEAD	17		/* version, usec, count; the address follows */
#define CACHE_OCTETS	(1024 * 1024)
#define LOG_OCTETS	(1024 * 1024)	/* of one log file; old ones are removed */
#define CHECKPOINT_KB	256
#define CHECKPOINT_MIN	10

struct pending {
	char			key[KEY_OCTETS];
	size_t			key_len;
	struct auth_last_entry	entry;	/* count: logins since the last flush */
};

struct auth_last {
	int		 dirfd;
	int		 lock_fd;	/* -1: not ours yet */
	DB_ENV		*env;
	DB		*db;		/* NULL: closed */
	struct pending	 pending[PENDING_MAX];
	size_t		 pending_n;
};

static void
on_db_error(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	log_say(LOG_LEVEL_WARNING, "last-login database: %s", text);
}

/* ---- open and close ---- */

static bool
take_lock(struct auth_last *l)
{
	int fd;

	if (l->lock_fd != -1)
		return true;
	fd = openat(l->dirfd, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd == -1) {
		log_say(LOG_LEVEL_WARNING, "last-login database: cannot open its lock: %s", strerror(errno));
		return false;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		(void)close(fd);
		return false;
	}
	l->lock_fd = fd;
	return true;
}

static void
close_db(struct auth_last *l)
{
	if (l->db != NULL)
		(void)l->db->close(l->db, 0);
	if (l->env != NULL)
		(void)l->env->close(l->env, 0);
	l->db = NULL;
	l->env = NULL;
}

static int
open_env(struct auth_last *l)
{
	const uint32_t flags = DB_CREATE | DB_RECOVER | DB_PRIVATE | DB_INIT_TXN | DB_INIT_LOG |
	    DB_INIT_LOCK | DB_INIT_MPOOL;
	int rc = db_env_create(&l->env, 0);

	if (rc != 0) {
		l->env = NULL;
		return rc;
	}
	l->env->set_errcall(l->env, on_db_error);
	rc = l->env->set_cachesize(l->env, 0, CACHE_OCTETS, 1);
	if (rc == 0)
		rc = l->env->set_lg_max(l->env, LOG_OCTETS);
	if (rc == 0)
		rc = l->env->log_set_config(l->env, DB_LOG_AUTO_REMOVE, 1);
	if (rc == 0)
		rc = l->env->open(l->env, ".", flags, 0600);
	return rc;
}

static int
open_db(struct auth_last *l)
{
	int rc = open_env(l);

	if (rc == 0) {
		rc = db_create(&l->db, l->env, 0);
		if (rc != 0)
			l->db = NULL;
	}
	if (rc == 0)
		rc = l->db->open(l->db, NULL, FILE_NAME, NULL, DB_BTREE, DB_CREATE | DB_AUTO_COMMIT, 0600);
	if (rc != 0)
		close_db(l);
	return rc;
}

/* What Berkeley DB wrote here; nothing else is touched. */
static void
remove_files(const struct auth_last *l)
{
	int fd = openat(l->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (dir == NULL) {
		if (fd != -1)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		struct slice name = slice_of(entry->d_name);

		if (slice_is(name, FILE_NAME) || slice_prefix(&name, "log.") || slice_prefix(&name, "__db"))
			(void)unlinkat(l->dirfd, entry->d_name, 0);
	}
	(void)closedir(dir);
}

static bool
ready(struct auth_last *l)
{
	int rc;

	if (l->db != NULL)
		return true;
	if (!take_lock(l))
		return false;
	rc = open_db(l);
	/* No room, no memory, no descriptors pass; damage does not. */
	if (rc != 0 && rc != ENOSPC && rc != EDQUOT && rc != ENOMEM && rc != EMFILE && rc != ENFILE) {
		log_say(LOG_LEVEL_WARNING, "last-login database cannot be recovered (%s) and begins anew", db_strerror(rc));
		remove_files(l);
		rc = open_db(l);
	}
	if (rc != 0)
		log_say(LOG_LEVEL_WARNING, "last-login database cannot be opened: %s", db_strerror(rc));
	return rc == 0;
}

struct auth_last *
auth_last_open(int dirfd)
{
	struct auth_last *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->dirfd = dirfd;
	l->lock_fd = -1;
	return l;
}

void
auth_last_close(struct auth_last *l)
{
	if (l == NULL)
		return;
	if (l->pending_n > 0)
		(void)auth_last_flush(l);
	if (l->env != NULL)
		(void)l->env->txn_checkpoint(l->env, 0, 0, DB_FORCE);
	close_db(l);
	if (l->lock_fd != -1)
		(void)close(l->lock_fd);
	free(l);
}

/* ---- records ---- */

static bool
make_key(struct slice login, struct slice service, char out[KEY_OCTETS], size_t *len)
{
	if (service.len + 1 + login.len > KEY_OCTETS)
		return false;
	memcpy(out, service.ptr, service.len);
	out[service.len] = '\0';
	memcpy(out + service.len + 1, login.ptr, login.len);
	*len = service.len + 1 + login.len;
	return true;
}

static void
put_u64(unsigned char *out, uint64_t n)
{
	for (unsigned i = 0; i < 8; i++)
		out[i] = (unsigned char)((n >> (8 * i)) & 0xff);
}

static uint64_t
get_u64(const unsigned char *from)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < 8; i++)
		n |= (uint64_t)from[i] << (8 * i);
	return n;
}

static bool
decode(const DBT *value, struct auth_last_entry *out)
{
	const unsigned char *octets = value->data;

	if (value->size < VALUE_HEAD || octets[0] != VALUE_VERSION)
		return false;
	out->usec = get_u64(octets + 1);
	out->count = get_u64(octets + 9);
	return slice_text(slice_make(octets + VALUE_HEAD, value->size - VALUE_HEAD), out->address, sizeof(out->address));
}

static int
read_entry(struct auth_last *l, DB_TXN *txn, const char *key, size_t key_len, struct auth_last_entry *out)
{
	char copy[KEY_OCTETS], space[VALUE_HEAD + sizeof(out->address)];
	DBT k = { .data = copy, .size = (uint32_t)key_len };
	DBT v = { .data = space, .ulen = sizeof(space), .flags = DB_DBT_USERMEM };
	int rc;

	memcpy(copy, key, key_len);
	rc = l->db->get(l->db, txn, &k, &v, 0);
	if (rc == 0 && !decode(&v, out))
		return DB_NOTFOUND;
	return rc;
}

static int
write_entry(struct auth_last *l, DB_TXN *txn, struct pending *p)
{
	unsigned char space[VALUE_HEAD + sizeof(p->entry.address)] = { VALUE_VERSION };
	const size_t address_len = strlen(p->entry.address);
	struct auth_last_entry before = { .count = 0 };
	DBT k = { .data = p->key, .size = (uint32_t)p->key_len };
	DBT v = { .data = space, .size = (uint32_t)(VALUE_HEAD + address_len) };
	int rc = read_entry(l, txn, p->key, p->key_len, &before);

	if (rc != 0 && rc != DB_NOTFOUND)
		return rc;
	put_u64(space + 1, p->entry.usec);
	put_u64(space + 9, before.count + p->entry.count);
	memcpy(space + VALUE_HEAD, p->entry.address, address_len);
	return l->db->put(l->db, txn, &k, &v, 0);
}

static struct pending *
find_pending(struct auth_last *l, const char *key, size_t key_len)
{
	for (size_t i = 0; i < l->pending_n; i++) {
		if (l->pending[i].key_len == key_len && memcmp(l->pending[i].key, key, key_len) == 0)
			return &l->pending[i];
	}
	return NULL;
}

void
auth_last_note(struct auth_last *l, struct slice login, struct slice service, struct slice address,
    uint64_t now_usec)
{
	char key[KEY_OCTETS];
	struct pending *p;
	size_t key_len;

	if (!make_key(login, service, key, &key_len))
		return;
	p = find_pending(l, key, key_len);
	if (p == NULL && l->pending_n == PENDING_MAX && !auth_last_flush(l))
		return;
	if (p == NULL) {
		p = &l->pending[l->pending_n++];
		memcpy(p->key, key, key_len);
		p->key_len = key_len;
		p->entry.count = 0;
	}
	p->entry.usec = now_usec;
	p->entry.count++;
	(void)slice_text(address, p->entry.address, sizeof(p->entry.address));
}

bool
auth_last_pending(const struct auth_last *l)
{
	return l->pending_n > 0;
}

bool
auth_last_flush(struct auth_last *l)
{
	DB_TXN *txn = NULL;
	int rc;

	if (!ready(l))
		return false;
	rc = l->env->txn_begin(l->env, NULL, &txn, 0);
	for (size_t i = 0; i < l->pending_n && rc == 0; i++)
		rc = write_entry(l, txn, &l->pending[i]);
	/* Written, not synced: logins do not wait for the disk, and a kill loses nothing. */
	if (rc == 0)
		rc = txn->commit(txn, DB_TXN_WRITE_NOSYNC);
	else if (txn != NULL)
		(void)txn->abort(txn);
	l->pending_n = 0;	/* also when it failed: it must not grow, and the next login says it again */
	if (rc == 0)
		rc = l->env->txn_checkpoint(l->env, CHECKPOINT_KB, CHECKPOINT_MIN, 0);
	if (rc != 0) {
		log_say(LOG_LEVEL_WARNING, "last-login database: %s", db_strerror(rc));
		close_db(l);	/* the next flush opens and recovers it */
	}
	return rc == 0;
}

bool
auth_last_find(struct auth_last *l, struct slice login, struct slice service, struct auth_last_entry *out,
    bool *open)
{
	char key[KEY_OCTETS];
	size_t key_len;

	*open = l->pending_n > 0 ? auth_last_flush(l) : ready(l);
	return *open && make_key(login, service, key, &key_len) && read_entry(l, NULL, key, key_len, out) == 0;
}
