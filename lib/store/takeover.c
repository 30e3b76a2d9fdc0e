/*
 * takeover.c: a folder that Dovecot or Courier kept gets an index with the UIDs,
 * UIDVALIDITY and POP3 UIDLs that its clients know.  Once: a list that lies about
 * from before must not give its UIDs again when our own index is lost.
 */
#include "takeover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_int.h"
#include "uidlist_int.h"

#define LIST_OCTETS	(256u * 1024 * 1024)
#define DOVECOT_LIST	"dovecot-uidlist"
#define COURIER_LIST	"courierimapuiddb"
#define COURIER_POP3	"courierpop3dsizelist"
#define COURIER_KEYWORDS "courierimapkeywords"
#define DOVECOT_KEYWORDS "dovecot-keywords"

static enum store_error
read_list(int dir, const char *name, struct buf *out)
{
	buf_init(out, LIST_OCTETS + 4096);
	return store_read_file(dir, name, LIST_OCTETS, out);
}

/* The list of the folder, if there is one that can be read. */
static bool
load(int dir, struct buf *text, struct buf *pop3, struct buf *uidls, struct takeover *t, enum store_origin *origin)
{
	bool found;

	buf_init(pop3, 0);
	buf_init(uidls, 0);
	*origin = STORE_FROM_DOVECOT;
	found = read_list(dir, DOVECOT_LIST, text) == STORE_OK && takeover_parse_uids(buf_slice_of(text), t);
	if (found)
		return true;
	buf_clear(text);
	*origin = STORE_FROM_COURIER;
	found = read_list(dir, COURIER_LIST, text) == STORE_OK && takeover_parse_uids(buf_slice_of(text), t);
	if (found && read_list(dir, COURIER_POP3, pop3) == STORE_OK)
		takeover_parse_pop3(buf_slice_of(pop3), t, uidls);
	if (!found)
		*origin = STORE_FROM_NOBODY;
	return found;
}

static void
put_records(struct uidlist *u, const struct takeover *t, struct buf *out)
{
	u->modseq = 1;
	u->uidnext = t->uidnext;
	for (size_t i = 0; i < t->n; i++) {
		const struct takeover_entry *e = &t->at[i];
		uint64_t size = e->size, crlf = e->crlf_size;

		if (size == 0)
			(void)maildir_size(e->base, 'S', &size);
		if (crlf == 0)
			(void)maildir_size(e->base, 'W', &crlf);
		uidlist_put_record(u, out, &(struct uidlist_record){
		    .type = UIDLIST_ADD, .uid = e->uid, .name = e->base, .when = NO_DATE, .size = size, .crlf_size = crlf,
		    .upper = UIDLIST_ODD, .modseq = 1 });
		if (e->uidl.ptr != NULL)
			uidlist_put_record(u, out, &(struct uidlist_record){
			    .type = UIDLIST_UIDL, .uid = e->uid, .past = e->uidl, .modseq = 1 });
	}
	/* None of them is new to anybody. */
	uidlist_put_recent(u, out, t->uidnext);
}

/* ---- keywords of Courier: letters of the names, and the list of what they mean ---- */

struct keyword_file {
	struct slice	base;
	uint32_t	bits;
};
struct keyword_files {
	struct box	*box;
	struct keyword_file *at;
	size_t		 n, cap;
};

static int
by_base(const void *a, const void *b)
{
	const struct keyword_file *x = a, *y = b;
	size_t len = x->base.len < y->base.len ? x->base.len : y->base.len;
	int c = memcmp(x->base.ptr, y->base.ptr, len);

	return c != 0 ? c : (x->base.len > y->base.len) - (x->base.len < y->base.len);
}

static bool
add_letters(void *ctx, const char *file, unsigned char type)
{
	struct keyword_files *k = ctx;
	char to[MAILDIR_NAME_MAX + 1];
	struct keyword_file *hit;
	struct maildir_name name;
	int cur = box_sub(k->box, BOX_CUR);

	if (type == DT_DIR || !maildir_parse(slice_of(file), &name))
		return true;
	hit = bsearch(&(struct keyword_file){ .base = name.base }, k->at, k->n, sizeof(*k->at), by_base);
	if (hit != NULL && (hit->bits & ~name.lower) != 0 && maildir_print(name.base, name.upper, name.lower | hit->bits, to))
		(void)renameat2(cur, file, cur, to, RENAME_NOREPLACE);
	return true;
}

