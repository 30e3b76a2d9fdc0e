/* keywords.c: dovecot-keywords, which letter of a file name is which keyword.
 * Lines of "N name", N from 0 for 'a' to 25 for 'z'. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store_int.h"

#define KEYWORDS_FILE	"dovecot-keywords"
#define KEYWORDS_OCTETS	65536

bool
store_keyword_valid(struct slice name)
{
	if (name.len == 0 || name.len > STORE_KEYWORD_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];

		if (c <= ' ' || c >= 0x7f || memchr("(){%*\"\\]", c, 8) != NULL)
			return false;
	}
	return true;
}

void
keywords_clear(struct keywords *k)
{
	for (size_t i = 0; i < STORE_KEYWORDS; i++)
		free(k->name[i]);
	*k = (struct keywords){ 0 };
}

int
keywords_find(const struct keywords *k, struct slice name)
{
	for (int i = 0; i < STORE_KEYWORDS; i++) {
		if (k->name[i] != NULL && slice_ieq(name, k->name[i]))
			return i;
	}
	return -1;
}

static bool
parse(struct keywords *k, struct slice text)
{
	while (text.len > 0) {
		struct slice line = slice_cut(&text, '\n');
		struct slice number = slice_cut(&line, ' ');
		uint64_t n;

		if (!slice_number(number, STORE_KEYWORDS - 1, &n) || !store_keyword_valid(line) ||
		    k->name[n] != NULL)
			continue;
		k->name[n] = slice_dup(line);
		if (k->name[n] == NULL)
			return false;
	}
	return true;
}

enum store_error
keywords_load(struct keywords *k, int dir, bool *changed)
{
	struct keywords fresh = { 0 };
	enum store_error error;
	struct stat st;
	struct buf text;

	*changed = false;
	if (fstatat(dir, KEYWORDS_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno != ENOENT)
			return store_from_errno(errno);
		*changed = k->ino != 0;
		if (*changed)
			keywords_clear(k);
		return STORE_OK;
	}
	if (st.st_ino == k->ino && st.st_size == k->size && st.st_mtim.tv_sec == k->mtime.tv_sec &&
	    st.st_mtim.tv_nsec == k->mtime.tv_nsec)
		return STORE_OK;
	buf_init(&text, KEYWORDS_OCTETS);
	error = store_read_file(dir, KEYWORDS_FILE, KEYWORDS_OCTETS - 4096, &text);
	if (error == STORE_OK && !parse(&fresh, buf_slice_of(&text)))
		error = STORE_MEMORY;
	buf_clear(&text);
	if (error != STORE_OK) {
		keywords_clear(&fresh);
		return error;
	}
	keywords_clear(k);
	*k = fresh;
	k->ino = st.st_ino;
	k->size = st.st_size;
	k->mtime = st.st_mtim;
	*changed = true;
	return STORE_OK;
}

/* A free letter; one that no name is given to. */
static int
add_name(struct keywords *k, struct slice name)
{
	for (int i = 0; i < STORE_KEYWORDS; i++) {
		if (k->name[i] != NULL)
			continue;
		k->name[i] = slice_dup(name);
		return k->name[i] == NULL ? -1 : i;
	}
	return -1;
}

static enum store_error
save(struct box *b)
{
	struct keywords *k = &b->keywords;
	enum store_error error;
	struct buf text;
	bool changed;

	buf_init(&text, KEYWORDS_OCTETS);
	for (int i = 0; i < STORE_KEYWORDS; i++) {
		if (k->name[i] != NULL)
			(void)buf_fmt(&text, "%d %s\n", i, k->name[i]);
	}
	error = text.full ? STORE_MEMORY : store_write_file(b->store, b->dir, KEYWORDS_FILE, buf_slice_of(&text));
	buf_clear(&text);
	k->ino = 0;		/* what is in the file counts, whether that went well or not */
	if (error == STORE_OK)
		error = keywords_load(k, b->dir, &changed);
	return error;
}

enum store_error
box_keywords(struct box *b, const struct slice *name, size_t n, bool drop, uint32_t *bits)
{
	bool changed, added = false;
	enum store_error error;

	*bits = 0;
	if (n == 0)
		return STORE_OK;
	error = keywords_load(&b->keywords, b->dir, &changed);
	for (size_t i = 0; i < n && error == STORE_OK; i++) {
		int bit = keywords_find(&b->keywords, name[i]);

		if (!store_keyword_valid(name[i]))
			bit = -1;
		else if (bit < 0) {
			bit = add_name(&b->keywords, name[i]);
			added |= bit >= 0;
		}
		if (bit >= 0)
			*bits |= 1u << bit;
		else if (!drop)
			error = STORE_LIMIT;
	}
	if (error != STORE_OK)
		b->keywords.ino = 0;	/* forget names that were not saved: they are read again */
	else if (added)
		error = save(b);
	return error;
}
