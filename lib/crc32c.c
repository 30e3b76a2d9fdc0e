#include "crc32c.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u	/* bits reversed */

static uint32_t table[256];
static bool ready;

static void
make_table(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = (c & 1) != 0 ? (c >> 1) ^ POLYNOMIAL : c >> 1;
		table[i] = c;
	}
	ready = true;
}

static uint32_t
by_table(uint32_t c, const unsigned char *p, size_t len)
{
	if (!ready)
		make_table();
	while (len-- > 0)
		c = (c >> 8) ^ table[(c ^ *p++) & 0xff];
	return c;
}

#if defined(__x86_64__)
/* The processor has an instruction for it since 2008. */
__attribute__((target("sse4.2")))
static uint32_t
by_instruction(uint32_t c, const unsigned char *p, size_t len)
{
	uint64_t wide = c;

	for (; len >= 8; p += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	c = (uint32_t)wide;
	while (len-- > 0)
		c = __builtin_ia32_crc32qi(c, *p++);
	return c;
}
#endif

uint32_t
crc32c(uint32_t start, const void *ptr, size_t len)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2"))
		return ~by_instruction(~start, ptr, len);
#endif
	return ~by_table(~start, ptr, len);
}
