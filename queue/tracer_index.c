#include "tracer_index.h"

#include <ctype.h>
#include <db.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "queue_segment.h"
#include "tracer_distil.h"

#define CACHE_OCTETS	(1024 * 1024)
#define LOG_OCTETS	(4 * 1024 * 1024)
#define STEP_RECORDS	200u
#define MESSAGE_ID_MAX	200
#define KEY_MAX_OCTETS	400
#define OPEN_FLAGS	(DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_RECOVER)
#define POSITION_FILE	"position.db"

struct index_db {
	DB_ENV		*env;
	DB		*position, *now;	/* now: of segment now_seq */
	uint64_t	 now_seq;
	uint64_t	 seq, offset;		/* indexed up to here */
};

/* ---- keys ---- */

struct slice
index_message_id(struct slice text)
{
	text = slice_trim(text);
	(void)slice_prefix(&text, "<");
	if (text.len > 0 && text.ptr[text.len - 1] == '>')
		text.len--;
	return slice_sub(text, 0, MESSAGE_ID_MAX);
}

struct slice
index_address(struct slice text, char *to, size_t size)
{
	size_t n = text.len < size ? text.len : size;

	for (size_t i = 0; i < n; i++)
		to[i] = (char)tolower((unsigned char)text.ptr[i]);
	return slice_make(to, n);
}

static void
big_endian(uint64_t n, unsigned char out[8])
{
	for (int i = 7; i >= 0; i--) {
		out[i] = (unsigned char)n;
		n >>= 8;
	}
}

static uint64_t
from_big_endian(const unsigned char in[8])
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | in[i];
	return n;
}

/* ---- the environment ---- */

/* Its messages are for the log, in one line. */
static void
on_error(const DB_ENV *env, const char *prefix, const char *text)
{
	(void)env;
	(void)prefix;
	log_say(LOG_LEVEL_WARNING, "trace index: %s", text);
}

static void
remove_files(int dirfd)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *e;

	while (dir != NULL && (e = readdir(dir)) != NULL)
		if (e->d_name[0] != '.')
			(void)unlinkat(dirfd, e->d_name, 0);
	if (dir != NULL)
		(void)closedir(dir);
}

static void
db_name(uint64_t seq, char *out, size_t size)
{
	(void)snprintf(out, size, "t%016llx.db", (unsigned long long)seq);
}

static DB *
open_db(struct index_db *x, const char *name, bool create)
{
	DB *db = NULL;

	if (db_create(&db, x->env, 0) != 0)
		return NULL;
	if (db->set_flags(db, DB_CHKSUM) == 0 &&
	    (strcmp(name, POSITION_FILE) == 0 || db->set_flags(db, DB_DUPSORT) == 0) &&
	    db->open(db, NULL, name, NULL, DB_BTREE, DB_AUTO_COMMIT | (create ? DB_CREATE : 0), 0600) == 0)
		return db;
	(void)db->close(db, 0);
	return NULL;
}

static bool
read_position(struct index_db *x)
{
	char name[] = "position";
	unsigned char raw[16];
	DBT key = { .data = name, .size = sizeof(name) - 1 };
	DBT data = { .data = raw, .ulen = sizeof(raw), .flags = DB_DBT_USERMEM };
	int error = x->position->get(x->position, NULL, &key, &data, 0);

	x->seq = 0;
	x->offset = 0;
	if (error == 0 && data.size == sizeof(raw)) {
		x->seq = from_big_endian(raw);
		x->offset = from_big_endian(raw + 8);
	}
	return error == 0 || error == DB_NOTFOUND;
}

static struct index_db *
try_open(void)
{
	struct index_db *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	if (db_env_create(&x->env, 0) != 0) {
		free(x);
		return NULL;
	}
	x->env->set_errcall(x->env, on_error);
	(void)x->env->set_cachesize(x->env, 0, CACHE_OCTETS, 1);
	(void)x->env->set_lg_max(x->env, LOG_OCTETS);
	(void)x->env->set_flags(x->env, DB_TXN_NOSYNC, 1);
	(void)x->env->log_set_config(x->env, DB_LOG_AUTO_REMOVE, 1);
	if (x->env->open(x->env, ".", OPEN_FLAGS, 0600) == 0 &&
	    (x->position = open_db(x, POSITION_FILE, true)) != NULL && read_position(x))
		return x;
	index_close(x);
	return NULL;
}

struct index_db *
index_open(int dirfd, bool fresh)
{
	struct index_db *x = fresh ? NULL : try_open();

	if (x != NULL)
		return x;
	log_say(LOG_LEVEL_WARNING, "the index of the trace is damaged: it is made anew from spool/trace");
	remove_files(dirfd);
	return try_open();
}

