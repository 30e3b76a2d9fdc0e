#include "cdb_check.h"

#include <cdb.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEADER 2048	/* octets: 256 tables, position and slots of each */

bool
cdb_stat(int fd, struct stat *st)
{
#if defined(SYS_fstat) && defined(__LP64__)	/* where the kernel's struct is the one of <sys/stat.h> */
	return syscall(SYS_fstat, fd, st) == 0;
#else
	return fstat(fd, st) == 0;
#endif
}

bool
cdb_check(int fd)
{
	unsigned char header[HEADER];
	struct stat st;
	uint64_t size, end = HEADER;

	if (!cdb_stat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size < HEADER || st.st_size > (off_t)UINT32_MAX)
		return false;
	if (pread(fd, header, sizeof(header), 0) != (ssize_t)sizeof(header))
		return false;
	size = (uint64_t)st.st_size;
	for (size_t i = 0; i < HEADER; i += 8) {
		uint64_t at = cdb_unpack(header + i), slots = cdb_unpack(header + i + 4);

		if (at < HEADER || at > size || slots > (size - at) / 8)
			return false;
		if (at + slots * 8 > end)
			end = at + slots * 8;
	}
	return end == size;
}

bool
cdb_check_size(int fd, const struct stat *st)
{
	struct stat now;

	return cdb_stat(fd, &now) && now.st_size == st->st_size;
}
