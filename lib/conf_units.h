/* conf_units: sizes and times as people write them: 50M, 1048576, 5m, 4h, 5d. */
#ifndef PP_CONF_UNITS_H
#define PP_CONF_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* Octets; suffix K, M, G, T (powers of 1024, either case, with or without a B behind). */
bool conf_parse_size(const char *text, uint64_t *octets);

/* Seconds; suffix s, m, h, d, w (lower case: 5M is no five minutes). */
bool conf_parse_seconds(const char *text, uint64_t *seconds);

#endif
