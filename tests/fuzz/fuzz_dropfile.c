/* The header of a drop file: what parses prints again to the same octets. */
#include <stdint.h>
#include <stdlib.h>

#include "dropfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_make(data, size);
	struct dropfile_lines lines = { '\n' };
	struct dropfile d;
	struct buf out;

	(void)(dropfile_lines_feed(&lines, in) && dropfile_lines_end(&lines));
	if (size >= DROPFILE_PREFIX)
		(void)dropfile_prefix((const char *)data);
	if (!dropfile_parse(in, &d))
		return 0;
	buf_init(&out, size + DROPFILE_PREFIX);
	if (!dropfile_print(&d, &out) ||
	    !slice_eq(slice_sub(buf_slice_of(&out), DROPFILE_PREFIX, out.len), in))
		abort();
	buf_clear(&out);
	return 0;
}
