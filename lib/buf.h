/*
 * buf: owned bytes that grow up to a cap.
 *
 * When the cap is reached or memory is short, `full` is set, nothing is
 * appended any more, and what is there stays: ten appends need one test.
 */
#ifndef PP_BUF_H
#define PP_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice.h"

struct buf {
	char	*ptr;	/* owned; NULL while empty */
	size_t	 len;	/* octets used */
	size_t	 size;	/* octets allocated */
	size_t	 cap;	/* most octets it may ever hold */
	bool	 full;	/* an append was refused */
};

void buf_init(struct buf *b, size_t cap);
void buf_clear(struct buf *b);			/* frees the memory; cap stays */
void buf_reset(struct buf *b);			/* empty and not full; keeps the memory */

/* Append.  All return !b->full. */
bool buf_put(struct buf *b, const void *ptr, size_t len);
bool buf_slice(struct buf *b, struct slice s);
bool buf_text(struct buf *b, const char *text);
bool buf_char(struct buf *b, char c);
bool buf_fmt(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool buf_vfmt(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* Room for len octets at the end, to be filled by the caller and then taken
 * with buf_add(); NULL (and full) if there is none. */
char *buf_room(struct buf *b, size_t len);
void buf_add(struct buf *b, size_t len);

/* Drop len octets at the front (moves the rest down). */
void buf_skip(struct buf *b, size_t len);

/* What is in it; good until the next append. */
struct slice buf_slice_of(const struct buf *b);

/* As a C string: a NUL is kept behind the last octet.  "" when empty or full. */
const char *buf_cstr(struct buf *b);

#endif