static bool
put_file(struct keyword_files *k, struct slice base, uint32_t bits)
{
	if (k->n == k->cap) {
		size_t cap = k->cap == 0 ? 64 : k->cap * 2;
		struct keyword_file *at = reallocarray(k->at, cap, sizeof(*at));

		if (at == NULL)
			return false;
		k->at = at;
		k->cap = cap;
	}
	k->at[k->n++] = (struct keyword_file){ base, bits };
	return true;
}

/* Best effort: what cannot be taken over is a keyword less, no message. */
static void
take_keywords(struct box *b)
{
	int dir = store_open_dir(b->dir, COURIER_KEYWORDS, false), cur = box_sub(b, BOX_CUR);
	struct keyword_files k = { .box = b };
	struct slice rest, name, base;
	struct buf text, list;
	uint32_t bits;
	int n = 0;

	if (dir < 0)
		return;
	buf_init(&list, 65536);
	if (read_list(dir, ":list", &text) == STORE_OK && faccessat(b->dir, DOVECOT_KEYWORDS, F_OK, 0) != 0) {
		rest = buf_slice_of(&text);
		for (; takeover_keyword_name(&rest, &name); n++) {
			if (n < STORE_KEYWORDS && store_keyword_valid(name))
				(void)buf_fmt(&list, "%d %.*s\n", n, (int)name.len, name.ptr);
		}
		while (takeover_keyword_file(&rest, &base, &bits) && put_file(&k, base, bits))
			;
	}
	if (k.n > 0 && cur >= 0 &&
	    store_write_file(b->store, b->dir, DOVECOT_KEYWORDS, buf_slice_of(&list)) == STORE_OK) {
		qsort(k.at, k.n, sizeof(*k.at), by_base);
		(void)store_read_dir(cur, add_letters, &k);
		(void)fsync(cur);
	}
	free(k.at);
	buf_clear(&text);
	buf_clear(&list);
	(void)close(dir);
}

/* ---- a folder ---- */

/* Marks that it was done, before it can be of effect. */
static enum store_error
mark(struct box *b)
{
	return store_write_file(b->store, b->dir, TAKEN_FILE, SLICE(""));
}

