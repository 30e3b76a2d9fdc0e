#include <stdio.h>
#include <string.h>

#include "selftest.h"

#define MARK		"X-Selftest: "
#define LINE		70
#define LARGE_EVERY	40	/* one in so many is larger than what travels inline */
#define LARGE_SIZE	100000

uint64_t
selftest_mix(uint64_t a, uint64_t b)
{
	uint64_t x = a ^ (b * UINT64_C(0x9e3779b97f4a7c15));

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t
selftest_next(uint64_t *state)
{
	*state += UINT64_C(0x9e3779b97f4a7c15);
	return selftest_mix(*state, 1);
}

unsigned
message_places(uint64_t seed, uint32_t n, bool by_sendmail)
{
	uint64_t x = selftest_mix(seed, n) >> 8;

	/* SMTP without a login takes mail for our own domain alone. */
	if (by_sendmail && x % 3 == 0)
		return 1u << PLACE_QUEUE;
	if (x % 5 == 1)
		return 1u << 0 | 1u << 1;
	return 1u << (x / 64 % SELFTEST_USERS);
}

void
message_rcpts(unsigned places, bool alias, const char *rcpt[SELFTEST_USERS + 2])
{
	static const char *const user[SELFTEST_USERS] = {
		"u0@" SELFTEST_DOMAIN, "u1@" SELFTEST_DOMAIN, "u2@" SELFTEST_DOMAIN, "u3@" SELFTEST_DOMAIN,
	};
	size_t n = 0;

	if ((places & 1u << PLACE_QUEUE) != 0)
		rcpt[n++] = SELFTEST_AWAY;
	if (alias && (places & 3) == 3) {
		rcpt[n++] = "both@" SELFTEST_DOMAIN;
		places &= ~3u;
	}
	for (size_t i = 0; i < SELFTEST_USERS; i++)
		if ((places & 1u << i) != 0)
			rcpt[n++] = user[i];
	rcpt[n] = NULL;
}

bool
message_content(uint64_t seed, uint32_t n, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz.=";
	uint64_t random = selftest_mix(seed, n), bits = 0;
	size_t size = random % LARGE_EVERY == 0 ? LARGE_SIZE + random / 64 % LARGE_SIZE : 200 + random / 64 % 4000;

	buf_reset(out);
	(void)buf_fmt(out, "From: <s@sender.test>\r\nSubject: message %u of a crash test\r\n" MARK "%llu %u\r\n\r\n",
	    n, (unsigned long long)seed, n);
	for (size_t i = 0; i < size; i++) {
		char line[LINE + 2];
		size_t k;

		for (k = 0; k < LINE && i < size; k++, i++) {
			bits = k % 10 == 0 ? selftest_next(&random) : bits >> 6;
			line[k] = digits[bits % 64];
		}
		line[k++] = '\r';
		line[k++] = '\n';
		(void)buf_put(out, line, k);
	}
	/* What ends in it can be told from what was cut. */
	return buf_text(out, ".dot\r\n--end\r\n");
}

/* The number behind the mark in the header; the header ends with an empty line. */
static bool
find_number(uint64_t seed, struct slice file, uint32_t *n)
{
	while (file.len > 0) {
		struct slice line = slice_trim(slice_cut(&file, '\n')), word;
		uint64_t value;

		if (line.len == 0)
			return false;
		if (!slice_prefix(&line, MARK))
			continue;
		word = slice_cut(&line, ' ');
		if (!slice_number(word, UINT64_MAX, &value) || value != seed ||
		    !slice_number(line, MESSAGES_MAX - 1, &value))
			return false;
		*n = (uint32_t)value;
		return true;
	}
	return false;
}

bool
message_parse(uint64_t seed, struct slice file, uint32_t *n, bool *whole)
{
	struct slice body;
	struct buf content;

	if (!find_number(seed, file, n))
		return false;
	buf_init(&content, 4 * LARGE_SIZE);
	*whole = message_content(seed, *n, &content);
	/* Lines are added to the header on the way; the empty line and the body stay as they were. */
	body = buf_slice_of(&content);
	while (body.len > 4 && memcmp(body.ptr, "\r\n\r\n", 4) != 0)
		body = slice_sub(body, 1, body.len);
	*whole = *whole && file.len > body.len && memcmp(file.ptr + file.len - body.len, body.ptr, body.len) == 0;
	buf_clear(&content);
	return true;
}