void
index_close(struct index_db *x)
{
	if (x == NULL)
		return;
	if (x->now != NULL)
		(void)x->now->close(x->now, 0);
	if (x->position != NULL)
		(void)x->position->close(x->position, 0);
	(void)x->env->close(x->env, 0);
	free(x);
}

bool
index_checkpoint(struct index_db *x)
{
	return x->env->txn_checkpoint(x->env, 0, 0, 0) == 0;
}

bool
index_forget(struct index_db *x, uint64_t seq)
{
	char name[40];
	int error;

	if (x->now != NULL && x->now_seq == seq) {
		(void)x->now->close(x->now, 0);
		x->now = NULL;
	}
	db_name(seq, name, sizeof(name));
	if (access(name, F_OK) != 0)
		return true;
	error = x->env->dbremove(x->env, NULL, name, NULL, DB_AUTO_COMMIT);
	return error == 0;
}

/* The database of this segment; *missing if there is none (and create is not set). */
static DB *
use(struct index_db *x, uint64_t seq, bool create, bool *missing)
{
	char name[40];

	*missing = false;
	if (x->now != NULL && x->now_seq == seq)
		return x->now;
	if (x->now != NULL)
		(void)x->now->close(x->now, 0);
	x->now = NULL;
	db_name(seq, name, sizeof(name));
	if (!create && access(name, F_OK) != 0) {
		*missing = true;
		return NULL;
	}
	x->now = open_db(x, name, create);
	x->now_seq = seq;
	return x->now;
}

/* ---- filling ---- */

static bool
put(DB *db, DB_TXN *txn, char kind, struct slice text, uint64_t value)
{
	char raw[KEY_MAX_OCTETS + 1];
	unsigned char to[8];
	DBT key = { .data = raw }, data = { .data = to, .size = sizeof(to) };
	int error;

	if (text.len == 0 || text.len > KEY_MAX_OCTETS)
		return true;
	raw[0] = kind;
	memcpy(raw + 1, text.ptr, text.len);
	key.size = (u_int32_t)text.len + 1;
	big_endian(value, to);
	error = db->put(db, txn, &key, &data, DB_NODUPDATA);
	return error == 0 || error == DB_KEYEXIST;
}

static bool
put_qid(DB *db, DB_TXN *txn, uint64_t qid, uint64_t offset)
{
	unsigned char raw[8];

	big_endian(qid, raw);
	return put(db, txn, 'q', slice_make(raw, sizeof(raw)), offset);
}

static bool
put_address(DB *db, DB_TXN *txn, struct slice address, uint64_t qid)
{
	char lower[KEY_MAX_OCTETS];

	return put(db, txn, 'a', index_address(address, lower, sizeof(lower)), qid);
}

static bool
put_message(DB *db, DB_TXN *txn, const struct record_message *r, uint64_t offset)
{
	struct slice list = r->rcpts;
	struct record_rcpt rcpt;
	bool bad = false, ok;

	ok = put_qid(db, txn, r->qid, offset) &&
	    (r->parent == 0 || put_qid(db, txn, r->parent, offset)) &&
	    put(db, txn, 'm', index_message_id(r->message_id), r->qid) &&
	    put_address(db, txn, r->sender, r->qid);
	while (ok && record_next_rcpt(&list, &rcpt, &bad))
		ok = put_address(db, txn, rcpt.addr, r->qid);
	return ok;
}

static bool
put_results(DB *db, DB_TXN *txn, const struct record_results *r, uint64_t offset)
{
	struct slice list = r->results;
	struct record_result one;
	struct record_target target;
	bool bad = false, ok = put_qid(db, txn, r->qid, offset);

	while (ok && record_next_result(&list, &one, &bad))
		while (ok && record_next_target(&one.targets, &target, &bad))
			ok = put_address(db, txn, target.addr, r->qid);
	return ok;
}

static bool
put_record(DB *db, DB_TXN *txn, const struct scan_item *item)
{
	struct record_message message;
	struct record_results results;
	struct record_action action;
	struct record_cancel cancel;
	uint64_t qid;
	bool ok = true;

	switch (item->head.type) {
	case RECORD_TYPE_message:
		return !record_get_message(item->body, &message) || put_message(db, txn, &message, item->offset);
	case RECORD_TYPE_results:
		return !record_get_results(item->body, &results) || put_results(db, txn, &results, item->offset);
	case RECORD_TYPE_action:
		return !record_get_action(item->body, &action) || put_qid(db, txn, action.qid, item->offset);
	case RECORD_TYPE_cancel:
		if (!record_get_cancel(item->body, &cancel))
			return true;
		while (ok && record_next_u64(&cancel.qids, &qid))
			ok = put_qid(db, txn, qid, item->offset);
		return ok;
	default:
		return true;
	}
}