enum store_error
takeover_folder(struct box *b, int lock)
{
	struct uidlist u = { .dir = b->dir, .fd = -1, .recent = 1 };
	struct buf text, pop3, uidls, records;
	enum store_origin origin;
	enum store_error error = STORE_NONEXISTENT;
	struct takeover t;
	struct stat st;

	if (fstatat(b->dir, TAKEN_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return STORE_NONEXISTENT;
	buf_init(&records, 4 * LIST_OCTETS);
	if (load(b->dir, &text, &pop3, &uidls, &t, &origin)) {
		u.uidvalidity = t.uidvalidity;
		uidlist_new_seed(&u);
		put_records(&u, &t, &records);
		error = records.full ? STORE_MEMORY : store_uidvalidity_note(b->store, lock, t.uidvalidity);
		if (error == STORE_OK && origin == STORE_FROM_COURIER)
			take_keywords(b);
		if (error == STORE_OK)
			error = mark(b);
		if (error == STORE_OK)
			error = uidlist_write_new(&u, &records, false);
		if (error == STORE_OK)
			store_say(b->store, "folder %s: took over %zu UIDs of %s, UIDVALIDITY %u", b->name, t.n,
			    origin == STORE_FROM_DOVECOT ? "Dovecot" : "Courier", t.uidvalidity);
		takeover_clear(&t);
	}
	buf_clear(&text);
	buf_clear(&pop3);
	buf_clear(&uidls);
	buf_clear(&records);
	return error;
}

/* ---- what would change ---- */

struct checker {
	const struct takeover *t;
	struct slice	*sorted;	/* their base names */
	uint32_t	 listed, unlisted;
};

static int
by_name(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;
	size_t len = x->len < y->len ? x->len : y->len;
	int c = memcmp(x->ptr, y->ptr, len);

	return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static bool
check_file(void *ctx, const char *file, unsigned char type)
{
	struct checker *c = ctx;
	struct maildir_name name;

	if (type == DT_DIR || type == DT_LNK || !maildir_parse(slice_of(file), &name))
		return true;
	if (bsearch(&name.base, c->sorted, c->t->n, sizeof(*c->sorted), by_name) != NULL)
		c->listed++;
	else
		c->unlisted++;
	return true;
}

static enum store_error
count_files(int dir, struct checker *c)
{
	static const char *const subs[] = { "new", "cur" };
	enum store_error error = STORE_OK;

	c->sorted = reallocarray(NULL, c->t->n + 1, sizeof(*c->sorted));
	if (c->sorted == NULL)
		return STORE_MEMORY;
	for (size_t i = 0; i < c->t->n; i++)
		c->sorted[i] = c->t->at[i].base;
	qsort(c->sorted, c->t->n, sizeof(*c->sorted), by_name);
	for (size_t i = 0; i < LEN(subs) && error == STORE_OK; i++) {
		int sub = store_open_dir(dir, subs[i], false);

		error = sub < 0 ? store_from_errno(errno) : store_read_dir(sub, check_file, c);
		if (sub >= 0)
			(void)close(sub);
	}
	free(c->sorted);
	return error;
}

enum store_error
store_takeover_check(struct store *s, struct slice name, struct store_takeover *out)
{
	char canonical[STORE_NAME_MAX + 1], dir_name[STORE_NAME_MAX + 2];
	struct buf text, pop3, uidls;
	struct takeover t = { 0 };
	enum store_error error;
	struct stat st;
	int dir;

	*out = (struct store_takeover){ 0 };
	if (!store_name_check(name, false, canonical))
		return STORE_NAME;
	store_dir_name(canonical, dir_name);
	dir = store_open_dir(s->dir, dir_name, false);
	if (dir < 0)
		return store_done(s, store_from_errno(errno));
	if (load(dir, &text, &pop3, &uidls, &t, &out->origin)) {
		struct checker c = { .t = &t };

		error = count_files(dir, &c);
		out->uidvalidity = t.uidvalidity;
		out->uidnext = t.uidnext;
		out->listed = c.listed;
		out->unlisted = c.unlisted;
		out->bad = (uint32_t)t.bad;
		for (size_t i = 0; i < t.n; i++)
			out->uidls += t.at[i].uidl.ptr != NULL;
	} else {
		error = STORE_OK;
	}
	out->taken = fstatat(dir, UIDLIST_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0;
	takeover_clear(&t);
	buf_clear(&text);
	buf_clear(&pop3);
	buf_clear(&uidls);
	(void)close(dir);
	return store_done(s, error);
}

/* ---- and back ---- */

enum store_error
store_takeover_back(struct store *s, struct slice name)
{
	struct store_folder *f;
	enum store_error error;
	struct buf text;

	f = store_folder_open(s, name, true, &error);
	if (f == NULL)
		return error;
	buf_init(&text, LIST_OCTETS);
	(void)buf_fmt(&text, "3 V%u N%u\n", f->uidvalidity, store_folder_uidnext(f));
	for (uint32_t seq = 1; seq <= f->n; seq++) {
		struct slice base = view_base(f, &f->msg[seq - 1]), uidl = view_uidl(f, f->msg[seq - 1].pub.uid);

		(void)buf_fmt(&text, "%u ", f->msg[seq - 1].pub.uid);
		if (uidl.ptr != NULL)
			(void)buf_fmt(&text, "P%.*s ", (int)uidl.len, uidl.ptr);
		(void)buf_fmt(&text, ":%.*s\n", (int)base.len, base.ptr);
	}
	error = text.full ? STORE_MEMORY : store_write_file(s, f->box.dir, DOVECOT_LIST, buf_slice_of(&text));
	buf_clear(&text);
	store_folder_close(f);
	return store_done(s, error);
}
