#include "buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){ .cap = cap };
}

void
buf_clear(struct buf *b)
{
	free(b->ptr);
	buf_init(b, b->cap);
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	b->full = false;
}

char *
buf_room(struct buf *b, size_t len)
{
	size_t want, size;
	char *ptr;

	if (b->full || len > b->cap || b->len > b->cap - len) {
		b->full = true;
		return NULL;
	}
	want = b->len + len;
	if (want > b->size || b->ptr == NULL) {
		size = b->size < 64 ? 64 : b->size;
		while (size < want)
			size = size > b->cap / 2 ? b->cap : size * 2;
		ptr = realloc(b->ptr, size);
		if (ptr == NULL) {
			b->full = true;
			return NULL;
		}
		b->ptr = ptr;
		b->size = size;
	}
	return b->ptr + b->len;
}

void
buf_add(struct buf *b, size_t len)
{
	b->len += len;
}

bool
buf_put(struct buf *b, const void *ptr, size_t len)
{
	char *to;

	if (len == 0)
		return !b->full;
	to = buf_room(b, len);
	if (to == NULL)
		return false;
	memcpy(to, ptr, len);
	b->len += len;
	return true;
}

bool
buf_slice(struct buf *b, struct slice s)
{
	return buf_put(b, s.ptr, s.len);
}

bool
buf_text(struct buf *b, const char *text)
{
	return buf_put(b, text, strlen(text));
}

bool
buf_char(struct buf *b, char c)
{
	return buf_put(b, &c, 1);
}

bool
buf_vfmt(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	char *to;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->full = true;
		return false;
	}
	/* vsnprintf wants room for its NUL; a cap counts octets without it. */
	to = malloc((size_t)n + 1);
	if (to == NULL) {
		b->full = true;
		return false;
	}
	(void)vsnprintf(to, (size_t)n + 1, fmt, ap);
	(void)buf_put(b, to, (size_t)n);
	free(to);
	return !b->full;
}

bool
buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	bool ok;

	va_start(ap, fmt);
	ok = buf_vfmt(b, fmt, ap);
	va_end(ap);
	return ok;
}

void
buf_skip(struct buf *b, size_t len)
{
	if (len >= b->len) {
		b->len = 0;
		return;
	}
	memmove(b->ptr, b->ptr + len, b->len - len);
	b->len -= len;
}

struct slice
buf_slice_of(const struct buf *b)
{
	return (struct slice){ b->ptr, b->len };
}

const char *
buf_cstr(struct buf *b)
{
	char *ptr;

	if (b->full)
		return "";
	if (b->len == b->size) {
		ptr = realloc(b->ptr, b->size + 1);
		if (ptr == NULL) {
			b->full = true;
			return "";
		}
		b->ptr = ptr;
		b->size++;
	}
	b->ptr[b->len] = '\0';
	return b->ptr;
}
