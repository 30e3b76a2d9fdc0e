/*
 * crc32c: the checksum of our record files (Castagnoli, as in RFC 3720
 * appendix B.4): finds torn and damaged records, no protection from a person.
 *
 * start is 0, or the result for what stands before, to go on.
 */
#ifndef PP_CRC32C_H
#define PP_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t start, const void *ptr, size_t len);

#endif
