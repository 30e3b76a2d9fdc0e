/* annotations.c: what clients note about a folder, or about the whole Maildir (RFC 5464),
 * and with it a folder's special use.
 *
 * A file in the folder's directory, so that it goes along with a rename and is gone with
 * the folder: for each entry a line "name octets", the value, and a line end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "store_int.h"

#define FILE_FOLDER	"pennypost-annotations"
#define FILE_SERVER	"pennypost-annotations-server"
#define FILE_OCTETS	(STORE_ANNOTATIONS * (STORE_ANNOTATION_MAX + STORE_ENTRY_MAX + 32))

/* The folder's directory (of no folder: the Maildir itself) and the file's name there. */
static enum store_error
open_place(struct store *s, struct slice folder, int *dir, const char **file)
{
	char canonical[STORE_NAME_MAX + 1], dir_name[STORE_NAME_MAX + 2] = ".";

	*file = folder.len == 0 ? FILE_SERVER : FILE_FOLDER;
	if (folder.len > 0) {
		if (!store_name_check(folder, false, canonical))
			return STORE_NAME;
		store_dir_name(canonical, dir_name);
	}
	*dir = store_open_dir(s->dir, dir_name, false);
	return *dir < 0 ? store_from_errno(errno) : STORE_OK;
}

bool
store_annotation_next(struct slice *text, struct store_annotation *out)
{
	struct slice line = slice_cut(text, '\n');
	uint64_t octets;

	out->entry = slice_cut(&line, ' ');
	if (out->entry.len == 0 || !slice_number(line, STORE_ANNOTATION_MAX, &octets) || octets >= text->len) {
		*text = (struct slice){ 0 };
		return false;
	}
	out->value = slice_sub(*text, 0, (size_t)octets);
	*text = slice_sub(*text, (size_t)octets + 1, text->len);
	return true;
}

static enum store_error
read_file(int dir, const char *file, struct buf *out)
{
	enum store_error error = store_read_file(dir, file, FILE_OCTETS, out);

	return error == STORE_NONEXISTENT ? STORE_OK : error;
}

enum store_error
store_annotations(struct store *s, struct slice folder, struct buf *out)
{
	const char *file;
	enum store_error error;
	int dir;

	error = open_place(s, folder, &dir, &file);
	if (error != STORE_OK)
		return store_done(s, error);
	error = store_done(s, read_file(dir, file, out));
	(void)close(dir);
	return error;
}

bool
store_entry_valid(struct slice entry)
{
	if (entry.len == 0 || entry.len > STORE_ENTRY_MAX || entry.ptr[0] != '/' || entry.ptr[entry.len - 1] == '/')
		return false;
	for (size_t i = 0; i < entry.len; i++) {
		char c = entry.ptr[i];

		if (c <= 0x20 || c >= 0x7f || c == '*' || c == '%' || (c == '/' && i > 0 && entry.ptr[i - 1] == '/'))
			return false;
	}
	return true;
}

static bool
same_entry(struct slice a, struct slice b)
{
	return a.len == b.len && strncasecmp(a.ptr, b.ptr, a.len) == 0;
}

static void
put_entry(struct buf *out, const struct store_annotation *a)
{
	(void)buf_fmt(out, "%.*s %zu\n", (int)a->entry.len, a->entry.ptr, a->value.len);
	(void)buf_slice(out, a->value);
	(void)buf_char(out, '\n');
}

/* What was there and is not set again, then what is set. */
static enum store_error
merge(struct slice old, const struct store_annotation *set, size_t n, struct buf *out)
{
	struct store_annotation a;
	size_t count = 0;

	while (store_annotation_next(&old, &a)) {
		bool again = false;

		for (size_t i = 0; i < n; i++)
			again = again || same_entry(a.entry, set[i].entry);
		if (!again) {
			put_entry(out, &a);
			count++;
		}
	}
	for (size_t i = 0; i < n; i++) {
		bool later = false;

		for (size_t k = i + 1; k < n; k++)
			later = later || same_entry(set[i].entry, set[k].entry);
		if (set[i].value.ptr != NULL && !later) {
			put_entry(out, &set[i]);
			count++;
		}
	}
	if (out->full)
		return STORE_MEMORY;
	return count > STORE_ANNOTATIONS ? STORE_LIMIT : STORE_OK;
}

static enum store_error
annotate_locked(struct store *s, int dir, const char *file, const struct store_annotation *set, size_t n)
{
	enum store_error error;
	struct buf old, fresh;

	buf_init(&old, FILE_OCTETS + 4096);
	buf_init(&fresh, 2 * FILE_OCTETS);
	error = read_file(dir, file, &old);
	if (error == STORE_OK)
		error = merge(buf_slice_of(&old), set, n, &fresh);
	if (error == STORE_OK && fresh.len > 0)
		error = store_write_file(s, dir, file, buf_slice_of(&fresh));
	else if (error == STORE_OK && old.len > 0 && (unlinkat(dir, file, 0) != 0 || fsync(dir) != 0))
		error = store_from_errno(errno);
	buf_clear(&old);
	buf_clear(&fresh);
	return error;
}

enum store_error
store_annotate(struct store *s, struct slice folder, const struct store_annotation *set, size_t n)
{
	const char *file;
	enum store_error error;
	int dir, lock;

	for (size_t i = 0; i < n; i++)
		if (!store_entry_valid(set[i].entry) || set[i].value.len > STORE_ANNOTATION_MAX)
			return STORE_LIMIT;
	error = open_place(s, folder, &dir, &file);
	if (error != STORE_OK)
		return store_done(s, error);
	error = store_uidvalidity_lock(s, &lock);
	if (error == STORE_OK) {
		error = annotate_locked(s, dir, file, set, n);
		(void)close(lock);
	}
	error = store_done(s, error);
	(void)close(dir);
	return error;
}

/* ---- special use ---- */

static const char *const uses[] = {
	[STORE_SENT] = "\\Sent", [STORE_DRAFTS] = "\\Drafts", [STORE_TRASH] = "\\Trash",
	[STORE_JUNK] = "\\Junk", [STORE_ARCHIVE] = "\\Archive",
};

const char *
store_special_name(enum store_special special)
{
	return special == STORE_SPECIAL_NONE ? NULL : uses[special];
}

enum store_special
store_special_parse(struct slice text)
{
	for (size_t i = STORE_SENT; i < LEN(uses); i++)
		if (slice_ieq(text, uses[i]))
			return (enum store_special)i;
	return STORE_SPECIAL_NONE;
}

enum store_special
annotations_special(struct store *s, const char *folder)
{
	enum store_special special = STORE_SPECIAL_NONE;
	struct store_annotation a;
	struct slice rest;
	struct buf text;

	buf_init(&text, FILE_OCTETS + 4096);
	if (store_annotations(s, slice_of(folder), &text) == STORE_OK) {
		rest = buf_slice_of(&text);
		while (store_annotation_next(&rest, &a))
			if (slice_ieq(a.entry, STORE_ENTRY_SPECIAL))
				special = store_special_parse(a.value);
	}
	buf_clear(&text);
	return special;
}

enum store_error
store_set_special(struct store *s, struct slice folder, enum store_special special)
{
	const struct store_annotation a = {
		.entry = SLICE(STORE_ENTRY_SPECIAL),
		.value = special == STORE_SPECIAL_NONE ? (struct slice){ 0 } : slice_of(uses[special]),
	};

	return store_annotate(s, folder, &a, 1);
}
