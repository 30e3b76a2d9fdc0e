#include "conf_units.h"

#include <string.h>

#include "slice.h"

/* Digits, then at most one of the letters, each standing for its factor. */
static bool
parse_scaled(struct slice s, const char *letters, const uint64_t *factors, bool fold, uint64_t *out)
{
	uint64_t factor = 1, n;

	if (s.len > 1) {
		char last = s.ptr[s.len - 1];
		const char *at = strchr(letters, fold && last >= 'A' && last <= 'Z' ? last - 'A' + 'a' : last);

		if (at != NULL && *at != '\0') {
			factor = factors[at - letters];
			s.len--;
		}
	}
	if (!slice_number(s, UINT64_MAX / factor, &n))
		return false;
	*out = n * factor;
	return true;
}

bool
conf_parse_size(const char *text, uint64_t *octets)
{
	static const uint64_t factors[] = { 1024, 1048576, 1073741824, (uint64_t)1 << 40 };
	struct slice s = slice_of(text);

	if (s.len > 2 && (s.ptr[s.len - 1] == 'B' || s.ptr[s.len - 1] == 'b'))
		s.len--;
	return parse_scaled(s, "kmgt", factors, true, octets);
}

bool
conf_parse_seconds(const char *text, uint64_t *seconds)
{
	static const uint64_t factors[] = { 1, 60, 3600, 86400, 604800 };

	return parse_scaled(slice_of(text), "smhdw", factors, false, seconds);
}
