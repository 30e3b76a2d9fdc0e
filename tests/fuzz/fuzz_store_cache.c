/* The cache file: whatever it holds, what is found in it lies within it, and it can be appended to. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32c.h"
#include "store/store_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int dir = -1;
static char path[] = "/dev/shm/pp-fuzz-cache.XXXXXX";

static void
clean_up(void)
{
	(void)unlinkat(dir, CACHE_FILE, 0);
	(void)rmdir(path);
}

/* The input behind a good header; each 64 octets are a record with a right checksum if their first octet is odd. */
static void
write_file(const uint8_t *data, size_t size)
{
	static char file[32 + 65536];
	size_t len = size > 65536 ? 65536 : size;
	const uint32_t uidvalidity = 1;
	int fd = openat(dir, CACHE_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	uint32_t crc;

	memset(file, 0, 32);
	memcpy(file, "PPCACHE\n", 8);
	memcpy(file + 8, &uidvalidity, 4);
	crc = crc32c(0, file, 28);
	memcpy(file + 28, &crc, 4);
	memcpy(file + 32, data, len);
	for (size_t at = 32; at + 64 <= 32 + len; at += 64) {
		if ((file[at] & 1) == 0)
			continue;
		crc = crc32c(0, file + at + 4, 60);
		memcpy(file + at, &crc, 4);
	}
	if (write(fd, file, 32 + len) != (ssize_t)(32 + len))
		abort();
	(void)close(fd);
}

static size_t
read_all(struct box *b, uint32_t uid, bool *found)
{
	struct cache_parts parts;
	size_t sum = 0;

	*found = cache_get(b, uid, &parts);
	for (size_t i = 0; *found && i < STORE_CACHED_KINDS; i++) {
		for (size_t k = 0; k < parts.part[i].len; k++)
			sum += (unsigned char)parts.part[i].ptr[k];
	}
	return sum;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char hostname[] = "h";
	struct store s = { .hostname = hostname };
	struct box b = { .store = &s, .uids.uidvalidity = 1 };
	struct cache_parts parts = { .uid = 7, .part = { SLICE("one"), SLICE("two"), { 0 }, SLICE("") } };
	bool found;

	if (dir < 0) {
		if (mkdtemp(path) == NULL)
			abort();
		dir = open(path, O_RDONLY | O_DIRECTORY);
		(void)atexit(clean_up);
	}
	write_file(data, size);
	b.dir = dir;
	cache_init(&b.cache);
	for (uint32_t uid = 0; uid < 20; uid++)
		(void)read_all(&b, uid, &found);
	cache_put(&b, &parts);
	cache_flush(&b);
	if (read_all(&b, 7, &found) != 'o' + 'n' + 'e' + 't' + 'w' + 'o' || !found)
		abort();
	cache_clear(&b.cache);
	return 0;
}
