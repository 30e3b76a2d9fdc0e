#include "maildir.h"

#include <inttypes.h>
#include <string.h>

#include "store.h"

static const struct {
	uint8_t	flag;
	char	letter;
} flag_letters[] = {
	{ STORE_DRAFT, 'D' }, { STORE_FLAGGED, 'F' }, { STORE_PASSED, 'P' },
	{ STORE_ANSWERED, 'R' }, { STORE_SEEN, 'S' }, { STORE_DELETED, 'T' },
};

static bool
parse_letters(struct slice letters, struct maildir_name *out)
{
	char last = 0;
	bool canonical = true;

	for (size_t i = 0; i < letters.len; i++) {
		char c = letters.ptr[i];

		if (c >= 'A' && c <= 'Z')
			out->upper |= 1u << (c - 'A');
		else if (c >= 'a' && c <= 'z')
			out->lower |= 1u << (c - 'a');
		else
			canonical = false;
		if (c <= last)
			canonical = false;
		last = c;
	}
	return canonical;
}

bool
maildir_parse(struct slice file, struct maildir_name *out)
{
	struct slice info = file;

	*out = (struct maildir_name){ 0 };
	if (file.len == 0 || file.ptr[0] == '.' || file.len > MAILDIR_NAME_MAX)
		return false;
	out->base = slice_cut(&info, ':');
	if (out->base.len == file.len)
		return true;
	if (slice_prefix(&info, "2,"))
		out->canonical = parse_letters(info, out);
	return out->base.len > 0;
}

static char *
print_letters(char *p, char first, uint32_t bits)
{
	for (unsigned i = 0; i < 26; i++) {
		if ((bits & (1u << i)) != 0)
			*p++ = (char)(first + (int)i);
	}
	return p;
}

bool
maildir_print(struct slice base, uint32_t upper, uint32_t lower, char out[MAILDIR_NAME_MAX + 1])
{
	size_t letters = (size_t)__builtin_popcount(upper) + (size_t)__builtin_popcount(lower);
	char *p = out;

	if (base.len + 3 + letters > MAILDIR_NAME_MAX)
		return false;
	memcpy(p, base.ptr, base.len);
	p += base.len;
	memcpy(p, ":2,", 3);
	p = print_letters(p + 3, 'A', upper);
	p = print_letters(p, 'a', lower);
	*p = '\0';
	return true;
}

uint8_t
maildir_flags(uint32_t upper)
{
	uint8_t flags = 0;

	for (size_t i = 0; i < LEN(flag_letters); i++) {
		if ((upper & (1u << (flag_letters[i].letter - 'A'))) != 0)
			flags |= flag_letters[i].flag;
	}
	return flags;
}

uint32_t
maildir_letters(uint8_t flags, uint32_t keep)
{
	uint32_t upper = keep;

	for (size_t i = 0; i < LEN(flag_letters); i++) {
		uint32_t bit = 1u << (flag_letters[i].letter - 'A');

		upper &= ~bit;
		if ((flags & flag_letters[i].flag) != 0)
			upper |= bit;
	}
	return upper;
}

bool
maildir_size(struct slice base, char which, uint64_t *out)
{
	(void)slice_cut(&base, ',');
	while (base.len > 0) {
		struct slice field = slice_cut(&base, ',');

		if (field.len > 2 && field.ptr[0] == which && field.ptr[1] == '=')
			return slice_number(slice_sub(field, 2, field.len), INT64_MAX, out);
	}
	return false;
}

bool
maildir_queue_id(struct slice base, struct qid *qid, uint32_t *rcpt)
{
	uint64_t n;

	(void)slice_cut(&base, '.');
	if (!slice_prefix(&base, "Q") || !qid_parse(slice_sub(base, 0, QID_DIGITS), qid))
		return false;
	base = slice_sub(base, QID_DIGITS, base.len);
	if (!slice_prefix(&base, "R") || !slice_number(slice_cut(&base, '.'), UINT32_MAX, &n))
		return false;
	*rcpt = (uint32_t)n;
	return true;
}

/* '/' and ':' as maildir(5) wants, ',' because fields follow; and no more than fits. */
static void
put_host(struct buf *out, const char *host)
{
	for (size_t i = 0; host[i] != '\0' && i < 64; i++) {
		unsigned char c = (unsigned char)host[i];

		if (c == '/' || c == ':' || c == ',' || c == '\\')
			(void)buf_fmt(out, "\\%03o", c);
		else if (c > ' ' && c < 0x7f)
			(void)buf_char(out, (char)c);
	}
}

void
maildir_queue_name(struct buf *out, struct qid qid, uint32_t rcpt, const char *host)
{
	char text[QID_TEXT];

	(void)buf_fmt(out, "%" PRId64 ".Q%sR%" PRIu32 ".", qid_time(qid), qid_print(qid, text), rcpt);
	put_host(out, host);
}

void
maildir_unique_name(struct buf *out, uint64_t usec, uint32_t pid, uint32_t n, const char *host)
{
	(void)buf_fmt(out, "%" PRIu64 ".M%06uP%" PRIu32 "Q%" PRIu32 ".", usec / 1000000,
	    (unsigned)(usec % 1000000), pid, n);
	put_host(out, host);
}

void
maildir_sizes(struct buf *out, uint64_t size, uint64_t crlf_size)
{
	(void)buf_fmt(out, ",S=%" PRIu64 ",W=%" PRIu64, size, crlf_size);
}
