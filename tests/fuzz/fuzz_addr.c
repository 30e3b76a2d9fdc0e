/* Addresses: what parses is whole, and its canonical form parses again to itself. */
#include <stdint.h>
#include <stdlib.h>

#include "addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct addr a, c, again, base;
	struct slice detail;

	if (!addr_parse(slice_make(data, size), &a))
		return 0;
	if (!slice_eq(addr_text(&a), slice_make(data, size)) || a.text[a.local_len] != '@')
		abort();
	addr_canonical(&a, &c);
	if (!addr_parse(addr_text(&c), &again) || !addr_same(&a, &again))
		abort();
	if (addr_detail(&c, &base, &detail) && !addr_parse(addr_text(&base), &again))
		abort();
	return 0;
}