static bool
put_position(struct index_db *x, DB_TXN *txn, uint64_t seq, uint64_t offset)
{
	char name[] = "position";
	unsigned char raw[16];
	DBT key = { .data = name, .size = sizeof(name) - 1 }, data = { .data = raw, .size = sizeof(raw) };

	big_endian(seq, raw);
	big_endian(offset, raw + 8);
	return x->position->put(x->position, txn, &key, &data, 0) == 0;
}

/* Some records of one segment, in one transaction; *end at its end. */
static bool
fill(struct index_db *x, DB *db, struct scan *scan, uint64_t seq, bool *end)
{
	DB_TXN *txn = NULL;
	struct scan_item item;
	bool ok = x->env->txn_begin(x->env, NULL, &txn, DB_TXN_NOSYNC) == 0;

	*end = false;
	if (!ok)
		return false;
	for (unsigned n = 0; ok && n < STEP_RECORDS && !*end; n++) {
		enum scan_found found = scan_next(scan, &item);

		if (found == SCAN_RECORD)
			ok = put_record(db, txn, &item);
		*end = found == SCAN_END || found == SCAN_NO_MEMORY;
	}
	ok = ok && put_position(x, txn, seq, scan->offset);
	if (!ok) {
		(void)txn->abort(txn);
		return false;
	}
	if (txn->commit(txn, 0) != 0)
		return false;
	x->seq = seq;
	x->offset = scan->offset;
	return true;
}

/* ---- which segment is next ---- */

struct choice {
	uint64_t	from;		/* the first with at least this number */
	uint64_t	seq, salt;
	bool		found, younger;	/* younger: there is one behind it */
};

static bool
choose(void *ctx, uint64_t seq, uint64_t salt)
{
	struct choice *c = ctx;

	if (c->found) {
		c->younger = true;
		return false;
	}
	if (seq >= c->from) {
		c->found = true;
		c->seq = seq;
		c->salt = salt;
	}
	return true;
}

bool
index_step(struct index_db *x, int trace_dirfd, uint64_t size, bool *more)
{
	struct choice c = { .from = x->seq };
	struct scan_file file;
	struct scan scan;
	char name[SEGMENT_NAME];
	bool ok, end = true, missing;
	DB *db;
	int fd;

	*more = false;
	if (!distil_each(trace_dirfd, choose, &c) || !c.found)
		return true;
	segment_name(c.seq, c.salt, name);
	fd = openat(trace_dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1 || !scan_file_open(&file, fd)) {
		if (fd != -1)
			(void)close(fd);
		return true;
	}
	if (!c.younger && file.source.size > size)
		file.source.size = size;
	scan_begin(&scan, &file.source, c.salt, false);
	if (c.seq == x->seq && x->offset > scan.offset)
		scan.offset = x->offset;
	db = scan.offset >= file.source.size && !c.younger ? NULL : use(x, c.seq, true, &missing);
	ok = db != NULL || scan.offset >= file.source.size;
	if (db != NULL)
		ok = fill(x, db, &scan, c.seq, &end);
	if (ok && end && c.younger) {
		x->seq = c.seq + 1;
		x->offset = 0;
		*more = true;
	} else if (ok) {
		*more = !end;
	}
	scan_file_close(&file);
	(void)close(fd);
	return ok;
}

/* ---- finding ---- */

bool
index_find(struct index_db *x, uint64_t seq, char kind, struct slice text, uint64_t *out, size_t max, size_t *n)
{
	char raw[KEY_MAX_OCTETS + 1];
	unsigned char value[8];
	DBT key = { .data = raw }, data = { .data = value, .ulen = sizeof(value), .flags = DB_DBT_USERMEM };
	DBC *cursor = NULL;
	bool missing;
	DB *db = use(x, seq, false, &missing);
	int error;

	*n = 0;
	if (db == NULL || text.len == 0 || text.len > KEY_MAX_OCTETS)
		return missing || text.len == 0 || text.len > KEY_MAX_OCTETS;
	raw[0] = kind;
	memcpy(raw + 1, text.ptr, text.len);
	key.size = (u_int32_t)text.len + 1;
	if (db->cursor(db, NULL, &cursor, 0) != 0)
		return false;
	for (error = cursor->get(cursor, &key, &data, DB_SET); error == 0 && *n < max;
	    error = cursor->get(cursor, &key, &data, DB_NEXT_DUP))
		if (data.size == sizeof(value))
			out[(*n)++] = from_big_endian(value);
	(void)cursor->close(cursor);
	return error == 0 || error == DB_NOTFOUND;
}
