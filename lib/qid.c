#include "qid.h"

static const char digits[] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

char *
qid_print(struct qid q, char out[QID_TEXT])
{
	uint64_t n = q.n;

	out[QID_DIGITS] = '\0';
	for (int i = QID_DIGITS - 1; i >= 0; i--) {
		out[i] = digits[n % 62];
		n /= 62;
	}
	return out;
}

static int
digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 36;
	return -1;
}

bool
qid_parse(struct slice text, struct qid *out)
{
	uint64_t n = 0;

	if (text.len != QID_DIGITS)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		int d = digit_value(text.ptr[i]);

		if (d < 0 || n > (UINT64_MAX - (uint64_t)d) / 62)
			return false;
		n = n * 62 + (uint64_t)d;
	}
	out->n = n;
	return n != 0;
}

int64_t
qid_time(struct qid q)
{
	return (int64_t)(q.n / QID_PER_USEC / 1000000);
}
