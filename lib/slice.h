/*
 * slice: borrowed bytes with a length.  Not NUL-terminated, may hold any octet.
 *
 * A slice never owns what it points to; it is good as long as its source is.
 */
#ifndef PP_SLICE_H
#define PP_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEN(a) (sizeof(a) / sizeof((a)[0]))

struct slice {
	const char	*ptr;
	size_t		 len;
};

/* Of a string literal; of a C string; of memory. */
#define SLICE(lit) ((struct slice){ (lit), sizeof(lit) - 1 })
struct slice slice_of(const char *text);
struct slice slice_make(const void *ptr, size_t len);

/* Comparisons; "i" folds ASCII case only (RFC 5321 section 2.4). */
bool slice_eq(struct slice s, struct slice other);
bool slice_is(struct slice s, const char *text);
bool slice_ieq(struct slice s, const char *text);
bool slice_prefix(struct slice *s, const char *prefix);	/* and skips it */
bool slice_iprefix(struct slice *s, const char *prefix);

/* Is octet c in s?  The first place, or s.len. */
size_t slice_find(struct slice s, char c);
size_t slice_rfind(struct slice s, char c);

/*
 * Take what stands before the first c off the front of *s; *s is left after
 * that c.  Without a c the whole of *s is taken and *s is left empty.
 */
struct slice slice_cut(struct slice *s, char c);

/* From octet from on, at most len octets; clamped to what is there. */
struct slice slice_sub(struct slice s, size_t from, size_t len);

/* Without blanks (space, tab, CR, LF) at both ends. */
struct slice slice_trim(struct slice s);

/* A decimal number without sign; false if empty, not all digits, or above max. */
bool slice_number(struct slice s, uint64_t max, uint64_t *out);

/* Copy as a C string; false (and an empty string) if it holds a NUL or does not fit. */
bool slice_text(struct slice s, char *out, size_t size);

/* malloc'd C string of it, or NULL: no memory, or it holds a NUL. */
char *slice_dup(struct slice s);

#endif
