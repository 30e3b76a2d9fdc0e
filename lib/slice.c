#include "slice.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct slice
slice_of(const char *text)
{
	return (struct slice){ text, text == NULL ? 0 : strlen(text) };
}

struct slice
slice_make(const void *ptr, size_t len)
{
	return (struct slice){ ptr, len };
}

bool
slice_eq(struct slice s, struct slice other)
{
	return s.len == other.len &&
	    (s.len == 0 || memcmp(s.ptr, other.ptr, s.len) == 0);
}

bool
slice_is(struct slice s, const char *text)
{
	return slice_eq(s, slice_of(text));
}

bool
slice_ieq(struct slice s, const char *text)
{
	return s.len == strlen(text) &&
	    (s.len == 0 || strncasecmp(s.ptr, text, s.len) == 0);
}

bool
slice_prefix(struct slice *s, const char *prefix)
{
	size_t n = strlen(prefix);

	if (s->len < n || (n > 0 && memcmp(s->ptr, prefix, n) != 0))
		return false;
	*s = slice_sub(*s, n, s->len);
	return true;
}

bool
slice_iprefix(struct slice *s, const char *prefix)
{
	size_t n = strlen(prefix);

	if (s->len < n || (n > 0 && strncasecmp(s->ptr, prefix, n) != 0))
		return false;
	*s = slice_sub(*s, n, s->len);
	return true;
}

size_t
slice_find(struct slice s, char c)
{
	const char *p = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);

	return p == NULL ? s.len : (size_t)(p - s.ptr);
}

size_t
slice_rfind(struct slice s, char c)
{
	const char *p = s.len == 0 ? NULL : memrchr(s.ptr, c, s.len);

	return p == NULL ? s.len : (size_t)(p - s.ptr);
}

struct slice
slice_cut(struct slice *s, char c)
{
	size_t at = slice_find(*s, c);
	struct slice head = slice_sub(*s, 0, at);

	*s = slice_sub(*s, at + 1, s->len);
	return head;
}

struct slice
slice_sub(struct slice s, size_t from, size_t len)
{
	if (from >= s.len)
		return (struct slice){ s.ptr == NULL ? NULL : s.ptr + s.len, 0 };
	if (len > s.len - from)
		len = s.len - from;
	return (struct slice){ s.ptr + from, len };
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice
slice_trim(struct slice s)
{
	while (s.len > 0 && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

bool
slice_number(struct slice s, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint64_t digit;

		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
		digit = (uint64_t)(s.ptr[i] - '0');
		if (digit > max || n > (max - digit) / 10)
			return false;
		n = n * 10 + digit;
	}
	*out = n;
	return true;
}

bool
slice_text(struct slice s, char *out, size_t size)
{
	if (size == 0)
		return false;
	out[0] = '\0';
	if (s.len >= size || slice_find(s, '\0') != s.len)
		return false;
	if (s.len > 0)
		memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
	return true;
}

char *
slice_dup(struct slice s)
{
	char *copy;

	if (s.len == SIZE_MAX || slice_find(s, '\0') != s.len)
		return NULL;
	copy = malloc(s.len + 1);
	if (copy != NULL)
		(void)slice_text(s, copy, s.len + 1);
	return copy;
}
